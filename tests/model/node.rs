//! What one node knows of the document. A crash takes it all.

use crate::store::{Snapshot, Updates};

/// An append that was sent and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Flight {
    pub slot: u8,
    pub body: Updates,
}

/// A document that is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    pub claim: u8,
    pub epoch: u8,
    /// The slot after the last one that it merged or sent.
    pub next: u8,
    /// What it has taken in from durable slots.
    pub merged: Updates,
    pub flights: [Option<Flight>; 2],
}

impl Owner {
    /// What was sent and not answered.
    pub(crate) fn flying(&self) -> Updates {
        self.flights.iter().flatten().fold(0, |all, flight| all | flight.body)
    }
}

/// A claim whose fence was sent and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub claim: u8,
    pub epoch: u8,
    /// Where the fence was sent; `None` means wherever the log ends (only with a flaw).
    pub slot: Option<u8>,
    pub merged: Updates,
    /// The waiting updates that the fence carries.
    pub body: Updates,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// It has read the newest snapshot, and has not listed the slots above it.
    Reading {
        claim: u8,
        base: Snapshot,
    },
    Claiming(Claim),
    Owning(Owner),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub phase: Phase,
    /// Updates that were admitted and not sent.
    pub pending: Updates,
    /// The snapshot that a compaction has read, before it lists the slots above.
    pub compaction: Option<Snapshot>,
}

impl Node {
    /// It lost a claim, or was fenced. A compaction that it had begun goes on.
    pub(crate) fn step_down(&mut self) {
        self.phase = Phase::Idle;
        self.pending = 0;
    }
}
