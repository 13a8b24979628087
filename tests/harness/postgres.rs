//! A PostgreSQL of one, in a folder that goes away with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Group};
use crate::wait_for;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_isready", "psql"];
/// Who owns everything in there.
const USER: &str = "ringleaf";

#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    group: Group,
    process: Option<Child>,
}

impl Postgres {
    /// Why there can be none here.
    pub fn missing() -> Option<&'static str> {
        let found = programs();
        found.is_none().then_some("PostgreSQL's server is not installed (apt-get install postgresql)")
    }

    /// # Panics
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(group: Group) -> Self {
        let programs = programs().expect("PostgreSQL is installed");
        // Its own user must get there, so not where `TMPDIR` may point.
        let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let [port] = process::free_ports();
        let mut postgres = Self { folder, programs, port, group, process: None };
        let mut make = as_other_user(&postgres.programs.join("initdb"));
        make.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"]).arg(postgres.data());
        run(make.stdout(Stdio::null()));
        postgres.start_again();
        postgres
    }

    /// Starts it with what it had, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let mut command = as_other_user(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in ["max_connections=200", "log_min_messages=warning"] {
            command.args(["-c", setting]);
        }
        self.process = Some(process::spawn(command, self.group, &self.folder.path().join("log")));
        wait_for("PostgreSQL serves", START_TIMEOUT, || {
            let mut ask = Command::new(self.programs.join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            ask.status().is_ok_and(|status| status.success()).then_some(())
        });
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        url_at(self.address())
    }

    /// Ends it: `INT` tells its sessions, `QUIT` ends everything where it is, as a crash of the machine would.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&mut self, signal: &str) {
        let mut process = self.process.take().expect("PostgreSQL runs");
        process::signal(process.id(), signal);
        wait_for("PostgreSQL ends", START_TIMEOUT, || process.try_wait().expect("it is our child"));
    }

    /// The process that takes connections; its sessions are its children.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("PostgreSQL runs").id()
    }

    /// Sends a signal to the process that takes connections.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: &str) {
        process::signal(self.process.as_ref().expect("PostgreSQL runs").id(), signal);
    }

    /// Somebody with the psql tool; the answer has a line for each row.
    ///
    /// # Panics
    /// When the database refuses.
    pub fn sql(&self, sql: &str) -> String {
        let mut ask = Command::new(self.programs.join("psql"));
        ask.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.url());
        let output = ask.output().expect("psql can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process::signal(process.id(), "QUIT");
            let _ = process.wait();
        }
    }
}

/// What `--store` takes, for whoever listens there in PostgreSQL's place.
pub fn url_at(address: SocketAddr) -> String {
    format!("postgres://{USER}@{address}/postgres")
}

/// Where the newest server's programs are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    process::folder_with(&PROGRAMS, versions.into_iter().rev())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// PostgreSQL refuses to run as root.
fn as_other_user(program: &Path) -> Command {
    let mut command;
    if is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{error}: {command:?}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
