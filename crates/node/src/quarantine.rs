//! Which documents wait for a person, and the notes that a decoding leaves in the store before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ringleaf_store::{Store, StoreError};
use ringleaf_types::DocumentId;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::backoff::Backoff;
use crate::pool::{Panicked, Urgency};
use crate::shared::Shared;

/// In a cluster others put documents there and take them out: what is known of that may be so old.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The documents in quarantine, as the store has them.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// Whose turn it is to ask the store: many loads ask once.
    turn: Semaphore,
    documents: Mutex<Documents>,
    /// Documents that were being decoded when an earlier process died. One of them may be why.
    suspects: Mutex<BTreeSet<DocumentId>>,
}

#[derive(Debug, Default)]
struct Documents {
    /// When the store was asked.
    asked_at: Option<Instant>,
    closed: BTreeSet<DocumentId>,
    /// Those that this process has closed and the store does not have yet.
    unsaved: BTreeSet<DocumentId>,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), documents: Mutex::default(), suspects: Mutex::default() }
    }
}

impl Quarantine {
    /// Whether the document waits for a person. Waits for the store the first time, and in a cluster (`shared_store`)
    /// again and again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves what was known.
    pub(crate) async fn holds(
        &self,
        document: &DocumentId,
        store: &Arc<dyn Store>,
        shared_store: bool,
    ) -> Result<bool, StoreError> {
        let _turn = self.turn.acquire().await.expect("it is never closed");
        let asked_at = self.lock().asked_at;
        if asked_at.is_none() {
            let noted = store.noted().await?;
            self.suspected().extend(noted.into_iter().map(|(document, _)| document));
        }
        if asked_at.is_none_or(|at| shared_store && at.elapsed() >= FRESH_FOR) {
            let read = store.quarantined().await?;
            let mut documents = self.lock();
            let Documents { asked_at, closed, unsaved } = &mut *documents;
            *asked_at = Some(Instant::now());
            *closed = read.into_iter().map(|quarantined| quarantined.document).collect();
            closed.extend(unsaved.iter().cloned());
        }
        Ok(self.lock().closed.contains(document))
    }

    /// This process has closed it.
    pub(crate) fn insert(&self, document: &DocumentId) {
        let mut documents = self.lock();
        documents.closed.insert(document.clone());
        documents.unsaved.insert(document.clone());
    }

    /// The store has it, too.
    fn saved(&self, document: &DocumentId) {
        self.lock().unsaved.remove(document);
    }

    pub(crate) fn remove(&self, document: &DocumentId) {
        let mut documents = self.lock();
        documents.closed.remove(document);
        documents.unsaved.remove(document);
    }

    /// Whether the document was being decoded when an earlier process died.
    pub(crate) fn suspects(&self, document: &DocumentId) -> bool {
        self.suspected().contains(document)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().closed.len()
    }

    fn lock(&self) -> MutexGuard<'_, Documents> {
        self.documents.lock().expect("no holder of this lock panics")
    }

    fn suspected(&self) -> MutexGuard<'_, BTreeSet<DocumentId>> {
        self.suspects.lock().expect("no holder of this lock panics")
    }
}

/// How many notes this process itself has in the store, so that it does not take its own for those of a dead one.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    live: Mutex<BTreeMap<DocumentId, u32>>,
}

/// A note in the store: these bytes are being decoded. [`Note::end`] says how that went; dropped before, it is taken
/// back.
#[must_use]
pub(crate) struct Note {
    shared: Arc<Shared>,
    document: DocumentId,
    /// Earlier notes, left by processes that died, or by decodings that failed.
    earlier: u32,
    ended: bool,
}

/// The bytes of this document have failed to decode twice, or have ended [`DEATHS`] processes.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Poisonous {
    pub(crate) reason: String,
}

/// How many times bytes may fail to decode before they are given up (R8).
pub(crate) const TRIES: u32 = 2;
/// How many processes may end while they decode them, with no decoding that went well in between. More, because most
/// processes end for other reasons: a node is killed twice in a row at the same document sooner than one would think, and
/// in a cluster the note of one that lives counts too.
const DEATHS: u32 = 4;
/// How long a decoding waits for its note. Limit: beyond it the store is away, and then editors come first.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);

