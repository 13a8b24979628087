//! Nodes and routers as processes of this machine, over an etcd and a PostgreSQL of their own.
//!
//! ```text
//! editors ─▶ r1, r2 ─▶ n1, n2, n3 ─▶ PostgreSQL
//!                └────────┴─▶ etcd
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process;
use crate::{Etcd, Group, Postgres, Role, Server, ServerOptions, http, wait_for};

const RING_TIMEOUT: Duration = Duration::from_secs(60);
/// One document, asked for by its name, takes a moment.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How to start a cluster.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    pub nodes: usize,
    pub routers: usize,
    /// What is the same for all processes: limits, announced warnings, the program.
    pub each: ServerOptions,
}

impl ClusterOptions {
    pub fn new(nodes: usize, routers: usize) -> Self {
        Self { nodes, routers, each: ServerOptions::default() }
    }

    #[must_use]
    pub fn announce(mut self, text: &'static str) -> Self {
        self.each = self.each.announce(text);
        self
    }

    #[must_use]
    pub fn limit(mut self, name: &'static str, value: impl ToString) -> Self {
        self.each = self.each.limit(name, value);
        self
    }
}

/// One place in the cluster, with the runs of the process that had it.
#[derive(Debug)]
struct Place {
    options: ServerOptions,
    /// The last one runs, unless it was ended. The earlier ones are kept for what they logged.
    runs: Vec<Server>,
}

/// A running cluster. As with [`Server`], a test fails if a process logged trouble that was not announced.
#[derive(Debug)]
pub struct Cluster {
    // Order: processes end before what they stand on.
    places: BTreeMap<String, Place>,
    pub etcd: Etcd,
    pub postgres: Postgres,
    folder: TempDir,
}

