//! What editors and routers ask for: answers are made when nothing is being written, once for all who wait.
//!
//! Those at hand are given at once. Those that take long to compute are made one at a time, in a turn of their own:
//!
//! ```text
//!  asked ──▶ at hand? ──yes──▶ answered
//!               └──no──▶ in turn ──woken──▶ one is computed ──▶ one slot is written, if something waits for that ──▶ …
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
use crate::Input;
use crate::gate::Output;
use crate::replica::{self, Broken, Replica};
use crate::seen::Verdict;
use crate::session::SessionKey;
use crate::stored::EMPTY_UPDATE;

/// What an input will cost, so that the shell can choose the thread that pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Microseconds: on the thread of the caller.
    Light,
    /// Perhaps milliseconds: on a thread of the pool.
    Heavy,
    /// Likewise, and stored bytes are decoded that no replica of this process has decoded before: the shell notes the
    /// attempt in the store first.
    Builds,
}

/// An input above this size is heavy, and so is an answer that is made of more.
const HEAVY_BYTES: usize = 64 << 10;
/// A document below this size is sent whole rather than made into a replica for the sake of a difference.
const WHOLE_BYTES_MAX: usize = 16 << 10;

/// The state vector of an editor that has nothing.
const NOTHING_SEEN: &[u8] = &[0];

/// Answers that are still true, so that a crowd costs as much as one.
#[derive(Default)]
pub(super) struct Answers {
    /// What was admitted when the first three were made.
    version: u64,
    full: Option<Bytes>,
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

impl Document {
    /// What an input will cost.
    pub fn weight(&self, input: &Input) -> Weight {
        let request = match input {
            Input::Request { request, .. } => match request {
                Request::Update { update, .. } => self.weight_of_update(update),
                Request::SyncRequest { state_vector, .. } if self.may_compute(input) => {
                    self.weight_of_answer(state_vector)
                }
                Request::CatchUp { from }
                    if self.may_compute(input) && self.stored.few_after(*from).is_none() =>
                {
                    self.weight_of_replica()
                }
                Request::SyncRequest { .. }
                | Request::CatchUp { .. }
                | Request::Attach { .. }
                | Request::Detach { .. }
                | Request::Awareness { .. }
                | Request::QueryAwareness { .. } => Weight::Light,
            },
            Input::Import { update, .. } => self.weight_of_update(update),
            Input::Export { .. } if self.may_compute(input) => self.weight_of_full(),
            Input::Compacted { snapshot } if snapshot.state.len() > HEAVY_BYTES => Weight::Heavy,
            Input::Tail { last, .. } if *last < self.log.last() => self.weight_of_full(),
            Input::Wake if self.may_compute(input) => self.weight_of_replica(),
            Input::Wake if self.timers.fold_due => self.weight_of_replica(),
            Input::RouterGone { .. }
            | Input::Appended { .. }
            | Input::Export { .. }
            | Input::Tail { .. }
            | Input::Compacted { .. }
            | Input::CompactionFailed
            | Input::Saved
            | Input::SaveFailed
            | Input::Delete
            | Input::Undelete
            | Input::Seal
            | Input::Unseal
            | Input::Claim
            | Input::TakeOver { .. }
            | Input::Inherit { .. }
            | Input::Wake => Weight::Light,
        };
        if self.over { Weight::Light } else { request }
    }

    fn weight_of_update(&self, update: &Bytes) -> Weight {
        if self.replica.is_none() && !self.stored.is_empty() {
            return match self.seen.judge(update) {
                Ok(Verdict::NothingNew) | Err(_) => Weight::Light,
                // All of it stays with its editor.
                Ok(Verdict::Partial { complete, .. }) if complete.is_empty() => Weight::Light,
                Ok(Verdict::Complete | Verdict::Partial { .. }) => Weight::Builds,
            };
        }
        if update.len() > HEAVY_BYTES { Weight::Heavy } else { Weight::Light }
    }

    fn weight_of_answer(&self, state_vector: &[u8]) -> Weight {
        match self.lacks(state_vector) {
            Ok(Lacks::Nothing) => Weight::Light,
            Ok(Lacks::Everything) | Err(_) => self.weight_of_full(),
            Ok(Lacks::Since(_)) => self.weight_of_replica(),
        }
    }

    /// Whether an answer may be computed in this turn. Where that is not so, what the input brings goes first.
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

    /// The next wake computes an answer.
    pub(super) fn answers_due(&self) -> bool {
        self.may_answer() && self.waiting.owes() && !(self.has_work() && self.waiting.slot_first)
    }

    /// Whether an answer costs little.
    fn at_hand(&self, lacks: &Lacks) -> bool {
        match lacks {
            Lacks::Nothing => true,
            Lacks::Everything => self.weight_of_full() == Weight::Light,
            Lacks::Since(state_vector) => {
                let computed = self.answers.difference.as_ref().is_some_and(|(of, _)| of == state_vector);
                let still_true = self.answers.version == self.version;
                (computed && still_true) || self.weight_of_replica() == Weight::Light
            }
        }
    }

    fn weight_of_full(&self) -> Weight {
        let cached = self.answers.version == self.version && self.answers.full.is_some();
        if cached || (self.replica.is_none() && self.stored.single().is_some()) {
            return Weight::Light;
        }
        self.weight_of_replica()
    }

    fn weight_of_replica(&self) -> Weight {
        if self.replica.is_none() && !self.stored.is_empty() {
            Weight::Builds
        } else if self.stored.state_bytes() > HEAVY_BYTES {
            Weight::Heavy
        } else {
            Weight::Light
        }
    }

