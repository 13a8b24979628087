//! The cluster of compose.yaml as processes of this machine, and what the runbook does to it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Cluster, Group, Role, ServerOptions, Socket, yjs};
use serde_json::Value;

use super::{compose, root, runbook};

const USAGE: i32 = 2;
const CONFIGURATION: i32 = 7;
/// What a person does not wait for either.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Addresses and folders of this machine in place of those in containers.
struct Here<'a> {
    certificates: &'a Path,
    etcd: String,
    store: String,
    /// A process is reached on the peer port that it was given.
    peer: String,
}

impl Here<'_> {
    fn word(&self, word: &str) -> String {
        let certificates = format!("{}/", self.certificates.display());
        match word {
            "0.0.0.0:1234" => "127.0.0.1:0".into(),
            "0.0.0.0:1236" => self.peer.clone(),
            "http://etcd:2379" => self.etcd.clone(),
            word if word.ends_with(":1236") => self.peer.clone(),
            word if word.starts_with("postgres://") => {
                let there = format!("postgres://ringleaf:{}@postgres/ringleaf?", compose::PASSWORD);
                let options = word.strip_prefix(&there).unwrap_or_else(|| panic!("{word}"));
                assert_eq!(options, "sslmode=disable");
                self.store.clone()
            }
            word => word.replace("/certificates/", &certificates),
        }
    }

    /// How compose would start it.
    fn options(&self, service: &Value) -> ServerOptions {
        let command = compose::words(&service["command"]);
        let role = match command[0].as_str() {
            "node" => Role::Node,
            "router" => Role::Router,
            other => panic!("{other} is no role of a cluster"),
        };
        // Its folder is one that the harness gives it.
        let at = command.iter().position(|word| word == "--data").expect("it has a folder");
        let flags = command[1..at].iter().chain(&command[at + 2..]);
        // It says itself that it is open to anyone; nothing else may go wrong.
        let options = ServerOptions { role, ..ServerOptions::default() }.announce("open to");
        let mut options = flags.fold(options, |options, word| options.argument(&self.word(word)));
        for (name, value) in compose::environment(service) {
            let name: &'static str = Box::leak(name.into_boxed_str());
            options = options.limit(name, self.word(&value));
        }
        options
    }
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What the service `certificates` would make.
fn make_certificates(folder: &Path) {
    let service = &compose::services()["certificates"];
    let mut words = compose::words(&service["command"]).into_iter();
    assert_eq!(words.next().unwrap(), "/certificates");
    let mut command = Command::new("sh");
    command.arg(root().join("docker/certificates.sh")).arg(folder).args(words);
    // Twice, as at a second start: what is there stays.
    for _ in 0..2 {
        let made = command.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn the_composed_cluster_serves_and_obeys_the_runbook() {
    if let Some(why) = Cluster::missing() {
        return harness::skip(why);
    }
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let mut cluster = Cluster::without_processes(Group::default());
    for (name, service) in compose::processes() {
        let here = Here {
            certificates: folder.path(),
            etcd: cluster.etcd.url(),
            store: cluster.postgres.url(),
            peer: free_port(),
        };
        cluster.add(&name, here.options(&service));
    }
    cluster.wait_ring(3);
    for (name, service) in compose::processes() {
        let test = compose::words(&service["healthcheck"]["test"])[2..].join(" ");
        cluster.wait_ready(&name);
        let health = cluster.server(&name).command(&test);
        assert!(health.status.success(), "{name}: {}", String::from_utf8_lossy(&health.stderr));
    }
    // Over a router, a link with certificates, and a node: what is typed is stored.
    let mut socket = Socket::open(cluster.server("r1").editors(), "/notes/today");
    socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
    crate::wait_acknowledged(&mut socket, 7, 5);
    for command in runbook::commands() {
        obey(&cluster, &command);
    }
}

/// Runs a command of the runbook. It may find nothing to do here, but it must mean something.
fn obey(cluster: &Cluster, command: &str) {
    let node = cluster.server("n1");
    let starts = command.starts_with("serve ");
    let asked_at = Instant::now();
    let ran = match starts {
        true => super::print_config(command.split_whitespace()),
        false if command.starts_with("store ") => {
            let mut program = Command::new(harness::binary());
            program.args(command.split_whitespace()).output().unwrap()
        }
        false => node.command(command),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let code = ran.status.code().unwrap_or_default();
    assert!(![USAGE, CONFIGURATION].contains(&code), "ringleaf {command}: {said}");
    assert!(asked_at.elapsed() < COMMAND_TIMEOUT, "ringleaf {command} took {:?}", asked_at.elapsed());
    // What cannot be done to a cluster that is well, and to a document that is.
    let refused = ["backup ", "doc quarantine show", "doc quarantine release", "store copy"];
    let may_be = refused.iter().any(|start| command.starts_with(start));
    assert!(ran.status.success() || may_be, "ringleaf {command} ended with {code}: {said}");
}
