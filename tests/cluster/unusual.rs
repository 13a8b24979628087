//! What editors rarely write: it is kept, and comes back as it was written, or its editor is told.

use std::time::Duration;

use harness::{Agent, Server, ServerOptions, base64, wait_for, yjs};
use serde_json::json;

use crate::holes::wait_shown;

const PATIENCE: Duration = Duration::from_secs(30);
const LINES: [&str; 2] = ["y-websocket-2", "y-websocket-3.1"];
const LEFT_BEHIND: &str = "part of what an editor has sent is not in the document";
/// What is written, how deep, and why `doc get` does not show it, if it does not.
const KINDS: [(&str, u32, Option<&str>); 6] = [
    ("hook", 1, Some("it does not know XML hooks")),
    ("types", 600, None),
    ("types", 1_900, None),
    ("value", 600, None),
    ("value", 1_900, None),
    ("attribute", 600, Some("recursion limit exceeded")),
];

fn type_letters(agent: &mut Agent, name: &str, letters: usize) {
    for _ in 0..letters {
        agent.run("insert", json!({"name": name, "at": 0, "text": "x"}));
    }
}

fn letters(agent: &mut Agent, name: &str) -> usize {
    agent.run("text", json!({"name": name})).as_str().unwrap_or_default().matches('x').count()
}

#[test]
fn what_is_rarely_written_is_kept_and_so_is_what_is_typed_after_it() {
    let server = Server::start();
    for line in LINES {
        let mut agent = Agent::start(line);
        for (kind, levels, unread) in KINDS {
            let document = format!("{line}-{kind}-{levels}");
            agent.open("writes", &server.url(), &document);
            agent.run("write", json!({"name": "writes", "kind": kind, "levels": levels}));
            kept(&server, &mut agent, &document, unread);
        }
        let document = format!("{line}-old");
        agent.open("writes", &server.url(), &document);
        agent.run("take", json!({"name": "writes", "update": base64(&yjs::old_json(7))}));
        kept(&server, &mut agent, &document, Some("it does not know JSON content of before 2020"));
        let content = agent.run("content", json!({"name": "writes"}));
        assert_eq!(content["array"][0], json!({"old": [1, 2]}), "{content}");
        agent.run("destroy", json!({"names": ["writes"]}));
    }
}

/// Forty letters more are seen by others, with what was written before; an operator reads it, or is told why not.
fn kept(server: &Server, agent: &mut Agent, document: &str, unread: Option<&str>) {
    type_letters(agent, "writes", 40);
    agent.open("reads", &server.url(), document);
    wait_for("all of it is read", PATIENCE, || (letters(agent, "reads") == 40).then_some(()));
    // Not by their contents: Yjs overflows its stack when it shows the deepest.
    let vector = |agent: &mut Agent, name: &str| agent.run("vector", json!({"name": name}));
    assert_eq!(vector(agent, "reads"), vector(agent, "writes"), "{document}");
    agent.run("destroy", json!({"names": ["reads"]}));
    let read = server.command(&format!("doc get {document}"));
    let said = String::from_utf8_lossy(&read.stderr);
    assert_eq!(read.status.success(), unread.is_none(), "{document}: {said}");
    assert!(unread.is_none_or(|why| said.contains(why) && said.contains("doc export")), "{document}: {said}");
    assert!(server.command(&format!("doc verify {document}")).status.success(), "{document}");
}

#[test]
fn who_brings_again_what_would_break_others_is_told_and_a_new_client_stops() {
    let server = Server::start_with(ServerOptions::default().announce(LEFT_BEHIND));
    let mut agent = Agent::start("y-websocket-3.1");
    agent.open("deep", &server.url(), "deep");
    agent.run("write", json!({"name": "deep", "kind": "types", "levels": 3_000}));
    type_letters(&mut agent, "deep", 40);
    let told = stopped(&mut agent, "deep");
    assert!(told.contains("cannot be saved here"), "{told}");
    agent.open("beside", &server.url(), "deep");
    agent.run("insert", json!({"name": "beside", "at": 0, "text": "x"}));
    agent.open("late", &server.url(), "deep");
    agent.wait_text("late", "x");

    agent.open("links", &server.url(), "links");
    agent.open("was there", &server.url(), "links");
    let frame = yjs::step2_frame(&yjs::weak_link(77));
    agent.run("answerWith", json!({"name": "links", "frame": base64(&frame)}));
    agent.run("cut", json!({"names": ["links"]}));
    stopped(&mut agent, "links");
    // The letter beside the link is healthy.
    agent.open("reads", &server.url(), "links");
    for name in ["was there", "reads"] {
        agent.wait_text(name, "x");
    }
}

