//! Many documents, edited through all the addresses at once: each has one owner, and everybody agrees on who that is.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Agent, Cluster, ClusterOptions, LINES_13, wait_for};
use serde_json::{Value, json};

const DOCUMENTS: usize = 300;

/// One line of clients with a client in every document.
struct Line {
    agent: Agent,
    documents: Vec<String>,
}

impl Line {
    fn digests(&mut self) -> Value {
        self.agent.run("digests", json!({"names": self.documents}))
    }
}

/// A stock client of each line in each document, at address after address.
fn open(cluster: &Cluster) -> Vec<Line> {
    let documents: Vec<_> = (0..DOCUMENTS).map(|number| format!("document/{number}")).collect();
    let urls = cluster.urls();
    let open = |(place, line): (usize, &&str)| {
        let mut agent = Agent::start(line);
        for (number, document) in documents.iter().enumerate() {
            let url = &urls[(number + place) % urls.len()];
            agent.run("open", json!({"name": document, "url": url, "document": document}));
        }
        Line { agent, documents: documents.clone() }
    };
    let mut lines: Vec<_> = LINES_13.iter().enumerate().map(open).collect();
    for line in &mut lines {
        line.agent.wait_synced(&documents);
    }
    lines
}

/// Who owns a document, and who has it in memory, with the epoch of each.
#[derive(Debug, PartialEq)]
struct Whereabouts {
    owner: String,
    in_memory: Vec<(String, u64)>,
}

/// What a process says of the documents.
fn whereabouts(cluster: &Cluster, process: &str, documents: &[String]) -> BTreeMap<String, Whereabouts> {
    let body = json!({ "documents": documents }).to_string();
    let answer = cluster.server(process).admin_request("POST", "/api/v1/ring/owners", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let answer = answer.json();
    let lines = answer["documents"].as_array().unwrap().iter();
    let found = lines.map(|line| {
        let places = line["in_memory"].as_array().unwrap().iter();
        let in_memory =
            places.map(|place| (text(&place["node"]), place["epoch"].as_u64().unwrap())).collect();
        (text(&line["name"]), Whereabouts { owner: text(&line["owner"]), in_memory })
    });
    found.collect()
}

#[test]
fn three_hundred_documents_edited_at_every_address_have_one_owner_each() {
    let Some(cluster) = Cluster::start(&ClusterOptions::new(3, 2)) else { return };
    let mut lines = open(&cluster);
    for (seed, line) in lines.iter_mut().enumerate() {
        for document in &line.documents {
            line.agent
                .run("insert", json!({"name": document, "at": 0, "text": format!("{seed} was here. ")}));
        }
        let edits = json!({"names": line.documents, "edits": 2 * DOCUMENTS, "seed": seed});
        line.agent.run("randomEdits", edits);
    }
    let seen = wait_for("the clients of each document are equal", Duration::from_secs(90), || {
        let first = lines[0].digests();
        lines[1..].iter_mut().all(|line| line.digests() == first).then_some(first)
    });
    let documents = lines[0].documents.clone();
    let known = whereabouts(&cluster, "r1", &documents);
    let mut of_each = BTreeMap::<_, usize>::new();
    for (document, found) in &known {
        // In memory once, where the ring says; and since the first claim is the only one, nobody else ever had it.
        assert_eq!(found.in_memory, [(found.owner.clone(), 1)], "{document}");
        *of_each.entry(found.owner.clone()).or_default() += 1;
    }
    for process in cluster.nodes().iter().chain(&cluster.routers()) {
        assert_eq!(whereabouts(&cluster, process, &documents), known, "{process} agrees");
    }
    assert_eq!(of_each.len(), 3, "{of_each:?}");
    for (document, digest) in documents.iter().zip(seen.as_array().unwrap()) {
        let update = harness::base64(&cluster.server("n1").export(document));
        let stored = lines[0].agent.run("decodeDigest", json!({"update": update}));
        assert_eq!(stored, *digest, "{document} as it is stored");
    }
    harness::figure(&format!("{DOCUMENTS} documents, 4 clients each, by owner: {of_each:?}"));
}
