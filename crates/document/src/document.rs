//! One document: its state, and where each input goes.

mod admission;
mod answers;
mod durable;
mod ground;
mod timers;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{
    Body, CloseReason, DocumentId, Epoch, Incarnation, Limits, MessageNumber, NodeId, Presence, Record,
    Rights, RouterId, Slot, Snapshot, Subject,
};
use ringleaf_wire::scan::{self, ScanLimits};
use ringleaf_wire::{Event, Refusal, Request};

use crate::awareness::{Awareness, EMPTY_PAYLOAD};
use crate::gate::{Gate, Output};
use crate::log::Log;
use crate::recent::Recent;
use crate::remainders::{Kept, Remainders};
use crate::session::{Session, SessionKey, Sessions};
use crate::struct_store::{Gc, StructStore};
use crate::{AppendOutcome, Effect, Input};

pub use answers::Weight;
pub use ground::LeftBehind;

/// Who writes, and within which bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node that the document is resident on.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// Where the sequence of nonces begins. No two documents opened by one incarnation may have the same.
    pub seed: u64,
    /// All bounds.
    pub limits: Arc<Limits>,
    /// What becomes of deleted content.
    pub gc: Gc,
}

/// Why stored bytes are not a document. Never to be mistaken for an empty one (I11).
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A slot is missing.
    #[error("the log of document {document} has a gap after slot {after}")]
    Gap {
        /// Whose log.
        document: DocumentId,
        /// The last slot before the gap.
        after: Slot,
    },
    /// The snapshot does not pass the scan.
    #[error("the snapshot of document {document} through slot {upto} cannot be read")]
    Snapshot {
        /// Whose snapshot.
        document: DocumentId,
        /// What it covers.
        upto: Slot,
        /// What is wrong with it.
        source: Refusal,
    },
    /// A slot does not pass the scan.
    #[error("slot {slot} of document {document} cannot be read")]
    Slot {
        /// Whose slot.
        document: DocumentId,
        /// Which one.
        slot: Slot,
        /// What is wrong with it.
        source: Refusal,
    },
}

/// One resident document.
///
/// ```text
///            admitted                 begin                    durable
///  message ───────────▶ gathered ───────────────▶ in flight ─────────────▶ recent ──▶ Publish, Acknowledge, answers
///             │ structs              (one record, one slot)
///             └──────▶ remainders (what lacks its ground) ──▶ admitted when that comes
/// ```
///
/// It serves until it is *over*: fenced. A document that is over does nothing any more; the shell drops it, and whatever
/// was not acknowledged is sent again by the routers.
pub struct Document {
    id: DocumentId,
    limits: Arc<Limits>,
    log: Log,
    gate: Gate,
    effects: VecDeque<Effect>,
    sessions: Sessions,
    awareness: Awareness,
    gc: Gc,
    /// What was admitted, durable or not.
    structs: StructStore,
    /// Counts what was admitted, so that cached answers know whether they are still true.
    version: u64,
    /// Slots that became durable lately.
    recent: Recent,
    /// What lacks its ground.
    remainders: Remainders,
    /// Those on their way to the store, and who waits for that, once for each message.
    storing: BTreeMap<u64, Vec<SessionKey>>,
    /// There may be a session of which something is left behind.
    someone_leaves: bool,
    /// Admitted, waiting for the slot in flight to be durable.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// Admitted since somebody asked.
    admitted: Admitted,
    /// A deletion or undeletion that waits for its slot.
    control: Option<Body>,
    /// The state vector to remember when the slot in flight is durable.
    mark: Option<Bytes>,
    waiting: waiting::Waiting,
    answers: answers::Answers,
    /// The slot that the last [`Event::Publish`] named.
    published: Slot,
    /// The newest slot that is not an empty fence.
    substantial: Slot,
    deleted: bool,
    /// The store has lost slots, and the snapshot that makes up for them is not there yet. Holds the answer to the
    /// append in flight, if it came meanwhile.
    recovering: Option<Option<(Slot, AppendOutcome)>>,
    /// It takes no new slot, because another node is about to claim it.
    sealed: bool,
    /// A fence is to be written, whether there is something to write with it or not.
    fence_owed: bool,
    over: bool,
    timers: timers::Timers,
}

