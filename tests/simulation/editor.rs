//! Editors: they write, they are told, and their sockets break.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_types::{DocumentId, SessionId};
use ringleaf_wire::{ClientMessage, ServerMessage};

use crate::contents::{Brought, Contents, Unit, clocks_of};
use crate::presence::Presence;
use crate::world::{Place, World};

pub(crate) struct Editor {
    /// The number of its document.
    pub(crate) document: usize,
    /// Who it is, as a CRDT client.
    pub(crate) client: u64,
    pub(crate) presence: Presence,
    pub(crate) contents: Contents,
    /// What was published before the answer came that it builds on. It is not in `contents`, so one that stays is noticed.
    pending: Vec<Brought>,
    pub(crate) connection: Option<Connection>,
    connections: u64,
    /// It has gone for good.
    pub(crate) left: bool,
}

pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) router: usize,
    pub(crate) session: SessionId,
    /// It was asked for all that it has, and has answered.
    answered: bool,
    /// What goes up, and down, arrives in order.
    up_at: Duration,
    down_at: Duration,
}

/// Everything that an editor had when it left.
pub(crate) struct LastWords {
    pub(crate) at: Duration,
    pub(crate) router: Place,
    pub(crate) run: u32,
    pub(crate) document: DocumentId,
    pub(crate) contents: Contents,
}

impl Editor {
    /// Takes in what it can, as a Yjs client does; the rest waits.
    fn take(&mut self, brought: Brought) {
        self.pending.push(brought);
        let mut before = usize::MAX;
        while self.pending.len() < before {
            before = self.pending.len();
            self.pending.retain(|brought| self.contents.take(brought).is_err());
        }
    }
}

impl World {
    pub(crate) fn new_editor(&mut self, document: usize) -> usize {
        let number = self.editors.len();
        self.editors.push(Editor {
            document,
            client: number as u64 + 1,
            presence: Presence::default(),
            contents: Contents::default(),
            pending: Vec::new(),
            connection: None,
            connections: 0,
            left: false,
        });
        self.connects(number);
        if self.scenario.presence {
            self.presents(number);
        }
        number
    }

    /// Tries some router; another one later, if that does not answer.
    fn connects(&mut self, editor: usize) {
        let router = self.random.index(self.scenario.routers);
        let (place, wait) = (Place::Router(router), self.delay());
        let run = self.run_of(place);
        self.after(Place::Editor(editor), wait, move |world| {
            let of = &mut world.editors[editor];
            if of.left || of.connection.is_some() {
                return;
            }
            if !world.lives(place, run) || !world.answers(place) {
                let wait = world.random.millis(100, 1_000);
                return world.after(Place::Editor(editor), wait, move |world| world.connects(editor));
            }
            world.connected(editor, router);
        });
    }

    fn connected(&mut self, editor: usize, router: usize) {
        let at = self.at;
        let of = &mut self.editors[editor];
        of.connections += 1;
        let number = of.connections;
        let document = self.documents[of.document].clone();
        // The connection is there before anything can be said on it.
        of.connection = Some(Connection {
            number,
            router,
            session: SessionId::new(0),
            answered: false,
            up_at: at,
            down_at: at,
        });
        let session = self.join(router, &document, (editor, number));
        self.say(format_args!("editor {editor} is session {session} of {:?}", Place::Router(router)));
        if let Some(connection) = &mut self.editors[editor].connection {
            connection.session = session;
        }
        let state_vector = self.editors[editor].contents.state_vector().into();
        self.says(editor, ClientMessage::SyncRequest { state_vector });
        self.presence_connected(editor);
    }

    /// The socket breaks. Each side notices by itself; what is on its way is lost.
    pub(crate) fn disconnects(&mut self, editor: usize) {
        let Some(connection) = self.editors[editor].connection.take() else { return };
        let Connection { router, session, .. } = connection;
        let document = self.documents[self.editors[editor].document].clone();
        self.say(format_args!("editor {editor} loses its socket"));
        let wait = self.random.millis(1, 3_000);
        self.after(Place::Router(router), wait, move |world| world.leave(router, &document, session));
        let wait = self.random.millis(100, 1_500);
        self.after(Place::Editor(editor), wait, move |world| world.connects(editor));
    }

    pub(crate) fn sockets_of_router_break(&mut self, router: usize) {
        for editor in 0..self.editors.len() {
            let of = &self.editors[editor];
            if of.connection.as_ref().is_some_and(|connection| connection.router == router) {
                self.socket_breaks(editor);
            }
        }
    }

    /// From its other end. The editor comes back soon.
    pub(crate) fn socket_breaks(&mut self, editor: usize) {
        self.editors[editor].connection = None;
        let wait = self.random.millis(100, 1_500);
        self.after(Place::Editor(editor), wait, move |world| world.connects(editor));
    }

