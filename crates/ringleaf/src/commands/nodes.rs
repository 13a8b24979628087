//! `ringleaf node …`, apart from starting one.

use serde_json::{Value, json};

use super::ring::{ask, etcd_away};
use super::text::{array, cell, percent, times};
use crate::cli::{Format, NodeCommand, OfNode, Server, WeightOrOwn};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table, size, span};
use crate::progress;

pub(super) fn run(command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::List(server) => list(&server),
        NodeCommand::Show(node) => show(&node),
        NodeCommand::Cordon(node) => {
            let ask = |path: &str, client: &Client| client.json(Ask::post(path));
            let said = "is off the ring: the others own its documents from now on; \
                        `ringleaf node uncordon` lets it back";
            tell(&node, "/cordon", ask, said)
        }
        NodeCommand::Uncordon(node) => {
            tell(&node, "/cordon", |path, client| client.json(Ask::delete(path)), "is back on the ring")
        }
        NodeCommand::Drain { node, server } => drain(node.map(|node| node.to_string()), &server),
        NodeCommand::Weight { node, weight } => {
            let (number, said) = match weight {
                WeightOrOwn::Weight(weight) => (Some(weight.get()), format!("has weight {}", weight.get())),
                WeightOrOwn::Own => (None, "has its own weight".into()),
            };
            let body = json!({ "weight": number });
            tell(&node, "/weight", |path, client| ask(client, "PUT", path, &body), &said)
        }
        NodeCommand::Forget(node) => {
            let said = "is forgotten: it starts as any other if it comes back";
            tell(&node, "", |path, client| client.json(Ask::delete(path)), said)
        }
    }
}

fn path(node: &OfNode, more: &str) -> String {
    format!("/api/v1/nodes/{}{more}", node.node)
}

fn tell(
    node: &OfNode,
    more: &str,
    ask: impl FnOnce(&str, &Client) -> Result<Value, Failure>,
    said: &str,
) -> Result<(), Failure> {
    let client = Client::open(&node.server.target())?;
    let answer = ask(&path(node, more), &client)?;
    output::answer(node.server.output.format, &answer, || format!("{} {said}\n", node.node))
}

/// How a member is, in one word or two.
pub(super) fn state(member: &Value) -> String {
    match (member["answers"].as_bool(), member["state"].as_str().unwrap_or_default()) {
        (Some(false), _) => "does not answer".into(),
        (_, "draining") if member["cordoned"] == true => "cordoned".into(),
        _ if member["aside"].is_string() => "stepped aside".into(),
        (_, "serving") if member["ready"] == false => "not ready".into(),
        (_, state) => state.into(),
    }
}

fn number(value: &Value, show: impl FnOnce(u64) -> String) -> String {
    value.as_u64().map(show).unwrap_or_default()
}

fn list(server: &Server) -> Result<(), Failure> {
    let answer = Client::open(&server.target())?.json(Ask::get("/api/v1/nodes"))?;
    let wide = server.output.format == Format::Wide;
    output::answer(server.output.format, &answer, || {
        let mut text = table(&answer, wide).render(output::stdout_has_color());
        text.push_str(legend(&answer));
        if answer["cluster"].is_null() {
            text.push_str("a ring of one: this server is not part of a cluster\n");
        }
        let problems = etcd_away(&answer).or_else(|| answer["etcd_problem"].as_str().map(str::to_owned));
        problems.into_iter().for_each(|problem| text.push_str(&format!("! {problem}\n")));
        for member in array(&answer, "members").iter().filter(|member| member["answers"] == false) {
            text.push_str(&format!("! {}: {}\n", cell(member, "node"), cell(member, "problem")));
        }
        text
    })
}

/// What the star in the table means.
pub(super) fn legend(answer: &Value) -> &'static str {
    let set = |member: &Value| member["weight_set"] == true;
    let any = array(answer, "members").iter().any(set)
        || array(answer, "gone").iter().any(|gone| !gone["weight"].is_null());
    if any { "* set with `ringleaf node weight`\n" } else { "" }
}

