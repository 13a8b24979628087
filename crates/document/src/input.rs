//! What a document is told.

use bytes::Bytes;
use ringleaf_types::{Presence, Record, RouterId, Slot};
use ringleaf_wire::Request;

use crate::Kept;

/// One thing that happened. The shell hands them over one at a time and carries out all effects in between.
#[derive(Debug)]
pub enum Input {
    /// A router asks something.
    Request {
        /// Who asks.
        router: RouterId,
        /// What it asks.
        request: Request,
    },
    /// A router is gone, and with it the sessions that it attached. Their awareness lives out its time.
    RouterGone {
        /// Which one.
        router: RouterId,
    },
    /// The append in flight has been decided.
    Appended {
        /// The slot of the append.
        slot: Slot,
        /// What became of it.
        outcome: AppendOutcome,
    },
    /// What the store holds after the last slot that this document knew when it asked, in order (the tail check).
    Tail {
        /// The slots after it, without a gap.
        slots: Vec<(Slot, Record)>,
        /// The newest slot of the document in the store, or the newest snapshot's `upto` if that is higher.
        last: Slot,
    },
    /// The snapshot asked for is in the store.
    Compacted {
        /// The last slot that it covers.
        upto: Slot,
    },
    /// No snapshot came of it; it may be tried again later.
    CompactionFailed,
    /// The snapshot of [`crate::Effect::StoreWentBackwards`] is in the store.
    Saved,
    /// That snapshot could not be created; it will be tried again.
    SaveFailed,
    /// The remainder of [`crate::Effect::KeepRemainder`] is in the store.
    RemainderKept {
        /// Its name.
        id: u64,
    },
    /// An operator closes the document to everybody. Done when [`crate::Document::deleted`] says so.
    Delete,
    /// An operator opens it again, with what it held.
    Undelete,
    /// An operator brings an update in, as an editor would. Answered by [`crate::Effect::Imported`].
    Import {
        /// Names the answer.
        ticket: u64,
        /// One encoded update (V1).
        update: Bytes,
    },
    /// An operator wants the whole state. Answered by [`crate::Effect::Exported`].
    Export {
        /// Names the answer.
        ticket: u64,
    },
    /// Take no new slot: another node is about to claim the document. What is in flight is finished, what comes
    /// meanwhile gathers. Done when [`crate::Document::sealed`] says so.
    Seal,
    /// Take slots again: no other node was told to claim it.
    Unseal,
    /// Write a fence of an epoch above all that are known, whether the document is claimed or not, and go on under that.
    /// Ends a seal. Done when [`crate::Document::claimed`] says so.
    Claim,
    /// [`Input::Claim`], after merging what the last owner has written since this document was loaded. That owner has sealed
    /// the document for this one, so even if its own fence is among it, that is no reason to give way.
    TakeOver {
        /// The slots after the last that was known, without a gap; none, if they could not be read.
        slots: Vec<(Slot, Record)>,
        /// What that owner has kept beside the document.
        kept: Vec<Kept>,
    },
    /// What the last owner knew of everybody's presence.
    Inherit {
        /// Entries of sessions that do not attach here soon are removed: these have ended on the way.
        presence: Vec<Presence>,
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
    /// The slot before it is gone: the store has lost what was durable, and has created nothing.
    Gap,
}
