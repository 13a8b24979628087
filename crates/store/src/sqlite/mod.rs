//! The store on one machine's disk: SQLite in a folder.
//!
//! ```text
//! create_slot, … ──bounded queue──▶ writer thread: one transaction for all that waits ──▶ WAL, fdatasync
//! read, list, …  ──bounded pool──▶ read connections, which never wait behind a commit
//! ```

mod backup;
mod changes;
mod checkpoint;
mod error;
mod folder;
mod large;
mod notes;
mod overwrite;
mod pace;
mod queries;
mod readers;
mod remainders;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ringleaf_types::{DocumentId, Limits, Record, Remainder, Slot, Snapshot};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::backup::{BackupError, BackupProgress};
use self::changes::{Answer, Change};
use self::checkpoint::Checkpointer;
pub use self::error::OpenStoreError;
use self::folder::Folder;
use self::large::{Numbers, PIECE_BYTES};
use self::pace::Pace;
use self::readers::Readers;
use self::writer::{Job, Writer};
use crate::{Created, Listed, Mark, Quarantined, Store, StoreError, Stored, Tail, encoding, tasks};

/// What may differ between stores.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Slots that the previous snapshot covers are trimmed once they are older than this.
    pub retention: Duration,
    /// Under load, commits start no more often than this, so that many documents share one.
    pub commit_gap_max: Duration,
    /// Changes that wait for the writer. Above it: whoever asks waits.
    pub appends_waiting_max: usize,
}

impl SqliteOptions {
    pub fn from_limits(limits: &Limits) -> Self {
        Self {
            retention: limits.retention,
            commit_gap_max: limits.commit_gap_max,
            appends_waiting_max: limits.appends_waiting_max,
        }
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::from_limits(&Limits::default())
    }
}

