//! `ringleaf ring …`.

use std::io::Read;
use std::path::Path;

use ringleaf_coordinator::RingConfig;
use ringleaf_ring::{Load, Movement, Paper, Prediction};
use serde_json::{Value, json};

use super::confirm;
use super::text::{array, cell, count, percent, times};
use crate::cli::{Format, Plan, Ring, Server, Simulate};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table, size};

pub(super) fn run(command: Ring) -> Result<(), Failure> {
    match command {
        Ring::Show { vnodes, server } => show(vnodes, &server),
        Ring::Owner { documents, server } => owner(&documents, &server),
        Ring::Plan(command) => plan(&command),
        Ring::Apply { file, yes, server } => apply(&file, yes, &server),
        Ring::History(server) => super::history::run(&server),
        Ring::Rebalance(command) => super::rebalance::run(command),
        Ring::Simulate(command) => simulate(&command),
    }
}

/// Asks for JSON with a body of JSON.
pub(super) fn ask(client: &Client, method: &'static str, path: &str, body: &Value) -> Result<Value, Failure> {
    client.json(Ask { method, path, body: Some(("application/json", body.to_string().into_bytes())) })
}

fn show(vnodes: bool, server: &Server) -> Result<(), Failure> {
    let path = if vnodes { "/api/v1/ring?vnodes" } else { "/api/v1/ring" };
    let answer = Client::open(&server.target())?.json(Ask::get(path))?;
    let format = server.output.format;
    output::answer(format, &answer, || {
        let table = if vnodes { points(&answer) } else { members(&answer, format == Format::Wide) };
        format!("{}\n\n{}", head(&answer), table.render(output::stdout_has_color()))
    })
}

/// The ring in one line, and whether it may be old.
fn head(ring: &Value) -> String {
    let nodes = array(ring, "members").len();
    let each = cell(ring, "virtual_nodes_per_weight");
    let Some(cluster) = ring["cluster"].as_str() else {
        return "a ring of one: this server is not part of a cluster".into();
    };
    let plural = if nodes == 1 { "node" } else { "nodes" };
    let head = format!(
        "ring {} of cluster {cluster}: {nodes} {plural}, {each} virtual nodes for each unit of weight",
        cell(ring, "version")
    );
    head + &etcd_away(ring).map(|away| format!("\n! {away}")).unwrap_or_default()
}

/// What to say when etcd is away.
pub(super) fn etcd_away(answer: &Value) -> Option<String> {
    let coordinator = &answer["coordinator"];
    (coordinator["connected"] == false).then(|| {
        let since = output::span(coordinator["since_seconds"].as_u64().unwrap_or(0));
        let problem = coordinator["problem"].as_str().unwrap_or("not yet connected");
        format!("etcd is away for {since}, the ring stays as it is: {problem}")
    })
}

fn members(ring: &Value, wide: bool) -> Table {
    let mut table = match wide {
        true => Table::new(&[
            "NODE",
            "STATE",
            ">WEIGHT",
            ">SHARE",
            ">OF IDEAL",
            "ZONE",
            "ADDRESS",
            "VERSION",
            "INCARNATION",
        ]),
        false => Table::new(&["NODE", "STATE", ">WEIGHT", ">SHARE", ">OF IDEAL", "ZONE"]),
    };
    for member in array(ring, "members") {
        let mut row: Vec<String> = ["node", "state", "weight"].map(|key| cell(member, key)).into();
        row.extend([percent(&member["share"]), times(&member["of_ideal"]), cell(member, "zone")]);
        if wide {
            row.extend(["address", "version", "incarnation"].map(|key| cell(member, key)));
        }
        table.row(row);
    }
    table
}

fn points(ring: &Value) -> Table {
    let mut table = Table::new(&["TOKEN", "NODE", ">OWNS"]);
    let points = array(ring, "tokens");
    let token =
        |point: &Value| u64::from_str_radix(point["token"].as_str().unwrap_or_default(), 16).unwrap_or(0);
    let mut behind = points.last().map_or(0, token);
    for point in points {
        let length = token(point).wrapping_sub(behind) as f64 / 2f64.powi(64);
        behind = token(point);
        table.row([cell(point, "token"), cell(point, "node"), format!("{:.4} %", length * 100.0)]);
    }
    table
}

