//! The oracle: what the scan and the judge accept, the CRDT library takes on a thread with a stack of 2 MiB, without a
//! panic, an abort, or memory out of proportion to the bytes.
//!
//! The library runs in a child process, since nothing survives an overflowing stack. The child is this program again.
//!
//! `RINGLEAF_ORACLE_SECONDS` sets how long random cases are tried (10 by default), `RINGLEAF_ORACLE_SEED` where they
//! begin. A failure prints the case as one line of hexadecimal digits for each update.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may look at the clock")]

mod cases;
mod child;

use std::time::{Duration, Instant};

use child::{Child, Outcome};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn hex(case: &[Vec<u8>]) -> String {
    let line =
        |update: &Vec<u8>| update.iter().take(4_000).map(|byte| format!("{byte:02x}")).collect::<String>();
    case.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs the cases in one child, and fails with the first that the library does not take.
fn run(child: &mut Child, cases: &[(String, Vec<Vec<u8>>)]) -> usize {
    let mut refused_later = 0;
    for (name, case) in cases {
        let outcome = child.run(case);
        match outcome {
            Outcome::Taken => {}
            // The library has its own reasons, such as a parent that is not a shared type. The update is dropped.
            Outcome::Refused => refused_later += 1,
            Outcome::NotDecoded
            | Outcome::Pending
            | Outcome::Panicked(_)
            | Outcome::Died
            | Outcome::Memory(_)
            | Outcome::Hangs
            | Outcome::MergedWrongly => {
                panic!("{name}: {outcome:?}\n{}", hex(case))
            }
        }
    }
    refused_later
}

/// Not a test: the other process of the others.
#[test]
#[ignore = "started by the tests beside it"]
fn child_process() {
    child::serve();
}

#[test]
fn the_library_takes_every_crafted_case_that_is_accepted() {
    // A child each, so that no memory is left over from the case before.
    for (name, updates) in cases::crafted() {
        let admitted = cases::admit(&updates);
        if admitted.is_empty() {
            continue;
        }
        let begun_at = Instant::now();
        let mut child = Child::start();
        run(&mut child, &[(name.clone(), admitted)]);
        eprintln!("{name}: {:?}", begun_at.elapsed());
    }
}

#[test]
fn the_library_takes_every_known_sequence_that_is_accepted() {
    let mut child = Child::start();
    let cases = cases::sequences().into_iter().map(|(name, updates)| (name, cases::admit(&updates)));
    run(&mut child, &cases.collect::<Vec<_>>());
}

#[test]
fn the_library_takes_every_random_case_that_is_accepted() {
    let mut random = StdRng::seed_from_u64(number_from_env("RINGLEAF_ORACLE_SEED", 1));
    let until = Instant::now() + Duration::from_secs(number_from_env("RINGLEAF_ORACLE_SECONDS", 10));
    let seeds = cases::seeds();
    let mut child = Child::start();
    let (mut tried, mut accepted, mut refused_later) = (0, 0, 0);
    while Instant::now() < until {
        let mut batch = Vec::new();
        for _ in 0..200 {
            tried += 1;
            let admitted = cases::admit(&cases::random(&mut random, &seeds));
            if !admitted.is_empty() {
                batch.push(("random".to_owned(), admitted));
            }
        }
        accepted += batch.len();
        refused_later += run(&mut child, &batch);
    }
    eprintln!("{tried} cases, {accepted} accepted, {refused_later} refused by the library");
    assert!(accepted > 100, "only {accepted} of {tried} cases were accepted");
}
