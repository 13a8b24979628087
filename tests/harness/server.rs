//! The real `ringleaf` binary, started for one test.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{HttpAnswer, http};
use crate::process::{self, Group};
use crate::{Event, Socket, wait_for, yjs};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Which of ringleaf's servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// `ringleaf serve`
    #[default]
    Alone,
    /// `ringleaf node`
    Node,
    /// `ringleaf router`
    Router,
}

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    pub role: Role,
    pub group: Group,
    /// The program; without it what cargo built beside this test.
    pub binary: Option<PathBuf>,
    /// Where it keeps its documents; without it a folder that goes away with the server.
    pub data: Option<PathBuf>,
    /// Where editors connect; without it a free port on loopback.
    pub listen: Option<&'static str>,
    pub arguments: Vec<String>,
    /// Configuration, such as `("RINGLEAF_LIMITS_IDLE_TIMEOUT", "1s")`.
    pub environment: Vec<(&'static str, String)>,
    /// A program that runs the server, such as `strace`, with its arguments.
    pub wrapper: Vec<String>,
    /// Parts of the warnings and errors that the test brings about.
    pub announced: Vec<&'static str>,
}

impl ServerOptions {
    pub fn at(data: &Path) -> Self {
        Self { data: Some(data.to_path_buf()), ..Self::default() }
    }

    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn limit(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// Warnings and errors with this text are part of the test; any other fails it.
    #[must_use]
    pub fn announce(mut self, text: &'static str) -> Self {
        self.announced.push(text);
        self
    }
}

/// A running server. It is killed when it is dropped, and the test fails if it logged trouble that was not announced.
#[derive(Debug)]
pub struct Server {
    child: Child,
    options: ServerOptions,
    data: PathBuf,
    ports: Ports,
    /// Ports, log, and the documents unless they have a folder of their own.
    folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(ServerOptions::default())
    }

    /// # Panics
    /// When it does not serve within a minute.
    pub fn start_with(options: ServerOptions) -> Self {
        let mut server = Self::launch(options);
        server.wait_ports();
        server
    }

