//! What the store answers: appends, tails, snapshots.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{Body, CloseReason, NodeId, Record, Slot, Snapshot};
use ringleaf_wire::Event;

use super::Document;
use crate::log::{Decided, TailCheck};
use crate::{AppendOutcome, Effect, Kept, merge};

impl Document {
    /// Starts to write what has gathered. Order: answers to who waits are made before this, so that they leave with
    /// this slot.
    pub(super) fn begin(&mut self) {
        let body = if self.gathered.is_empty() {
            match self.control.take() {
                Some(body) => body,
                None if self.fence_owed => Body::Updates(Vec::new()),
                None => return,
            }
        } else {
            self.gathered_bytes = 0;
            Body::Updates(as_few(std::mem::take(&mut self.gathered)))
        };
        self.mark = self.recent.wants_mark().then(|| self.structs.state_vector().into());
        if std::mem::take(&mut self.fence_owed) {
            self.log.renounce();
        }
        let (slot, record) = self.log.begin(body);
        self.gate.advance();
        self.effects.push_back(Effect::Append { slot, record });
    }

    pub(super) fn appended(&mut self, slot: Slot, outcome: AppendOutcome) {
        if let Some(stash) = &mut self.recovering {
            *stash = Some((slot, outcome));
            return;
        }
        match self.log.decided(slot, outcome) {
            Decided::Durable(slot, record) => {
                self.durable(slot, record.body);
                if let Some(state_vector) = self.mark.take() {
                    self.recent.mark(slot, state_vector);
                }
                self.open_gate();
            }
            Decided::Late(slot, record) => {
                self.foreign(slot, record);
                self.mark = None;
                if !self.over {
                    let (slot, record) = self.log.again();
                    self.effects.push_back(Effect::Append { slot, record });
                }
            }
            Decided::Fenced(by) => self.fenced(by),
            Decided::WentBackwards => {
                self.went_backwards(Slot::ZERO);
                if let Some(stash) = &mut self.recovering {
                    *stash = Some((slot, AppendOutcome::Gap));
                }
            }
            Decided::Stray => {}
        }
    }

    /// Everything that the last batch covers may leave (R3: in order).
    fn open_gate(&mut self) {
        while let Some(effect) = self.gate.release(self.log.last()) {
            self.effects.push_back(effect);
        }
    }

    /// A slot is durable: publish it.
    fn durable(&mut self, slot: Slot, body: Body) {
        match body {
            Body::Updates(updates) => {
                let updates: Arc<[Bytes]> = as_few(updates).into();
                self.recent.push(slot, updates.clone());
                self.recent.fit(self.structs.encoded_bytes());
                if !updates.is_empty() {
                    self.broadcast(Event::Publish { previous: self.published, slot, updates });
                    self.published = slot;
                    self.substantial = slot;
                }
            }
            Body::Deletion => {
                self.recent.push(slot, Arc::new([]));
                self.substantial = slot;
                self.deleted = true;
                self.close_everything();
            }
            Body::Undeletion => {
                self.recent.push(slot, Arc::new([]));
                self.substantial = slot;
                self.deleted = false;
            }
        }
    }

    /// A slot that somebody else wrote.
    fn foreign(&mut self, slot: Slot, record: Record) {
        if faults::active(Fault::LoadBeforeClaim) {
            return;
        }
        self.gate.intrude(slot);
        if let Body::Updates(updates) = &record.body {
            for update in updates {
                if let Ok(admission) = self.structs.admit_stored(update) {
                    self.version += 1;
                    self.ground_came(&admission.grown);
                }
            }
        }
        self.durable(slot, record.body);
    }

    fn close_everything(&mut self) {
        self.sessions.clear();
        self.waits_no_longer(|_| true);
        self.awareness = crate::awareness::Awareness::new();
        self.waiting.clear_sessions();
        for ticket in self.gate.clear() {
            let outcome = Err("the document was deleted".to_owned());
            self.effects.push_back(Effect::Imported { ticket, outcome });
        }
        self.broadcast(Event::Closed { reason: CloseReason::DocumentDeleted });
        if !self.gathered.is_empty() {
            // They were taken into memory, and will not be stored: nobody may build on them.
            self.over = true;
            self.effects.push_back(Effect::Reload);
        }
    }