impl Cluster {
    /// Why there can be none here.
    pub fn missing() -> Option<&'static str> {
        Etcd::missing().or_else(Postgres::missing)
    }

    /// Nodes `n1`, `n2`, … and routers `r1`, `r2`, …, once each of them knows of all nodes.
    /// `None`, with the reason, when something is not installed.
    ///
    /// # Panics
    /// When a process does not start.
    pub fn start(options: &ClusterOptions) -> Option<Self> {
        Self::start_with(options, |_, _| Vec::new())
    }

    /// As [`start`](Self::start), with more arguments for some processes. Those of `--etcd` and `--store` take the place
    /// of the usual ones.
    ///
    /// # Panics
    /// When a process does not start.
    pub fn start_with(
        options: &ClusterOptions,
        mut arguments: impl FnMut(&Self, &str) -> Vec<String>,
    ) -> Option<Self> {
        if let Some(why) = Self::missing() {
            crate::skip(why);
            return None;
        }
        let mut cluster = Self::without_processes(options.each.group);
        let nodes = (1..=options.nodes).map(|number| (format!("n{number}"), Role::Node));
        let routers = (1..=options.routers).map(|number| (format!("r{number}"), Role::Router));
        for (name, role) in nodes.chain(routers) {
            let mut each = ServerOptions { role, ..options.each.clone() };
            each.arguments.extend(arguments(&cluster, &name));
            let each = cluster.place(&name, each);
            cluster.launch(&name, each);
        }
        for place in cluster.places.values_mut() {
            place.runs.last_mut().expect("it was launched").wait_ports();
        }
        cluster.wait_ring(options.nodes);
        Some(cluster)
    }

    /// Only what processes stand on.
    ///
    /// # Panics
    /// When etcd or PostgreSQL is not installed, or does not start.
    pub fn without_processes(group: Group) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { places: BTreeMap::new(), etcd: Etcd::start(group), postgres: Postgres::start(group), folder }
    }

    /// What a process of that name is started with: the options, and what makes it a part of this cluster.
    pub fn place(&self, name: &str, mut options: ServerOptions) -> ServerOptions {
        options.data = Some(self.data(name));
        let mut arguments = vec!["--node-id".into(), name.into()];
        let said = |flag: &str| options.arguments.iter().any(|argument| argument == flag);
        if !said("--etcd") {
            arguments.extend(["--etcd".into(), self.etcd.url()]);
        }
        if options.role == Role::Node && !said("--store") {
            arguments.extend(["--store".into(), self.postgres.url()]);
        }
        if !said("--listen") {
            arguments.extend(ports(options.role));
        }
        arguments.append(&mut options.arguments);
        options.arguments = arguments;
        options
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process under a name that has none.
    pub fn add(&mut self, name: &str, options: ServerOptions) {
        self.launch(name, options);
        self.last(name).wait_ports();
    }

    fn launch(&mut self, name: &str, options: ServerOptions) {
        let server = Server::launch(options.clone());
        let place = self.places.entry(name.into()).or_insert(Place { options, runs: Vec::new() });
        place.runs.push(server);
    }

    fn last(&mut self, name: &str) -> &mut Server {
        let place = self.places.get_mut(name).unwrap_or_else(|| panic!("there is no {name}"));
        place.runs.last_mut().expect("it was launched")
    }

    /// The process that has this name now.
    ///
    /// # Panics
    /// When none ever had it.
    pub fn server(&self, name: &str) -> &Server {
        let place = self.places.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        place.runs.last().expect("it was launched")
    }

    fn names_of(&self, role: Role) -> Vec<String> {
        let places = self.places.iter().filter(|(_, place)| place.options.role == role);
        places.map(|(name, _)| name.clone()).collect()
    }

    pub fn nodes(&self) -> Vec<String> {
        self.names_of(Role::Node)
    }

    pub fn routers(&self) -> Vec<String> {
        self.names_of(Role::Router)
    }

    /// Where editors may connect: every process.
    pub fn urls(&self) -> Vec<String> {
        self.places.keys().map(|name| self.server(name).url()).collect()
    }

    /// `kill -9`.
    pub fn kill(&mut self, name: &str) {
        self.last(name).kill();
    }

    /// Ends it in order, and says how long that took.
    ///
    /// # Panics
    /// When it does not end within a minute, or says that something went wrong.
    pub fn stop(&mut self, name: &str) {
        let server = self.last(name);
        server.signal("TERM");
        let status = server.wait_exit(Duration::from_secs(60));
        assert!(status.success(), "{name} ended with {status}");
    }

    /// `ringleaf node drain`, asked at another process; returns whether it says that nothing was cut off.
    ///
    /// # Panics
    /// When the process does not end within a minute, or says that something went wrong.
    pub fn drain(&mut self, name: &str, at: &str) -> bool {
        let answer = self.server(at).command(&format!("node drain {name} --timeout 60"));
        let status = self.last(name).wait_exit(Duration::from_secs(60));
        assert!(status.success(), "{name} ended with {status}: {answer:?}");
        answer.status.success()
    }

    /// Starts it again under its name, on other ports.
    pub fn start_again(&mut self, name: &str) {
        let mut options = self.server(name).options().clone();
        options.arguments.extend(ports(options.role));
        self.add(name, options);
    }

    /// Starts it again under its name, where it was.
    pub fn start_again_there(&mut self, name: &str) {
        let options = self.server(name).options().clone();
        self.add(name, options);
    }

    /// As [`start_again_there`](Self::start_again_there), and does not wait until it serves.
    pub fn launch_again_there(&mut self, name: &str) {
        let options = self.server(name).options().clone();
        self.launch(name, options);
    }

    /// Waits until a process that was only launched has said where it listens.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_ports(&mut self, name: &str) {
        self.last(name).wait_ports();
    }

    /// Whether it has.
    ///
    /// # Panics
    /// When it has ended.
    pub fn has_ports(&mut self, name: &str) -> bool {
        self.last(name).has_ports()
    }

    /// Kills all nodes and starts them again: what is asked for after that comes from the store.
    pub fn forget_everything(&mut self) {
        let nodes = self.nodes();
        for name in &nodes {
            self.kill(name);
        }
        for name in &nodes {
            self.start_again_there(name);
        }
        for name in &nodes {
            self.wait_ready(name);
        }
    }

    /// The stored state of a document, as one update, from whoever owns it.
    ///
    /// # Panics
    /// When nobody has it within half a minute.
    pub fn export(&self, document: &str) -> Vec<u8> {
        let path = format!("/api/v1/documents/{}/content?as=update", crate::server::percent(document));
        let first = self.nodes().into_iter().next().expect("there are nodes");
        wait_for(&format!("{document} can be had"), ANSWER_TIMEOUT, || {
            let answer = http(self.server(&first).admin(), "GET", &path, b"").ok()?;
            (answer.status == 200).then_some(answer.body)
        })
    }

    /// Asks the admin port of a process; `None` when nobody answers, or with an error.
    pub fn ask(&self, name: &str, path: &str) -> Option<Value> {
        let answer = http(self.server(name).admin(), "GET", path, b"").ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Waits until it says that it may be sent work.
    pub fn wait_ready(&self, name: &str) {
        wait_for(&format!("{name} is ready"), RING_TIMEOUT, || self.is_ready(name).then_some(()));
    }

    /// Whether it says that it may be sent work.
    pub fn is_ready(&self, name: &str) -> bool {
        http(self.server(name).admin(), "GET", "/readyz", b"").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until each process that runs knows that so many nodes serve.
    pub fn wait_ring(&self, serving: usize) {
        for name in self.places.keys() {
            wait_for(&format!("{name} knows of {serving} serving nodes"), RING_TIMEOUT, || {
                (self.serving(name).len() == serving).then_some(())
            });
        }
    }

    /// The nodes that serve, as a process sees it.
    pub fn serving(&self, name: &str) -> Vec<String> {
        let status = self.ask(name, "/api/v1/status").unwrap_or_default();
        let members = status["ring"]["members"].as_array().into_iter().flatten();
        let serving = members.filter(|member| member["state"] == "serving");
        serving.filter_map(|member| Some(member["node"].as_str()?.to_owned())).collect()
    }

    /// What processes said that nobody announced, of all their runs, a line each.
    pub fn unannounced(&self) -> String {
        self.places.values().flat_map(|place| &place.runs).map(Server::unannounced).collect()
    }

    pub fn is_running(&mut self, name: &str) -> bool {
        !self.last(name).has_ended()
    }

    /// How it ended, once it has.
    pub fn exit_status(&mut self, name: &str) -> Option<ExitStatus> {
        self.last(name).exit_status()
    }

    /// The nodes that have a document in memory, of those that answer.
    pub fn holders(&self, document: &str) -> Vec<String> {
        // Any process asks all nodes. Routers first, because nodes are what tests kill.
        let body = serde_json::json!({ "documents": [document] }).to_string();
        let asked = self.routers().into_iter().chain(self.nodes()).find_map(|name| {
            let answer =
                http(self.server(&name).admin(), "POST", "/api/v1/resident", body.as_bytes()).ok()?;
            (answer.status == 200).then(|| answer.json())
        });
        let found = asked.map(|answer| answer["documents"].clone()).unwrap_or_default();
        let found = found.as_array().into_iter().flatten();
        found.filter_map(|document| Some(document["node"].as_str()?.to_owned())).collect()
    }

    /// The one node that has a document in memory, once there is only one.
    pub fn holder(&self, document: &str) -> String {
        wait_for(&format!("one node hosts {document}"), ANSWER_TIMEOUT, || {
            let mut holders = self.holders(document);
            (holders.len() == 1).then(|| holders.remove(0))
        })
    }
}

/// Where a process listens.
fn ports(role: Role) -> Vec<String> {
    let [editors, admin, peer] = process::free_ports().map(|port| format!("127.0.0.1:{port}"));
    let mut arguments = vec!["--listen".into(), editors, "--admin".into(), admin];
    if role == Role::Node {
        arguments.extend(["--peer".into(), peer]);
    }
    arguments
}
