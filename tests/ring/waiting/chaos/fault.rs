//! What breaks.

use std::fmt;
use std::time::Duration;

use harness::Network;

/// What of a node can be cut off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Etcd,
    Store,
    /// From whoever wants something of it.
    Others,
    /// From this router or node only, and it from the node: others relay.
    One(String),
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
    KillRouter {
        router: String,
        away: Duration,
    },
    /// SIGTERM.
    RestartRouter {
        router: String,
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
                    Way::One(other) => other,
                };
                write!(f, "cut {node} from {way} ({network:?}) for {away:.1?}")
            }
            Self::KillRouter { router, away } => write!(f, "kill -9 {router}, away for {away:.1?}"),
            Self::RestartRouter { router } => write!(f, "restart {router} (SIGTERM)"),
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
            Self::KillRouter { .. } => "kill router",
            Self::RestartRouter { .. } => "restart router",
            Self::Slow { .. } => "slow",
            Self::EtcdAway { .. } => "etcd",
            Self::StoreAway { .. } => "store",
        }
    }

    /// For how long it lasts; `None`: until what it orders is done.
    pub(super) fn away(&self) -> Option<Duration> {
        match self {
            Self::Kill { away, .. }
            | Self::Freeze { away, .. }
            | Self::Cut { away, .. }
            | Self::KillRouter { away, .. }
            | Self::Slow { away, .. }
            | Self::EtcdAway { away, .. }
            | Self::StoreAway { away, .. } => Some(*away),
            Self::Restart { .. }
            | Self::Drain { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Weight { .. }
            | Self::RestartRouter { .. } => None,
        }
    }

    /// With the sockets that it has.
    pub(super) fn ends_router(&self) -> bool {
        matches!(self, Self::KillRouter { .. } | Self::RestartRouter { .. })
    }

    /// The process that it ends, stops or orders about: to each one such thing at a time.
    pub(super) fn victim(&self) -> Option<&str> {
        match self {
            Self::Kill { node, .. }
            | Self::Freeze { node, .. }
            | Self::Restart { node }
            | Self::Drain { node }
            | Self::Join { node }
            | Self::Leave { node }
            | Self::Weight { node, .. } => Some(node),
            Self::KillRouter { router, .. } | Self::RestartRouter { router } => Some(router),
            Self::Cut { .. } | Self::Slow { .. } | Self::EtcdAway { .. } | Self::StoreAway { .. } => None,
        }
    }

    /// Processes that may be of no use to others while it lasts.
    pub(super) fn useless(&self) -> Option<&str> {
        match self {
            Self::Weight { .. } => None,
            Self::Cut { node, way: Way::Store | Way::Others | Way::One(_), .. } => Some(node),
            _ => self.victim(),
        }
    }

    /// The networks that it alone may rule: of the nodes `.0`, the way that `.1` says.
    fn networks(&self) -> Vec<(&str, &'static str)> {
        let Self::Cut { node, way, .. } = self else { return Vec::new() };
        match way {
            Way::Etcd => vec![(node, "etcd")],
            Way::Store => vec![(node, "store")],
            Way::Others => vec![(node, "others")],
            Way::One(other) => vec![(node, "others"), (other, "others")],
        }
    }

    /// Whether both at once make no sense, or none that differs from one of them.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(self) == std::mem::discriminant(other);
        let of_all = self.victim().is_none() && !matches!(self, Self::Cut { .. });
        let same_victim = self.victim().is_some() && self.victim() == other.victim();
        let networks = other.networks();
        same_victim || (same_kind && of_all) || self.networks().iter().any(|one| networks.contains(one))
    }
}
