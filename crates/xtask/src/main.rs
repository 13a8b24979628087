//! The chores of this repository: `cargo xtask demo`, `cargo xtask cluster`, `cargo xtask test`.
//!
//! ```text
//! prepare (npm ci, apt-get) ──▶ demo: page + binary, then serve
//!                          ├──▶ cluster: the same with etcd, PostgreSQL, nodes and routers
//!                          ├──▶ chaos: a cluster, and everything that can happen to it
//!                          ├──▶ mutants: the program with one mistake at a time, and the tests that notice it
//!                          └──▶ test: checks, unit tests, end-to-end tests, one line each, a sum at the end
//! ```
//!
//! **Must not** be needed to build or run ringleaf itself: a plain `cargo build` works without it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who called it")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod chaos;
mod cluster;
mod demo;
mod mutants;
mod prepare;
mod test;
mod workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The chores of this repository", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Build the page and the server, start it on loopback and print the URL
    Demo(demo::DemoOptions),
    /// Start a cluster on loopback (etcd, PostgreSQL, nodes, routers) and print its addresses
    Cluster(cluster::ClusterOptions),
    /// Run every check and every test; the last line is the sum
    Test(test::TestOptions),
    /// Break a cluster again and again under load; the last line is the verdict
    Chaos(chaos::ChaosOptions),
    /// Build a program that can be told to be wrong, and show that the tests notice each time
    Mutants(mutants::MutantsOptions),
    /// Put the same load on ringleaf and its peers, and compare
    Bench(bench::BenchOptions),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Demo(options) => demo::run(&options),
        Chore::Cluster(options) => cluster::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Chaos(options) => chaos::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
