//! What a document wants done.

use bytes::Bytes;
use ringleaf_types::{NodeId, Record, RouterId, SessionId, Slot, Snapshot};
use ringleaf_wire::Event;

use crate::LeftWhy;

/// One thing to do. Carried out in the order in which they come out of [`crate::Document::next_effect`].
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Create this slot in the store. Answered by one [`crate::Input::Appended`], however long that takes; until then
    /// there is no other append.
    Append {
        /// Where it goes.
        slot: Slot,
        /// What it holds.
        record: Record,
    },
    /// Tell every router that has sessions here.
    Broadcast {
        /// What to tell.
        event: Event,
    },
    /// Tell one router.
    Deliver {
        /// Whom to tell.
        router: RouterId,
        /// What to tell.
        event: Event,
    },
    /// Make a snapshot of all slots through this one, from what the store holds, then delete what earlier snapshots
    /// cover. Answered by [`crate::Input::Compacted`] or [`crate::Input::CompactionFailed`].
    Compact {
        /// The last slot to include.
        through: Slot,
    },
    /// Look at what the store holds after this slot. Answered by [`crate::Input::Tail`]; if it cannot be answered,
    /// by nothing: it is asked again.
    ReadTail {
        /// The last slot that the document knows.
        after: Slot,
    },
    /// Raise an alarm: the store has lost slots that were durable. Create this snapshot, which covers them. Answered
    /// by [`crate::Input::Saved`] or [`crate::Input::SaveFailed`]; nothing is acknowledged until then.
    StoreWentBackwards {
        /// The newest slot that the store still has.
        found: Slot,
        /// Everything that the document has, through its last slot.
        snapshot: Snapshot,
    },
    /// An import is durable (or was refused: `Err` says why).
    Imported {
        /// The ticket of the import.
        ticket: u64,
        /// The slot that made it durable, or what is wrong with it.
        outcome: Result<Slot, String>,
    },
    /// The whole state, as one update, through this slot.
    Exported {
        /// The ticket of the export.
        ticket: u64,
        /// The last slot that is in it.
        through: Slot,
        /// One update.
        state: Bytes,
    },
    /// Something worth counting.
    Count(Count),
    /// Nobody needs the document any more: forget it, everything is durable. Ends the task unless a request has
    /// arrived meanwhile.
    Forget,
    /// Another node has claimed the document: tell routers, then end the task.
    Fenced {
        /// The node, if the record that says so is still there.
        by: Option<NodeId>,
    },
    /// What is in memory is not what will be stored: end the task, and load the document again when somebody wants it.
    Reload,
    /// Keep this beside the document until [`Effect::DropRemainder`] names it: it lacks something that it builds on.
    /// Answered by [`crate::Input::RemainderKept`] when it is durable.
    KeepRemainder {
        /// Its name among those of this document.
        id: u64,
        /// An update.
        update: Bytes,
    },
    /// It need not be kept any more: what it held is in the document, or it is too old.
    DropRemainder {
        /// Its name.
        id: u64,
    },
    /// A remainder has waited too long, and is forgotten.
    RemainderExpired {
        /// How large it was.
        bytes: usize,
    },
    /// Something of what a session has sent is not in the document. Once for each session and reason.
    LeftBehind {
        /// Through which router it is attached.
        router: RouterId,
        /// Which one it is there.
        session: SessionId,
        /// Why.
        why: LeftWhy,
    },
}

/// Things that are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// A message brought nothing new.
    NothingNew,
    /// A message was refused by the scan, the rights or a limit.
    Refused,
    /// A message had a hole, and its editor was asked for the rest.
    AskedForRest,
    /// A message was acknowledged of which something lacks its ground.
    LeftBehind,
    /// A remainder is kept.
    Kept,
    /// A remainder has waited too long.
    Expired,
}
