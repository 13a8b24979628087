//! One document at a router: the real `Session` of each editor, and what brings it to a host and back.
//!
//! It does what `router`'s fan-out task and its connections do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_router::search::Search;
use ringleaf_router::session::Session;
use ringleaf_types::{DocumentId, MessageNumber, NodeId, Rights, RingVersion, SessionId, Slot, Subject};
use ringleaf_wire::{ClientMessage, Event, OpenError, Request, ServerMessage};

use crate::network::{Channel, Up};
use crate::world::{Place, World};

const REOPEN_FIRST: Duration = Duration::from_millis(50);
const REOPEN_LAST: Duration = Duration::from_secs(2);
/// So many published frames wait for a socket.
const WAITING_MAX: usize = 4;
/// What an editor sent outlives its socket for so long.
const LINGER: Duration = Duration::from_secs(30);

pub(crate) struct FanOut {
    pub(crate) members: BTreeMap<SessionId, Member>,
    /// Rises whenever a host is lost or found.
    generation: u64,
    /// The host whose events count.
    heard_generation: u64,
    host: Option<Channel>,
    opening: Option<u64>,
    tries: u32,
    catching_up: BTreeSet<Slot>,
    published: Vec<(Slot, Slot, Arc<[Bytes]>)>,
    presence: Vec<Bytes>,
    round_due: bool,
}

/// One session, and the socket of its editor.
pub(crate) struct Member {
    pub(crate) session: Session,
    generation: u64,
    /// The editor, and its connection, while that lasts.
    pub(crate) editor: Option<(usize, u64)>,
    pub(crate) unread: VecDeque<ClientMessage>,
    ended: bool,
    /// The socket takes nothing; what waits for it, and what it goes through.
    pub(crate) stalled: bool,
    waiting: VecDeque<Waiting>,
    /// What was brought to owners and not acknowledged, by its number.
    pub(crate) sent: BTreeMap<MessageNumber, Bytes>,
    highest_sent: MessageNumber,
}

/// Something that waits for a socket.
struct Waiting {
    messages: Vec<ServerMessage>,
    /// It holds everything through this slot.
    through: Option<Slot>,
    /// It may be dropped: then the session is behind.
    published: bool,
}

impl World {
    fn fan_out(&mut self, router: usize, document: &DocumentId) -> Option<&mut FanOut> {
        self.routers[router].fan_outs.get_mut(document)
    }

    fn member(&mut self, router: usize, document: &DocumentId, session: SessionId) -> Option<&mut Member> {
        self.fan_out(router, document)?.members.get_mut(&session)
    }

    // ---- editors come and go ----

    pub(crate) fn join(&mut self, router: usize, document: &DocumentId, editor: (usize, u64)) -> SessionId {
        let of = &mut self.routers[router];
        of.sessions_made += 1;
        let id = SessionId::new(of.sessions_made);
        let session = Session::new(id, Rights::ReadWrite, Subject::anyone());
        let begins = !of.fan_outs.contains_key(document);
        let fan_out = of.fan_outs.entry(document.clone()).or_insert_with(|| FanOut {
            members: BTreeMap::new(),
            generation: 0,
            heard_generation: 0,
            host: None,
            opening: None,
            tries: 0,
            catching_up: BTreeSet::new(),
            published: Vec::new(),
            presence: Vec::new(),
            round_due: false,
        });
        let member = Member {
            session,
            generation: 0,
            editor: Some(editor),
            unread: VecDeque::new(),
            ended: false,
            stalled: false,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            highest_sent: MessageNumber::default(),
        };
        fan_out.members.insert(id, member);
        if begins {
            self.open(router, document, Duration::ZERO, None);
        }
        self.turn(router, document, id);
        id
    }

    /// The editor's socket is gone. What it sent still goes to the owner, for a while.
    pub(crate) fn leave(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let Some(member) = self.member(router, document, session) else { return };
        member.editor = None;
        member.stalled = false;
        member.waiting.clear();
        self.turn(router, document, session);
        let document = document.clone();
        self.after(Place::Router(router), LINGER, move |world| world.remove(router, &document, session));
    }

    fn remove(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let Some(fan_out) = self.fan_out(router, document) else { return };
        fan_out.members.remove(&session);
        if fan_out.members.is_empty() {
            self.forget_fan_out(router, document);
        }
    }

    pub(crate) fn forget_fan_out(&mut self, router: usize, document: &DocumentId) {
        if let Some(host) = self.routers[router].fan_outs.remove(document).and_then(|of| of.host) {
            self.close_channel(host);
            self.routers[router].channels.remove(&host);
        }
    }

    // ---- the host ----

