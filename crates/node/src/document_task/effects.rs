//! Carrying out what the document wants done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use ringleaf_document::{Document, Effect, Input};
use ringleaf_store::StoreError;
use ringleaf_types::{DocumentId, Epoch, RouterId, Slot, Snapshot};
use ringleaf_wire::Event;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Answer, DocumentTask, End};
use crate::append::append;
use crate::command::{Exported, Refused};
use crate::compactor;
use crate::rates::Traffic;
use crate::remainders;
use crate::shared::Shared;

/// A stopping document with so many slots above its snapshot makes one more, if it is small: the next start is quicker.
const STOP_TAIL_SLOTS_MIN: u64 = 128;
const STOP_SNAPSHOT_BYTES_MAX: usize = 4 << 20;
/// How old the measure of a document's memory may be.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

impl DocumentTask {
    /// Carries out every effect, in the order in which they come.
    pub(super) fn carry_out_all(&mut self, document: &mut Document) -> Option<End> {
        while let Some(effect) = document.next_effect() {
            if let Some(end) = self.carry_out(effect) {
                return Some(end);
            }
        }
        None
    }

    fn carry_out(&mut self, effect: Effect) -> Option<End> {
        match effect {
            Effect::Append { slot, record } => {
                assert!(self.append.is_none(), "of one document one append is in flight, never two (R2)");
                self.acknowledged();
                self.in_flight_since = self.gathering_since.take();
                let (shared, id) = (Arc::clone(&self.shared), self.resident.document.clone());
                self.append = Some(append(shared, id, slot, record).boxed());
            }
            Effect::Broadcast { event } => {
                if matches!(event, Event::Publish { .. }) {
                    let sessions = u32::try_from(self.resident.facts.sessions()).unwrap_or(u32::MAX);
                    self.deliveries = self.deliveries.saturating_add(sessions);
                }
                for router in self.routers.broadcast(event) {
                    self.pending.push_back(Input::RouterGone { router });
                }
            }
            Effect::Deliver { router, event } => self.deliver(router, event),
            Effect::Compact { through } => {
                self.compacting = true;
                let answer = compactor::start(&self.shared, &self.resident.document, through);
                self.answer(answer, Input::CompactionFailed);
            }
            Effect::ReadTail { after } => self.check_tail(after),
            Effect::StoreWentBackwards { found, snapshot } => {
                let answer = compactor::save(&self.shared, &self.resident.document, found, snapshot);
                self.answer(answer, Input::SaveFailed);
            }
            Effect::Imported { ticket, outcome } => {
                if let Some(reply) = self.questions.imports.remove(&ticket) {
                    let _ = reply.send(outcome.map_err(Refused::Update));
                }
            }
            Effect::Exported { ticket, through, state } => {
                if let Some(reply) = self.questions.exports.remove(&ticket) {
                    let _ = reply.send(Ok(Exported { through, state }));
                }
            }
            Effect::Reload => return Some(End::Reload),
            Effect::KeepRemainder { id, update } => {
                self.keeping += 1;
                let kept =
                    remainders::keep(Arc::clone(&self.shared), self.resident.document.clone(), id, update);
                self.answers.push(async move { Some(kept.await) }.boxed());
            }
            Effect::DropRemainder { id } => {
                let dropped = remainders::drop(Arc::clone(&self.shared), self.resident.document.clone(), id);
                self.answers.push(async move { Some(dropped.await) }.boxed());
            }
            Effect::RemainderExpired { bytes } => {
                let document = &self.resident.document;
                warn!(%document, bytes, "a part of a message has waited too long for what it builds on, and is dropped");
            }
            Effect::LeftBehind { router, session, why } => {
                warn!(
                    document = %self.resident.document,
                    %router,
                    %session,
                    reason = why.word(),
                    why = %why,
                    "part of what an editor has sent is not in the document"
                );
            }
            Effect::Count(count) => self.shared.metrics.count(count),
            Effect::Forget if self.unneeded() => return Some(End::Forgotten),
            Effect::Forget => debug!("somebody came before the document was forgotten"),
            Effect::Fenced { by } => return Some(End::Fenced(by)),
        }
        None
    }

    fn deliver(&mut self, router: RouterId, event: Event) {
        if !self.routers.deliver(router, event) {
            self.pending.push_back(Input::RouterGone { router });
        }
    }

    /// Waits beside the document for what will be an input. Without an answer it is `otherwise`.
    fn answer(&mut self, answer: oneshot::Receiver<Input>, otherwise: Input) {
        self.answers.push(async move { Some(Answer::Input(answer.await.unwrap_or(otherwise))) }.boxed());
    }

    /// Asks for the next look at the ends of all logs. One that is wanted while another is awaited comes after it, so
    /// that no look is missed, whatever the phases of the two clocks.
    pub(super) fn check_tail(&mut self, after: Slot) {
        if std::mem::replace(&mut self.checking_tail, true) {
            self.check_tail_again = true;
        } else {
            let answer = self.shared.tails.ask(&self.resident.document);
            self.answers.push(async move { Some(Answer::Tail { after, last: answer.await.ok()? }) }.boxed());
        }
    }

