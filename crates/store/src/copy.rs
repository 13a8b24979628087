//! From one store into another.
//!
//! Every document is read as a load reads it, created in the other store row by row, and read back from there. Nothing is
//! overwritten, so a copy that was interrupted goes on where it stopped, and one into a store that holds something else
//! under the same name changes nothing of that.

use futures_util::{StreamExt, stream};
use ringleaf_types::DocumentId;

use crate::{Advice, Created, Listed, Store, StoreError, Stored};

/// Limit: documents that are in memory at once.
const AT_ONCE: usize = 16;
/// Documents that are listed at once.
const PAGE: usize = 1_000;

const SOMETHING_ELSE: &str = "the other store holds something else under this name";

/// What has become of a copy so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents that are in the other store now, those that were there included.
    pub documents: u64,
    /// Those of them that were there before, whole and equal.
    pub already_there: u64,
    /// Bytes of the rows that were read.
    pub bytes: u64,
    /// Remainders that are in the other store now, those that were there included.
    pub remainders: u64,
    /// Documents that are closed until a person has looked, here and there.
    pub quarantined: u64,
    /// Documents that are not copied, and why. The others are.
    pub failed: Vec<(DocumentId, String)>,
}

/// Why a copy stopped.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the store that is read")]
    From(#[source] StoreError),
    #[error("the store that is written")]
    To(#[source] StoreError),
}

/// One document's fate.
enum Fate {
    Copied,
    AlreadyThere,
    Failed(String),
}

/// Copies all documents that `to` does not have. Neither store may be served by anybody meanwhile.
///
/// # Errors
///
/// A store is away. What concerns single documents is told in [`Copied::failed`] instead.
///
/// # Cancel safety
///
/// What was copied stays; copying again goes on from there.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    mut progress: impl FnMut(&Copied),
) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    let mut after: Option<DocumentId> = None;
    loop {
        let page = from.list("", after.as_ref(), PAGE).await.map_err(CopyError::From)?;
        let Some(last) = page.last() else { break };
        after = Some(last.document.clone());
        let mut fates = stream::iter(page)
            .map(async |listed: Listed| (copy_document(from, to, &listed.document).await, listed))
            .buffer_unordered(AT_ONCE);
        while let Some((fate, listed)) = fates.next().await {
            copied.add(fate?, listed);
            progress(&copied);
        }
    }
    copy_remainders(from, to, &mut copied).await?;
    for closed in from.quarantined().await.map_err(CopyError::From)? {
        to.quarantine(&closed.document, closed.reason).await.map_err(CopyError::To)?;
        copied.quarantined += 1;
    }
    copied.failed.sort();
    Ok(copied)
}

impl Copied {
    fn add(&mut self, fate: Fate, listed: Listed) {
        match fate {
            Fate::Failed(why) => self.failed.push((listed.document, why)),
            Fate::Copied => self.documents += 1,
            Fate::AlreadyThere => {
                self.documents += 1;
                self.already_there += 1;
            }
        }
        self.bytes += listed.bytes;
    }
}

/// Those of documents that failed are left out: the other store holds something else under their names, or nothing whole.
async fn copy_remainders(from: &dyn Store, to: &dyn Store, copied: &mut Copied) -> Result<(), CopyError> {
    let mut after: Option<DocumentId> = None;
    loop {
        let page = from.with_remainders(after.as_ref(), PAGE).await.map_err(CopyError::From)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for document in page {
            if copied.failed.iter().any(|(failed, _)| *failed == document) {
                continue;
            }
            if !is_written(from, &document).await.map_err(CopyError::From)?
                && is_written(to, &document).await.map_err(CopyError::To)?
            {
                copied.failed.push((document, SOMETHING_ELSE.into()));
                continue;
            }
            for remainder in from.remainders(&document).await.map_err(CopyError::From)? {
                to.keep_remainder(&document, remainder).await.map_err(CopyError::To)?;
                copied.remainders += 1;
            }
        }
    }
}

async fn is_written(store: &dyn Store, document: &DocumentId) -> Result<bool, StoreError> {
    Ok(!store.tails(std::slice::from_ref(document)).await?.is_empty())
}