    /// Begins to open the document after a while; at this node first, if it is named.
    fn open(
        &mut self,
        router: usize,
        document: &DocumentId,
        after: Duration,
        at: Option<(NodeId, RingVersion)>,
    ) {
        self.routers[router].tries_made += 1;
        let number = self.routers[router].tries_made;
        let id = self.router_id(router);
        let Some(fan_out) = self.fan_out(router, document) else { return };
        fan_out.tries += 1;
        let generation = fan_out.generation + 1;
        fan_out.heard_generation = generation;
        fan_out.published.clear();
        fan_out.presence.clear();
        fan_out.opening = Some(number);
        let document = document.clone();
        self.after(Place::Router(router), after, move |world| {
            if world.fan_out(router, &document).is_some_and(|of| of.opening == Some(number)) {
                let mut search = Search::new(document.clone(), id);
                if let Some((owner, ring)) = at {
                    search.first(owner, ring);
                }
                world.seek(router, document, number, generation, search);
            }
        });
    }

    /// What came of opening it.
    pub(crate) fn sought(
        &mut self,
        router: usize,
        document: &DocumentId,
        number: u64,
        found: Result<Channel, OpenError>,
    ) {
        let part = self.random.part();
        let fan_out = self.fan_out(router, document).filter(|of| of.opening == Some(number));
        let Some(fan_out) = fan_out else {
            // Nobody wants it any more.
            if let Ok(channel) = found {
                self.close_channel(channel);
                self.routers[router].channels.remove(&channel);
            }
            return;
        };
        fan_out.opening = None;
        match found {
            Ok(channel) => {
                fan_out.tries = 0;
                fan_out.change_host(Some(channel));
                self.nudge_all(router, document);
            }
            Err(OpenError::Refused { reason }) => self.closes(router, document, reason),
            Err(OpenError::Busy | OpenError::Moved { .. } | OpenError::Unreachable) => {
                let pause = fan_out.pause(part);
                self.open(router, document, pause, None);
            }
        }
    }

    /// The host is gone: everybody waits for the next one.
    pub(crate) fn lost(
        &mut self,
        router: usize,
        document: &DocumentId,
        generation: u64,
        to: Option<(NodeId, RingVersion)>,
    ) {
        let part = self.random.part();
        let Some(fan_out) = self.fan_out(router, document) else { return };
        if fan_out.generation != generation {
            return;
        }
        let host = fan_out.change_host(None);
        let after = if fan_out.tries == 0 { Duration::ZERO } else { fan_out.pause(part) };
        if let Some(host) = host {
            self.close_channel(host);
            self.routers[router].channels.remove(&host);
        }
        self.say(format_args!("{:?}: {document} has lost its host", Place::Router(router)));
        self.nudge_all(router, document);
        self.open(router, document, after, to);
    }

