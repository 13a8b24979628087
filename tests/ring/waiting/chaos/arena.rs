//! A cluster in which every way of a node leads through a network that can fail.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use harness::{Cluster, ClusterOptions, Network, Proxy, Role, ServerOptions, url_at, wait_for};

use super::fault::{FURTHER, Fault, Way};
use crate::{DEATHS, STORE_TROUBLE};

const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What else processes say when what they stand on fails for a while. None of it is about something that was durable and
/// is not: "the store went backwards", a quarantine and a panic stay unannounced.
const MORE_TROUBLE: [&str; 7] = [
    "etcd is away",
    // A node was stopped, or cut off, for longer than its lease.
    "the lease was lost",
    // It is closed and loaded again.
    "the store does not say what a slot holds",
    // It is tried again with the next snapshot.
    "could not trim the log",
    // A later load finds that there was nothing.
    "could not remove a note",
    "decoding without a note in the store",
    // A machine that is too busy. What they had not written was not acknowledged, and their editors still have it.
    "some documents did not flush in time",
];

/// The three ways of a node.
struct Ways {
    etcd: Proxy,
    store: Proxy,
    others: Proxy,
}

impl Ways {
    fn of(cluster: &Cluster) -> Self {
        let etcd = Proxy::to(cluster.etcd.address());
        Self { etcd, store: Proxy::to(cluster.postgres.address()), others: Proxy::start() }
    }

    /// What makes a node take them.
    fn arguments(&self) -> Vec<String> {
        let etcd = format!("http://{}", self.etcd.address());
        let (store, others) = (url_at(self.store.address()), self.others.address().to_string());
        ["--etcd", &etcd, "--store", &store, "--advertise", &others].map(str::to_owned).to_vec()
    }

    fn get(&self, way: &Way) -> &Proxy {
        match way {
            Way::Etcd => &self.etcd,
            Way::Store => &self.store,
            Way::Others | Way::Router(_) => &self.others,
        }
    }
}

pub(super) struct Arena {
    pub(super) cluster: Cluster,
    each: ServerOptions,
    ways: BTreeMap<String, Ways>,
    /// Nodes that are to serve.
    there: usize,
}

impl Arena {
    /// `None`, with the reason, when something is not installed.
    pub(super) fn start() -> Option<Self> {
        let announced = DEATHS.into_iter().chain(STORE_TROUBLE).chain(MORE_TROUBLE);
        let options = announced.fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
        let mut ways = BTreeMap::new();
        let cluster = Cluster::start_with(&options, |cluster, name| {
            if !name.starts_with('n') {
                return Vec::new();
            }
            ways.entry(name.to_owned()).or_insert_with(|| Ways::of(cluster)).arguments()
        })?;
        let there = options.nodes;
        let arena = Self { cluster, each: options.each, ways, there };
        arena.cluster.nodes().iter().for_each(|node| arena.aim(node));
        Some(arena)
    }

    /// Whoever looks for the node finds it.
    fn aim(&self, node: &str) {
        self.ways[node].others.aim(self.cluster.server(node).peer().unwrap());
    }

    /// Time is what a fault consists of, so here it passes.
    pub(super) fn suffer(&mut self, fault: &Fault) {
        match fault {
            Fault::Kill { node, away } => {
                self.cluster.kill(node);
                thread::sleep(*away);
                self.cluster.start_again_there(node);
            }
            Fault::Freeze { node, away } => {
                self.cluster.server(node).signal("STOP");
                thread::sleep(*away);
                self.cluster.server(node).signal("CONT");
            }
            Fault::Restart { node } => {
                self.wait_all_serve();
                self.cluster.stop(node);
                self.cluster.start_again_there(node);
            }
            Fault::Drain { node } => {
                self.wait_all_serve();
                let nothing_cut_off = self.cluster.drain(node, "r1");
                eprintln!("  nothing was cut off: {nothing_cut_off}");
                self.cluster.start_again_there(node);
            }
            Fault::Join { node } => self.join(node),
            Fault::Leave { node } => {
                self.wait_all_serve();
                self.cluster.stop(node);
                self.there -= 1;
            }
            Fault::Weight { node, weight } => self.weigh(node, *weight),
            Fault::Cut { node, way, network, away } => {
                let proxy = self.ways[node].get(way);
                match way {
                    Way::Router(router) => proxy.set_for(self.cluster.server(router).process(), *network),
                    Way::Etcd | Way::Store | Way::Others => proxy.set(*network),
                }
                thread::sleep(*away);
                proxy.heal();
            }
            Fault::Slow { way, delay, away } => {
                let all = || self.ways.values().map(|ways| ways.get(way));
                all().for_each(|proxy| proxy.set(Network::Slow(*delay)));
                thread::sleep(*away);
                all().for_each(Proxy::heal);
            }
            Fault::EtcdAway { away, compacted } => {
                self.cluster.etcd.stop();
                thread::sleep(*away);
                self.cluster.etcd.start_again();
                if *compacted {
                    self.cluster.etcd.compact();
                }
            }
            Fault::StoreAway { away, signal } => {
                self.cluster.postgres.stop(signal);
                thread::sleep(*away);
                self.cluster.postgres.start_again();
            }
        }
    }

    fn join(&mut self, node: &str) {
        if self.ways.contains_key(node) {
            self.cluster.start_again_there(node);
        } else {
            let ways = Ways::of(&self.cluster);
            let options =
                ServerOptions { role: Role::Node, arguments: ways.arguments(), ..self.each.clone() };
            let options = self.cluster.place(node, options);
            self.ways.insert(node.to_owned(), ways);
            self.cluster.add(node, options);
            self.aim(node);
        }
        self.there += 1;
        self.cluster.wait_ready(node);
    }

    fn weigh(&self, node: &str, weight: usize) {
        // The node may still be on its way back from what was before.
        wait_for(&format!("{node} has weight {weight}"), COMMAND_TIMEOUT, || {
            let answer = self.cluster.server("r1").command(&format!("node weight {node} {weight}"));
            answer.status.success().then_some(())
        });
    }

    /// Waits until all who are to serve do: whoever leaves in order has somebody to give its documents to.
    fn wait_all_serve(&self) {
        for router in self.cluster.routers() {
            wait_for(&format!("{router} knows of {} nodes", self.there), COMMAND_TIMEOUT, || {
                (self.cluster.serving(&router).len() == self.there).then_some(())
            });
        }
    }

    /// Everything is as it was, and the node that left is back, too.
    pub(super) fn restore(&mut self) {
        let further = self.ways.contains_key(FURTHER);
        if further && !self.cluster.is_running(FURTHER) {
            self.join(FURTHER);
        }
        self.cluster.wait_ring(self.there);
    }
}
