//! One document's opening on its way from node to node: whom to ask next, and what the answers change. Pure.
//!
//! [`Route`](crate::Route) asks the nodes. It is public for the simulation in `tests`, which asks others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringleaf_ring::RingView;
use ringleaf_types::{DocumentId, NodeId, RingVersion, RouterId};
use ringleaf_wire::{OpenError, Opening};

/// Limit: answers of "moved" that are followed for one opening. Above it the ring is changing, and waiting is cheaper.
pub const MOVES_MAX: usize = 4;
/// The second try to reach a node comes so long after the first.
pub const SECOND_TRY: Duration = Duration::from_millis(200);
/// A node that was found dead is passed over for so long, without a try.
pub const DEAD_FOR: Duration = Duration::from_secs(2);

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Search {
    opening: Opening,
    named: Option<NodeId>,
    moves: usize,
}

impl Search {
    pub fn new(document: DocumentId, router: RouterId) -> Self {
        Self { opening: Opening::new(document, router), named: None, moves: 0 }
    }

    /// Nobody has the document open here: those who come can be told to try again later.
    pub fn refusable(&mut self) {
        self.opening.refusable = true;
    }

    /// What the next node is told.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Whom to ask next: who was named, else the first in ring order that may be reached.
    pub fn target(&mut self, view: &RingView) -> Option<NodeId> {
        self.opening.ring = view.version();
        let opening = &self.opening;
        let first =
            || view.candidates(&opening.document).find(|node| !opening.unreachable.contains(node)).cloned();
        self.named.take().or_else(first)
    }

    /// The last host has named this node: it is asked before any other.
    pub fn first(&mut self, owner: NodeId, ring: RingVersion) {
        self.named = Some(owner);
        self.opening.ring = self.opening.ring.max(ring);
    }

    /// There is no way to this node.
    pub fn unreachable(&mut self, node: NodeId) {
        self.opening.unreachable.push(node);
    }

    /// The node that was asked says that another one has the document.
    ///
    /// # Errors
    ///
    /// That is not followed.
    pub fn moved(&mut self, asked: NodeId, owner: NodeId, ring: RingVersion) -> Result<(), OpenError> {
        // What points at a node that cannot be reached is void: whoever said so was not told, or knows no better.
        if self.opening.unreachable.contains(&owner) || self.moves == MOVES_MAX {
            return Err(OpenError::Busy);
        }
        self.moves += 1;
        if !self.opening.denied.contains(&asked) {
            self.opening.denied.push(asked);
        }
        self.named = Some(owner);
        self.opening.ring = self.opening.ring.max(ring);
        Ok(())
    }
}

/// The nodes that were found dead a moment ago: many documents find out together, and one of them is enough.
#[derive(Debug, Default)]
pub struct Dead {
    found_at: BTreeMap<NodeId, Instant>,
}

impl Dead {
    /// Whether that is news: all documents of a node find out at once.
    pub fn found(&mut self, node: NodeId, now: Instant) -> bool {
        let known = self.holds(&node, now);
        self.found_at.insert(node, now);
        !known
    }

    pub fn holds(&mut self, node: &NodeId, now: Instant) -> bool {
        self.found_at.retain(|_, found_at| now.saturating_duration_since(*found_at) < DEAD_FOR);
        self.found_at.contains_key(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_node_is_dead_is_news_once() {
        let (mut dead, now) = (Dead::default(), std::time::Instant::now());
        let node: NodeId = "n1".parse().unwrap();
        assert!(dead.found(node.clone(), now));
        assert!(!dead.found(node.clone(), now));
        assert!(dead.found(node, now + DEAD_FOR * 2), "it was asked again, in vain");
    }
}
