//! One turn: from what happened to an input, and from the input to the document.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ringleaf_document::{Document, Input, Weight};
use ringleaf_types::{CloseReason, Epoch, RouterId, SessionId, Slot};
use ringleaf_wire::{Event, Request};
use tokio::time::Instant;
use tracing::error;

use super::wait::Woken;
use super::{Answer, DocumentTask, End};
use crate::append::AppendEnd;
use crate::command::{Command, Operator};
use crate::pool::Urgency;
use crate::quarantine::TRIES;

/// A router that opened a document is awaited for so long.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(2);

/// Timers fire in steps of so much.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// What follows from what happened.
pub(super) enum Next {
    Input(Input),
    Nothing,
    End(End),
}

impl DocumentTask {
    /// Turns what happened into an input.
    pub(super) fn input(&mut self, woken: Woken, document: &Document, now: Instant) -> Next {
        match woken {
            Woken::Stop => {
                self.stopping = true;
                // What gathered while it was sealed is this node's to store, unless somebody else has claimed it.
                let input = if document.epoch() > Epoch::ZERO { Input::Claim } else { Input::Unseal };
                if document.takes_no_slot() { Next::Input(input) } else { Next::Nothing }
            }
            Woken::Abandon => {
                self.abandoned = true;
                // What only this task still has is worth waiting for.
                if self.keeps_what_is_lost(document) { Next::Nothing } else { Next::End(End::Stopped) }
            }
            Woken::Pending(input) => Next::Input(input),
            Woken::Append(end) => {
                self.append = None;
                self.append_took(now);
                match end {
                    AppendEnd::Decided { slot, outcome } => Next::Input(Input::Appended { slot, outcome }),
                    AppendEnd::Undecided { error: ringleaf_store::StoreError::Closed } => {
                        Next::End(End::StoreClosed)
                    }
                    AppendEnd::Undecided { error } => {
                        error!(
                            document = %self.resident.document,
                            error = &error as &dyn std::error::Error,
                            "the store does not say what a slot holds"
                        );
                        Next::End(End::Reload)
                    }
                }
            }
            Woken::Answer(answer) => self.answered(answer, document),
            Woken::Step(step) => self.step(step, document, now),
            Woken::Deadline => {
                self.timer_set = false;
                let due = document.next_deadline().is_some_and(|due| due <= now.into_std());
                if due { Next::Input(Input::Wake) } else { Next::Nothing }
            }
            Woken::Command(command) => self.commanded(command, document, now),
            Woken::Departed(router, attachment) => {
                if self.routers.depart(router, attachment) {
                    Next::Input(Input::RouterGone { router })
                } else {
                    Next::Nothing
                }
            }
        }
    }

    fn answered(&mut self, answer: Option<Answer>, document: &Document) -> Next {
        match answer {
            None => {
                // The tail check is the one that may stay without an answer: it is asked again.
                self.checking_tail = false;
                Next::Nothing
            }
            Some(Answer::Input(mut input)) => {
                match &mut input {
                    Input::Compacted { upto } => {
                        self.compacting = false;
                        self.snapshot_upto = self.snapshot_upto.max(*upto);
                    }
                    Input::CompactionFailed => self.compacting = false,
                    Input::RemainderKept { .. } => self.keeping -= 1,
                    Input::Tail { last, .. } => {
                        self.checking_tail = false;
                        // The look was before our newest slots: it has not lost them.
                        *last = (*last).max(document.last_slot());
                    }
                    Input::Request { .. }
                    | Input::RouterGone { .. }
                    | Input::Appended { .. }
                    | Input::Saved
                    | Input::SaveFailed
                    | Input::Delete
                    | Input::Undelete
                    | Input::Import { .. }
                    | Input::Export { .. }
                    | Input::Seal
                    | Input::Unseal
                    | Input::Claim
                    | Input::TakeOver { .. }
                    | Input::Inherit { .. }
                    | Input::Wake => {}
                }
                Next::Input(input)
            }
            Some(Answer::Tail { after, last }) => self.tail(after, last, document),
            Some(Answer::Claim { slots, kept }) => self.claim_with(slots, kept, document),
            Some(Answer::Dropped) => Next::Nothing,
            Some(Answer::Reload) => Next::End(End::Reload),
        }
    }

    /// R9. What is not above our own last slot we have decided ourselves; what is may be our own append in flight,
    /// which finds out by itself.
    fn tail(&mut self, after: Slot, last: Slot, document: &Document) -> Next {
        let known = document.last_slot();
        if last > known && self.append.is_none() {
            self.read_tail(known, last);
            return Next::Nothing;
        }
        self.checking_tail = false;
        match last {
            last if last > known => Next::Nothing,
            // The look was before our newest slots: it has not lost them.
            last if last >= after => Next::Input(Input::Tail { slots: Vec::new(), last: known }),
            last => Next::Input(Input::Tail { slots: Vec::new(), last }),
        }
    }

