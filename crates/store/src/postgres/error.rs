//! What PostgreSQL says, in our words.

use std::error::Error;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::SqlState;

use crate::StoreError;

/// Why a PostgreSQL store could not be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenPostgresError {
    #[error("this is no address of a PostgreSQL database; write postgres://USER@HOST/DATABASE")]
    Address(#[source] Box<dyn Error + Send + Sync>),
    #[error(
        "the certificates for TLS to PostgreSQL could not be used; check SSL_CERT_FILE, or say sslmode=disable"
    )]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    #[error(
        "could not open the PostgreSQL store; check that the server runs, the address, and the user's rights"
    )]
    Database(#[source] Box<dyn Error + Send + Sync>),
    #[error(
        "PostgreSQL runs with {setting} = {value}, which loses acknowledged edits in a crash; \
         set it to on"
    )]
    Unsafe { setting: &'static str, value: String },
    #[error(
        "the PostgreSQL store was written by a newer ringleaf (format {found}, this one knows {known}); \
         start that version or a later one, or give another database"
    )]
    Newer { found: i64, known: i64 },
}

impl OpenPostgresError {
    pub(super) fn database(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Database(source.into())
    }

    /// Whether this may end by itself: nobody answers at the address, or the server is starting, stopping, or has no
    /// connection left.
    pub fn may_pass(&self) -> bool {
        let Self::Database(source) = self else { return false };
        let causes =
            std::iter::successors(Some(source.as_ref() as &(dyn Error + 'static)), |error| (*error).source());
        let passes = |error: &(dyn Error + 'static)| {
            let of_server = error.downcast_ref::<tokio_postgres::Error>();
            let of_pool = error.downcast_ref::<PoolError>();
            let silent = |error: &PoolError| {
                matches!(error, PoolError::Timeout(_) | PoolError::PostCreateHook(HookError::Message(_)))
            };
            of_server
                .map(|error| error.code().is_none_or(|code| PASSING.contains(code)))
                .or(of_pool.map(silent))
        };
        // The innermost one knows why.
        causes.filter_map(passes).last().unwrap_or(false)
    }
}

const PASSING: [SqlState; 5] = [
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::CONNECTION_FAILURE,
];

/// Whether the same statement may well succeed when it is sent again at once: it was rolled back because of another.
pub(super) fn means_again(error: &tokio_postgres::Error) -> bool {
    let again = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| again.contains(code))
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::DISK_FULL => Self::DiskFull(error.into()),
            Some(code) if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) => {
                Self::Unreadable { what: format!("the database is damaged: {error}") }
            }
            Some(code) if *code == SqlState::PROGRAM_LIMIT_EXCEEDED => {
                Self::Unreadable { what: "a row of more than a gigabyte".into() }
            }
            _ => Self::Away(error.into()),
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Closed => Self::Closed,
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            error => Self::Away(error.into()),
        }
    }
}