fn owner(documents: &[String], server: &Server) -> Result<(), Failure> {
    let client = Client::open(&server.target())?;
    let answer = ask(&client, "POST", "/api/v1/ring/owners", &json!({ "documents": documents }))?;
    let wide = server.output.format == Format::Wide;
    output::answer(server.output.format, &answer, || {
        let mut table = match wide {
            true => Table::new(&[
                "DOCUMENT",
                "OWNER",
                "IN MEMORY AT",
                ">SESSIONS",
                ">EPOCH",
                "TOKEN",
                "CANDIDATES",
            ]),
            false => Table::new(&["DOCUMENT", "OWNER", "SUCCESSOR", "IN MEMORY AT", ">SESSIONS"]),
        };
        for document in array(&answer, "documents") {
            let candidates: Vec<&str> =
                array(document, "candidates").iter().filter_map(Value::as_str).collect();
            let found = array(document, "in_memory");
            let at: Vec<&str> = found.iter().filter_map(|found| found["node"].as_str()).collect();
            let sessions = found.first().map(|found| cell(found, "sessions")).unwrap_or_default();
            let (name, owner, at) = (cell(document, "name"), owner_or_pin(document), at.join(", "));
            if wide {
                let epoch = found.first().map(|found| cell(found, "epoch")).unwrap_or_default();
                table.row([name, owner, at, sessions, epoch, cell(document, "token"), candidates.join(" ")]);
            } else {
                let successor = candidates.get(1).copied().unwrap_or_default().to_owned();
                table.row([name, owner, successor, at, sessions]);
            }
        }
        table.render(output::stdout_has_color()) + &unanswered(&answer)
    })
}

/// "n2 (pinned)", or "n1 (pinned to n2)" while n2 does not serve.
fn owner_or_pin(document: &Value) -> String {
    let owner = cell(document, "owner");
    match document["pinned_to"].as_str() {
        None => owner,
        Some(node) if node == owner => format!("{owner} (pinned)"),
        Some(node) => format!("{owner} (pinned to {node})"),
    }
}

/// Who did not answer, one line each.
pub(super) fn unanswered(answer: &Value) -> String {
    let lines = array(answer, "unanswered").iter();
    lines
        .map(|line| format!("! {} is not counted: {}\n", cell(line, "node"), cell(line, "problem")))
        .collect()
}

fn changes(command: &Plan) -> Value {
    let weighed = |kind: &str, node: &str, weight: u32| json!({ kind: { "node": node, "weight": weight } });
    let mut changes: Vec<Value> =
        command.add.iter().map(|(node, weight)| weighed("add", node.as_str(), weight.get())).collect();
    changes.extend(command.remove.iter().map(|node| json!({ "remove": { "node": node.as_str() } })));
    changes.extend(command.weight.iter().map(|(node, weight)| weighed("weigh", node.as_str(), weight.get())));
    changes.extend(command.virtual_nodes.map(|number| json!({ "virtual_nodes": number.get() })));
    json!({ "changes": changes })
}

fn plan(command: &Plan) -> Result<(), Failure> {
    let client = Client::open(&command.server.target())?;
    let answer = ask(&client, "POST", "/api/v1/ring/plan", &changes(command))?;
    let format = command.server.output.format;
    output::answer(format, &answer, || planned(&answer, format == Format::Wide, output::stdout_has_color()))
}

/// What a plan moves, in one line.
fn moved(plan: &Value) -> String {
    let live = &plan["live"];
    let number = |key: &str| live[key].as_u64().unwrap_or(0);
    // Other virtual nodes need not move anything, so there is nothing to compare with.
    let ideal = match plan["ideal_share"].as_f64() {
        Some(0.0) | None => String::new(),
        Some(_) => format!(" (at least {} would have to)", percent(&plan["ideal_share"])),
    };
    let time = match live["estimated_seconds"].as_f64() {
        Some(seconds) if seconds > 0.0 => format!(", in about {}", about(seconds)),
        Some(_) | None => String::new(),
    };
    format!(
        "moves {} of all documents{ideal}, and of those in memory {} of {} ({} of {}, with {} sessions){time}",
        percent(&plan["share"]),
        count(number("moving_documents")),
        count(number("documents")),
        size(number("moving_bytes")),
        size(number("bytes")),
        count(number("moving_sessions")),
    )
}

/// A guess, so no more digits than it is worth.
fn about(seconds: f64) -> String {
    match seconds {
        ..1.5 => "a second".into(),
        ..90.0 => format!("{seconds:.0} seconds"),
        _ => format!("{:.0} minutes", (seconds / 60.0).ceil()),
    }
}