    /// One that cannot be read is counted, and answered like that of an editor that has nothing: a router reads no more
    /// from an editor that waits for too many answers.
    pub(super) fn sync_request(&mut self, key: SessionKey, state_vector: Bytes, now: Instant) {
        if !self.speaks(key) {
            return;
        }
        let readable = self.seen.lacks_nothing(&state_vector).is_ok();
        if !readable {
            self.count(crate::Count::Refused);
            self.refused(key, now);
        }
        let state_vector = if readable { state_vector } else { Bytes::from_static(NOTHING_SEEN) };
        self.waiting.syncs.push((key, state_vector));
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
        let updates = self.stored.few_after(from)?;
        match updates.as_slice() {
            [] => Some(Bytes::from_static(EMPTY_UPDATE)),
            [update] => Some(update.clone()),
            updates => replica::merge(updates.iter()).ok(),
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
            let Some(update) = self.what(&lacks) else { return };
            self.leave(Output::SyncAnswer { router, sessions, update });
        }
    }

    fn answer_in_turn(&mut self, state_vector: &Bytes) {
        let lacks = self.lacks(state_vector).unwrap_or(Lacks::Everything);
        let Some(update) = self.what(&lacks) else { return };
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
        let Some(update) = self.what(&self.lacks_after(from)) else { return };
        let waiting = std::mem::take(&mut self.waiting.catch_ups);
        let (answered, others) = waiting.into_iter().partition(|(_, of)| *of == from);
        self.waiting.catch_ups = others;
        for (router, from) in BTreeSet::from_iter(answered) {
            self.leave(Output::CaughtUp { router, from, update: update.clone() });
        }
    }

    fn answer_exports(&mut self) {
        for ticket in std::mem::take(&mut self.waiting.exports) {
            let Some(state) = self.full_state() else { return };
            self.leave(Output::Exported { ticket, state });
        }
    }

    fn lacks_after(&self, from: Slot) -> Lacks {
        match self.stored.seen_at(from) {
            Some(state_vector) if from <= self.log.last() => Lacks::Since(state_vector),
            Some(_) | None => Lacks::Everything,
        }
    }

    fn lacks(&self, state_vector: &[u8]) -> Result<Lacks, ringleaf_wire::Refusal> {
        if self.seen.lacks_nothing(state_vector)? {
            return Ok(Lacks::Nothing);
        }
        let nothing_seen = matches!(state_vector, [] | NOTHING_SEEN);
        let small = self.replica.is_none() && self.stored.state_bytes() <= WHOLE_BYTES_MAX;
        if nothing_seen || small {
            return Ok(Lacks::Everything);
        }
        Ok(Lacks::Since(Bytes::copy_from_slice(state_vector)))
    }

    /// `None`: the document is over.
    fn what(&mut self, lacks: &Lacks) -> Option<Bytes> {
        match lacks {
            Lacks::Nothing => {
                self.refresh();
                let seen = &self.seen;
                let nothing = self.answers.nothing.get_or_insert_with(|| {
                    let deleted = seen.delete_set();
                    let mut update = Vec::with_capacity(1 + deleted.len());
                    update.push(0);
                    update.extend_from_slice(&deleted);
                    update.into()
                });
                Some(nothing.clone())
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
        let seen = &self.seen;
        self.answers.state_vector.get_or_insert_with(|| seen.state_vector().into()).clone()
    }

    /// Everything admitted, as one update. Stored bytes when they do, else encoded; once per version either way.
    pub(super) fn full_state(&mut self) -> Option<Bytes> {
        self.refresh();
        if let Some(full) = &self.answers.full {
            return Some(full.clone());
        }
        let settled = self.gathered.is_empty() && !self.log.busy();
        let full = match self.full_without_replica(settled) {
            Some(full) => full,
            None => self.compute(Replica::full)?,
        };
        if settled && self.stored.single().is_none() {
            // The slots are in there: they need not be held twice.
            self.stored.replace_base(full.clone(), self.log.last());
        }
        self.refresh();
        self.answers.full = Some(full.clone());
        Some(full)
    }

    fn full_without_replica(&self, settled: bool) -> Option<Bytes> {
        if !settled {
            return None;
        }
        if let Some(single) = self.stored.single() {
            return Some(single);
        }
        if self.replica.is_some() {
            return None;
        }
        replica::merge(self.stored.few()?).ok()
    }

    fn difference(&mut self, state_vector: &Bytes) -> Option<Bytes> {
        self.refresh();
        if let Some((of, update)) = &self.answers.difference
            && of == state_vector
        {
            return Some(update.clone());
        }
        let update = self.compute(|replica| replica.difference(state_vector))?;
        self.refresh();
        self.answers.difference = Some((state_vector.clone(), update.clone()));
        Some(update)
    }

    /// Computes something from the replica, and once more from a new one if it breaks.
    fn compute(&mut self, work: impl Fn(&Replica) -> Result<Bytes, Broken>) -> Option<Bytes> {
        loop {
            if !self.ensure_replica() {
                return None;
            }
            match work(self.replica.as_ref()?) {
                Ok(bytes) => return Some(bytes),
                Err(broken) => self.broke_down(&broken),
            }
            if self.over {
                return None;
            }
        }
    }

    /// Nobody writes: everything becomes one update, in its shortest form, and the replica goes.
    pub(super) fn fold(&mut self) {
        if self.stored.single().is_none() {
            let Some(state) = self.full_state() else { return };
            // It names deletions that followed from others; no update did.
            if self.seen.take_in(&state).is_ok() {
                self.version += 1;
            }
        }
        self.replica = None;
        self.answers.clear();
        self.stored.shrink();
    }
}
