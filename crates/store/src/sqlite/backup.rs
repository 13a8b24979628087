//! A copy of the whole store, made while it serves.

use std::path::PathBuf;

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    pub pages_done: u64,
    pub pages: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} exists already; a backup never overwrites anything, give another name", file.display())]
    Exists { file: PathBuf },
}