/// How much was admitted: for figures, nothing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admitted {
    /// Messages that brought something new.
    pub updates: u32,
    /// What was new in them. Stops at the largest number.
    pub bytes: u32,
}

/// What a store holds of a document, read.
struct Replayed {
    structs: StructStore,
    recent: Recent,
    last: Slot,
    highest: Epoch,
    deleted: bool,
}

impl Replayed {
    fn of(
        id: &DocumentId,
        snapshot: Option<Snapshot>,
        slots: Vec<(Slot, Record)>,
    ) -> Result<Self, LoadError> {
        let mut structs = StructStore::new();
        let mut recent = Recent::new(snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto));
        let (mut last, mut highest, mut deleted) = (Slot::ZERO, Epoch::ZERO, false);
        if let Some(snapshot) = snapshot {
            (last, highest, deleted) = (snapshot.upto, snapshot.epoch, snapshot.deleted);
            structs = StructStore::load(snapshot.state).map_err(|source| LoadError::Snapshot {
                document: id.clone(),
                upto: last,
                source,
            })?;
        }
        for (slot, record) in slots {
            if slot <= last {
                continue;
            }
            if slot != last.next() {
                return Err(LoadError::Gap { document: id.clone(), after: last });
            }
            last = slot;
            highest = highest.max(record.epoch);
            let updates = match record.body {
                Body::Updates(updates) => updates,
                Body::Deletion | Body::Undeletion => {
                    deleted = record.body == Body::Deletion;
                    Vec::new()
                }
            };
            for update in &updates {
                structs.admit_stored(update).map_err(|source| LoadError::Slot {
                    document: id.clone(),
                    slot,
                    source,
                })?;
            }
            recent.push(slot, updates.into());
        }
        recent.fit(structs.encoded_bytes());
        if last > Slot::ZERO {
            recent.mark(last, structs.state_vector().into());
        }
        Ok(Self { structs, recent, last, highest, deleted })
    }
}

impl Document {
    /// Makes a document of what the store holds, in one pass over its bytes. What was kept beside it is admitted, if its
    /// ground has come.
    ///
    /// # Errors
    ///
    /// A gap, or bytes that do not pass the scan.
    pub fn open(
        id: DocumentId,
        snapshot: Option<Snapshot>,
        slots: Vec<(Slot, Record)>,
        kept: Vec<Kept>,
        settings: Settings,
        now: Instant,
    ) -> Result<Self, LoadError> {
        let Replayed { structs, recent, last, highest, deleted } = Replayed::of(&id, snapshot, slots)?;
        let Settings { node, incarnation, seed, limits, gc } = settings;
        let mut document = Self {
            id,
            timers: timers::Timers::new(now),
            log: Log::new(node, incarnation, seed, last, highest),
            gate: Gate::new(),
            effects: VecDeque::new(),
            sessions: Sessions::new(),
            awareness: Awareness::new(),
            gc,
            structs,
            version: 0,
            recent,
            remainders: Remainders::default(),
            storing: BTreeMap::new(),
            someone_leaves: false,
            gathered: Vec::new(),
            gathered_bytes: 0,
            admitted: Admitted::default(),
            control: None,
            mark: None,
            waiting: waiting::Waiting::default(),
            answers: answers::Answers::default(),
            published: last,
            substantial: last,
            deleted,
            recovering: None,
            sealed: false,
            fence_owed: false,
            over: false,
            limits,
        };
        document.restore(kept);
        Ok(document)
    }

