//! Everybody comes back at once.

use std::time::{Duration, Instant};

use harness::{Agent, LINES, Server, wait_for};
use serde_json::json;

const CLIENTS_PER_LINE: usize = 100;

#[test]
fn five_hundred_clients_reconnect_without_a_slot_or_a_broadcast() {
    let server = Server::start();
    let mut agents: Vec<_> = LINES.iter().map(|line| Agent::start(line)).collect();
    // 20,000 edits, made offline, arrive as one answer to the server's state vector.
    let writer = &mut agents[0];
    writer.run("open", json!({"name": "first", "url": server.url(), "document": "big", "awareness": false, "connect": false}));
    writer.run("type", json!({"name": "first", "edits": 20_000, "seed": 1}));
    let text = writer.run("text", json!({"name": "first"}));
    writer.run("connect", json!({"names": ["first"]}));
    writer.wait_synced(&["first"]);
    // It is in step as soon as it has the server's state: the server may not have its edits yet, and who joins before that is
    // told of them, which is no broadcast to wonder at.
    wait_for("the edits are stored", Duration::from_secs(60), || (server.last_slot("big") > 0).then_some(()));

    let names: Vec<_> = (0..CLIENTS_PER_LINE).map(|number| format!("client-{number}")).collect();
    for (number, agent) in agents.iter_mut().enumerate() {
        eprintln!("clients of {} join", LINES[number]);
        if number > 0 {
            agent.run(
                "open",
                json!({"name": "first", "url": server.url(), "document": "big", "awareness": false}),
            );
        }
        agent.wait_text("first", text.as_str().unwrap());
        // The providers of one line share a replica: 500 sockets and sync handshakes, five documents in memory.
        let shared = json!({"names": names, "url": server.url(), "document": "big", "awareness": false, "shares": "first"});
        agent.run("openMany", shared);
        agent.wait_synced(&names);
        agent.run("forgetCounts", json!({"names": names}));
    }
    let slot = server.last_slot("big");

    let started_at = Instant::now();
    for agent in &mut agents {
        agent.run("cut", json!({"names": names}));
    }
    for (agent, line) in agents.iter_mut().zip(LINES) {
        wait_for(&format!("every client of {line} is back"), Duration::from_secs(100), || {
            let statuses = agent.run("statuses", json!({"names": names}));
            statuses
                .as_array()?
                .iter()
                .all(|status| status["opened"] == 2 && status["synced"] == true)
                .then_some(())
        });
    }
    harness::figure(&format!("500 clients in step again after {:.2} s", started_at.elapsed().as_secs_f64()));
    // What everybody sent back, a full delete set among it, has been looked at when an edit after it has arrived.
    agents[1].run("setAwareness", json!({"name": "first", "state": {"user": "last"}}));
    wait_for("a message sent after the storm has gone round", Duration::from_secs(20), || {
        let states = agents[2].run("awareness", json!({"name": "first"}));
        states.as_object()?.values().any(|state| state["user"] == "last").then_some(())
    });
    assert_eq!(server.last_slot("big"), slot, "no slot was written");
    for (agent, line) in agents.iter_mut().zip(LINES) {
        let statuses = agent.run("statuses", json!({"names": names}));
        for status in statuses.as_array().unwrap() {
            assert!(status["messages"]["update"].is_null(), "something was broadcast to {line}: {status}");
            assert_eq!(status["messages"]["step2"], 1, "each of {line} got one answer: {status}");
        }
    }
}
