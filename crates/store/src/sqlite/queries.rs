//! What can be read. Each function here runs on a read connection, in one transaction where it reads more than once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_types::{DocumentId, Record, Slot, Snapshot};
use rusqlite::{Connection, OptionalExtension, Row};

use super::changes::{TrimPlan, integer, milliseconds};
use super::remainders;
use crate::{Listed, StoreError, Stored, Tail, encoding};

/// Reads the newest valid snapshot and the slots after it.
pub(super) fn read(connection: &Connection, document: &DocumentId) -> Result<Stored, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let Some(number) = number(&transaction, document)? else {
        return Ok(Stored { snapshot: None, slots: Vec::new() });
    };
    let uptos = snapshots(&transaction, number)?;
    let newest = uptos.first().copied();
    for &upto in &uptos {
        match snapshot(&transaction, document, number, upto) {
            Ok(snapshot) => return complete(&transaction, document, number, Some(snapshot), newest),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%document, slot = upto.get(), %error, "a snapshot is passed over");
            }
            Err(error) => return Err(error),
        }
    }
    complete(&transaction, document, number, None, newest)
}

/// Adds the slots to a snapshot. They must reach at least as far as the newest snapshot, if that is another one.
fn complete(
    connection: &Connection,
    document: &DocumentId,
    number: i64,
    snapshot: Option<Snapshot>,
    newest: Option<Slot>,
) -> Result<Stored, StoreError> {
    let after = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
    let passed_over = newest.filter(|&newest| newest > after);
    let missing = |last: Slot| match passed_over {
        Some(newest) if last < newest => StoreError::Corrupt { document: document.clone(), slot: newest },
        _ => StoreError::Gap { document: document.clone(), after: last },
    };
    let (slots, goes_on) = slots_after(connection, document, number, after)?;
    let last = slots.last().map_or(after, |(slot, _)| *slot);
    if goes_on || passed_over.is_some_and(|newest| last < newest) {
        return Err(missing(last));
    }
    Ok(Stored { snapshot, slots })
}

/// Reads the slots that follow on `after` without a gap.
pub(super) fn read_after(
    connection: &Connection,
    document: &DocumentId,
    after: Slot,
) -> Result<Vec<(Slot, Record)>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let Some(number) = number(&transaction, document)? else { return Ok(Vec::new()) };
    let (slots, _) = slots_after(&transaction, document, number, after)?;
    if slots.is_empty() && last(&transaction, number)? > after {
        return Err(StoreError::Gap { document: document.clone(), after });
    }
    Ok(slots)
}

/// The slots that follow on `after` without a gap, and whether there are more behind a gap.
fn slots_after(
    connection: &Connection,
    document: &DocumentId,
    number: i64,
    after: Slot,
) -> Result<(Vec<(Slot, Record)>, bool), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT slot, record, rest FROM slots WHERE document = ?1 AND slot > ?2 ORDER BY slot",
    )?;
    let mut rows = statement.query((number, integer(after)))?;
    let mut slots = Vec::new();
    let mut next = after.next();
    while let Some(row) = rows.next()? {
        let slot = Slot::new(row.get(0)?);
        if slot != next {
            return Ok((slots, true));
        }
        slots.push((slot, encoding::decode_record(document, slot, content(connection, row, 1)?)?));
        next = slot.next();
    }
    Ok((slots, false))
}

/// What a trim may delete; `None`: nothing.
pub(super) fn plan_trim(
    connection: &Connection,
    document: &DocumentId,
    retention: Duration,
) -> Result<Option<TrimPlan>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let Some(number) = number(&transaction, document)? else { return Ok(None) };
    let uptos = snapshots(&transaction, number)?;
    let [newest, previous, ..] = uptos[..] else { return Ok(None) };
    // Both must be whole before anything that they cover goes.
    snapshot(&transaction, document, number, newest)?;
    snapshot(&transaction, document, number, previous)?;
    let cutoff = milliseconds(SystemTime::now()).saturating_sub_unsigned(retention.as_millis() as u64);
    let young: Option<i64> = transaction
        .prepare_cached(
            "SELECT slot FROM slots WHERE document = ?1 AND slot <= ?2 AND at > ?3 ORDER BY slot LIMIT 1",
        )?
        .query_row((number, integer(previous), cutoff), |row| row.get(0))
        .optional()?;
    let upto = young.map_or(previous, |young| Slot::new(young as u64).previous());
    Ok(Some(TrimPlan { upto, previous }))
}

