//! How long something took lately, by parts of all.
//!
//! Two windows of [`WINDOW`]: one fills, the one before is complete. Whoever reads, reads both. Times are counted in
//! bins of which each is at most a quarter wider than the one before, so a figure is off by no more than that.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::handoff::Acknowledged;

const WINDOW: Duration = Duration::from_secs(10);
/// Four for each doubling, from 4 µs to more than an hour.
const BINS: usize = 128;

/// Half, and all but a hundredth, took no longer than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

/// Counts times. The lock is held for a few instructions.
pub(crate) struct Latencies {
    windows: Mutex<Windows>,
}

impl Latencies {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            windows: Mutex::new(Windows {
                begun_at: now,
                now: [0; BINS],
                before: [0; BINS],
                all: Acknowledged::default(),
            }),
        }
    }

    pub(crate) fn record(&self, took: Duration, now: Instant) {
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        windows.turn(now);
        let count = &mut windows.now[bin(took)];
        *count = count.saturating_add(1);
        windows.all.count += 1;
        windows.all.time += took;
    }

    /// All that has been recorded.
    pub(crate) fn all(&self) -> Acknowledged {
        self.windows.lock().expect("no holder of this lock panics").all
    }

    /// None: nothing happened lately.
    pub(crate) fn read(&self, now: Instant) -> Option<Latency> {
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        windows.turn(now);
        let mut counts = windows.now.map(u64::from);
        counts.iter_mut().zip(windows.before).for_each(|(count, before)| *count += u64::from(before));
        drop(windows);
        Some(Latency { p50: within(&counts, 50)?, p99: within(&counts, 99)? })
    }
}

struct Windows {
    begun_at: Instant,
    now: [u32; BINS],
    before: [u32; BINS],
    all: Acknowledged,
}

impl Windows {
    /// Begins the next window if it is time.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.begun_at);
        if age < WINDOW {
            return;
        }
        let filled = std::mem::replace(&mut self.now, [0; BINS]);
        self.before = if age < 2 * WINDOW { filled } else { [0; BINS] };
        self.begun_at = now;
    }
}

fn bin(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
    let doublings = micros.ilog2();
    // The two bits after the first one.
    let quarter = (micros >> (doublings - 2)) & 3;
    let bin = 4 * (doublings as usize - 2) + quarter as usize;
    bin.min(BINS - 1)
}

/// The longest time that falls into a bin.
fn end_of(bin: usize) -> Duration {
    let (doublings, quarter) = (bin / 4, (bin % 4) as u64);
    Duration::from_micros((5 + quarter) << doublings)
}

/// So many percent took no longer than this.
fn within(counts: &[u64; BINS], percent: u64) -> Option<Duration> {
    let all: u64 = counts.iter().sum();
    let wanted = (all * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let bin = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    })?;
    Some(end_of(bin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_in_order_and_hold_what_belongs_to_them() {
        for micros in (0..5_000).chain([1_000_000, 3_600_000_000]) {
            let took = Duration::from_micros(micros);
            let bin = bin(took);
            assert!(took < end_of(bin), "{micros} µs in bin {bin}");
            assert!(bin == 0 || end_of(bin - 1) <= took, "{micros} µs in bin {bin}");
        }
        assert_eq!(bin(Duration::MAX), BINS - 1);
    }

    #[test]
    fn half_and_nearly_all_are_told_apart_within_a_quarter() {
        let begun = Instant::now();
        let latencies = Latencies::new(begun);
        assert_eq!(latencies.read(begun), None);
        for number in 0..100 {
            let took = if number < 97 { 2_000 } else { 400_000 };
            latencies.record(Duration::from_micros(took), begun);
        }
        let found = latencies.read(begun).unwrap();
        assert!((2_000..=2_500).contains(&found.p50.as_micros()), "{found:?}");
        assert!((400_000..=500_000).contains(&found.p99.as_micros()), "{found:?}");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let begun = Instant::now();
        let latencies = Latencies::new(begun);
        latencies.record(Duration::from_secs(1), begun);
        latencies.record(Duration::from_millis(1), begun + WINDOW);
        let at = |seconds| latencies.read(begun + Duration::from_secs(seconds));
        assert!(at(19).unwrap().p99 > Duration::from_secs(1), "the window before counts");
        assert!(at(21).unwrap().p99 < Duration::from_millis(2));
        assert_eq!(at(100), None);
    }
}