impl Notes {
    fn documents(&self) -> Vec<DocumentId> {
        self.live.lock().expect("no holder of this lock panics").keys().cloned().collect()
    }

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
    /// Dropping the future takes the note back.
    pub(crate) async fn begin(shared: &Arc<Shared>, document: &DocumentId) -> Result<Self, Poisonous> {
        let live = shared.notes.add(document);
        let mut note =
            Self { shared: Arc::clone(shared), document: document.clone(), earlier: 0, ended: false };
        let mark = tokio::time::timeout(NOTE_TIMEOUT, shared.store.mark_attempt(document)).await;
        let mark = match mark {
            Ok(Ok(mark)) => mark,
            Ok(Err(error)) => {
                warn!(%document, error = &error as &dyn std::error::Error, "decoding without a note in the store");
                return Ok(note);
            }
            Err(_) => {
                warn!(%document, "decoding without a note in the store, which does not answer");
                return Ok(note);
            }
        };
        note.earlier = mark.attempts.saturating_sub(live);
        let tries = if mark.reason.is_some() { TRIES } else { DEATHS };
        if note.earlier >= tries {
            // It stays, as what it adds to is evidence.
            note.ended = true;
            shared.notes.remove(document);
            let reason =
                mark.reason.unwrap_or_else(|| "the process ended while it decoded the document".into());
            return Err(Poisonous { reason });
        }
        Ok(note)
    }

    /// The decoding has ended: well, or for this reason. Answers whether the document has had all its tries. Nobody
    /// waits for the store here.
    pub(crate) fn end(mut self, failed: Option<String>) -> bool {
        let kept = failed.is_some();
        if kept {
            // It stays in the store, so from now on it counts as an earlier one.
            self.shared.notes.remove(&self.document);
        } else {
            self.shared.quarantine.suspected().remove(&self.document);
        }
        self.tell(failed);
        kept && self.earlier + 1 >= TRIES
    }

    fn tell(&mut self, failed: Option<String>) {
        self.ended = true;
        let kept = failed.is_some();
        let (shared, document) = (Arc::clone(&self.shared), self.document.clone());
        self.shared.outcomes.start(tracing::debug_span!("note", %document), async move {
            if let Err(error) = shared.store.mark_outcome(&document, failed).await {
                warn!(%document, error = &error as &dyn std::error::Error, "could not remove a note");
            }
            if !kept {
                shared.notes.remove(&document);
            }
        });
    }
}

impl Drop for Note {
    /// Nothing was decoded: whoever wanted it has gone, or the node stops.
    fn drop(&mut self) {
        if !self.ended && tokio::runtime::Handle::try_current().is_ok() {
            self.tell(None);
        }
    }
}

/// Decodes stored bytes on a thread of the pool, with a note in the store meanwhile. `panicked`: what a panic says
/// against the bytes; without it one is no evidence.
///
/// What was being decoded when an earlier process died is decoded alone, so that of all those which happened to be at it
/// only the one that ends the process a second time is to blame.
///
/// # Errors
///
/// The bytes have had all their tries.
///
/// # Cancel safety
///
/// What has begun runs to its end, and only then is the note taken back.
pub(crate) async fn decode<T: Send + 'static>(
    shared: &Arc<Shared>,
    document: &DocumentId,
    urgency: Urgency,
    panicked: Option<&'static str>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, Panicked>, Poisonous> {
    let suspect = shared.quarantine.suspects(document);
    let turn = if suspect { Some(shared.pool.alone().await) } else { None };
    let note = Note::begin(shared, document).await?;
    let work = move || {
        let decoded = catch_unwind(AssertUnwindSafe(work));
        let failed = panicked.filter(|_| decoded.is_err()).map(str::to_owned);
        note.end(failed);
        decoded.map_err(|_| Panicked)
    };
    let decoded = match turn {
        Some(turn) => shared.pool.run_with(turn, work).await,
        None => shared.pool.run(urgency, work).await,
    };
    Ok(decoded.and_then(|decoded| decoded))
}

/// Takes back the notes of what is still being decoded: the process ends in order, not of these.
pub(crate) fn take_back_notes(shared: &Arc<Shared>) {
    for document in shared.notes.documents() {
        let shared_too = Arc::clone(shared);
        shared.outcomes.start(tracing::debug_span!("note", %document), async move {
            if let Err(error) = shared_too.store.mark_outcome(&document, None).await {
                warn!(%document, error = &error as &dyn std::error::Error, "could not remove a note");
            }
        });
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
    shared.quarantine.saved(document);
}

/// Whether the document waits for a person.
pub(crate) async fn holds(shared: &Shared, document: &DocumentId) -> Result<bool, StoreError> {
    let held = shared.quarantine.holds(document, &shared.store, shared.membership.is_some()).await?;
    shared.metrics.documents_quarantined.set(shared.quarantine.count() as f64);
    Ok(held)
}

/// Lets the document be opened again. `false`: it was not in quarantine.
pub(crate) async fn release(shared: &Shared, document: &DocumentId) -> Result<bool, StoreError> {
    let released = shared.store.release(document).await?;
    // Order: the store first. If it does not do it, the document stays closed here too.
    shared.quarantine.remove(document);
    shared.quarantine.suspected().remove(document);
    shared.forget_panics(document);
    shared.metrics.documents_quarantined.set(shared.quarantine.count() as f64);
    Ok(released)
}

#[cfg(test)]
mod tests;
