//! What a document wants done.

use bytes::Bytes;
use ringleaf_types::{Record, RouterId, Slot};
use ringleaf_wire::Event;

/// One thing to do. Carried out in the order in which they come out of [`crate::Document::next_effect`].
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Create this slot in the store. Answered by one [`crate::Input::Appended`], however long that takes; until then
    /// there is no other append.
    Append { slot: Slot, record: Record },
    /// Tell every router that has sessions here.
    Broadcast { event: Event },
    /// Tell one router.
    Deliver { router: RouterId, event: Event },
    /// Make a snapshot of all slots through this one, from what the store holds, then delete what earlier snapshots
    /// cover. Answered by [`crate::Input::Compacted`] or [`crate::Input::CompactionFailed`].
    Compact { through: Slot },
    /// Look at what the store holds after this slot. Answered by [`crate::Input::Tail`].
    ReadTail { after: Slot },
    /// An import is durable (or was refused: `Err` says why).
    Imported { ticket: u64, outcome: Result<Slot, String> },
    /// The whole state, as one update, through this slot.
    Exported { ticket: u64, through: Slot, state: Bytes },
    /// Something worth counting.
    Count(Count),
    /// Nobody needs the document any more: forget it, everything is durable. Ends the task unless a request has
    /// arrived meanwhile.
    Forget,
    /// Another node has claimed the document: tell routers, then end the task.
    Fenced,
    /// The document cannot go on in this task: throw it away and load it again from the store. Updates that were
    /// admitted and not yet durable are kept, as bytes, by whoever sent them.
    Rebuild { blame: Option<(RouterId, ringleaf_types::SessionId)> },
}

/// Things that are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// A message brought nothing new.
    NothingNew,
    /// A message was refused by the scan or the rights.
    Refused,
    /// A message had a hole, and its editor was asked for the rest.
    AskedForRest,
    /// Structs or deletions behind a hole stayed with their editor.
    LeftWithEditor,
    /// The replica panicked.
    Panicked,
}
