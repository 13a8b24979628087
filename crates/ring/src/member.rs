//! A server process as the coordinator records it.

use ringleaf_types::{Incarnation, NodeId};

use crate::token::VIRTUAL_NODES_PER_WEIGHT;

/// One process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; unique in the cluster.
    pub node: NodeId,
    /// Which run of it this is.
    pub incarnation: Incarnation,
    /// How far it takes part.
    pub state: MemberState,
    /// How much it should own, next to the others.
    pub weight: Weight,
    /// Where other processes reach it, as `host:port`. Empty in a ring of one, where nobody asks.
    pub address: String,
    /// The failure domain that it stands in, as its operator calls it. Recorded and shown; it does not move documents.
    pub zone: String,
    /// The version of its program.
    pub version: String,
}

/// How far a member takes part. The member itself moves from each state to the next, by writing to the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// Has started, and owns nothing yet.
    Joining,
    /// Is on the ring.
    Serving,
    /// Hands off what it owns; is no longer on the ring.
    Draining,
}

/// How much a member should own: twice the weight, twice the documents. 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

/// Why a number cannot be a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a weight is a whole number from 1 to {max}, not {weight}", max = Weight::MAX)]
pub struct WeightError {
    /// The number.
    pub weight: u32,
}

impl Weight {
    /// The weight of a member that says nothing about it.
    pub const ONE: Self = Self(1);
    /// Limit: 64 units are 8,192 virtual nodes as a rule; a ring of 1,000 such members is still rebuilt within a second.
    pub const MAX: u32 = 64;

    /// Checks a number that came from outside.
    pub const fn new(weight: u32) -> Result<Self, WeightError> {
        if weight == 0 || weight > Self::MAX { Err(WeightError { weight }) } else { Ok(Self(weight)) }
    }

    /// The weight as a number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// How many points on the ring it stands for.
    pub const fn virtual_nodes(self, each: VirtualNodes) -> u32 {
        self.0 * each.get()
    }
}

/// Points on the ring for each unit of weight. More make the load more even and the ring bigger. 1 to 1,024.
///
/// All processes of a cluster must agree on it, as on the members: another number gives many documents another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualNodes(u32);

/// Why a number cannot be that of the virtual nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("virtual nodes per weight are a whole number from 1 to {max}, not {virtual_nodes}", max = VirtualNodes::MAX)]
pub struct VirtualNodesError {
    /// The number.
    pub virtual_nodes: u32,
}

impl VirtualNodes {
    /// Limit: 1,000 members of weight one then have a million points, which take 40 MB in each process.
    pub const MAX: u32 = 1_024;

    /// Checks a number that came from outside.
    pub const fn new(virtual_nodes: u32) -> Result<Self, VirtualNodesError> {
        if virtual_nodes == 0 || virtual_nodes > Self::MAX {
            Err(VirtualNodesError { virtual_nodes })
        } else {
            Ok(Self(virtual_nodes))
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for VirtualNodes {
    fn default() -> Self {
        Self(VIRTUAL_NODES_PER_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_at_least_one_and_bounded() {
        assert_eq!(Weight::new(1), Ok(Weight::ONE));
        assert!(Weight::new(64).is_ok());
        assert_eq!(Weight::new(0), Err(WeightError { weight: 0 }));
        assert_eq!(Weight::new(65), Err(WeightError { weight: 65 }));
    }

    #[test]
    fn virtual_nodes_are_at_least_one_and_bounded() {
        assert_eq!(VirtualNodes::new(128), Ok(VirtualNodes::default()));
        assert_eq!(VirtualNodes::new(0), Err(VirtualNodesError { virtual_nodes: 0 }));
        assert_eq!(VirtualNodes::new(1_025), Err(VirtualNodesError { virtual_nodes: 1_025 }));
        let three = Weight::new(3).unwrap();
        assert_eq!(three.virtual_nodes(VirtualNodes::new(1_024).unwrap()), 3_072);
    }
}