/// The ends of many logs.
pub(super) fn tails(
    connection: &Connection,
    documents: Vec<DocumentId>,
) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let mut tails = Vec::with_capacity(documents.len());
    for document in documents {
        if let Some(number) = number(&transaction, &document)? {
            let last = last(&transaction, number)?;
            tails.push((document, Tail { last }));
        }
    }
    Ok(tails)
}

/// A page of the listing. A range scan over the names: nothing before or after it is looked at.
pub(super) fn list(
    connection: &Connection,
    prefix: &str,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    // The first text behind a name is that name with a zero byte.
    let from = after.map_or(String::new(), |after| format!("{}\0", after.as_str()));
    let mut statement = transaction.prepare_cached(
        "SELECT id, name, created_at, EXISTS (SELECT 1 FROM quarantine WHERE quarantine.name = documents.name)
         FROM documents WHERE name >= ?1 ORDER BY name LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((from.as_str().max(prefix), limit))?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?;
        if !name.starts_with(prefix.as_bytes()) {
            break;
        }
        let document = parse_name(name)?;
        let entry = Entry { number: row.get(0)?, created_at: row.get(2)?, quarantined: row.get(3)? };
        listed.push(describe(&transaction, document, &entry)?);
    }
    Ok(listed)
}

struct Entry {
    number: i64,
    created_at: i64,
    quarantined: bool,
}

fn describe(connection: &Connection, document: DocumentId, entry: &Entry) -> Result<Listed, StoreError> {
    let number = entry.number;
    let snapshot = connection
        .prepare_cached(
            "SELECT upto, changed_at, deleted FROM snapshots WHERE document = ?1 ORDER BY upto DESC LIMIT 1",
        )?
        .query_row([number], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?)))
        .optional()?;
    let (upto, changed_at, deleted) = snapshot.unwrap_or((0, entry.created_at, false));
    let (tail_slots, last): (u64, Option<i64>) = connection
        .prepare_cached("SELECT count(*), max(slot) FROM slots WHERE document = ?1 AND slot > ?2")?
        .query_row((number, upto), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let last_at: Option<i64> = connection
        .prepare_cached("SELECT at FROM slots WHERE document = ?1 AND slot = ?2")?
        .query_row((number, last), |row| row.get(0))
        .optional()?;
    let bytes: u64 = connection
        .prepare_cached(
            "SELECT (SELECT coalesce(sum(length(record)), 0) FROM slots WHERE document = ?1)
                  + (SELECT coalesce(sum(length(record)), 0) FROM snapshots WHERE document = ?1)
                  + (SELECT coalesce(sum(length(bytes)), 0) FROM pieces WHERE rest IN
                        (SELECT rest FROM slots WHERE document = ?1 AND rest IS NOT NULL
                         UNION ALL SELECT rest FROM snapshots WHERE document = ?1 AND rest IS NOT NULL))",
        )?
        .query_row([number], |row| row.get(0))?;
    let last_kind: Option<u8> = connection
        .prepare_cached(
            "SELECT kind FROM slots WHERE document = ?1 AND slot > ?2 AND kind <> 0 ORDER BY slot DESC LIMIT 1",
        )?
        .query_row((number, upto), |row| row.get(0))
        .optional()?;
    Ok(Listed {
        document,
        last: Slot::new(last.unwrap_or(upto) as u64),
        tail_slots,
        bytes,
        created_at: time(entry.created_at),
        changed_at: time(last_at.unwrap_or(changed_at)),
        deleted: last_kind.map_or(deleted, |kind| kind == encoding::DELETION),
        quarantined: entry.quarantined,
    })
}

