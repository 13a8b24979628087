//! A copy of the whole store, made while it serves.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags};

use super::{queries, schema};
use crate::StoreError;

/// One step: 1 MiB, so that commits find the disk free in between.
const PAGES_PER_STEP: i32 = 256;
/// A copy takes at most about half of the disk's time: after each step it rests as long as the step took, at most this.
const REST_MAX: Duration = Duration::from_millis(20);

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
    #[error("could not write {}; check that its folder exists, who owns it and whether there is room", file.display())]
    Write { file: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the copy did not pass its check: {what}; it was removed, the store itself should be looked at")]
    Damaged { what: String },
    #[error("could not read the store")]
    Read(#[source] StoreError),
}

/// Copies the database as it is at one moment.
///
/// The copy is made under a name of its own, checked, and only then given its final name: a file with that name is whole.
pub(super) fn copy(
    database: &Path,
    file: &Path,
    mut progress: impl FnMut(BackupProgress),
) -> Result<(), BackupError> {
    let write = |source: std::io::Error| BackupError::Write { file: file.into(), source: source.into() };
    if file.try_exists().map_err(write)? {
        return Err(BackupError::Exists { file: file.into() });
    }
    let partial = Partial::create(file)?;
    let from = schema::open_for_reading(database).map_err(|error| BackupError::Read(error.into()))?;
    let mut to = Connection::open_with_flags(
        &partial.path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|source| BackupError::Write { file: file.into(), source: source.into() })?;
    copy_pages(&from, &mut to, file, &mut progress)?;
    drop(from);
    check(&to)?;
    // One file, without a log beside it.
    to.query_row("PRAGMA journal_mode = delete", [], |_| Ok(()))
        .map_err(|source| BackupError::Write { file: file.into(), source: source.into() })?;
    drop(to);
    partial.keep_as(file)
}

fn copy_pages(
    from: &Connection,
    to: &mut Connection,
    file: &Path,
    progress: &mut impl FnMut(BackupProgress),
) -> Result<(), BackupError> {
    let write = |source: rusqlite::Error| BackupError::Write { file: file.into(), source: source.into() };
    // Order: the moment is fixed first. Without this transaction every commit would start the copy over.
    let moment = from.unchecked_transaction().map_err(|error| BackupError::Read(error.into()))?;
    moment
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| BackupError::Read(error.into()))?;
    let backup = Backup::new(from, to).map_err(write)?;
    loop {
        let started_at = Instant::now();
        let step = backup.step(PAGES_PER_STEP).map_err(write)?;
        let pages = backup.progress();
        progress(BackupProgress {
            pages_done: (pages.pagecount - pages.remaining).unsigned_abs().into(),
            pages: pages.pagecount.unsigned_abs().into(),
        });
        if step == StepResult::Done {
            return Ok(());
        }
        std::thread::sleep(started_at.elapsed().min(REST_MAX));
    }
}

/// Every page, every index, and the checksum of every row.
fn check(copy: &Connection) -> Result<(), BackupError> {
    let damaged = |error: rusqlite::Error| BackupError::Damaged { what: error.to_string() };
    let verdict: String =
        copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if verdict != "ok" {
        return Err(BackupError::Damaged { what: verdict });
    }
    match queries::verify_all(copy) {
        Ok(()) => Ok(()),
        Err(error) => Err(BackupError::Damaged { what: error.to_string() }),
    }
}

/// A file that is removed unless it is kept.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn create(file: &Path) -> Result<Self, BackupError> {
        let mut path = file.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(Self { path }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(BackupError::Exists { file: path }),
            Err(source) => Err(BackupError::Write { file: path, source: source.into() }),
        }
    }

    fn keep_as(self, file: &Path) -> Result<(), BackupError> {
        let write = |source: std::io::Error| BackupError::Write { file: file.into(), source: source.into() };
        File::open(&self.path).and_then(|copy| copy.sync_all()).map_err(write)?;
        // Never over a file that appeared meanwhile. Some file systems cannot promise that in one step.
        match rustix::fs::renameat_with(CWD, &self.path, CWD, file, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(BackupError::Exists { file: file.into() }),
            Err(_) => {
                std::fs::hard_link(&self.path, file).map_err(write)?;
            }
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(write)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed away when all went well.
        let _ = std::fs::remove_file(&self.path);
    }
}