/// One row for each node, and for those that are gone and not forgotten.
pub(super) fn table(answer: &Value, wide: bool) -> Table {
    let mut table = match wide {
        true => Table::new(&[
            "NODE",
            "STATE",
            ">WEIGHT",
            ">SHARE",
            ">OF IDEAL",
            ">DOCUMENTS",
            ">SESSIONS",
            ">MEMORY",
            ">UP",
            ">RING",
            "ZONE",
            "ADDRESS",
            "VERSION",
        ]),
        false => {
            Table::new(&["NODE", "STATE", ">WEIGHT", ">SHARE", ">DOCUMENTS", ">SESSIONS", ">MEMORY", ">UP"])
        }
    };
    for member in array(answer, "members") {
        let counts = &member["counts"];
        let set = if member["weight_set"] == true { "*" } else { "" };
        let mut row = vec![
            cell(member, "node"),
            state(member),
            format!("{}{set}", cell(member, "weight")),
            percent(&member["share"]),
        ];
        if wide {
            row.push(times(&member["of_ideal"]));
        }
        row.extend([
            number(&counts["documents_resident"], |count| count.to_string()),
            number(&counts["document_sessions"], |count| count.to_string()),
            number(&member["resident_bytes"], size),
            number(&member["uptime_seconds"], span),
        ]);
        if wide {
            row.extend(["ring_version", "zone", "address", "version"].map(|key| cell(member, key)));
        }
        table.row(row);
    }
    for gone in array(answer, "gone") {
        let state = if gone["cordoned"] == true { "gone, cordoned" } else { "gone" };
        let weight = &gone["weight"];
        let weight = if weight.is_null() { String::new() } else { format!("{weight}*") };
        table.row([cell(gone, "node"), state.into(), weight]);
    }
    table
}

/// Asks again and again, until nothing is left. Each answer takes a moment.
fn drain(node: Option<String>, server: &Server) -> Result<(), Failure> {
    let target = server.target();
    let client = Client::open(&target)?;
    let node = match node {
        Some(node) => node,
        None => cell(&client.json(Ask::get("/api/v1/status"))?, "node"),
    };
    let (path, body) = (format!("/api/v1/nodes/{node}/drain"), json!({ "seconds": target.timeout }));
    let bar = progress::counter("documents left");
    let answer = loop {
        let answer = ask(&client, "POST", &path, &body)?;
        if answer["outcome"] == "drained" {
            break answer;
        }
        bar.set_position(answer["left"].as_u64().unwrap_or_default());
    };
    bar.finish_and_clear();
    output::answer(server.output.format, &answer, || drained(&answer))?;
    if answer["forced"] == 0 { Ok(()) } else { Err(Failure::said(Exit::TimedOut)) }
}

fn drained(answer: &Value) -> String {
    let [moved, forgotten, let_go, left, forced] =
        ["moved", "forgotten", "let_go", "left", "forced"].map(|key| cell(answer, key));
    format!(
        "{} is drained: {moved} moved, {forgotten} idle and forgotten, {let_go} let go of, {left} left at the end, \
         {forced} of those cut off\n",
        cell(answer, "node")
    )
}

fn show(node: &OfNode) -> Result<(), Failure> {
    let answer = Client::open(&node.server.target())?.json(Ask::get(&path(node, "")))?;
    let format = node.server.output.format;
    output::answer(format, &answer, || {
        let mut table = Table::new(&[]);
        let mut row = |name: &str, value: String| {
            if !value.is_empty() {
                table.row([name.to_owned(), value]);
            }
        };
        row("node", cell(&answer, "node"));
        row("state", state(&answer));
        row("problem", cell(&answer, "problem"));
        let set = if answer["weight_set"] == true { " (set by an operator)" } else { "" };
        row("weight", format!("{}{set}", cell(&answer, "weight")));
        row("share", format!("{} ({} of ideal)", percent(&answer["share"]), times(&answer["of_ideal"])));
        for key in ["zone", "address", "version", "incarnation"] {
            row(key, cell(&answer, key));
        }
        let mut text = table.render(false);
        if answer["status"].is_object() {
            text.push_str(&format!(
                "\n{}",
                super::status::details(&answer["status"], format == Format::Wide)
            ));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_row_and_those_that_are_gone_have_one_too() {
        let nodes = json!({
            "members": [
                {
                    "node": "n1", "state": "serving", "weight": 2, "weight_set": true, "share": 0.667, "answers": true,
                    "ready": true, "uptime_seconds": 61, "resident_bytes": 26_214_400,
                    "counts": { "documents_resident": 3, "document_sessions": 4 },
                },
                { "node": "n2", "state": "serving", "weight": 1, "share": 0.333, "answers": false, "problem": "x" },
                { "node": "n3", "state": "draining", "weight": 1, "share": 0.0, "answers": true, "cordoned": true },
                { "node": "n4", "state": "serving", "weight": 1, "share": 0.0, "answers": true, "ready": false },
            ],
            "gone": [{ "node": "n9", "cordoned": true, "weight": 4 }],
        });
        let expected = "\
NODE  STATE            WEIGHT   SHARE  DOCUMENTS  SESSIONS    MEMORY     UP
n1    serving              2*  66.7 %          3         4  25.0 MiB  1m 1s
n2    does not answer       1  33.3 %
n3    cordoned              1     0 %
n4    not ready             1     0 %
n9    gone, cordoned       4*
";
        assert_eq!(table(&nodes, false).render(false), expected);
        assert_eq!(legend(&nodes), "* set with `ringleaf node weight`\n");
        assert_eq!(legend(&json!({ "members": [], "gone": [] })), "");
        assert!(table(&nodes, true).render(false).lines().all(|line| line.chars().count() < 120));
    }
}
