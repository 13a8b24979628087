//! Moving a resident document from one node to another, as two state machines that never wait.
//!
//! ```text
//! source   Offered ─Accept→ Warming ─Warm→ Sealing ─sealed→ Sealed ─Claimed→ over: Moved
//! target   Warming ─loaded→ Warm ─Seal→ Claiming ─the fence is in→ over: Owned
//! ```
//!
//! The source serves on until it is sealed: from then on it takes no new slot, and what editors send stays with their
//! routers, which keep it until it is acknowledged. The target claims the document in the log as any owner does.
//!
//! Invariant: the fence is the truth, the handoff is a courtesy. Nothing that either side hears from the other makes it
//! an owner, or ends its being one; only the log does. A source in doubt claims the document again: if its fence is in,
//! it serves on, and if the target's was there first, it is fenced. So a message that is late, lost or made up costs
//! time, never data.
//!
//! The shell carries out each step and reports what came of it. One conversation is about one document, and ends with it.

mod source;
mod target;

use ringleaf_types::{DocumentId, Epoch, NodeId, Presence, RingVersion, Slot};

use crate::view::RingView;

pub use source::{Source, SourceEnd, SourceInput, SourceStep};
pub use target::{Answer, Target, TargetEnd, TargetInput, TargetStep};

/// How a conversation begins: will you have this document?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which one.
    pub document: DocumentId,
    /// Who offers it.
    pub from: NodeId,
    /// The ring version that says that the target should own it.
    pub ring: RingVersion,
    /// The epoch of the source. Zero: it has only read.
    pub epoch: Epoch,
}

impl Offer {
    /// What `this` node says to it by its newest view, apart from whether there is room. `known`: that view has everything
    /// of the offer's ring version.
    ///
    /// A view that is older than the offer does not say no: it may only not have heard yet that it is this node's turn. The
    /// source asks again, and meanwhile it serves on.
    pub fn answer(&self, view: Option<&RingView>, known: bool, this: &NodeId) -> Answer {
        match view {
            Some(view) if view.owner(&self.document) == this => Answer::Yes,
            Some(view) if known || view.version() >= self.ring => Answer::No,
            Some(_) | None => Answer::Behind,
        }
    }
}

/// The source takes no new slot from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The newest slot. The target must have it before it claims.
    pub last: Slot,
    /// The epoch of the source. Zero: it has only read.
    pub epoch: Epoch,
    /// Everybody's presence, with the sessions that it belongs to.
    pub presence: Vec<Presence>,
}

/// From the source. When it says no more, the conversation is over, whatever was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToTarget {
    /// The first message.
    Offer(Offer),
    /// Claim it.
    Seal(Seal),
}

/// From the target. When it says no more, the conversation is over, whatever was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToSource {
    /// The target makes the document resident.
    Accept,
    /// The target takes too many documents at the moment: the same offer is welcome later.
    Busy,
    /// The target's ring is older than the offer's: the same offer may be welcome later.
    Behind,
    /// The target does not take this document.
    Refuse,
    /// The target has everything through this slot.
    Warm {
        /// The newest slot that it has.
        slot: Slot,
    },
    /// The target's fence is in.
    Claimed {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The target does not get to own the document in this conversation.
    Failed,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transitions;
