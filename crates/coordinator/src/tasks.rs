//! The only place that starts tasks.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

/// A task that stops when this is dropped: it is then dropped itself where it waits.
pub(crate) struct Task {
    stop: DropGuard,
    ended: JoinHandle<()>,
}

impl Task {
    /// Stops it, and returns when nothing of it is left.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // A panic has been reported where it happened.
        let _ended = self.ended.await;
    }
}

/// Starts the one task of a coordinator.
#[expect(
    clippy::disallowed_methods,
    reason = "every task of this crate starts here, with an owner and a span"
)]
pub(crate) fn start(span: Span, task: impl Future<Output = ()> + Send + 'static) -> Task {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let until_stopped = async move {
        stopped.run_until_cancelled_owned(task).await;
    };
    let ended = tokio::spawn(until_stopped.instrument(span));
    Task { stop: stop.drop_guard(), ended }
}
