//! How long turns take: those on a thread of the runtime must be short, others wait for them.

use metrics::{Histogram, describe_histogram, histogram};
use tokio::time::Instant;
use tracing::debug;

use super::DocumentTask;

/// Turns below this are not told apart …
const SHORT_SECONDS: f64 = 0.001;
/// … and are counted so many at a time: there are thousands a second.
const SHORT_TOGETHER: u32 = 64;
/// Longer ones are said to whoever looks for them.
const LONG_SECONDS: f64 = 0.05;

/// One handle for each place where turns are taken.
pub(crate) struct TurnSeconds {
    here: Histogram,
    pool: Histogram,
}

impl TurnSeconds {
    pub(crate) fn new() -> Self {
        describe_histogram!(
            "ringleaf_document_turn_seconds",
            "What a document does in one go, on a thread that others wait for (here) or on one of the pool"
        );
        let of = |place: &'static str| histogram!("ringleaf_document_turn_seconds", "where" => place);
        Self { here: of("here"), pool: of("pool") }
    }

    pub(crate) fn on_pool(&self, began_at: Instant) {
        self.pool.record(began_at.elapsed());
    }
}

impl DocumentTask {
    /// A turn that began then is over, with all that followed from it.
    pub(super) fn turn_ends(&mut self, began_at: Option<Instant>) {
        let Some(began_at) = began_at else { return };
        let seconds = began_at.elapsed().as_secs_f64();
        if seconds >= SHORT_SECONDS {
            self.shared.metrics.turn_seconds.here.record(seconds);
            if seconds >= LONG_SECONDS {
                let elapsed_ms = (seconds * 1_000.0) as u64;
                debug!(document = %self.resident.document, elapsed_ms, "others had to wait for a turn");
            }
            return;
        }
        self.short_turns += 1;
        if self.short_turns >= SHORT_TOGETHER {
            self.count_short_turns();
        }
    }

    pub(super) fn count_short_turns(&mut self) {
        let turns = std::mem::take(&mut self.short_turns) as usize;
        self.shared.metrics.turn_seconds.here.record_many(SHORT_SECONDS / 2.0, turns);
    }
}
