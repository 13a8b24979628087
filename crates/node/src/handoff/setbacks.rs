//! What failed handoffs mean for those that would be next. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringleaf_types::{DocumentId, NodeId};

/// How long a target rests after its first failure in a row, and after its second. The third is one too many.
const RESTS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// A node that leaves has less time.
const RESTS_WHEN_LEAVING: usize = 1;

/// Limit: a target that has taken nothing for so long, because its ring is older than the offer's, will not hear of the newer one
/// in time. Its documents are served on meanwhile: there is no hurry, unless this node leaves.
const BEHIND_MAX: Duration = Duration::from_secs(30);
const BEHIND_MAX_WHEN_LEAVING: Duration = Duration::from_secs(5);

/// What a failed handoff comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// The document stays for now. It is offered again, when the target has rested.
    Rest,
    /// This document has had its second try: it goes without a handoff.
    LetGo,
    /// And so does everything that waits for this target.
    LetAllGo,
}

/// Targets and documents whose handoffs have failed.
///
/// ```text
/// target    fine ─failed─▶ rests ½ s ─failed─▶ rests 1 s ─failed─▶ what waits is let go of, at every failure
///             ▲────────────────┴── one moved ─────┴─────────────────────┘
/// target    fine ─behind the ring─▶ asked again ─still behind─▶ what waits is let go of, until one has moved
/// document  fine ─failed─▶ offered once more ─failed─▶ let go of
/// ```
#[derive(Debug, Default)]
pub(super) struct Setbacks {
    targets: BTreeMap<NodeId, Failing>,
    /// Since when they have not known the ring.
    behind: BTreeMap<NodeId, Instant>,
    documents: BTreeMap<DocumentId, NodeId>,
}

/// It has failed so often in a row.
#[derive(Debug)]
struct Failing {
    times: usize,
    last: Instant,
    until: Instant,
}

impl Setbacks {
    /// A handoff that had begun at `began_at` has come to nothing. `leaves`: this node leaves the ring.
    pub(super) fn failed(
        &mut self,
        to: &NodeId,
        document: &DocumentId,
        began_at: Instant,
        now: Instant,
        leaves: bool,
    ) -> Setback {
        let failing =
            self.targets.entry(to.clone()).or_insert(Failing { times: 0, last: began_at, until: now });
        // Those that were on their way together fail of one cause.
        if failing.times == 0 || began_at >= failing.last {
            failing.times += 1;
            failing.last = now;
            failing.until = now + RESTS.get(failing.times - 1).copied().unwrap_or_default();
        }
        let rests = if leaves { RESTS_WHEN_LEAVING } else { RESTS.len() };
        if failing.times > rests {
            self.documents.remove(document);
            return Setback::LetAllGo;
        }
        match self.documents.remove(document) {
            Some(before) if before == *to => Setback::LetGo,
            _ => {
                self.documents.insert(document.clone(), to.clone());
                Setback::Rest
            }
        }
    }

    /// This target does not know the ring of the offer yet. Whether that has lasted for too long.
    pub(super) fn behind(&mut self, to: &NodeId, now: Instant, leaves: bool) -> bool {
        let since = *self.behind.entry(to.clone()).or_insert(now);
        let max = if leaves { BEHIND_MAX_WHEN_LEAVING } else { BEHIND_MAX };
        since + max <= now
    }

    /// A document has moved there.
    pub(super) fn moved(&mut self, to: &NodeId, document: &DocumentId) {
        self.targets.remove(to);
        self.behind.remove(to);
        self.documents.remove(document);
    }

    /// Whether this target is offered nothing now.
    pub(super) fn rests(&self, to: &NodeId, now: Instant) -> bool {
        self.targets.get(to).is_some_and(|failing| now < failing.until)
    }

