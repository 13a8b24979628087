//! The task that owns one document: carry out every effect, ask for the next deadline, wait for the next input.
//!
//! ```text
//!  mailbox ─┐                                   ┌─▶ routers (never waits)
//!  append ──┼──▶ wait ──▶ Document::handle ──▶ effects ──▶ append (the one in flight)
//!  answers ─┤     ▲        (here, or on the pool)          compaction, tail check …
//!  deadline ┘     └───────────────────────────────┘
//! ```

mod effects;
mod moving;
mod turn;
pub(crate) mod turns;
mod wait;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use ringleaf_document::{Document, Input, Kept, Weight};
use ringleaf_types::{CloseReason, NodeId, Record, Slot};
use ringleaf_wire::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tracing::{Instrument, Level, Span, debug, enabled, info, info_span, warn};

use crate::append::AppendEnd;
use crate::command::{Command, Exported, Operator, Refused, Step};
use crate::load::{LoadEnd, load};
use crate::quarantine::quarantine;
use crate::registry::Resident;
use crate::routers::Routers;
use crate::shared::Shared;

/// How a document's task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody needs the document.
    Forgotten,
    /// The node stops, and everything is flushed.
    Stopped,
    /// It was handed off, and its routers are told to whom.
    Moved,
    /// Another node has claimed the document: this one, if that is known.
    Fenced(Option<NodeId>),
    /// Its state in memory cannot be trusted, or no longer written: it is to be loaded again.
    Reload,
    /// It was not loaded: there is no room, and nobody must have it.
    NoRoom,
    /// It is closed to everybody.
    Deleted,
    /// It waits for a person, for this reason (none: it did already).
    Quarantined(Option<String>),
    /// The store takes nothing more.
    StoreClosed,
}

/// Starts the task of a document that is being made resident.
pub(crate) fn start(
    shared: &Arc<Shared>,
    resident: Arc<Resident>,
    mailbox: mpsc::Receiver<Box<Command>>,
    steps: mpsc::Receiver<Box<Step>>,
) {
    let ending = Ending { shared: Arc::clone(shared), resident: Arc::clone(&resident) };
    let task = DocumentTask {
        shared: Arc::clone(shared),
        resident,
        mailbox,
        moving: moving::Moving::new(steps),
        routers: Routers::new(),
        pending: VecDeque::new(),
        append: None,
        answers: FuturesUnordered::new(),
        compacting: false,
        keeping: 0,
        checking_tail: false,
        check_tail_again: false,
        questions: Questions::default(),
        timer: Box::pin(tokio::time::sleep_until(Instant::now())),
        timer_set: false,
        commands_first: 0,
        snapshot_upto: Slot::ZERO,
        measured_at: None,
        measure_due: None,
        asked: false,
        awaited_until: None,
        stopping: false,
        abandoned: false,
        stop_snapshot_tried: false,
        append_began_at: None,
        append_cost: Duration::ZERO,
        gathering_since: None,
        in_flight_since: None,
        deliveries: 0,
        short_turns: 0,
        _ending: ending,
    };
    shared.tasks.start(Span::none(), task.run());
}

/// Order: the fields are dropped from first to last. The mailbox shuts, routers hear the farewell, and only then the
/// registry says that the document is absent.
struct DocumentTask {
    mailbox: mpsc::Receiver<Box<Command>>,
    moving: moving::Moving,
    routers: Routers,
    shared: Arc<Shared>,
    resident: Arc<Resident>,
    /// Inputs that followed from effects.
    pending: VecDeque<Input>,
    /// The one append in flight. It lives here, and is dropped only with the task.
    append: Option<BoxFuture<'static, AppendEnd>>,
    /// What runs beside the document and will be an input.
    answers: FuturesUnordered<BoxFuture<'static, Option<Answer>>>,
    compacting: bool,
    /// Remainders that are on their way to the store.
    keeping: usize,
    checking_tail: bool,
    check_tail_again: bool,
    questions: Questions,
    timer: Pin<Box<Sleep>>,
    timer_set: bool,
    /// So many commands came while an answer was computed: they go before the next one.
    commands_first: usize,
    /// What the newest snapshot covers.
    snapshot_upto: Slot,
    /// When its memory was measured, and when it is to be measured again.
    measured_at: Option<Instant>,
    measure_due: Option<Instant>,
    /// Somebody has wanted something of the document since it was loaded.
    asked: bool,
    /// A router has opened the document, and nothing has come from it yet.
    awaited_until: Option<Instant>,
    stopping: bool,
    /// It was asked to end at once.
    abandoned: bool,
    stop_snapshot_tried: bool,
    /// When the append in flight began, and how long appends take.
    append_began_at: Option<Instant>,
    append_cost: Duration,
    /// When the oldest update came that waits for the append in flight, and for the next one.
    gathering_since: Option<Instant>,
    in_flight_since: Option<Instant>,
    /// Updates that went out to sessions in this turn, as many times as there are sessions.
    deliveries: u32,
    /// Turns that are not in the metrics yet.
    short_turns: u32,
    _ending: Ending,
}

