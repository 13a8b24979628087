//! One document's way to its editors: what its host tells is framed once and written to every socket that takes it.
//!
//! ```text
//! host ──EventSink::deliver──▶ inbox ──one task per document──▶ every socket, one write each
//! ```
//!
//! The task also opens the document, and opens it again when its host lets go of it: the sessions only wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ringleaf_types::{CloseReason, DocumentId, SessionId, Slot};
use ringleaf_wire::{DocumentHost, Event, EventSink, Gone};
use tokio::sync::{Notify, watch};
use tracing::debug_span;

use crate::connection::Connection;
use crate::shared::Shared;

mod inbox;
mod round;
mod sweeps;
mod task;
mod window;

use inbox::{Inbox, Told};

/// One document's fan-out, as everybody but its own task sees it.
pub(crate) struct FanOut {
    document: DocumentId,
    inbox: Mutex<Inbox>,
    wake: Notify,
    hosted: Mutex<Hosted>,
    opened: watch::Sender<Opened>,
    seats: AtomicUsize,
    /// Seats of those who have left, among these.
    left: AtomicUsize,
}

/// Who hosts the document now.
#[derive(Default)]
struct Hosted {
    /// Rises whenever a host is lost or found.
    generation: u64,
    host: Option<Arc<dyn DocumentHost>>,
    /// The host was asked for what came after these slots and has not answered yet.
    catching_up: BTreeSet<Slot>,
}

/// What became of opening the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    NotYet,
    Yes,
    Refused(CloseReason),
    /// Nobody takes it at the moment.
    Busy,
}

/// Starts a document's task. It ends when nobody has a seat.
pub(crate) fn start(fan_out: Arc<FanOut>, shared: &Arc<Shared>) {
    let span = debug_span!(parent: None, "fan_out", document = %fan_out.document);
    shared.tasks.spawn(span, task::run(fan_out, Arc::clone(shared)));
}

impl FanOut {
    pub(crate) fn new(document: DocumentId) -> Self {
        Self {
            document,
            inbox: Mutex::default(),
            wake: Notify::new(),
            hosted: Mutex::default(),
            opened: watch::Sender::new(Opened::NotYet),
            seats: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        }
    }

    pub(crate) fn document(&self) -> &DocumentId {
        &self.document
    }

    pub(crate) fn seat(&self) {
        self.seats.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn unseat(&self) {
        if self.seats.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake.notify_one();
        }
    }

    pub(crate) fn seats(&self) -> usize {
        self.seats.load(Ordering::Acquire)
    }

    /// Seats of editors that are there or about to come.
    pub(crate) fn editors(&self) -> usize {
        // Order: whoever leaves for good goes from the first number last.
        self.seats().saturating_sub(self.left.load(Ordering::Acquire))
    }

    /// A seat is from now on one of those who have left, unless there are too many of these.
    pub(crate) fn leaves_seat(&self, left_max: usize) -> bool {
        let more = |left| (left < left_max).then_some(left + 1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// The same seat is free.
    pub(crate) fn frees_left_seat(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
        self.unseat();
    }

    /// Lets go of the host, which detaches all sessions there.
    pub(crate) fn drop_host(&self) {
        let host = self.change_host(None);
        drop(host);
    }

    /// Replaces the host; returns the last one.
    fn change_host(&self, host: Option<Arc<dyn DocumentHost>>) -> Option<Arc<dyn DocumentHost>> {
        let mut hosted = self.hosted();
        hosted.generation += 1;
        hosted.catching_up.clear();
        std::mem::replace(&mut hosted.host, host)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no holder of this lock panics")
    }

    fn tell(&self, told: Told) {
        self.inbox().tell(told);
        self.wake.notify_one();
    }

    /// From now on the connection gets what the document says.
    pub(crate) fn join(&self, connection: Arc<Connection>) {
        self.tell(Told::Joined(connection));
    }

    pub(crate) fn leave(&self, session: SessionId) {
        self.tell(Told::Left(session));
    }

    /// A host of this generation does not answer any more.
    pub(crate) fn lost(&self, generation: u64) {
        self.tell(Told::Lost { generation, to: None });
    }

    /// Closes all connections, spread over some time, and those that still come.
    pub(crate) fn close_all(&self, reason: CloseReason, spread: Duration) {
        self.tell(Told::CloseAll { reason, spread });
    }

    /// Cuts all connections off, and those that still come.
    pub(crate) fn cut_all(&self) {
        self.tell(Told::CutAll);
    }

    /// Who hosts the document, and since which generation.
    pub(crate) fn host(&self) -> (u64, Option<Arc<dyn DocumentHost>>) {
        let hosted = self.hosted();
        (hosted.generation, hosted.host.clone())
    }

    fn hosted(&self) -> MutexGuard<'_, Hosted> {
        self.hosted.lock().expect("no holder of this lock panics")
    }

    /// Notes that somebody asks this host for what came after `from`. False: an answer that serves is on its way.
    ///
    /// Order: whoever asks holds the lock of his session's state until the session waits, so that the answer finds it
    /// waiting; and he notes it before he asks, so that the answer finds the note.
    pub(crate) fn ask(&self, generation: u64, from: Slot) -> bool {
        let mut hosted = self.hosted();
        if hosted.generation != generation {
            return true;
        }
        let on_its_way = hosted.catching_up.range(..=from).next().is_some();
        !on_its_way && hosted.catching_up.insert(from)
    }

    /// The question could not be asked.
    pub(crate) fn unask(&self, generation: u64, from: Slot) {
        let mut hosted = self.hosted();
        if hosted.generation == generation {
            hosted.catching_up.remove(&from);
        }
    }

    /// Waits until it is known whether the document can be had, but no longer than that.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn opened(&self, no_longer_than: Duration) -> Opened {
        let mut opened = self.opened.subscribe();
        let known = opened.wait_for(|opened| *opened != Opened::NotYet);
        match tokio::time::timeout(no_longer_than, known).await {
            Ok(Ok(opened)) => *opened,
            Ok(Err(_)) | Err(_) => Opened::NotYet,
        }
    }
}

/// Where one host delivers its events.
struct Sink {
    fan_out: Arc<FanOut>,
    generation: u64,
    bytes_max: usize,
}

impl EventSink for Sink {
    fn deliver(&self, event: Event) -> Result<(), Gone> {
        self.fan_out.inbox().deliver(self.generation, event, self.bytes_max)?;
        self.fan_out.wake.notify_one();
        Ok(())
    }

    fn busy_until(&self) -> Option<Instant> {
        self.fan_out.inbox().opens_at
    }
}
