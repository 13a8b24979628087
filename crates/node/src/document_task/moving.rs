//! What a handoff wants of the document: see `ring::handoff` for why.

use futures_util::FutureExt;
use ringleaf_document::{Document, Input, Kept};
use ringleaf_ring::handoff::Seal;
use ringleaf_types::{Epoch, Slot};
use ringleaf_wire::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};
use tracing::debug;

use super::turn::Next;
use super::{Answer, DocumentTask, End};
use crate::command::Step;
use crate::remainders;

/// A document that is warm for a handoff is not forgotten for so long. A little more than the handoff may take.
const WARM_TIMEOUT: Duration = Duration::from_secs(40);

/// Handoffs that wait for this document.
pub(super) struct Moving {
    pub(super) steps: mpsc::Receiver<Box<Step>>,
    sealing: Option<oneshot::Sender<Seal>>,
    claiming: Option<oneshot::Sender<Epoch>>,
}

impl Moving {
    pub(super) fn new(steps: mpsc::Receiver<Box<Step>>) -> Self {
        Self { steps, sealing: None, claiming: None }
    }

    /// After all effects of a turn: answers who waits. Whoever asked may have gone.
    pub(super) fn settle(&mut self, document: &Document, now: Instant) {
        if document.sealed()
            && let Some(reply) = self.sealing.take()
        {
            let (last, epoch) = (document.last_slot(), document.epoch());
            let presence = document.presence(now.into_std());
            let _ = reply.send(Seal { last, epoch, presence });
        }
        if document.claimed()
            && let Some(reply) = self.claiming.take()
        {
            let _ = reply.send(document.epoch());
        }
    }
}

impl DocumentTask {
    pub(super) fn step(&mut self, step: Step, document: &Document, now: Instant) -> Next {
        match step {
            Step::Seal { reply } => {
                self.moving.sealing = Some(reply);
                Next::Input(Input::Seal)
            }
            Step::Unseal => {
                self.moving.sealing = None;
                Next::Input(Input::Unseal)
            }
            // One that has only read has nothing to take back. Who owns it is seen by its first append.
            Step::Claim { reply } if document.epoch() == Epoch::ZERO => {
                let _ = reply.send(Epoch::ZERO);
                Next::Input(Input::Unseal)
            }
            Step::Claim { reply } => {
                self.moving.claiming = Some(reply);
                Next::Input(Input::Claim)
            }
            Step::Forward { to, ring } => {
                self.routers.farewell = Event::Moved { owner: to, ring };
                Next::End(End::Moved)
            }
            Step::Warm { reply } => {
                self.awaited_until = Some(now + WARM_TIMEOUT);
                let _ = reply.send(document.last_slot());
                Next::Nothing
            }
            Step::TakeOver { seal, reply } => {
                self.moving.claiming = Some(reply);
                self.pending.push_back(Input::Inherit { presence: seal.presence });
                // Even if no slot is missing: the source may have kept remainders meanwhile.
                if !document.claimed() {
                    self.read_then_claim(document.last_slot());
                }
                Next::Nothing
            }
            Step::Abandon => {
                self.awaited_until = None;
                let used = document.session_count() > 0 || document.epoch() > Epoch::ZERO;
                if used || !self.unneeded() { Next::Nothing } else { Next::End(End::Forgotten) }
            }
        }
    }

    /// Reads what the source has written since this document was loaded. If that does not work, the claim finds it, slot
    /// by slot.
    fn read_then_claim(&mut self, after: Slot) {
        let (shared, id) = (std::sync::Arc::clone(&self.shared), self.resident.document.clone());
        let read = async move {
            let slots = shared.store.read_after(&id, after).await.unwrap_or_else(|error| {
                debug!(error = &error as &dyn std::error::Error, "could not read the tail");
                Vec::new()
            });
            let kept = remainders::read(&shared, &id).await.unwrap_or_else(|error| {
                debug!(error = &error as &dyn std::error::Error, "could not read the remainders");
                Vec::new()
            });
            Some(Answer::Claim { slots, kept })
        };
        self.answers.push(read.boxed());
    }

    pub(super) fn claim_with(
        &mut self,
        slots: Vec<(Slot, ringleaf_types::Record)>,
        kept: Vec<Kept>,
        document: &Document,
    ) -> Next {
        if document.claimed() {
            return Next::Nothing;
        }
        Next::Input(Input::TakeOver { slots, kept })
    }
}
