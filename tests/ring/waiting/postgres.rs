//! The store goes away and comes back.

use std::time::Duration;

use harness::{Cluster, ClusterOptions};

use crate::load::Load;
use crate::{DEATHS, STORE_TROUBLE, routers};

const DOCUMENTS: [&str; 4] = ["a", "b", "c", "d"];
const WITHIN: Duration = Duration::from_secs(30);

fn quarantined(cluster: &Cluster) -> u64 {
    let status = |name: &String| cluster.ask(name, "/api/v1/status").unwrap();
    cluster.nodes().iter().map(|name| status(name)["counts"]["documents_quarantined"].as_u64().unwrap()).sum()
}

#[test]
fn a_store_that_restarts_under_load_costs_a_pause_and_nothing_else() {
    let options =
        DEATHS.into_iter().chain(STORE_TROUBLE).fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    for signal in ["INT", "QUIT"] {
        load.wait_acknowledging(WITHIN);
        cluster.postgres.stop(signal);
        cluster.postgres.start_again();
    }
    load.wait_acknowledging(WITHIN);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    assert_eq!(quarantined(&cluster), 0);
    for name in cluster.nodes() {
        assert!(cluster.is_running(&name), "{name} has ended");
    }
    let kept = outcome.lost_nothing(&mut cluster);
    harness::figure(&format!(
        "PostgreSQL restarted twice: {} updates acknowledged, {} lost; slowest acknowledgement {:.1?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        outcome.slowest(),
    ));
}
