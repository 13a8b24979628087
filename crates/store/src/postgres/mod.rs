//! The store of a cluster: PostgreSQL.
//!
//! ```text
//! create_slot ──bounded queue──▶ writer task: one statement for the slots of many documents ──▶ few connections
//! read, list, snapshots, notes ──────────────────────────────────────────────────────────────▶ the same pool
//! ```
//!
//! Tested with PostgreSQL 15 over a socket. The SQL keeps to what other databases of this protocol know where that was
//! possible (not: advisory locks, `LOCK TABLE`); CockroachDB, Yugabyte, connection poolers and TLS to a server are untested.

mod again;
mod batch;
mod changes;
mod connections;
mod error;
mod queries;
mod remainders;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ringleaf_types::{DocumentId, Limits, Record, Remainder, Slot, Snapshot};
use tokio::sync::{mpsc, oneshot, watch};

use self::batch::Job;
use self::connections::Connections;
pub use self::error::OpenPostgresError;
use crate::{Created, Listed, Mark, Quarantined, Store, StoreError, Stored, Tail, encoding, tasks};

/// What may differ between stores.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Slots that the previous snapshot covers are trimmed once they are older than this.
    pub retention: Duration,
    /// Slots that wait for a statement. Above it: whoever asks waits.
    pub appends_waiting_max: usize,
    /// Connections of this process, for everything.
    pub connections_max: usize,
}

impl PostgresOptions {
    pub fn from_limits(limits: &Limits) -> Self {
        Self {
            retention: limits.retention,
            appends_waiting_max: limits.appends_waiting_max,
            connections_max: 8,
        }
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::from_limits(&Limits::default())
    }
}

/// A store in a PostgreSQL database, which many processes share.
///
/// While the database is away, every operation fails with the advice to retry later, most of them at once.
pub struct PostgresStore {
    connections: Arc<Connections>,
    retention: Duration,
    /// Every operation holds a copy until it has ended, and the writer ends after the last one. `None`: closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// Its sender is dropped when the writer has ended.
    ended: watch::Receiver<()>,
}

impl PostgresStore {
    /// Connects, checks the server's settings, and creates or migrates the tables in the first schema of the search path.
    ///
    /// `address` is a `postgres://` URL or a list of `key=value`. TLS is checked against the system's certificates; the
    /// file in `SSL_CERT_FILE` replaces them.
    ///
    /// # Errors
    ///
    /// [`OpenPostgresError`] says for people what is in the way and what to do.
    pub async fn open(address: &str, options: PostgresOptions) -> Result<Self, OpenPostgresError> {
        let connections = Connections::new(address, options.connections_max)?;
        connections.refuse_unsafe_settings().await?;
        schema::migrate(&connections).await?;
        let waiting_max = options.appends_waiting_max.max(1);
        let (jobs, waiting) = mpsc::channel(waiting_max);
        let (at_the_end, ended) = watch::channel(());
        tasks::run("store-writer", writer::run(connections.clone(), waiting, waiting_max, at_the_end));
        Ok(Self { connections, retention: options.retention, jobs: Mutex::new(Some(jobs)), ended })
    }

