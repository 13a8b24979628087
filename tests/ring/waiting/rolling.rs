//! A rolling restart, as an operator's script does it: one process at a time, the next when this one is ready again.

use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions};

use crate::load::{Load, Shape};
use crate::stock::Stock;
use crate::{DEATHS, everybody, routers};

const DOCUMENTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Stops each in order, starts it where it was, and waits until it is ready.
fn restart_one_by_one(cluster: &mut Cluster, names: Vec<String>) -> Duration {
    let mut slowest = Duration::ZERO;
    for name in &names {
        let asked_at = Instant::now();
        cluster.stop(name);
        slowest = slowest.max(asked_at.elapsed());
        cluster.start_again_there(name);
        cluster.wait_ready(name);
    }
    slowest
}

#[test]
fn a_rolling_restart_of_every_process_loses_nothing_acknowledged() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let load = Load::start(&everybody(&cluster), &DOCUMENTS);
    let steady = Load::start(&routers(&cluster), &["r", "s"]);
    for load in [&load, &steady] {
        load.wait_acknowledging(Duration::from_secs(30));
    }
    let (nodes, routers) = (cluster.nodes(), cluster.routers());
    let slowest = restart_one_by_one(&mut cluster, nodes);
    for load in [&load, &steady] {
        load.wait_acknowledging(Duration::from_secs(30));
    }
    assert_eq!(steady.closed(), 0, "nodes that restart close no socket at a router");
    let pause = steady.finish();
    restart_one_by_one(&mut cluster, routers);
    load.wait_acknowledging(Duration::from_secs(30));
    let outcome = load.finish();
    cluster.wait_ring(3);
    let kept = outcome.lost_nothing(&mut cluster) + pause.lost_nothing(&mut cluster);
    let acknowledged = outcome.acknowledged + pause.acknowledged;
    harness::figure(&format!(
        "5 restarts: {acknowledged} updates acknowledged, {} lost; slowest acknowledgement {:.0?}; a node stops within {slowest:.1?}",
        acknowledged.saturating_sub(kept),
        pause.slowest(),
    ));
    assert!(outcome.closed > 0, "routers that restart close theirs");
}

/// Editors with raw sockets in each document of the crowd.
const EDITORS: usize = 16;
const LINES: [&str; 2] = ["y-websocket-1", "y-websocket-3.1"];
/// A machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn nodes_that_restart_one_after_the_other_close_none_of_many_sockets_at_routers() {
    // 500 sockets and one round, or 2,004 and twenty.
    let (documents, rounds, pace) = if harness::long() { (125, 20, 6) } else { (31, 1, 3) };
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let names = (0..documents).map(|number| format!("crowd-{number}")).collect();
    let shape = Shape { writers: EDITORS - 1, pace: Duration::from_secs(pace) };
    let load = Load::start_with(&routers(&cluster), names, shape);
    let mut stock = Stock::open(&cluster, &LINES, &cluster.routers());
    load.wait_acknowledging(WITHIN);
    let sockets = documents * EDITORS + LINES.len() * cluster.routers().len();
    for _ in 0..rounds {
        for node in cluster.nodes() {
            stock.edit();
            restart_one_by_one(&mut cluster, vec![node]);
            stock.edit();
            load.wait_acknowledging(WITHIN);
            assert_eq!(load.closed() + stock.closed(), 0, "sockets closed at routers");
        }
    }
    load.keep_quiet(true);
    load.wait_equal(WITHIN);
    let outcome = load.finish();
    cluster.wait_ring(3);
    let kept = outcome.lost_nothing(&mut cluster);
    stock.check(&cluster);
    assert_eq!(outcome.closed + stock.closed(), 0, "sockets closed at routers");
    harness::figure(&format!(
        "{} restarts of nodes under {sockets} sockets: {} updates acknowledged, {} lost, 0 sockets closed, all equal; \
         slowest acknowledgement {:.0?}",
        rounds * 3,
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        outcome.slowest(),
    ));
}