    fn nudge_all(&mut self, router: usize, document: &DocumentId) {
        let Some(fan_out) = self.fan_out(router, document) else { return };
        let sessions: Vec<SessionId> = fan_out.members.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.turn(router, document, session));
    }

    // ---- towards the host ----

    /// Takes what may be taken from the editor, and brings to the owner what that was not told.
    pub(crate) fn turn(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let limits = Arc::clone(&self.limits);
        loop {
            self.pump(router, document, session);
            let Some(member) = self.member(router, document, session) else { return };
            if member.session.finished() {
                return self.remove(router, document, session);
            }
            if !member.session.may_take(&limits) {
                return;
            }
            match member.unread.pop_front() {
                Some(message) => drop(member.session.take(message, &limits)),
                // Its socket was read to its end.
                None if member.editor.is_none() && !std::mem::replace(&mut member.ended, true) => {
                    member.session.end();
                }
                None => return,
            }
        }
    }

    fn pump(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let Some(fan_out) = self.routers[router].fan_outs.get_mut(document) else { return };
        let Some(member) = fan_out.members.get_mut(&session) else { return };
        if fan_out.generation != member.generation {
            member.generation = fan_out.generation;
            member.session.lost();
        }
        let Some(host) = fan_out.host else { return };
        let mut requests = Vec::new();
        let mut resent = 0;
        while let Some(request) = member.session.next_request() {
            member.session.submitted();
            if let Request::Update { number, update, .. } = &request {
                resent += u64::from(*number <= member.highest_sent);
                member.highest_sent = member.highest_sent.max(*number);
                member.sent.insert(*number, update.clone());
            }
            requests.push(request);
        }
        if let Some(from) = member.session.lacks_after().filter(|_| member.waiting.is_empty()) {
            let on_its_way = fan_out.catching_up.range(..=from).next().is_some();
            if !on_its_way {
                fan_out.catching_up.insert(from);
                requests.push(Request::CatchUp { from });
            }
            member.session.asked_to_catch_up();
        }
        self.counts.resent += resent;
        requests.into_iter().for_each(|request| self.up(host, Up::Request(request)));
    }

    // ---- from the host ----

    /// An event of the host of this generation. `false`: nobody listens to that any more.
    pub(crate) fn deliver(
        &mut self,
        router: usize,
        document: &DocumentId,
        generation: u64,
        event: Event,
    ) -> bool {
        let window = self.random.millis(0, 20);
        let Some(fan_out) = self.fan_out(router, document) else { return false };
        if fan_out.heard_generation != generation {
            return false;
        }
        match event {
            Event::Publish { previous, slot, updates } => fan_out.published.push((previous, slot, updates)),
            Event::Awareness { only: None, payload } => fan_out.presence.push(payload),
            Event::LetGo => self.lost(router, document, generation, None),
            Event::Moved { owner, ring } => self.lost(router, document, generation, Some((owner, ring))),
            event => self.event(router, document, event),
        }
        let Some(fan_out) = self.fan_out(router, document) else { return true };
        let waits = !fan_out.published.is_empty() || !fan_out.presence.is_empty();
        if waits && !std::mem::replace(&mut fan_out.round_due, true) {
            let document = document.clone();
            self.after(Place::Router(router), window, move |world| world.round(router, &document));
        }
        true
    }

    /// Hands on what was published, to everybody.
    fn round(&mut self, router: usize, document: &DocumentId) {
        let Some(fan_out) = self.fan_out(router, document) else { return };
        fan_out.round_due = false;
        let published = std::mem::take(&mut fan_out.published);
        let presence = std::mem::take(&mut fan_out.presence);
        let sessions: Vec<SessionId> = fan_out.members.keys().copied().collect();
        for (previous, slot, updates) in published {
            for session in &sessions {
                let Some(member) = self.member(router, document, *session) else { continue };
                if !member.session.published(previous, slot) {
                    continue;
                }
                let update = |update: &Bytes| ServerMessage::Update { update: update.clone() };
                let messages = updates.iter().map(update).collect();
                let waiting = Waiting { messages, through: Some(slot), published: true };
                self.write(router, document, *session, waiting);
            }
        }
        let presence: Vec<ServerMessage> =
            presence.into_iter().map(|payload| ServerMessage::Awareness { payload }).collect();
        for session in sessions.into_iter().filter(|_| !presence.is_empty()) {
            let Some(member) = self.member(router, document, session) else { continue };
            if !member.session.listens() {
                continue;
            }
            if member.session.behind() && !member.waiting.is_empty() {
                member.session.missed_awareness();
            } else {
                let messages = presence.clone();
                let waiting = Waiting { messages, through: None, published: true };
                self.write(router, document, session, waiting);
            }
        }
        self.nudge_all(router, document);
    }

    fn event(&mut self, router: usize, document: &DocumentId, event: Event) {
        match event {
            Event::Attached { session, slot } => {
                self.with_session(router, document, session, |member| member.session.attached(slot));
            }
            Event::SyncAnswer { sessions, through, update } => {
                for session in sessions {
                    let wanted = self
                        .with_session(router, document, session, |member| member.session.answered(through));
                    if wanted == Some(true) {
                        self.reply(
                            router,
                            document,
                            session,
                            ServerMessage::SyncAnswer { update: update.clone() },
                        );
                    }
                }
            }
            Event::SyncRequest { session, state_vector } => {
                let wanted =
                    self.with_session(router, document, session, |member| member.session.questioned());
                if wanted == Some(true) {
                    self.reply(router, document, session, ServerMessage::SyncRequest { state_vector });
                }
            }
            Event::Acknowledge { session, through } => self.acknowledged(router, document, session, through),
            Event::CaughtUp { from, through, update } => {
                self.caught_up(router, document, from, through, &update);
            }
            // Its editor hears that it is not safe.
            Event::Refused { session, number } => {
                self.with_session(router, document, session, |member| member.sent.remove(&number));
            }
            Event::Awareness { only: Some(session), payload } => {
                let here = self.with_session(router, document, session, |member| member.session.here());
                if here == Some(true) {
                    self.reply(router, document, session, ServerMessage::Awareness { payload });
                }
            }
            Event::Closed { reason } => self.closes(router, document, reason),
            Event::Awareness { only: None, .. }
            | Event::CloseSession { .. }
            | Event::Publish { .. }
            | Event::LetGo
            | Event::Moved { .. } => {}
        }
    }

    fn with_session<T>(
        &mut self,
        router: usize,
        document: &DocumentId,
        session: SessionId,
        tell: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let told = tell(self.member(router, document, session)?);
        self.turn(router, document, session);
        Some(told)
    }

    /// I1: from here on an editor may believe that this is safe.
    fn acknowledged(
        &mut self,
        router: usize,
        document: &DocumentId,
        session: SessionId,
        through: MessageNumber,
    ) {
        let Some(member) = self.member(router, document, session) else { return };
        let later = member.sent.split_off(&through.next());
        let safe = std::mem::replace(&mut member.sent, later);
        for update in safe.into_values() {
            self.counts.acknowledged += 1;
            self.facts(document).acknowledges(&update);
        }
        self.with_session(router, document, session, |member| member.session.acknowledged(through));
    }

    fn caught_up(&mut self, router: usize, document: &DocumentId, from: Slot, through: Slot, update: &Bytes) {
        let Some(fan_out) = self.fan_out(router, document) else { return };
        fan_out.catching_up.remove(&from);
        let mut told = Vec::new();
        for (id, member) in &mut fan_out.members {
            if member.session.waits_to_catch_up() && member.session.caught_up(from, through) {
                told.push(*id);
            }
        }
        for session in told {
            self.counts.caught_up += 1;
            let messages = vec![ServerMessage::Update { update: update.clone() }];
            let waiting = Waiting { messages, through: Some(through), published: false };
            self.write(router, document, session, waiting);
        }
        self.nudge_all(router, document);
    }

    fn reply(&mut self, router: usize, document: &DocumentId, session: SessionId, message: ServerMessage) {
        self.write(
            router,
            document,
            session,
            Waiting { messages: vec![message], through: None, published: false },
        );
    }

    /// The socket takes it, or it waits; what was published is dropped when too much waits.
    fn write(&mut self, router: usize, document: &DocumentId, session: SessionId, waiting: Waiting) {
        let Some(member) = self.member(router, document, session) else { return };
        member.waiting.push_back(waiting);
        if !member.stalled {
            return self.flush(router, document, session);
        }
        if member.waiting.iter().filter(|waiting| waiting.published).count() > WAITING_MAX {
            let dropped = |waiting: &Waiting| waiting.published;
            let updates = member.waiting.iter().any(|waiting| dropped(waiting) && waiting.through.is_some());
            let presence = member.waiting.iter().any(|waiting| dropped(waiting) && waiting.through.is_none());
            member.waiting.retain(|waiting| !waiting.published);
            if updates {
                member.session.dropped(None);
            }
            if presence {
                member.session.missed_awareness();
            }
            self.counts.behind += 1;
        }
    }

    fn flush(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let Some(member) = self.member(router, document, session) else { return };
        let editor = member.editor;
        let mut messages = Vec::new();
        for waiting in member.waiting.drain(..) {
            if let Some(slot) = waiting.through {
                member.session.delivered(slot);
            }
            messages.extend(waiting.messages);
        }
        member.session.drained();
        if let Some((editor, connection)) = editor {
            messages.into_iter().for_each(|message| self.tell_editor(editor, connection, message));
        }
    }

    /// The socket of a session takes nothing for a while.
    pub(crate) fn stall(
        &mut self,
        router: usize,
        document: &DocumentId,
        session: SessionId,
        length: Duration,
    ) {
        let Some(member) = self.member(router, document, session) else { return };
        member.stalled = true;
        self.say(format_args!("{:?}: {document}: session {session} takes nothing", Place::Router(router)));
        let document = document.clone();
        self.after(Place::Router(router), length, move |world| world.unstall(router, &document, session));
    }

    pub(crate) fn unstall(&mut self, router: usize, document: &DocumentId, session: SessionId) {
        let Some(member) = self.member(router, document, session) else { return };
        if std::mem::take(&mut member.stalled) {
            self.flush(router, document, session);
            self.turn(router, document, session);
        }
    }

    /// All sockets take what waits.
    pub(crate) fn unstall_all(&mut self, router: usize) {
        let fan_outs = self.routers[router].fan_outs.iter();
        let sessions: Vec<(DocumentId, SessionId)> = fan_outs
            .flat_map(|(document, of)| of.members.keys().map(|session| (document.clone(), *session)))
            .collect();
        for (document, session) in sessions {
            self.unstall(router, &document, session);
        }
    }
}

impl FanOut {
    fn change_host(&mut self, host: Option<Channel>) -> Option<Channel> {
        self.generation += 1;
        self.catching_up.clear();
        std::mem::replace(&mut self.host, host)
    }

    /// How long to wait before the next try: doubling, and not in step with other documents.
    fn pause(&self, part: f64) -> Duration {
        let doubled = REOPEN_FIRST * 2_u32.pow(self.tries.min(6));
        doubled.min(REOPEN_LAST).mul_f64(0.5 + part / 2.0)
    }
}
