//! Giving one document away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use ringleaf_peer::SourceTalk;
use ringleaf_ring::Member;
use ringleaf_ring::handoff::{Offer, Source, SourceEnd, SourceInput, SourceStep};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::command::Step;
use crate::registry::Resident;
use crate::shared::Shared;

/// One document on its way to another node.
struct Leaving<'a> {
    resident: &'a Arc<Resident>,
    owner: &'a Member,
    ring: ringleaf_types::RingVersion,
    talk: SourceTalk,
    /// What the document's task was asked for.
    answer: BoxFuture<'static, SourceInput>,
    sealed_at: Option<Instant>,
}

/// Offers the document to its owner and sees it through. Also answers how long it took no updates.
pub(super) async fn hand_off(
    shared: &Shared,
    resident: &Arc<Resident>,
    owner: &Member,
) -> (SourceEnd, Duration) {
    let (Some(membership), Some(view)) = (&shared.membership, shared.ring_view()) else {
        return (SourceEnd::Aborted, Duration::ZERO);
    };
    let offer = Offer {
        document: resident.document.clone(),
        from: shared.config.node.clone(),
        ring: view.version(),
        epoch: resident.facts.epoch(),
    };
    let talk = membership.begin_handoff(owner);
    let (source, first) = Source::begin(offer, Instant::now().into_std());
    let ring = view.version();
    let leaving = Leaving { resident, owner, ring, talk, answer: pending().boxed(), sealed_at: None };
    leaving.run(source, first).await
}

impl Leaving<'_> {
    async fn run(mut self, mut source: Source, first: SourceStep) -> (SourceEnd, Duration) {
        let mut step = Some(first);
        loop {
            if let Some(step) = step.take() {
                self.carry_out(step).await;
            }
            if let Some(end) = source.end() {
                let pause = self.sealed_at.map_or(Duration::ZERO, |sealed_at| sealed_at.elapsed());
                debug!(document = %self.resident.document, target = %self.owner.node, ?end, "handoff ended");
                return (end, pause);
            }
            let input = self.next(&source).await;
            if matches!(input, SourceInput::Sealed(_)) {
                self.sealed_at = Some(Instant::now());
            }
            step = source.handle(input, Instant::now().into_std());
        }
    }

    async fn next(&mut self, source: &Source) -> SourceInput {
        let due = source.due_at();
        tokio::select! {
            biased;
            () = self.resident.ended.cancelled() => SourceInput::Ended,
            answer = &mut self.answer => {
                self.answer = pending().boxed();
                answer
            }
            heard = self.talk.hear(), if source.listens() => heard.map_or(SourceInput::Lost, SourceInput::Heard),
            () = async { sleep_until(due.expect("there is one").into()).await }, if due.is_some() => SourceInput::Late,
        }
    }

    async fn carry_out(&mut self, step: SourceStep) {
        let step = match step {
            SourceStep::Say(message) => {
                // That the conversation is over is heard next.
                let _ = self.talk.say(message).await;
                return;
            }
            SourceStep::Seal => {
                let (reply, sealed) = oneshot::channel();
                self.answer =
                    sealed.map(|sealed| sealed.map_or(SourceInput::Ended, SourceInput::Sealed)).boxed();
                Step::Seal { reply }
            }
            SourceStep::Unseal => Step::Unseal,
            SourceStep::Claim => {
                let (reply, claimed) = oneshot::channel();
                self.answer = claimed
                    .map(|claimed| claimed.map_or(SourceInput::Ended, |_| SourceInput::Claimed))
                    .boxed();
                Step::Claim { reply }
            }
            SourceStep::Forward => Step::Forward { to: self.owner.node.clone(), ring: self.ring },
        };
        // A document that has ended is noticed by the next wait.
        let _ = self.resident.steps.send(Box::new(step)).await;
    }
}
