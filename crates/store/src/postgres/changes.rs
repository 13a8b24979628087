//! What changes besides slots: snapshots, trimming, purging, notes. Rare next to appends, each a statement of its own.

use std::time::Duration;

use ringleaf_types::{DocumentId, Slot, Snapshot};

use super::connections::{Connections, Lent, STATEMENT_TIMEOUT};
use super::queries::{self, ONE_MOMENT, bytes_of};
use super::{integer, slot};
use crate::{Mark, StoreError, encoding};

/// Limit: rows of one deleting statement.
const TRIM_ROWS_MAX: i64 = 512;
/// Slots go only when the snapshot that covers them is older than this, for else a statement that began before it and
/// was held up could create one of them anew. A statement and the one that made the snapshot last at most 30 s each.
const COVERED_FOR_MIN: Duration = Duration::from_secs(3 * STATEMENT_TIMEOUT.as_secs());
/// No slot is created meanwhile, and no statement that creates one is under way.
const LOCK_SLOTS: &str = "LOCK TABLE ringleaf_slots IN SHARE ROW EXCLUSIVE MODE";

/// `$5`: the snapshot may cover slots that were never written.
const CREATE_SNAPSHOT: &str = "
    WITH input AS (
        SELECT $1::BYTEA AS document, $2::INT8 AS upto,
               floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8 AS now
        WHERE NOT EXISTS (SELECT 1 FROM ringleaf_snapshots AS s WHERE s.document = $1 AND s.upto >= $2)
          AND ($5::BOOL OR EXISTS (SELECT 1 FROM ringleaf_slots AS s WHERE s.document = $1 AND s.slot = $2))
    ), named AS (
        INSERT INTO ringleaf_documents (document, created_at) SELECT document, now FROM input
        ON CONFLICT (document) DO NOTHING
    )
    INSERT INTO ringleaf_snapshots (document, upto, at, changed_at, deleted, record)
    SELECT document, upto, now,
           coalesce((SELECT s.at FROM ringleaf_slots AS s WHERE s.document = $1 AND s.slot = $2), now), $3, $4
    FROM input
    ON CONFLICT (document, upto) DO NOTHING
    RETURNING upto";

/// Creates a snapshot if there is none with this `upto` or a higher one.
pub(super) async fn create_snapshot(
    connections: &Connections,
    document: &DocumentId,
    snapshot: &Snapshot,
) -> Result<bool, StoreError> {
    let record = encoding::encode_snapshot(document, snapshot);
    let mut connection = connections.get().await?;
    if insert_snapshot(&mut connection, document, snapshot, &record, false).await? {
        return Ok(true);
    }
    let newer = "SELECT 1 FROM ringleaf_snapshots WHERE document = $1 AND upto >= $2 LIMIT 1";
    let rows = connection.query(newer, &[&bytes_of(document), &integer(snapshot.upto)]).await?;
    if !rows.is_empty() {
        return Ok(false);
    }
    // It covers more than the log (R9, or what was brought from elsewhere). A statement that is about to create such a
    // slot does not see this row yet, so there must be none under way.
    connection.begin("BEGIN").await?;
    connection.batch(LOCK_SLOTS).await?;
    let created = insert_snapshot(&mut connection, document, snapshot, &record, true).await?;
    connection.end().await?;
    Ok(created)
}

async fn insert_snapshot(
    connection: &mut Lent,
    document: &DocumentId,
    snapshot: &Snapshot,
    record: &[u8],
    beyond: bool,
) -> Result<bool, StoreError> {
    let (name, upto) = (bytes_of(document), integer(snapshot.upto));
    let rows =
        connection.query(CREATE_SNAPSHOT, &[&name, &upto, &snapshot.deleted, &record, &beyond]).await?;
    Ok(rows.len() == 1)
}

/// What a trim may delete, found by reading.
struct TrimPlan {
    /// The newest slot that may go; never above `keep`.
    upto: Slot,
    /// The oldest snapshot that stays.
    keep: Slot,
}

/// Deletes what nobody needs, in pieces, and says how many rows went.
pub(super) async fn trim(
    connections: &Connections,
    document: &DocumentId,
    retention: Duration,
) -> Result<u64, StoreError> {
    let mut connection = connections.begin(ONE_MOMENT).await?;
    let plan = plan_trim(&mut connection, document, retention).await;
    connection.end().await?;
    let Some(plan) = plan? else { return Ok(0) };
    let name = bytes_of(document);
    let mut trimmed = 0;
    // Order: from the lowest slot up, so that what is left never has a hole. And never when a purge came between.
    for (sql, bound) in [
        (
            "DELETE FROM ringleaf_slots WHERE document = $1 AND slot IN
                 (SELECT slot FROM ringleaf_slots WHERE document = $1 AND slot <= $2 ORDER BY slot LIMIT $4)
             AND (SELECT count(*) FROM ringleaf_snapshots WHERE document = $1 AND upto >= $3) >= 2
             RETURNING 1",
            plan.upto,
        ),
        (
            "DELETE FROM ringleaf_snapshots WHERE document = $1 AND upto IN
                 (SELECT upto FROM ringleaf_snapshots WHERE document = $1 AND upto < $2 ORDER BY upto LIMIT $4)
             AND (SELECT count(*) FROM ringleaf_snapshots WHERE document = $1 AND upto >= $3) >= 2
             RETURNING 1",
            plan.keep,
        ),
    ] {
        loop {
            let rows = connection
                .query(sql, &[&name, &integer(bound), &integer(plan.keep), &TRIM_ROWS_MAX])
                .await?
                .len();
            trimmed += rows as u64;
            if (rows as i64) < TRIM_ROWS_MAX {
                break;
            }
        }
    }
    Ok(trimmed)
}

