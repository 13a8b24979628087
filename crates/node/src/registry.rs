//! Which documents are resident, and where their requests go.
//!
//! ```text
//! absent ──find──▶ loading ──▶ serving ──▶ closing ──▶ absent
//!        (made by whoever opens)   (all moved by the document's own task)
//! ```
//!
//! A document that is loading or serving takes requests through its mailbox; a closing one has shut it. Whoever finds
//! it shut waits until it has ended and starts over, so there are never two tasks for one document.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringleaf_types::{DocumentId, Epoch, Slot};
use ringleaf_wire::Gone;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::{Command, Step};
use crate::rates::{PerSecond, Rates, Traffic};
use crate::unadmitted::Published;

/// Steps of a handoff that wait for one document. Each is answered before the next one comes.
const STEPS_MAX: usize = 4;

/// The node takes no more documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub(crate) struct Stopping;

/// One resident document, as everybody but its task sees it.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) document: DocumentId,
    /// In boxes: a channel has memory for 32 messages from the start, and most documents do nothing.
    pub(crate) mailbox: mpsc::Sender<Box<Command>>,
    pub(crate) steps: mpsc::Sender<Box<Step>>,
    /// Says that the mailbox has room again. Not the mailbox's own queue of senders: a permit that is only looked at goes
    /// to the next who waits, so with many waiting all permits go round for ever, and nobody who tries finds one.
    room: Notify,
    /// Asks the task to flush and end.
    pub(crate) stop: CancellationToken,
    /// Asks the task to end at once, flushed or not: the store does not answer here, and others take the document. As after
    /// a crash, routers send again what was not acknowledged.
    pub(crate) abandon: CancellationToken,
    /// The task has ended, and the registry no longer has it.
    pub(crate) ended: CancellationToken,
    pub(crate) facts: Facts,
}

impl Resident {
    /// A command was taken out of the mailbox.
    pub(crate) fn made_room(&self, empty: bool) {
        if empty {
            // Whoever was woken before may have had no use for the room.
            self.room.notify_waiters();
        } else {
            self.room.notify_one();
        }
    }

    /// Waits until a command may fit into the mailbox. Does not keep the place.
    ///
    /// # Errors
    ///
    /// The mailbox is shut for good.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future: what woke it wakes the next.
    pub(crate) async fn room(&self) -> Result<(), Gone> {
        loop {
            let mut made = pin!(self.room.notified());
            // Order: before the look at the mailbox, so that room made in between is not missed.
            made.as_mut().enable();
            if self.mailbox.is_closed() {
                return Err(Gone);
            }
            if self.mailbox.capacity() > 0 {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.mailbox.closed() => return Err(Gone),
                () = made => {}
            }
        }
    }
}

/// What a document's task publishes about itself. For listings and for the memory budget; nothing is decided by it
/// that must be right.
#[derive(Debug)]
pub(crate) struct Facts {
    started_at: Instant,
    used_after_ms: AtomicU64,
    serving: AtomicBool,
    sessions: AtomicUsize,
    bytes: AtomicUsize,
    held: AtomicUsize,
    must_load: AtomicBool,
    epoch: AtomicU64,
    last_slot: AtomicU64,
    rates: Rates,
    pub(crate) unadmitted: Published,
}

impl Facts {
    pub(crate) fn new() -> Self {
        Self {
            started_at: Instant::now(),
            used_after_ms: AtomicU64::new(0),
            serving: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            must_load: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            last_slot: AtomicU64::new(0),
            rates: Rates::default(),
            unadmitted: Published::default(),
        }
    }

    /// Takes down how the document is now, as far as that costs nothing.
    pub(crate) fn publish(&self, document: &ringleaf_document::Document) {
        self.serving.store(true, Ordering::Relaxed);
        self.sessions.store(document.session_count(), Ordering::Relaxed);
        self.epoch.store(document.epoch().get(), Ordering::Relaxed);
        self.last_slot.store(document.last_slot().get(), Ordering::Relaxed);
    }

