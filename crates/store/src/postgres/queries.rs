//! What can be read. Whatever reads more than once does it in one transaction that sees one moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_types::{DocumentId, Record, Slot, Snapshot};
use tokio_postgres::Row;

use super::connections::{Connections, Lent};
use super::{integer, slot};
use crate::{Listed, Quarantined, StoreError, Stored, Tail, encoding};

pub(super) const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Reads the newest valid snapshot and the slots after it.
pub(super) async fn read(connections: &Connections, document: &DocumentId) -> Result<Stored, StoreError> {
    let mut connection = connections.begin(ONE_MOMENT).await?;
    let stored = read_at_one_moment(&mut connection, document).await;
    connection.end().await?;
    stored
}

async fn read_at_one_moment(connection: &mut Lent, document: &DocumentId) -> Result<Stored, StoreError> {
    let uptos = snapshots(connection, document).await?;
    let newest = uptos.first().copied();
    let mut valid = None;
    for upto in uptos {
        match snapshot(connection, document, upto).await {
            Ok(snapshot) => {
                valid = Some(snapshot);
                break;
            }
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%document, slot = upto.get(), %error, "a snapshot is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    complete(connection, document, valid, newest).await
}

/// Adds the slots to a snapshot. They must reach at least as far as the newest snapshot, if that is another one.
async fn complete(
    connection: &mut Lent,
    document: &DocumentId,
    snapshot: Option<Snapshot>,
    newest: Option<Slot>,
) -> Result<Stored, StoreError> {
    let after = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
    let passed_over = newest.filter(|&newest| newest > after);
    let (slots, goes_on) = slots_after(connection, document, after).await?;
    let last = slots.last().map_or(after, |(slot, _)| *slot);
    match passed_over {
        Some(newest) if last < newest => {
            Err(StoreError::Corrupt { document: document.clone(), slot: newest })
        }
        _ if goes_on => Err(StoreError::Gap { document: document.clone(), after: last }),
        _ => Ok(Stored { snapshot, slots }),
    }
}

/// Reads the slots that follow on `after` without a gap.
pub(super) async fn read_after(
    connections: &Connections,
    document: &DocumentId,
    after: Slot,
) -> Result<Vec<(Slot, Record)>, StoreError> {
    let mut connection = connections.begin(ONE_MOMENT).await?;
    let read = async {
        let (slots, _) = slots_after(&mut connection, document, after).await?;
        let gone = slots.is_empty() && last(&mut connection, document).await? > after;
        if gone { Err(StoreError::Gap { document: document.clone(), after }) } else { Ok(slots) }
    }
    .await;
    connection.end().await?;
    read
}

/// The slots that follow on `after` without a gap, and whether there are more behind a gap.
async fn slots_after(
    connection: &mut Lent,
    document: &DocumentId,
    after: Slot,
) -> Result<(Vec<(Slot, Record)>, bool), StoreError> {
    let sql = "SELECT slot, record FROM ringleaf_slots WHERE document = $1 AND slot > $2 ORDER BY slot";
    let rows = connection.query(sql, &[&bytes_of(document), &integer(after)]).await?;
    let mut slots = Vec::with_capacity(rows.len());
    let mut next = after.next();
    for row in rows {
        let found = slot(row.get(0));
        if found != next {
            return Ok((slots, true));
        }
        slots.push((found, encoding::decode_record(document, found, content(&row, 1))?));
        next = found.next();
    }
    Ok((slots, false))
}

/// The `upto` of each snapshot, newest first.
async fn snapshots(connection: &mut Lent, document: &DocumentId) -> Result<Vec<Slot>, StoreError> {
    let sql = "SELECT upto FROM ringleaf_snapshots WHERE document = $1 ORDER BY upto DESC";
    let rows = connection.query(sql, &[&bytes_of(document)]).await?;
    Ok(rows.iter().map(|row| slot(row.get(0))).collect())
}

pub(super) async fn snapshot(
    connection: &mut Lent,
    document: &DocumentId,
    upto: Slot,
) -> Result<Snapshot, StoreError> {
    let sql = "SELECT record FROM ringleaf_snapshots WHERE document = $1 AND upto = $2";
    let rows = connection.query(sql, &[&bytes_of(document), &integer(upto)]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Corrupt { document: document.clone(), slot: upto })?;
    encoding::decode_snapshot(document, upto, content(row, 0))
}

async fn last(connection: &mut Lent, document: &DocumentId) -> Result<Slot, StoreError> {
    let tails = tails_of(connection, std::slice::from_ref(document)).await?;
    Ok(tails.first().map_or(Slot::ZERO, |(_, tail)| tail.last))
}

/// The ends of many logs, in the order asked.
pub(super) async fn tails(
    connections: &Connections,
    documents: &[DocumentId],
) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
    // No documents are a question too: whether the database answers.
    let mut connection = connections.get().await?;
    let tails = tails_of(&mut connection, documents).await?;
    connections.promises.look(&mut connection).await?;
    Ok(tails)
}

async fn tails_of(
    connection: &mut Lent,
    documents: &[DocumentId],
) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
    let sql = "
        SELECT asked.number, greatest(
            coalesce((SELECT max(slot) FROM ringleaf_slots AS s WHERE s.document = asked.document), 0),
            coalesce((SELECT max(upto) FROM ringleaf_snapshots AS s WHERE s.document = asked.document), 0))
        FROM unnest($1::BYTEA[], $2::INT8[]) AS asked (document, number)
        JOIN ringleaf_documents AS d ON d.document = asked.document
        ORDER BY asked.number";
    let names: Vec<&[u8]> = documents.iter().map(bytes_of).collect();
    let numbers: Vec<i64> = (0_i64..).take(documents.len()).collect();
    let rows = connection.query(sql, &[&names, &numbers]).await?;
    let tail = |row: &Row| {
        let number = row.get::<_, i64>(0) as usize;
        (documents[number].clone(), Tail { last: slot(row.get(1)) })
    };
    Ok(rows.iter().map(tail).collect())
}

