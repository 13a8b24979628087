//! When the next commit may start.

use std::time::{Duration, Instant};

/// Commits start at most once in so many times what one costs.
const DUTY: u32 = 8;

/// Lets many updates share one commit when commits come thick, be they of many documents or of one, and makes nobody wait
/// when they don't.
///
/// The next commit starts no sooner than `min(gap_max, 8 × the cost of a commit)` after the *start* of the last one, and
/// only while company comes: as soon as a commit held a single update, the next one starts at once. On a slow disk the
/// commit itself takes longer than that, so there is no gap at all: what waits gathers while it runs.
pub(crate) struct Pace {
    gap_max: Duration,
    cost: Duration,
    last_started_at: Option<Instant>,
    company: bool,
}

impl Pace {
    pub(crate) fn new(gap_max: Duration) -> Self {
        Self { gap_max, cost: Duration::ZERO, last_started_at: None, company: false }
    }

    /// How long a change that is here now should wait for others.
    pub(crate) fn gap(&self, now: Instant) -> Duration {
        let Some(last) = self.last_started_at.filter(|_| self.company) else { return Duration::ZERO };
        let start_at = last + self.gap_max.min(self.cost * DUTY);
        start_at.saturating_duration_since(now)
    }

    /// A commit that held so many updates has ended.
    pub(crate) fn committed(&mut self, started_at: Instant, ended_at: Instant, held: usize) {
        let cost = ended_at.saturating_duration_since(started_at);
        self.cost = if self.cost.is_zero() { cost } else { (self.cost * 7 + cost) / 8 };
        self.last_started_at = Some(started_at);
        self.company = held > 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP_MAX: Duration = Duration::from_millis(4);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn the_first_change_never_waits() {
        assert_eq!(Pace::new(GAP_MAX).gap(Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_lonely_writer_never_waits() {
        let mut pace = Pace::new(GAP_MAX);
        let mut now = Instant::now();
        for _ in 0..20 {
            pace.committed(now, now + micros(300), 1);
            now += micros(300);
            assert_eq!(pace.gap(now), Duration::ZERO);
        }
    }

    #[test]
    fn in_company_the_gap_is_a_multiple_of_the_cost_counted_from_the_last_start() {
        let mut pace = Pace::new(GAP_MAX);
        let start = Instant::now();
        pace.committed(start, start + micros(200), 5);
        assert_eq!(pace.gap(start + micros(200)), micros(1400));
        assert_eq!(pace.gap(start + micros(1600)), Duration::ZERO);
        assert_eq!(pace.gap(start + micros(9000)), Duration::ZERO);
    }

    #[test]
    fn the_gap_has_an_upper_bound() {
        let mut pace = Pace::new(GAP_MAX);
        let start = Instant::now();
        pace.committed(start, start + micros(2_000), 500);
        assert_eq!(pace.gap(start + micros(2_000)), micros(2_000));
    }

    #[test]
    fn on_a_slow_disk_there_is_no_gap() {
        let mut pace = Pace::new(GAP_MAX);
        let start = Instant::now();
        pace.committed(start, start + micros(5_000), 500);
        assert_eq!(pace.gap(start + micros(5_000)), Duration::ZERO);
    }

    #[test]
    fn a_gap_that_brought_nobody_is_the_last_one() {
        let mut pace = Pace::new(GAP_MAX);
        let start = Instant::now();
        pace.committed(start, start + micros(200), 5);
        assert!(!pace.gap(start + micros(200)).is_zero());
        pace.committed(start + micros(1600), start + micros(1800), 1);
        assert!(pace.gap(start + micros(1800)).is_zero());
    }

    #[test]
    fn without_a_gap_in_the_options_nobody_waits() {
        let mut pace = Pace::new(Duration::ZERO);
        let start = Instant::now();
        pace.committed(start, start + micros(200), 50);
        assert!(pace.gap(start + micros(200)).is_zero());
    }
}
