//! Places for documents on their way to this node: a bound that may change while they are taken.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// So many are taken. How many there are is said by whoever takes one.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    freed: Notify,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Places);

impl Places {
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits for one of `max`, which is asked for anew whenever one is free. A greater number is noticed by those who
    /// come after it, and by those who wait when the next place is free.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future, except the turn.
    pub(crate) async fn take(&self, max: impl Fn() -> usize) -> Place<'_> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Order: before the look, so that a place that is freed in between is not missed.
            freed.as_mut().enable();
            let room = |taken| (taken < max()).then_some(taken + 1);
            if self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok() {
                return Place(self);
            }
            freed.await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        // All of them look: whoever was woken alone may just have stopped waiting.
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn there_are_never_more_than_are_allowed_now() {
        let places = Places::default();
        let first = places.take(|| 2).now_or_never().unwrap();
        let second = places.take(|| 2).now_or_never().unwrap();
        assert!(places.take(|| 2).now_or_never().is_none());
        let third = places.take(|| 3).now_or_never().expect("one more by now");
        drop(first);
        assert!(places.take(|| 2).now_or_never().is_none(), "two are taken still");
        drop((second, third));
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn a_place_that_is_freed_goes_to_who_waits() {
        let places = Places::default();
        let held = places.take(|| 1).await;
        let mut waits = std::pin::pin!(places.take(|| 1));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waits.now_or_never().is_some());
    }
}
