//! Taking one document over.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use ringleaf_peer::TargetTalk;
use ringleaf_ring::handoff::{Answer, Offer, Target, TargetEnd, TargetInput, TargetStep, ToTarget};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::IN_TIMEOUT;
use super::places::Place;
use crate::command::Step;
use crate::registry::Resident;
use crate::server::resident;
use crate::shared::Shared;

/// One document on its way to this node.
struct Coming<'a> {
    shared: &'a Arc<Shared>,
    offer: Offer,
    talk: TargetTalk,
    resident: Option<Arc<Resident>>,
    /// What the document's task was asked for.
    answer: BoxFuture<'static, TargetInput>,
}

/// Hears what is offered, and sees it through.
pub(crate) async fn run(shared: Arc<Shared>, mut talk: TargetTalk) {
    let Some(ToTarget::Offer(offer)) = talk.hear().await else { return };
    let (answer, place) = consider(&shared, &offer).await;
    let (target, steps) = Target::begin(answer, Instant::now().into_std());
    let coming = Coming { shared: &shared, offer, talk, resident: None, answer: pending().boxed() };
    coming.run(target, steps).await;
    drop(place);
}

/// Whether the document is welcome, and if so, the place that it takes.
async fn consider<'a>(shared: &'a Shared, offer: &Offer) -> (Answer, Option<Place<'a>>) {
    let Some(membership) = &shared.membership else { return (Answer::No, None) };
    let view = membership.newest(offer.ring).await;
    if shared.registry.stopping().is_cancelled() {
        return (Answer::No, None);
    }
    let answer = offer.answer(view.as_deref(), membership.knows(offer.ring), &shared.config.node);
    if answer != Answer::Yes {
        return (answer, None);
    }
    let place = shared.handoffs.coming.take(|| membership.pacing().in_max);
    match timeout(IN_TIMEOUT, place).await {
        Ok(place) => (Answer::Yes, Some(place)),
        Err(_) => (Answer::Later, None),
    }
}

impl Coming<'_> {
    async fn run(mut self, mut target: Target, first: Vec<TargetStep>) {
        for step in first {
            self.carry_out(step).await;
        }
        loop {
            if let Some(end) = target.end() {
                debug!(document = %self.offer.document, node = %self.offer.from, ?end, "handoff ended");
                if end == TargetEnd::Owned {
                    self.shared.metrics.taken_over.increment(1);
                }
                return;
            }
            let input = self.next(&target).await;
            if let Some(step) = target.handle(input) {
                self.carry_out(step).await;
            }
        }
    }

    async fn next(&mut self, target: &Target) -> TargetInput {
        let due = target.due_at();
        tokio::select! {
            biased;
            answer = &mut self.answer => {
                self.answer = pending().boxed();
                answer
            }
            heard = self.talk.hear(), if target.listens() => match heard {
                Some(ToTarget::Seal(seal)) => TargetInput::Seal(seal),
                Some(ToTarget::Offer(_)) | None => TargetInput::Lost,
            },
            () = async { sleep_until(due.expect("there is one").into()).await }, if due.is_some() => TargetInput::Late,
        }
    }

    async fn carry_out(&mut self, step: TargetStep) {
        match step {
            // That the source is gone is heard next, if it matters.
            TargetStep::Say(message) => drop(self.talk.say(message).await),
            TargetStep::Warm => {
                let (reply, loaded) = oneshot::channel();
                self.answer =
                    loaded.map(|loaded| loaded.map_or(TargetInput::Ended, TargetInput::Loaded)).boxed();
                // A node that stops makes nothing resident: the reply is dropped, and that ends it.
                if let Ok(resident) = resident(self.shared, &self.offer.document) {
                    resident.facts.set_must_load();
                    self.resident = Some(resident);
                    self.tell(Step::Warm { reply }).await;
                }
            }
            TargetStep::Claim(seal) => {
                if let Some(membership) = &self.shared.membership {
                    membership.welcome(&self.offer.document);
                }
                let (reply, claimed) = oneshot::channel();
                self.answer =
                    claimed.map(|claimed| claimed.map_or(TargetInput::Ended, TargetInput::Claimed)).boxed();
                self.tell(Step::TakeOver { seal, reply }).await;
            }
            TargetStep::Abandon => self.tell(Step::Abandon).await,
        }
    }

    async fn tell(&mut self, step: Step) {
        if let Some(resident) = &self.resident {
            // One that has ended drops the reply.
            let _ = resident.steps.send(Box::new(step)).await;
        }
    }
}
