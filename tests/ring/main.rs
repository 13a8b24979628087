//! A cluster of real processes, over a real etcd and a real PostgreSQL, and what it must bear.
//!
//! `waiting` holds tests that mostly wait (they run beside the others), `alone` those that measure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod failover;
mod load;
mod operators;
mod spread;
mod waiting;

use std::net::SocketAddr;
use std::time::Duration;

use harness::Cluster;

/// What processes say when another one has died.
const DEATHS: [&str; 3] = [
    "a node cannot be reached",
    "keep documents whose owner does not answer",
    "members are asked whether they live",
];

/// Where editors connect who shall not notice anything.
fn routers(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.routers().iter().map(|name| cluster.server(name).editors()).collect()
}

/// Every address that takes editors.
fn everybody(cluster: &Cluster) -> Vec<SocketAddr> {
    let names = cluster.nodes().into_iter().chain(cluster.routers());
    names.map(|name| cluster.server(&name).editors()).collect()
}

/// The span below which so many of a hundred stay.
fn percentile(spans: &mut [Duration], percent: usize) -> Duration {
    spans.sort_unstable();
    spans.get((spans.len() * percent / 100).min(spans.len().saturating_sub(1))).copied().unwrap_or_default()
}
