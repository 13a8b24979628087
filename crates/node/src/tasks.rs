//! The only place that starts tasks.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tracing::{Instrument, Span, error};

/// All tasks of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    /// Starts a task whose panic concerns nobody else.
    pub(crate) fn start(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().expect("no holder of this lock panics");
        while let Some(ended) = running.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                error!("a task panicked");
            }
        }
        running.spawn(task.instrument(span));
    }

    /// Starts a task without which the node is worth nothing: if it panics, the process ends. What was acknowledged is
    /// in the store, and half a node is worse than none.
    pub(crate) fn start_vital(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        self.start(span, async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!("a task that the whole node needs has panicked, the process ends");
                std::process::abort();
            }
        });
    }

    /// Ends what still runs.
    pub(crate) fn abort(&self) {
        self.running.lock().expect("no holder of this lock panics").abort_all();
    }

    /// Waits until everything that was started has ended by itself.
    ///
    /// # Cancel safety
    ///
    /// What was waited for when the future is dropped is ended.
    pub(crate) async fn finished(&self) {
        let mut running = std::mem::take(&mut *self.running.lock().expect("no holder of this lock panics"));
        while running.join_next().await.is_some() {}
    }

    /// Ends what still runs and waits until it is gone. Says how many tasks there were to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the tasks without waiting for them.
    pub(crate) async fn end(&self) -> usize {
        let mut running = std::mem::take(&mut *self.running.lock().expect("no holder of this lock panics"));
        running.abort_all();
        let mut cut = 0;
        while let Some(ended) = running.join_next().await {
            cut += usize::from(ended.is_err_and(|error| error.is_cancelled()));
        }
        cut
    }
}
