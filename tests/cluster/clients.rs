//! Stock clients of every line on one server.

use std::time::Duration;

use harness::{Agent, LINES, LINES_13, Server, wait_for};
use serde_json::{Value, json};

/// Runs a fact for each line of clients, on one server.
fn for_each_line(lines: &[&str], mut fact: impl FnMut(&Server, &mut Agent, &str)) {
    let server = Server::start();
    for line in lines {
        eprintln!("with {line}");
        fact(&server, &mut Agent::start(line), line);
    }
}

#[test]
fn two_clients_converge() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.run("insert", json!({"name": "ann", "at": 0, "text": "hello"}));
        agent.wait_text("bob", "hello");
        agent.run("insert", json!({"name": "bob", "at": 5, "text": " world"}));
        agent.run("remove", json!({"name": "bob", "at": 0, "length": 1}));
        agent.wait_text("ann", "ello world");
    });
}

#[test]
fn a_late_joiner_gets_everything() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.run("type", json!({"name": "ann", "edits": 500, "seed": 1}));
        let text = agent.run("text", json!({"name": "ann"}));
        agent.open("early", &server.url(), line);
        agent.wait_text("early", text.as_str().unwrap());
        agent.run("destroy", json!({"names": ["ann", "early"]}));
        agent.open("late", &server.url(), line);
        agent.wait_text("late", text.as_str().unwrap());
    });
}

#[test]
fn offline_edits_merge() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.run("insert", json!({"name": "ann", "at": 0, "text": "middle"}));
        agent.wait_text("bob", "middle");
        agent.run("disconnect", json!({"names": ["ann", "bob"]}));
        agent.run("insert", json!({"name": "ann", "at": 0, "text": "front "}));
        agent.run("insert", json!({"name": "bob", "at": 6, "text": " back"}));
        agent.run("connect", json!({"names": ["ann"]}));
        agent.wait_synced(&["ann"]);
        agent.run("connect", json!({"names": ["bob"]}));
        agent.wait_text("bob", "front middle back");
        agent.wait_text("ann", "front middle back");
    });
}

#[test]
fn fifty_clients_with_random_edits_equal_an_independent_decode_of_what_is_stored() {
    for_each_line(&LINES, |server, agent, line| {
        let names: Vec<_> = (0..50).map(|number| format!("client-{number}")).collect();
        agent.run("openMany", json!({"names": names, "url": server.url(), "document": line}));
        agent.wait_synced(&names);
        agent.run("randomEdits", json!({"names": names, "edits": 1500, "seed": 7}));
        // Some go offline, all edit on, and the network fails under a few.
        agent.run("disconnect", json!({"names": names[..10]}));
        agent.run("randomEdits", json!({"names": names, "edits": 500, "seed": 8}));
        agent.run("cut", json!({"names": names[40..45]}));
        agent.run("randomEdits", json!({"names": names, "edits": 500, "seed": 9}));
        agent.run("connect", json!({"names": names[..10]}));
        agent.wait_synced(&names);
        agent.wait_equal(&names, Duration::from_secs(60));

        let content = agent.run("content", json!({"name": names[0]}));
        assert!(content["array"].to_string().len() > 100, "the edits have made something: {content}");
        let read = agent.run("readBy13", json!({"name": names[0]}));
        let state = harness::base64(&server.export(line));
        let by_line = agent.run("decodeByLine", json!({"update": state}));
        assert_eq!(by_line, content, "what is stored is what the editors see");
        assert_eq!(agent.run("decode", json!({"update": state})), read, "and Yjs 13 reads the same in it");
    });
}

#[test]
fn yjs_14_and_yjs_13_share_a_document() {
    let server = Server::start();
    let (mut old, mut new) = (Agent::start("y-websocket-3.1"), Agent::start("@y/websocket-4"));
    old.open("ann", &server.url(), "shared");
    new.open("bob", &server.url(), "shared");
    // 53 bits, where Yjs 13 has 32.
    assert!(new.run("clientId", json!({"name": "bob"})).as_u64().unwrap() > u64::from(u32::MAX));
    new.run("insert", json!({"name": "bob", "at": 0, "text": "new"}));
    old.wait_text("ann", "new");
    old.run("insert", json!({"name": "ann", "at": 0, "text": "old and "}));
    new.wait_text("bob", "old and new");
    old.run("randomEdits", json!({"names": ["ann"], "edits": 300, "seed": 3}));
    new.run("randomEdits", json!({"names": ["bob"], "edits": 300, "seed": 4}));
    wait_for("both read the same", Duration::from_secs(30), || {
        let read = old.run("content", json!({"name": "ann"}));
        (read == new.run("readBy13", json!({"name": "bob"}))).then_some(())
    });
    new.run("setAwareness", json!({"name": "bob", "state": {"user": "bob"}}));
    wait_awareness(&mut old, "ann", "bob sees bob", |states| has_user(states, "bob"));
}

