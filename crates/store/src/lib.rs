//! The slot log, the snapshots, and the remainders beside them: create if absent, list, delete.
//!
//! ```text
//! document task ──create_slot──▶ Store ──▶ SQLite (one writer thread, group commit) | PostgreSQL | memory
//! ```
//!
//! Safety rests on one primitive: *create a row if it is absent*, above the newest snapshot. Nothing here is ever
//! overwritten.
//!
//! **Must not** look inside an update, know who owns a document, or answer before the bytes are durable.
//!
//! Start reading at [`Store`].

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod copy;
mod encoding;
mod error;
mod memory;
mod postgres;
mod sqlite;
mod store;
mod tasks;

pub use copy::{Copied, CopyError, copy};
pub use error::{Advice, StoreError};
pub use memory::MemoryStore;
pub use postgres::{OpenPostgresError, PostgresOptions, PostgresStore};
pub use sqlite::{BackupError, BackupProgress, OpenStoreError, SqliteOptions, SqliteStore};
pub use store::{Created, Listed, Mark, Quarantined, Store, Stored, Tail};
