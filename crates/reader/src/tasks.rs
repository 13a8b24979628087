//! The only place that starts tasks.

use std::future::Future;
use std::sync::Mutex;

use tokio::task::JoinSet;
use tracing::{Instrument, Span};

/// The tasks of one reader. When it is dropped they end.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<JoinSet<()>>,
}

impl Tasks {
    pub(crate) fn start(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        self.running.lock().expect("no holder of this lock panics").spawn(task.instrument(span));
    }

    /// Waits until all have ended by themselves.
    ///
    /// # Cancel safety
    ///
    /// What was waited for when the future is dropped is ended.
    pub(crate) async fn finished(&self) {
        let mut running = std::mem::take(&mut *self.running.lock().expect("no holder of this lock panics"));
        while running.join_next().await.is_some() {}
    }
}
