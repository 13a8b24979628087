//! What breaks, and in which order: a seed says it all, whatever the clock does.

use std::fmt;
use std::time::Duration;

use harness::Network;

/// Longer than a lease.
const AWAY_MAX: Duration = Duration::from_secs(8);
/// The node that joins, and leaves.
pub(super) const FURTHER: &str = "n4";

/// What of a node can be cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Etcd,
    Store,
    /// From whoever wants something of it.
    Others,
    /// From this router only, which is then relayed.
    Router(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    Kill {
        node: String,
        away: Duration,
    },
    Freeze {
        node: String,
        away: Duration,
    },
    /// SIGTERM.
    Restart {
        node: String,
    },
    /// The command; the node is started again.
    Drain {
        node: String,
    },
    Join {
        node: String,
    },
    /// For good, until it joins again.
    Leave {
        node: String,
    },
    Weight {
        node: String,
        weight: usize,
    },
    Cut {
        node: String,
        way: Way,
        network: Network,
        away: Duration,
    },
    /// The store, or etcd, answers every node so much later each way.
    Slow {
        way: Way,
        delay: Duration,
        away: Duration,
    },
    EtcdAway {
        away: Duration,
        compacted: bool,
    },
    /// `INT` is a restart, `QUIT` a crash.
    StoreAway {
        away: Duration,
        signal: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node, away } => write!(f, "kill -9 {node}, away for {away:.1?}"),
            Self::Freeze { node, away } => write!(f, "stop {node} (SIGSTOP) for {away:.1?}"),
            Self::Restart { node } => write!(f, "restart {node} (SIGTERM)"),
            Self::Drain { node } => write!(f, "drain {node}, and start it again"),
            Self::Join { node } => write!(f, "{node} joins"),
            Self::Leave { node } => write!(f, "{node} leaves"),
            Self::Weight { node, weight } => write!(f, "weight of {node}: {weight}"),
            Self::Cut { node, way, network, away } => {
                let way = match way {
                    Way::Etcd => "etcd",
                    Way::Store => "the store",
                    Way::Others => "all who look for it",
                    Way::Router(router) => router,
                };
                write!(f, "cut {node} from {way} ({network:?}) for {away:.1?}")
            }
            Self::Slow { way, delay, away } => {
                write!(f, "slow {way:?}, {delay:.0?} each way for {away:.1?}")
            }
            Self::EtcdAway { away, compacted } => {
                let compacted = if *compacted { ", compacted" } else { "" };
                write!(f, "restart etcd, away for {away:.1?}{compacted}")
            }
            Self::StoreAway { away, signal } => {
                write!(f, "restart PostgreSQL ({signal}), away for {away:.1?}")
            }
        }
    }
}

impl Fault {
    /// What a plot has room for.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Freeze { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Drain { .. } => "drain",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Weight { .. } => "weight",
            Self::Cut { .. } => "cut",
            Self::Slow { .. } => "slow",
            Self::EtcdAway { .. } => "etcd",
            Self::StoreAway { .. } => "store",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Card {
    Kill,
    Freeze,
    Restart,
    Drain,
    JoinOrLeave,
    Weight,
    CutEtcd,
    CutStore,
    CutOthers,
    CutRouter,
    Slow,
    EtcdAway,
    StoreAway,
}

/// Deals faults. Each kind comes before any comes again, except that there are two kills.
#[derive(Debug)]
pub(super) struct Deck {
    random: u64,
    cards: Vec<Card>,
    nodes: Vec<String>,
    routers: Vec<String>,
}

impl Deck {
    pub(super) fn new(seed: u64, nodes: Vec<String>, routers: Vec<String>) -> Self {
        Self { random: seed, cards: Vec::new(), nodes, routers }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % limit
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub(super) fn span(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.below(1_000) as f64 / 1_000.0)
    }

    fn card(&mut self) -> Card {
        use Card::*;
        if self.cards.is_empty() {
            self.cards = vec![
                Kill,
                Kill,
                Freeze,
                Restart,
                Drain,
                JoinOrLeave,
                Weight,
                CutEtcd,
                CutStore,
                CutOthers,
                CutRouter,
                Slow,
                EtcdAway,
                StoreAway,
            ];
        }
        let drawn = self.below(self.cards.len());
        self.cards.swap_remove(drawn)
    }

    pub(super) fn fault(&mut self) -> Fault {
        let nodes = self.nodes.clone();
        let node = self.one(&nodes);
        let away = self.span(AWAY_MAX);
        let network = self.one(&[Network::Cut, Network::BlackHole, Network::Deaf, Network::Mute]);
        let cut = |way| Fault::Cut { node: node.clone(), way, network, away };
        match self.card() {
            Card::Kill => Fault::Kill { node, away: away / 2 },
            Card::Freeze => Fault::Freeze { node, away },
            Card::Restart => Fault::Restart { node },
            Card::Drain => Fault::Drain { node },
            Card::JoinOrLeave => self.join_or_leave(),
            Card::Weight => Fault::Weight { node, weight: 1 + self.below(4) },
            Card::CutEtcd => cut(Way::Etcd),
            Card::CutStore => cut(Way::Store),
            Card::CutOthers => cut(Way::Others),
            Card::CutRouter => cut(Way::Router(self.one(&self.routers.clone()))),
            Card::Slow => {
                let delay = Duration::from_millis(10) + self.span(Duration::from_millis(190));
                let way = self.one(&[Way::Store, Way::Store, Way::Etcd]);
                Fault::Slow { way, delay, away }
            }
            Card::EtcdAway => Fault::EtcdAway { away, compacted: self.below(2) == 0 },
            Card::StoreAway => Fault::StoreAway { away: away / 4, signal: self.one(&["INT", "QUIT"]) },
        }
    }

    fn join_or_leave(&mut self) -> Fault {
        let node = FURTHER.to_owned();
        if self.nodes.contains(&node) {
            self.nodes.retain(|known| *known != node);
            Fault::Leave { node }
        } else {
            self.nodes.push(node.clone());
            Fault::Join { node }
        }
    }
}

#[test]
fn a_seed_plays_the_same_faults_and_every_kind_of_them() {
    let names = |prefix: &str, count: usize| (1..=count).map(|number| format!("{prefix}{number}")).collect();
    let play = |seed| {
        let mut deck = Deck::new(seed, names("n", 3), names("r", 2));
        (0..28).map(|_| deck.fault()).collect::<Vec<_>>()
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
    let words: std::collections::BTreeSet<_> = play(7).iter().map(Fault::word).collect();
    assert_eq!(words.len(), 11, "{words:?}");
}
