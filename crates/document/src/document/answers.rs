//! What editors and routers ask for: answers are made when nothing is being written, once for all who wait.
//!
//! Those at hand are given at once. Those that take long to copy are made one at a time, in a turn of their own:
//!
//! ```text
//!  asked ──▶ at hand? ──yes──▶ answered
//!               └──no──▶ in turn ──woken──▶ one is made ──▶ one slot is written, if something waits for that ──▶ …
//! ```
//!
//! So nobody waits longer for his edit, or for the answer to his question, because somebody else asks a lot (I14).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::{RouterId, SessionId, Slot};
use ringleaf_wire::{Event, Request};

use super::Document;
use super::waiting::Next;
use crate::gate::Output;
use crate::session::SessionKey;
use crate::{Input, merge};

/// What an input will cost at most, so that the shell can choose the thread that pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A few milliseconds: on the thread of the caller.
    Light,
    /// Perhaps fifty: on a thread of the pool.
    Heavy,
    /// More, in proportion to the bytes that are looked at: on a thread of the pool that nobody else waits for.
    Long,
}

/// An input above this size is heavy …
const HEAVY_BYTES: usize = 64 << 10;
/// … and above this size long. So is an answer of which more must be copied, or a document that is larger when it is
/// compacted.
const LONG_BYTES: usize = 1 << 20;

/// Copying takes a hundredth of the time of looking at each struct.
const COPYING: usize = 32;
/// Beginning another client takes as long as looking at so many bytes …
const CLIENT_BYTES: usize = 8;
/// … unless only its clock is written: then so many clients count for one.
const CLOCKS: usize = 4;

/// The state vector of an editor that has nothing.
const NOTHING_SEEN: &[u8] = &[0];

/// The update that changes nothing.
const EMPTY_UPDATE: &[u8] = &[0, 0];

/// Answers that are still true, so that a crowd costs as much as one.
#[derive(Default)]
pub(super) struct Answers {
    /// What was admitted when the others were made.
    version: u64,
    nothing: Option<Bytes>,
    state_vector: Option<Bytes>,
    difference: Option<(Bytes, Bytes)>,
    caught_up: Option<(Slot, Slot, Bytes)>,
}

impl Answers {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What an editor lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lacks {
    /// No struct; its deletions are not known, so it gets them all.
    Nothing,
    Everything,
    /// What this state vector lacks.
    Since(Bytes),
}

/// The weight of looking at so many bytes.
pub(super) fn weight_of_bytes(bytes: usize) -> Weight {
    if bytes > LONG_BYTES {
        Weight::Long
    } else if bytes > HEAVY_BYTES {
        Weight::Heavy
    } else {
        Weight::Light
    }
}

impl Document {
    /// What an input will cost.
    pub fn weight(&self, input: &Input) -> Weight {
        let weight = match input {
            Input::Request { request, .. } => match request {
                Request::Update { update, .. } => self.weight_of_update(update),
                Request::SyncRequest { state_vector, .. } if self.may_compute(input) => {
                    weight_of_bytes(state_vector.len()).max(self.weight_of_answer(state_vector))
                }
                Request::Attach { .. } => self.weight_of_clocks(),
                Request::SyncRequest { state_vector, .. } => weight_of_bytes(state_vector.len()),
                Request::CatchUp { from }
                    if self.may_compute(input) && self.recent.after_if_kept(*from).is_none() =>
                {
                    self.weight_of_copy()
                }
                Request::CatchUp { .. }
                | Request::Detach { .. }
                | Request::Awareness { .. }
                | Request::QueryAwareness { .. } => Weight::Light,
            },
            // On a copy of what has changed.
            Input::Import { update, .. } => {
                self.weight_of_update(update).max(weight_of_bytes(self.structs.heap_bytes() / COPYING))
            }
            Input::Export { .. } if self.may_compute(input) => self.weight_of_full(),
            Input::Tail { slots, last } => {
                let lost = if *last < self.log.last() { self.weight_of_full() } else { Weight::Light };
                lost.max(weight_of_bytes(bytes_of(slots)))
            }
            Input::TakeOver { slots, kept } => {
                weight_of_bytes(bytes_of(slots) + kept.iter().map(|kept| kept.update.len()).sum::<usize>())
            }
            Input::Wake => self.weight_of_wake(input),
            Input::RouterGone { .. }
            | Input::Appended { .. }
            | Input::Export { .. }
            | Input::Compacted { .. }
            | Input::CompactionFailed
            | Input::Saved
            | Input::SaveFailed
            | Input::RemainderKept { .. }
            | Input::Delete
            | Input::Undelete
            | Input::Seal
            | Input::Unseal
            | Input::Claim
            | Input::Inherit { .. } => Weight::Light,
        };
        if self.over { Weight::Light } else { weight.max(self.weight_of_writing(input)) }
    }