fn planned(plan: &Value, wide: bool, color: bool) -> String {
    let mut table =
        Table::new(&["NODE", ">SHARE NOW", ">THEN", ">IN MEMORY", ">LEAVE IT", ">WITH", ">COME TO IT"]);
    let live = array(&plan["live"], "nodes");
    for share in array(plan, "shares") {
        let node = cell(share, "node");
        let found = live.iter().find(|line| line["node"] == node.as_str());
        let number = |key: &str| found.and_then(|line| line[key].as_u64());
        let shown = |number: Option<u64>| number.map(count).unwrap_or_default();
        let come: u64 = live.iter().filter_map(|line| line["to"][&node].as_u64()).sum();
        table.row([
            node,
            percent(&share["before"]),
            percent(&share["after"]),
            shown(number("documents")),
            shown(number("moving_documents")),
            number("moving_bytes").map(size).unwrap_or_default(),
            count(come),
        ]);
    }
    let mut text = format!("{}\n\n{}", moved(plan), table.render(color));
    if wide {
        let mut between = Table::new(&["FROM", "TO", ">OF ALL DOCUMENTS"]);
        for pair in array(plan, "between") {
            between.row([cell(pair, "from"), cell(pair, "to"), percent(&pair["share"])]);
        }
        text.push_str(&format!("\n{}", between.render(color)));
    }
    for node in live.iter().filter(|node| node["version"] != plan["version"]) {
        let (name, theirs, ours) = (cell(node, "node"), cell(node, "version"), cell(plan, "version"));
        text.push_str(&format!("! {name} has counted by ring {theirs}, not {ours}: ask again\n"));
    }
    text + &unanswered(&plan["live"])
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|read| text = read),
    };
    read.map(|()| text).map_err(|error| super::documents::file_failure(file, "read", &error))
}

fn apply(file: &Path, yes: bool, server: &Server) -> Result<(), Failure> {
    let text = read(file)?;
    let wanted = RingConfig::parse(&text).map_err(|problem| {
        let text = format!("{}: {}", file.display(), crate::exit::chain(&problem));
        Failure::new(Exit::Configuration, "bad_config", text).advise("see ring-config/default.toml")
    })?;
    let client = Client::open(&server.target())?;
    let found = client.json(Ask::get("/api/v1/ring/config"))?;
    let revision = found["revision"].as_u64().unwrap_or(0);
    if found["text"] == text.as_str() {
        let answer = json!({ "outcome": "unchanged", "revision": revision });
        return output::answer(server.output.format, &answer, || "it is applied already\n".into());
    }
    let ring = client.json(Ask::get("/api/v1/ring"))?;
    let virtual_nodes = wanted.virtual_nodes.get();
    if ring["virtual_nodes_per_weight"] != virtual_nodes && !yes {
        let change = json!({ "changes": [{ "virtual_nodes": virtual_nodes }] });
        let plan = ask(&client, "POST", "/api/v1/ring/plan", &change)?;
        confirm(false, &format!("change the virtual nodes, which {}", moved(&plan)))?;
    }
    let body = json!({ "text": text, "expected": revision });
    let answer = ask(&client, "PUT", "/api/v1/ring/config", &body)?;
    output::answer(server.output.format, &answer, || {
        format!(
            "{} applied to cluster {} (revision {})\n",
            file.display(),
            wanted.cluster,
            cell(&answer, "revision")
        )
    })
}

fn simulate(command: &Simulate) -> Result<(), Failure> {
    let paper = Paper {
        nodes: command.nodes,
        weights: command.weights.clone(),
        virtual_nodes: command.virtual_nodes,
        documents: command.documents,
        resident: command.resident.unwrap_or(command.documents / 100),
        document_bytes: command.document_bytes,
    };
    let prediction = paper.predict().map_err(|problem| {
        Failure::new(Exit::Usage, "usage", problem.to_string())
            .advise("say other numbers of --nodes or --virtual-nodes")
    })?;
    output::answer(command.output.format, &predicted(&paper, &prediction), || {
        on_paper(&paper, &prediction, output::stdout_has_color())
    })
}

/// Documents are whole; what is predicted of them is not.
fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn predicted(paper: &Paper, prediction: &Prediction) -> Value {
    let load = |load: &Load| {
        json!({
            "of_ideal": load.of_ideal,
            "documents": whole(load.documents),
            "resident": whole(load.resident),
            "bytes": whole(load.bytes),
        })
    };
    let movement = |movement: &Movement| {
        json!({
            "share": movement.share,
            "ideal_share": movement.ideal_share,
            "of_ideal": movement.share / movement.ideal_share,
            "documents": whole(movement.documents),
            "resident": whole(movement.resident),
            "bytes": whole(movement.bytes),
            "most_between_two": movement.most_between_two,
        })
    };
    json!({
        "nodes": paper.nodes,
        "documents": paper.documents,
        "resident": paper.resident,
        "document_bytes": paper.document_bytes,
        "virtual_nodes_per_weight": paper.virtual_nodes.get(),
        "ring": { "points": prediction.points, "bytes_per_process": prediction.ring_bytes },
        "balance": {
            "fullest": load(&prediction.fullest),
            "mean": load(&prediction.mean),
            "emptiest": load(&prediction.emptiest),
        },
        "movement": {
            "one_more": movement(&prediction.join),
            "one_less": prediction.leave.as_ref().map(movement),
        },
    })
}