    fn commanded(&mut self, command: Command, document: &Document, now: Instant) -> Next {
        self.asked = true;
        match command {
            // Not answered: whoever opens looks again, and finds the node stopping.
            Command::Open { .. } if self.stopping => Next::Nothing,
            Command::Open { reply, .. } if document.deleted() => {
                let _ = reply.send(Err(CloseReason::DocumentDeleted));
                Next::Nothing
            }
            Command::Open { router, sink, reply } => {
                let (attached, before) = self.routers.attach(router, sink);
                self.awaited_until = Some(now + ATTACH_TIMEOUT);
                // R9: whoever comes may come from somebody else who has claimed the document. The document's own looks
                // only begin now, so the first one would be late.
                self.check_tail(document.last_slot());
                // Whoever opened may have gone: then what it would have held is dropped here, and it departs.
                let _ = reply.send(Ok(attached));
                if before { Next::Input(Input::RouterGone { router }) } else { Next::Nothing }
            }
            Command::Request { router, attachment, request } => {
                if !self.routers.holds(router, attachment) {
                    return Next::Nothing;
                }
                self.awaited_until = None;
                if matches!(request, Request::Update { .. }) && self.gathering_since.is_none() {
                    self.gathering_since = Some(now);
                }
                Next::Input(Input::Request { router, request })
            }
            Command::Operator(Operator::Purge { reply }) if document.deleted() => {
                self.purge(document.last_slot(), reply);
                Next::Nothing
            }
            Command::Operator(operator) => {
                operator.ask(&mut self.questions, document).map_or(Next::Nothing, Next::Input)
            }
            Command::MakeRoom => {
                if document.session_count() == 0 && self.unneeded() && !self.keeps_what_is_lost(document) {
                    Next::End(End::Forgotten)
                } else {
                    Next::Nothing
                }
            }
        }
    }

    /// While the fan-out would not hand on what becomes durable now, updates gather: fewer slots, shown no later.
    pub(super) fn hold_append(&self, document: &mut Document, input: &Input) {
        let gathers =
            matches!(input, Input::Request { request: Request::Update { .. }, .. } | Input::Appended { .. });
        if gathers
            && self.append.is_none()
            && let Some(until) = self.routers.busy_until()
            && let Some(at) = until.checked_sub(self.append_cost * 2 + TIMER_TICK)
        {
            document.hold_append_until(at);
        }
    }

    fn append_took(&mut self, now: Instant) {
        let Some(began_at) = self.append_began_at.take() else { return };
        let took = now - began_at;
        // What is slow counts at once, what is fast little by little.
        self.append_cost = took.max((self.append_cost * 7 + took) / 8);
    }

    /// Hands the document an input that costs little.
    pub(super) fn handle_here(
        &mut self,
        mut document: Box<Document>,
        input: Input,
        now: Instant,
    ) -> Result<Box<Document>, Broken> {
        let sender = sender(&input);
        // A document that panicked is not looked at again.
        let handled = catch_unwind(AssertUnwindSafe(|| document.handle(input, now.into_std())));
        handled.map(|()| document).map_err(|_| Broken::Panicked { sender })
    }

    /// Hands the document an input that may take long, on a thread of the pool.
    pub(super) async fn handle_on_pool(
        &mut self,
        mut document: Box<Document>,
        input: Input,
        weight: Weight,
        now: Instant,
    ) -> Result<Box<Document>, Broken> {
        let sender = sender(&input);
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let began_at = Instant::now();
            document.handle(input, now.into_std());
            shared.metrics.turn_seconds.on_pool(began_at);
            document
        };
        let shared = &self.shared;
        let urgency = if weight == Weight::Long { Urgency::Long } else { Urgency::Foreground };
        shared.pool.run(urgency, work).await.map_err(|_| Broken::Panicked { sender })
    }

    /// The state in memory is lost. What was not acknowledged comes again from the routers.
    pub(super) async fn broken(&mut self, broken: Broken) -> End {
        let Broken::Panicked { sender } = broken;
        self.shared.metrics.rebuilds.increment(1);
        error!(
            document = %self.resident.document,
            blamed = sender.is_some(),
            "the document's task panicked, the document is loaded again"
        );
        if let Some((router, session)) = sender {
            self.routers.deliver(router, Event::CloseSession { session, reason: CloseReason::Misbehaved });
        } else if self.shared.panicked(&self.resident.document) >= TRIES {
            return End::Quarantined(Some(
                "the document's task panicked twice with no sender to blame".into(),
            ));
        }
        // A load beside an append in flight would be right, the log sees to that, but it would have to claim twice.
        if let Some(append) = self.append.take() {
            append.await;
        }
        End::Reload
    }
}

/// Why there is no document any more.
pub(super) enum Broken {
    /// It panicked over what this session sent, if over anybody's.
    Panicked { sender: Option<(RouterId, SessionId)> },
}

/// What the input will cost. It looks into the sender's bytes, so it may break over them.
pub(super) fn weight(document: &Document, input: &Input) -> Result<Weight, Broken> {
    catch_unwind(AssertUnwindSafe(|| document.weight(input)))
        .map_err(|_| Broken::Panicked { sender: sender(input) })
}

/// Whether what takes long about this input is an answer to somebody, or nothing that anybody waits for.
pub(super) fn answers(input: &Input) -> bool {
    matches!(
        input,
        Input::Wake
            | Input::Export { .. }
            | Input::Request { request: Request::SyncRequest { .. } | Request::CatchUp { .. }, .. }
    )
}

fn sender(input: &Input) -> Option<(RouterId, SessionId)> {
    let Input::Request { router, request } = input else { return None };
    match request {
        Request::Attach { session, .. }
        | Request::Detach { session }
        | Request::Update { session, .. }
        | Request::SyncRequest { session, .. }
        | Request::Awareness { session, .. }
        | Request::QueryAwareness { session } => Some((*router, *session)),
        Request::CatchUp { .. } => None,
    }
}