    fn weight_of_wake(&self, input: &Input) -> Weight {
        let compaction = if self.timers.compaction_due { self.structs.encoded_bytes() } else { 0 };
        let ready = self.remainders.ready_at(self.timers.told_at).map_or(0, |_| self.remainders.bytes());
        let answer = match self.may_compute(input) {
            true => weight_of_bytes(self.waiting.state_vector_bytes_max()).max(self.weight_of_copy()),
            false => Weight::Light,
        };
        weight_of_bytes(compaction + ready).max(answer)
    }

    /// Whatever comes, what has gathered may be written after it: merged, and with a state vector.
    fn weight_of_writing(&self, input: &Input) -> Weight {
        if self.log.busy() && !matches!(input, Input::Appended { .. }) {
            return Weight::Light;
        }
        let merged = if self.gathered.len() > 1 { self.gathered_bytes } else { 0 };
        let marked = if self.recent.wants_mark() { self.structs.client_count() / CLOCKS } else { 0 };
        weight_of_bytes(merged + marked)
    }

    fn weight_of_update(&self, update: &Bytes) -> Weight {
        let others = self.structs.looked_at_bytes(update.len()) + self.remainders.bytes();
        // Its editor may be asked for what is left behind.
        weight_of_bytes(update.len() + others).max(self.weight_of_clocks())
    }

    /// Of the state vector.
    fn weight_of_clocks(&self) -> Weight {
        let made = self.answers.state_vector.is_some() && self.answers.version == self.version;
        weight_of_bytes(if made { 0 } else { self.structs.client_count() / CLOCKS })
    }

    fn weight_of_answer(&self, state_vector: &[u8]) -> Weight {
        if is_long(state_vector) {
            return self.weight_of_copy();
        }
        match self.lacks(state_vector) {
            Ok(Lacks::Nothing) => self.weight_of_deleted(),
            Ok(Lacks::Everything) | Err(_) => self.weight_of_full(),
            Ok(Lacks::Since(_)) => self.weight_of_copy(),
        }
    }

    /// Whether an answer may be made in this turn that is not at hand. Where that is not so, what the input brings goes
    /// first.
    pub(super) fn may_compute(&self, input: &Input) -> bool {
        match input {
            Input::Wake => self.answers_due(),
            Input::Request { request: Request::SyncRequest { .. } | Request::CatchUp { .. }, .. }
            | Input::Export { .. } => {
                self.may_answer() && !self.has_work() && !self.waiting.owes() && !self.waiting.slot_first
            }
            Input::Request { .. }
            | Input::RouterGone { .. }
            | Input::Appended { .. }
            | Input::Tail { .. }
            | Input::Compacted { .. }
            | Input::CompactionFailed
            | Input::Saved
            | Input::SaveFailed
            | Input::RemainderKept { .. }
            | Input::Delete
            | Input::Undelete
            | Input::Import { .. }
            | Input::Seal
            | Input::Unseal
            | Input::Claim
            | Input::TakeOver { .. }
            | Input::Inherit { .. } => false,
        }
    }

    /// Nothing is being written.
    pub(super) fn may_answer(&self) -> bool {
        !self.log.busy() && self.recovering.is_none() && !self.sealed
    }

    /// The next wake makes an answer.
    pub(super) fn answers_due(&self) -> bool {
        self.may_answer() && self.waiting.owes() && !(self.has_work() && self.waiting.slot_first)
    }

    /// Whether an answer costs little.
    fn at_hand(&self, lacks: &Lacks) -> bool {
        match lacks {
            Lacks::Nothing => self.weight_of_deleted() == Weight::Light,
            Lacks::Everything => self.weight_of_full() == Weight::Light,
            Lacks::Since(state_vector) => {
                let made = self.answers.difference.as_ref().is_some_and(|(of, _)| of == state_vector);
                let still_true = self.answers.version == self.version;
                (made && still_true) || self.weight_of_copy() == Weight::Light
            }
        }
    }