    /// Keeps the store open for one operation.
    fn stay_open(&self) -> Result<mpsc::Sender<Job>, StoreError> {
        self.jobs.lock().expect("no holder of this lock panics").clone().ok_or(StoreError::Closed)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn read(&self, document: &DocumentId) -> Result<Stored, StoreError> {
        let _open = self.stay_open()?;
        queries::read(&self.connections, document).await
    }

    async fn read_after(
        &self,
        document: &DocumentId,
        after: Slot,
    ) -> Result<Vec<(Slot, Record)>, StoreError> {
        let _open = self.stay_open()?;
        queries::read_after(&self.connections, document, after).await
    }

    async fn create_slot(
        &self,
        document: &DocumentId,
        slot: Slot,
        record: Record,
    ) -> Result<Created, StoreError> {
        let jobs = self.stay_open()?;
        if slot == Slot::ZERO {
            return Ok(Created::Covered);
        }
        let mut row = Vec::new();
        encoding::encode_record(document, slot, &record, &mut row);
        let kind = i16::from(encoding::kind(&record.body));
        let (reply, answer) = oneshot::channel();
        let job = Job { document: document.clone(), slot, kind, record: Bytes::from(row), reply };
        jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn create_snapshot(&self, document: &DocumentId, snapshot: Snapshot) -> Result<bool, StoreError> {
        let _open = self.stay_open()?;
        changes::create_snapshot(&self.connections, document, &snapshot).await
    }

    async fn trim(&self, document: &DocumentId) -> Result<u64, StoreError> {
        let _open = self.stay_open()?;
        changes::trim(&self.connections, document, self.retention).await
    }

    async fn keep_remainder(&self, document: &DocumentId, remainder: Remainder) -> Result<(), StoreError> {
        let _open = self.stay_open()?;
        remainders::keep(&self.connections, document, &remainder).await
    }

    async fn drop_remainders(&self, document: &DocumentId, ids: &[u64]) -> Result<(), StoreError> {
        let _open = self.stay_open()?;
        remainders::drop_all(&self.connections, document, ids).await
    }

    async fn remainders(&self, document: &DocumentId) -> Result<Vec<Remainder>, StoreError> {
        let _open = self.stay_open()?;
        remainders::read(&self.connections, document).await
    }

    async fn with_remainders(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        let _open = self.stay_open()?;
        remainders::documents(&self.connections, after, limit).await
    }

    async fn purge(&self, document: &DocumentId, tombstone: Snapshot) -> Result<bool, StoreError> {
        let _open = self.stay_open()?;
        changes::purge(&self.connections, document, &tombstone).await
    }

    async fn tails(&self, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
        let _open = self.stay_open()?;
        queries::tails(&self.connections, documents).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let _open = self.stay_open()?;
        queries::list(&self.connections, prefix, after, limit).await
    }

    async fn mark_attempt(&self, document: &DocumentId) -> Result<Mark, StoreError> {
        let _open = self.stay_open()?;
        changes::mark_attempt(&self.connections, document).await
    }

    async fn mark_outcome(&self, document: &DocumentId, failed: Option<String>) -> Result<(), StoreError> {
        let _open = self.stay_open()?;
        changes::mark_outcome(&self.connections, document, failed).await
    }

    async fn noted(&self) -> Result<Vec<(DocumentId, u32)>, StoreError> {
        let _open = self.stay_open()?;
        queries::noted(&self.connections).await
    }

    async fn quarantine(&self, document: &DocumentId, reason: String) -> Result<(), StoreError> {
        let _open = self.stay_open()?;
        changes::quarantine(&self.connections, document, &reason).await
    }

    async fn release(&self, document: &DocumentId) -> Result<bool, StoreError> {
        let _open = self.stay_open()?;
        changes::release(&self.connections, document).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        let _open = self.stay_open()?;
        queries::quarantined(&self.connections).await
    }

    fn alarm(&self) -> Option<String> {
        let (setting, value) = self.connections.promises.broken()?;
        Some(OpenPostgresError::Unsafe { setting, value }.to_string())
    }

    async fn close(&self) {
        // Order: operations under way end first, then the writer, then nothing needs a connection any more.
        self.jobs.lock().expect("no holder of this lock panics").take();
        let _ = self.ended.clone().changed().await;
        self.connections.close();
    }
}

/// A slot as PostgreSQL stores it.
fn integer(slot: Slot) -> i64 {
    i64::try_from(slot.get()).expect("slots are counted from one, so they never come near 2^63")
}

fn slot(stored: i64) -> Slot {
    Slot::new(stored.unsigned_abs())
}

/// An error's text with those of its causes; the outer ones alone say little here.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
