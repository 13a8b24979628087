//! Group commit: one statement creates the slots of many documents, while what comes meanwhile gathers for the next.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use ringleaf_types::DocumentId;
use tokio::sync::{mpsc, watch};

use super::again;
use super::batch::{Job, Waiting};
use super::connections::Connections;
use super::error::means_again;
use super::integer;
use crate::{Created, StoreError, encoding};

/// Limit: statements on their way at once. Two keep the server busy while an answer travels; more make batches smaller.
const STATEMENTS_MAX: usize = 3;
/// How often a statement that met another one is sent again before the caller hears of it.
const TRIES_MAX: u32 = 5;

/// One round trip, one transaction, one sync of the disk. A slot at or below the newest snapshot was taken once (R7), so
/// it is not created though its row is gone. Nor is one whose predecessor is gone (R9): a replica that was promoted may
/// lack the end of a log, and what is written behind such a gap no load would ever reach. Not asked by `EXISTS`: below an
/// `OR` the planner would rather read the whole table into a hash, for every statement.
const CREATE: &str = "
    WITH input AS (
        SELECT * FROM unnest($1::BYTEA[], $2::INT8[], $3::INT2[], $4::BYTEA[]) AS t (document, slot, kind, record)
    ), named AS (
        INSERT INTO ringleaf_documents (document, created_at)
        SELECT document, floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8 FROM input
        WHERE NOT EXISTS (SELECT 1 FROM ringleaf_documents AS d WHERE d.document = input.document)
        ORDER BY document
        ON CONFLICT (document) DO NOTHING
    )
    INSERT INTO ringleaf_slots (document, slot, at, kind, record)
    SELECT document, slot, floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8, kind, record FROM input
    WHERE NOT EXISTS (
        SELECT 1 FROM ringleaf_snapshots AS s WHERE s.document = input.document AND s.upto >= input.slot
    ) AND (
        input.slot = 1
        OR (SELECT TRUE FROM ringleaf_slots AS p WHERE p.document = input.document AND p.slot = input.slot - 1) IS TRUE
        OR (
            SELECT TRUE FROM ringleaf_snapshots AS s WHERE s.document = input.document AND s.upto = input.slot - 1
        ) IS TRUE
    )
    ORDER BY document, slot
    ON CONFLICT (document, slot) DO NOTHING
    RETURNING document";

const TAKEN: &str = "
    SELECT (SELECT record FROM ringleaf_slots WHERE document = $1 AND slot = $2),
           EXISTS (SELECT 1 FROM ringleaf_snapshots WHERE document = $1 AND upto >= $2)";

/// Which documents were in a statement, and whether somebody else wanted their slots.
type Ended = Vec<(DocumentId, bool)>;

/// Takes jobs until the last sender is gone and everything is decided.
pub(super) async fn run(
    connections: Arc<Connections>,
    mut jobs: mpsc::Receiver<Job>,
    waiting_max: usize,
    at_the_end: watch::Sender<()>,
) {
    let mut waiting = Waiting::default();
    let mut statements: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_idle() {
        // What is here already shares the next statement.
        while open && waiting.len() < waiting_max {
            match jobs.try_recv() {
                Ok(job) => waiting.add(job),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => open = false,
            }
        }
        while statements.len() < STATEMENTS_MAX {
            let batch = waiting.next();
            if batch.is_empty() {
                break;
            }
            statements.push(Box::pin(create(connections.clone(), batch)));
        }
        tokio::select! {
            Some(ended) = statements.next() => waiting.ended(ended),
            job = jobs.recv(), if open && waiting.len() < waiting_max => match job {
                Some(job) => waiting.add(job),
                None => open = false,
            },
            else => {}
        }
    }
    // Order: everything is answered when whoever closes hears of it.
    drop(at_the_end);
}

/// Sends one statement and answers everybody in it.
async fn create(connections: Arc<Connections>, batch: Vec<Job>) -> Ended {
    match insert(&connections, &batch).await {
        Ok(created) => {
            let mut ended = Vec::with_capacity(batch.len());
            for job in batch {
                let is_new = created.contains(job.document.as_str().as_bytes());
                let outcome =
                    if is_new { Ok(Created::Created) } else { what_is_there(&connections, &job).await };
                ended.push((job.document, !is_new));
                // Whoever asked may have gone.
                let _ = job.reply.send(outcome);
            }
            ended
        }
        Err(error) if batch.len() > 1 && error.advice() == crate::Advice::GiveUp => {
            // One of them is at fault; the others need not suffer.
            let mut ended = Vec::with_capacity(batch.len());
            for job in batch {
                ended.extend(Box::pin(create(connections.clone(), vec![job])).await);
            }
            ended
        }
        Err(error) => {
            let shared = Arc::new(error);
            let answer = |job: Job| {
                let _ = job.reply.send(Err(for_each(&shared)));
                (job.document, false)
            };
            batch.into_iter().map(answer).collect()
        }
    }
}

/// The documents whose slot was created.
async fn insert(connections: &Connections, batch: &[Job]) -> Result<HashSet<Vec<u8>>, StoreError> {
    let documents: Vec<&[u8]> = batch.iter().map(|job| job.document.as_str().as_bytes()).collect();
    let slots: Vec<i64> = batch.iter().map(|job| integer(job.slot)).collect();
    let kinds: Vec<i16> = batch.iter().map(|job| job.kind).collect();
    let records: Vec<&[u8]> = batch.iter().map(|job| job.record.as_ref()).collect();
    let mut tries = 0;
    loop {
        tries += 1;
        match again::insist(connections, CREATE, &[&documents, &slots, &kinds, &records]).await? {
            Ok(rows) => return Ok(rows.iter().map(|row| row.get(0)).collect()),
            // It was rolled back, or it was not and the writer's nonce tells: sending it again is safe.
            Err(error) if means_again(&error) && tries < TRIES_MAX => {
                tracing::debug!(%error, tries, "a statement met another one and is sent again");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn what_is_there(connections: &Connections, job: &Job) -> Result<Created, StoreError> {
    let mut connection = connections.get().await?;
    let name = job.document.as_str().as_bytes();
    let rows = connection.query(TAKEN, &[&name, &integer(job.slot)]).await?;
    let Some(row) = rows.first() else { return Ok(Created::Covered) };
    match row.get::<_, Option<Vec<u8>>>(0) {
        Some(record) => {
            encoding::decode_record(&job.document, job.slot, bytes::Bytes::from(record)).map(Created::Taken)
        }
        None if row.get(1) => Ok(Created::Covered),
        None => Ok(Created::Gap),
    }
}

/// One failure that many who shared a statement hear about.
#[derive(Debug, Clone)]
struct Shared(Arc<StoreError>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn for_each(error: &Arc<StoreError>) -> StoreError {
    let source = Box::new(Shared(error.clone()));
    match &**error {
        StoreError::DiskFull(_) => StoreError::DiskFull(source),
        StoreError::Closed => StoreError::Closed,
        StoreError::Unreadable { what } => StoreError::Unreadable { what: what.clone() },
        _ => StoreError::Away(source),
    }
}
