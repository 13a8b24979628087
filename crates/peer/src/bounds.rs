//! How much each end of a link may send. Processes have limits of their own, and while those are being changed not all have
//! the same: each end tells its own in its hello, and what both can do holds. Whoever is of before this tells none.

use ringleaf_types::Limits;

use crate::proto::Hello;

/// What one end of a link may have on its way to the other. All of it stands before whatever is put on the link next, so it
/// is what a big document can hold up the others by: on paper 0.4 s at 10 Mbit/s. With 1 ms there and back it still lets
/// half a gigabyte a second through.
pub(crate) const WINDOW_BYTES: u32 = 512 << 10;

/// What an event may have around its payload, and what a document may exceed its limit by.
const EVENT_ROOM_BYTES: usize = 16 << 20;
/// What a request may have around its payload.
const REQUEST_ROOM_BYTES: usize = 1 << 20;
/// Limit: bytes of one item, whatever the other end says that it sends.
const ITEM_BYTES_MAX: usize = 2 << 30;

/// The largest item that a router sends, and that a node takes.
pub(crate) fn request_bytes_max(limits: &Limits) -> usize {
    limits.message_bytes_max + REQUEST_ROOM_BYTES
}

/// The largest item that a node sends, and that a router takes.
pub(crate) fn event_bytes_max(limits: &Limits) -> usize {
    limits.document_bytes_max.max(limits.message_bytes_max) + EVENT_ROOM_BYTES
}

/// The largest item that is taken from the other end: what editors sent it is checked where they sent it.
pub(crate) fn taken_bytes_max(ours: usize, theirs: &Hello) -> usize {
    let theirs = usize::try_from(theirs.item_bytes_max).unwrap_or(usize::MAX);
    ours.max(theirs.min(ITEM_BYTES_MAX))
}

/// What may wait for one document at the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    requests: usize,
    bytes: usize,
}

impl Room {
    /// What both ends bear.
    pub(crate) fn agreed(limits: &Limits, node: &Hello) -> Self {
        let told = |theirs: u64| usize::try_from(theirs).ok().filter(|&told| told > 0).unwrap_or(usize::MAX);
        Self {
            requests: limits.mailbox_requests_max.min(told(node.requests_max)),
            bytes: limits.outstanding_bytes_max.min(told(node.request_bytes_max)),
        }
    }

    /// Whether one more may wait. However large it is, it may when there is any room.
    pub(crate) fn has(self, requests: usize, bytes: usize) -> bool {
        requests < self.requests && bytes < self.bytes
    }
}
