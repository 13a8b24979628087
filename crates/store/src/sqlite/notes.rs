//! Load attempts and quarantine, by name: a document that was never written can have them, too.

use std::time::SystemTime;

use ringleaf_types::DocumentId;
use rusqlite::Connection;

use super::changes::{Answer, Outcome, milliseconds};
use super::queries::{name, time};
use crate::{Mark, Quarantined, StoreError};

pub(super) fn mark_attempt(connection: &Connection, document: &DocumentId) -> Outcome {
    let mark = connection
        .prepare_cached(
            "INSERT INTO attempts (name, attempts) VALUES (?1, 1)
             ON CONFLICT (name) DO UPDATE SET attempts = attempts + 1 RETURNING attempts, reason",
        )?
        .query_row([document.as_str()], |row| Ok(Mark { attempts: row.get(0)?, reason: row.get(1)? }))?;
    Ok(Ok(Answer::Mark(mark)))
}

pub(super) fn mark_outcome(connection: &Connection, document: &DocumentId, failed: Option<&str>) -> Outcome {
    match failed {
        None => {
            connection.prepare_cached("DELETE FROM attempts WHERE name = ?1")?.execute([document.as_str()])?
        }
        Some(reason) => connection
            .prepare_cached(
                "INSERT INTO attempts (name, attempts, reason) VALUES (?1, 0, ?2)
                 ON CONFLICT (name) DO UPDATE SET reason = excluded.reason",
            )?
            .execute((document.as_str(), reason))?,
    };
    Ok(Ok(Answer::Done))
}

pub(super) fn quarantine(connection: &Connection, document: &DocumentId, reason: &str) -> Outcome {
    connection
        .prepare_cached(
            "INSERT INTO quarantine (name, reason, since) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
        )?
        .execute((document.as_str(), reason, milliseconds(SystemTime::now())))?;
    Ok(Ok(Answer::Done))
}

pub(super) fn release(connection: &Connection, document: &DocumentId) -> Outcome {
    connection.execute("DELETE FROM attempts WHERE name = ?1", [document.as_str()])?;
    let rows = connection.execute("DELETE FROM quarantine WHERE name = ?1", [document.as_str()])?;
    Ok(Ok(Answer::Yes(rows == 1)))
}

/// All documents in quarantine.
pub(super) fn quarantined(connection: &Connection) -> Result<Vec<Quarantined>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT name, reason, since FROM quarantine ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut quarantined = Vec::new();
    while let Some(row) = rows.next()? {
        quarantined.push(Quarantined { document: name(row)?, reason: row.get(1)?, since: time(row.get(2)?) });
    }
    Ok(quarantined)
}

/// All documents with notes of loads.
pub(super) fn noted(connection: &Connection) -> Result<Vec<(DocumentId, u32)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT name, attempts FROM attempts WHERE attempts > 0 ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut noted = Vec::new();
    while let Some(row) = rows.next()? {
        noted.push((name(row)?, row.get(1)?));
    }
    Ok(noted)
}
