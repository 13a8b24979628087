//! Rows that are too large for one commit.
//!
//! A row of many megabytes would hold up every document's commit while it is written. So all but its beginning is written
//! in pieces first, each in whatever commit comes next; the row itself is as small as any other. The checksum in its
//! beginning covers it all.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rusqlite::Connection;

use super::SqliteStore;
use super::changes::Change;
use crate::StoreError;

/// What one commit may hold of a row: a few milliseconds of writing.
pub(super) const PIECE_BYTES: usize = 512 << 10;

/// A row as it is stored: its beginning, and the number of its pieces if there are more.
pub(super) struct Content {
    pub(super) beginning: Bytes,
    pub(super) rest: Option<u64>,
}

/// Gives each large row a number that no other has.
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn after_those_in(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let last: u64 =
            connection.query_row("SELECT coalesce(max(rest), 0) FROM pieces", [], |row| row.get(0))?;
        Ok(Self(AtomicU64::new(last + 1)))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl SqliteStore {
    /// Writes all pieces of a row but the first.
    ///
    /// # Cancel safety
    ///
    /// Pieces whose row was never written lie about until the store is opened the next time.
    pub(super) async fn write_ahead(&self, mut row: Bytes) -> Result<Content, StoreError> {
        if row.len() <= PIECE_BYTES {
            return Ok(Content { beginning: row, rest: None });
        }
        let beginning = row.split_to(PIECE_BYTES);
        let rest = self.numbers.next();
        for piece in 0.. {
            let bytes = row.split_to(row.len().min(PIECE_BYTES));
            if bytes.is_empty() {
                break;
            }
            if let Err(error) = self.change(Change::AddPiece { rest, piece, bytes }).await {
                self.throw_away(Some(rest)).await;
                return Err(error);
            }
        }
        Ok(Content { beginning, rest: Some(rest) })
    }

    /// Deletes pieces whose row was not written after all. When that does not work either, the next opening does it.
    pub(super) async fn throw_away(&self, rest: Option<u64>) {
        if let Some(rest) = rest {
            let _ = self.change(Change::DeletePieces { rest }).await;
        }
    }
}