    /// Takes down what the document's memory is, and how much of that is in use. Answers how much either has grown.
    pub(crate) fn weigh(&self, bytes: usize, held: usize) -> (isize, isize) {
        let grown = |to: &AtomicUsize, now: usize| {
            let before = to.load(Ordering::Relaxed);
            if before != now {
                // Only the document's task writes here.
                to.store(now, Ordering::Relaxed);
            }
            now.cast_signed() - before.cast_signed()
        };
        (grown(&self.bytes, bytes), grown(&self.held, held))
    }

    /// Somebody wants the document who cannot be told to try again later: it is loaded though memory is full.
    pub(crate) fn set_must_load(&self) {
        self.must_load.store(true, Ordering::Relaxed);
    }

    pub(crate) fn must_load(&self) -> bool {
        self.must_load.load(Ordering::Relaxed)
    }

    /// Only the document's task calls this, and only when there was something.
    pub(crate) fn add(&self, traffic: Traffic, now: Instant) {
        self.rates.add(traffic, now.saturating_duration_since(self.started_at));
    }

    pub(crate) fn per_second(&self, now: Instant) -> PerSecond {
        self.rates.read(now.saturating_duration_since(self.started_at))
    }

    pub(crate) fn touch(&self, now: Instant) {
        let used = now.saturating_duration_since(self.started_at).as_millis();
        self.used_after_ms.store(u64::try_from(used).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn used_at(&self) -> Instant {
        self.started_at + Duration::from_millis(self.used_after_ms.load(Ordering::Relaxed))
    }

    /// The document is loaded.
    pub(crate) fn serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Relaxed))
    }

    pub(crate) fn last_slot(&self) -> Slot {
        Slot::new(self.last_slot.load(Ordering::Relaxed))
    }
}

/// All resident documents.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    residents: HashMap<DocumentId, Arc<Resident>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), stop: CancellationToken::new() }
    }

    /// Finds the document, or makes it resident: `start` starts its task.
    pub(crate) fn find_or_start(
        &self,
        document: &DocumentId,
        mailbox_requests_max: usize,
        start: impl FnOnce(Arc<Resident>, mpsc::Receiver<Box<Command>>, mpsc::Receiver<Box<Step>>),
    ) -> Result<Arc<Resident>, Stopping> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.stopping {
            return Err(Stopping);
        }
        if let Some(resident) = state.residents.get(document) {
            return Ok(Arc::clone(resident));
        }
        let (mailbox, receiver) = mpsc::channel(mailbox_requests_max);
        let (steps, steps_receiver) = mpsc::channel(STEPS_MAX);
        let resident = Arc::new(Resident {
            document: document.clone(),
            mailbox,
            steps,
            room: Notify::new(),
            stop: self.stop.child_token(),
            abandon: CancellationToken::new(),
            ended: CancellationToken::new(),
            facts: Facts::new(),
        });
        state.residents.insert(document.clone(), Arc::clone(&resident));
        // Order: not under the lock. A runtime that is shutting down drops the task at once, and that takes the lock.
        drop(state);
        start(Arc::clone(&resident), receiver, steps_receiver);
        Ok(resident)
    }

    /// The document, if it is resident.
    pub(crate) fn find(&self, document: &DocumentId) -> Option<Arc<Resident>> {
        self.state.lock().expect("no holder of this lock panics").residents.get(document).cloned()
    }

    /// A document's task has ended.
    pub(crate) fn remove(&self, resident: &Arc<Resident>) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if state.residents.get(&resident.document).is_some_and(|found| Arc::ptr_eq(found, resident)) {
            state.residents.remove(&resident.document);
        }
        drop(state);
        // Order: whoever waits for this finds the document absent.
        resident.ended.cancel();
    }

    /// All resident documents, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Resident>> {
        self.state.lock().expect("no holder of this lock panics").residents.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().expect("no holder of this lock panics").residents.len()
    }

    /// Takes no more documents, and asks those that are there to end.
    pub(crate) fn stop(&self) -> Vec<Arc<Resident>> {
        self.state.lock().expect("no holder of this lock panics").stopping = true;
        self.stop.cancel();
        self.all()
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }
}
