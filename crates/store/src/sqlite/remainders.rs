//! Remainders, in a table of their own.
//!
//! One that is too large for a commit is written in pieces, the last one first, each in whatever commit comes next. The
//! first piece, which is written last, is what makes it: pieces without one are void. They are not among the pieces of slots
//! and snapshots, because a version that knows no remainders deletes those to which no slot or snapshot refers.

use bytes::Bytes;
use ringleaf_types::{DocumentId, Remainder};
use rusqlite::{Connection, ErrorCode};

use super::changes::{Answer, Outcome};
use super::large::PIECE_BYTES;
use super::queries::name;
use crate::{StoreError, encoding};

pub(super) const TABLE: &str = include_str!("remainders.sql");
/// Limit: remainders that one transaction drops.
pub(super) const DROPPED_AT_ONCE: usize = 512;

/// A row in pieces that one commit can hold, in order.
pub(super) fn pieces(row: &Bytes) -> impl DoubleEndedIterator<Item = (usize, Bytes)> + ExactSizeIterator {
    let piece = |from: usize| row.slice(from..row.len().min(from + PIECE_BYTES));
    (0..row.len()).step_by(PIECE_BYTES).map(piece).enumerate()
}

/// Adds a piece, unless the whole remainder is there already.
pub(super) fn keep(
    connection: &Connection,
    document: &DocumentId,
    id: u64,
    piece: usize,
    bytes: &[u8],
) -> Outcome {
    connection
        .prepare_cached(
            "INSERT INTO remainders (name, id, piece, record) SELECT ?1, ?2, ?3, ?4
             WHERE NOT EXISTS (SELECT 1 FROM remainders WHERE name = ?1 AND id = ?2 AND piece = 0)
             ON CONFLICT DO NOTHING",
        )?
        .execute((document.as_str(), id.cast_signed(), piece, bytes))?;
    Ok(Ok(Answer::Done))
}

pub(super) fn drop_all(connection: &Connection, document: &DocumentId, ids: &[u64]) -> Outcome {
    let mut statement = connection.prepare_cached("DELETE FROM remainders WHERE name = ?1 AND id = ?2")?;
    for id in ids {
        statement.execute((document.as_str(), id.cast_signed()))?;
    }
    Ok(Ok(Answer::Done))
}

/// Creates the table if it is not there, and deletes what a process had not finished writing when it ended.
pub(super) fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.execute_batch(TABLE)?;
    let unfinished = "
        DELETE FROM remainders WHERE piece > 0 AND NOT EXISTS
        (SELECT 1 FROM remainders AS first
         WHERE first.name = remainders.name AND first.id = remainders.id AND first.piece = 0)";
    match connection.execute(unfinished, []) {
        // The documents can be served without them.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            tracing::warn!(%error, "the table of remainders is damaged");
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Deletes all of a document's, and what they held from the file.
pub(super) fn wipe(connection: &Connection, document: &DocumentId) -> Result<(), rusqlite::Error> {
    // Order: zeros first, as for slots.
    for statement in [
        "UPDATE remainders SET record = zeroblob(length(record)) WHERE name = ?1",
        "DELETE FROM remainders WHERE name = ?1",
    ] {
        connection.execute(statement, [document.as_str()])?;
    }
    Ok(())
}

pub(super) fn any(connection: &Connection, document: &DocumentId) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM remainders WHERE name = ?1)")?
        .query_row([document.as_str()], |row| row.get(0))
}

/// Those of one document that can be read.
pub(super) fn read(connection: &Connection, document: &DocumentId) -> Result<Vec<Remainder>, StoreError> {
    encoding::readable_remainders(document, rows(connection, document).map_err(StoreError::from))
}

fn rows(connection: &Connection, document: &DocumentId) -> Result<Vec<(u64, Vec<u8>)>, rusqlite::Error> {
    let mut statement = connection
        .prepare_cached("SELECT id, piece, record FROM remainders WHERE name = ?1 ORDER BY id, piece")?;
    let mut rows = statement.query([document.as_str()])?;
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get::<_, i64>(0)?.cast_unsigned();
        let bytes = row.get_ref(2)?.as_blob()?;
        match found.last_mut() {
            Some((last, whole)) if *last == id => whole.extend_from_slice(bytes),
            _ if row.get::<_, u64>(1)? == 0 => found.push((id, bytes.to_vec())),
            // The others are still on their way.
            _ => {}
        }
    }
    Ok(found)
}

/// A page of the documents that have some.
pub(super) fn documents(
    connection: &Connection,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<DocumentId>, StoreError> {
    let after = after.map_or("", DocumentId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT name FROM remainders WHERE name > ?1 AND piece = 0 ORDER BY name LIMIT ?2",
    )?;
    let mut rows = statement.query((after, limit))?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        documents.push(name(row)?);
    }
    Ok(documents)
}