    /// Types the last word and closes the tab.
    pub(crate) fn leaves(&mut self, editor: usize) {
        self.edit(editor);
        self.editors[editor].left = true;
        self.keep_last_words(editor);
        let Some(connection) = &self.editors[editor].connection else { return };
        let (router, session) = (connection.router, connection.session);
        let wait = connection.up_at.saturating_sub(self.at) + Duration::from_micros(1);
        let document = self.documents[self.editors[editor].document].clone();
        self.say(format_args!("editor {editor} leaves for good"));
        self.after(Place::Router(router), wait, move |world| world.leave(router, &document, session));
        self.editors[editor].connection = None;
    }

    /// Whoever has answered the question of an owner leaves nothing behind that builds on what only he had.
    fn keep_last_words(&mut self, editor: usize) {
        let of = &self.editors[editor];
        let Some(connection) = of.connection.as_ref().filter(|connection| connection.answered) else {
            return;
        };
        let router = Place::Router(connection.router);
        let (document, contents) = (self.documents[of.document].clone(), of.contents.clone());
        let words = LastWords { at: self.at, router, run: self.run_of(router), document, contents };
        self.last_words.push(words);
    }

    /// Types a character somewhere, or deletes one.
    pub(crate) fn edit(&mut self, editor: usize) {
        if self.editors[editor].left {
            return;
        }
        self.counts.edits += 1;
        let known: Vec<Unit> = {
            let clocks = &self.editors[editor].contents.clocks;
            clocks.iter().filter(|(_, clock)| **clock > 0).map(|(&client, &clock)| (client, clock)).collect()
        };
        let unit = (!known.is_empty()).then(|| {
            let (client, clock) = known[self.random.index(known.len())];
            // Mostly near the end of somebody's text, as people do.
            let back = self.random.between(0, 4).min(u64::from(clock) - 1) as u32;
            (client, clock - 1 - back)
        });
        let of = &mut self.editors[editor];
        let document = self.documents[of.document].clone();
        let mut change = Contents::default();
        let mut seen = BTreeMap::new();
        match unit.filter(|_| self.random.thousandths(200)) {
            Some(unit) => {
                of.contents.deleted.insert(unit);
                change.deleted.insert(unit);
            }
            None => {
                let client = of.client;
                let clock = of.contents.clocks.entry(client).or_default();
                let typed = (client, *clock);
                *clock += 1;
                change.clocks.insert(client, *clock);
                seen.insert(client, typed.1);
                self.facts(&document).written.add(typed, unit);
            }
        }
        let update: Bytes = self.facts[&document].written.encode(&change, &seen).into();
        self.says(editor, ClientMessage::Update { update });
        if self.scenario.presence && self.random.thousandths(300) {
            self.moves(editor);
        }
    }

    /// Edits now and then, for as long as the scenario lasts.
    pub(crate) fn edits(&mut self, editor: usize) {
        if self.at >= self.scenario.lasts {
            return;
        }
        let highest = self.scenario.edit_interval.as_millis() as u64;
        let wait = self.random.millis(1, highest);
        // Now and then a burst, and rarely more than may wait for an answer.
        let burst = match self.random.between(0, 1_000) {
            0..5 => 150,
            5..50 => 20,
            _ => 1,
        };
        let burst = if self.quiet { 0 } else { burst };
        (0..burst).for_each(|_| self.edit(editor));
        self.after(Place::Editor(editor), wait, move |world| world.edits(editor));
    }

    pub(crate) fn says(&mut self, editor: usize, message: ClientMessage) {
        let (at, delay) = (self.at, self.delay());
        let of = &mut self.editors[editor];
        let document = self.documents[of.document].clone();
        let Some(connection) = &mut of.connection else { return };
        connection.up_at = connection.up_at.max(at + delay);
        let (router, session, wait) = (connection.router, connection.session, connection.up_at - at);
        self.after(Place::Router(router), wait, move |world| {
            world.router_reads(router, &document, session, message);
        });
    }

    pub(crate) fn tell_editor(&mut self, editor: usize, number: u64, message: ServerMessage) {
        let (at, delay) = (self.at, self.delay());
        let connection = self.editors[editor].connection.as_mut();
        let Some(connection) = connection.filter(|connection| connection.number == number) else { return };
        connection.down_at = connection.down_at.max(at + delay);
        let wait = connection.down_at - at;
        self.after(Place::Editor(editor), wait, move |world| world.editor_hears(editor, number, message));
    }

    fn editor_hears(&mut self, editor: usize, number: u64, message: ServerMessage) {
        let of = &mut self.editors[editor];
        if of.connection.as_ref().is_none_or(|connection| connection.number != number) {
            return;
        }
        match message {
            ServerMessage::SyncRequest { state_vector } => {
                let document = &self.documents[of.document];
                let seen = clocks_of(&state_vector);
                let update = self.facts[document].written.encode(&of.contents, &seen).into();
                if let Some(connection) = &mut of.connection {
                    connection.answered = true;
                }
                self.says(editor, ClientMessage::SyncAnswer { update });
            }
            ServerMessage::SyncAnswer { update } | ServerMessage::Update { update } => {
                of.take(Brought::of(&update));
            }
            ServerMessage::Awareness { payload } => self.hears_presence(editor, &payload),
        }
    }
}
