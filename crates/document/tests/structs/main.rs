//! The corpus of the fuzz target `structs`, and random cases: whatever a store of structs is given, it loses nothing, makes
//! nothing up, and does not panic.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, reason = "figures are read from the output by `cargo xtask test`")]

mod checks;
mod choices;
mod generate;
mod units;

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/fuzz/corpus/structs");

#[test]
fn the_corpus_holds() {
    let mut files: Vec<_> =
        std::fs::read_dir(Path::new(CORPUS)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(catch_unwind(|| checks::case(&bytes)).is_ok(), "{}", file.display());
    }
}

/// The seed of a case is its number; `RINGLEAF_TEST_CASE` runs one.
#[test]
fn random_cases_hold() {
    if let Ok(case) = std::env::var("RINGLEAF_TEST_CASE") {
        checks::case(&random_case(case.parse().unwrap()));
        return;
    }
    let (first, lasting) = match std::env::var_os("RINGLEAF_TEST_LONG") {
        Some(_) => (rand::rng().random::<u32>().into(), Duration::from_mins(10)),
        None => (0, Duration::from_secs(10)),
    };
    let begun_at = Instant::now();
    let mut case = first;
    while begun_at.elapsed() < lasting {
        let bytes = random_case(case);
        assert!(
            catch_unwind(|| checks::case(&bytes)).is_ok(),
            "RINGLEAF_TEST_CASE={case}, or as a file of the corpus: {bytes:02x?}"
        );
        case += 1;
    }
    println!("figure: {} random cases of structs", case - first);
}

fn random_case(seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = vec![0; random.random_range(20..1_200)];
    random.fill_bytes(&mut bytes);
    // Only the fuzzer and the corpus have whole updates.
    bytes[0] = (seed % 2) as u8;
    bytes
}
