//! Tables, format versions, and how connections are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{OpenStoreError, remainders};

/// Marks the file as ours: "RLEF".
const APPLICATION_ID: u32 = 0x524c_4546;
/// The first of these brings an empty file to format 1, the next one format 1 to 2, and so on. Never change one that
/// was released; add another.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];
/// The format that this version writes.
const FORMAT: u32 = MIGRATIONS.len() as u32;

/// Somebody else's lock (a person with the sqlite3 tool) is waited for; then the operation counts as not answered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// A log that grew beyond this (a reader held it up) is cut back; below, its blocks are written over again and again,
/// which is cheaper than letting the file grow anew.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// Opens the database, creates or migrates its tables, and sets it up for the one connection that writes.
pub(super) fn open_for_writing(database: &Path) -> Result<Connection, OpenStoreError> {
    let error = |source| OpenStoreError::database(database, source);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags).map_err(error)?;
    common(&connection).map_err(error)?;
    let found = format_of(&connection, database)?;
    if !set_up_writing(&connection).map_err(error)? {
        return Err(OpenStoreError::Unsuitable { database: database.into() });
    }
    migrate(&mut connection, found, &MIGRATIONS).map_err(error)?;
    remainders::set_up(&connection).map_err(error)?;
    // What a process had written in advance when it ended. Zeros are seen to by the writer.
    connection
        .execute(
            "DELETE FROM pieces WHERE rest <> 0
             AND rest NOT IN (SELECT rest FROM slots WHERE rest IS NOT NULL
                                                   UNION ALL SELECT rest FROM snapshots WHERE rest IS NOT NULL)",
            [],
        )
        .map_err(error)?;
    // What a process left in the log whose sync had failed is in the page cache, but maybe not on the disk, and a sync
    // would not notice. Copying it into the database writes it anew.
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).map_err(error)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_for_reading(database: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    common(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a connection that folds the log into the database.
pub(super) fn open_for_folding(database: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    common(&connection)?;
    // It never waits for those who read, because the writer would wait with it.
    connection.busy_timeout(Duration::ZERO)?;
    // It syncs the log before it copies, and the database before the log may start over.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// The format of the file; zero when it is empty.
fn format_of(connection: &Connection, database: &Path) -> Result<u32, OpenStoreError> {
    let error = |source| OpenStoreError::database(database, source);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let application = number("application_id").map_err(error)?;
    let found = number("user_version").map_err(error)?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(error)?;
    let database = database.to_owned();
    match (application, found) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, 1..=FORMAT) => Ok(found),
        (APPLICATION_ID, newer) if newer > FORMAT => {
            Err(OpenStoreError::Newer { database, found: newer, known: FORMAT })
        }
        _ => Err(OpenStoreError::Foreign { database }),
    }
}

/// All steps from the format found to the newest, or none.
fn migrate(connection: &mut Connection, found: u32, steps: &[&str]) -> Result<(), rusqlite::Error> {
    let newest = steps.len() as u32;
    if found == newest {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for step in steps.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()?;
    match found {
        0 => tracing::debug!(format = newest, "store created"),
        found => tracing::info!(from = found, to = newest, "store format migrated"),
    }
    Ok(())
}

/// `false`: the file system has no shared memory or locks for a write-ahead log.
fn set_up_writing(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    // FULL syncs the log at every commit; NORMAL would lose acknowledged slots in a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    // Folding has a thread of its own.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // What is deleted from a page that is written anyway is overwritten there: that costs no writes.
    overwrite_deleted(connection, "fast")?;
    // The index pages of a few thousand busy documents.
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(mode == "wal")
}

/// What becomes of deleted content on the disk: "fast" overwrites it where that costs no writes, "on" everywhere. It may be
/// said at any time, also inside a transaction, and is about what is deleted from then on.
pub(super) fn overwrite_deleted(connection: &Connection, how: &str) -> Result<(), rusqlite::Error> {
    connection.pragma_update_and_check(None, "secure_delete", how, |_| Ok(()))
}

/// The page size stays at SQLite's 4 KiB: with 1, 2 and 8 KiB, small appends to a thousand documents cost the same.
fn common(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Otherwise statements are planned anew whenever they are given other values, which costs many times what they do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A damaged page is found when it is read, not when its content makes no sense.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // No memory map: a failing disk would end the process by SIGBUS where a read answers with an error.
    connection.pragma_update(None, "mmap_size", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(connection: &Connection) -> (u32, u32, Vec<String>) {
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
        let tables = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        (number("application_id"), number("user_version"), tables)
    }

    const STEPS: [&str; 3] = ["CREATE TABLE a (x)", "CREATE TABLE b (x)", "ALTER TABLE a RENAME TO c"];

    #[test]
    fn only_the_missing_steps_are_taken() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0, &STEPS[..1]).unwrap();
        assert_eq!(describe(&connection), (APPLICATION_ID, 1, vec!["a".into()]));
        migrate(&mut connection, 1, &STEPS).unwrap();
        assert_eq!(describe(&connection), (APPLICATION_ID, 3, vec!["b".into(), "c".into()]));
        migrate(&mut connection, 3, &STEPS).unwrap();
        assert_eq!(describe(&connection).1, 3);
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0, &STEPS[..1]).unwrap();
        let broken = [STEPS[0], STEPS[1], "CREATE TABLE a (x)"];
        assert!(migrate(&mut connection, 1, &broken).is_err());
        assert_eq!(describe(&connection), (APPLICATION_ID, 1, vec!["a".into()]));
    }

    #[test]
    fn other_values_are_no_reason_to_plan_a_statement_anew() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let connection = open_for_writing(file.path()).unwrap();
        let mut statement = connection.prepare("SELECT max(slot) FROM slots WHERE document = ?1").unwrap();
        for document in 1..=3 {
            statement.query_row([document], |row| row.get::<_, Option<i64>>(0)).unwrap();
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }

    /// What was released must not change: people's files were made by it. Add a step instead.
    #[test]
    fn released_steps_are_pinned() {
        assert_eq!(crc32fast::hash(MIGRATIONS[0].as_bytes()), 4_003_508_103);
        assert_eq!(crc32fast::hash(remainders::TABLE.as_bytes()), 684_972_884);
    }
}
