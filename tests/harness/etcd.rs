//! An etcd of one, in a folder that goes away with it.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Group};
use crate::{base64, http, wait_for};

const TRIES_MAX: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    ports: [u16; 2],
    group: Group,
    process: Option<Child>,
}

impl Etcd {
    /// Why there can be none here.
    pub fn missing() -> Option<&'static str> {
        let found = process::folder_with(&["etcd"], []);
        found.is_none().then_some("etcd is not installed (apt-get install etcd-server)")
    }

    /// # Panics
    /// When etcd is not installed, or does not start.
    pub fn start(group: Group) -> Self {
        for _ in 0..TRIES_MAX {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut etcd = Self { folder, ports: process::free_ports(), group, process: None };
            if etcd.try_start() {
                return etcd;
            }
        }
        panic!("etcd ends at once, {TRIES_MAX} times");
    }

    /// Starts it with what it had, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "etcd ended at once: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Whether it serves. It cannot choose ports itself, and somebody else may have taken one meanwhile: then it ends.
    fn try_start(&mut self) -> bool {
        let peer = format!("http://127.0.0.1:{}", self.ports[1]);
        let mut command = Command::new("etcd");
        // Nobody pulls the plug of a test's machine; whatever ends the process alone leaves its writes to the kernel.
        command.args(["--name", "one", "--unsafe-no-fsync", "--log-level", "error", "--data-dir"]);
        command.arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("one={peer}")]);
        self.process = Some(process::spawn(command, self.group, &self.folder.path().join("log")));
        wait_for("etcd serves", START_TIMEOUT, || {
            if self
                .process
                .as_mut()
                .is_some_and(|process| process.try_wait().is_ok_and(|ended| ended.is_some()))
            {
                return Some(false);
            }
            let health = http(self.address(), "GET", "/health", b"").ok()?;
            health.text().contains("true").then_some(true)
        })
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Sends a signal, such as `STOP` or `CONT`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: &str) {
        process::signal(self.process.as_ref().expect("etcd runs").id(), signal);
    }

    /// As `kill -9`.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Writes something, and forgets everything that was before it: whoever watches from an older revision is refused.
    pub fn compact(&self) {
        let key = base64(b"/elsewhere");
        self.ask("put", &json!({ "key": key, "value": key }));
        let written = self.ask("put", &json!({ "key": key, "value": key }));
        self.ask("compaction", &json!({ "revision": written["header"]["revision"], "physical": true }));
    }

    fn ask(&self, what: &str, question: &Value) -> Value {
        let path = format!("/v3/kv/{what}");
        let answer = http(self.address(), "POST", &path, question.to_string().as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        answer.json()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}
