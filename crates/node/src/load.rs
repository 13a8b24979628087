//! Making a document resident: read, check, open. A failed load is never an empty document (R8, I11).

use std::sync::Arc;
use std::time::Duration;

use ringleaf_document::{Document, Kept};
use ringleaf_store::{Advice, StoreError, Stored};
use ringleaf_types::{DocumentId, Slot};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::pool::Urgency;
use crate::quarantine::{self, Note, quarantine};
use crate::registry::Resident;
use crate::remainders;
use crate::shared::Shared;

/// A document that came out of the store.
pub(crate) struct Loaded {
    pub(crate) document: Box<Document>,
    /// What its newest snapshot covers.
    pub(crate) snapshot_upto: Slot,
}

/// Why there is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadEnd {
    /// It waits for a person.
    Quarantined,
    /// The store is closed.
    StoreClosed,
    /// Documents in use fill the memory, and whoever wants this one can be told to try again later.
    NoRoom,
}

/// What stands against stored bytes.
struct Failure {
    reason: String,
    /// That they were being loaded is noted already.
    note: Option<Note>,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, note: None }
    }
}

/// How long a gap in the log may stay. Somebody else may be deleting below a new snapshot just now.
const GAP_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that are scanned on the task's own thread. Limit: at some GB/s, well below a millisecond.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Documents above this size do not stand before others on the pool. And since memory goes by bytes, only these could end the
/// process by being loaded: what they do is noted in the store first.
const LONG_BYTES: usize = 1 << 20;

/// Reads a document until that works, or until it is certain that it never will.
///
/// # Cancel safety
///
/// Dropping the future forgets what was read.
pub(crate) async fn load(shared: &Arc<Shared>, resident: &Resident) -> Result<Loaded, LoadEnd> {
    let id = &resident.document;
    let begun_at = Instant::now();
    let mut backoff = Backoff::new();
    let mut gap_since: Option<Instant> = None;
    let mut told = false;
    loop {
        match read(shared, id).await {
            Ok(None) => return Err(LoadEnd::Quarantined),
            // Not before the read: many may be waiting for theirs, and this is how much it is.
            Ok(Some((stored, _)))
                if !shared.memory.take(&resident.facts, size(&stored)) && !resident.facts.must_load() =>
            {
                return Err(LoadEnd::NoRoom);
            }
            Ok(Some((stored, kept))) => match open(shared, id, stored, kept).await {
                Ok(loaded) => {
                    shared.metrics.loads.increment(1);
                    shared.metrics.load_seconds.record(begun_at.elapsed());
                    return Ok(loaded);
                }
                Err(failure) => failed(shared, id, failure).await?,
            },
            Err(error) if error.advice() == Advice::RetryLater => {
                if !std::mem::replace(&mut told, true) {
                    warn!(error = &error as &dyn std::error::Error, "waiting for the store");
                }
            }
            Err(StoreError::Closed) => return Err(LoadEnd::StoreClosed),
            Err(error @ StoreError::Gap { .. }) => {
                if gap_since.get_or_insert_with(Instant::now).elapsed() > GAP_TIMEOUT {
                    quarantine(shared, id, &error.to_string()).await;
                    return Err(LoadEnd::Quarantined);
                }
            }
            Err(error) => failed(shared, id, error.to_string().into()).await?,
        }
        backoff.wait().await;
    }
}

async fn read(shared: &Shared, id: &DocumentId) -> Result<Option<(Stored, Vec<Kept>)>, StoreError> {
    if quarantine::holds(shared, id).await? {
        return Ok(None);
    }
    let (stored, kept) = futures_util::try_join!(shared.store.read(id), remainders::read(shared, id))?;
    Ok(Some((stored, kept)))
}

/// R8: what may end the process is noted in the store first, and what was being loaded or made compact when one ended is
/// loaded alone, so that of many only the one that does it again is to blame.
async fn open(
    shared: &Arc<Shared>,
    id: &DocumentId,
    stored: Stored,
    kept: Vec<Kept>,
) -> Result<Loaded, Failure> {
    let bytes = size(&stored);
    let suspect = shared.quarantine.suspects(id);
    let turn = if suspect { Some(shared.pool.alone().await) } else { None };
    let note = match suspect || bytes > LONG_BYTES {
        true => Some(Note::begin(shared, id).await.map_err(|poisonous| Failure::from(poisonous.reason))?),
        false => None,
    };
    let settings = shared.settings(id);
    let snapshot_upto = stored.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
    let document = id.clone();
    let open = move || {
        let now = Instant::now().into_std();
        let opened = Document::open(document, stored.snapshot, stored.slots, kept, settings, now);
        opened.map(Box::new).map_err(|error| error.to_string())
    };
    let opened = match turn {
        Some(turn) => shared.pool.run_with(turn, open).await.map_err(|_| ()),
        None if bytes <= INLINE_BYTES_MAX => {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).map_err(|_| ())
        }
        None => {
            let urgency = if bytes <= LONG_BYTES { Urgency::Foreground } else { Urgency::Long };
            shared.pool.run(urgency, open).await.map_err(|_| ())
        }
    };
    match opened.unwrap_or_else(|()| Err("scanning the stored bytes panicked".into())) {
        Ok(document) => {
            if let Some(note) = note {
                note.end(None);
            }
            info!(epoch = %document.epoch(), slot = %document.last_slot(), bytes, "document loaded");
            Ok(Loaded { document, snapshot_upto })
        }
        Err(reason) => Err(Failure { reason, note }),
    }
}

/// Takes down that the bytes could not be used, in the store; a second time is the last.
async fn failed(shared: &Arc<Shared>, id: &DocumentId, failure: Failure) -> Result<(), LoadEnd> {
    let Failure { reason, note } = failure;
    shared.metrics.load_failures.increment(1);
    warn!(reason, "document does not load");
    let note = match note {
        Some(note) => Ok(note),
        None => Note::begin(shared, id).await,
    };
    let given_up = note.map_or(true, |note| note.end(Some(reason.clone())));
    if given_up {
        quarantine(shared, id, &reason).await;
        return Err(LoadEnd::Quarantined);
    }
    Ok(())
}

fn size(stored: &Stored) -> usize {
    let slots = stored.slots.iter().map(|(_, record)| match &record.body {
        ringleaf_types::Body::Updates(updates) => updates.iter().map(bytes::Bytes::len).sum(),
        ringleaf_types::Body::Deletion | ringleaf_types::Body::Undeletion => 0,
    });
    slots.sum::<usize>() + stored.snapshot.as_ref().map_or(0, |snapshot| snapshot.state.len())
}
