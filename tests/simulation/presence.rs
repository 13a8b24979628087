//! Presence of editors, by the rules of y-protocols and the habits of y-websocket: a state is renewed every 15 s, is
//! forgotten after 30 s, and every change that a client hears of it also sends on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use harness::yjs::var_uint;
use ringleaf_wire::ClientMessage;
use ringleaf_wire::scan::{self, ScanLimits};

use crate::world::{Place, World};

const TICK: Duration = Duration::from_secs(3);
const RENEW: Duration = Duration::from_secs(15);
const OUTDATED: Duration = Duration::from_secs(30);

/// What an editor knows of who is there.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Of each client the clock, the state if it is there, and when that was last renewed.
    of: BTreeMap<u64, (u32, Option<String>, Duration)>,
}

impl Presence {
    /// The states of those who are there.
    pub(crate) fn states(&self) -> BTreeMap<u64, String> {
        let here = |(client, (_, state, _)): (&u64, &(u32, Option<String>, Duration))| {
            Some((*client, state.clone()?))
        };
        self.of.iter().filter_map(here).collect()
    }

    fn encode(&self, clients: &[u64]) -> Bytes {
        let mut payload = Vec::new();
        var_uint(clients.len() as u64, &mut payload);
        for client in clients {
            let (clock, state, _) = &self.of[client];
            let state = state.as_deref().unwrap_or("null");
            var_uint(*client, &mut payload);
            var_uint(u64::from(*clock), &mut payload);
            var_uint(state.len() as u64, &mut payload);
            payload.extend_from_slice(state.as_bytes());
        }
        payload.into()
    }

    /// Takes in what it is told. Answers what changed.
    fn hear(&mut self, payload: &[u8], own: u64, at: Duration) -> Vec<u64> {
        let entries = scan::awareness(payload, &ScanLimits::default()).expect("presence that can be read");
        let mut changed = Vec::new();
        for entry in entries {
            let (client, clock) = (entry.client.get(), entry.clock.get());
            let known = self.of.get(&client);
            let before = known.map_or(0, |(clock, ..)| *clock);
            let there = known.is_some_and(|(_, state, _)| state.is_some());
            let removed = clock == before && entry.state.is_none() && there;
            if before >= clock && !removed {
                continue;
            }
            if client == own && entry.state.is_none() && there {
                // Nobody removes who is there.
                self.of.entry(client).and_modify(|(known, ..)| *known = clock + 1);
            } else {
                self.of.insert(client, (clock, entry.state.map(str::to_owned), at));
            }
            changed.push(client);
        }
        changed
    }
}

impl World {
    /// From now on this editor shows where it is.
    pub(crate) fn presents(&mut self, editor: usize) {
        self.moves(editor);
        self.presence_tick(editor);
    }

    fn presence_tick(&mut self, editor: usize) {
        if self.editors[editor].left {
            return;
        }
        self.after(Place::Editor(editor), TICK, move |world| world.presence_tick(editor));
        let at = self.at;
        let of = &mut self.editors[editor];
        let own = of.client;
        if of.presence.of.get(&own).is_some_and(|(_, _, renewed)| at - *renewed >= RENEW) {
            self.renews_presence(editor);
        }
        let of = &mut self.editors[editor];
        let mut outdated = Vec::new();
        for (client, (_, state, renewed)) in &mut of.presence.of {
            if *client != own && state.is_some() && at - *renewed >= OUTDATED {
                *state = None;
                outdated.push(*client);
            }
        }
        self.sends_presence(editor, &outdated);
    }

    fn renews_presence(&mut self, editor: usize) {
        let at = self.at;
        let of = &mut self.editors[editor];
        let own = of.client;
        if let Some((clock, _, renewed)) = of.presence.of.get_mut(&own) {
            (*clock, *renewed) = (*clock + 1, at);
        }
        self.sends_presence(editor, &[own]);
    }

    /// The cursor moves.
    pub(crate) fn moves(&mut self, editor: usize) {
        let at = self.at;
        let state = format!("{{\"cursor\":{}}}", self.random.between(0, 1_000));
        let of = &mut self.editors[editor];
        let own = of.client;
        let clock = of.presence.of.get(&own).map_or(0, |(clock, ..)| *clock) + 1;
        of.presence.of.insert(own, (clock, Some(state), at));
        self.sends_presence(editor, &[own]);
    }

    /// A new connection begins with one's own presence. Of the others nothing is known any more.
    pub(crate) fn presence_connected(&mut self, editor: usize) {
        let of = &mut self.editors[editor];
        let own = of.client;
        of.presence
            .of
            .iter_mut()
            .filter(|(client, _)| **client != own)
            .for_each(|(_, (_, state, _))| *state = None);
        if of.presence.of.contains_key(&own) {
            self.sends_presence(editor, &[own]);
        }
    }

    fn sends_presence(&mut self, editor: usize, clients: &[u64]) {
        if !clients.is_empty() {
            let payload = self.editors[editor].presence.encode(clients);
            self.says(editor, ClientMessage::Awareness { payload });
        }
    }

    pub(crate) fn hears_presence(&mut self, editor: usize, payload: &[u8]) {
        let at = self.at;
        let here = |of: &crate::editor::Editor| of.connection.is_some().then_some(of.client);
        let here: Vec<u64> = self.editors.iter().filter_map(here).collect();
        let of = &mut self.editors[editor];
        let before = of.presence.states();
        let changed = of.presence.hear(payload, of.client, at);
        if self.nobody_leaves {
            let after = of.presence.states();
            let gone = before.keys().find(|client| !after.contains_key(client) && here.contains(client));
            assert_eq!(gone, None, "somebody who is there is seen to leave (I12)");
        }
        self.sends_presence(editor, &changed);
    }

    /// I12: who sees somebody who is not there, or not as he is.
    pub(crate) fn absence(&self) -> Option<String> {
        for (number, document) in self.documents.iter().enumerate() {
            let here = || self.editors.iter().filter(|editor| editor.document == number && !editor.left);
            let own = |editor: &crate::editor::Editor| {
                let state = editor.presence.states().remove(&editor.client)?;
                editor.connection.is_some().then_some((editor.client, state))
            };
            let expected: BTreeMap<u64, String> = here().filter_map(own).collect();
            for editor in here().filter(|editor| editor.connection.is_some()) {
                let seen = editor.presence.states();
                if seen != expected {
                    return Some(format!(
                        "client {} of {document} sees {seen:?}, not {expected:?}",
                        editor.client
                    ));
                }
            }
        }
        None
    }
}
