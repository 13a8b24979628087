//! Threads for work on documents that takes long, so that no other document waits for it.
//!
//! They are the runtime's blocking threads, bounded here.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const NEVER_CLOSED: &str = "the pool is never closed";

/// Documents with long work at the same time. They share the cores with everything else; each document has one piece of work
/// at a time.
const LONG_THREADS: u32 = 4;

/// Three queues: what an editor waits for, what takes long, and what nobody waits for.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    threads: u32,
    foreground: Arc<Semaphore>,
    long: Arc<Semaphore>,
    background: Arc<Semaphore>,
}

/// The whole pool, for one piece of work.
pub(crate) struct Alone {
    _permits: [OwnedSemaphorePermit; 3],
}

/// The work panicked, and what it held is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work panicked")]
pub(crate) struct Panicked;

/// Who waits for the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// An editor, for some milliseconds of work.
    Foreground,
    /// An editor of a large document, or with a large message. Nobody else waits for it.
    Long,
    /// Nobody in particular: compaction, checks, views.
    Background,
}

impl Pool {
    /// One thread is left to the sockets; at least one works.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = u32::try_from(cores.saturating_sub(1).max(1)).unwrap_or(u32::MAX);
        let foreground = Arc::new(Semaphore::new(threads as usize));
        let long = Arc::new(Semaphore::new(LONG_THREADS as usize));
        Self { threads, foreground, long, background: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until nothing runs, and lets nothing else run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub(crate) async fn alone(&self) -> Alone {
        let background = Arc::clone(&self.background).acquire_owned().await.expect(NEVER_CLOSED);
        let long = Arc::clone(&self.long).acquire_many_owned(LONG_THREADS).await.expect(NEVER_CLOSED);
        let all = Arc::clone(&self.foreground).acquire_many_owned(self.threads).await.expect(NEVER_CLOSED);
        Alone { _permits: [background, long, all] }
    }

    /// Runs the work on a thread of the pool.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun runs to its end; its result is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        urgency: Urgency,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let queue = match urgency {
            Urgency::Foreground => &self.foreground,
            Urgency::Long => &self.long,
            Urgency::Background => &self.background,
        };
        let permit = Arc::clone(queue).acquire_owned().await.expect(NEVER_CLOSED);
        self.run_with(permit, work).await
    }

    /// The same for whoever has his turn already.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun runs to its end; its result is dropped.
    pub(crate) async fn run_with<T: Send + 'static>(
        &self,
        permit: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let result = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match result.await {
            Ok(result) => Ok(result),
            Err(error) if error.is_panic() => Err(Panicked),
            // The runtime is shutting down, and so is whoever waits here.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_takes_no_thread_away() {
        let pool = Pool::new();
        for _ in 0..20 {
            let result: Result<(), Panicked> = pool.run(Urgency::Background, || panic!("on purpose")).await;
            assert_eq!(result, Err(Panicked));
        }
        assert_eq!(pool.run(Urgency::Background, || 7).await, Ok(7));
    }
}
