//! A state of the whole: store, network, nodes, and what was promised to editors.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};

use crate::network::Network;
use crate::node::Node;
use crate::store::{Store, Updates};

pub(crate) const NODES: usize = 2;
pub(crate) const CLAIMS_MAX: usize = 4;

/// Where a claim has its fence. Only the facts look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Fence {
    /// 0: none yet.
    pub slot: u8,
    pub epoch: u8,
}

/// What was used of the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Used {
    pub claims: u8,
    pub crashes: u8,
    pub snapshots: u8,
    pub trims: u8,
    /// Different updates that were sent. A new one is the next: which is which makes no difference.
    pub updates: u8,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub store: Store,
    pub network: Network,
    pub nodes: [Node; NODES],
    pub acknowledged: Updates,
    /// By claim, counted from 0.
    pub fences: [Fence; CLAIMS_MAX],
    pub used: Used,
}

impl World {
    /// The same for two states that differ only in which node is which.
    pub(crate) fn hash(&self) -> u64 {
        let Self { store, network, nodes, acknowledged, fences, used } = self;
        let mut nodes = *nodes;
        nodes.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (store, network, nodes, acknowledged, fences, used).hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begins a claim: reads the newest snapshot.
    Claim {
        node: usize,
    },
    /// Lists the slots above what it read, and sends its fence.
    List {
        node: usize,
    },
    /// An editor sends an update.
    Offer {
        node: usize,
        update: u8,
    },
    /// Sends everything that waits as the next slot.
    Append {
        node: usize,
    },
    /// A write reaches the store.
    Deliver {
        write: usize,
    },
    /// The node hears that its fence is there.
    Claimed {
        node: usize,
    },
    /// The node hears that its fence found the slot taken, and reads who has it.
    ClaimRefused {
        node: usize,
    },
    /// The node hears that its append is durable.
    Appended {
        node: usize,
        flight: usize,
    },
    /// The node hears that its append found the slot taken, and reads who has it.
    AppendRefused {
        node: usize,
        flight: usize,
    },
    /// The owner looks at the slot after its last.
    Tail {
        node: usize,
    },
    /// Begins a snapshot: reads the newest one.
    Compact {
        node: usize,
    },
    /// Lists the slots above it, and sends the new snapshot.
    CompactList {
        node: usize,
    },
    /// Sends the deletion of slots.
    Trim {
        node: usize,
    },
    Crash {
        node: usize,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: usize| ["node A", "node B"][node];
        match *self {
            Self::Claim { node } => write!(f, "{} begins a claim and reads the newest snapshot", name(node)),
            Self::List { node } => write!(f, "{} lists the slots above it", name(node)),
            Self::Offer { node, update } => write!(f, "an editor sends update {update} to {}", name(node)),
            Self::Append { node } => write!(f, "{} sends what waits as the next slot", name(node)),
            Self::Deliver { .. } => write!(f, "the store receives"),
            Self::Claimed { node } => write!(f, "{} hears that its fence is durable", name(node)),
            Self::ClaimRefused { node } => {
                write!(f, "{} hears that the slot of its fence is taken", name(node))
            }
            Self::Appended { node, .. } => write!(f, "{} hears that its append is durable", name(node)),
            Self::AppendRefused { node, .. } => {
                write!(f, "{} hears that the slot of its append is taken", name(node))
            }
            Self::Tail { node } => write!(f, "{} looks at the tail", name(node)),
            Self::Compact { node } => write!(f, "{} begins a snapshot and reads the newest one", name(node)),
            Self::CompactList { node } => {
                write!(f, "{} lists the slots above it and sends a snapshot", name(node))
            }
            Self::Trim { node } => write!(f, "{} sends a deletion of slots", name(node)),
            Self::Crash { node } => write!(f, "{} crashes", name(node)),
        }
    }
}