/// What came of something that ran beside the document.
pub(crate) enum Answer {
    Input(Input),
    /// The end of the log, as of the look that was asked for at `after`.
    Tail {
        after: Slot,
        last: Slot,
    },
    /// What the source of a handoff has written since the document was loaded.
    Claim {
        slots: Vec<(Slot, Record)>,
        kept: Vec<Kept>,
    },
    /// A remainder is gone from the store, or will be tried again at the next load.
    Dropped,
    /// The document is to be loaded again.
    Reload,
}

/// What operators wait for.
#[derive(Default)]
struct Questions {
    next: u64,
    imports: BTreeMap<u64, oneshot::Sender<Result<Slot, Refused>>>,
    exports: BTreeMap<u64, oneshot::Sender<Result<Exported, Refused>>>,
    deletions: Vec<oneshot::Sender<Result<Slot, Refused>>>,
    undeletions: Vec<oneshot::Sender<Result<Slot, Refused>>>,
    /// What the document held is being removed.
    purging: bool,
}

impl Questions {
    fn none(&self) -> bool {
        self.imports.is_empty()
            && self.exports.is_empty()
            && self.deletions.is_empty()
            && self.undeletions.is_empty()
            && !self.purging
    }

    fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Takes the document out of the registry, however its task ends.
struct Ending {
    shared: Arc<Shared>,
    resident: Arc<Resident>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.memory.count(&self.resident.facts, 0, false);
        self.resident.facts.unadmitted.clear(&self.shared.metrics);
        self.shared.registry.remove(&self.resident);
    }
}

