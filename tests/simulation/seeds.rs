//! Which seeds are run, and how one is run again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::world::{Counts, World};

/// Seeds are run for so long.
const TIME: Duration = Duration::from_secs(50);
const SEEDS_MIN: u64 = 50;
const SEEDS_LONG: u64 = 10_000;

/// What came of a seed: the hash of everything that happened, and how much that was.
fn run(seed: u64, loud: bool) -> (u64, u64, Counts) {
    let mut world = World::new(seed, loud);
    match catch_unwind(AssertUnwindSafe(|| world.live())) {
        Ok(()) => (world.trace.hash(), world.trace.lines(), world.counts),
        Err(broken) => {
            eprintln!("seed {seed} fails at {:?} of its time. To see what happened:", world.at);
            eprintln!(
                "  RINGLEAF_SEED={seed} cargo test -p ringleaf-tests --test simulation -- replay --nocapture"
            );
            resume_unwind(broken)
        }
    }
}

/// The first seed of a run. Another one may be asked for.
fn first_seed() -> u64 {
    let asked = std::env::var("RINGLEAF_FIRST_SEED").ok();
    asked.map_or(1, |seed| seed.parse().expect("RINGLEAF_FIRST_SEED is a number"))
}

#[test]
fn the_invariants_survive_every_seed() {
    let (began, first) = (Instant::now(), first_seed());
    let mut sum = Counts::default();
    let mut seeds = 0;
    let mut lines = 0;
    let enough = |seeds: u64| {
        if harness::long() { seeds >= SEEDS_LONG } else { seeds >= SEEDS_MIN && began.elapsed() > TIME }
    };
    while !enough(seeds) {
        let (_, of, counts) = run(first + seeds, false);
        sum.add(&counts);
        lines += of;
        seeds += 1;
    }
    assert!(seeds >= SEEDS_MIN);
    let seconds = began.elapsed().as_secs_f64();
    harness::figure(&format!("{seeds} seeds in {seconds:.1} s, {lines} steps: {sum:?}"));
    assert!(sum.moved > 0 && sum.steps.iter().all(|reached| *reached > 0), "{sum:?}");
    assert!(sum.claims > seeds && sum.fenced > 0 && sum.resent > 0 && sum.acknowledged > 0, "{sum:?}");
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in first_seed()..first_seed() + 3 {
        let (first, again) = (run(seed, false), run(seed, false));
        assert_eq!((first.0, first.1), (again.0, again.1), "seed {seed}");
    }
}

#[test]
fn replay() {
    let Ok(seed) = std::env::var("RINGLEAF_SEED") else {
        return harness::skip("set RINGLEAF_SEED to the seed that failed");
    };
    let (hash, lines, counts) = run(seed.parse().expect("RINGLEAF_SEED is a number"), true);
    println!("seed {seed}: {lines} steps, hash {hash:016x}, {counts:?}");
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.edits += other.edits;
        self.acknowledged += other.acknowledged;
        self.claims += other.claims;
        self.fenced += other.fenced;
        self.late += other.late;
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.cuts += other.cuts;
        self.resent += other.resent;
        self.caught_up += other.caught_up;
        self.behind += other.behind;
        self.snapshots += other.snapshots;
        self.views += other.views;
        self.converged_after = self.converged_after.max(other.converged_after);
        self.offered += other.offered;
        self.moved += other.moved;
        self.busy += other.busy;
        self.let_go += other.let_go;
        for (sum, of) in [
            (&mut self.steps, &other.steps),
            (&mut self.failed, &other.failed),
            (&mut self.killed, &other.killed),
            (&mut self.severed, &other.severed),
        ] {
            sum.iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
        }
    }
}
