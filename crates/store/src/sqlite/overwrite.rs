//! Overwrites the free pages of the database after a purge.
//!
//! A page that is free keeps what it held until it is used again, and every copy of the file keeps it, too. That is how trims
//! are cheap; but earlier versions of a purged document must not be found there. So all free pages are used once: they are
//! filled with pieces of zeros, a few in each commit, and these are deleted again.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// The number that pieces of zeros have. Those of rows are counted from one.
const ZEROS: u64 = 0;
/// Limit: zeros in one commit. About 32 pages: hardly more than the sync costs.
const BYTES_AT_ONCE: u32 = 128 << 10;
const PAGES_AT_ONCE: u64 = 32;
/// Limit: pieces that one commit deletes again. Their pages are read for that, but not written.
const DELETED_AT_ONCE: u32 = 16;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overwriting {
    /// Nobody has purged anything, or all is done.
    Nothing,
    /// Limit: trims free pages meanwhile, so it ends after so many pieces whatever is free then.
    Filling {
        pieces_left: u64,
    },
    Emptying,
}

impl Overwriting {
    /// Notes, in the transaction that purges, that free pages are to be overwritten.
    pub(super) fn want(connection: &Connection) -> Result<(), rusqlite::Error> {
        connection
            .execute(
                "INSERT INTO pieces (rest, piece, bytes) VALUES (?1, 0, x'') ON CONFLICT DO NOTHING",
                [ZEROS],
            )
            .map(drop)
    }

    /// What the store still owes: a process may have ended before it was done.
    pub(super) fn owed(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let wanted: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM pieces WHERE rest = ?1)")?
            .query_row([ZEROS], |row| row.get(0))?;
        if !wanted {
            return Ok(Self::Nothing);
        }
        let pieces = free_pages(connection)? / PAGES_AT_ONCE;
        Ok(Self::Filling { pieces_left: 2 * pieces + 16 })
    }

    /// A little of it, in a transaction of its own.
    pub(super) fn step(self, connection: &Connection) -> Result<Self, rusqlite::Error> {
        // At once for writing: one that begins by reading does not wait for the thread that is cutting the log off.
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let next = match self {
            Self::Nothing => Self::Nothing,
            Self::Filling { pieces_left: 0 } => Self::Emptying,
            Self::Filling { .. } if free_pages(&transaction)? == 0 => Self::Emptying,
            Self::Filling { pieces_left } => {
                fill(&transaction)?;
                Self::Filling { pieces_left: pieces_left - 1 }
            }
            Self::Emptying => match empty(&transaction)? {
                0 => Self::Nothing,
                _ => Self::Emptying,
            },
        };
        transaction.commit()?;
        Ok(next)
    }
}

fn free_pages(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
}

fn fill(connection: &Connection) -> Result<(), rusqlite::Error> {
    let last: Option<u32> = connection
        .prepare_cached("SELECT piece FROM pieces WHERE rest = ?1 ORDER BY piece DESC LIMIT 1")?
        .query_row([ZEROS], |row| row.get(0))
        .optional()?;
    let piece = last.map_or(0, |last| last + 1);
    connection
        .prepare_cached("INSERT INTO pieces (rest, piece, bytes) VALUES (?1, ?2, zeroblob(?3))")?
        .execute((ZEROS, piece, BYTES_AT_ONCE))
        .map(drop)
}

fn empty(connection: &Connection) -> Result<usize, rusqlite::Error> {
    connection
        .prepare_cached(
            "DELETE FROM pieces WHERE rest = ?1 AND piece IN
             (SELECT piece FROM pieces WHERE rest = ?1 ORDER BY piece LIMIT ?2)",
        )?
        .execute((ZEROS, DELETED_AT_ONCE))
}
