//! When a ring that has changed may be acted upon. Pure.

use std::time::{Duration, Instant};

/// Limit: a ring that goes on changing is waited for so many times as long as one that has come to rest.
const TIMES_MAX: u32 = 5;

/// Changes that nothing has been done about yet.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    first_and_last: Option<(Instant, Instant)>,
}

impl Debounce {
    /// The ring has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.first_and_last.map_or(now, |(first, _)| first);
        self.first_and_last = Some((first, now));
    }

    /// From when on documents may move. `None`: at any time.
    pub(super) fn until(&self, rest: Duration) -> Option<Instant> {
        self.first_and_last.map(|(first, last)| (last + rest).min(first + rest * TIMES_MAX))
    }

    /// Whether documents may move now. Once they may, only another change keeps them.
    pub(super) fn is_over(&mut self, rest: Duration, now: Instant) -> bool {
        let over = self.until(rest).is_none_or(|until| until <= now);
        if over {
            self.first_and_last = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_millis(500);

    #[test]
    fn a_ring_must_have_come_to_rest() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        assert!(debounce.is_over(REST, start), "nothing has changed");
        debounce.changed(start);
        debounce.changed(start + REST / 2);
        assert!(!debounce.is_over(REST, start + REST));
        assert!(debounce.is_over(REST, start + REST * 3 / 2));
        assert_eq!(debounce.until(REST), None);
    }

    #[test]
    fn a_ring_that_never_rests_is_acted_upon_all_the_same() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        for change in 0..=20 {
            debounce.changed(start + REST / 4 * change);
        }
        assert_eq!(debounce.until(REST), Some(start + REST * TIMES_MAX));
    }

    #[test]
    fn without_a_rest_nothing_is_waited_for() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.changed(start);
        assert!(debounce.is_over(Duration::ZERO, start));
    }
}
