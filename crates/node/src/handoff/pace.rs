//! When the next document leaves: one after the other, as fast as those that stay do not feel it. Pure.
//!
//! A handoff costs both nodes and the store far more than an edit does. As many as may be on their way at once are not
//! what hurts, but that they come without pause: so they begin evenly spread, and how closely follows how long this
//! node's acknowledgements take.

use std::time::{Duration, Instant};

/// Documents a second, at first and again after a rest.
const FIRST: f64 = 20.0;
/// So many more a second after a look that found acknowledgements as quick as in calm times.
const MORE: f64 = 10.0;
/// Limit: however slow acknowledgements are, so many leave a second. A node that is overloaded is to get rid of them.
const MIN: f64 = 5.0;
/// Acknowledgements that take so many times as long as in calm times halve the pace.
const SLOW: f64 = 1.4;
/// Differences below this are noise.
const NOISE: f64 = 0.000_5;
/// How often acknowledgements are looked at while documents move, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Fewer say nothing; the look lasts longer then, up to [`LOOK_MAX`].
const SAMPLES_MIN: u64 = 10;
const LOOK_MAX: Duration = Duration::from_secs(1);
/// What a look weighs in what is taken for calm: at rest, and while documents move. Something else than the moves may have
/// made the store slower for good.
const WEIGHT_CALM: f64 = 0.25;
const WEIGHT_MOVING: f64 = 0.02;

/// Acknowledgements since the node started: how many, and how long they took together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Acknowledged {
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

/// The pace of one node.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    next_at: Option<Instant>,
    /// What an acknowledgement takes in calm times, in seconds.
    calm: Option<f64>,
    looked_at: Option<(Instant, Acknowledged)>,
    /// A document has been on its way since.
    moved: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: FIRST, next_at: None, calm: None, looked_at: None, moved: false }
    }
}

impl Pace {
    /// Takes in how acknowledgements fare. To be called often; it looks now and then. `moving`: documents are on their way.
    pub(super) fn look(&mut self, acknowledged: Acknowledged, moving: bool, now: Instant) {
        self.moved |= moving;
        let Some((looked_at, before)) = self.looked_at else {
            self.looked_at = Some((now, acknowledged));
            return;
        };
        let (age, count) = (now.saturating_duration_since(looked_at), acknowledged.count - before.count);
        if age < LOOK_INTERVAL || (count < SAMPLES_MIN && age < LOOK_MAX) {
            return;
        }
        self.looked_at = Some((now, acknowledged));
        let moved = std::mem::replace(&mut self.moved, moving);
        let took = (acknowledged.time - before.time).as_secs_f64() / count.max(1) as f64;
        let slow = count >= SAMPLES_MIN && self.calm.is_some_and(|calm| took > calm * SLOW + NOISE);
        if count >= SAMPLES_MIN {
            let weight = if moved { WEIGHT_MOVING } else { WEIGHT_CALM };
            self.calm = Some(self.calm.map_or(took, |calm| calm + (took - calm) * weight));
        }
        self.per_second = match (moved, slow) {
            (false, _) => FIRST,
            (true, true) => (self.per_second / 2.0).max(MIN),
            (true, false) => self.per_second + MORE,
        };
    }

    /// When the next one may leave. `None`: now.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.next_at.filter(|at| *at > now)
    }

    /// One leaves. `max`: as many a second as operators allow.
    pub(super) fn began(&mut self, max: u32, now: Instant) {
        self.per_second = self.per_second.min(f64::from(max));
        self.next_at = Some(now + Duration::from_secs_f64(1.0 / self.per_second));
        self.moved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 100;

    struct Case {
        pace: Pace,
        now: Instant,
        acknowledged: Acknowledged,
    }

    impl Case {
        /// A node whose acknowledgements have taken 4 ms for a while.
        fn calm() -> Self {
            let (pace, acknowledged) = (Pace::default(), Acknowledged::default());
            let mut case = Self { pace, now: Instant::now(), acknowledged };
            case.seconds(4, 4, false);
            case
        }

        /// Time goes by, with 100 acknowledgements a second, and as many documents leave as may. Answers how many.
        fn seconds(&mut self, seconds: u32, millis: u64, moving: bool) -> u32 {
            let mut left = 0;
            for _ in 0..seconds * 100 {
                self.now += Duration::from_millis(10);
                self.acknowledged.count += 1;
                self.acknowledged.time += Duration::from_millis(millis);
                self.pace.look(self.acknowledged, moving, self.now);
                if moving && self.pace.next_at(self.now).is_none() {
                    self.pace.began(MAX, self.now);
                    left += 1;
                }
            }
            left
        }
    }

    #[test]
    fn documents_leave_one_by_one_and_faster_while_nobody_feels_it() {
        let mut case = Case::calm();
        let first = case.seconds(1, 4, true);
        assert!((15..=45).contains(&first), "{first}");
        case.seconds(3, 4, true);
        let most = case.seconds(1, 4, true);
        assert!((90..=MAX).contains(&most), "{most}");
    }

    #[test]
    fn slow_acknowledgements_halve_the_pace_down_to_a_bound() {
        let mut case = Case::calm();
        case.seconds(4, 4, true);
        let slower = case.seconds(1, 9, true);
        assert!((15..60).contains(&slower), "{slower}");
        let slowest = case.seconds(2, 9, true);
        assert!((8..=14).contains(&slowest), "{slowest} in two seconds");
        case.seconds(1, 4, true);
        assert!(case.seconds(1, 4, true) > 30, "and it recovers");
    }

    #[test]
    fn what_lasts_is_calm_after_a_while() {
        let mut case = Case::calm();
        case.seconds(30, 8, true);
        assert!(case.seconds(1, 8, true) > 50);
    }

    #[test]
    fn a_node_without_edits_holds_nobody_up_and_a_rest_begins_anew() {
        let mut case = Case::calm();
        for _ in 0..10 {
            case.now += LOOK_MAX;
            case.pace.look(case.acknowledged, true, case.now);
        }
        case.pace.began(MAX, case.now);
        assert_eq!(case.pace.per_second, f64::from(MAX));
        case.seconds(2, 4, false);
        assert_eq!(case.pace.per_second, FIRST);
    }
}
