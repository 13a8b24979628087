//! Keeping what lacks its ground in the store, beside the document.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ringleaf_document::{Input, Kept};
use ringleaf_store::{Advice, StoreError};
use ringleaf_types::{DocumentId, Remainder};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::backoff::Backoff;
use crate::document_task::Answer;
use crate::shared::Shared;

/// What is kept of a document.
///
/// # Cancel safety
///
/// Nothing is lost by dropping the future.
pub(crate) async fn read(shared: &Shared, document: &DocumentId) -> Result<Vec<Kept>, StoreError> {
    let now = (Instant::now(), SystemTime::now());
    let kept = shared.store.remainders(document).await?;
    let since = |at: SystemTime| {
        let age = now.1.duration_since(at).unwrap_or_default();
        now.0.checked_sub(age).unwrap_or(now.0).into_std()
    };
    let kept = kept.into_iter();
    Ok(kept.map(|Remainder { id, since: at, bytes }| Kept { id, update: bytes, since: since(at) }).collect())
}

/// Keeps a remainder, trying for as long as the store is away.
///
/// # Cancel safety
///
/// Dropping the future leaves it open whether it is kept. Who has sent it was not told so.
pub(crate) async fn keep(shared: Arc<Shared>, document: DocumentId, id: u64, update: Bytes) -> Answer {
    let remainder = Remainder { id, since: SystemTime::now(), bytes: update };
    let mut backoff = Backoff::new();
    let mut told = false;
    loop {
        match shared.store.keep_remainder(&document, remainder.clone()).await {
            Ok(()) => return Answer::Input(Input::RemainderKept { id }),
            Err(error) if error.advice() == Advice::RetryLater => {
                if !std::mem::replace(&mut told, true) {
                    warn!(%document, error = &error as &dyn std::error::Error, "the store does not keep a remainder yet");
                }
                backoff.wait().await;
            }
            Err(error) => {
                error!(%document, error = &error as &dyn std::error::Error, "the store keeps no remainder");
                return Answer::Reload;
            }
        }
    }
}

/// Removes a remainder. One that stays is found to hold nothing new at the next load.
///
/// # Cancel safety
///
/// Dropping the future leaves it open whether it is removed.
pub(crate) async fn drop(shared: Arc<Shared>, document: DocumentId, id: u64) -> Answer {
    if let Err(error) = shared.store.drop_remainders(&document, &[id]).await {
        debug!(%document, error = &error as &dyn std::error::Error, "could not remove a remainder");
    }
    Answer::Dropped
}