    /// Takes in one thing that happened. What follows from it comes out of [`Document::next_effect`].
    pub fn handle(&mut self, input: Input, now: Instant) {
        if self.over {
            return;
        }
        let turn = timers::Turn { woken: matches!(input, Input::Wake), computes: self.may_compute(&input) };
        match input {
            Input::Request { router, request } => self.request(router, request, now),
            Input::RouterGone { router } => self.router_gone(router, now),
            Input::Appended { slot, outcome } => self.appended(slot, outcome),
            Input::Tail { slots, last } => self.tail(slots, last),
            Input::Compacted { upto } => self.compacted(upto),
            Input::CompactionFailed => self.compaction_failed(now),
            Input::Saved => self.saved(),
            Input::SaveFailed => self.save_failed(),
            Input::RemainderKept { id } => self.remainder_kept(id),
            Input::Delete => self.close(Body::Deletion),
            Input::Undelete => self.close(Body::Undeletion),
            Input::Import { ticket, update } => self.import(ticket, &update, now),
            Input::Export { ticket } => self.waiting.exports.push(ticket),
            Input::Seal => self.sealed = true,
            Input::Unseal => self.sealed = false,
            Input::Claim => (self.sealed, self.fence_owed) = (false, true),
            Input::TakeOver { slots, kept } => self.take_over(slots, kept),
            Input::Inherit { presence } => self.inherit(presence, now),
            Input::Wake => {}
        }
        self.settle(now, turn);
    }

