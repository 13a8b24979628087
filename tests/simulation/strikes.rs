//! Every step of a handoff, and everything that can break there: one scenario each, by name.

use std::time::Duration;

use crate::random::Random;
use crate::scenario::{Scenario, StoreFaults};
use crate::strike::{Armed, Blow, Step};
use crate::world::{Counts, World};

/// Documents serve again so soon after the fault.
const SERVES_AGAIN: Duration = Duration::from_secs(10);
const WARMED_UP: Duration = Duration::from_secs(6);
const FAULT: Duration = Duration::from_secs(6);
/// Each story is told so often, with what was said at its step on its way or just heard.
const TIMES: u64 = 4;
const TIMES_LONG: u64 = 100;

/// Whether everything that happens is printed, for one story that is looked into.
fn loud() -> bool {
    std::env::var_os("RINGLEAF_LOUD").is_some()
}

/// A document with three editors on a cluster where nothing else goes wrong.
fn scenario(lasts: Duration) -> Scenario {
    Scenario {
        nodes: 3,
        routers: 2,
        documents: 1,
        editors: 3,
        lasts,
        edit_interval: Duration::from_millis(200),
        fault_interval: Duration::from_secs(1),
        faults: Vec::new(),
        store: StoreFaults::default(),
        late_messages: 0,
        busy: 0,
        etcd_lags: 0,
        tail_slots_max: 40,
        presence: true,
    }
}

/// Something happens at a step of a handoff, lasts for a while, and then all is well again.
fn story(step: Step, blow: Blow) {
    let times = if harness::long() { TIMES_LONG } else { TIMES };
    for seed in 1..=times {
        let mut world = World::with(scenario(WARMED_UP + FAULT), Random::new(seed), loud());
        world.begin();
        world.run_until(WARMED_UP);
        let after = Duration::from_micros((seed - 1) * 700);
        world.armed = Some(Armed { step, blow, after, length: FAULT });
        world.moves_something();
        world.run_until(WARMED_UP + FAULT);
        let counts = world.counts;
        let context = format!("seed {seed}, {blow:?} at {step:?}: {counts:?}");
        assert!(world.armed.is_none(), "it never came so far: {context}");
        assert!(hit(&counts, step, blow), "nothing was hit: {context}");
        world.settles(SERVES_AGAIN);
        assert!(world.counts.acknowledged > counts.acknowledged, "nobody was served again: {context}");
    }
}

fn hit(counts: &Counts, step: Step, blow: Blow) -> bool {
    match blow {
        Blow::KillSource | Blow::KillTarget => counts.killed[step as usize] == 1,
        Blow::Cut => counts.severed[step as usize] == 1,
        Blow::PauseSource | Blow::PauseTarget => counts.pauses == 1,
        Blow::SourceWithoutLog | Blow::TargetWithoutLog => counts.cuts == 1,
        Blow::Reset => true,
    }
}

macro_rules! stories {
    ($($when:ident: $step:ident;)*) => {
        $(mod $when {
            use crate::strike::{Blow, Step};

            #[test]
            fn the_source_is_killed() {
                super::story(Step::$step, Blow::KillSource);
            }

            #[test]
            fn the_target_is_killed() {
                super::story(Step::$step, Blow::KillTarget);
            }

            #[test]
            fn the_link_is_cut() {
                super::story(Step::$step, Blow::Cut);
            }

            #[test]
            fn the_link_is_reset() {
                super::story(Step::$step, Blow::Reset);
            }

            #[test]
            fn the_source_is_paused() {
                super::story(Step::$step, Blow::PauseSource);
            }

            #[test]
            fn the_target_is_paused() {
                super::story(Step::$step, Blow::PauseTarget);
            }

            #[test]
            fn the_source_loses_the_store() {
                super::story(Step::$step, Blow::SourceWithoutLog);
            }

            #[test]
            fn the_target_loses_the_store() {
                super::story(Step::$step, Blow::TargetWithoutLog);
            }
        })*
    };
}

stories! {
    when_it_is_offered: Offered;
    when_the_target_loads_it: Accepted;
    when_it_is_warm: Warm;
    when_it_is_being_sealed: Sealing;
    when_it_is_sealed: Sealed;
    when_the_target_claims_it: Claiming;
    when_the_target_has_claimed_it: Claimed;
    when_it_has_moved: Moved;
}

/// A hundred moves, and nothing goes wrong: all come about, and nobody is seen to leave.
#[test]
fn moves_are_not_seen_when_nothing_fails() {
    let moves = 100;
    let every = Duration::from_secs(1);
    let lasts = WARMED_UP + every * moves;
    let mut world = World::with(scenario(lasts), Random::new(1), loud());
    world.begin();
    world.run_until(WARMED_UP);
    world.nobody_leaves = true;
    for number in 1..=moves {
        world.moves_something();
        world.run_until(WARMED_UP + every * number);
    }
    let counts = world.counts;
    assert_eq!(counts.moved, u64::from(moves), "{counts:?}");
    assert_eq!((counts.let_go, counts.failed), (0, [0; 8]), "{counts:?}");
    world.settles(SERVES_AGAIN);
}

/// It stays where it is, and is served there, until the other node takes it.
#[test]
fn a_target_that_is_busy_is_asked_again() {
    let lasts = Duration::from_secs(20);
    let busy = Scenario { busy: 1_000, ..scenario(lasts) };
    let mut world = World::with(busy, Random::new(1), loud());
    world.begin();
    world.run_until(WARMED_UP);
    world.nobody_leaves = true;
    world.moves_something();
    world.run_until(Duration::from_secs(12));
    let refused = world.counts;
    assert!(refused.busy >= 3 && refused.moved == 0 && refused.let_go == 0, "{refused:?}");
    world.scenario.busy = 0;
    world.run_until(lasts);
    assert_eq!(world.counts.moved, 1, "{:?}", world.counts);
    world.settles(SERVES_AGAIN);
}

/// The source has only read when it offers the document, and claims it while the target loads.
#[test]
fn a_first_fence_while_the_target_loads_does_not_end_the_move() {
    let lasts = Duration::from_secs(12);
    let readers = Scenario { editors: 1, ..scenario(lasts) };
    for seed in 1..=20 {
        let mut world = World::with(readers.clone(), Random::new(seed), loud());
        world.begin();
        world.run_until(WARMED_UP);
        // Another owner: it has read what was written, and writes nothing for a moment.
        world.quiet = true;
        world.moves_something();
        world.run_until(WARMED_UP + Duration::from_secs(2));
        let host = world.nodes.iter().position(|node| !node.residents.is_empty());
        let host = host.expect("the document is open somewhere");
        world.crash_node(host, false);
        world.run_until(WARMED_UP + Duration::from_secs(4));
        let before = world.counts;
        world.edits_at = Some(Step::Accepted);
        world.moves_something();
        world.run_until(lasts);
        let counts = world.counts;
        assert!(counts.steps[Step::Accepted as usize] > before.steps[Step::Accepted as usize], "{counts:?}");
        assert_eq!(counts.moved, before.moved + 1, "seed {seed}: {counts:?}");
        world.settles(SERVES_AGAIN);
    }
}
