//! What operators see and do, from any process of a cluster.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Cluster, ClusterOptions, wait_for, yjs};
use serde_json::Value;

use crate::DEATHS;

const DOCUMENTS: usize = 40;
const WITHIN: Duration = Duration::from_secs(30);

/// The answer of a command that works.
fn ask(cluster: &Cluster, name: &str, line: &str) -> Value {
    let output = cluster.server(name).command(&format!("{line} -o json"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{line} at {name}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn wait_history(cluster: &Cluster, name: &str, change: &str) {
    wait_for("a process has noted it in its history of the ring", WITHIN, || {
        ask(cluster, name, "ring history").to_string().contains(change).then_some(())
    });
}

#[test]
fn any_process_shows_the_busiest_documents_of_all_nodes() {
    let Some(cluster) = Cluster::start(&ClusterOptions::new(2, 1)) else { return };
    write(&cluster, "n1");
    let sockets: Vec<_> =
        (0..3).map(|_| harness::Socket::open(cluster.server("r1").editors(), "/notes/7")).collect();
    for at in ["r1", "n2"] {
        let top = wait_for("three editors are counted", WITHIN, || {
            let top = ask(&cluster, at, "top --limit 30 --sort sessions");
            (top["busiest"]["documents"][0]["sessions"] == 3).then_some(top)
        });
        let documents = top["busiest"]["documents"].as_array().unwrap();
        assert_eq!(documents[0]["name"], "notes/7");
        assert_eq!(documents.len(), 30);
        let nodes: std::collections::BTreeSet<_> =
            documents.iter().map(|document| document["node"].as_str()).collect();
        assert_eq!(nodes.len(), 2, "both nodes have some: {top}");
    }
    // One is written to fast, one slowly; one brings much at once; one has readers. Counts, not times: what is compared
    // fades equally fast.
    for round in 0..8 {
        (0..5).for_each(|update| import(&cluster, 3, 100 + round * 5 + update, "x"));
        import(&cluster, 4, 100 + round, "x");
        import(&cluster, 7, 100 + round, "x");
    }
    import(&cluster, 5, 100, &"x".repeat(40_000));
    for at in ["r1", "n1", "n2"] {
        let first = |line: &str| ask(&cluster, at, line)["documents"].clone();
        let updates = first("doc list notes/ --sort updates --limit 4");
        let order: Vec<_> = updates.as_array().unwrap().iter().map(|line| line["name"].clone()).collect();
        assert_eq!((order.len(), &order[0]), (4, &"notes/3".into()), "{updates}");
        assert!(
            order[1..3].contains(&"notes/4".into()) && order[1..3].contains(&"notes/7".into()),
            "{updates}"
        );
        let read = &first("doc list notes/7 --sort updates")[0];
        let [updates, deliveries] =
            ["updates_per_second", "deliveries_per_second"].map(|key| read[key].as_f64().unwrap());
        assert!((2.5..3.5).contains(&(deliveries / updates)), "three read what one writes: {read}");
        assert_eq!(first("doc list --sort bytes --limit 1")[0]["name"], "notes/5");
        assert_eq!(first("doc list --sort sessions --limit 1")[0]["name"], "notes/7");
        let largest = first("doc list --sort size --limit 2");
        assert_eq!((&largest[0]["name"], &largest[2]), (&"notes/5".into(), &Value::Null));
        assert!(largest[0]["updates_per_second"].as_f64().unwrap() > 0.0, "{largest}");
        assert_eq!(first("doc list nothing --sort updates"), Value::Array(Vec::new()));
        let nodes = ask(&cluster, at, "node list");
        for node in nodes["members"].as_array().unwrap() {
            let load = &node["load"];
            assert!(load["updates_per_second"].as_f64().unwrap() > 0.0, "{nodes}");
        }
    }
    assert_eq!(refused(&cluster, "r1", "doc list --sort updates --after a"), "usage");
    drop(sockets);
    let shown = cluster.server("r1").command("top");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("DOCUMENT") && text.contains("n2"), "{text}");
}

/// One update to one document, as of a client of its own.
fn import(cluster: &Cluster, document: usize, client: u64, text: &str) {
    let path = format!("/api/v1/documents/notes%2F{document}/content");
    let answer = cluster.server("r1").admin_request("PUT", &path, &yjs::typed(client, 0, text));
    assert!(answer.status < 300, "{}", answer.text());
}

/// The code of the error of a command that does not.
fn refused(cluster: &Cluster, name: &str, line: &str) -> String {
    let output = cluster.server(name).command(&format!("{line} -o json"));
    assert!(!output.status.success(), "{line} at {name}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["error"]["code"].as_str().unwrap().to_owned()
}

fn name(index: usize) -> String {
    format!("notes/{index}")
}

/// Opens all documents, through one process, by writing to them.
fn write(cluster: &Cluster, through: &str) {
    for index in 0..DOCUMENTS {
        let path = format!("/api/v1/documents/notes%2F{index}/content");
        let update = yjs::typed(7, 0, "hello");
        let answer = cluster.server(through).admin_request("PUT", &path, &update);
        assert!(answer.status < 300, "{}", answer.text());
    }
}

/// Which documents are in memory where, as any process says.
fn in_memory(cluster: &Cluster, through: &str) -> BTreeMap<String, Vec<String>> {
    let listed = ask(cluster, through, "doc list");
    let lines = listed["documents"].as_array().unwrap().iter();
    lines
        .map(|line| {
            let at = line["in_memory"].as_array().unwrap().iter();
            let at: Vec<String> = at.map(|node| node.as_str().unwrap().to_owned()).collect();
            (line["name"].as_str().unwrap().to_owned(), at)
        })
        .collect()
}

fn owners(cluster: &Cluster, through: &str) -> BTreeMap<String, String> {
    let names: Vec<String> = (0..DOCUMENTS).map(name).collect();
    let answer = ask(cluster, through, &format!("ring owner {}", names.join(" ")));
    let lines = answer["documents"].as_array().unwrap().iter();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines.map(|line| (text(line, "name"), text(line, "owner"))).collect()
}

/// `None`: the node is not on the ring.
fn member(cluster: &Cluster, through: &str, node: &str) -> Option<Value> {
    let nodes = ask(cluster, through, "node list");
    nodes["members"].as_array().unwrap().iter().find(|member| member["node"] == node).cloned()
}

#[test]
fn operators_see_and_steer_a_cluster_from_any_process() {
    let options = ClusterOptions::new(3, 1).announce("etcd is away, the ring stays as it is");
    let Some(mut cluster) = Cluster::start(&options) else { return };
    write(&cluster, "r1");

    // Each document is in memory at its owner and nowhere else, and everybody says so.
    let owners_now = owners(&cluster, "n1");
    for through in ["r1", "n1", "n2", "n3"] {
        let found = in_memory(&cluster, through);
        assert_eq!(found.len(), DOCUMENTS);
        assert!(found.iter().all(|(name, at)| *at == [owners_now[name].clone()]), "{through}: {found:?}");
        let shown = ask(&cluster, through, "doc show notes/1");
        assert_eq!(
            (&shown["answered_by"], &shown["epoch"]),
            (&shown["owner"], &Value::from(1)),
            "nobody else claimed it"
        );
    }
    let mine = |node: &str| owners_now.values().filter(|owner| *owner == node).count();
    let verdict = ask(&cluster, "n3", "status")["verdict"].clone();
    let well = format!(
        "cluster ringleaf is well: 3 nodes serve {DOCUMENTS} documents with 0 sessions; this is node n3"
    );
    assert!(verdict.as_str().unwrap().starts_with(&well), "{verdict}");

    // A plan says beforehand what a cordon does.
    let plan = ask(&cluster, "n2", "ring plan --remove n1");
    assert_eq!(plan["live"]["documents"], DOCUMENTS);
    assert_eq!(plan["live"]["moving_documents"], mine("n1"));
    assert_eq!(plan["live"]["unanswered"], Value::Array(Vec::new()));
    let to: Vec<usize> = ["n2", "n3"]
        .map(|node| {
            let planned = plan["live"]["nodes"][0]["to"][node].as_u64().unwrap_or(0);
            mine(node) + usize::try_from(planned).unwrap()
        })
        .into();
    assert!(plan["live"]["estimated_seconds"].as_f64().unwrap() > 0.0, "{plan}");
    ask(&cluster, "r1", "node cordon n1");
    wait_for("n1 is off the ring and has let go of everything", WITHIN, || {
        let found = member(&cluster, "n3", "n1")?;
        let empty = found["counts"]["documents_resident"] == 0;
        (found["cordoned"] == true && found["state"] == "draining" && empty).then_some(())
    });
    wait_history(&cluster, "r1", "n1 gives its documents away");
    let after = owners(&cluster, "n2");
    let now: Vec<usize> =
        ["n2", "n3"].map(|node| after.values().filter(|owner| *owner == node).count()).into();
    assert_eq!(now, to, "the plan was right");
    assert!(ask(&cluster, "n1", "status")["verdict"].as_str().unwrap().contains("n1 cordoned"));
    ask(&cluster, "n1", "node uncordon n1");

    // What is said of the ring at one process is so at all of them.
    std::fs::write(cluster.server("n2").data().join("ring.toml"), "virtual_nodes_per_weight = 64\n").unwrap();
    let file = cluster.server("n2").data().join("ring.toml").display().to_string();
    assert_eq!(refused(&cluster, "n2", &format!("ring apply {file}")), "not_confirmed");
    ask(&cluster, "n2", &format!("ring apply {file} --yes"));
    assert_eq!(ask(&cluster, "n2", &format!("ring apply {file}"))["outcome"], "unchanged");
    ask(&cluster, "n2", "node weight n3 2");
    for through in ["r1", "n1", "n2", "n3"] {
        wait_for("the ring has four times 64 points", WITHIN, || {
            (ask(&cluster, through, "ring show")["points"] == 4 * 64).then_some(())
        });
    }
    assert_eq!(
        ask(&cluster, "r1", "ring show --vnodes")["tokens"],
        ask(&cluster, "n1", "ring show --vnodes")["tokens"]
    );
    assert_eq!(refused(&cluster, "r1", "node forget n3"), "node_lives");
    assert_eq!(refused(&cluster, "r1", "node cordon nobody"), "no_such_node");
    assert_eq!(refused(&cluster, "r1", "doc show nothing"), "document_not_found");

    cluster.etcd.stop();
    wait_for("everybody sees that etcd is away", WITHIN, || {
        let verdict = ask(&cluster, "r1", "status")["verdict"].clone();
        verdict.as_str()?.starts_with("cluster ringleaf: etcd is away for ").then_some(())
    });
    assert_eq!(refused(&cluster, "n1", "node cordon n1"), "etcd_away");
    assert_eq!(in_memory(&cluster, "n1").len(), DOCUMENTS);
}

#[test]
fn a_question_about_a_document_of_a_dead_node_is_answered_by_its_successor() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 1), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    write(&cluster, "n1");
    let owners = owners(&cluster, "r1");
    let (document, dead) = owners.iter().find(|(_, owner)| *owner != "n1").unwrap();
    // What was passed on is answered where it arrives, and not passed on again.
    let here = passed_on(&cluster, "n1", document);
    assert_eq!((&here["name"], &here["resident"]), (&Value::from(document.as_str()), &Value::from(false)));
    assert!(here["answered_by"].is_null(), "{here}");

    cluster.kill(dead);
    let shown = ask(&cluster, "r1", &format!("doc get {document}"));
    assert_eq!(shown["text"], "hello", "{shown}");
    let shown = ask(&cluster, "n1", &format!("doc show {document}"));
    assert_eq!(shown["owner"], dead.as_str());
    assert_ne!(shown["answered_by"], dead.as_str());
    // And of everything else, too: the dead one is named as the one that did not answer.
    let listed = ask(&cluster, "r1", "doc list");
    assert_eq!(listed["documents"].as_array().unwrap().len(), DOCUMENTS);
    let plan = ask(&cluster, "r1", "ring plan --add n4=2");
    assert_eq!(plan["live"]["unanswered"][0]["node"], dead.as_str());
    let verdict = ask(&cluster, "r1", "status")["verdict"].clone();
    assert!(
        verdict.as_str().unwrap().starts_with(&format!("cluster ringleaf: {dead} does not answer")),
        "{verdict}"
    );
}

/// Asks as another process of the cluster would.
fn passed_on(cluster: &Cluster, name: &str, document: &str) -> Value {
    let mut stream = TcpStream::connect(cluster.server(name).admin()).unwrap();
    let path = format!("/api/v1/documents/{}", document.replace('/', "%2F"));
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\nx-ringleaf-hop: 1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_document_moves_to_the_node_that_an_operator_names_and_back() {
    let Some(cluster) = Cluster::start(&ClusterOptions::new(2, 1)) else { return };
    write(&cluster, "n1");
    let editor = harness::Socket::open(cluster.server("r1").editors(), "/notes/7");
    let owner = |at: &str| {
        let answer = ask(&cluster, at, "ring owner notes/7");
        let document = &answer["documents"][0];
        assert_eq!(document["owner"], document["candidates"][0]);
        (document["owner"].as_str().unwrap().to_owned(), document["pinned_to"].clone())
    };
    let (from, none) = owner("r1");
    assert!(none.is_null());
    let to = if from == "n1" { "n2" } else { "n1" };
    wait_for("the editor is there", WITHIN, || {
        let shown = ask(&cluster, "n1", "doc show notes/7");
        (shown["sessions"] == 1).then_some(())
    });
    // From a process that hosts nothing, and seen by every other.
    let moved = ask(&cluster, "r1", &format!("doc move notes/7 {to}"));
    assert_eq!((&moved["arrived"], &moved["node"]), (&true.into(), &to.into()), "{moved}");
    wait_for("its editor went along", WITHIN, || {
        let answer = ask(&cluster, "r1", "ring owner notes/7");
        let found = &answer["documents"][0]["in_memory"];
        (found[0]["node"] == *to && found[0]["sessions"] == 1 && found[1].is_null()).then_some(())
    });
    for at in ["n1", "n2", "r1"] {
        wait_for("it is pinned for all", WITHIN, || (owner(at) == (to.to_owned(), to.into())).then_some(()));
    }
    let pins = ask(&cluster, "n1", "doc pins");
    assert_eq!(pins["pins"].as_array().unwrap().len(), 1, "{pins}");
    assert_eq!((&pins["pins"][0]["name"], &pins["pins"][0]["node"]), (&"notes/7".into(), &to.into()));
    let listed = cluster.server("r1").command("doc list");
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&format!("{to}*")), "it is marked");
    let named = cluster.server("n2").command("ring owner notes/7");
    assert!(String::from_utf8_lossy(&named.stdout).contains(&format!("{to} (pinned)")));
    // A pin waits for its node.
    ask(&cluster, "r1", &format!("node cordon {to}"));
    wait_for("the ring decides", WITHIN, || (owner("r1").0 == from).then_some(()));
    assert_eq!(refused(&cluster, "r1", &format!("doc move notes/8 {to}")), "not_serving");
    ask(&cluster, "r1", &format!("node uncordon {to}"));
    wait_for("it is back", WITHIN, || (owner("r1").0 == to).then_some(()));
    let free = ask(&cluster, "n2", "doc unpin notes/7");
    assert_eq!((&free["node"], &free["arrived"]), (&from.as_str().into(), &true.into()), "{free}");
    assert_eq!(refused(&cluster, "r1", "doc unpin notes/7"), "not_pinned");
    assert_eq!(refused(&cluster, "r1", "doc move notes/7 n9"), "no_such_node");
    drop(editor);
}