    fn weight_of_full(&self) -> Weight {
        if self.structs.is_folded() { Weight::Light } else { self.weight_of_copy() }
    }

    /// Of copying everything, at worst, and going through all clients.
    fn weight_of_copy(&self) -> Weight {
        let clients = self.structs.client_count() * CLIENT_BYTES;
        weight_of_bytes(self.structs.encoded_bytes() / COPYING + clients).max(self.weight_of_deleted())
    }

    /// Of the deleted ranges, if they have to be written.
    fn weight_of_deleted(&self) -> Weight {
        let made = self.answers.nothing.is_some() && self.answers.version == self.version;
        weight_of_bytes(if made { 0 } else { self.structs.unwritten_ranges() })
    }

    /// One that cannot be read is counted, and answered like that of an editor that has nothing: a router reads no more
    /// from an editor that waits for too many answers.
    pub(super) fn sync_request(&mut self, key: SessionKey, state_vector: Bytes, now: Instant) {
        if !self.speaks(key) {
            return;
        }
        let readable = self.structs.lacks_nothing(&state_vector).is_ok();
        if !readable {
            self.count(crate::Count::Refused);
            self.refused(key, now);
        }
        let state_vector = if readable { state_vector } else { Bytes::from_static(NOTHING_SEEN) };
        if is_long(&state_vector) {
            // It is looked at in the turn that answers it.
            self.waiting.in_turn.entry(key).or_default().push_back(state_vector);
        } else {
            self.waiting.syncs.push((key, state_vector));
        }
    }

    /// Slots that are at hand are durable: they leave at once. Everything else waits.
    pub(super) fn catch_up(&mut self, router: RouterId, from: Slot) {
        if self.recovering.is_some() {
            self.waiting.catch_ups.push((router, from));
            return;
        }
        let through = self.log.last();
        let update = match &self.answers.caught_up {
            Some((f, t, update)) if (*f, *t) == (from, through) => Some(update.clone()),
            Some(_) | None => self.merged_after(from),
        };
        match update {
            Some(update) => {
                self.answers.caught_up = Some((from, through, update.clone()));
                self.deliver(router, Event::CaughtUp { from, through, update });
            }
            None => self.waiting.catch_ups.push((router, from)),
        }
    }

    fn merged_after(&self, from: Slot) -> Option<Bytes> {
        if from > self.log.last() {
            return None;
        }
        let mut updates = self.recent.after_if_kept(from)?;
        let rest = updates.clone();
        match (updates.next(), updates.next()) {
            (None, _) => Some(Bytes::from_static(EMPTY_UPDATE)),
            (Some(update), None) => Some(update.clone()),
            (Some(_), Some(_)) => merge(rest),
        }
    }

    /// Answers everybody whose answer is at hand, and one of the others if it `computes`. Called when nothing is in flight:
    /// what has gathered meanwhile is in the answers, so they leave when that is durable.
    pub(super) fn answer(&mut self, computes: bool) {
        if self.waiting.is_empty() {
            return;
        }
        self.answer_syncs();
        self.answer_catch_ups();
        if self.weight_of_full() == Weight::Light {
            self.answer_exports();
        }
        if !computes || self.over {
            return;
        }
        match self.waiting.next() {
            Some(Next::Exports) => self.answer_exports(),
            Some(Next::CatchUp(from)) => self.answer_catch_up(from),
            Some(Next::Sync(state_vector)) => self.answer_in_turn(&state_vector),
            None => return,
        }
        self.waiting.slot_first = true;
    }

    /// Looks at those who have asked since the last time.
    fn answer_syncs(&mut self) {
        let mut groups: BTreeMap<(RouterId, Lacks), Vec<SessionId>> = BTreeMap::new();
        for (key, state_vector) in std::mem::take(&mut self.waiting.syncs) {
            let Ok(lacks) = self.lacks(&state_vector) else { continue };
            if self.at_hand(&lacks) && !self.waiting.in_turn.contains_key(&key) {
                groups.entry((key.0, lacks)).or_default().push(key.1);
            } else {
                self.waiting.in_turn.entry(key).or_default().push_back(state_vector);
            }
        }
        for ((router, lacks), sessions) in groups {
            let update = self.what(&lacks);
            self.leave(Output::SyncAnswer { router, sessions, update });
        }
    }

