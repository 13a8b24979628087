//! Moving resident documents to the nodes that should own them: the shells of `ring::handoff`.
//!
//! ```text
//! residents that others should own ─┬─ without sessions ─▶ forgotten: they are durable
//!                                   └─ the rest, hot ones first ─▶ handed off ─┬─▶ moved
//!                                                                              ├─▶ later: the target is busy
//!                                                                              └─▶ let go: opened by its routers, anywhere
//! ```
//!
//! A document that is let go of moves as well, only slower and without its presence.

mod source;
mod target;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use ringleaf_ring::Member;
use ringleaf_ring::handoff::SourceEnd;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::registry::Resident;
use crate::shared::Shared;

pub(crate) use target::run as take_over;

/// Limit: documents that are on their way from here at once. Each costs the target a load.
const OUT_MAX: usize = 8;
/// Limit: documents that are on their way to here at once. Above it sources wait for [`IN_TIMEOUT`], then try later.
const IN_MAX: usize = 16;
/// A document that was let go of and has not flushed by then is abandoned: its new owner waits for it.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);
/// Well below what a source waits for an answer.
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
    incoming: Semaphore,
    /// One round of moves at a time, so that no document is in two.
    round: Semaphore,
    moved: AtomicU64,
    forgotten: AtomicU64,
    let_go: AtomicU64,
    /// Residents that were let go of, and since when.
    leaving: Mutex<Vec<(Arc<Resident>, Instant)>>,
}

impl Handoffs {
    pub(crate) fn new() -> Self {
        Self {
            incoming: Semaphore::new(IN_MAX),
            round: Semaphore::new(1),
            moved: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
            leaving: Mutex::default(),
        }
    }

    /// Waits for the turn to move documents away.
    pub(crate) async fn round(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.round.acquire().await.expect("it is never closed")
    }

    /// Lets the resident flush and end.
    fn let_go(&self, resident: &Arc<Resident>) {
        resident.stop.cancel();
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

/// Documents on their way to one owner, and what became of them.
pub(crate) struct Batch {
    pub(crate) owner: Member,
    pub(crate) residents: Vec<Arc<Resident>>,
}

#[derive(Default)]
struct Tally {
    ends: Vec<SourceEnd>,
    let_go: usize,
    longest_pause: Duration,
}

/// Moves all of these, each if its owner is still the one of its batch.
///
/// # Cancel safety
///
/// Dropping the future leaves documents that were just being moved to the timers of their targets, and sealed ones
/// sealed. Only the end of the node does.
pub(crate) async fn move_out(shared: &Arc<Shared>, batches: Vec<Batch>) {
    for batch in batches {
        let began = Instant::now();
        let Batch { owner, residents } = batch;
        let (idle, mut busy): (Vec<_>, Vec<_>) =
            residents.into_iter().partition(|resident| resident.facts.sessions() == 0);
        for resident in &idle {
            shared.handoffs.let_go(resident);
        }
        shared.handoffs.forgotten.fetch_add(idle.len() as u64, Ordering::Relaxed);
        // Hot ones first: the sooner they are away, the shorter this node carries what others should.
        busy.sort_by_key(|resident| std::cmp::Reverse((resident.facts.sessions(), resident.facts.used_at())));
        let tally = hand_off_all(shared, &owner, &busy).await;
        if idle.is_empty() && busy.is_empty() {
            continue;
        }
        let count = |end| tally.ends.iter().filter(|found| **found == end).count();
        info!(
            target = %owner.node,
            moved = count(SourceEnd::Moved),
            forgotten = idle.len(),
            let_go = tally.let_go,
            later = count(SourceEnd::Busy),
            longest_pause_ms = tally.longest_pause.as_millis(),
            elapsed_ms = began.elapsed().as_millis(),
            "documents moved to their owner"
        );
    }
}

async fn hand_off_all(shared: &Arc<Shared>, owner: &Member, residents: &[Arc<Resident>]) -> Tally {
    let tally = Mutex::new(Tally::default());
    // After one failure the rest do not wait for the same one.
    let unwilling = AtomicBool::new(false);
    let hand_off = |resident: &Arc<Resident>| {
        let (resident, tally, unwilling) = (Arc::clone(resident), &tally, &unwilling);
        async move {
            if !shared.should_own(&owner.node, &resident.document) || resident.stop.is_cancelled() {
                return;
            }
            let known = unwilling.load(Ordering::Relaxed);
            let (end, pause) = match known {
                true => (SourceEnd::Aborted, Duration::ZERO),
                false => source::hand_off(shared, &resident, owner).await,
            };
            let failed = matches!(end, SourceEnd::Refused | SourceEnd::Aborted | SourceEnd::TakenBack);
            if failed {
                unwilling.store(true, Ordering::Relaxed);
                shared.handoffs.let_go(&resident);
                shared.handoffs.let_go.fetch_add(1, Ordering::Relaxed);
            }
            if end == SourceEnd::Moved {
                shared.handoffs.moved.fetch_add(1, Ordering::Relaxed);
            }
            shared.metrics.handed_off(end, pause);
            let mut tally = tally.lock().expect("no holder of this lock panics");
            tally.let_go += usize::from(failed);
            tally.longest_pause = tally.longest_pause.max(pause);
            tally.ends.push(end);
        }
    };
    stream::iter(residents).for_each_concurrent(OUT_MAX, hand_off).await;
    tally.into_inner().expect("no holder of this lock panics")
}
