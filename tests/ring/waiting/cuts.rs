//! The network fails between two processes, and nowhere else.

use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Network, Proxy, url_at, wait_for};

use crate::load::Load;
use crate::{DEATHS, STORE_TROUBLE, everybody};

const DOCUMENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const WITHIN: Duration = Duration::from_secs(30);
/// The goal is ten seconds.
const PAUSE_MAX: Duration = Duration::from_secs(20);

fn options() -> ClusterOptions {
    DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce)
}

/// A network that loses everything is the worst. In the long run it fails in other ways, too.
fn kinds() -> &'static [Network] {
    const KINDS: [Network; 4] = [Network::BlackHole, Network::Cut, Network::Deaf, Network::Mute];
    if harness::long() { &KINDS } else { &KINDS[..1] }
}

fn bear(mut cluster: Cluster, what: &str, cut_for: Duration, set: impl Fn(&Cluster, Network)) {
    for kind in kinds() {
        bear_one(&mut cluster, &format!("{what} ({kind:?})"), cut_for, |cluster, cut| {
            set(cluster, if cut { *kind } else { Network::Passes });
        });
    }
}

/// Everything goes on during the cut and after it, and each document is at one node in the end.
fn bear_one(cluster: &mut Cluster, what: &str, cut_for: Duration, set: impl Fn(&Cluster, bool)) {
    let load = Load::start(&everybody(cluster), &DOCUMENTS);
    load.wait_acknowledging(WITHIN);
    set(cluster, true);
    let cut_at = Instant::now();
    load.wait_acknowledging(PAUSE_MAX);
    let pause = DOCUMENTS.iter().filter_map(|document| load.pause(document, cut_at)).max().unwrap();
    // The one place where time itself is the fact.
    std::thread::sleep(cut_for.saturating_sub(cut_at.elapsed()));
    load.wait_acknowledging(PAUSE_MAX);
    set(cluster, false);
    cluster.wait_ring(3);
    for document in DOCUMENTS {
        wait_for(&format!("{document} is at one node"), WITHIN, || {
            (cluster.holders(document).len() == 1).then_some(())
        });
    }
    load.wait_acknowledging(WITHIN);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed");
    let kept = outcome.lost_nothing(cluster);
    harness::figure(&format!(
        "{what} cut for {cut_for:?}: {} updates acknowledged, {} lost; all go on after {pause:.1?}, slowest acknowledgement {:.1?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        outcome.slowest(),
    ));
    assert!(outcome.slowest() < PAUSE_MAX, "{:?}", outcome.slowest());
}

#[test]
fn a_node_that_cannot_reach_etcd_costs_nothing() {
    let mut proxy = None;
    let cluster = Cluster::start_with(&options().announce("etcd is away"), |cluster, name| match name {
        "n1" => {
            let proxy = proxy.insert(Proxy::to(cluster.etcd.address()));
            vec!["--etcd".into(), format!("http://{}", proxy.address())]
        }
        _ => Vec::new(),
    });
    let (Some(cluster), Some(proxy)) = (cluster, proxy) else { return };
    bear(cluster, "n1 from etcd", Duration::from_secs(25), |_, network| proxy.set(network));
}

#[test]
fn a_node_that_cannot_reach_the_store_gives_its_documents_to_those_that_can() {
    let mut proxy = None;
    let options = STORE_TROUBLE.into_iter().fold(options(), ClusterOptions::announce);
    let cluster = Cluster::start_with(&options, |cluster, name| match name {
        "n1" => {
            let proxy = proxy.insert(Proxy::to(cluster.postgres.address()));
            vec!["--store".into(), url_at(proxy.address())]
        }
        _ => Vec::new(),
    });
    let (Some(cluster), Some(proxy)) = (cluster, proxy) else { return };
    bear(cluster, "n1 from PostgreSQL", Duration::from_secs(25), |_, network| proxy.set(network));
}

#[test]
fn a_router_that_cannot_reach_a_node_is_relayed_to_it() {
    let mut proxy = None;
    let cluster = Cluster::start_with(&options(), |_, name| match name {
        "n1" => {
            let proxy = proxy.insert(Proxy::start());
            vec!["--advertise".into(), proxy.address().to_string()]
        }
        _ => Vec::new(),
    });
    let (Some(cluster), Some(proxy)) = (cluster, proxy) else { return };
    proxy.aim(cluster.server("n1").peer().unwrap());
    bear(cluster, "r1 from n1", Duration::from_secs(15), |cluster, network| {
        proxy.set_for(cluster.server("r1").process(), network);
    });
}