    /// The next thing to do, in order. The shell asks until there is nothing.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn request(&mut self, router: RouterId, request: Request, now: Instant) {
        match request {
            Request::Attach { session, rights, subject, resume } => {
                self.attach((router, session), rights, subject, resume);
                if resume.is_some_and(|slot| slot > self.log.last()) {
                    // Its last owner wrote what is not known here yet.
                    self.read_tail(now);
                }
            }
            Request::Detach { session } => self.detach((router, session), now),
            Request::Update { session, number, answer, update } => {
                self.update((router, session), number, answer, &update, now);
            }
            Request::SyncRequest { session, state_vector } => {
                self.sync_request((router, session), state_vector, now);
            }
            Request::Awareness { session, payload } => self.hear((router, session), &payload, now),
            Request::QueryAwareness { session } => {
                if self.speaks((router, session)) {
                    let payload = self.awareness.all();
                    self.tell_awareness((router, session), payload.unwrap_or(EMPTY_PAYLOAD.into()));
                }
            }
            Request::CatchUp { from } => self.catch_up(router, from),
        }
    }

    fn attach(&mut self, key: SessionKey, rights: Rights, subject: Subject, resume: Option<Slot>) {
        if self.deleted {
            self.deliver(key.0, Event::Closed { reason: CloseReason::DocumentDeleted });
            return;
        }
        self.sessions.insert(key, Session::new(rights, subject));
        self.waits_no_longer(|of| of == key);
        self.awareness.attached(key);
        // Nobody lacks an empty fence; but who was caught up through one is not told that the log ends before it.
        let known = resume.filter(|slot| *slot <= self.log.last());
        let slot = self.substantial.max(known.unwrap_or_default());
        self.deliver(key.0, Event::Attached { session: key.1, slot });
        if let Some(payload) = self.awareness.all() {
            self.tell_awareness(key, payload);
        }
        self.ask(key);
    }

    fn inherit(&mut self, presence: Vec<Presence>, now: Instant) {
        self.awareness.inherit(presence, &self.limits, now);
        for session in self.sessions.keys() {
            self.awareness.attached(*session);
        }
    }

    fn detach(&mut self, key: SessionKey, now: Instant) {
        if self.sessions.remove(&key).is_some() {
            self.awareness.ended(key, &self.limits, now);
            self.waiting.forget(key);
            self.remainders.orphan(|of| of == key);
            self.waits_no_longer(|of| of == key);
        }
    }

    fn router_gone(&mut self, router: RouterId, _now: Instant) {
        self.sessions.retain(|(of, _), _| *of != router);
        self.awareness.orphan(router);
        self.remainders.orphan(|(of, _)| of == router);
        self.waits_no_longer(|(of, _)| of == router);
        self.waiting.router_gone(router);
        self.gate.router_gone(router);
    }

    /// Whether anybody is there whose words count.
    fn speaks(&self, key: SessionKey) -> bool {
        self.sessions.get(&key).is_some_and(|session| !session.ended)
    }

    fn hear(&mut self, key: SessionKey, payload: &[u8], now: Instant) {
        let Some(session) = self.sessions.get(&key).filter(|session| !session.ended) else { return };
        let Ok(entries) = scan::awareness(payload, &ScanLimits::default()) else {
            self.refused(key, now);
            return;
        };
        for heard in entries {
            self.awareness.hear(&heard, key, &session.subject, &self.limits, now);
        }
    }

    /// Sends our state vector, for what the editor has and we lack.
    fn ask(&mut self, (router, session): SessionKey) {
        let state_vector = self.state_vector();
        self.leave(Output::SyncRequest { router, session, state_vector });
    }

    fn acknowledge(&mut self, key: SessionKey, through: MessageNumber) {
        if self.sessions.get_mut(&key).is_some_and(|session| session.holds(through)) {
            return;
        }
        self.leave(Output::Acknowledge { router: key.0, session: key.1, through });
    }

    /// R4: lets an output out when everything admitted before it is durable.
    fn leave(&mut self, output: Output) {
        let unsaved = self.recovering.is_some();
        match self.gate.cover(!self.gathered.is_empty(), self.log.busy() || unsaved) {
            Some(batch) => self.gate.hold(batch, output),
            None => {
                let last = self.log.last();
                self.effects.push_back(output.into_effect(last, last));
            }
        }
    }

    fn tell_awareness(&mut self, (router, session): SessionKey, payload: Bytes) {
        self.deliver(router, Event::Awareness { only: Some(session), payload });
    }

    fn deliver(&mut self, router: RouterId, event: Event) {
        self.effects.push_back(Effect::Deliver { router, event });
    }

    fn broadcast(&mut self, event: Event) {
        self.effects.push_back(Effect::Broadcast { event });
    }

    fn close_session(&mut self, (router, session): SessionKey, reason: CloseReason) {
        if let Some(known) = self.sessions.get_mut(&(router, session)) {
            known.ended = true;
            self.deliver(router, Event::CloseSession { session, reason });
        }
    }

    /// Bytes that are admitted and not durable have reached their bound: the shell should read no more requests
    /// until the next [`Input::Appended`].
    pub fn full(&self) -> bool {
        self.gathered_bytes >= self.limits.gathered_bytes_max
    }

    /// About how many bytes it holds.
    pub fn resident_bytes(&self) -> usize {
        1_024
            + self.structs.heap_bytes()
            + self.recent.resident_bytes()
            + self.remainders.heap_bytes()
            + self.awareness.resident_bytes()
            + self.gathered_bytes
            + self.sessions.len() * 128
    }

    /// What was admitted since this was last asked.
    pub fn take_admitted(&mut self) -> Admitted {
        std::mem::take(&mut self.admitted)
    }

    /// How many sessions are attached.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The newest slot that is durable.
    pub fn last_slot(&self) -> Slot {
        self.log.last()
    }

    /// The epoch under which it writes; zero if it has not claimed the document.
    pub fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    /// Whether it takes no new slot and none is in flight: whatever was acknowledged is in the log.
    pub fn sealed(&self) -> bool {
        let busy = self.log.busy() && !faults::active(Fault::SealedInFlight);
        self.sealed && !busy && self.recovering.is_none() && self.storing.is_empty()
    }

    /// Whether it takes no new slot, be one in flight or not.
    pub fn takes_no_slot(&self) -> bool {
        self.sealed
    }

    /// Whether its fence is in the log, and no other is owed.
    pub fn claimed(&self) -> bool {
        self.log.epoch() > Epoch::ZERO && !self.fence_owed
    }

    /// Everybody's presence, for the next owner.
    pub fn presence(&self, now: Instant) -> Vec<Presence> {
        self.awareness.presence(now)
    }

    /// Whether it is closed to everybody. Durable.
    pub fn deleted(&self) -> bool {
        self.deleted
    }

    /// Whether it holds what the store has lost, until that is saved: it must not be forgotten meanwhile (R9).
    pub fn recovering(&self) -> bool {
        self.recovering.is_some()
    }

    /// Its name.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }
}
