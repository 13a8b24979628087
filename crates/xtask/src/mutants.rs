//! `cargo xtask mutants`: builds one more program, which can be told to be wrong in ways that have cost somebody their data once,
//! and shows that the tests notice each.
//!
//! The mistakes are `ringleaf_types::faults`. They are chosen as a process starts, and only a build with the feature `faults` has
//! them: the tests' own as well as the server that they start. A mistake counts as noticed by a test that fails with it and
//! passes, in the same build, without.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::test::binaries::{self, Binary, Built};
use crate::test::run::{self, How, Outcome, Test};
use crate::{prepare, workspace};

#[derive(Debug, Args)]
pub(crate) struct MutantsOptions {
    /// Only those whose name contains this
    filter: Option<String>,
}

/// A mistake, and who should notice it: a part of the tests' names, the likeliest first.
struct Mutant {
    /// As `ringleaf_types::faults` calls it.
    fault: &'static str,
    tests: &'static [(&'static str, &'static str)],
}

/// Real processes.
const RING: &str = "tests/ring";
/// One of them.
const CLUSTER: &str = "tests/cluster";
/// The real core of many nodes and routers, in virtual time.
const SIMULATION: &str = "tests/simulation";

// Order: the simulation first where it can tell. It needs a second, and no load on this machine makes it fail.
const MUTANTS: [Mutant; 8] = [
    Mutant { fault: "no-fence", tests: &[(SIMULATION, "every_seed"), (RING, "live_documents_move")] },
    Mutant {
        fault: "load-before-claim",
        tests: &[(SIMULATION, "every_seed"), (RING, "live_documents_move")],
    },
    // It takes two batches and a death between them, which chance must bring about among processes.
    Mutant { fault: "acknowledge-out-of-order", tests: &[(SIMULATION, "every_seed")] },
    Mutant {
        fault: "awareness-removed-on-handoff",
        tests: &[(SIMULATION, "moves_are_not_seen"), (RING, "live_documents_move")],
    },
    // It takes an etcd member that lags behind the others.
    Mutant { fault: "view-goes-backwards", tests: &[(SIMULATION, "every_seed")] },
    Mutant {
        fault: "router-drops-unacknowledged",
        tests: &[(RING, "outlives_the_owner"), (SIMULATION, "every_seed")],
    },
    // The log and the routers make good for it, so that nobody outside can tell.
    Mutant { fault: "sealed-with-a-slot-in-flight", tests: &[(SIMULATION, "every_seed")] },
    Mutant {
        fault: "reader-without-its-limits",
        tests: &[(CLUSTER, "takes_more_memory_than_a_reader_process_may")],
    },
];

/// Who noticed, and after how long.
struct Caught {
    fault: &'static str,
    by: Option<Test>,
    took: Duration,
}

