//! Stock Yjs clients in a Node process: `tests/clients/agent.mjs`, a JSON line for each command and each answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::wait_for;

/// The lines of stock clients that speak the y-websocket dialect, the last one on Yjs 14.
pub const LINES: [&str; 5] =
    ["y-websocket-1", "y-websocket-2", "y-websocket-3.0", "y-websocket-3.1", "@y/websocket-4"];

/// Those on Yjs 13.
pub const LINES_13: [&str; 4] = ["y-websocket-1", "y-websocket-2", "y-websocket-3.0", "y-websocket-3.1"];

const SYNCED_TIMEOUT: Duration = Duration::from_secs(60);

/// Clients of one line in one process.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Agent {
    /// # Panics
    /// When Node or its packages are not there: `cargo xtask test` installs them.
    pub fn start(line: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        assert!(
            folder.join("node_modules").is_dir(),
            "the npm packages are missing: npm ci in {}",
            folder.display()
        );
        let mut command = Command::new("node");
        command.args(["agent.mjs", line]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node is installed");
        let commands = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, commands, answers }
    }

    /// Carries out one verb of `agent.mjs`.
    ///
    /// # Panics
    /// When the verb fails or the process has ended.
    pub fn run(&mut self, verb: &str, arguments: Value) -> Value {
        let mut command = arguments;
        command["verb"] = verb.into();
        writeln!(self.commands, "{command}").expect("the agent reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the agent answers");
        let mut answer: Value = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{error}: the agent says {answer:?} to {verb}"));
        assert!(answer["error"].is_null(), "{}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].take()
    }

    /// Opens a client on a document and waits until it is in step with the server.
    pub fn open(&mut self, name: &str, url: &str, document: &str) {
        self.run("open", json!({"name": name, "url": url, "document": document}));
        self.wait_synced(&[name]);
    }

    pub fn wait_synced(&mut self, names: &[impl AsRef<str>]) {
        let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
        let since = Instant::now();
        loop {
            let waiting = self.run("unsynced", json!({"names": names}));
            match waiting.as_array().and_then(|waiting| waiting.first()) {
                None => return,
                Some(first) => assert!(since.elapsed() < SYNCED_TIMEOUT, "not synced, among others: {first}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of a client once it is what it should be.
    pub fn wait_text(&mut self, name: &str, text: &str) {
        wait_for(&format!("{name} reads {text:?}"), Duration::from_secs(20), || {
            (self.run("text", json!({"name": name})) == text).then_some(())
        });
    }

    /// Waits until all clients hold the same content; returns its digest.
    pub fn wait_equal(&mut self, names: &[impl AsRef<str>], within: Duration) -> String {
        let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
        wait_for("all clients hold the same content", within, || {
            let digests = self.run("digests", json!({"names": names}));
            let digests = digests.as_array()?;
            let first = digests.first()?.as_str()?;
            digests.iter().all(|digest| digest == first).then(|| first.to_owned())
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