#[test]
fn awareness_appears_and_disappears() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.run("setAwareness", json!({"name": "ann", "state": {"user": "ann"}}));
        wait_awareness(agent, "bob", "bob sees ann", |states| has_user(states, "ann"));
        // A newcomer is told at once.
        agent.open("late", &server.url(), line);
        wait_awareness(agent, "late", "the newcomer sees ann", |states| has_user(states, "ann"));
        // An orderly goodbye …
        agent.run("destroy", json!({"names": ["ann"]}));
        wait_awareness(agent, "bob", "ann is gone", |states| !has_user(states, "ann"));
        // … and a connection that just ends.
        agent.run("setAwareness", json!({"name": "late", "state": {"user": "late"}}));
        wait_awareness(agent, "bob", "bob sees late", |states| has_user(states, "late"));
        agent.run("vanish", json!({"names": ["late"]}));
        wait_awareness(agent, "bob", "late is gone", |states| !has_user(states, "late"));
    });
}

#[test]
fn a_client_that_comes_back_leaves_no_ghost() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        for round in 0..3 {
            agent.run("setAwareness", json!({"name": "ann", "state": {"user": "ann", "round": round}}));
            wait_awareness(agent, "bob", "bob sees ann", |states| has_user(states, "ann"));
            // The network fails; the client comes back by itself under the id that was there before.
            agent.run("cut", json!({"names": ["ann"]}));
            wait_for("ann is back", Duration::from_secs(10), || {
                let status = agent.run("status", json!({"name": "ann"}));
                (status["opened"] == round + 2 && status["synced"] == true).then_some(())
            });
            agent.run("setAwareness", json!({"name": "ann", "state": {"user": "ann", "back": round}}));
            wait_awareness(agent, "bob", "bob sees ann again", |states| {
                states.as_object().unwrap().values().any(|state| state["back"] == round)
            });
        }
        agent.run("vanish", json!({"names": ["ann"]}));
        // Well before the 30 s after which a silent state expires by itself.
        wait_awareness(agent, "bob", "ann is gone", |states| !has_user(states, "ann"));
    });
}

#[test]
fn an_update_of_ten_mebibytes_arrives() {
    for_each_line(&LINES, |server, agent, line| {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.run("insertLarge", json!({"name": "ann", "bytes": 10 << 20}));
        agent.wait_equal(&["ann", "bob"], Duration::from_secs(60));
        agent.open("late", &server.url(), line);
        agent.wait_equal(&["ann", "late"], Duration::from_secs(60));
        assert_eq!(agent.run("status", json!({"name": "ann"}))["opened"], 1, "the socket stayed open");
        agent.run("destroy", json!({"names": ["ann", "bob", "late"]}));
    });
}

#[test]
fn what_was_written_is_there_after_an_orderly_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut agents: Vec<_> = LINES_13.iter().map(|line| (line, Agent::start(line))).collect();
    let mut server = Server::start_with(harness::ServerOptions::at(data.path()));
    for (line, agent) in &mut agents {
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.run("randomEdits", json!({"names": ["ann"], "edits": 400, "seed": 5}));
        agent.wait_equal(&["ann", "bob"], Duration::from_secs(30));
    }
    server.signal("TERM");
    assert!(server.wait_exit(Duration::from_secs(30)).success());
    drop(server);
    let server = Server::start_with(harness::ServerOptions::at(data.path()));
    for (line, agent) in &mut agents {
        agent.open("late", &server.url(), line);
        agent.wait_equal(&["ann", "late"], Duration::from_secs(30));
    }
}

fn wait_awareness(agent: &mut Agent, name: &str, fact: &str, holds: impl Fn(&Value) -> bool) {
    wait_for(fact, Duration::from_secs(12), || {
        holds(&agent.run("awareness", json!({"name": name}))).then_some(())
    });
}

fn has_user(states: &Value, user: &str) -> bool {
    states.as_object().unwrap().values().any(|state| state["user"] == user)
}
