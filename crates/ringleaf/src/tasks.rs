//! The process's own tasks: the admin port, and what keeps the metrics small.

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, error, info_span};

use crate::admin::Metrics;
use crate::exit::{Exit, Failure};

const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Owns them; when it is dropped they stop.
#[derive(Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// The one place that starts a task.
    #[expect(
        clippy::disallowed_methods,
        reason = "every task of this crate starts here, with an owner and a span"
    )]
    fn spawn(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.tracker.track_future(task).instrument(span));
    }

    pub(crate) fn serve_admin(&self, listener: TcpListener, router: Router) -> Result<(), Failure> {
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| Failure::new(Exit::Failed, "cannot_listen", format!("admin port: {error}")))?;
        let stop = self.stop.clone();
        self.spawn(info_span!("admin"), async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = serving.await {
                error!(%error, "the admin port stopped");
            }
        });
        Ok(())
    }

    pub(crate) fn tidy_metrics(&self, metrics: Metrics) {
        let stop = self.stop.clone();
        self.spawn(info_span!("metrics"), async move {
            let mut ticks = tokio::time::interval(TIDY_INTERVAL);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                metrics.tidy();
            }
        });
    }

    /// Runs beside the rest, until it ends by itself or the process stops.
    pub(crate) fn beside(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.spawn(span, async move {
            let _stopped = stop.run_until_cancelled(task).await;
        });
    }

    /// Waits until all have ended, but not longer than this.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the tasks still stop; nobody waits for them.
    pub(crate) async fn stop(&self, timeout: Duration) {
        self.stop.cancel();
        self.tracker.close();
        let _cut_off = tokio::time::timeout(timeout, self.tracker.wait()).await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
