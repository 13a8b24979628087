//! The same load on a process of a cluster: what a network between router and node costs, and a database below.
//!
//! Everything but the load shares the server's core: the node, the router, PostgreSQL and etcd. What is compared with one
//! machine is the CPU time of the process that holds the sockets.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use harness::{Etcd, Group, Postgres};

use super::process::{self, Process};
use super::server::ringleaf_program;

const RING_TIMEOUT: Duration = Duration::from_secs(30);

/// What a process under measurement stands on. Order: the node ends before what it stands on.
pub(crate) struct Cluster {
    /// The owner of the documents, if it is not the process under measurement.
    owner: Option<Box<Process>>,
    postgres: Postgres,
    _etcd: Etcd,
}

/// What has been spent so far.
pub(crate) struct Look {
    pub(crate) owner_cpu: f64,
    pub(crate) database_cpu: f64,
    pub(crate) commits: f64,
}

impl Look {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            owner_cpu: self.owner_cpu - before.owner_cpu,
            database_cpu: self.database_cpu - before.database_cpu,
            commits: self.commits - before.commits,
        }
    }
}

impl Cluster {
    pub(crate) fn look(&self) -> Look {
        let commits = self.postgres.sql("SELECT sum(xact_commit) FROM pg_stat_database");
        Look {
            owner_cpu: self.owner.as_deref().map_or(0.0, Process::cpu_seconds),
            database_cpu: process::cpu_seconds_of_all(self.postgres.id()),
            commits: commits.parse().unwrap_or_default(),
        }
    }
}

/// A node with editors of its own.
pub(crate) fn owner(data: &Path, core: usize) -> anyhow::Result<Process> {
    let (etcd, postgres) = below(core)?;
    let mut node = node(data, core, &etcd, &postgres)?;
    node.cluster = Some(Cluster { owner: None, postgres, _etcd: etcd });
    Ok(node)
}

/// A router, and a node that has no editors.
pub(crate) fn router(data: &Path, core: usize) -> anyhow::Result<Process> {
    let (etcd, postgres) = below(core)?;
    let node = node(data, core, &etcd, &postgres)?;
    let mut router = process(data, core, &etcd, "router", &[])?;
    router.cluster = Some(Cluster { owner: Some(Box::new(node)), postgres, _etcd: etcd });
    Ok(router)
}

fn node(data: &Path, core: usize, etcd: &Etcd, postgres: &Postgres) -> anyhow::Result<Process> {
    let peer = format!("127.0.0.1:{}", process::free_port()?);
    process(data, core, etcd, "node", &["--store", &postgres.url(), "--peer", &peer])
}

fn process(data: &Path, core: usize, etcd: &Etcd, role: &str, more: &[&str]) -> anyhow::Result<Process> {
    let (port, admin) = (process::free_port()?, process::free_port()?);
    let mut command = Command::new(ringleaf_program());
    command.args([role, "--node-id", role, "--etcd", &etcd.url()]);
    command.arg("--data").arg(data.join(role));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--admin", &format!("127.0.0.1:{admin}")]);
    command.args(more);
    let process = Process::start(&command, core, port, &data.join("log"))?;
    harness::wait_for("a place on the ring", RING_TIMEOUT, || {
        let answer = harness::http(([127, 0, 0, 1], admin).into(), "GET", "/readyz", b"").ok()?;
        (answer.status == 200).then_some(())
    });
    Ok(process)
}

/// etcd and PostgreSQL, on the server's core: what is started inherits the cores of whoever starts it.
fn below(core: usize) -> anyhow::Result<(Etcd, Postgres)> {
    let before = rustix::thread::sched_getaffinity(None)?;
    let mut servers = rustix::thread::CpuSet::new();
    servers.set(core);
    rustix::thread::sched_setaffinity(None, &servers).context("could not go to the servers' core")?;
    let started = (Etcd::start(Group::Ours), Postgres::start(Group::Ours));
    rustix::thread::sched_setaffinity(None, &before).context("could not come back to the load's core")?;
    Ok(started)
}
