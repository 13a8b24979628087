//! The only place that starts tasks. They end when their owner is dropped.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tracing::{Instrument, Span, error};

/// The tasks of one owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    pub(crate) fn start(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().expect("no holder of this lock panics");
        while let Some(ended) = running.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                error!("a task panicked");
            }
        }
        running.spawn(task.instrument(span));
    }

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
}
