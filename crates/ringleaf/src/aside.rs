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
    /// The store was asked at that moment, and has answered or not. `stuck`: it does not take what documents append. Then an
    /// answer is no good one, for some connections may answer and others not. Nor is it a bad one: what is locked for this
    /// node is locked for all.
    pub(crate) fn looked(&mut self, answers: bool, stuck: bool, asked_at: Instant, now: Instant) -> Advice {
        if answers && stuck {
            self.answers = 0;
            return Advice::Stay;
        }
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
        looks.map(|(number, answers)| aside.looked(*answers, false, second(number), second(number))).collect()
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
        assert_eq!(aside.looked(false, false, start, awake), Advice::Stay);
        assert_eq!(aside.looked(false, false, awake, awake + Duration::from_secs(1)), Advice::Stay);
        assert_eq!(aside.looked(true, false, awake, awake + Duration::from_secs(2)), Advice::Stay);
        assert_eq!(aside.looked(false, false, awake, awake + Duration::from_secs(3)), Advice::Stay);
    }

    #[test]
    fn an_answer_while_appends_are_stuck_is_neither_good_nor_bad() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        let mut second = 0;
        let mut look = |aside: &mut Aside, answers| {
            second += 1;
            let at = start + Duration::from_secs(second);
            aside.looked(answers, true, at, at)
        };
        for answers in [true, true, true, true, true, true, false, true, false, true] {
            assert_eq!(look(&mut aside, answers), Advice::Stay);
        }
        assert_eq!(look(&mut aside, false), Advice::AskOthers);
        aside.set(true);
        for _ in 0..2 * ANSWERS_MIN {
            assert_eq!(look(&mut aside, true), Advice::Stay, "it would not come back for good");
        }
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