async fn copy_document(from: &dyn Store, to: &dyn Store, document: &DocumentId) -> Result<Fate, CopyError> {
    let stored = match from.read(document).await {
        Ok(stored) => stored,
        Err(error) => return of_one_document(error).map(Fate::Failed).map_err(CopyError::From),
    };
    match to.read(document).await {
        Ok(there) if there == stored => return Ok(Fate::AlreadyThere),
        Ok(_) => {}
        Err(error) => return of_one_document(error).map(Fate::Failed).map_err(CopyError::To),
    }
    if !write(to, document, &stored).await.map_err(CopyError::To)? {
        return Ok(Fate::Failed(SOMETHING_ELSE.into()));
    }
    match to.read(document).await {
        Ok(there) if there == stored => Ok(Fate::Copied),
        Ok(_) => Ok(Fate::Failed("what was written is not what is read back".into())),
        Err(error) => of_one_document(error).map(Fate::Failed).map_err(CopyError::To),
    }
}

/// False: something else is there.
async fn write(to: &dyn Store, document: &DocumentId, stored: &Stored) -> Result<bool, StoreError> {
    // Order: the snapshot first, because slots go above it.
    if let Some(snapshot) = &stored.snapshot
        && !to.create_snapshot(document, snapshot.clone()).await?
        && to.read(document).await?.snapshot.as_ref() != Some(snapshot)
    {
        return Ok(false);
    }
    for (slot, record) in &stored.slots {
        match to.create_slot(document, *slot, record.clone()).await? {
            Created::Created => {}
            Created::Taken(there) if there == *record => {}
            Created::Taken(_) | Created::Covered | Created::Gap => return Ok(false),
        }
    }
    Ok(true)
}

