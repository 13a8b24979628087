//! `ringleaf doc move`, `doc unpin` and `doc pins`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ring::{ask, etcd_away, unanswered};
use super::text::{array, cell};
use crate::cli::{PinnedDocument, Server};
use crate::client::{Ask, Client, segment};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::progress;

/// How often to look whether a document has arrived.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Pins the document, and waits until whoever has it in memory has handed it over.
pub(super) fn move_to(document: &PinnedDocument, node: &str) -> Result<(), Failure> {
    let PinnedDocument { name, server } = document;
    let target = server.target();
    let client = Client::open(&target)?;
    let path = format!("/api/v1/pins/{}", segment(name));
    let mut answer = ask(&client, "PUT", &path, &json!({ "node": node }))?;
    let arrived = arrives(&client, &mut answer, Duration::from_secs(target.timeout))?;
    output::answer(server.output.format, &answer, || moved(&answer) + &unanswered(&answer))?;
    if arrived { Ok(()) } else { Err(Failure::said(Exit::TimedOut)) }
}

pub(super) fn unpin(document: &PinnedDocument) -> Result<(), Failure> {
    let PinnedDocument { name, server } = document;
    let target = server.target();
    let client = Client::open(&target)?;
    let path = format!("/api/v1/pins/{}", segment(name));
    let mut answer = client.json(Ask::delete(&path))?;
    let arrived = arrives(&client, &mut answer, Duration::from_secs(target.timeout))?;
    output::answer(server.output.format, &answer, || moved(&answer) + &unanswered(&answer))?;
    if arrived { Ok(()) } else { Err(Failure::said(Exit::TimedOut)) }
}

/// Looks until the document is in memory at its new owner or nowhere, and adds to the answer where it is.
fn arrives(client: &Client, answer: &mut Value, within: Duration) -> Result<bool, Failure> {
    let (asked_at, names) = (Instant::now(), json!({ "documents": [answer["name"]] }));
    let spinner = progress::spinner("moving");
    let arrived = loop {
        let found = ask(client, "POST", "/api/v1/resident", &names)?;
        let holders = array(&found, "documents");
        let there = holders.iter().find(|holder| holder["node"] == answer["node"]);
        answer["epoch"] = there.map_or(Value::Null, |holder| holder["epoch"].clone());
        answer["sessions"] = there.map_or(Value::Null, |holder| holder["sessions"].clone());
        answer["in_memory"] = holders.iter().map(|holder| holder["node"].clone()).collect();
        answer["unanswered"] = found["unanswered"].clone();
        if holders.iter().all(|holder| holder["node"] == answer["node"]) {
            break true;
        }
        if asked_at.elapsed() >= within {
            break false;
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    drop(spinner);
    answer["arrived"] = arrived.into();
    Ok(arrived)
}

fn moved(answer: &Value) -> String {
    let [name, node, outcome] = ["name", "node", "outcome"].map(|key| cell(answer, key));
    let done = match outcome.as_str() {
        "pinned" => format!("{name} is pinned to {node}"),
        _ => format!("{name} is not pinned any more, and {node} owns it"),
    };
    let at: Vec<&str> = array(answer, "in_memory").iter().filter_map(Value::as_str).collect();
    if answer["arrived"] == false {
        return format!(
            "{done}; it is still in memory at {}: `ringleaf ring rebalance status` says whether moves are paused\n",
            at.join(", ")
        );
    }
    match answer["epoch"].as_u64() {
        Some(epoch) => format!("{done}, where it is in memory (epoch {epoch})\n"),
        None => format!("{done}; nobody has it open\n"),
    }
}

pub(super) fn list(server: &Server) -> Result<(), Failure> {
    let answer = Client::open(&server.target())?.json(Ask::get("/api/v1/pins"))?;
    output::answer(server.output.format, &answer, || {
        let mut text = match array(&answer, "pins") {
            [] => "no document is pinned\n".to_owned(),
            pins => table(pins).render(output::stdout_has_color()),
        };
        if let Some(away) = etcd_away(&answer) {
            text.push_str(&format!("! {away}\n"));
        }
        text
    })
}

/// Who should own the document, with a star if it is pinned.
pub(super) fn owner(document: &Value) -> String {
    let star = if document["pinned_to"].is_string() { "*" } else { "" };
    format!("{}{star}", cell(document, "owner"))
}

/// What the star means.
pub(super) fn legend(documents: &[Value]) -> &'static str {
    let any = documents.iter().any(|document| document["pinned_to"].is_string());
    if any { "* pinned with `ringleaf doc move`, see `ringleaf doc pins`\n" } else { "" }
}

fn table(pins: &[Value]) -> Table {
    let mut table = Table::new(&["NAME", "PINNED TO", "STATE", "OWNER"]);
    for pin in pins {
        let state = pin["state"].as_str().unwrap_or("gone");
        table.row([cell(pin, "name"), cell(pin, "node"), state.into(), cell(pin, "owner")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_where_the_document_is_now() {
        let answer = |change: Value| {
            let mut answer = json!({
                "name": "notes", "outcome": "pinned", "node": "n2", "from": "n1", "arrived": true, "epoch": 7,
                "in_memory": ["n2"],
            });
            for (key, value) in change.as_object().unwrap() {
                answer[key] = value.clone();
            }
            moved(&answer)
        };
        assert_eq!(answer(json!({})), "notes is pinned to n2, where it is in memory (epoch 7)\n");
        assert_eq!(
            answer(json!({ "epoch": null, "in_memory": [] })),
            "notes is pinned to n2; nobody has it open\n"
        );
        assert_eq!(
            answer(json!({ "arrived": false, "in_memory": ["n1"] })),
            "notes is pinned to n2; it is still in memory at n1: `ringleaf ring rebalance status` says whether moves are paused\n"
        );
        assert_eq!(
            answer(json!({ "outcome": "unpinned" })),
            "notes is not pinned any more, and n2 owns it, where it is in memory (epoch 7)\n"
        );
    }

    #[test]
    fn a_pin_whose_node_does_not_serve_shows_who_owns_the_document_instead() {
        let pins = [
            json!({ "name": "a", "node": "n1", "state": "serving", "owner": "n1" }),
            json!({ "name": "b", "node": "n9", "state": null, "owner": "n2" }),
        ];
        let expected = "\
NAME  PINNED TO  STATE    OWNER
a     n1         serving  n1
b     n9         gone     n2
";
        assert_eq!(table(&pins).render(false), expected);
    }
}