    /// When the first of them has rested.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.targets.values().map(|failing| failing.until).filter(|until| *until > now).min()
    }

    /// What is no longer to be moved to one of these is forgotten.
    pub(super) fn keep(&mut self, wanted: impl Fn(&NodeId) -> bool) {
        self.targets.retain(|to, _| wanted(to));
        self.behind.retain(|to, _| wanted(to));
        self.documents.retain(|_, to| wanted(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        setbacks: Setbacks,
        start: Instant,
    }

    fn case() -> Case {
        Case { setbacks: Setbacks::default(), start: Instant::now() }
    }

    impl Case {
        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn fails(&mut self, document: &str, began: u64, now: u64) -> Setback {
            let (began, now) = (self.at(began), self.at(now));
            self.setbacks.failed(&node("a"), &document.parse().unwrap(), began, now, false)
        }

        fn rests(&self, now: u64) -> bool {
            self.setbacks.rests(&node("a"), self.at(now))
        }
    }

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[test]
    fn a_target_rests_twice_and_then_the_rest_is_let_go_of() {
        let mut case = case();
        assert_eq!(case.fails("one", 0, 100), Setback::Rest);
        assert!(case.rests(599) && !case.rests(600));
        assert_eq!(case.fails("two", 600, 700), Setback::Rest);
        assert!(case.rests(1_699) && !case.rests(1_700), "longer");
        assert_eq!(case.fails("three", 1_700, 1_800), Setback::LetAllGo);
        assert!(!case.rests(1_800));
        assert_eq!(case.fails("four", 1_900, 2_000), Setback::LetAllGo, "until one has moved");
    }

    #[test]
    fn those_that_were_on_their_way_together_fail_once() {
        let mut case = case();
        for document in ["one", "two", "three", "four"] {
            assert_eq!(case.fails(document, 0, 100), Setback::Rest);
        }
        assert!(!case.rests(600), "as after one");
    }

    #[test]
    fn a_move_is_a_new_beginning() {
        let mut case = case();
        case.fails("one", 0, 100);
        case.fails("two", 600, 700);
        case.setbacks.moved(&node("a"), &"two".parse().unwrap());
        assert!(!case.rests(700));
        assert_eq!(case.fails("three", 800, 900), Setback::Rest);
        assert!(case.rests(1_399) && !case.rests(1_400));
    }

    #[test]
    fn a_document_is_tried_twice_however_well_the_others_fare() {
        let mut case = case();
        assert_eq!(case.fails("one", 0, 100), Setback::Rest);
        case.setbacks.moved(&node("a"), &"two".parse().unwrap());
        assert_eq!(case.fails("one", 600, 700), Setback::LetGo);
        assert_eq!(case.fails("one", 1_300, 1_400), Setback::Rest, "it came back, and begins anew");
    }

    #[test]
    fn a_node_that_leaves_has_less_patience() {
        let mut case = case();
        let (document, start) = ("one".parse().unwrap(), case.start);
        let mut fails = |at| {
            let at = start + Duration::from_millis(at);
            case.setbacks.failed(&node("a"), &document, at, at, true)
        };
        assert_eq!([fails(0), fails(600)], [Setback::Rest, Setback::LetAllGo]);
    }

    #[test]
    fn the_end_of_a_rest_is_known_and_what_is_not_wanted_is_forgotten() {
        let mut case = case();
        assert_eq!(case.setbacks.next(case.start), None);
        case.fails("one", 0, 100);
        assert_eq!(case.setbacks.next(case.at(100)), Some(case.at(600)));
        assert_eq!(case.setbacks.next(case.at(600)), None, "it has rested");
        case.setbacks.keep(|_| false);
        assert!(!case.rests(100));
        assert_eq!(case.fails("one", 600, 700), Setback::Rest);
    }

    #[test]
    fn a_target_that_stays_behind_the_ring_is_put_up_with_for_a_while() {
        let (mut setbacks, start) = (Setbacks::default(), Instant::now());
        let mut behind = |millis, leaves| {
            let now = start + Duration::from_millis(millis);
            setbacks.behind(&node("a"), now, leaves)
        };
        assert!(!behind(0, true) && !behind(4_999, true));
        assert!(behind(5_000, true), "a node that leaves has less time");
        assert!(!behind(29_999, false));
        assert!(behind(30_000, false));
        setbacks.moved(&node("a"), &"one".parse().unwrap());
        let later = start + Duration::from_secs(40);
        assert!(!setbacks.behind(&node("a"), later, true), "it has caught up, and is behind anew");
    }
}
