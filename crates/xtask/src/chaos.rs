//! `cargo xtask chaos`: a whole cluster that breaks again and again under load, and a report of what became of it.
//!
//! The test `chaos` of `tests/ring` does it; this starts it with settings of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::{demo, prepare, workspace};

const TEST: &str =
    "waiting::chaos::whatever_breaks_nothing_acknowledged_is_lost_and_no_socket_closes_but_with_its_router";

#[derive(Debug, Args)]
pub(crate) struct ChaosOptions {
    /// For how long things break
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Plays the faults of an earlier run; without it chance decides
    #[arg(long)]
    seed: Option<u64>,
    /// So many faults at once, at most
    #[arg(long, default_value_t = 2)]
    overlap: usize,
    /// Documents, each with --writers editors who type 50 updates a second
    #[arg(long, default_value_t = 20)]
    documents: usize,
    /// Editors who type, for each document
    #[arg(long, default_value_t = 3)]
    writers: usize,
    /// Build without optimizations: quicker to build, slower to run
    #[arg(long)]
    debug: bool,
    /// Where the report goes; without it into cargo's target folder
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(options: &ChaosOptions) -> anyhow::Result<ExitCode> {
    for line in prepare::for_tests() {
        eprintln!("warning: {line}");
    }
    let server = demo::build(options.debug)?;
    println!("building the test");
    let test = build_test()?;
    let out = options.out.clone().unwrap_or_else(|| workspace::target().join("chaos"));
    std::fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let out = out.canonicalize()?;
    let report = out.join("chaos.json");
    // Whatever stands there is of an earlier run.
    let _ = std::fs::remove_file(&report);
    let passed = play(options, &server, &test, &out)?;
    println!("the report: {}", out.join("chaos.md").display());
    Ok(match verdict(&report) {
        Some(verdict) => {
            println!("{verdict}");
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => {
            println!("FAILED: it ended without a report");
            ExitCode::FAILURE
        }
    })
}

fn build_test() -> anyhow::Result<PathBuf> {
    let mut command = workspace::cargo();
    command.args(["test", "--quiet", "--package", "ringleaf-tests", "--test", "ring", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("could not start cargo")?;
    if !output.status.success() {
        bail!("the test does not compile");
    }
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let ring = messages.flatten().filter(|message| message["target"]["name"] == "ring");
    let path = ring.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).last();
    path.context("cargo did not build the test")
}

/// Whether nothing was lost and nothing closed.
fn play(options: &ChaosOptions, server: &Path, test: &Path, out: &Path) -> anyhow::Result<bool> {
    let mut command = Command::new(test);
    command.args([TEST, "--exact", "--nocapture"]).current_dir(workspace::root().join("tests"));
    command.env("RINGLEAF_BINARY", server).env("RUST_BACKTRACE", "0");
    command.env("RINGLEAF_TEST_CHAOS_SECONDS", (options.minutes * 60).to_string());
    command.env("RINGLEAF_TEST_CHAOS_OVERLAP", options.overlap.to_string());
    command.env("RINGLEAF_TEST_CHAOS_DOCUMENTS", options.documents.to_string());
    command.env("RINGLEAF_TEST_CHAOS_WRITERS", options.writers.to_string());
    command.env("RINGLEAF_TEST_CHAOS_OUT", out);
    if let Some(seed) = options.seed {
        command.env("RINGLEAF_TEST_SEED", seed.to_string());
    }
    Ok(command.status().with_context(|| format!("could not start {}", test.display()))?.success())
}

/// What the report says in one line.
fn verdict(report: &Path) -> Option<String> {
    let report: Value = serde_json::from_slice(&std::fs::read(report).ok()?).ok()?;
    report["verdict"].as_str().map(str::to_owned)
}