/// A store in a folder of its own, which it locks for as long as it is open.
///
/// Dropping it waits for the commit in progress; [`Store::close`] does the same without blocking a thread of the
/// runtime.
pub struct SqliteStore {
    database: PathBuf,
    retention: Duration,
    numbers: Numbers,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    readers: Readers,
    /// Its sender is dropped when the writer has ended and the folder is free.
    ended: watch::Receiver<()>,
    writer: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store in `folder`, and creates both when they are not there.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] says for people what is in the way and what to do.
    pub fn open(folder: &Path, options: SqliteOptions) -> Result<Self, OpenStoreError> {
        Self::open_folder(Folder::create(folder)?, options)
    }

    /// Opens the store in `folder`, which must hold one.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError::NoStore`] when it does not; the others as for [`SqliteStore::open`].
    pub fn open_existing(folder: &Path, options: SqliteOptions) -> Result<Self, OpenStoreError> {
        Self::open_folder(Folder::existing(folder)?, options)
    }

    fn open_folder(folder: Folder, options: SqliteOptions) -> Result<Self, OpenStoreError> {
        let connection = schema::open_for_writing(&folder.database())?;
        Self::start(folder, connection, options)
    }

    fn start(folder: Folder, connection: Connection, options: SqliteOptions) -> Result<Self, OpenStoreError> {
        let database = folder.database();
        let readers = Readers::open(&database)?;
        let numbers = Numbers::after_those_in(&connection)
            .map_err(|source| OpenStoreError::database(&database, source))?;
        let (jobs, waiting) = mpsc::channel(options.appends_waiting_max.max(1));
        let checkpointer = Checkpointer::start(&database)?;
        let writer = Writer::new(connection, waiting, Pace::new(options.commit_gap_max), checkpointer)
            .map_err(|source| OpenStoreError::database(&database, source))?;
        let path = folder.path().to_owned();
        let (at_the_end, ended) = watch::channel(());
        let work = move || {
            writer.run();
            // Order: the lock goes when nothing can be written any more, and only then does anybody hear of the end.
            drop(folder);
            drop(at_the_end);
        };
        let writer = tasks::thread("store-writer", work)
            .map_err(|source| OpenStoreError::folder(&path, "start the writer of", source))?;
        Ok(Self {
            database,
            retention: options.retention,
            numbers,
            jobs: Mutex::new(Some(jobs)),
            readers,
            ended,
            writer: Some(writer),
        })
    }

    /// The file that holds everything.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Copies the whole store as it is at one moment into a new file, while it goes on serving. The copy is a store's
    /// database: to restore it, put it as `ringleaf.db` into an empty folder.
    ///
    /// # Errors
    ///
    /// [`BackupError::Exists`] when the file is there already, or what a copy that did not end left beside it. The copy is
    /// read back whole before it gets its name; when it does not pass, that is [`BackupError::Damaged`].
    ///
    /// # Cancel safety
    ///
    /// A backup whose future is dropped runs to its end.
    pub async fn backup(
        &self,
        file: &Path,
        progress: impl FnMut(BackupProgress) + Send + 'static,
    ) -> Result<(), BackupError> {
        let (database, file) = (self.database.clone(), file.to_owned());
        if self.jobs.lock().expect("no holder of this lock panics").is_none() {
            return Err(BackupError::Read(StoreError::Closed));
        }
        let copy = tasks::blocking(move || backup::copy(&database, &file, progress)).await;
        copy.unwrap_or(Err(BackupError::Read(StoreError::Closed)))
    }

    /// Hands a change to the writer and waits until it is durable.
    async fn change(&self, change: Change) -> Result<Answer, StoreError> {
        let jobs = self.jobs.lock().expect("no holder of this lock panics").clone();
        let (reply, answer) = oneshot::channel();
        let jobs = jobs.ok_or(StoreError::Closed)?;
        jobs.send(Job { change, reply }).await.map_err(|_| StoreError::Closed)?;
        drop(jobs);
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Order: without this sender the writer ends, once everything that waits is decided.
        self.jobs.get_mut().expect("no holder of this lock panics").take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn read(&self, document: &DocumentId) -> Result<Stored, StoreError> {
        let document = document.clone();
        self.readers.run(move |connection| queries::read(connection, &document)).await
    }

    async fn read_after(
        &self,
        document: &DocumentId,
        after: Slot,
    ) -> Result<Vec<(Slot, Record)>, StoreError> {
        let document = document.clone();
        self.readers.run(move |connection| queries::read_after(connection, &document, after)).await
    }

    async fn create_slot(
        &self,
        document: &DocumentId,
        slot: Slot,
        record: Record,
    ) -> Result<Created, StoreError> {
        assert_in_range(slot);
        let document = document.clone();
        if encoding::record_bytes(&record) < PIECE_BYTES {
            return Ok(self.change(Change::CreateSlot { document, slot, record }).await?.created());
        }
        let named = document.clone();
        let encode = move || {
            let mut row = Vec::with_capacity(encoding::record_bytes(&record) + PIECE_BYTES);
            encoding::encode_record(&named, slot, &record, &mut row);
            (encoding::kind(&record.body), Bytes::from(row))
        };
        let (kind, row) = tasks::blocking(encode).await.ok_or(StoreError::Closed)?;
        let content = self.write_ahead(row).await?;
        let rest = content.rest;
        let outcome = self.change(Change::CreateLargeSlot { document, slot, kind, content }).await;
        if !matches!(outcome, Ok(Answer::Created(Created::Created))) {
            self.throw_away(rest).await;
        }
        Ok(outcome?.created())
    }

    async fn create_snapshot(&self, document: &DocumentId, snapshot: Snapshot) -> Result<bool, StoreError> {
        let (upto, deleted) = (snapshot.upto, snapshot.deleted);
        assert_in_range(upto);
        let document = document.clone();
        let named = document.clone();
        let encode = move || Bytes::from(encoding::encode_snapshot(&named, &snapshot));
        let row = tasks::blocking(encode).await.ok_or(StoreError::Closed)?;
        let content = self.write_ahead(row).await?;
        let rest = content.rest;
        let outcome = self.change(Change::CreateSnapshot { document, upto, deleted, content }).await;
        if !matches!(outcome, Ok(Answer::Yes(true))) {
            self.throw_away(rest).await;
        }
        Ok(outcome?.yes())
    }

    async fn trim(&self, document: &DocumentId) -> Result<u64, StoreError> {
        let planned = document.clone();
        let retention = self.retention;
        let plan = move |connection: &_| queries::plan_trim(connection, &planned, retention);
        let Some(plan) = self.readers.run(plan).await? else { return Ok(0) };
        let mut trimmed = 0;
        loop {
            // In pieces, so that no commit waits behind a long one.
            let change = Change::Trim { document: document.clone(), plan };
            let rows = self.change(change).await?.count();
            trimmed += rows;
            if rows < changes::TRIM_ROWS_MAX {
                return Ok(trimmed);
            }
        }
    }

    /// # Cancel safety
    ///
    /// Pieces of a remainder that was never finished lie about until the store is opened the next time.
    async fn keep_remainder(&self, document: &DocumentId, remainder: Remainder) -> Result<(), StoreError> {
        let (document, id) = (document.clone(), remainder.id);
        let named = document.clone();
        let encode = move || Bytes::from(encoding::encode_remainder(&named, &remainder));
        let row = tasks::blocking(encode).await.ok_or(StoreError::Closed)?;
        // Order: the first piece last, because it makes the others a remainder.
        for (piece, bytes) in remainders::pieces(&row).rev() {
            self.change(Change::KeepRemainder { document: document.clone(), id, piece, bytes }).await?;
        }
        Ok(())
    }

    async fn drop_remainders(&self, document: &DocumentId, ids: &[u64]) -> Result<(), StoreError> {
        for ids in ids.chunks(remainders::DROPPED_AT_ONCE) {
            self.change(Change::DropRemainders { document: document.clone(), ids: ids.into() }).await?;
        }
        Ok(())
    }

    async fn remainders(&self, document: &DocumentId) -> Result<Vec<Remainder>, StoreError> {
        let document = document.clone();
        self.readers.run(move |connection| remainders::read(connection, &document)).await
    }

    async fn with_remainders(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        let after = after.cloned();
        self.readers.run(move |connection| remainders::documents(connection, after.as_ref(), limit)).await
    }

    async fn purge(&self, document: &DocumentId, tombstone: Snapshot) -> Result<bool, StoreError> {
        assert_in_range(tombstone.upto);
        let change = Change::Purge { document: document.clone(), tombstone };
        Ok(self.change(change).await?.yes())
    }

    async fn tails(&self, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
        let documents = documents.to_vec();
        self.readers.run(move |connection| queries::tails(connection, documents)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.readers.run(move |connection| queries::list(connection, &prefix, after.as_ref(), limit)).await
    }

    async fn mark_attempt(&self, document: &DocumentId) -> Result<Mark, StoreError> {
        Ok(self.change(Change::MarkAttempt { document: document.clone() }).await?.mark())
    }

    async fn mark_outcome(&self, document: &DocumentId, failed: Option<String>) -> Result<(), StoreError> {
        self.change(Change::MarkOutcome { document: document.clone(), failed }).await?;
        Ok(())
    }

    async fn noted(&self) -> Result<Vec<(DocumentId, u32)>, StoreError> {
        self.readers.run(notes::noted).await
    }

    async fn quarantine(&self, document: &DocumentId, reason: String) -> Result<(), StoreError> {
        self.change(Change::Quarantine { document: document.clone(), reason }).await?;
        Ok(())
    }

    async fn release(&self, document: &DocumentId) -> Result<bool, StoreError> {
        Ok(self.change(Change::Release { document: document.clone() }).await?.yes())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.readers.run(notes::quarantined).await
    }

    async fn close(&self) {
        self.jobs.lock().expect("no holder of this lock panics").take();
        self.readers.close().await;
        // It sends nothing, so this waits for its end, however many wait.
        let _ = self.ended.clone().changed().await;
    }
}

/// SQLite counts to 2^63.
fn assert_in_range(slot: Slot) {
    assert!(i64::try_from(slot.get()).is_ok(), "slots are counted from one, so they never come near 2^63");
}
