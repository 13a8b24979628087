//! How long acknowledgements took, second by second: counts in buckets, so that an hour takes no more room than a minute's
//! updates would.

use std::time::{Duration, Instant};

/// Each bucket ends a quarter above the one before it: 100 µs to 160 s.
const BUCKETS: usize = 64;
const FIRST: f64 = 1e-4;
const FACTOR: f64 = 1.25;

#[derive(Debug, Clone)]
pub(crate) struct Spans {
    counts: [u32; BUCKETS],
    slowest: Duration,
}

impl Default for Spans {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], slowest: Duration::ZERO }
    }
}

impl Spans {
    fn add(&mut self, span: Duration) {
        let bucket = (span.as_secs_f64() / FIRST).max(1.0).log(FACTOR) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.slowest = self.slowest.max(span);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.slowest
    }

    /// The span below which so many of a hundred stay: at most a quarter too long. `None` when there are none.
    pub(crate) fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut counted = 0;
        let bucket = self.counts.iter().position(|count| {
            counted += u64::from(*count);
            counted >= wanted
        })?;
        let end = Duration::from_secs_f64(FIRST * FACTOR.powi(bucket as i32 + 1));
        Some(end.min(self.slowest))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    begun_at: Instant,
    seconds: Vec<Spans>,
}

impl Timeline {
    pub(crate) fn new(begun_at: Instant) -> Self {
        Self { begun_at, seconds: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: Instant, span: Duration) {
        let second = (at - self.begun_at).as_secs() as usize;
        if second >= self.seconds.len() {
            self.seconds.resize_with(second + 1, Spans::default);
        }
        self.seconds[second].add(span);
    }

    pub(crate) fn begun_at(&self) -> Instant {
        self.begun_at
    }

    /// One for each second since it was begun.
    pub(crate) fn seconds(&self) -> &[Spans] {
        &self.seconds
    }

    pub(crate) fn all(&self) -> Spans {
        let mut all = Spans::default();
        self.seconds.iter().for_each(|second| all.merge(second));
        all
    }

    pub(crate) fn count(&self) -> u64 {
        self.seconds.iter().map(Spans::count).sum()
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.seconds.iter().map(Spans::slowest).max().unwrap_or_default()
    }
}

#[test]
fn a_percentile_is_at_most_a_quarter_too_long() {
    let mut timeline = Timeline::new(Instant::now());
    for millis in 1..=1_000 {
        timeline.add(timeline.begun_at() + Duration::from_millis(millis * 3), Duration::from_millis(millis));
    }
    assert_eq!((timeline.count(), timeline.seconds().len()), (1_000, 4));
    for percent in [1, 50, 99] {
        let exact = Duration::from_millis(10 * percent);
        let found = timeline.all().percentile(percent).unwrap();
        assert!(found >= exact && found <= exact.mul_f64(1.26), "{percent} %: {found:?}");
    }
    assert_eq!(timeline.slowest(), Duration::from_secs(1));
    assert_eq!(Spans::default().percentile(50), None);
}