async fn plan_trim(
    connection: &mut Lent,
    document: &DocumentId,
    retention: Duration,
) -> Result<Option<TrimPlan>, StoreError> {
    let name = bytes_of(document);
    let covered_for = milliseconds(COVERED_FOR_MIN.min(retention));
    let sql = "
        SELECT upto, at <= floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8 - $2::INT8
        FROM ringleaf_snapshots WHERE document = $1 ORDER BY upto DESC";
    let rows = connection.query(sql, &[&name, &covered_for]).await?;
    let snapshots: Vec<(Slot, bool)> = rows.iter().map(|row| (slot(row.get(0)), row.get(1))).collect();
    let Some(&(newest, _)) = snapshots.first() else { return Ok(None) };
    let Some(&(keep, _)) = snapshots.iter().skip(1).find(|(_, old)| *old) else { return Ok(None) };
    // Both must be whole before anything that they cover goes.
    queries::snapshot(connection, document, newest).await?;
    queries::snapshot(connection, document, keep).await?;
    let sql = "
        SELECT slot FROM ringleaf_slots WHERE document = $1 AND slot <= $2
        AND at > floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8 - $3::INT8
        ORDER BY slot LIMIT 1";
    let young = connection.query(sql, &[&name, &integer(keep), &milliseconds(retention)]).await?;
    let upto = young.first().map_or(keep, |row| slot(row.get(0)).previous());
    Ok(Some(TrimPlan { upto, keep }))
}

/// Removes everything of a document but the tombstone.
pub(super) async fn purge(
    connections: &Connections,
    document: &DocumentId,
    tombstone: &Snapshot,
) -> Result<bool, StoreError> {
    let record = encoding::encode_snapshot(document, tombstone);
    let (name, upto) = (bytes_of(document), integer(tombstone.upto));
    let mut connection = connections.begin("BEGIN").await?;
    connection.batch(LOCK_SLOTS).await?;
    let sql = "
        SELECT (EXISTS (SELECT 1 FROM ringleaf_documents WHERE document = $1)
                OR EXISTS (SELECT 1 FROM ringleaf_remainders WHERE document = $1))
           AND NOT EXISTS (SELECT 1 FROM ringleaf_slots WHERE document = $1 AND slot >= $2)
           AND NOT EXISTS (SELECT 1 FROM ringleaf_snapshots WHERE document = $1 AND upto >= $2)";
    let rows = connection.query(sql, &[&name, &upto]).await?;
    let may = rows.first().is_some_and(|row| row.get(0));
    if may {
        for sql in [
            "DELETE FROM ringleaf_slots WHERE document = $1",
            "DELETE FROM ringleaf_snapshots WHERE document = $1",
            "DELETE FROM ringleaf_remainders WHERE document = $1",
            "DELETE FROM ringleaf_attempts WHERE document = $1",
        ] {
            connection.query(sql, &[&name]).await?;
        }
        insert_snapshot(&mut connection, document, tombstone, &record, true).await?;
    }
    connection.end().await?;
    Ok(may)
}

pub(super) async fn mark_attempt(
    connections: &Connections,
    document: &DocumentId,
) -> Result<Mark, StoreError> {
    let sql = "
        INSERT INTO ringleaf_attempts AS a (document, attempts) VALUES ($1, 1)
        ON CONFLICT (document) DO UPDATE SET attempts = a.attempts + 1 RETURNING attempts, reason";
    let rows = connections.get().await?.query(sql, &[&bytes_of(document)]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Away("a note gave no row".into()))?;
    Ok(Mark { attempts: queries::attempts(row.get(0)), reason: row.get(1) })
}

pub(super) async fn mark_outcome(
    connections: &Connections,
    document: &DocumentId,
    failed: Option<String>,
) -> Result<(), StoreError> {
    let (name, mut connection) = (bytes_of(document), connections.get().await?);
    match failed {
        None => {
            connection.query("DELETE FROM ringleaf_attempts WHERE document = $1", &[&name]).await?;
        }
        Some(reason) => {
            let sql = "
                INSERT INTO ringleaf_attempts (document, attempts, reason) VALUES ($1, 0, $2)
                ON CONFLICT (document) DO UPDATE SET reason = excluded.reason";
            connection.query(sql, &[&name, &text(&reason)]).await?;
        }
    }
    Ok(())
}

pub(super) async fn quarantine(
    connections: &Connections,
    document: &DocumentId,
    reason: &str,
) -> Result<(), StoreError> {
    let sql = "
        INSERT INTO ringleaf_quarantine (document, reason, since)
        VALUES ($1, $2, floor(extract(epoch FROM statement_timestamp()) * 1000)::INT8)
        ON CONFLICT (document) DO NOTHING";
    connections.get().await?.query(sql, &[&bytes_of(document), &text(reason)]).await?;
    Ok(())
}

pub(super) async fn release(connections: &Connections, document: &DocumentId) -> Result<bool, StoreError> {
    let sql = "
        WITH notes AS (DELETE FROM ringleaf_attempts WHERE document = $1)
        DELETE FROM ringleaf_quarantine WHERE document = $1 RETURNING 1";
    let rows = connections.get().await?.query(sql, &[&bytes_of(document)]).await?;
    Ok(rows.len() == 1)
}

/// PostgreSQL's texts hold no zero character.
fn text(reason: &str) -> String {
    reason.replace('\0', "\u{fffd}")
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
