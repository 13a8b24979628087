//! A cluster in which every way of a node leads through a network that can fail.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

use harness::{Cluster, ClusterOptions, Network, Proxy, Role, ServerOptions, url_at, wait_for};

use super::bout::FURTHER;
use super::fault::{Fault, Way};
use crate::load::{OwnEnd, epoch_millis};
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
            Way::Others | Way::One(_) => &self.others,
        }
    }

    fn all(&self) -> [&Proxy; 3] {
        [&self.etcd, &self.store, &self.others]
    }
}

pub(super) struct Arena {
    pub(super) cluster: Cluster,
    each: ServerOptions,
    ways: BTreeMap<String, Ways>,
    /// Nodes that are to serve.
    there: usize,
    active: Vec<Fault>,
    /// Faults come one at a time just now: what is ordered has no reason to fail.
    pub(super) alone: bool,
    /// The last one about each node.
    orders: BTreeMap<String, Child>,
    /// Started again, and not waited for yet.
    launched: Vec<String>,
    /// Every time that a router was ended.
    pub(super) ends: Vec<OwnEnd>,
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
        let (each, orders) = (options.each, BTreeMap::new());
        let (active, launched, ends) = (Vec::new(), Vec::new(), Vec::new());
        let alone = true;
        let arena = Self { cluster, each, ways, there, active, alone, orders, launched, ends };
        arena.cluster.nodes().iter().for_each(|node| arena.aim(node));
        Some(arena)
    }

    /// Whoever looks for the node finds it.
    fn aim(&self, node: &str) {
        self.ways[node].others.aim(self.cluster.server(node).peer().unwrap());
    }

    /// What it consists of begins, and waits for nothing.
    pub(super) fn begin(&mut self, fault: &Fault) {
        match fault {
            Fault::Kill { node, .. } => self.cluster.kill(node),
            Fault::Freeze { node, .. } => self.cluster.server(node).signal("STOP"),
            Fault::Restart { node } | Fault::Leave { node } => self.cluster.server(node).signal("TERM"),
            Fault::Drain { node } => self.order(node, &format!("node drain {node} --timeout 60"), fault),
            Fault::Join { node } => self.join(node),
            Fault::Weight { node, weight } => {
                self.order(node, &format!("node weight {node} {weight}"), fault);
            }
            Fault::Cut { .. } | Fault::Slow { .. } => {}
            Fault::KillRouter { router, .. } => {
                self.router_ends(router);
                self.cluster.kill(router);
                self.router_ended(router);
            }
            Fault::RestartRouter { router } => {
                self.router_ends(router);
                self.cluster.server(router).signal("TERM");
            }
            Fault::EtcdAway { .. } => self.cluster.etcd.stop(),
            Fault::StoreAway { signal, .. } => self.cluster.postgres.stop(signal),
        }
        self.active.push(fault.clone());
        self.set_networks();
    }

    /// Whether what was ordered is done; of what lasts for a time, always.
    pub(super) fn is_done(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Restart { node } | Fault::Leave { node } | Fault::RestartRouter { router: node } => {
                !self.cluster.is_running(node)
            }
            Fault::Drain { node } => {
                let ended = !self.cluster.is_running(node);
                ended || self.try_order(node, &format!("node drain {node} --timeout 60"), fault, true)
            }
            Fault::Weight { node, weight } => {
                self.try_order(node, &format!("node weight {node} {weight}"), fault, false)
            }
            Fault::Join { node } => self.cluster.has_ports(node) && self.cluster.is_ready(node),
            _ => true,
        }
    }

    /// It is healed. Whoever was ended is started again, and is not waited for: what it needs may be away.
    pub(super) fn end(&mut self, fault: &Fault) {
        self.active.retain(|active| active != fault);
        if let (Some(name), None) = (fault.victim(), fault.away()) {
            let status = self.cluster.exit_status(name);
            let in_order = status.is_none_or(|status| status.success());
            assert!(in_order || !self.alone, "{name} ended with {status:?} and nothing else was broken");
        }
        match fault {
            Fault::Freeze { node, .. } => self.cluster.server(node).signal("CONT"),
            Fault::Kill { node, .. }
            | Fault::KillRouter { router: node, .. }
            | Fault::Restart { node }
            | Fault::Drain { node }
            | Fault::RestartRouter { router: node } => {
                if let Fault::RestartRouter { router } = fault {
                    self.router_ended(router);
                }
                self.cluster.launch_again_there(node);
                self.launched.push(node.clone());
            }
            Fault::Leave { .. } => self.there -= 1,
            Fault::Join { .. } | Fault::Weight { .. } | Fault::Cut { .. } | Fault::Slow { .. } => {}
            Fault::EtcdAway { compacted, .. } => {
                self.cluster.etcd.start_again();
                if *compacted {
                    self.cluster.etcd.compact();
                }
            }
            Fault::StoreAway { .. } => self.cluster.postgres.start_again(),
        }
        self.set_networks();
    }

    /// Nothing is broken any more: waits until those who were started again are there.
    pub(super) fn wait_all_back(&mut self) {
        for name in std::mem::take(&mut self.launched) {
            self.cluster.wait_ports(&name);
        }
    }

    /// Every network is what those say that are active now: what is slow, and over it what is cut.
    fn set_networks(&self) {
        self.ways.values().flat_map(Ways::all).for_each(Proxy::heal);
        for fault in &self.active {
            if let Fault::Slow { way, delay, .. } = fault {
                self.ways.values().for_each(|ways| ways.get(way).set(Network::Slow(*delay)));
            }
        }
        for fault in &self.active {
            let Fault::Cut { node, way, network, .. } = fault else { continue };
            let process = |name: &str| self.cluster.server(name).process();
            let proxy = self.ways[node].get(way);
            let Way::One(other) = way else {
                proxy.set(*network);
                continue;
            };
            proxy.set_for(process(other), *network);
            if let Some(others) = self.ways.get(other) {
                others.others.set_for(process(node), *network);
            }
        }
    }

    /// Asks whoever is well to do something about a node.
    fn order(&mut self, node: &str, line: &str, fault: &Fault) {
        let names = self.cluster.routers().into_iter().chain(self.cluster.nodes());
        let victims: Vec<_> = self.active.iter().chain([fault]).filter_map(Fault::victim).collect();
        let well =
            names.into_iter().find(|name| !victims.contains(&name.as_str()) && !self.launched.contains(name));
        let asked = self.cluster.server(&well.expect("somebody is well")).spawn(line);
        self.orders.insert(node.to_owned(), asked);
    }

    /// Whether the order was carried out. One that was refused is given again.
    fn try_order(&mut self, node: &str, line: &str, fault: &Fault, ends: bool) -> bool {
        let asked = self.orders.get_mut(node).expect("it was given");
        match asked.try_wait().expect("it is our child") {
            None => false,
            // The process ends a moment later.
            Some(status) if status.success() => !ends,
            Some(_) => {
                self.order(node, line, fault);
                false
            }
        }
    }

    fn router_ends(&mut self, router: &str) {
        let address = self.cluster.server(router).editors();
        let end = OwnEnd { router: router.to_owned(), address, begun: epoch_millis(), over: u64::MAX };
        self.ends.push(end);
    }

    fn router_ended(&mut self, router: &str) {
        let end = self.ends.iter_mut().rfind(|end| end.router == router);
        end.expect("it was to end").over = epoch_millis();
    }

    fn join(&mut self, node: &str) {
        if self.ways.contains_key(node) {
            self.cluster.launch_again_there(node);
        } else {
            let ways = Ways::of(&self.cluster);
            let options =
                ServerOptions { role: Role::Node, arguments: ways.arguments(), ..self.each.clone() };
            let options = self.cluster.place(node, options);
            self.ways.insert(node.to_owned(), ways);
            self.cluster.add(node, options);
            self.aim(node);
        }
        self.launched.push(node.to_owned());
        self.there += 1;
    }

    /// Waits until all who are to serve do: whoever leaves in order has somebody to give its documents to.
    pub(super) fn wait_all_serve(&self) {
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
        self.wait_all_back();
        self.cluster.wait_ring(self.there);
    }
}
