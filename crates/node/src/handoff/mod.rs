//! Moving resident documents to the nodes that should own them: the shells of `ring::handoff`.
//!
//! ```text
//! residents that others should own ─┬─ moves are paused, or the ring has just changed ─▶ stay for now
//!                                   ├─ without sessions ─▶ forgotten: they are durable
//!                                   └─ the rest, hot ones first ─▶ handed off ─┬─▶ moved
//!                                                                              ├─▶ later: the target is busy, or it failed once
//!                                                                              └─▶ let go: opened by its routers, anywhere
//! ```
//!
//! Documents whose owner does not answer stay; unless this node leaves the ring and another one answers: then they are let go
//! of. A document that is let go of moves as well, only slower and without its presence. A node that leaves the ring waits for
//! nobody's permission. How many move at a time is what operators say: `ringleaf_coordinator::Pacing`.

mod debounce;
mod mover;
mod pace;
mod places;
mod setbacks;
mod source;
mod target;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::registry::Resident;

pub(crate) use mover::run as move_out;
pub(crate) use pace::Acknowledged;
use places::Places;
pub(crate) use target::run as take_over;

/// A document that was let go of and has not flushed by then is abandoned: its new owner waits for it.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);
/// Sources wait for so long while as many documents as may are on their way to here, then they try later. Well below what a
/// source waits for an answer.
const IN_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of documents that others should own, since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    /// Their new owner has them, and their routers were told.
    pub moved: u64,
    /// Nobody had them open: they were flushed and forgotten.
    pub forgotten: u64,
    /// They were flushed and let go of, because the handoff did not come about.
    pub let_go: u64,
}

impl Moves {
    /// What was added since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            moved: self.moved - before.moved,
            forgotten: self.forgotten - before.forgotten,
            let_go: self.let_go - before.let_go,
        }
    }
}

/// What all handoffs of a node have in common.
pub(crate) struct Handoffs {
    /// Documents on their way to here.
    coming: Places,
    /// Documents on their way from here.
    going: AtomicUsize,
    look: Notify,
    /// This node alone cannot reach the store: nothing flushes here.
    store_lost: AtomicBool,
    moved: AtomicU64,
    forgotten: AtomicU64,
    let_go: AtomicU64,
    /// Residents that were let go of, and since when.
    leaving: Mutex<Vec<(Arc<Resident>, Instant)>>,
}

impl Handoffs {
    pub(crate) fn new() -> Self {
        Self {
            coming: Places::default(),
            going: AtomicUsize::new(0),
            look: Notify::new(),
            store_lost: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
            leaving: Mutex::default(),
        }
    }

    /// Has it looked at once what others should own.
    pub(crate) fn look_at_once(&self) {
        self.look.notify_one();
    }

    /// This node alone cannot reach the store, or it can again.
    pub(crate) fn set_store_lost(&self, lost: bool) {
        self.store_lost.store(lost, Ordering::Relaxed);
    }

    pub(crate) fn store_lost(&self) -> bool {
        self.store_lost.load(Ordering::Relaxed)
    }

    /// Documents on their way from here.
    pub(crate) fn going(&self) -> usize {
        self.going.load(Ordering::Relaxed)
    }

    /// Documents on their way to here.
    pub(crate) fn coming(&self) -> usize {
        self.coming.taken()
    }

    /// The handoff did not come about: the document moves without it.
    fn let_go_instead(&self, resident: &Arc<Resident>) {
        self.let_go(resident);
        self.let_go.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the resident flush and end. Without a store there is no use in waiting for the first.
    fn let_go(&self, resident: &Arc<Resident>) {
        resident.stop.cancel();
        if self.store_lost() {
            resident.abandon.cancel();
        }
        self.leaving().push((Arc::clone(resident), Instant::now()));
    }

    /// Ends those that were let go of long ago and still wait for the store.
    pub(crate) fn abandon_late_ones(&self) {
        let now = Instant::now();
        self.leaving().retain(|(resident, since)| {
            let late = *since + LET_GO_TIMEOUT <= now;
            if late && !resident.ended.is_cancelled() {
                warn!(document = %resident.document, "abandon a document that does not flush");
                resident.abandon.cancel();
            }
            !late && !resident.ended.is_cancelled()
        });
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<(Arc<Resident>, Instant)>> {
        self.leaving.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn moves(&self) -> Moves {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Moves { moved: read(&self.moved), forgotten: read(&self.forgotten), let_go: read(&self.let_go) }
    }
}
