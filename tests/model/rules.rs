//! The bounds of the search, and the ways to get the protocol wrong.

/// How far the search goes. What is not reached within these is not checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Slots of the document.
    pub slots: u8,
    /// Different updates.
    pub updates: u8,
    /// Claims of both nodes together.
    pub claims: u8,
    pub crashes: u8,
    /// Snapshots that are begun.
    pub snapshots: u8,
    /// Deletions of slots that are sent (each may be carried out more than once).
    pub trims: u8,
}

/// One rule left out, or got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A claim is not written: who has read the log is its owner.
    NoFence,
    /// The fence goes to wherever the log ends by then, not next to what was read.
    FenceElsewhere,
    /// Two appends are in flight, and each is acknowledged when its own reply arrives.
    AcknowledgedOutOfOrder,
    /// A reader takes the slots that it finds, whatever is missing between them.
    NoGapCheck,
    /// The newest snapshot is the one that was written last, whatever it covers.
    SnapshotOverwritten,
    /// Deletion removes every row that is there when it is carried out.
    AllRowsDeleted,
    /// The store creates a slot that is absent even if a snapshot covers it.
    DeletedSlotCreated,
    /// Only a higher epoch fences, so two that claim the same slot both go on, with equal epochs.
    EqualEpochs,
    /// An update that was sent again is acknowledged at once, though its slot is not durable yet.
    RepeatAcknowledgedAtOnce,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub bounds: Bounds,
    pub flaw: Option<Flaw>,
}

impl Rules {
    pub(crate) fn have(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether a record of another writer with epoch `theirs` ends the ownership (or the claim) of one with epoch `mine`.
    pub(crate) fn fences(&self, theirs: u8, mine: u8) -> bool {
        if self.have(Flaw::EqualEpochs) { theirs > mine } else { theirs >= mine }
    }

    /// Appends of one document that may be in flight.
    pub(crate) fn flights_max(&self) -> usize {
        if self.have(Flaw::AcknowledgedOutOfOrder) { 2 } else { 1 }
    }
}