/// The text of an error that only one document has; an error that all have goes on.
fn of_one_document(error: StoreError) -> Result<String, StoreError> {
    match (error.advice(), &error) {
        (Advice::GiveUp, StoreError::Closed) | (Advice::RetryLater, _) => Err(error),
        (Advice::GiveUp, _) => Ok(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use ringleaf_types::{Body, Epoch, Incarnation, Record, Remainder, Slot, Snapshot, Writer};

    use super::*;
    use crate::{MemoryStore, SqliteOptions, SqliteStore};

    fn id(name: &str) -> DocumentId {
        name.parse().unwrap()
    }

    fn record(nonce: u64) -> Record {
        let node = "node-1".parse().unwrap();
        let body = Body::Updates(vec![Bytes::from(vec![nonce as u8; 100])]);
        Record {
            epoch: Epoch::new(1),
            writer: Writer { node, incarnation: Incarnation::new(7), nonce },
            body,
        }
    }

    fn snapshot(upto: u64) -> Snapshot {
        let state = Bytes::from(vec![upto as u8; 200]);
        Snapshot { upto: Slot::new(upto), epoch: Epoch::new(1), deleted: false, state }
    }

    /// Many documents: with slots only, with a snapshot, deleted, in quarantine.
    async fn fill(store: &dyn Store) {
        for number in 0..40 {
            let document = id(&format!("document {number}"));
            for slot in 1..=5 {
                store.create_slot(&document, Slot::new(slot), record(number * 10 + slot)).await.unwrap();
            }
            if number % 3 == 0 {
                assert!(store.create_snapshot(&document, snapshot(3)).await.unwrap());
            }
            if number % 7 == 0 {
                let deletion = Record { body: Body::Deletion, ..record(99) };
                store.create_slot(&document, Slot::new(6), deletion).await.unwrap();
            }
        }
        store.quarantine(&id("document 5"), "it broke".into()).await.unwrap();
    }

    /// Of a document that is written, of one that is not, and of many others.
    async fn fill_remainders(store: &dyn Store) {
        for number in (0..2_500).chain([1, 1]) {
            let document = if number % 2 == 0 { format!("early {number}") } else { "document 1".into() };
            let since = UNIX_EPOCH + Duration::from_millis(1_000 - number % 7);
            let bytes = Bytes::from(vec![number as u8; if number == 1 { 2 << 20 } else { 30 }]);
            store.keep_remainder(&id(&document), Remainder { id: number, since, bytes }).await.unwrap();
        }
    }

    async fn same_remainders(one: &dyn Store, other: &dyn Store) {
        let documents = one.with_remainders(None, 5_000).await.unwrap();
        assert_eq!(other.with_remainders(None, 5_000).await.unwrap(), documents);
        assert_eq!(documents.len(), 1_251);
        for document in documents {
            let [here, there] = [one, other].map(|store| store.remainders(&document));
            assert!(here.await.unwrap() == there.await.unwrap(), "{document}");
        }
    }

    async fn same(one: &dyn Store, other: &dyn Store) {
        let documents = one.list("", None, 1_000).await.unwrap();
        assert_eq!(documents.len(), 40);
        for listed in documents {
            let [here, there] = [one, other].map(|store| store.read(&listed.document));
            assert_eq!(here.await.unwrap(), there.await.unwrap(), "{}", listed.document);
        }
    }

    #[tokio::test]
    async fn everything_arrives_and_comes_back() {
        let (folder, memory) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let disk = SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap();
        fill(&memory).await;
        let copied = copy(&memory, &disk, |_| {}).await.unwrap();
        assert_eq!((copied.documents, copied.already_there, copied.quarantined), (40, 0, 1));
        assert_eq!(copied.failed, []);
        same(&memory, &disk).await;
        assert_eq!(disk.quarantined().await.unwrap()[0].reason, "it broke");
        let back = MemoryStore::new();
        copy(&disk, &back, |_| {}).await.unwrap();
        same(&memory, &back).await;
    }

    #[tokio::test]
    async fn remainders_arrive_those_of_unwritten_documents_too() {
        let (folder, memory) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let disk = SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap();
        fill(&memory).await;
        fill_remainders(&memory).await;
        for _ in 0..2 {
            let copied = copy(&memory, &disk, |_| {}).await.unwrap();
            assert_eq!((copied.documents, copied.remainders), (40, 2_500));
            same(&memory, &disk).await;
            same_remainders(&memory, &disk).await;
        }
        let back = MemoryStore::new();
        copy(&disk, &back, |_| {}).await.unwrap();
        same_remainders(&memory, &back).await;
    }

    #[tokio::test]
    async fn a_copy_that_was_interrupted_goes_on() {
        let (from, to) = (MemoryStore::new(), MemoryStore::new());
        fill(&from).await;
        to.create_snapshot(&id("document 3"), snapshot(3)).await.unwrap();
        to.create_slot(&id("document 3"), Slot::new(4), record(34)).await.unwrap();
        to.create_slot(&id("document 4"), Slot::new(1), record(41)).await.unwrap();
        let mut last = Copied::default();
        let copied = copy(&from, &to, |copied| last = copied.clone()).await.unwrap();
        assert_eq!((copied.documents, copied.already_there), (40, 0));
        assert_eq!(last.documents, 40);
        same(&from, &to).await;
        let again = copy(&from, &to, |_| {}).await.unwrap();
        assert_eq!((again.documents, again.already_there), (40, 40));
    }

    #[tokio::test]
    async fn what_is_there_under_the_same_name_stays() {
        let (from, to) = (MemoryStore::new(), MemoryStore::new());
        fill(&from).await;
        to.create_slot(&id("document 1"), Slot::new(1), record(200)).await.unwrap();
        to.create_snapshot(&id("document 3"), snapshot(9)).await.unwrap();
        let remainder = Remainder { id: 1, since: UNIX_EPOCH, bytes: Bytes::from_static(b"of another") };
        to.create_slot(&id("only there"), Slot::new(1), record(200)).await.unwrap();
        for name in ["document 1", "document 2", "only there"] {
            from.keep_remainder(&id(name), remainder.clone()).await.unwrap();
        }
        let before = [to.read(&id("document 1")).await.unwrap(), to.read(&id("document 3")).await.unwrap()];
        let copied = copy(&from, &to, |_| {}).await.unwrap();
        assert_eq!(copied.documents, 38);
        let failed: Vec<&str> = copied.failed.iter().map(|(document, _)| document.as_str()).collect();
        assert_eq!(failed, ["document 1", "document 3", "only there"]);
        let after = [to.read(&id("document 1")).await.unwrap(), to.read(&id("document 3")).await.unwrap()];
        assert_eq!(before, after);
        assert_eq!(to.with_remainders(None, 9).await.unwrap(), [id("document 2")]);
    }

    #[tokio::test]
    async fn a_document_that_cannot_be_read_does_not_stop_the_others() {
        let (from, to) = (MemoryStore::new(), MemoryStore::new());
        fill(&from).await;
        from.create_slot(&id("torn"), Slot::new(2), record(1)).await.unwrap();
        let copied = copy(&from, &to, |_| {}).await.unwrap();
        assert_eq!(copied.documents, 40);
        assert_eq!(copied.failed.len(), 1);
        assert!(copied.failed[0].1.contains("gap"), "{:?}", copied.failed);
    }
}
