//! A server under measurement: started on its own core, watched through `/proc`, always ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::cluster::Cluster;
use crate::workspace;

/// `/proc` counts CPU time in hundredths of a second, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server and its children. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    /// What it stands on, if it is one of several. Order: this ends after it.
    pub(crate) cluster: Option<Cluster>,
}

impl Process {
    /// Starts `command` on one core and waits until it takes connections on `port`.
    /// What it says goes to `log`.
    pub(crate) fn start(command: &Command, core: usize, port: u16, log: &Path) -> anyhow::Result<Self> {
        let mut pinned = pinned(command, core);
        pinned.stderr(File::options().create(true).append(true).open(log)?);
        let child =
            pinned.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("could not start taskset")?;
        let mut process = Self { child, port, cluster: None };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended with {status} before it took a connection", command.get_program().display());
            }
            if Instant::now() > deadline {
                bail!("{} did not listen on port {port} in time", command.get_program().display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    /// The CPU time that it and its children have used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds_of_all(self.child.id())
    }

    /// The resident memory of it and its children, in bytes.
    pub(crate) fn resident_bytes(&self) -> f64 {
        tree(self.child.id()).into_iter().map(|process| status_bytes(process, "VmRSS:")).sum()
    }

    /// The most memory that was ever resident, in bytes.
    pub(crate) fn peak_bytes(&self) -> f64 {
        tree(self.child.id()).into_iter().map(|process| status_bytes(process, "VmHWM:")).sum()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        workspace::run(Command::new("kill").args(["-TERM", &id]))?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("a server did not stop within {STOP_TIMEOUT:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// A process and its children.
fn tree(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut at = 0;
    while let Some(process) = all.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    all
}

/// The CPU time that a process and its children have used, in seconds.
pub(crate) fn cpu_seconds_of_all(process: u32) -> f64 {
    tree(process).into_iter().map(cpu_seconds).sum()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command on one core, and killed by the kernel should we die first.
fn pinned(command: &Command, core: usize) -> Command {
    let mut pinned = if workspace::installed("setpriv") {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL", "taskset"]);
        setpriv
    } else {
        Command::new("taskset")
    };
    pinned.args(["-c", &core.to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    pinned
}

/// A port on loopback that nobody listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}

/// What the kernel has billed. `stat` knows the threads that have ended, in steps of 10 ms; `schedstat` the living
/// ones to the nanosecond: the larger of the two is right within a step.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is the program's name in parentheses, and may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanoseconds: f64 = threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    (ticks / TICKS_PER_SECOND).max(nanoseconds / 1e9)
}

fn status_bytes(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}
