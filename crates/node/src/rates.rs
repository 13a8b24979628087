//! How much a document moves, lately.
//!
//! Each event counts one when it happens and less and less afterwards: after [`MEMORY`] a third, after five times that
//! hardly anything. So a rate is one number that needs no tick: whoever reads it works out how far it has faded by then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringleaf_document::Admitted;

/// A rate is about so much of the past.
const MEMORY: Duration = Duration::from_secs(10);
/// How often the numbers are faded while events come. What comes in between counts as if it had come at its beginning,
/// which makes rates smaller by at most so much of `MEMORY`: 2 %.
const FADE_INTERVAL: Duration = Duration::from_millis(200);
/// A document that was loaded less than this ago is read as if it were that old: one update is not 1,000 a second.
const AGE_MIN: Duration = Duration::from_secs(1);

/// What a document moves in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PerSecond {
    /// Messages of editors that brought something new.
    pub updates: f64,
    /// What was new in them, in bytes.
    pub bytes: f64,
    /// Updates to editors: each counts as often as there are sessions.
    pub deliveries: f64,
}

impl PerSecond {
    /// To the hundredth, for people and for programs.
    #[must_use]
    pub fn rounded(self) -> Self {
        let round = |rate: f64| (rate * 100.0).round() / 100.0;
        Self { updates: round(self.updates), bytes: round(self.bytes), deliveries: round(self.deliveries) }
    }
}

impl std::iter::Sum for PerSecond {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |sum, rate| Self {
            updates: sum.updates + rate.updates,
            bytes: sum.bytes + rate.bytes,
            deliveries: sum.deliveries + rate.deliveries,
        })
    }
}

/// What a document moved in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    pub(crate) admitted: Admitted,
    pub(crate) deliveries: u32,
}

/// The rates of one document. Its task writes, anybody reads: a reader may see half of a turn, which nobody minds.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// The numbers are faded up to here, in milliseconds.
    faded_at: AtomicU64,
    /// The bits of an `f64` each.
    updates: AtomicU64,
    bytes: AtomicU64,
    deliveries: AtomicU64,
}

impl Rates {
    /// Adds what was moved at `age`, the time since the document was made resident. Only one task calls this.
    pub(crate) fn add(&self, traffic: Traffic, age: Duration) {
        let faded_at = Duration::from_millis(self.faded_at.load(Ordering::Relaxed));
        let since = age.saturating_sub(faded_at);
        let left = if since >= FADE_INTERVAL { left_after(since) } else { 1.0 };
        let add = |sum: &AtomicU64, more: u32| {
            let faded = f64::from_bits(sum.load(Ordering::Relaxed)) * left;
            sum.store((faded + f64::from(more)).to_bits(), Ordering::Relaxed);
        };
        add(&self.updates, traffic.admitted.updates);
        add(&self.bytes, traffic.admitted.bytes);
        add(&self.deliveries, traffic.deliveries);
        // Order: after the numbers. Who reads in between reads too little, not what was an hour ago.
        if since >= FADE_INTERVAL {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            self.faded_at.store(age, Ordering::Relaxed);
        }
    }

    /// The rates at `age`, the time since the document was made resident.
    pub(crate) fn read(&self, age: Duration) -> PerSecond {
        let faded_at = Duration::from_millis(self.faded_at.load(Ordering::Relaxed));
        let left = left_after(age.saturating_sub(faded_at));
        // What a steady stream of one event a second would have come to by now.
        let one = MEMORY.as_secs_f64() * (1.0 - left_after(age.max(AGE_MIN)));
        let rate = |sum: &AtomicU64| f64::from_bits(sum.load(Ordering::Relaxed)) * left / one;
        PerSecond {
            updates: rate(&self.updates),
            bytes: rate(&self.bytes),
            deliveries: rate(&self.deliveries),
        }
    }
}

/// What is left of an event after that time.
fn left_after(time: Duration) -> f64 {
    (-time.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(updates: u32, bytes: u32, deliveries: u32) -> Traffic {
        Traffic { admitted: Admitted { updates, bytes }, deliveries }
    }

    /// Writes so often a second from the one to the other, in seconds.
    fn write(rates: &Rates, per_second: u64, from: u64, to: u64) {
        for number in from * per_second..to * per_second {
            rates.add(traffic(1, 20, 3), Duration::from_millis(number * 1_000 / per_second));
        }
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.05
    }

    #[test]
    fn a_steady_stream_is_read_as_it_is_soon_after_the_load_and_for_ever() {
        for (per_second, seconds) in [(1, 60), (50, 2), (50, 10), (50, 3_600), (2_000, 30)] {
            let rates = Rates::default();
            write(&rates, per_second, 0, seconds);
            let found = rates.read(Duration::from_secs(seconds));
            let expected = per_second as f64;
            assert!(close(found.updates, expected), "{per_second}/s for {seconds} s: {found:?}");
            assert!(
                close(found.bytes, 20.0 * expected) && close(found.deliveries, 3.0 * expected),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_rate_fades_without_anybody_doing_anything() {
        let rates = Rates::default();
        write(&rates, 100, 0, 100);
        let read = |seconds| rates.read(Duration::from_secs(seconds)).updates;
        assert!(close(read(110), 100.0 / std::f64::consts::E));
        assert!(read(160) < 1.0);
        assert!(read(100_000) == 0.0);
        assert!(close(read(110), 100.0 / std::f64::consts::E), "reading changes nothing");
    }

    #[test]
    fn what_was_long_ago_does_not_come_back_with_a_new_update() {
        let rates = Rates::default();
        write(&rates, 1_000, 0, 60);
        rates.add(traffic(1, 1, 0), Duration::from_secs(3_600));
        assert!(rates.read(Duration::from_secs(3_600)).updates < 0.11);
    }

    #[test]
    fn one_update_to_a_document_just_loaded_is_not_many() {
        let rates = Rates::default();
        rates.add(traffic(1, 1, 0), Duration::from_millis(1));
        let found = rates.read(Duration::from_millis(2)).updates;
        assert!((0.9..1.2).contains(&found), "{found}");
    }

    #[test]
    fn a_busier_document_has_the_greater_rate_whatever_came_first() {
        let (fast, slow) = (Rates::default(), Rates::default());
        write(&slow, 5, 0, 30);
        write(&fast, 50, 20, 30);
        let at = Duration::from_secs(30);
        assert!(fast.read(at).updates > slow.read(at).updates);
    }

    #[test]
    fn rates_cost_a_document_no_more_than_32_bytes() {
        assert_eq!((size_of::<Rates>(), size_of::<Admitted>()), (32, 8));
    }
}
