//! Whatever an editor writes, the others get, and whoever comes later: the same value, not one that is nearly the same.

use std::time::Duration;

use harness::{Agent, LINES_13, Server, ServerOptions, wait_for};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn values_are_the_same_for_all_and_after_a_snapshot() {
    let data = tempfile::tempdir().unwrap();
    let options = ServerOptions::at(data.path()).limit("RINGLEAF_LIMITS_TAIL_SLOTS_MAX", 4);
    let mut server = Server::start_with(options.clone());
    let mut all = Vec::new();
    for line in LINES_13 {
        let mut agent = Agent::start(line);
        agent.open("ann", &server.url(), line);
        agent.open("bob", &server.url(), line);
        agent.wait_synced(&["ann", "bob"]);
        agent.run("setValues", json!({"name": "ann"}));
        let written = agent.run("values", json!({"name": "ann"}));
        assert!(written.to_string().contains("9223372036854775807n"), "{written}");
        let is_read_by = |agent: &mut Agent, name: &str| {
            wait_for("the same values", PATIENCE, || {
                (agent.run("values", json!({"name": name})) == written).then_some(())
            });
        };
        is_read_by(&mut agent, "bob");
        // What was typed since makes the document encode its state anew.
        agent.run("insert", json!({"name": "bob", "at": 0, "text": "later"}));
        agent.open("late", &server.url(), line);
        is_read_by(&mut agent, "late");
        for number in 0..8 {
            let before = server.last_slot(line);
            agent.run("insert", json!({"name": "bob", "at": 0, "text": number.to_string()}));
            wait_for("the next slot", PATIENCE, || (server.last_slot(line) > before).then_some(()));
        }
        wait_for("a snapshot", PATIENCE, || {
            let document = server.document(line);
            let number = |name: &str| document[name].as_u64().unwrap();
            (number("last_slot") > number("tail_slots") + 4).then_some(())
        });
        let verified = server.command(&format!("doc verify {line}"));
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        all.push(written);
        agent.run("destroy", json!({"names": ["ann", "bob", "late"]}));
    }
    server.kill();
    let server = Server::start_with(options);
    for (line, written) in LINES_13.into_iter().zip(all) {
        let mut agent = Agent::start(line);
        agent.open("next day", &server.url(), line);
        agent.wait_synced(&["next day"]);
        assert_eq!(agent.run("values", json!({"name": "next day"})), written);
    }
}
