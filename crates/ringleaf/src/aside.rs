//! When a node leaves its documents to others because it alone cannot reach the store, and when it takes them back. Pure.
//!
//! ```text
//! well ──fails for a while──▶ doubtful ──others reach it, this one still does not──▶ aside
//!   ▲ ◀────────answers─────────┘                                                      │
//!   └────────────────────────────── answers, and again ◀──────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// A store that restarts is back by then, or nobody has it.
const FAILING_MAX: Duration = Duration::from_secs(3);
/// A process that was stopped (SIGSTOP, a paused machine) finds its first look late and unanswered, which says nothing of the store: time alone
/// is no proof, it must have asked so often.
const FAILURES_MIN: u32 = 3;
/// So many good answers in a row before documents come back: each time costs their editors a pause.
const ANSWERS_MIN: u32 = 4;

/// What follows from a look at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    Stay,
    /// Leave the ring, if others reach the store.
    AskOthers,
    /// Go back onto the ring.
    ComeBack,
}

#[derive(Debug, Default)]
pub(crate) struct Aside {
    aside: bool,
    failing_since: Option<Instant>,
    /// Looks in a row without an answer.
    failures: u32,
    answers: u32,
}

impl Aside {
    /// The store was asked at that moment, and has answered or not.
    pub(crate) fn looked(&mut self, answers: bool, asked_at: Instant, now: Instant) -> Advice {
        if answers {
            self.failing_since = None;
            self.failures = 0;
            self.answers = self.answers.saturating_add(1);
            return if self.aside && self.answers >= ANSWERS_MIN { Advice::ComeBack } else { Advice::Stay };
        }
        self.answers = 0;
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(asked_at);
        let certain = self.failures >= FAILURES_MIN && since + FAILING_MAX <= now;
        if certain && !self.aside { Advice::AskOthers } else { Advice::Stay }
    }

    /// The node has left the ring, or is on it again.
    pub(crate) fn set(&mut self, aside: bool) {
        self.aside = aside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look a second; what follows from each.
    fn follow(aside: &mut Aside, answers: &[bool]) -> Vec<Advice> {
        let start = Instant::now();
        let second = |number: usize| start + Duration::from_secs(number as u64);
        let looks = answers.iter().enumerate();
        looks.map(|(number, answers)| aside.looked(*answers, second(number), second(number))).collect()
    }

    #[test]
    fn a_short_outage_changes_nothing() {
        let advice = follow(&mut Aside::default(), &[true, false, false, false, true, false, true]);
        assert_eq!(advice, [Advice::Stay; 7]);
    }

    #[test]
    fn others_are_asked_after_three_seconds_and_again_for_as_long_as_it_lasts() {
        let advice = follow(&mut Aside::default(), &[false; 6]);
        assert_eq!(advice[..3], [Advice::Stay; 3]);
        assert_eq!(advice[3..], [Advice::AskOthers; 3]);
    }

    #[test]
    fn a_look_that_half_a_minute_was_slept_through_is_no_proof() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        let awake = start + Duration::from_secs(30);
        assert_eq!(aside.looked(false, start, awake), Advice::Stay);
        assert_eq!(aside.looked(false, awake, awake + Duration::from_secs(1)), Advice::Stay);
        assert_eq!(aside.looked(true, awake, awake + Duration::from_secs(2)), Advice::Stay);
        assert_eq!(aside.looked(false, awake, awake + Duration::from_secs(3)), Advice::Stay);
    }

    #[test]
    fn it_comes_back_when_the_store_has_answered_several_times() {
        let mut aside = Aside::default();
        aside.set(true);
        let advice = follow(&mut aside, &[false, true, true, false, true, true, true, true]);
        assert_eq!(advice[..7], [Advice::Stay; 7]);
        assert_eq!(advice[7], Advice::ComeBack);
    }
}
