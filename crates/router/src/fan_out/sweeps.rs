//! When one looks at the clock for every socket, and when one should have.

use std::time::{Duration, Instant};

/// Looks at regular times, as long as the process runs.
#[derive(Debug)]
pub(super) struct Sweeps {
    pub(super) interval: Duration,
    last: Instant,
}

impl Sweeps {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, last: now }
    }

    /// It is looked now. Returns how long it was not looked when it should have been: the process was stopped, or its machine
    /// suspended, and of that time nothing is known of anybody.
    pub(super) fn slept(&mut self, now: Instant) -> Duration {
        let late = now.saturating_duration_since(self.last + self.interval);
        self.last = now;
        // A machine that is busy is a little late all the time: peers that are gone must be found all the same.
        if late >= self.interval { late } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_look_that_was_left_out_is_sleep() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut sweeps = Sweeps::new(Duration::from_secs(5), start);
        assert_eq!(sweeps.slept(at(5)), Duration::ZERO);
        assert_eq!(sweeps.slept(at(14)), Duration::ZERO, "late, and no later than the next");
        assert_eq!(sweeps.slept(at(79)), Duration::from_secs(60));
        assert_eq!(sweeps.slept(at(84)), Duration::ZERO);
    }
}
