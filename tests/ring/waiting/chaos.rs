//! One fault after the other, of every kind, by chance: whatever breaks, and in whatever order, nothing is lost and no
//! socket at a router closes. `RINGLEAF_TEST_SEED` repeats a run's faults.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::{Cluster, ClusterOptions, Network, Proxy, url_at};

use crate::load::Load;
use crate::{DEATHS, STORE_TROUBLE, percentile, routers};

const DOCUMENTS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
/// Two leases, and a machine that is busy.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// What of a node can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Etcd,
    Store,
    /// From whoever wants something of it.
    Others,
}

#[derive(Debug, Clone)]
enum Fault {
    Kill { node: String, away: Duration },
    Freeze { node: String, away: Duration },
    Restart { node: String },
    Cut { node: String, way: Way, network: Network, away: Duration },
    EtcdAway { away: Duration, compacted: bool },
    StoreAway { away: Duration, signal: &'static str },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn span(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.below(1_000) as f64 / 1_000.0)
    }

    fn fault(&mut self, nodes: &[String]) -> Fault {
        let node = self.one(nodes);
        let away = self.span(Duration::from_secs(8));
        match self.below(8) {
            0 | 1 => Fault::Kill { node, away: away / 2 },
            2 => Fault::Freeze { node, away },
            3 => Fault::Restart { node },
            4 | 5 => {
                let kinds = [Network::Cut, Network::BlackHole, Network::Deaf, Network::Mute];
                let way = self.one(&[Way::Etcd, Way::Store, Way::Others]);
                Fault::Cut { node, way, network: self.one(&kinds), away }
            }
            6 => Fault::EtcdAway { away, compacted: self.below(2) == 0 },
            _ => Fault::StoreAway { away: away / 4, signal: self.one(&["INT", "QUIT"]) },
        }
    }
}

/// A cluster in which every way of a node leads through a network that can be cut.
struct Arena {
    cluster: Cluster,
    ways: BTreeMap<(String, Way), Proxy>,
}

impl Arena {
    fn start() -> Option<Self> {
        let announced = DEATHS.into_iter().chain(STORE_TROUBLE);
        let options = announced.fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
        let mut ways = BTreeMap::new();
        let cluster = Cluster::start_with(&options.announce("etcd is away"), |cluster, name| {
            if !name.starts_with('n') {
                return Vec::new();
            }
            let etcd = Proxy::to(cluster.etcd.address());
            let store = Proxy::to(cluster.postgres.address());
            let others = Proxy::start();
            let arguments = [
                ["--etcd".into(), format!("http://{}", etcd.address())],
                ["--store".into(), url_at(store.address())],
                ["--advertise".into(), others.address().to_string()],
            ];
            for (way, proxy) in [(Way::Etcd, etcd), (Way::Store, store), (Way::Others, others)] {
                ways.insert((name.to_owned(), way), proxy);
            }
            arguments.concat()
        })?;
        for node in cluster.nodes() {
            ways[&(node.clone(), Way::Others)].aim(cluster.server(&node).peer().unwrap());
        }
        Some(Self { cluster, ways })
    }

    /// Time is what a fault consists of, so here it passes.
    fn suffer(&mut self, fault: &Fault) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::Kill { node, away } => {
                cluster.kill(node);
                thread::sleep(*away);
                cluster.start_again_there(node);
            }
            Fault::Freeze { node, away } => {
                cluster.server(node).signal("STOP");
                thread::sleep(*away);
                cluster.server(node).signal("CONT");
            }
            Fault::Restart { node } => {
                cluster.stop(node);
                cluster.start_again_there(node);
            }
            Fault::Cut { node, way, network, away } => {
                let way = &self.ways[&(node.clone(), *way)];
                way.set(*network);
                thread::sleep(*away);
                way.set(Network::Passes);
            }
            Fault::EtcdAway { away, compacted } => {
                cluster.etcd.stop();
                thread::sleep(*away);
                cluster.etcd.start_again();
                if *compacted {
                    cluster.etcd.compact();
                }
            }
            Fault::StoreAway { away, signal } => {
                cluster.postgres.stop(signal);
                thread::sleep(*away);
                cluster.postgres.start_again();
            }
        }
    }
}

fn seed() -> u64 {
    let given = std::env::var("RINGLEAF_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into())
}

#[test]
fn whatever_breaks_nothing_acknowledged_is_lost_and_no_socket_at_a_router_closes() {
    let time = Duration::from_secs(if harness::long() { 600 } else { 60 });
    let Some(mut arena) = Arena::start() else { return };
    let seed = seed();
    eprintln!("RINGLEAF_TEST_SEED={seed}");
    let (mut dice, mut faults) = (Dice(seed), 0);
    let mut pauses = Vec::new();
    let load = Load::start(&routers(&arena.cluster), &DOCUMENTS);
    load.wait_acknowledging(RECOVERY_MAX);
    let nodes = arena.cluster.nodes();
    let until = Instant::now() + time;
    while Instant::now() < until {
        let fault = dice.fault(&nodes);
        let begun_at = Instant::now();
        eprintln!("{fault}");
        arena.suffer(&fault);
        let healed_at = Instant::now();
        load.wait_acknowledging(RECOVERY_MAX);
        faults += 1;
        pauses.push(healed_at.elapsed());
        let slowest = load.documents().iter().filter_map(|document| load.pause(document, begun_at)).max();
        eprintln!(
            "  all acknowledge after {:.1?}, and {:.1?} after it was over",
            slowest.unwrap(),
            healed_at.elapsed()
        );
        assert_eq!(load.closed(), 0, "sockets closed at routers by {fault}");
    }
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    arena.cluster.wait_ring(nodes.len());
    let kept = outcome.lost_nothing(&mut arena.cluster);
    harness::figure(&format!(
        "{faults} faults: {} updates acknowledged, {} lost, 0 sockets closed; acknowledging again after their end: p50 {:.1?}, slowest {:.1?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        percentile(&mut pauses, 50),
        percentile(&mut pauses, 100),
    ));
}
