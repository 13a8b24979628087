//! `cargo xtask bench`: the same load on ringleaf and on the peers, in interleaved rounds.
//!
//! Machines are noisy, so absolute figures mean little: what counts is the ratio to the baseline in the same round,
//! and of those ratios the median. Server and load have a core each; every run has a fresh server process.

mod case;
mod cluster;
mod dialect;
mod growth;
mod histogram;
mod joining;
mod load;
mod metric;
mod process;
mod random;
mod report;
mod run;
mod server;
mod standing;
mod structs;
mod trace;
mod traffic;
mod trouble;
mod typing;
mod websocket;
mod yjs;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};

use self::case::Case;
use self::metric::Figures;
use self::report::Results;
use self::run::Run;
use self::server::Server;
use crate::{prepare, workspace};

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Only these cases, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    case: Vec<Case>,
    /// Only these servers, separated by commas [default: ringleaf and the three others that are made for one machine]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Server>,
    /// How often each case is run on each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=50))]
    rounds: u64,
    /// How long each run measures
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// One round of two seconds: does it work at all?
    #[arg(long)]
    quick: bool,
    /// Write every figure of every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use the release build that is there
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(options: &BenchOptions) -> anyhow::Result<ExitCode> {
    let servers = if options.servers.is_empty() { Server::ALONE.to_vec() } else { options.servers.clone() };
    let mut cases =
        if options.case.is_empty() { Case::value_variants().to_vec() } else { options.case.clone() };
    if cases.contains(&Case::Structs) {
        structs::run()?;
        cases.retain(|case| *case != Case::Structs);
    }
    if cases.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    prepare_servers(&servers, options.no_build)?;
    pin_load()?;
    let (rounds, seconds) = if options.quick { (1, 2) } else { (options.rounds, options.seconds) };
    let mut results = Results::new(&servers);
    for case in cases {
        for round in 0..case.rounds(rounds) {
            for &server in &in_order_of_round(&servers, round) {
                if case.applies_to(server) {
                    let figures = one_run(case, server, round, Duration::from_secs(seconds));
                    results.add(case, server, figures);
                }
            }
        }
        print!("{}", results.table(case));
    }
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&results.json())?;
        std::fs::write(file, json).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each round begins with another server, so that none always runs on a machine that has just woken up.
fn in_order_of_round(servers: &[Server], round: u64) -> Vec<Server> {
    let mut servers = servers.to_vec();
    let first = round as usize % servers.len();
    servers.rotate_left(first);
    servers
}

fn one_run(case: Case, server: Server, round: u64, window: Duration) -> anyhow::Result<Figures> {
    let data = workspace::target().join("bench").join(std::process::id().to_string());
    std::fs::create_dir_all(&data)?;
    let run = Run { server, seed: 1 + round, window, data };
    let figures = case.measure(&run);
    std::fs::remove_dir_all(&run.data)?;
    figures
}

fn prepare_servers(servers: &[Server], no_build: bool) -> anyhow::Result<()> {
    if servers.iter().any(|server| !server.is_ringleaf())
        && let Some(missing) = prepare::for_the_bench().first()
    {
        anyhow::bail!("{missing}");
    }
    if servers.iter().any(|server| server.is_clustered())
        && let Some(missing) = harness::Cluster::missing()
    {
        anyhow::bail!("{missing}");
    }
    if servers.iter().any(|server| server.is_ringleaf()) && !no_build {
        let mut build = workspace::cargo();
        build.args(["build", "--release", "--package", "ringleaf"]);
        workspace::run(&mut build)?;
    }
    anyhow::ensure!(workspace::installed("taskset"), "taskset is missing: apt-get install util-linux");
    Ok(())
}

/// The load gets the core that the servers don't have.
fn pin_load() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    anyhow::ensure!(cores >= 2, "the server and the load need a core each, this machine has one");
    let mut core = rustix::thread::CpuSet::new();
    core.set(run::LOAD_CORE);
    rustix::thread::sched_setaffinity(None, &core).context("could not pin the load to its core")?;
    let version = Command::new("node").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!(
        "server on core {}, load on core {}, node {}",
        run::SERVER_CORE,
        run::LOAD_CORE,
        version.unwrap_or_default()
    );
    Ok(())
}
