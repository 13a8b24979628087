//! What SQLite says, in our words.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::StoreError;

/// Why a store could not be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    #[error(
        "the data folder {} is in use by {}; stop that one first, or give this one another folder",
        folder.display(), holder.as_deref().unwrap_or("another process")
    )]
    InUse { folder: PathBuf, holder: Option<String> },
    #[error(
        "{} holds no ringleaf data (there is no {}); check the path", folder.display(), super::folder::DATABASE
    )]
    NoStore { folder: PathBuf },
    #[error("{} is not a folder; give the path of a folder for the data", path.display())]
    NotAFolder { path: PathBuf },
    #[error("could not {action} the data folder {}; check who owns it and whether the disk has room", folder.display())]
    Folder { folder: PathBuf, action: &'static str, source: std::io::Error },
    #[error(
        "{} was written by a newer ringleaf (format {found}, this one knows {known}); \
         start that version or a later one, or restore a backup", database.display()
    )]
    Newer { database: PathBuf, found: u32, known: u32 },
    #[error("{} is not a ringleaf database; give another folder, nothing in this one was changed", database.display())]
    Foreign { database: PathBuf },
    #[error(
        "the file system of {} cannot hold the database safely (no write-ahead log); use a local disk", database.display()
    )]
    Unsuitable { database: PathBuf },
    #[error("could not open {}; check who owns it and whether the disk has room", database.display())]
    Database { database: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

impl OpenStoreError {
    pub(super) fn folder(folder: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Folder { folder: folder.into(), action, source }
    }

    pub(super) fn database(database: &Path, source: rusqlite::Error) -> Self {
        let database = database.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { database },
            _ => Self::Database { database, source: source.into() },
        }
    }
}

/// One failure of SQLite that many who waited for the same commit hear about.
#[derive(Debug, Clone)]
pub(super) struct Cause(Arc<rusqlite::Error>);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {}

impl Cause {
    pub(super) fn new(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }

    pub(super) fn to_store_error(&self) -> StoreError {
        let source = Box::new(self.clone());
        match self.0.sqlite_error() {
            Some(error) if means_full(error) => StoreError::DiskFull(source),
            Some(error) if matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Unreadable { what: format!("the database is damaged: {self}") }
            }
            Some(error) if error.code == ErrorCode::TooBig => {
                StoreError::Unreadable { what: "a row of more than a gigabyte".into() }
            }
            _ => StoreError::Away(source),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Cause::new(error).to_store_error()
    }
}

fn means_full(error: &ffi::Error) -> bool {
    // The shared-memory file beside the log could not grow: SQLite has no own word for a full disk there.
    error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
}

/// Whether bytes that were written may never reach the disk.
fn means_lost_writes(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        let sync = [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC, ffi::SQLITE_IOERR_CORRUPTFS];
        sync.contains(&error.extended_code)
    })
}

/// Ends the process if a sync of the disk failed.
///
/// After a failed sync the kernel takes the pages for clean: a second sync answers well though the bytes are gone, and
/// reading shows bytes that will not survive a power cut. Only a new process, which copies everything from the log into
/// the database again, may go on.
pub(super) fn abort_on_lost_writes(error: &rusqlite::Error) {
    if means_lost_writes(error) {
        tracing::error!(%error, "the disk did not keep what was written to it, the process ends; nothing of it was acknowledged");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Advice;

    fn error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn what_sqlite_says_becomes_an_advice() {
        for (code, expected) in [
            (ffi::SQLITE_FULL, "the disk is full"),
            (ffi::SQLITE_IOERR_SHMSIZE, "the disk is full"),
            (ffi::SQLITE_BUSY, "the store does not answer"),
            (ffi::SQLITE_IOERR_WRITE, "the store does not answer"),
            (ffi::SQLITE_IOERR_READ, "the store does not answer"),
            (ffi::SQLITE_CANTOPEN, "the store does not answer"),
        ] {
            let error = StoreError::from(error(code));
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.advice(), Advice::RetryLater);
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_TOOBIG] {
            let error = StoreError::from(error(code));
            assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
            assert_eq!(error.advice(), Advice::GiveUp);
        }
    }

    #[test]
    fn only_a_failed_sync_ends_the_process() {
        assert!(means_lost_writes(&error(ffi::SQLITE_IOERR_FSYNC)));
        assert!(means_lost_writes(&error(ffi::SQLITE_IOERR_DIR_FSYNC)));
        for code in [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_READ, ffi::SQLITE_FULL] {
            assert!(!means_lost_writes(&error(code)));
        }
    }
}
