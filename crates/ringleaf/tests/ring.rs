//! The commands about the ring and its nodes, as far as they need no cluster. `tests/cluster` has one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod common;

use common::{Server, code, json, run, stderr, stdout};

#[test]
fn a_simulation_needs_no_server_and_says_what_to_expect() {
    let folder = tempfile::tempdir().unwrap();
    let line = "ring simulate --nodes 20 --documents 1000000 --weights 1,2 --document-bytes 1024";
    let arguments: Vec<&str> = line.split(' ').collect();
    let answer = json(&run(folder.path(), &[&arguments[..], &["-o", "json"]].concat()));
    assert_eq!(answer["ring"]["points"], 10 * 128 + 10 * 256);
    assert_eq!(answer["balance"]["mean"]["documents"], 50_000);
    assert_eq!(answer["balance"]["mean"]["bytes"], 500 * 1024);
    let fullest = answer["balance"]["fullest"]["of_ideal"].as_f64().unwrap();
    assert!((1.0..1.4).contains(&fullest), "{answer}");
    let ideal = answer["movement"]["one_more"]["ideal_share"].as_f64().unwrap();
    assert!((ideal - 1.0 / 31.0).abs() < 1e-9, "{answer}");
    let text = stdout(&run(folder.path(), &arguments));
    assert!(text.starts_with("20 nodes, 1,000,000 documents, of which 10,000 are in memory"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let wrong = run(folder.path(), &["ring", "simulate", "--nodes", "0", "--documents", "1", "-o", "json"]);
    assert_eq!(
        (code(&wrong), json(&wrong)["error"]["message"].as_str().unwrap()),
        (2, "a cluster has at least one node")
    );
}

#[test]
fn a_ring_of_one_is_shown_and_says_that_there_is_no_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data", "--node-id", "only"]);
    let shown = json(&server.command(folder.path(), &["ring", "show", "-o", "json"]));
    assert_eq!((shown["node"].as_str(), shown["points"].as_u64()), (Some("only"), Some(128)));
    assert_eq!(shown["members"][0]["share"], 1.0);
    let shown = json(&server.command(folder.path(), &["ring", "show", "--vnodes", "-o", "json"]));
    assert_eq!(shown["tokens"].as_array().unwrap().len(), 128);
    let text = stdout(&server.command(folder.path(), &["ring", "show"]));
    assert!(text.starts_with("a ring of one: this server is not part of a cluster\n\nNODE "), "{text}");

    std::fs::write(folder.path().join("u"), common::update(1)).unwrap();
    assert_eq!(code(&server.command(folder.path(), &["doc", "import", "a/b", "u"])), 0);
    let owned = json(&server.command(folder.path(), &["ring", "owner", "a/b", "nothing", "-o", "json"]));
    assert_eq!(owned["documents"][0]["owner"], "only");
    assert_eq!(owned["documents"][0]["in_memory"][0]["node"], "only");
    assert_eq!(owned["documents"][1]["in_memory"].as_array().unwrap().len(), 0);

    let nodes = json(&server.command(folder.path(), &["node", "list", "-o", "json"]));
    assert_eq!(nodes["members"][0]["counts"]["documents_resident"], 1);
    assert_eq!(json(&server.command(folder.path(), &["node", "show", "only", "-o", "json"]))["ready"], true);
    let missing = server.command(folder.path(), &["node", "show", "other", "-o", "json"]);
    assert_eq!((code(&missing), json(&missing)["error"]["code"].as_str()), (3, Some("no_such_node")));
    server.stop();
}

#[test]
fn what_changes_a_cluster_is_refused_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["data"]);
    std::fs::write(folder.path().join("ring.toml"), "virtual_nodes_per_weight = 64\n").unwrap();
    for line in [
        "ring plan --add n2",
        "ring apply ring.toml",
        "node cordon n1",
        "node uncordon n1",
        "node weight n1 2",
        "node weight n1 own",
        "node forget n1",
        "doc move notes n1",
        "doc unpin notes",
        "doc pins",
    ] {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        let refused = server.command(folder.path(), &arguments);
        assert_eq!(code(&refused), 5, "{line}");
        let said = "ringleaf: this server is not part of a cluster: it is a ring of one; start nodes with";
        assert!(stderr(&refused).starts_with(said), "{line}: {}", stderr(&refused));
        arguments.extend(["-o", "json"]);
        assert_eq!(json(&server.command(folder.path(), &arguments))["error"]["code"], "no_cluster", "{line}");
    }
    std::fs::write(folder.path().join("wrong.toml"), "virtual_nodes_per_weight = 0\n").unwrap();
    let refused = server.command(folder.path(), &["ring", "apply", "wrong.toml"]);
    assert_eq!(code(&refused), 7);
    assert!(
        stderr(&refused).contains("virtual_nodes_per_weight must be from 1 to 1024"),
        "{}",
        stderr(&refused)
    );
    server.stop();
}
