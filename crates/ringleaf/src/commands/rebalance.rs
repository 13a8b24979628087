//! `ringleaf ring rebalance …`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::ring::ask;
use super::text::{array, cell, count};
use crate::cli::{Rebalance, Server};
use crate::client::{Ask, Client};
use crate::exit::Failure;
use crate::output::{self, Table};

const PATH: &str = "/api/v1/ring/rebalance";

pub(super) fn run(command: Rebalance) -> Result<(), Failure> {
    match command {
        Rebalance::Status(server) => status(&server),
        Rebalance::Pause(server) => {
            let said = "documents stay where they are, whatever the ring says; a node that leaves the ring (drain, cordon) \
                        is emptied all the same.\n`ringleaf ring rebalance resume` lets them move again";
            pause(&server, true, said)
        }
        Rebalance::Resume(server) => pause(&server, false, "documents move to whom the ring names"),
    }
}

fn pause(server: &Server, paused: bool, said: &str) -> Result<(), Failure> {
    let client = Client::open(&server.target())?;
    let found = client.json(Ask::get(PATH))?;
    let answer = if found["paused"] == paused && found["etcd_problem"].is_null() {
        json!({ "outcome": "unchanged", "revision": found["revision"] })
    } else {
        ask(&client, "PUT", PATH, &json!({ "paused": paused, "expected": found["revision"] }))?
    };
    output::answer(server.output.format, &answer, || format!("{said}\n"))
}

fn status(server: &Server) -> Result<(), Failure> {
    let answer = Client::open(&server.target())?.json(Ask::get(PATH))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    output::answer(server.output.format, &answer, || shown(&answer, now, output::stdout_has_color()))
}

/// `now` in seconds since 1970.
fn shown(answer: &Value, now: u64, color: bool) -> String {
    let mut text = match answer["paused"].as_bool() {
        Some(true) => {
            let since = answer["since"].as_u64().map(|since| output::span(now.saturating_sub(since)));
            format!(
                "paused{}: documents stay where they are, except those of nodes that leave the ring\n",
                since.map(|since| format!(" for {since}")).unwrap_or_default()
            )
        }
        _ => format!(
            "documents move to whom the ring names: at most {} out of a node and {} into one at a time,\n\
             {} ms after the ring has changed\n",
            cell(answer, "out_max"),
            cell(answer, "in_max"),
            cell(answer, "debounce_milliseconds")
        ),
    };
    if let Some(problem) = answer["etcd_problem"].as_str() {
        text.push_str(&format!("! this is what was known last: {problem}\n"));
    }
    let mut table =
        Table::new(&["NODE", ">TO MOVE", ">MOVING OUT", ">MOVING IN", ">MOVED", ">FORGOTTEN", ">LET GO"]);
    let nodes = array(answer, "nodes");
    for node in nodes {
        let number = |key: &str| count(node[key].as_u64().unwrap_or(0));
        let mut row = vec![cell(node, "node")];
        row.extend(["to_move", "going", "coming", "moved", "forgotten", "let_go"].map(number));
        table.row(row);
    }
    text.push_str(&format!("\n{}", table.render(color)));
    for node in nodes.iter().filter(|node| node["paused"] != answer["paused"]) {
        text.push_str(&format!("! {} has not heard of the last change yet\n", cell(node, "node")));
    }
    for node in array(answer, "unanswered") {
        text.push_str(&format!("! {} is not counted: {}\n", cell(node, "node"), cell(node, "problem")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, paused: bool, going: u32) -> Value {
        json!({
            "node": name, "paused": paused, "to_move": 1200, "going": going, "coming": 0, "moved": 40, "forgotten": 2,
            "let_go": 0,
        })
    }

    #[test]
    fn a_pause_is_said_with_its_age_and_who_has_not_heard_of_it() {
        let answer = json!({
            "paused": true, "since": 1_000, "nodes": [node("n1", true, 0), node("n2", false, 8)],
            "unanswered": [{ "node": "n3", "problem": "it cannot be reached" }],
        });
        let expected = "\
paused for 1m 1s: documents stay where they are, except those of nodes that leave the ring

NODE  TO MOVE  MOVING OUT  MOVING IN  MOVED  FORGOTTEN  LET GO
n1      1,200           0          0     40          2       0
n2      1,200           8          0     40          2       0
! n2 has not heard of the last change yet
! n3 is not counted: it cannot be reached
";
        assert_eq!(shown(&answer, 1_061, false), expected);
    }

    #[test]
    fn the_pace_is_said_while_documents_may_move() {
        let answer = json!({
            "paused": false, "out_max": 8, "in_max": 16, "debounce_milliseconds": 500, "nodes": [],
            "etcd_problem": "etcd does not answer",
        });
        let text = shown(&answer, 0, false);
        assert!(
            text.starts_with(
                "documents move to whom the ring names: at most 8 out of a node and 16 into one"
            )
        );
        assert!(text.contains("! this is what was known last: etcd does not answer\n"), "{text}");
    }
}
