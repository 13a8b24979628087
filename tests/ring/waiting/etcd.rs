//! Etcd is away: nothing happens, except that no node can join. Even a node that dies meanwhile is failed over.

use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Socket, wait_for, yjs};

use crate::load::Load;
use crate::{DEATHS, routers, wait_acknowledged};

const DOCUMENTS: [&str; 4] = ["a", "b", "c", "d"];
const FAILOVER_MAX: Duration = Duration::from_secs(20);

fn ring_version(cluster: &Cluster, name: &str) -> Option<u64> {
    cluster.ask(name, "/api/v1/status")?["ring"]["version"].as_u64()
}

/// Waits until all processes but that one see the same ring of so many nodes.
fn wait_same_ring(cluster: &Cluster, but: &str, serving: usize) {
    let names: Vec<_> =
        cluster.nodes().into_iter().chain(cluster.routers()).filter(|name| name != but).collect();
    wait_for(&format!("all see the same {serving} nodes"), Duration::from_secs(60), || {
        let versions: Vec<_> = names.iter().map(|name| ring_version(cluster, name)).collect();
        let same = versions[0].is_some() && versions.iter().all(|version| *version == versions[0]);
        (same && names.iter().all(|name| cluster.serving(name).len() == serving)).then_some(())
    });
}

#[test]
fn an_etcd_that_is_away_for_thirty_seconds_costs_nothing_even_when_a_node_dies_meanwhile() {
    let away = Duration::from_secs(if harness::long() { 600 } else { 30 });
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options.announce("etcd is away")) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    load.wait_acknowledging(Duration::from_secs(30));

    cluster.etcd.stop();
    let stopped_at = Instant::now();
    load.wait_acknowledging(FAILOVER_MAX);
    let victim = cluster.holder(DOCUMENTS[0]);
    let hosted = |document: &&str| cluster.holders(document) == [victim.clone()];
    let hosted: Vec<_> = DOCUMENTS.into_iter().filter(hosted).collect();
    cluster.kill(&victim);
    let killed_at = Instant::now();
    load.wait_acknowledging(FAILOVER_MAX);
    let pause = hosted.iter().filter_map(|document| load.pause(document, killed_at)).max().unwrap();
    // Documents that nobody had before, at all of the nodes, the dead one too.
    for (number, address) in routers(&cluster).into_iter().cycle().take(8).enumerate() {
        let client = 1_000_000 + number as u64;
        let mut socket = Socket::open(address, &format!("/new/{number}"));
        socket.send(&yjs::update_frame(&yjs::typed(client, 0, "hello"))).unwrap();
        wait_acknowledged(&mut socket, client, 5);
    }
    // The one place where time itself is the fact.
    std::thread::sleep(away.saturating_sub(stopped_at.elapsed()));
    load.wait_acknowledging(FAILOVER_MAX);

    cluster.etcd.start_again();
    cluster.etcd.compact();
    wait_same_ring(&cluster, &victim, 2);
    cluster.start_again(&victim);
    wait_same_ring(&cluster, "nobody", 3);
    load.wait_acknowledging(FAILOVER_MAX);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    let kept = outcome.lost_nothing(&mut cluster);
    harness::figure(&format!(
        "etcd away for {away:?}: {} updates acknowledged, {} lost; a node that died meanwhile was failed over in {pause:.0?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
    ));
}