const LIST: &str = "
    SELECT d.document, d.created_at, n.upto, n.changed_at, n.deleted,
        (SELECT count(*) FROM ringleaf_slots AS s WHERE s.document = d.document AND s.slot > coalesce(n.upto, 0)),
        l.slot, l.at,
        (SELECT s.kind FROM ringleaf_slots AS s
         WHERE s.document = d.document AND s.slot > coalesce(n.upto, 0) AND s.kind <> 0
         ORDER BY s.slot DESC LIMIT 1),
        (SELECT coalesce(sum(octet_length(s.record)), 0)::INT8 FROM ringleaf_slots AS s
         WHERE s.document = d.document)
        + (SELECT coalesce(sum(octet_length(s.record)), 0)::INT8 FROM ringleaf_snapshots AS s
           WHERE s.document = d.document),
        EXISTS (SELECT 1 FROM ringleaf_quarantine AS q WHERE q.document = d.document)
    FROM ringleaf_documents AS d
    LEFT JOIN LATERAL (
        SELECT s.upto, s.changed_at, s.deleted FROM ringleaf_snapshots AS s
        WHERE s.document = d.document ORDER BY s.upto DESC LIMIT 1
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT s.slot, s.at FROM ringleaf_slots AS s
        WHERE s.document = d.document AND s.slot > coalesce(n.upto, 0) ORDER BY s.slot DESC LIMIT 1
    ) AS l ON true
    WHERE d.document >= $1 AND ($2::BYTEA IS NULL OR d.document < $2)
    ORDER BY d.document LIMIT $3";

/// A page of the listing. A range scan over the names: nothing before or after it is looked at.
pub(super) async fn list(
    connections: &Connections,
    prefix: &str,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    // The first text behind a name is that name with a zero byte.
    let from = after.map_or(Vec::new(), |after| [bytes_of(after), b"\0"].concat());
    let from = from.as_slice().max(prefix.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections.get().await?.query(LIST, &[&from, &behind(prefix.as_bytes()), &limit]).await?;
    rows.iter().map(listed).collect()
}

/// The first bytes behind everything that begins with `prefix`. UTF-8 has no byte 0xff, so the last one can be raised.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let (last, rest) = prefix.split_last()?;
    Some([rest, &[last.saturating_add(1)]].concat())
}

fn listed(row: &Row) -> Result<Listed, StoreError> {
    let created_at: i64 = row.get(1);
    let upto: Option<i64> = row.get(2);
    let snapshot_changed_at: Option<i64> = row.get(3);
    let snapshot_deleted: Option<bool> = row.get(4);
    let last_at: Option<i64> = row.get(7);
    let last_kind: Option<i16> = row.get(8);
    Ok(Listed {
        document: name(row)?,
        last: slot(row.get::<_, Option<i64>>(6).or(upto).unwrap_or(0)),
        tail_slots: row.get::<_, i64>(5).unsigned_abs(),
        bytes: row.get::<_, i64>(9).unsigned_abs(),
        created_at: time(created_at),
        changed_at: time(last_at.or(snapshot_changed_at).unwrap_or(created_at)),
        deleted: last_kind
            .map_or(snapshot_deleted.unwrap_or(false), |kind| kind == i16::from(encoding::DELETION)),
        quarantined: row.get(10),
    })
}

/// All documents with notes of loads.
pub(super) async fn noted(connections: &Connections) -> Result<Vec<(DocumentId, u32)>, StoreError> {
    let sql = "SELECT document, attempts FROM ringleaf_attempts WHERE attempts > 0 ORDER BY document";
    let rows = connections.get().await?.query(sql, &[]).await?;
    rows.iter().map(|row| Ok((name(row)?, attempts(row.get(1))))).collect()
}

/// All documents in quarantine.
pub(super) async fn quarantined(connections: &Connections) -> Result<Vec<Quarantined>, StoreError> {
    let sql = "SELECT document, reason, since FROM ringleaf_quarantine ORDER BY document";
    let rows = connections.get().await?.query(sql, &[]).await?;
    let quarantined =
        |row: &Row| Ok(Quarantined { document: name(row)?, reason: row.get(1), since: time(row.get(2)) });
    rows.iter().map(quarantined).collect()
}

pub(super) fn attempts(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}

/// The name in a row's first column.
pub(super) fn name(row: &Row) -> Result<DocumentId, StoreError> {
    DocumentId::from_utf8(row.get(0)).map_err(|error| StoreError::Unreadable { what: error.to_string() })
}

pub(super) fn bytes_of(document: &DocumentId) -> &[u8] {
    document.as_str().as_bytes()
}

fn content(row: &Row, column: usize) -> Bytes {
    row.get::<_, Vec<u8>>(column).into()
}

fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.max(0) as u64)
}