/// Waits until a client was told 4422 and stays away, and says with what words.
fn stopped(agent: &mut Agent, name: &str) -> String {
    wait_for("it is told", PATIENCE, || {
        let status = agent.run("status", json!({"name": name}));
        let codes = status["closes"].as_array()?;
        let told = codes.iter().position(|code| *code == 4422)?;
        (status["stopped"] == true && status["connected"] == false)
            .then(|| status["reasons"][told].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn a_document_that_is_full_tells_its_editors() {
    let options =
        ServerOptions::default().limit("RINGLEAF_LIMITS_DOCUMENT_BYTES_MAX", "64KiB").announce(LEFT_BEHIND);
    let server = Server::start_with(options);
    let mut agent = Agent::start("y-websocket-3.1");
    agent.open("large", &server.url(), "full");
    agent.run("insertLarge", json!({"name": "large", "bytes": 100_000}));
    agent.run("insert", json!({"name": "large", "at": 0, "text": "more"}));
    let status = wait_for("it is told", PATIENCE, || {
        let status = agent.run("status", json!({"name": "large"}));
        (status["stopped"] == true).then_some(status)
    });
    assert!(status["closes"].as_array().unwrap().contains(&json!(4414)), "{status}");
    assert!(status["reasons"].to_string().contains("largest size"), "{status}");
}

#[test]
fn a_document_of_more_than_twenty_thousand_clients_is_one_like_any_other() {
    const CLIENTS: usize = 20_500;
    let data = tempfile::tempdir().unwrap();
    let options = ServerOptions::at(data.path());
    let mut server = Server::start_with(options.clone());
    let mut agent = Agent::start("y-websocket-3.1");
    agent.open("brings", &server.url(), "brought");
    agent.run("take", json!({"name": "brings", "update": base64(&yjs::typed_by_many(CLIENTS as u64))}));
    agent.run("insert", json!({"name": "brings", "at": 0, "text": "new words "}));
    let all = format!("new words {}", "x".repeat(CLIENTS));
    agent.open("reads", &server.url(), "brought");
    agent.wait_text("reads", &all);

    // Another one has come to have so many, little by little.
    agent.open("grows", &server.url(), "grown");
    for clients in [7_000, 14_000, 20_500] {
        agent.run("take", json!({"name": "grows", "update": base64(&yjs::typed_by_many(clients))}));
    }
    agent.open("late", &server.url(), "grown");
    agent.wait_text("late", &"x".repeat(CLIENTS));

    let succeeds = |server: &Server, command: &str| {
        let output = server.command(command);
        assert!(output.status.success(), "{command}: {output:?}");
    };
    let (file, backup) = (data.path().join("grown.yjs"), data.path().join("backup.db"));
    succeeds(&server, "doc verify grown --deep");
    succeeds(&server, &format!("doc export grown {}", file.display()));
    succeeds(&server, &format!("doc import copy {}", file.display()));
    succeeds(&server, &format!("backup {}", backup.display()));
    assert_eq!(wait_shown(&server, "copy", "it is there", |shown| shown["last_slot"] != 0)["deleted"], false);
    agent.run("destroy", json!({"names": ["brings", "reads", "grows", "late"]}));
    server.kill();

    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&backup, restored.path().join("ringleaf.db")).unwrap();
    for options in [options, ServerOptions::at(restored.path())] {
        let server = Server::start_with(options);
        agent.open("next", &server.url(), "copy");
        agent.wait_text("next", &"x".repeat(CLIENTS));
        agent.run("insert", json!({"name": "next", "at": 0, "text": "z"}));
        agent.open("last", &server.url(), "copy");
        agent.wait_text("last", &format!("z{}", "x".repeat(CLIENTS)));
        agent.run("destroy", json!({"names": ["next", "last"]}));
    }
}