fn on_paper(paper: &Paper, prediction: &Prediction, color: bool) -> String {
    let mut balance = Table::new(&["NODE", ">OF IDEAL", ">DOCUMENTS", ">IN MEMORY", ">TAKING"]);
    for (name, load) in
        [("fullest", &prediction.fullest), ("mean", &prediction.mean), ("emptiest", &prediction.emptiest)]
    {
        balance.row([
            name.to_owned(),
            format!("{:.3}", load.of_ideal),
            count(whole(load.documents)),
            count(whole(load.resident)),
            size(whole(load.bytes)),
        ]);
    }
    let mut movement =
        Table::new(&["MOVES", ">OF ALL", ">IDEAL", ">OF IDEAL", ">DOCUMENTS", ">IN MEMORY", ">TAKING"]);
    let changes = [("one node more", Some(&prediction.join)), ("one node less", prediction.leave.as_ref())];
    for (name, moves) in changes.into_iter().filter_map(|(name, moves)| Some((name, moves?))) {
        movement.row([
            name.to_owned(),
            percent(&json!(moves.share)),
            percent(&json!(moves.ideal_share)),
            format!("{:.3}", moves.share / moves.ideal_share),
            count(whole(moves.documents)),
            count(whole(moves.resident)),
            size(whole(moves.bytes)),
        ]);
    }
    format!(
        "{} nodes, {} documents, of which {} are in memory and take {} each\n\
         ring: {} points ({} for each unit of weight), {} in every process\n\n{}\n{}",
        count(paper.nodes.into()),
        count(paper.documents),
        count(paper.resident),
        size(paper.document_bytes),
        count(prediction.points),
        paper.virtual_nodes.get(),
        size(prediction.ring_bytes),
        balance.render(color),
        movement.render(color),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_one_line_and_a_row_for_each_node() {
        let plan = json!({
            "version": 7, "share": 0.251, "ideal_share": 0.25,
            "shares": [
                { "node": "n1", "before": 0.5, "after": 0.25 },
                { "node": "n2", "before": 0.5, "after": 0.5 },
                { "node": "n3", "after": 0.25 },
            ],
            "between": [{ "from": "n1", "to": "n3", "share": 0.251 }],
            "live": {
                "documents": 1200, "bytes": 2048, "moving_documents": 300, "moving_sessions": 4, "moving_bytes": 1024,
                "estimated_seconds": 4.3,
                "nodes": [
                    { "node": "n1", "version": 7, "documents": 1200, "moving_documents": 300, "moving_bytes": 1024, "to": { "n3": 300 } },
                    { "node": "n3", "version": 6, "documents": 0, "moving_documents": 0, "moving_bytes": 0, "to": {} },
                ],
                "unanswered": [{ "node": "n2", "problem": "it cannot be reached" }],
            },
        });
        let expected = "\
moves 25.1 % of all documents (at least 25.0 % would have to), and of those in memory 300 of 1,200 (1.0 KiB of 2.0 KiB, with 4 sessions), in about 4 seconds

NODE  SHARE NOW    THEN  IN MEMORY  LEAVE IT     WITH  COME TO IT
n1       50.0 %  25.0 %      1,200       300  1.0 KiB           0
n2       50.0 %  50.0 %                                         0
n3               25.0 %          0         0      0 B         300
! n3 has counted by ring 6, not 7: ask again
! n2 is not counted: it cannot be reached
";
        assert_eq!(planned(&plan, false, false), expected);
        assert!(
            planned(&plan, true, false).contains("FROM  TO  OF ALL DOCUMENTS\nn1    n3            25.1 %\n")
        );
    }

    #[test]
    fn the_points_of_a_ring_are_listed_with_what_they_own() {
        let ring = json!({ "tokens": [
            { "token": "4000000000000000", "node": "a" },
            { "token": "c000000000000000", "node": "b" },
        ] });
        let expected = "TOKEN             NODE       OWNS\n4000000000000000  a     50.0000 %\nc000000000000000  b     50.0000 %\n";
        assert_eq!(points(&ring).render(false), expected);
    }

    #[test]
    fn an_old_ring_is_shown_as_such() {
        let ring = json!({
            "cluster": "c", "version": 7, "virtual_nodes_per_weight": 128, "members": [{}, {}],
            "coordinator": { "connected": false, "since_seconds": 61, "problem": "nobody answers" },
        });
        let expected = "ring 7 of cluster c: 2 nodes, 128 virtual nodes for each unit of weight\n\
                        ! etcd is away for 1m 1s, the ring stays as it is: nobody answers";
        assert_eq!(head(&ring), expected);
    }
}
