//! What a ring would be if an operator changed something.

use ringleaf_types::{Incarnation, NodeId};

use crate::member::{Member, MemberState, VirtualNodes, Weight};
use crate::view::{RingError, RingView};

/// A change that an operator thinks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new node joins.
    Add {
        /// Its name.
        node: NodeId,
        /// Its weight.
        weight: Weight,
    },
    /// A node leaves, or is taken off the ring.
    Remove {
        /// Its name.
        node: NodeId,
    },
    /// A node gets another weight.
    Weigh {
        /// Its name.
        node: NodeId,
        /// The new weight.
        weight: Weight,
    },
    /// Every node gets another number of virtual nodes.
    VirtualNodes(VirtualNodes),
}

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The node is not on the ring.
    #[error("no node on the ring is called {node}")]
    Unknown {
        /// The name.
        node: NodeId,
    },
    /// The node is on the ring already.
    #[error("node {node} is on the ring already")]
    Known {
        /// The name.
        node: NodeId,
    },
    /// Nothing would be left.
    #[error("there would be no ring")]
    Ring(#[from] RingError),
}

impl RingView {
    /// The ring after these changes, one after the other. It has the version of this one: it is only thought of.
    ///
    /// # Errors
    ///
    /// A node that should change is not on the ring, one that should join is, or nobody would be left.
    pub fn planned(&self, changes: &[Change]) -> Result<Self, PlanError> {
        let mut members: Vec<Member> = self.members().to_vec();
        let mut virtual_nodes = self.virtual_nodes();
        let place = |members: &[Member], node: &NodeId| {
            let serves = |member: &Member| member.node == *node && member.state == MemberState::Serving;
            members.iter().position(serves)
        };
        let find = |members: &[Member], node: &NodeId| {
            place(members, node).ok_or_else(|| PlanError::Unknown { node: node.clone() })
        };
        for change in changes {
            match change {
                Change::Add { node, weight } => {
                    if place(&members, node).is_some() {
                        return Err(PlanError::Known { node: node.clone() });
                    }
                    // One that is there and not on the ring, comes back.
                    members.retain(|member| member.node != *node);
                    members.push(imagined(node.clone(), *weight));
                }
                Change::Remove { node } => {
                    members.remove(find(&members, node)?);
                }
                Change::Weigh { node, weight } => {
                    let at = find(&members, node)?;
                    members[at].weight = *weight;
                }
                Change::VirtualNodes(number) => virtual_nodes = *number,
            }
        }
        let planned = Self::with_virtual_nodes(self.cluster(), self.version(), virtual_nodes, members)?;
        Ok(planned.pinned(self.version(), self.pins().clone()))
    }
}

/// A member that serves, of which only the ring's facts are known.
pub(crate) fn imagined(node: NodeId, weight: Weight) -> Member {
    Member {
        node,
        incarnation: Incarnation::default(),
        state: MemberState::Serving,
        weight,
        address: String::new(),
        zone: String::new(),
        version: String::new(),
    }
}

/// How much of all documents must move between two rings, from 0 to 1, if each node owned exactly its part of the weights.
pub fn ideal_movement(before: &RingView, after: &RingView) -> f64 {
    let part = |view: &RingView| {
        let serving = view.members().iter().filter(|member| member.state == MemberState::Serving);
        let weights: Vec<(NodeId, f64)> =
            serving.map(|member| (member.node.clone(), f64::from(member.weight.get()))).collect();
        let all: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.into_iter().map(move |(node, weight)| (node, weight / all))
    };
    let before: std::collections::BTreeMap<NodeId, f64> = part(before).collect();
    part(after).map(|(node, part)| (part - before.get(&node).copied().unwrap_or(0.0)).max(0.0)).sum()
}

#[cfg(test)]
mod tests {
    use ringleaf_types::RingVersion;

    use super::*;
    use crate::{ClusterId, moves};

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn ring(names: &[&str]) -> RingView {
        let members = names.iter().map(|name| imagined(node(name), Weight::ONE)).collect();
        RingView::new(ClusterId::new(9), RingVersion::new(4), members).unwrap()
    }

    fn names(view: &RingView) -> Vec<(&str, u32)> {
        view.members().iter().map(|member| (member.node.as_str(), member.weight.get())).collect()
    }

    #[test]
    fn changes_are_made_one_after_the_other() {
        let two = Weight::new(2).unwrap();
        let changes = [
            Change::Add { node: node("d"), weight: two },
            Change::Remove { node: node("a") },
            Change::Weigh { node: node("b"), weight: two },
            Change::Weigh { node: node("d"), weight: Weight::ONE },
            Change::VirtualNodes(VirtualNodes::new(64).unwrap()),
        ];
        let view = ring(&["a", "b", "c"]).planned(&changes).unwrap();
        assert_eq!(names(&view), [("b", 2), ("c", 1), ("d", 1)]);
        assert_eq!((view.virtual_nodes().get(), view.version().get()), (64, 4));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let view = ring(&["a"]);
        let (a, b) = (node("a"), node("b"));
        let planned = |change: Change| view.planned(&[change]).unwrap_err();
        assert_eq!(planned(Change::Remove { node: b.clone() }), PlanError::Unknown { node: b });
        assert_eq!(
            planned(Change::Add { node: a.clone(), weight: Weight::ONE }),
            PlanError::Known { node: a.clone() }
        );
        assert_eq!(planned(Change::Remove { node: a }), PlanError::Ring(RingError::NobodyServes));
    }

    #[test]
    fn a_node_that_is_off_the_ring_may_come_back() {
        let mut members = ring(&["a", "b"]).members().to_vec();
        members[1].state = MemberState::Draining;
        let view = RingView::new(ClusterId::new(9), RingVersion::new(4), members).unwrap();
        let back = view.planned(&[Change::Add { node: node("b"), weight: Weight::ONE }]).unwrap();
        assert_eq!(back.share(&node("b")), ring(&["a", "b"]).share(&node("b")));
        let gone = view.planned(&[Change::Remove { node: node("b") }]);
        assert_eq!(gone.unwrap_err(), PlanError::Unknown { node: node("b") });
    }

    #[test]
    fn what_must_move_follows_from_the_weights() {
        let before = ring(&["a", "b", "c"]);
        let ideal = |change: Change| ideal_movement(&before, &before.planned(&[change]).unwrap());
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(ideal(Change::Add { node: node("d"), weight: Weight::ONE }), 0.25));
        assert!(close(ideal(Change::Remove { node: node("a") }), 1.0 / 3.0));
        let two = Weight::new(2).unwrap();
        assert!(close(ideal(Change::Weigh { node: node("a"), weight: two }), 2.0 / 4.0 - 1.0 / 3.0));
        let finer = Change::VirtualNodes(VirtualNodes::new(256).unwrap());
        assert!(close(ideal(finer.clone()), 0.0));
        assert!(moves(&before, &before.planned(&[finer]).unwrap()).share() > 0.0);
    }
}