    /// Waits until it has said where it listens.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_ports(&mut self) {
        wait_for("the server serves", START_TIMEOUT, || self.has_ports().then_some(()));
    }

    /// Whether it has said where it listens.
    ///
    /// # Panics
    /// When it has ended.
    pub fn has_ports(&mut self) -> bool {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.log_text());
        let found = read_ports(&self.folder.path().join("ports"));
        self.ports = found.unwrap_or(self.ports);
        found.is_some()
    }

    /// Starts it and does not wait until it serves.
    ///
    /// # Panics
    /// When the binary has not been built.
    pub fn launch(options: ServerOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = options.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let binary = options.binary.clone().unwrap_or_else(binary);
        let mut words = options.wrapper.iter();
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        let listen = options.listen.unwrap_or("127.0.0.1:0");
        match options.role {
            Role::Alone => command.arg("serve").arg(&data),
            Role::Node => command.args(["node", "--peer", "127.0.0.1:0", "--data"]).arg(&data),
            Role::Router => command.args(["router", "--data"]).arg(&data),
        };
        command.args(["--listen", listen, "--admin", "127.0.0.1:0"]);
        command.args(["--log", "json", "--ports-file"]).arg(folder.path().join("ports"));
        command.args(&options.arguments).envs(options.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        options.group.apply(&mut command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{error}: {}", binary.display()));
        Self { child, options, data, ports: Ports::default(), folder }
    }

    /// Where editors connect, as `ws://…`.
    pub fn url(&self) -> String {
        format!("ws://{}", self.editors())
    }

    pub fn editors(&self) -> SocketAddr {
        self.ports.editors
    }

    pub fn admin(&self) -> SocketAddr {
        self.ports.admin
    }

    /// Where other processes connect, if it is a node.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.ports.peer
    }

    /// What it was started with.
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs `ringleaf …` as an operator of this server does.
    ///
    /// # Panics
    /// When the program does not start.
    pub fn command(&self, line: &str) -> Output {
        self.operator(line).output().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// As [`command`](Self::command), and does not wait until it has ended. What it says is lost.
    ///
    /// # Panics
    /// When the program does not start.
    pub fn spawn(&self, line: &str) -> Child {
        let mut command = self.operator(line);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn operator(&self, line: &str) -> Command {
        let binary = self.options.binary.clone().unwrap_or_else(binary);
        let mut command = Command::new(binary);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).args(line.split_whitespace());
        command.arg("--admin").arg(self.admin().to_string());
        command
    }

    /// Sends one request to the admin interface.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn admin_request(&self, method: &str, path: &str, body: &[u8]) -> HttpAnswer {
        http(self.admin(), method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    /// What `doc show` says about a document.
    pub fn document(&self, name: &str) -> Value {
        let answer = self.admin_request("GET", &format!("/api/v1/documents/{}", percent(name)), b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The number of the last slot that was written for a document; 0 when there is none yet.
    ///
    /// # Panics
    /// When the server does not say it.
    pub fn last_slot(&self, name: &str) -> u64 {
        let answer = self.admin_request("GET", &format!("/api/v1/documents/{}", percent(name)), b"");
        if answer.status == 404 {
            return 0;
        }
        let document = answer.json();
        document["last_slot"].as_u64().unwrap_or_else(|| panic!("no last slot in {document}"))
    }

    /// The stored state of a document, as one update.
    pub fn export(&self, name: &str) -> Vec<u8> {
        let path = format!("/api/v1/documents/{}/content?as=update", percent(name));
        let answer = self.admin_request("GET", &path, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// The state that a client gets that has nothing.
    ///
    /// # Panics
    /// When it gets none within a minute.
    pub fn state(&self, name: &str) -> Vec<u8> {
        let mut socket = Socket::open(self.editors(), &format!("/{}", percent(name)));
        socket.send(&yjs::STEP1_OF_NOTHING).expect("the server reads");
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < Duration::from_secs(60), "no answer about {name}");
            match socket.receive(Duration::from_secs(60)) {
                Event::Message(message) => {
                    if let yjs::Frame::Step2(update) = yjs::frame(&message) {
                        return update;
                    }
                }
                end => panic!("{end:?} instead of the state of {name}"),
            }
        }
    }

    /// Memory that the process holds.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it has held so far.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("Linux says it");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    }

    /// The server's own process, also when a wrapper runs it.
    pub fn process(&self) -> u32 {
        let id = self.child.id();
        if self.options.wrapper.is_empty() {
            return id;
        }
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(id)
    }

    pub fn signal(&self, signal: &str) {
        process::signal(self.process(), signal);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }

    /// How it ended, once it has.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        wait_for("the server ends", within, || self.exit_status())
    }

    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    pub fn has_ended(&mut self) -> bool {
        self.exit_status().is_some()
    }

    /// Where everything is that it wrote to stderr.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its warnings and errors that nobody announced, a line each.
    pub fn unannounced(&self) -> String {
        let mut found = String::new();
        for line in self.log_text().lines() {
            let trouble = match serde_json::from_str::<Value>(line) {
                Ok(entry) => matches!(entry["level"].as_str(), Some("WARN" | "ERROR")),
                Err(_) => true,
            };
            let trouble = trouble && !line.contains(WRONG_ON_PURPOSE);
            if trouble && !self.options.announced.iter().any(|text| line.contains(text)) {
                let _ = writeln!(found, "{line}");
            }
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let trouble = self.unannounced();
        if std::thread::panicking() || !trouble.is_empty() {
            let log = self.log_text();
            let lines: Vec<_> = log.lines().collect();
            eprintln_log(&lines[lines.len().saturating_sub(30)..]);
        }
        if std::thread::panicking() {
            return;
        }
        assert!(trouble.is_empty(), "the server logged what this test did not announce:\n{trouble}");
    }
}

#[expect(clippy::print_stderr, reason = "what the server said belongs to a failed test's output")]
fn eprintln_log(lines: &[&str]) {
    eprintln!("the end of the server's log:\n{}", lines.join("\n"));
}

/// A name as it may stand in a path.
pub(crate) fn percent(name: &str) -> String {
    name.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    editors: SocketAddr,
    admin: SocketAddr,
    peer: Option<SocketAddr>,
}

impl Default for Ports {
    /// Nowhere.
    fn default() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { editors: nowhere, admin: nowhere, peer: None }
    }
}

fn read_ports(file: &Path) -> Option<Ports> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let address = |name: &str| ports[name].as_str()?.parse().ok();
    Some(Ports { editors: address("listen")?, admin: address("admin")?, peer: address("peer") })
}

/// What the program of `cargo xtask mutants` says at its start, whether it is told to be wrong or not.
const WRONG_ON_PURPOSE: &str = "built to be wrong on purpose";

/// `RINGLEAF_BINARY`, or what cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("RINGLEAF_BINARY") {
        return binary.into();
    }
    let test = std::env::current_exe().expect("this program has a path");
    let binary = test.ancestors().nth(2).expect("cargo puts tests into target/…/deps").join("ringleaf");
    assert!(
        binary.exists(),
        "{} is not there: `cargo build -p ringleaf`, or run `cargo xtask test`",
        binary.display()
    );
    binary
}