    fn answer_in_turn(&mut self, state_vector: &Bytes) {
        let lacks = self.lacks(state_vector).unwrap_or(Lacks::Everything);
        let update = self.what(&lacks);
        for (router, sessions) in self.waiting.take_all(state_vector) {
            self.leave(Output::SyncAnswer { router, sessions, update: update.clone() });
        }
    }

    fn answer_catch_ups(&mut self) {
        let slots: BTreeSet<Slot> = self.waiting.catch_ups.iter().map(|(_, from)| *from).collect();
        for from in slots {
            if self.at_hand(&self.lacks_after(from)) {
                self.answer_catch_up(from);
            }
        }
    }

    /// Answers all routers that lack what came after this slot.
    fn answer_catch_up(&mut self, from: Slot) {
        let update = self.what(&self.lacks_after(from));
        let waiting = std::mem::take(&mut self.waiting.catch_ups);
        let (answered, others) = waiting.into_iter().partition(|(_, of)| *of == from);
        self.waiting.catch_ups = others;
        for (router, from) in BTreeSet::from_iter(answered) {
            self.leave(Output::CaughtUp { router, from, update: update.clone() });
        }
    }

    fn answer_exports(&mut self) {
        for ticket in std::mem::take(&mut self.waiting.exports) {
            let state = self.full_state();
            self.leave(Output::Exported { ticket, state });
        }
    }

    fn lacks_after(&self, from: Slot) -> Lacks {
        match self.recent.seen_at(from) {
            Some(state_vector) if from <= self.log.last() => Lacks::Since(state_vector),
            Some(_) | None => Lacks::Everything,
        }
    }

    fn lacks(&self, state_vector: &[u8]) -> Result<Lacks, ringleaf_wire::Refusal> {
        if self.structs.lacks_nothing(state_vector)? {
            return Ok(Lacks::Nothing);
        }
        if matches!(state_vector, [] | NOTHING_SEEN) {
            return Ok(Lacks::Everything);
        }
        Ok(Lacks::Since(Bytes::copy_from_slice(state_vector)))
    }

    fn what(&mut self, lacks: &Lacks) -> Bytes {
        match lacks {
            Lacks::Nothing => {
                self.refresh();
                let structs = &self.structs;
                let nothing = self.answers.nothing.get_or_insert_with(|| {
                    let deleted = structs.delete_set();
                    let mut update = Vec::with_capacity(1 + deleted.len());
                    update.push(0);
                    update.extend_from_slice(&deleted);
                    update.into()
                });
                nothing.clone()
            }
            Lacks::Everything => self.full_state(),
            Lacks::Since(state_vector) => self.difference(state_vector),
        }
    }

    fn refresh(&mut self) {
        if self.answers.version != self.version {
            self.answers.clear();
            self.answers.version = self.version;
        }
    }

    pub(super) fn state_vector(&mut self) -> Bytes {
        self.refresh();
        let structs = &self.structs;
        self.answers.state_vector.get_or_insert_with(|| structs.state_vector().into()).clone()
    }

    /// Everything admitted, as one update: the bytes that are held, without a copy for each who asks.
    pub(super) fn full_state(&mut self) -> Bytes {
        self.structs.fold();
        self.structs.encode().concat()
    }

    fn difference(&mut self, state_vector: &Bytes) -> Bytes {
        self.refresh();
        if let Some((of, update)) = &self.answers.difference
            && of == state_vector
        {
            return update.clone();
        }
        let update = match self.structs.diff(state_vector) {
            Ok(parts) => parts.concat(),
            // It was readable when it came in.
            Err(_) => self.full_state(),
        };
        self.answers.difference = Some((state_vector.clone(), update.clone()));
        update
    }
}

/// It takes long to see what it lacks.
fn is_long(state_vector: &[u8]) -> bool {
    weight_of_bytes(state_vector.len()) > Weight::Light
}

fn bytes_of(slots: &[(Slot, ringleaf_types::Record)]) -> usize {
    let bodies = slots.iter().map(|(_, record)| match &record.body {
        ringleaf_types::Body::Updates(updates) => updates.iter().map(Bytes::len).sum(),
        ringleaf_types::Body::Deletion | ringleaf_types::Body::Undeletion => 0,
    });
    bodies.sum()
}
