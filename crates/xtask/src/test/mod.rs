//! `cargo xtask test`: every check and every test, each with its seconds, and one line at the end.
//!
//! Each Rust test runs in a process of its own, so that a hang or an abort costs one test and each has a time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::{mutants, prepare};

pub(crate) mod binaries;
mod checks;
mod report;
pub(crate) mod run;

use report::Report;

#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Also run what takes long: 200 rounds of `kill -9` instead of 12, and the like
    #[arg(long)]
    long: bool,
    /// Only what has this text in its name
    filter: Option<String>,
}

impl TestOptions {
    fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }
}

pub(crate) fn run(options: &TestOptions) -> anyhow::Result<ExitCode> {
    let started_at = Instant::now();
    for line in prepare::for_tests() {
        println!("warning: {line}");
    }
    println!("prepared in {:.1} s", started_at.elapsed().as_secs_f64());
    let mut report = Report::default();
    checks::run(options, &mut report);
    // The page goes into the binary, so it was built by the checks.
    match binaries::build(&["--workspace"]) {
        Ok(built) => run::run_all(&built, options, &mut report),
        Err(error) => report.failed("build", started_at.elapsed(), &format!("{error:#}")),
    }
    checks::documentation_tests(options, &mut report);
    mistakes(options, &mut report);
    Ok(report.finish(started_at.elapsed()))
}

/// Whether the tests notice what they are there for.
fn mistakes(options: &TestOptions, report: &mut Report) {
    const NAME: &str = "check: every mutant is caught";
    if !options.wants(NAME) {
        return;
    }
    if !options.long {
        return report.skipped(NAME, Duration::ZERO, "runs with --long, and as `cargo xtask mutants`");
    }
    let started_at = Instant::now();
    match mutants::survivors(None) {
        Ok(survivors) if survivors.is_empty() => report.passed(NAME, started_at.elapsed()),
        Ok(survivors) => report.failed(NAME, started_at.elapsed(), &survivors.join("\n")),
        Err(error) => report.failed(NAME, started_at.elapsed(), &format!("{error:#}")),
    }
}
