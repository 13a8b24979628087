//! Keeping all resident documents within their budget.
//!
//! ```text
//! all > budget ──▶ those that nobody uses are let go, longest unused first
//! held ≥ budget ─▶ letting go does not help: documents that are not resident are not opened, until there is room
//! ```
//!
//! *Held* is what documents use that have sessions, or that are being loaded. Those are served whatever happens.

use std::cmp::Reverse;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::command::Command;
use crate::registry::Facts;
use crate::shared::Shared;

/// How often the budget is looked at, though nothing has grown above it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time between two looks: each goes through all documents.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// One such part of the budget is free after a look that found it exceeded, so that the next one is not due at once.
const SPARE: usize = 32;

/// What all resident documents use.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: usize,
    all: AtomicIsize,
    held: AtomicIsize,
    exceeded: Notify,
    refusing: AtomicBool,
}

impl Memory {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            all: AtomicIsize::new(0),
            held: AtomicIsize::new(0),
            exceeded: Notify::new(),
            refusing: AtomicBool::new(false),
        }
    }

    /// Takes down how much one document uses now, and whether somebody uses the document.
    pub(crate) fn count(&self, facts: &Facts, bytes: usize, used: bool) {
        let held = if used { bytes } else { 0 };
        let (grown, more_held) = facts.weigh(bytes, held);
        if more_held != 0 {
            self.held.fetch_add(more_held, Ordering::Relaxed);
        }
        if grown != 0 && amount(self.all.fetch_add(grown, Ordering::Relaxed) + grown) > self.budget {
            self.exceeded.notify_one();
        }
    }

    /// Takes down what a document that is being loaded will use at least. Answers whether there was room for it: of many
    /// that come at once those are turned back that come after the one that fills the budget.
    pub(crate) fn take(&self, facts: &Facts, bytes: usize) -> bool {
        let room = !self.full();
        self.count(facts, bytes, true);
        room
    }

    /// Letting go of what nobody uses would not make room.
    pub(crate) fn full(&self) -> bool {
        self.held() >= self.budget
    }

    pub(crate) fn all(&self) -> usize {
        amount(self.all.load(Ordering::Relaxed))
    }

    fn held(&self) -> usize {
        amount(self.held.load(Ordering::Relaxed))
    }
}

fn amount(bytes: isize) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

/// An opening is refused: takes it down, and says so if that is news.
pub(crate) fn refused(shared: &Shared) {
    shared.metrics.refused_for_memory.increment(1);
    let memory = &shared.memory;
    if !memory.refusing.swap(true, Ordering::Relaxed) {
        let (held, limit) = (memory.held(), memory.budget);
        warn!(held, limit, "documents in use fill resident_bytes_max: others are not opened");
    }
}

/// Asks the least recently used documents without sessions to end, while there is too much in memory.
pub(crate) async fn run(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        look(&shared);
        let next = async {
            sleep(LOOK_PAUSE).await;
            shared.memory.exceeded.notified().await;
        };
        let _nothing_exceeded = timeout(LOOK_INTERVAL, next).await;
    }
}

fn look(shared: &Shared) {
    let memory = &shared.memory;
    shared.metrics.documents_resident.set(shared.registry.count() as f64);
    shared.metrics.resident_bytes.set(memory.all() as f64);
    shared.metrics.held_bytes.set(memory.held() as f64);
    if memory.all() > memory.budget {
        make_room(shared, memory.all() - memory.budget + memory.budget / SPARE);
    }
    let room = memory.held() <= memory.budget - memory.budget / SPARE;
    if room && memory.refusing.swap(false, Ordering::Relaxed) {
        info!("there is room for documents again");
    }
}

fn make_room(shared: &Shared, excess: usize) {
    let mut unused = shared.registry.all();
    unused.retain(|resident| resident.facts.serving() && resident.facts.sessions() == 0);
    let weights = unused.iter().map(|resident| (resident.facts.used_at(), resident.facts.bytes())).collect();
    let mut asked = 0;
    for index in longest_unused(weights, excess) {
        // A full mailbox is not one that nobody uses.
        asked += usize::from(unused[index].mailbox.try_send(Box::new(Command::MakeRoom)).is_ok());
    }
    debug!(asked, "documents were asked to make room");
}

/// Of documents by when they were used last and by their bytes: which to let go, so that `excess` bytes become free.
fn longest_unused(weights: Vec<(Instant, usize)>, excess: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // Of those used last at the same time, the largest.
    order.sort_by_key(|&index| (weights[index].0, Reverse(weights[index].1)));
    let mut freed = 0;
    order.retain(|&index| {
        let needed = freed < excess;
        freed += weights[index].1;
        needed
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_go_first_and_no_more_than_must() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let weights = vec![(at(3), 10), (at(1), 10), (at(2), 10), (at(1), 15)];
        assert_eq!(longest_unused(weights.clone(), 0), [0; 0]);
        assert_eq!(longest_unused(weights.clone(), 1), [3]);
        assert_eq!(longest_unused(weights.clone(), 16), [3, 1]);
        assert_eq!(longest_unused(weights.clone(), 26), [3, 1, 2]);
        assert_eq!(longest_unused(weights, 1_000), [3, 1, 2, 0]);
    }

    #[test]
    fn memory_is_full_when_what_is_in_use_fills_it() {
        let memory = Memory::new(100);
        let (idle, used, loading) = (Facts::new(), Facts::new(), Facts::new());
        memory.count(&idle, 500, false);
        assert!(!memory.full(), "that one can be let go");
        memory.count(&used, 90, true);
        assert!(memory.take(&loading, 300), "there is still room when it comes");
        assert!(!memory.take(&Facts::new(), 1), "for the next there is none");
        memory.count(&loading, 0, false);
        assert!(!memory.full());
        memory.count(&used, 200, true);
        assert!(memory.full());
        memory.count(&used, 200, false);
        assert!(!memory.full(), "its editors have left");
        assert_eq!(memory.all(), 701);
    }
}
