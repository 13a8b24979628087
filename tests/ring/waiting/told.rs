//! A router that is cut off from etcd, and from nothing else, learns of the ring from the nodes: all goes on around it.

use std::time::Duration;

use harness::{Cluster, ClusterOptions, Network, Proxy, Role, ServerOptions, wait_for};

use crate::load::Load;
use crate::{DEATHS, routers};

const DOCUMENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const WITHIN: Duration = Duration::from_secs(60);

/// Waits until the router that is cut off knows of these nodes, and of no others.
fn wait_told(cluster: &Cluster, expected: &[&str]) {
    let fact = format!("r1 is told that {expected:?} serve");
    wait_for(&fact, WITHIN, || (cluster.serving("r1") == expected).then_some(()));
    assert!(!reaches_etcd(cluster), "it has asked etcd");
}

fn reaches_etcd(cluster: &Cluster) -> bool {
    let status = cluster.ask("r1", "/api/v1/status").expect("r1 answers");
    status["coordinator"]["connected"].as_bool().expect("it says so")
}

fn version(cluster: &Cluster, name: &str) -> u64 {
    cluster.ask(name, "/api/v1/status").and_then(|status| status["ring"]["version"].as_u64()).unwrap_or(0)
}

#[test]
fn a_router_that_cannot_reach_etcd_is_told_of_a_join_a_drain_and_a_death() {
    let mut proxy = None;
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 2), ClusterOptions::announce);
    let cluster = Cluster::start_with(&options.announce("etcd is away"), |cluster, name| match name {
        "r1" => {
            let proxy = proxy.insert(Proxy::to(cluster.etcd.address()));
            vec!["--etcd".into(), format!("http://{}", proxy.address())]
        }
        _ => Vec::new(),
    });
    let (Some(mut cluster), Some(proxy)) = (cluster, proxy) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    load.wait_acknowledging(WITHIN);

    proxy.set(Network::BlackHole);
    wait_for("r1 notices that etcd is away", WITHIN, || (!reaches_etcd(&cluster)).then_some(()));
    let node = DEATHS.into_iter().fold(ServerOptions::default(), ServerOptions::announce);
    let node = cluster.place("n3", ServerOptions { role: Role::Node, ..node });
    cluster.add("n3", node);
    wait_told(&cluster, &["n1", "n2", "n3"]);
    load.wait_acknowledging(WITHIN);
    assert!(cluster.drain("n1", "r1"), "the drain cut something off");
    wait_told(&cluster, &["n2", "n3"]);
    load.wait_acknowledging(WITHIN);
    cluster.kill("n2");
    load.wait_acknowledging(WITHIN);
    // When its lease has run out.
    wait_told(&cluster, &["n3"]);
    for name in ["n1", "n2"] {
        cluster.start_again_there(name);
    }
    wait_told(&cluster, &["n1", "n2", "n3"]);
    load.wait_acknowledging(WITHIN);

    proxy.set(Network::Passes);
    wait_for("r1 reaches etcd again", WITHIN, || reaches_etcd(&cluster).then_some(()));
    wait_for("all see one ring", WITHIN, || {
        let versions = ["n1", "n2", "n3", "r1", "r2"].map(|name| version(&cluster, name));
        (versions[0] > 0 && versions.iter().all(|version| *version == versions[0])).then_some(())
    });
    load.wait_acknowledging(WITHIN);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    let kept = outcome.lost_nothing(&mut cluster);
    harness::figure(&format!(
        "a router without etcd is told of a join, a drain and a death: {} updates acknowledged, {} lost, slowest {:.1?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        outcome.slowest(),
    ));
}
