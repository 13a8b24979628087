//! Every task of this crate starts here, so that each has a name, a span and an owner who can wait for it.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

/// The tasks of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// No more connections are taken; those that are here end in their own time.
    pub(crate) stop: CancellationToken,
    /// Everything ends now.
    pub(crate) cut: CancellationToken,
}

impl Tasks {
    /// Starts a task that ends by itself when it is told so.
    pub(crate) fn spawn(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "this is the module that the ban points to")]
        tokio::spawn(self.tracker.track_future(task.instrument(span)));
    }

    /// Starts a task that is dropped wherever it is when the server is cut off.
    pub(crate) fn spawn_until_cut(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.spawn(span, async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits until every task has ended. Only after [`Tasks::stop`] does that come to pass.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
