//! Making snapshots, one at a time, from what the store holds.

use std::sync::Arc;
use std::time::Duration;

use ringleaf_document::{Input, compaction};
use ringleaf_store::{Advice, StoreError, Stored};
use ringleaf_types::{DocumentId, Slot, Snapshot};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::pool::Urgency;
use crate::quarantine::{Poisonous, decode};
use crate::shared::Shared;

/// After a snapshot the next one waits for as long as this one took, but not longer than this: half of a core at most
/// goes into snapshots.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum CompactError {
    #[error("the store did not do its part")]
    Store(#[from] StoreError),
    #[error("the bytes do not decode: {0}")]
    Bytes(String),
    #[error("the bytes were given up")]
    Poisonous(#[from] Poisonous),
    #[error("another snapshot is in the way")]
    InTheWay,
}

/// Makes a snapshot of the slots through `through` and deletes what earlier ones cover. Answers in any case.
pub(crate) fn start(shared: &Arc<Shared>, document: &DocumentId, through: Slot) -> oneshot::Receiver<Input> {
    let (reply, answer) = oneshot::channel();
    let (shared_too, document) = (Arc::clone(shared), document.clone());
    let span = tracing::info_span!("compaction", %document, slot = %through);
    shared.tasks.start(span, async move {
        let turn = shared_too.compaction_turn().await;
        let begun_at = Instant::now();
        let input = match compact(&shared_too, &document, through).await {
            Ok(snapshot) => {
                shared_too.metrics.snapshots.increment(1);
                shared_too.metrics.snapshot_seconds.record(begun_at.elapsed());
                let elapsed_ms = begun_at.elapsed().as_millis();
                debug!(slot = %snapshot.upto, bytes = snapshot.state.len(), elapsed_ms, "snapshot made");
                Input::Compacted { upto: snapshot.upto }
            }
            Err(error) => {
                shared_too.metrics.snapshot_failures.increment(1);
                warn!(error = &error as &dyn std::error::Error, "no snapshot");
                Input::CompactionFailed
            }
        };
        // The document may have ended meanwhile: the snapshot is there all the same.
        let _ = reply.send(input);
        if !shared_too.registry.stopping().is_cancelled() {
            tokio::time::sleep(begun_at.elapsed().min(PAUSE_MAX)).await;
        }
        drop(turn);
    });
    answer
}

async fn compact(
    shared: &Arc<Shared>,
    document: &DocumentId,
    through: Slot,
) -> Result<Snapshot, CompactError> {
    // R6: from slots that are read back, not from memory.
    let Stored { snapshot, mut slots } = shared.store.read(document).await?;
    if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.upto >= through) {
        // By another node that owns the document meanwhile.
        return Ok(snapshot.clone());
    }
    slots.retain(|(slot, _)| *slot <= through);
    let (id, gc) = (document.clone(), shared.gc(document));
    // A snapshot that does not come about leaves the document as it is, so that alone closes nothing.
    let work = move || compaction::compact(&id, snapshot, slots, gc).map_err(|error| error.to_string());
    let compacted = decode(shared, document, Urgency::Background, None, work)
        .await?
        .unwrap_or_else(|panicked| Err(panicked.to_string()));
    let snapshot = compacted.map_err(CompactError::Bytes)?;
    if !shared.store.create_snapshot(document, snapshot.clone()).await? {
        // Perhaps our own, by a try whose reply was lost.
        let newest = shared.store.read(document).await?.snapshot;
        return newest.filter(|newest| *newest == snapshot).ok_or(CompactError::InTheWay);
    }
    match shared.store.trim(document).await {
        Ok(rows) => debug!(rows, "trimmed"),
        Err(error) => warn!(error = &error as &dyn std::error::Error, "could not trim the log"),
    }
    Ok(snapshot)
}

/// The store has lost slots: keeps what memory still has (R9). Tries for as long as the store is away.
pub(crate) fn save(
    shared: &Arc<Shared>,
    document: &DocumentId,
    found: Slot,
    snapshot: Snapshot,
) -> oneshot::Receiver<Input> {
    let (reply, answer) = oneshot::channel();
    error!(%document, %found, slot = %snapshot.upto, "the store went backwards: it has lost slots that were durable");
    shared.metrics.store_went_backwards.increment(1);
    let (shared_too, document) = (Arc::clone(shared), document.clone());
    shared.tasks.start(tracing::info_span!("save", %document), async move {
        let mut backoff = Backoff::new();
        let input = loop {
            match shared_too.store.create_snapshot(&document, snapshot.clone()).await {
                Ok(_) => {
                    info!(slot = %snapshot.upto, "what the store had lost is saved as a snapshot");
                    break Input::Saved;
                }
                Err(error) if error.advice() == Advice::RetryLater => backoff.wait().await,
                Err(error) => {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "could not save what the store has lost"
                    );
                    break Input::SaveFailed;
                }
            }
        };
        let _ = reply.send(input);
    });
    answer
}