    /// Reads what somebody else has written.
    pub(super) fn read_tail(&mut self, after: Slot, last: Slot) {
        let (shared, id) = (Arc::clone(&self.shared), self.resident.document.clone());
        let read = async move {
            match shared.store.read_after(&id, after).await {
                Ok(slots) => Some(Answer::Input(Input::Tail { slots, last })),
                // Somebody has made a snapshot of slots that we have not seen.
                Err(StoreError::Gap { .. }) => Some(Answer::Reload),
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "could not read the tail");
                    None
                }
            }
        };
        self.answers.push(read.boxed());
    }

    /// Removes what a deleted document held, and loads it again.
    pub(super) fn purge(&mut self, last: Slot, reply: oneshot::Sender<Result<Slot, Refused>>) {
        self.questions.purging = true;
        let (shared, id) = (Arc::clone(&self.shared), self.resident.document.clone());
        let purge = async move {
            let purged = purge(&shared, &id, last).await.unwrap_or_else(|error| {
                warn!(document = %id, error = &error as &dyn std::error::Error, "could not purge the document");
                None
            });
            let _ = reply.send(purged.ok_or(Refused::NotEmptied));
            Some(Answer::Reload)
        };
        self.answers.push(purge.boxed());
    }

    /// Nobody would be cut off if the task ended now.
    pub(super) fn nothing_waits(&self) -> bool {
        self.mailbox.is_empty()
            && self.pending.is_empty()
            && self.append.is_none()
            && self.keeping == 0
            && self.questions.none()
    }

    /// Only this task still has what the store has lost. When time runs out it goes all the same.
    pub(super) fn keeps_what_is_lost(&self, document: &Document) -> bool {
        document.recovering() && !self.shared.hurry()
    }

    /// Nobody would miss the document. Whoever has just opened it is about to attach its sessions.
    pub(super) fn unneeded(&self) -> bool {
        let awaited = self.awaited_until.is_some_and(|until| Instant::now() < until);
        self.nothing_waits() && !awaited
    }

    /// After all effects of a turn: says how the document is, answers operators, and sees whether this is the end.
    pub(super) fn settle(&mut self, document: &mut Document, now: Instant) -> Option<End> {
        if self.append.is_none() {
            self.acknowledged();
            self.gathering_since = self.gathering_since.filter(|_| document.gathers());
        } else if self.append_began_at.is_none() {
            self.append_began_at = Some(now);
        }
        if self.check_tail_again && !self.checking_tail {
            self.check_tail_again = false;
            self.check_tail(document.last_slot());
        }
        self.moving.settle(document, now);
        self.resident.facts.publish(document);
        self.measure_traffic(document, now);
        self.measure(document, now);
        if document.session_count() > 0 {
            self.resident.facts.touch(now);
        }
        let (waiting, deleted) = (&mut self.questions, document.deleted());
        let done = if deleted { &mut waiting.deletions } else { &mut waiting.undeletions };
        for reply in done.drain(..) {
            let _ = reply.send(Ok(document.last_slot()));
        }
        if !self.nothing_waits() || self.keeps_what_is_lost(document) {
            return None;
        }
        if self.stopping {
            return self.flushed(document);
        }
        // Whoever made it resident has yet to say what for, at first.
        (deleted && self.asked).then_some(End::Deleted)
    }

    /// In a turn that moved nothing this costs two comparisons.
    fn measure_traffic(&mut self, document: &mut Document, now: Instant) {
        let deliveries = std::mem::take(&mut self.deliveries);
        let traffic = Traffic { admitted: document.take_admitted(), deliveries };
        if traffic != Traffic::default() {
            self.resident.facts.add(traffic, now);
        }
    }

    /// Measuring a document that many have edited takes microseconds, so it is not done in every turn. Nor is going through
    /// what it has not admitted.
    fn measure(&mut self, document: &Document, now: Instant) {
        let due = self.measured_at.map(|at| at + MEASURE_INTERVAL).filter(|due| *due > now);
        self.measure_due = due;
        let facts = &self.resident.facts;
        let bytes = if due.is_none() {
            self.measured_at = Some(now);
            facts.unadmitted.measure(document, &self.shared.metrics);
            document.resident_bytes()
        } else {
            facts.bytes()
        };
        let used = document.session_count() > 0 || self.awaited_until.is_some_and(|until| now < until);
        self.shared.memory.count(facts, bytes, used);
    }

    /// Everything is durable, and the node stops.
    fn flushed(&mut self, document: &Document) -> Option<End> {
        if !std::mem::replace(&mut self.stop_snapshot_tried, true) {
            let tail = document.last_slot().get().saturating_sub(self.snapshot_upto.get());
            let worthwhile =
                tail >= STOP_TAIL_SLOTS_MIN && document.resident_bytes() <= STOP_SNAPSHOT_BYTES_MAX;
            if worthwhile && !self.compacting && !self.shared.hurry() {
                self.compacting = true;
                let answer = compactor::start(&self.shared, &self.resident.document, document.last_slot());
                self.answer(answer, Input::CompactionFailed);
            }
        }
        (!self.compacting || self.shared.hurry()).then_some(End::Stopped)
    }

    /// The append that was in flight has been dealt with.
    fn acknowledged(&mut self) {
        if let Some(since) = self.in_flight_since.take() {
            let now = Instant::now();
            let took = now.saturating_duration_since(since);
            self.shared.metrics.acknowledgement_seconds.record(took);
            self.shared.latencies.record(took, now);
        }
    }
}

/// Leaves an empty document that is open again. Its slots go on from where they were (R10).
async fn purge(shared: &Shared, document: &DocumentId, last: Slot) -> Result<Option<Slot>, StoreError> {
    let stored = shared.store.read(document).await?;
    let covered = stored.snapshot.map_or(Epoch::ZERO, |snapshot| snapshot.epoch);
    let epoch = stored.slots.iter().map(|(_, record)| record.epoch).fold(covered, Ord::max);
    let upto = last.next();
    let tombstone = Snapshot { upto, epoch, deleted: false, state: Bytes::from_static(&[0, 0]) };
    Ok(shared.store.purge(document, tombstone).await?.then_some(upto))
}