/// Reads every row and checks its checksum. A damaged remainder is told and no error, as in a load.
pub(super) fn verify_all(connection: &Connection) -> Result<(), StoreError> {
    let mut slots = connection.prepare(
        "SELECT name, slot, record, rest FROM slots JOIN documents ON documents.id = slots.document",
    )?;
    let mut rows = slots.query([])?;
    while let Some(row) = rows.next()? {
        encoding::decode_record(&name(row)?, Slot::new(row.get(1)?), content(connection, row, 2)?)?;
    }
    let mut snapshots = connection.prepare(
        "SELECT name, upto, record, rest FROM snapshots JOIN documents ON documents.id = snapshots.document",
    )?;
    let mut rows = snapshots.query([])?;
    while let Some(row) = rows.next()? {
        encoding::decode_snapshot(&name(row)?, Slot::new(row.get(1)?), content(connection, row, 2)?)?;
    }
    for document in remainders::documents(connection, None, usize::MAX)? {
        remainders::read(connection, &document)?;
    }
    Ok(())
}

fn number(connection: &Connection, document: &DocumentId) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM documents WHERE name = ?1")?
        .query_row([document.as_str()], |row| row.get(0))
        .optional()
}

/// The `upto` of each snapshot, newest first.
fn snapshots(connection: &Connection, number: i64) -> Result<Vec<Slot>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT upto FROM snapshots WHERE document = ?1 ORDER BY upto DESC")?
        .query_map([number], |row| row.get(0).map(Slot::new))?
        .collect()
}

fn snapshot(
    connection: &Connection,
    document: &DocumentId,
    number: i64,
    upto: Slot,
) -> Result<Snapshot, StoreError> {
    let row = connection
        .prepare_cached("SELECT record, rest FROM snapshots WHERE document = ?1 AND upto = ?2")?
        .query_row((number, integer(upto)), |row| content(connection, row, 0))?;
    encoding::decode_snapshot(document, upto, row)
}

fn last(connection: &Connection, number: i64) -> Result<Slot, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(slot) FROM slots WHERE document = ?1), 0),
                        coalesce((SELECT max(upto) FROM snapshots WHERE document = ?1), 0))",
        )?
        .query_row([number], |row| row.get(0).map(Slot::new))
}

/// Reads a record or a snapshot whole: the column is its beginning, the next one the number of its pieces.
pub(super) fn content(
    connection: &Connection,
    row: &Row<'_>,
    column: usize,
) -> Result<Bytes, rusqlite::Error> {
    let beginning = row.get_ref(column)?.as_blob()?;
    let Some(rest) = row.get::<_, Option<u64>>(column + 1)? else {
        return Ok(Bytes::copy_from_slice(beginning));
    };
    let bytes: usize = connection
        .prepare_cached("SELECT coalesce(sum(length(bytes)), 0) FROM pieces WHERE rest = ?1")?
        .query_row([rest], |row| row.get(0))?;
    let mut content = Vec::with_capacity(beginning.len() + bytes);
    content.extend_from_slice(beginning);
    let mut pieces = connection.prepare_cached("SELECT bytes FROM pieces WHERE rest = ?1 ORDER BY piece")?;
    let mut rows = pieces.query([rest])?;
    while let Some(row) = rows.next()? {
        content.extend_from_slice(row.get_ref(0)?.as_blob()?);
    }
    Ok(content.into())
}

/// The name in a row's first column.
pub(super) fn name(row: &Row<'_>) -> Result<DocumentId, StoreError> {
    parse_name(row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?)
}

fn parse_name(name: &[u8]) -> Result<DocumentId, StoreError> {
    DocumentId::from_utf8(name).map_err(|error| StoreError::Unreadable { what: error.to_string() })
}

pub(super) fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds.max(0) as u64)
}
