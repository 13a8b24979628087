//! The only place that starts tasks.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

/// Starts the one task of a coordinator. It stops when the guard is dropped: `task` is then dropped where it waits.
#[expect(
    clippy::disallowed_methods,
    reason = "every task of this crate starts here, with an owner and a span"
)]
pub(crate) fn start(span: Span, task: impl Future<Output = ()> + Send + 'static) -> DropGuard {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let until_stopped = async move {
        stopped.run_until_cancelled_owned(task).await;
    };
    tokio::spawn(until_stopped.instrument(span));
    stop.drop_guard()
}