impl DocumentTask {
    /// Not an `async fn`: that would hold the task twice, as it came and as its own variable.
    #[expect(clippy::manual_async_fn, reason = "a document that only waits is small")]
    fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let span = info_span!(parent: None, "document", document = %self.resident.document);
            let stop = self.resident.stop.clone();
            let loaded = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Boxed, like all that is long and rare: a task that serves does not carry the memory for it.
                loaded = Box::pin(load(&self.shared, &self.resident).instrument(span.clone())) => loaded,
            };
            let end = match loaded {
                Ok(loaded) => {
                    self.snapshot_upto = loaded.snapshot_upto;
                    self.resident.facts.touch(Instant::now());
                    // A span is entered at every poll, which is dear for a task that is polled for every update: what this
                    // says at levels that are usually logged names the document by itself.
                    let span = if enabled!(Level::DEBUG) { span.clone() } else { Span::none() };
                    self.serve(loaded.document).instrument(span).await
                }
                Err(LoadEnd::Quarantined) => End::Quarantined(None),
                Err(LoadEnd::StoreClosed) => End::StoreClosed,
                Err(LoadEnd::NoRoom) => End::NoRoom,
            };
            Box::pin(self.end(end).instrument(span)).await;
        }
    }

    async fn serve(&mut self, mut document: Box<Document>) -> End {
        let mut now = Instant::now();
        let mut began_at = None;
        loop {
            let end = self.carry_out_all(&mut document).or_else(|| self.settle(&mut document, now));
            self.turn_ends(began_at);
            if let Some(end) = end {
                return end;
            }
            let due = document.next_deadline().map(Instant::from_std);
            let woken = self.wait(document.full(), due.into_iter().chain(self.measure_due).min()).await;
            now = Instant::now();
            began_at = Some(now);
            let input = match self.input(woken, &document, now) {
                turn::Next::Input(input) => input,
                turn::Next::Nothing => continue,
                turn::Next::End(end) => return end,
            };
            self.hold_append(&mut document, &input);
            let handled = match turn::weight(&document, &input) {
                Ok(Weight::Light) => self.handle_here(document, input, now),
                Ok(weight) => {
                    let answers = turn::answers(&input);
                    let handled = Box::pin(self.handle_on_pool(document, input, weight, now)).await;
                    began_at = Some(Instant::now());
                    if answers {
                        self.commands_first = self.mailbox.len();
                    }
                    handled
                }
                Err(broken) => Err(broken),
            };
            document = match handled {
                Ok(document) => document,
                Err(broken) => return Box::pin(self.broken(broken)).await,
            };
        }
    }

    /// Says why the document ends to all who would wait for ever.
    async fn end(mut self, end: End) {
        self.count_short_turns();
        debug!(?end, "document ends");
        let reason = match &end {
            End::Forgotten => {
                self.shared.metrics.forgotten.increment(1);
                self.shared.forget_panics(&self.resident.document);
                None
            }
            End::Fenced(by) => {
                info!(by = by.as_ref().map(NodeId::as_str), "another node has claimed the document");
                self.shared.lost_claim(&self.resident.document, by.clone());
                self.shared.metrics.fenced.increment(1);
                if let (Some(owner), Some(view)) = (by.clone(), self.shared.ring_view())
                    && owner != self.shared.config.node
                {
                    self.routers.farewell = Event::Moved { owner, ring: view.version() };
                }
                None
            }
            End::Stopped | End::Moved | End::Reload | End::NoRoom => None,
            End::StoreClosed => {
                warn!("the store is closed: the document ends");
                None
            }
            End::Deleted => Some(CloseReason::DocumentDeleted),
            End::Quarantined(_) => Some(CloseReason::DocumentQuarantined),
        };
        let Some(reason) = reason else { return };
        self.routers.farewell = Event::Closed { reason };
        if let End::Quarantined(Some(why)) = &end {
            quarantine(&self.shared, &self.resident.document, why).await;
        }
        self.mailbox.close();
        while let Ok(command) = self.mailbox.try_recv() {
            match *command {
                Command::Open { reply, .. } => {
                    // Whoever opened may have gone.
                    let _ = reply.send(Err(reason));
                }
                // Order: this one may be the undeletion. It is dropped, and whoever asked comes again.
                Command::Operator(_) if end == End::Deleted => {}
                Command::Operator(operator) => operator.refuse(Refused::Closed(reason)),
                Command::Request { .. } | Command::MakeRoom => {}
            }
        }
    }
}

impl Operator {
    /// What the document is told, and where the answer goes.
    fn ask(self, questions: &mut Questions, document: &Document) -> Option<Input> {
        match self {
            Self::Delete { reply } if document.deleted() => {
                let _ = reply.send(Err(Refused::Deleted));
                None
            }
            Self::Delete { reply } => {
                questions.deletions.push(reply);
                Some(Input::Delete)
            }
            Self::Undelete { reply } if !document.deleted() => {
                let _ = reply.send(Err(Refused::NotDeleted));
                None
            }
            Self::Undelete { reply } => {
                questions.undeletions.push(reply);
                Some(Input::Undelete)
            }
            // Not something that the document does: see `DocumentTask::purge`.
            Self::Purge { reply } => {
                let _ = reply.send(Err(Refused::NotDeleted));
                None
            }
            Self::Import { reply, .. } if document.deleted() => {
                let _ = reply.send(Err(Refused::Deleted));
                None
            }
            Self::Import { update, reply } => {
                let ticket = questions.ticket();
                questions.imports.insert(ticket, reply);
                Some(Input::Import { ticket, update })
            }
            Self::Export { reply } => {
                let ticket = questions.ticket();
                questions.exports.insert(ticket, reply);
                Some(Input::Export { ticket })
            }
        }
    }
}
