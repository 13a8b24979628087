//! Which documents wait for a person, and the notes that a decoding leaves in the store before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringleaf_store::{Store, StoreError};
use ringleaf_types::DocumentId;
use tokio::sync::OnceCell;
use tracing::{error, warn};

use crate::backoff::Backoff;
use crate::shared::Shared;

/// The documents in quarantine, as the store has them.
///
/// They are read once, and kept: on one machine nobody else puts documents there or takes them out.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    read: OnceCell<()>,
    documents: Mutex<BTreeSet<DocumentId>>,
}

impl Quarantine {
    /// Whether the document waits for a person. Waits for the store the first time.
    pub(crate) async fn holds(
        &self,
        document: &DocumentId,
        store: &Arc<dyn Store>,
    ) -> Result<bool, StoreError> {
        self.read
            .get_or_try_init(async || {
                let read = store.quarantined().await?;
                self.lock().extend(read.into_iter().map(|quarantined| quarantined.document));
                Ok::<(), StoreError>(())
            })
            .await?;
        Ok(self.lock().contains(document))
    }

    pub(crate) fn insert(&self, document: &DocumentId) {
        self.lock().insert(document.clone());
    }

    pub(crate) fn remove(&self, document: &DocumentId) {
        self.lock().remove(document);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<DocumentId>> {
        self.documents.lock().expect("no holder of this lock panics")
    }
}

/// How many notes this process itself has in the store, so that it does not take its own for those of a dead one.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    live: Mutex<BTreeMap<DocumentId, u32>>,
}

/// A note in the store: these bytes are being decoded. [`Note::end`] says how that went.
#[derive(Debug)]
#[must_use]
pub(crate) struct Note {
    document: DocumentId,
    /// Earlier notes, left by processes that died, or by decodings that failed.
    earlier: u32,
}

/// The bytes of this document have ended a process, or have failed to decode, twice.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Poisonous {
    pub(crate) reason: String,
}

/// How many times bytes may be tried before they are given up (R8).
pub(crate) const TRIES: u32 = 2;
/// How long a decoding waits for its note. Limit: beyond it the store is away, and then editors come first.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);

impl Notes {
    fn add(&self, document: &DocumentId) -> u32 {
        let mut live = self.live.lock().expect("no holder of this lock panics");
        let live = live.entry(document.clone()).or_default();
        *live += 1;
        *live
    }

    fn remove(&self, document: &DocumentId) {
        let mut live = self.live.lock().expect("no holder of this lock panics");
        if let Some(count) = live.get_mut(document) {
            *count -= 1;
            if *count == 0 {
                live.remove(document);
            }
        }
    }
}

impl Note {
    /// Notes in the store that stored bytes of this document are about to be decoded: if the process dies of them,
    /// the note stays.
    ///
    /// A store that does not take the note at the moment does not hold up the document: the note guards against bytes
    /// that end the process, and losing it once loses nothing that is stored.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a note behind, which counts as one failed try.
    pub(crate) async fn begin(shared: &Shared, document: &DocumentId) -> Result<Self, Poisonous> {
        let live = shared.notes.add(document);
        let mark = tokio::time::timeout(NOTE_TIMEOUT, shared.store.mark_attempt(document)).await;
        let mark = match mark {
            Ok(Ok(mark)) => mark,
            Ok(Err(error)) => {
                warn!(%document, error = &error as &dyn std::error::Error, "decoding without a note in the store");
                return Ok(Self { document: document.clone(), earlier: 0 });
            }
            Err(_) => {
                warn!(%document, "decoding without a note in the store, which does not answer");
                return Ok(Self { document: document.clone(), earlier: 0 });
            }
        };
        let earlier = mark.attempts.saturating_sub(live);
        if earlier >= TRIES {
            shared.notes.remove(document);
            let reason =
                mark.reason.unwrap_or_else(|| "the process ended while it decoded the document".into());
            return Err(Poisonous { reason });
        }
        Ok(Self { document: document.clone(), earlier })
    }

    /// The decoding has ended: well, or for this reason. Answers whether the document has had all its tries. Nobody
    /// waits for the store here.
    pub(crate) fn end(self, shared: &Arc<Shared>, failed: Option<String>) -> bool {
        let kept = failed.is_some();
        let given_up = kept && self.earlier + 1 >= TRIES;
        if kept {
            // It stays in the store, so from now on it counts as an earlier one.
            shared.notes.remove(&self.document);
        }
        let shared_too = Arc::clone(shared);
        shared.outcomes.start(tracing::debug_span!("note", document = %self.document), async move {
            if let Err(error) = shared_too.store.mark_outcome(&self.document, failed).await {
                warn!(document = %self.document, error = &error as &dyn std::error::Error, "could not remove a note");
            }
            if !kept {
                shared_too.notes.remove(&self.document);
            }
        });
        given_up
    }
}

/// Closes a document until a person has looked, for this process at once, and in the store as soon as that takes it.
///
/// # Cancel safety
///
/// Dropping the future leaves it open whether the store has it.
pub(crate) async fn quarantine(shared: &Shared, document: &DocumentId, reason: &str) {
    shared.quarantine.insert(document);
    shared.metrics.documents_quarantined.set(shared.quarantine.count() as f64);
    error!(%document, reason, "document quarantined: it stays closed until a person has looked");
    let mut backoff = Backoff::new();
    while let Err(error) = shared.store.quarantine(document, reason.to_owned()).await {
        if error.advice() == ringleaf_store::Advice::GiveUp {
            error!(%document, error = &error as &dyn std::error::Error, "could not keep the quarantine in the store");
            return;
        }
        backoff.wait().await;
    }
}

/// Lets the document be opened again. `false`: it was not in quarantine.
pub(crate) async fn release(shared: &Shared, document: &DocumentId) -> Result<bool, StoreError> {
    let released = shared.store.release(document).await?;
    // Order: the store first. If it does not do it, the document stays closed here too.
    shared.quarantine.remove(document);
    shared.forget_panics(document);
    shared.metrics.documents_quarantined.set(shared.quarantine.count() as f64);
    Ok(released)
}