pub(crate) fn run(options: &MutantsOptions) -> anyhow::Result<ExitCode> {
    for line in prepare::for_tests() {
        println!("warning: {line}");
    }
    let survivors = survivors(options.filter.as_deref())?;
    Ok(if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The mistakes that no test notices, and the tests that say nothing since they fail without one, too.
pub(crate) fn survivors(filter: Option<&str>) -> anyhow::Result<Vec<String>> {
    let wanted = |mutant: &&Mutant| filter.is_none_or(|part| mutant.fault.contains(part));
    let mutants: Vec<&Mutant> = MUTANTS.iter().filter(wanted).collect();
    if mutants.is_empty() {
        bail!("there is no such mutant");
    }
    let started_at = Instant::now();
    let built = build().context("no program to be wrong")?;
    println!("built in {:.0} s", started_at.elapsed().as_secs_f64());
    let mut rows = Vec::new();
    for mutant in mutants {
        rows.push(play(mutant, &built)?);
    }
    let red = control(&rows, &built);
    let noticed = |row: &Caught| row.by.as_ref().is_some_and(|test| !red.contains(&test.title()));
    println!("\n{:<30} {:<84} {:>7}", "fault", "caught by", "seconds");
    for row in &rows {
        let by = if noticed(row) { row.by.as_ref().map(Test::title) } else { None };
        println!(
            "{:<30} {:<84} {:>7.1}",
            row.fault,
            by.as_deref().unwrap_or("NOBODY"),
            row.took.as_secs_f64()
        );
    }
    let survivors = rows.iter().filter(|row| !noticed(row)).map(|row| row.fault.to_owned());
    let survivors: Vec<String> = survivors.chain(red.iter().cloned()).collect();
    let caught = rows.iter().filter(|row| noticed(row)).count();
    println!("{caught} of {} mutants caught in {:.0} s", rows.len(), started_at.elapsed().as_secs_f64());
    Ok(survivors)
}

/// In a folder of its own, so that nobody takes this program for the right one.
fn build() -> anyhow::Result<Built> {
    let folder = workspace::target().join("faults");
    let folder = folder.to_str().context("the path of target is not UTF-8")?;
    let packages = ["--package", "ringleaf", "--package", "ringleaf-tests", "--features", "ringleaf/faults"];
    // Cargo builds the server because `commands` is a test of its package.
    let tests = [
        "--test",
        "commands",
        "--test",
        "cluster",
        "--test",
        "ring",
        "--test",
        "simulation",
        "--target-dir",
        folder,
    ];
    binaries::build(&[packages.as_slice(), &tests].concat())
}

/// Runs the tests that should notice, until one does.
fn play(mutant: &Mutant, built: &Built) -> anyhow::Result<Caught> {
    let started_at = Instant::now();
    let mut by = None;
    for (binary, part) in mutant.tests {
        let test = find(binary, part, built)?;
        let how = How { server: &built.server, long: false, fault: Some(mutant.fault) };
        let finished = run::run_one(test.clone(), how);
        let word = if finished.outcome == Outcome::Failed { "noticed" } else { "passed" };
        println!("{word:<8} {:7.1} s  {}: {}", finished.took.as_secs_f64(), mutant.fault, test.title());
        if finished.outcome == Outcome::Failed {
            println!("                    {}", reason(&finished.output));
            by = Some(test);
            break;
        }
    }
    Ok(Caught { fault: mutant.fault, by, took: started_at.elapsed() })
}

/// The same program and the same tests with no mistake: which of them fail nevertheless.
fn control(rows: &[Caught], built: &Built) -> Vec<String> {
    let mut tests: Vec<&Test> = rows.iter().filter_map(|row| row.by.as_ref()).collect();
    tests.sort_by_key(|test| test.title());
    tests.dedup_by_key(|test| test.title());
    let mut red = Vec::new();
    for test in tests {
        let how = How { server: &built.server, long: false, fault: None };
        let finished = run::run_one(test.clone(), how);
        let passed = finished.outcome == Outcome::Passed;
        let word = if passed { "passed" } else { "FAILED" };
        println!("{word:<8} {:7.1} s  no fault: {}", finished.took.as_secs_f64(), test.title());
        if !passed {
            println!("{}", finished.output);
            red.push(test.title());
        }
    }
    red
}

fn find(binary: &str, part: &str, built: &Built) -> anyhow::Result<Test> {
    let of = |of: &&Binary| of.name == binary;
    let binary = built.tests.iter().find(of).with_context(|| format!("{binary} was not built"))?;
    let mut names = binary.tests()?;
    names.retain(|name| name.contains(part));
    match <[String; 1]>::try_from(names) {
        Ok([name]) => Ok(Test { binary: binary.clone(), name }),
        Err(names) => bail!("{part} is no name of one test of {}: {names:?}", binary.name),
    }
}

/// What a failed test said first.
fn reason(output: &str) -> &str {
    let mut lines =
        output.lines().skip_while(|line| !(line.starts_with("thread '") && line.contains("panicked at")));
    lines.nth(1).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_is_the_reason() {
        let output = "running 1 test\nthread 'a' (7) panicked at b.rs:1:2:\nlost one\nthread 'c' panicked at d:\nlater";
        assert_eq!(reason(output), "lost one");
        assert_eq!(reason("ended by signal 9"), "it did not say why");
    }
}
