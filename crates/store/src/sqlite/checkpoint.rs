//! Folds the write-ahead log back into the database, beside the writer.
//!
//! A checkpoint takes as long as dozens of commits. Done by the writer it would be the slowest commit of all; here it
//! runs on a connection of its own while commits go on. The writer starts the log over from its beginning by itself, once
//! everything in it has been folded in and no reader needs it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use super::error::abort_on_lost_writes;
use super::{OpenStoreError, schema};
use crate::tasks;

/// Pages in the log at which folding begins. 4 MiB: large enough to be rare, small enough to be short, and a page that
/// many commits wrote is folded in once.
const PAGES_AT_ONCE: u32 = 1_000;
/// Pages at which the writer folds by itself, because the log grows faster than it is folded beside it. 64 MiB.
const PAGES_MAX: u32 = 16_000;
/// How often it is tried to cut the log off while somebody is in the way.
const START_OVER_INTERVAL: Duration = Duration::from_millis(250);

/// The writer's end.
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    /// The log is to be cut off, because nothing that was in it may stay.
    start_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Pages in the log when somebody was last asked to fold.
    asked_at: u32,
    folded_at: u32,
}

impl Checkpointer {
    pub(super) fn start(database: &Path) -> Result<Self, OpenStoreError> {
        let connection = schema::open_for_folding(database)
            .map_err(|source| OpenStoreError::database(database, source))?;
        // Limit: one request waits. A second would ask for the same.
        let (wake, woken) = sync_channel(1);
        let start_over = Arc::new(AtomicBool::new(false));
        let wanted = start_over.clone();
        let thread = tasks::thread("store-checkpoint", move || run(&connection, &woken, &wanted))
            .map_err(|source| OpenStoreError::folder(database, "start a thread for", source))?;
        Ok(Self { wake: Some(wake), start_over, thread: Some(thread), asked_at: 0, folded_at: 0 })
    }

    /// Has the log cut off: pages as they were before a purge are in it, and they would stay until they are written over.
    pub(super) fn start_over(&self) {
        self.start_over.store(true, Ordering::Release);
        if let Some(wake) = &self.wake {
            let _ = wake.try_send(());
        }
    }

    /// After each commit: how many pages the log has now. `true`: the writer must fold by itself, now.
    pub(super) fn committed(&mut self, pages: u32) -> bool {
        if pages < self.asked_at {
            // The log was started over.
            (self.asked_at, self.folded_at) = (0, 0);
        }
        if pages >= self.folded_at + PAGES_MAX {
            self.folded_at = pages;
            return true;
        }
        if pages >= self.asked_at + PAGES_AT_ONCE {
            self.asked_at = pages;
            if let Some(wake) = &self.wake {
                // Full: it was asked already. Closed: it ends only with us.
                let _ = wake.try_send(());
            }
        }
        false
    }

    /// Waits until the last folding is over.
    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, start_over: &AtomicBool) {
    loop {
        let woke = match start_over.load(Ordering::Acquire) {
            true => woken.recv_timeout(START_OVER_INTERVAL),
            false => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if woke == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        // Twice: what was committed during the first one is little, so the second has a good chance to catch up with the
        // writer, and only then can the log start over.
        for _ in 0..2 {
            if fold(connection, CheckpointMode::PASSIVE) {
                break;
            }
        }
        // Order: taken before it is done, so that a purge that comes meanwhile is not forgotten.
        if start_over.swap(false, Ordering::AcqRel) && !cut_off(connection) {
            start_over.store(true, Ordering::Release);
        }
    }
}

/// Cuts the log off, unless somebody reads from it or writes at this moment.
fn cut_off(connection: &Connection) -> bool {
    match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE) {
        Ok(_) => true,
        Err(error) => {
            abort_on_lost_writes(&error);
            false
        }
    }
}

/// Folds what can be folded without making anybody wait. `true`: nothing is left.
pub(super) fn fold(connection: &Connection, mode: CheckpointMode) -> bool {
    match connection.wal_checkpoint_v2(Some(MAIN_DB), mode) {
        Ok((pages, folded)) => pages == folded,
        // Somebody else folds at this moment.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => true,
        Err(error) => {
            abort_on_lost_writes(&error);
            tracing::warn!(%error, "could not fold the log into the database, it will be tried again");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpointer() -> (Checkpointer, Receiver<()>) {
        let (wake, woken) = sync_channel(1);
        let start_over = Arc::default();
        (Checkpointer { wake: Some(wake), start_over, thread: None, asked_at: 0, folded_at: 0 }, woken)
    }

    #[test]
    fn folding_is_asked_for_once_per_thousand_pages() {
        let (mut checkpointer, woken) = checkpointer();
        let asked: Vec<u32> =
            (1..=3_000).filter(|&pages| !checkpointer.committed(pages) && woken.try_recv().is_ok()).collect();
        assert_eq!(asked, [1_000, 2_000, 3_000]);
    }

    #[test]
    fn a_log_that_starts_over_is_counted_anew() {
        let (mut checkpointer, woken) = checkpointer();
        checkpointer.committed(1_500);
        assert!(woken.try_recv().is_ok());
        checkpointer.committed(20);
        checkpointer.committed(999);
        assert!(woken.try_recv().is_err());
        checkpointer.committed(1_000);
        assert!(woken.try_recv().is_ok());
    }

    #[test]
    fn the_writer_folds_by_itself_when_the_log_runs_away_but_not_at_every_commit() {
        let (mut checkpointer, _woken) = checkpointer();
        let folds: Vec<u32> = (1..=50_000).filter(|&pages| checkpointer.committed(pages)).collect();
        assert_eq!(folds, [16_000, 32_000, 48_000]);
    }

    #[test]
    fn asking_never_waits() {
        let (mut checkpointer, _woken) = checkpointer();
        for pages in (1_000..10_000).step_by(1_000) {
            assert!(!checkpointer.committed(pages));
        }
    }
}
