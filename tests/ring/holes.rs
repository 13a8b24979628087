//! What lacks its ground goes along when its document moves, and when its node dies.

use std::time::Duration;

use harness::{Agent, Cluster, ClusterOptions, base64, wait_for, yjs};
use serde_json::{Value, json};

use crate::DEATHS;

const WITHIN: Duration = Duration::from_secs(60);
const LEFT_BEHIND: &str = "part of what an editor has sent is not in the document";

/// An editor whose own store holds this.
fn open_with(agent: &mut Agent, name: &str, cluster: &Cluster, document: &str, update: &[u8]) {
    let url = cluster.server("r1").url();
    agent.run("open", json!({"name": name, "url": url, "document": document, "connect": false}));
    agent.run("take", json!({"name": name, "update": base64(update)}));
    agent.run("connect", json!({"names": [name]}));
    agent.wait_synced(&[name]);
}

fn shown(cluster: &Cluster, at: &str, document: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_for(what, WITHIN, || {
        let shown = cluster.ask(at, &format!("/api/v1/documents/{document}"))?;
        holds(&shown).then_some(())
    });
}

#[test]
fn what_lacks_its_ground_goes_along_with_its_document() {
    let mut options = ClusterOptions::new(2, 1).announce(LEFT_BEHIND);
    options = DEATHS.into_iter().fold(options, ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let mut agent = Agent::start("y-websocket-3.1");
    let (ground, top) = (yjs::typed(7, 0, "base "), yjs::typed(7, 5, "on top"));
    for document in ["left", "stays"] {
        agent.open("beside", &cluster.server("r1").url(), document);
        open_with(&mut agent, "early", &cluster, document, &top);
        shown(&cluster, "r1", document, "it is kept", |shown| shown["remainders"] == 1);
        if document == "left" {
            agent.run("destroy", json!({"names": ["early"]}));
        }
        let from = cluster.holder(document);
        let to = if from == "n1" { "n2" } else { "n1" };
        let moved = cluster.server("r1").command(&format!("doc move {document} {to}"));
        assert!(moved.status.success(), "{moved:?}");
        assert_eq!(cluster.holder(document), to);
        shown(&cluster, "r1", document, "it is shown there", |shown| {
            shown["remainders"] == 1 && (document == "left" || shown["sessions_left_behind"] == 1)
        });
        open_with(&mut agent, "later", &cluster, document, &ground);
        let mut names = vec!["beside", "later"];
        if document == "stays" {
            agent.run("insert", json!({"name": "early", "at": 11, "text": "!"}));
            names.push("early");
        }
        let text = if document == "stays" { "base on top!" } else { "base on top" };
        for name in &names {
            agent.wait_text(name, text);
        }
        shown(&cluster, "r1", document, "nothing is left", |shown| shown["remainders"] == 0);
        agent.run("destroy", json!({"names": names}));
    }

    // Its node dies instead.
    agent.open("beside", &cluster.server("r1").url(), "dies");
    open_with(&mut agent, "early", &cluster, "dies", &top);
    shown(&cluster, "r1", "dies", "it is kept", |shown| shown["remainders"] == 1);
    agent.run("destroy", json!({"names": ["early"]}));
    let holder = cluster.holder("dies");
    cluster.kill(&holder);
    open_with(&mut agent, "later", &cluster, "dies", &ground);
    for name in ["beside", "later"] {
        agent.wait_text(name, "base on top");
    }
}
