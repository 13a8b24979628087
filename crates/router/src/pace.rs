//! How many editors may come in per second. Whoever comes in a crowd waits for a turn, in the order of coming; where the
//! wait would be too long, somebody is sent away to come back later.
//!
//! Waiting costs one parked request. A crowd that only hears "later" costs a request for each try, and stock clients all
//! try again at the same time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringleaf_types::Limits;

/// What may come in at once after a quiet time: a tenth of a second's worth, so that a crowd is no burst.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket that also gives out turns ahead of time, kept as the time at which the next turn is free.
pub(crate) struct Pace {
    interval: Duration,
    wait_max: Duration,
    next_at: Mutex<Option<Instant>>,
}

/// No turn is free soon enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            interval: Duration::from_secs(1) / limits.connections_per_second_max.max(1),
            wait_max: limits.connection_turn_timeout,
            next_at: Mutex::default(),
        }
    }

    /// Takes the next turn: how long it is until then.
    pub(crate) fn turn(&self, now: Instant) -> Result<Duration, Crowded> {
        let mut next_at = self.next_at.lock().expect("no holder of this lock panics");
        let free_at = next_at.map_or(now, |at| at.max(now));
        let wait = (free_at - now).saturating_sub(BURST);
        if wait > self.wait_max {
            return Err(Crowded);
        }
        *next_at = Some(free_at + self.interval);
        Ok(wait)
    }
}

/// Over how long sockets are closed, so that their editors do not come back faster than one such server takes them.
pub(crate) fn close_spread(limits: &Limits, connections: usize, deadline: Duration) -> Duration {
    let paced = connections as f64 / f64::from(limits.connections_per_second_max.max(1));
    // Limit: half of the time is left for goodbyes.
    Duration::from_secs_f64(paced).max(limits.close_spread).min(deadline / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_per_second_max: 100,
            connection_turn_timeout: Duration::from_secs(2),
            ..Limits::default()
        }
    }

    /// The waits of so many who come at once, and how many were sent away.
    fn crowd(pace: &Pace, count: usize, now: Instant) -> (Vec<Duration>, usize) {
        let turns: Vec<_> = (0..count).map(|_| pace.turn(now)).collect();
        let sent_away = turns.iter().filter(|turn| turn.is_err()).count();
        (turns.into_iter().flatten().collect(), sent_away)
    }

    #[test]
    fn a_crowd_comes_in_one_after_the_other_and_the_rest_is_sent_away() {
        let (pace, now) = (Pace::new(&limits()), Instant::now());
        let (waits, sent_away) = crowd(&pace, 500, now);
        assert!(waits[..10].iter().all(Duration::is_zero), "a burst comes in at once: {:?}", &waits[..11]);
        assert!(waits.is_sorted());
        // A burst, and two seconds' worth that wait.
        assert_eq!((waits.len(), sent_away), (211, 289));
        assert_eq!(*waits.last().unwrap(), Duration::from_secs(2));
    }

    #[test]
    fn those_who_were_sent_away_took_no_turn_from_anybody() {
        let (pace, mut now) = (Pace::new(&limits()), Instant::now());
        let mut outside = 2_000;
        // All come back every 2.5 s, as stock clients do.
        for _ in 0..8 {
            outside = crowd(&pace, outside, now).1;
            now += Duration::from_millis(2_500);
        }
        assert_eq!(outside, 2_000 - 8 * 211, "2,000 are in after 25 s at 100 a second");
    }

    #[test]
    fn whoever_comes_alone_waits_for_nothing() {
        let (pace, start) = (Pace::new(&limits()), Instant::now());
        for number in 0..1_000 {
            assert_eq!(pace.turn(start + Duration::from_millis(10) * number), Ok(Duration::ZERO));
        }
    }

    #[test]
    fn many_sockets_are_closed_as_slowly_as_they_may_come_back() {
        let spread = |connections| close_spread(&limits(), connections, Duration::from_secs(20));
        assert_eq!(spread(10), Duration::from_secs(2));
        assert_eq!(spread(500), Duration::from_secs(5));
        assert_eq!(spread(100_000), Duration::from_secs(10));
    }
}