    pub(super) fn close(&mut self, body: Body) {
        let deleted = body == Body::Deletion;
        let already = self.deleted == deleted && self.control.is_none();
        if !already {
            self.control = Some(body);
        }
    }

    pub(super) fn fenced(&mut self, by: Option<NodeId>) {
        self.over = true;
        self.gate.clear();
        self.effects.push_back(Effect::Fenced { by });
    }

    pub(super) fn tail(&mut self, slots: Vec<(Slot, Record)>, last: Slot) {
        if self.recovering.is_some() {
            return;
        }
        match self.log.tail(slots, last) {
            TailCheck::Merge(slots) => {
                for (slot, record) in slots {
                    self.foreign(slot, record);
                }
            }
            TailCheck::Fenced(by) => self.fenced(Some(by)),
            TailCheck::WentBackwards => self.went_backwards(last),
        }
    }

    pub(super) fn take_over(&mut self, slots: Vec<(Slot, Record)>, kept: Vec<Kept>) {
        if self.recovering.is_none() {
            // A document that has claimed already is an owner like any other: a higher fence ends it.
            match self.log.follow(slots) {
                TailCheck::Merge(slots) => {
                    for (slot, record) in slots {
                        self.foreign(slot, record);
                    }
                }
                TailCheck::Fenced(by) => return self.fenced(Some(by)),
                TailCheck::WentBackwards => {}
            }
        }
        self.restore(kept);
        (self.sealed, self.fence_owed) = (false, true);
    }

    /// R9: what was durable is gone from the store. Nothing is acknowledged until a snapshot covers it again.
    fn went_backwards(&mut self, found: Slot) {
        let state = self.full_state();
        let snapshot =
            Snapshot { upto: self.log.last(), epoch: self.log.highest(), deleted: self.deleted, state };
        self.recovering = Some(None);
        self.effects.push_back(Effect::StoreWentBackwards { found, snapshot });
    }

    pub(super) fn saved(&mut self) {
        if let Some(stash) = self.recovering.take() {
            match stash {
                // What is durable is covered again, so there is something to append to.
                Some((_, AppendOutcome::Gap)) => {
                    if let Some((slot, record)) = self.log.in_flight().cloned() {
                        self.effects.push_back(Effect::Append { slot, record });
                    }
                }
                Some((slot, outcome)) => self.appended(slot, outcome),
                None if !self.log.busy() => self.open_gate(),
                None => {}
            }
        }
    }

    pub(super) fn save_failed(&mut self) {
        if self.recovering.is_some() {
            self.timers.save_again = true;
        }
    }

    /// Makes the snapshot once more.
    pub(super) fn save_again(&mut self) {
        let stash = self.recovering.take();
        self.went_backwards(Slot::ZERO);
        if let (Some(recovering), Some(stash)) = (&mut self.recovering, stash) {
            *recovering = stash;
        }
    }

    pub(super) fn compacted(&mut self, upto: Slot) {
        self.timers.compacting = false;
        if upto <= self.log.last() {
            self.recent.snapshot_created(upto);
        }
        // Else it holds more than was asked for; what is not merged yet comes by the log.
    }

    pub(super) fn compaction_failed(&mut self, now: Instant) {
        self.timers.compacting = false;
        self.timers.compact_not_before = Some(now + super::timers::COMPACT_AGAIN);
    }
}

/// More bytes than this are not merged: it would take long, and there is little to gain.
const MERGED_BYTES_MAX: usize = 64 << 10;

/// Several updates become one, so that the log is shorter and each reader gets one frame.
fn as_few(updates: Vec<Bytes>) -> Vec<Bytes> {
    if updates.len() < 2 || updates.iter().map(Bytes::len).sum::<usize>() > MERGED_BYTES_MAX {
        return updates;
    }
    match merge(updates.iter()) {
        Some(merged) => vec![merged],
        None => updates,
    }
}
