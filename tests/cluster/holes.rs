//! Editors that have something whose ground is missing: a lost row of their own store, a message that overtook another.

use std::process::Command;
use std::time::Duration;

use harness::{Agent, Server, ServerOptions, wait_for};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const LINES: [&str; 3] = ["y-websocket-2", "y-websocket-3.1", "@y/websocket-4"];
/// What the server says of it.
const LEFT_BEHIND: &str = "part of what an editor has sent is not in the document";

/// What two editors wrote one after the other, apart from any server.
struct Parts {
    /// `base `
    ground: Value,
    /// `on top` behind it, without it.
    top: Value,
    /// The deletion of `ba`, without what it deletes.
    deletion: Value,
}

impl Parts {
    fn write(agent: &mut Agent) -> Self {
        for name in ["first", "second", "third"] {
            apart(agent, name, "ws://127.0.0.1:1", "apart");
        }
        agent.run("insert", json!({"name": "first", "at": 0, "text": "base "}));
        let ground = agent.run("since", json!({"name": "first", "vector": "AA=="}));
        let mut then = |name: &str, verb: &str, arguments: Value| {
            agent.run("take", json!({"name": name, "update": ground}));
            let vector = agent.run("vector", json!({"name": name}));
            let mut arguments = arguments;
            arguments["name"] = name.into();
            agent.run(verb, arguments);
            agent.run("since", json!({"name": name, "vector": vector}))
        };
        let top = then("second", "insert", json!({"at": 5, "text": "on top"}));
        let deletion = then("third", "remove", json!({"at": 0, "length": 2}));
        agent.run("destroy", json!({"names": ["first", "second", "third"]}));
        Self { ground, top, deletion }
    }
}

/// An editor that is not connected yet.
fn apart(agent: &mut Agent, name: &str, url: &str, document: &str) {
    agent.run("open", json!({"name": name, "url": url, "document": document, "connect": false}));
}

/// An editor whose own store holds this.
fn open_with(agent: &mut Agent, name: &str, url: &str, document: &str, update: &Value) {
    apart(agent, name, url, document);
    agent.run("take", json!({"name": name, "update": update}));
    agent.run("connect", json!({"names": [name]}));
    agent.wait_synced(&[name]);
}

/// What `doc show` says once this holds.
pub(crate) fn wait_shown(
    server: &Server,
    document: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let path = format!("/api/v1/documents/{}", document.replace('/', "%2F"));
    wait_for(what, PATIENCE, || {
        let shown = server.admin_request("GET", &path, b"").json();
        holds(&shown).then_some(shown)
    })
}

fn said(server: &Server, command: &str) -> String {
    let output = server.command(command);
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {text}{error}");
    text.into_owned()
}

#[test]
fn an_editor_with_a_hole_is_served_like_any_other_once_the_ground_is_there() {
    let server = Server::start_with(ServerOptions::default().announce(LEFT_BEHIND));
    let url = server.url();
    for line in LINES {
        let mut agent = Agent::start(line);
        let parts = Parts::write(&mut agent);
        open_with(&mut agent, "early", &url, line, &parts.top);
        wait_shown(&server, line, "it is shown", |shown| shown["sessions_left_behind"] == 1);
        operators_see_it(&server, line);
        open_with(&mut agent, "later", &url, line, &parts.ground);
        agent.open("beside", &url, line);
        for name in ["early", "later", "beside"] {
            agent.wait_text(name, "base on top");
        }
        agent.run("insert", json!({"name": "early", "at": 0, "text": "x"}));
        for (place, letter) in ["!", "?", "."].into_iter().enumerate() {
            agent.run("insert", json!({"name": "early", "at": 12 + place, "text": letter}));
        }
        for name in ["early", "later", "beside"] {
            agent.wait_text(name, "xbase on top!?.");
        }
        agent.open("next", &url, line);
        agent.wait_text("next", "xbase on top!?.");
        wait_shown(&server, line, "nothing is left behind", |shown| {
            shown["sessions_left_behind"] == 0 && shown["remainders"] == 0
        });
        let questions = agent.run("status", json!({"name": "early"}))["messages"]["step1"].as_u64();
        assert!(questions.is_some_and(|questions| questions <= 3), "{line}: {questions:?} questions");
    }
    assert!(!said(&server, "status").contains("is not in its document"));
    let metrics = server.admin_request("GET", "/metrics", b"").text();
    assert!(metrics.contains("ringleaf_sessions_left_behind{reason=\"ground\"} 0"), "{metrics}");
    assert!(metrics.contains("ringleaf_remainder_bytes 0"), "{metrics}");
}

fn operators_see_it(server: &Server, document: &str) {
    let shown = said(server, &format!("doc show {document}"));
    for words in ["LEFT BEHIND", "is kept until that comes", "remainder bytes", "sessions left behind"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let status = said(server, "status");
    assert!(
        status.contains("serving for") && status.contains("1 session has sent is not in its document"),
        "{status}"
    );
    let listed = said(server, "doc list --sort left-behind");
    assert!(listed.contains("LEFT BEHIND") && listed.contains(document), "{listed}");
    let metrics = server.admin_request("GET", "/metrics", b"").text();
    assert!(metrics.contains("ringleaf_sessions_left_behind{reason=\"ground\"} 1"), "{metrics}");
}

/// Somebody brings `early` and leaves for good; the server is killed; somebody else brings the ground.
fn leaves_for_good(line: &str, early: impl Fn(&Parts) -> &Value, text: &str) {
    let data = tempfile::tempdir().unwrap();
    let options = ServerOptions::at(data.path()).announce(LEFT_BEHIND);
    let mut server = Server::start_with(options.clone());
    let mut agent = Agent::start(line);
    let parts = Parts::write(&mut agent);
    open_with(&mut agent, "early", &server.url(), "notes", early(&parts));
    let kept = wait_shown(&server, "notes", "it is kept", |shown| shown["remainders"] == 1);
    assert_eq!(kept["last_slot"], 0, "{line}: nothing of it was published: {kept}");
    agent.run("destroy", json!({"names": ["early"]}));
    server.kill();
    let stopped =
        Command::new(harness::binary()).args(["doc", "show", "notes", "--data"]).arg(data.path()).output();
    let stopped = String::from_utf8_lossy(&stopped.unwrap().stdout).into_owned();
    assert!(stopped.contains("remainders") && !stopped.contains("remainder bytes  0 B"), "{line}: {stopped}");
    drop(server);
    let server = Server::start_with(options);
    open_with(&mut agent, "later", &server.url(), "notes", &parts.ground);
    agent.wait_text("later", text);
    agent.open("next", &server.url(), "notes");
    agent.wait_text("next", text);
    wait_shown(&server, "notes", "it is forgotten", |shown| shown["remainders"] == 0);
    let verified = server.command("doc verify notes --deep");
    assert!(verified.status.success(), "{line}: {verified:?}");
}

#[test]
fn an_early_update_comes_in_with_its_ground_though_its_editor_has_left_and_the_server_was_killed() {
    for line in LINES {
        leaves_for_good(line, |parts| &parts.top, "base on top");
    }
}

#[test]
fn an_early_deletion_comes_in_with_its_ground_though_its_editor_has_left_and_the_server_was_killed() {
    for line in LINES {
        leaves_for_good(line, |parts| &parts.deletion, "se ");
    }
}
