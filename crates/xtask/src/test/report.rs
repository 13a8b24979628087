//! What is printed: a line for each test, what failed once more, and the sum as the very last line.

use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    skipped: usize,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn passed(&mut self, name: &str, took: Duration) {
        self.passed += 1;
        println!("ok     {:8.3} s  {name}", took.as_secs_f64());
    }

    pub(crate) fn skipped(&mut self, name: &str, took: Duration, why: &str) {
        self.skipped += 1;
        println!("skip   {:8.3} s  {name}: {why}", took.as_secs_f64());
    }

    pub(crate) fn failed(&mut self, name: &str, took: Duration, output: &str) {
        self.failures.push(name.into());
        println!("FAILED {:8.3} s  {name}", took.as_secs_f64());
        for line in output.lines() {
            println!("    {line}");
        }
    }

    /// Something that a test measured.
    pub(crate) fn figure(&self, text: &str) {
        println!("                   {text}");
    }

    /// Counts tests that ran elsewhere.
    pub(crate) fn add(&mut self, passed: usize, failed: usize, skipped: usize, name: &str) {
        self.passed += passed;
        self.skipped += skipped;
        self.failures.extend(std::iter::repeat_n(name.to_owned(), failed));
    }

    pub(crate) fn finish(&self, took: Duration) -> ExitCode {
        println!();
        for name in &self.failures {
            println!("failed: {name}");
        }
        println!("took {:.1} s", took.as_secs_f64());
        println!("{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped);
        if self.failures.is_empty() && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
