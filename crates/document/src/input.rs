//! What a document is told.

use bytes::Bytes;
use ringleaf_types::{Record, RouterId, Slot, Snapshot};
use ringleaf_wire::Request;

/// One thing that happened. The shell hands them over one at a time and carries out all effects in between.
#[derive(Debug)]
pub enum Input {
    /// A router asks something.
    Request {
        router: RouterId,
        request: Request,
    },
    /// A router is gone, and with it the sessions that it attached. Their awareness lives out its time.
    RouterGone {
        router: RouterId,
    },
    /// The append in flight has been decided.
    Appended {
        slot: Slot,
        outcome: AppendOutcome,
    },
    /// What the store holds after the last slot that this document knows, in order (the tail check).
    Tail {
        slots: Vec<(Slot, Record)>,
        last: Slot,
    },
    /// The snapshot asked for is in the store.
    Compacted {
        snapshot: Snapshot,
    },
    /// No snapshot came of it; it may be tried again later.
    CompactionFailed,
    /// An operator closes the document to everybody, or opens it again.
    Delete,
    Undelete,
    /// An operator brings an update in, as an editor would. Answered by [`crate::Effect::Imported`].
    Import {
        ticket: u64,
        update: Bytes,
    },
    /// An operator wants the whole state. Answered by [`crate::Effect::Exported`].
    Export {
        ticket: u64,
    },
    /// The deadline of [`crate::Document::next_deadline`] has passed.
    Wake,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is durable.
    Created,
    /// The slot holds this record instead.
    Taken(Record),
    /// The slot lies at or below a snapshot: it was taken, and compacted since.
    Covered,
}
