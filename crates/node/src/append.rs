//! The one append of a document that is in flight.

use std::sync::Arc;
use std::time::Duration;

use ringleaf_document::AppendOutcome;
use ringleaf_store::{Advice, Created, StoreError};
use ringleaf_types::{DocumentId, Record, Slot};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::shared::Shared;

/// An append that has no answer after so long counts as one that the store does not take: a busy store answers sooner,
/// and whoever asks how the node is should not hear that all is well while its editors wait.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// How an append ended.
#[derive(Debug)]
pub(crate) enum AppendEnd {
    Decided {
        slot: Slot,
        outcome: AppendOutcome,
    },
    /// The store will never say: it is closed, or what it holds cannot be read.
    Undecided {
        error: StoreError,
    },
}

/// Creates the slot, trying for as long as the store is away or full. Every try carries the same record, nonce
/// included, so a try whose reply was lost is recognized.
///
/// # Cancel safety
///
/// Dropping the future leaves it open whether the slot is created. A document's task never does, but when it is cut
/// off at the end of the time to stop.
pub(crate) async fn append(
    shared: Arc<Shared>,
    document: DocumentId,
    slot: Slot,
    record: Record,
) -> AppendEnd {
    let begun_at = Instant::now();
    let mut backoff = Backoff::new();
    let mut tries = 0_u32;
    let mut failing = None;
    loop {
        let mut create = shared.store.create_slot(&document, slot, record.clone());
        let created = loop {
            let waits_since = Instant::now();
            match timeout(STUCK_AFTER, &mut create).await {
                Ok(created) => break created,
                // The timer is late because this process was stopped: the store has not had its time.
                Err(_) if waits_since.elapsed() >= STUCK_AFTER * 2 => {}
                Err(_) => {
                    if failing.is_none() {
                        let elapsed_ms = begun_at.elapsed().as_millis();
                        warn!(%document, %slot, elapsed_ms, "nothing is acknowledged until the store takes the append");
                        failing = Some(shared.append_fails());
                    }
                    break create.await;
                }
            }
        };
        match created {
            Ok(created) => {
                shared.metrics.appends.increment(1);
                shared.metrics.append_seconds.record(begun_at.elapsed());
                if failing.is_some() {
                    let elapsed_ms = begun_at.elapsed().as_millis();
                    info!(%document, %slot, tries, elapsed_ms, "the store takes appends again");
                }
                return AppendEnd::Decided { slot, outcome: outcome(created) };
            }
            Err(error) if error.advice() == Advice::RetryLater => {
                if failing.is_none() {
                    let error = &error as &dyn std::error::Error;
                    warn!(%document, %slot, error, "nothing is acknowledged until the store takes the append");
                }
                tries += 1;
                failing.get_or_insert_with(|| shared.append_fails());
                shared.metrics.append_retries.increment(1);
                backoff.wait().await;
            }
            Err(error) => return AppendEnd::Undecided { error },
        }
    }
}

fn outcome(created: Created) -> AppendOutcome {
    match created {
        Created::Created => AppendOutcome::Created,
        Created::Taken(record) => AppendOutcome::Taken(record),
        Created::Covered => AppendOutcome::Covered,
        Created::Gap => AppendOutcome::Gap,
    }
}
