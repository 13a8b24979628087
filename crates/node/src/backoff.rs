//! How long to wait before the next try.

use std::time::Duration;

/// Doubles from 10 ms to one second, with jitter, so that many documents do not come back to a store all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// Waits, longer each time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only cuts the waiting short.
    pub(crate) async fn wait(&mut self) {
        let part = rand::random_range(0.5..1.0);
        let wait = self.next.mul_f64(part);
        self.next = (self.next * 2).min(Self::LONGEST);
        tokio::time::sleep(wait).await;
    }
}
