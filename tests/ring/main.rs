//! A cluster of real processes, over a real etcd and a real PostgreSQL, and what it must bear.
//!
//! `waiting` holds tests that mostly wait (they run beside the others), `alone` those that measure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod big;
mod docker;
mod failover;
mod holes;
mod joins;
mod load;
mod moves;
mod operators;
mod page;
mod released;
mod spread;
mod stock;
mod storm;
mod strangers;
mod timeline;
mod waiting;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Cluster, Event, Socket};

/// What processes say when another one has died or leaves, and this machine is too busy to be quick about it.
const DEATHS: [&str; 4] = [
    "abandon a document that does not flush",
    "a node cannot be reached",
    "keep documents whose owner does not answer",
    "members are asked whether they live",
];

/// What processes say when the store is away. The pool of connections has its own words.
const STORE_TROUBLE: [&str; 7] = [
    "the store does not answer",
    "deadpool.postgres",
    "the database is away",
    "nothing is acknowledged until the store takes",
    "no snapshot",
    "waiting for the store",
    "the store cannot be reached from here",
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

/// Reads until the server says that this client's updates are stored up to the clock.
fn wait_acknowledged(socket: &mut Socket, client: u64, clock: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match socket.receive(until.saturating_duration_since(Instant::now())) {
            Event::Message(message) => {
                if let Frame::Update(update) = yjs::frame(&message)
                    && yjs::contents(&update).clocks.get(&client).is_some_and(|seen| *seen >= clock)
                {
                    return;
                }
            }
            end => panic!("{end:?} instead of what {client} typed"),
        }
    }
}
