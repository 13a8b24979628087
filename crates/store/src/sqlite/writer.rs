//! The one thread that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::changes::{Answer, Change, Changes};
use super::checkpoint::{Checkpointer, fold};
use super::error::{Cause, abort_on_lost_writes};
use super::overwrite::Overwriting;
use super::pace::Pace;
use crate::StoreError;

/// Limit: changes in one transaction. More wait for the next; the queue has a bound of its own.
const CHANGES_PER_COMMIT_MAX: usize = 4_096;
/// Limit: bytes in one transaction, likewise, so that none takes much longer than 50 ms. One change may always go.
const BYTES_PER_COMMIT_MAX: usize = 4 << 20;

/// How long a store that is closed goes on overwriting free pages. What is left then is done after the next opening.
const OVERWRITING_AT_THE_END_MAX: Duration = Duration::from_secs(5);

/// A change that somebody waits for.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Result<Answer, StoreError>>,
}

/// Takes whatever waits, carries it out in one transaction, and answers everybody when it is durable.
pub(super) struct Writer {
    connection: Connection,
    waiting: mpsc::Receiver<Job>,
    changes: Changes,
    pace: Pace,
    checkpointer: Checkpointer,
    /// Pages in the log after the last commit, told by SQLite during that commit.
    log_pages: Arc<AtomicU32>,
    /// The last commit found no room.
    full: bool,
    overwriting: Overwriting,
    batch: Vec<Job>,
    answers: Vec<Result<Answer, StoreError>>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        waiting: mpsc::Receiver<Job>,
        pace: Pace,
        checkpointer: Checkpointer,
    ) -> Result<Self, rusqlite::Error> {
        let mut connection = connection;
        let log_pages = Arc::new(AtomicU32::new(0));
        let pages_now = log_pages.clone();
        connection.wal_hook(Some(move |_: &mut _, pages: i32| {
            pages_now.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))?;
        let (changes, batch, answers) = (Changes::default(), Vec::new(), Vec::new());
        let overwriting = Overwriting::owed(&connection)?;
        Ok(Self {
            connection,
            waiting,
            changes,
            pace,
            checkpointer,
            log_pages,
            full: false,
            overwriting,
            batch,
            answers,
        })
    }

    /// Runs until nobody can hand over a change any more.
    pub(super) fn run(mut self) {
        while let Some(first) = self.next() {
            let gap = self.pace.gap(Instant::now());
            if !gap.is_zero() {
                // Asleep, not listening: nobody has to wake this thread for what gathers meanwhile.
                std::thread::sleep(gap);
            }
            self.gather(first);
            let started_at = Instant::now();
            let held = self.batch.iter().map(|job| job.change.held()).sum();
            self.commit_and_answer();
            self.pace.committed(started_at, Instant::now(), held);
            self.fold_if_long();
        }
        self.checkpointer.stop();
        fold(&self.connection, CheckpointMode::TRUNCATE);
    }

    /// Waits for the next change. After a purge free pages are overwritten meanwhile, and a few between two commits.
    fn next(&mut self) -> Option<Job> {
        let mut end_at = None;
        while self.overwriting != Overwriting::Nothing {
            match self.waiting.try_recv() {
                Ok(job) => {
                    self.overwrite();
                    return Some(job);
                }
                Err(TryRecvError::Empty) => {}
                // Whoever purges on a stopped server's folder closes it at once.
                Err(TryRecvError::Disconnected) => {
                    let end_at = *end_at.get_or_insert_with(|| Instant::now() + OVERWRITING_AT_THE_END_MAX);
                    if Instant::now() > end_at {
                        return None;
                    }
                }
            }
            self.overwrite();
        }
        self.waiting.blocking_recv()
    }

    fn overwrite(&mut self) {
        self.overwriting = match self.overwriting.step(&self.connection) {
            Ok(next) => next,
            Err(error) => {
                abort_on_lost_writes(&error);
                tracing::warn!(%error, "could not overwrite free pages after a purge");
                match self.overwriting {
                    // What was filled is given back, so that there is room.
                    Overwriting::Filling { .. } => Overwriting::Emptying,
                    // The next opening does it.
                    Overwriting::Emptying | Overwriting::Nothing => Overwriting::Nothing,
                }
            }
        };
        self.fold_if_long();
        if self.overwriting == Overwriting::Nothing {
            self.checkpointer.start_over();
        }
    }

    fn fold_if_long(&mut self) {
        if self.checkpointer.committed(self.log_pages.load(Ordering::Relaxed)) {
            fold(&self.connection, CheckpointMode::PASSIVE);
        }
    }

    /// After a commit that purged: nothing of it may be read from the files.
    fn begin_overwriting(&mut self) {
        self.checkpointer.start_over();
        match Overwriting::owed(&self.connection) {
            Ok(owed) => self.overwriting = owed,
            Err(error) => tracing::warn!(%error, "free pages are overwritten when the store is opened again"),
        }
    }

    fn gather(&mut self, first: Job) {
        let mut bytes = first.change.bytes();
        self.batch.push(first);
        while bytes < BYTES_PER_COMMIT_MAX && self.batch.len() < CHANGES_PER_COMMIT_MAX {
            let Ok(next) = self.waiting.try_recv() else { break };
            bytes += next.change.bytes();
            self.batch.push(next);
        }
    }

    fn commit_and_answer(&mut self) {
        let committed = self.commit();
        if let Err(cause) = &committed {
            self.roll_back();
            self.tell(cause);
        } else if self.full {
            self.full = false;
            tracing::info!("the disk has room again");
        }
        // Order: nobody is answered before the commit is decided.
        for (index, job) in self.batch.drain(..).enumerate() {
            let answer = match &committed {
                Ok(()) => std::mem::replace(&mut self.answers[index], Err(StoreError::Closed)),
                Err(cause) => Err(cause.to_store_error()),
            };
            // Whoever asked may have stopped waiting.
            let _ = job.reply.send(answer);
        }
        self.answers.clear();
        if self.changes.purged() {
            self.begin_overwriting();
        }
    }

    /// A full disk is told once, since everybody tries again and again.
    fn tell(&mut self, cause: &Cause) {
        if !matches!(cause.to_store_error(), StoreError::DiskFull(_)) {
            tracing::warn!(error = %cause, changes = self.batch.len(), "a commit was rolled back");
        } else if !self.full {
            self.full = true;
            tracing::error!(error = %cause, "the disk is full: nothing is acknowledged until there is room");
        }
    }

    fn commit(&mut self) -> Result<(), Cause> {
        self.transaction().map_err(|error| {
            abort_on_lost_writes(&error);
            Cause::new(error)
        })
    }

    fn transaction(&mut self) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for job in &self.batch {
            let answer = self.changes.carry_out(&self.connection, &job.change)?;
            self.answers.push(answer);
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn roll_back(&mut self) {
        self.answers.clear();
        self.changes.forget();
        // SQLite has rolled back by itself after some errors.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            abort_on_lost_writes(&error);
            tracing::error!(%error, "could not roll back, the process ends; nothing of it was acknowledged");
            std::process::abort();
        }
    }
}
