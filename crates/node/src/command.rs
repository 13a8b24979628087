//! What arrives in a document's mailbox.

use std::sync::Arc;

use bytes::Bytes;
use ringleaf_ring::handoff::Seal;
use ringleaf_types::{CloseReason, Epoch, NodeId, RingVersion, RouterId, Slot};
use ringleaf_wire::{EventSink, Request};
use tokio::sync::oneshot;

/// One thing that somebody wants of a document.
pub(crate) enum Command {
    /// A router wants to hear what happens.
    Open { router: RouterId, sink: Arc<dyn EventSink>, reply: oneshot::Sender<Result<Attached, CloseReason>> },
    /// A router asks something, for the attachment that it got.
    Request { router: RouterId, attachment: u64, request: Request },
    /// An operator asks something.
    Operator(Operator),
    /// The memory is needed for others: end, if nobody needs you.
    MakeRoom,
}

/// What a handoff wants of a document. It has a way of its own: a document that has no room for requests listens.
#[derive(Debug)]
pub(crate) enum Step {
    /// The source's: take no new slot, and say when that is so.
    Seal { reply: oneshot::Sender<Seal> },
    /// The source's: take slots again.
    Unseal,
    /// The source's: claim the document again.
    Claim { reply: oneshot::Sender<Epoch> },
    /// The source's: end, and tell the routers where the document is.
    Forward { to: NodeId, ring: RingVersion },
    /// The target's: say when the document is loaded, and stay.
    Warm { reply: oneshot::Sender<Slot> },
    /// The target's: read to the seal, take the presence over, claim.
    TakeOver { seal: Seal, reply: oneshot::Sender<Epoch> },
    /// The target's: nothing comes of it.
    Abandon,
}

/// A router is attached, until it drops this.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Tells this attachment of the router from earlier ones.
    pub(crate) attachment: u64,
    /// Dropped when the router lets go.
    pub(crate) _hold: oneshot::Sender<()>,
}

/// What an operator wants of a document.
pub(crate) enum Operator {
    Delete { reply: oneshot::Sender<Result<Slot, Refused>> },
    Undelete { reply: oneshot::Sender<Result<Slot, Refused>> },
    Purge { reply: oneshot::Sender<Result<Slot, Refused>> },
    Import { update: Bytes, reply: oneshot::Sender<Result<Slot, Refused>> },
    Export { reply: oneshot::Sender<Result<Exported, Refused>> },
}

/// The whole state of a document.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) through: Slot,
    pub(crate) state: Bytes,
}

/// Why a document did not do what an operator wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{}", .0.text())]
    Closed(CloseReason),
    #[error("the document is deleted")]
    Deleted,
    #[error("the document is not deleted")]
    NotDeleted,
    #[error("what the document held could not be removed")]
    NotEmptied,
    #[error("the update is refused: {0}")]
    Update(String),
}

impl Operator {
    /// Answers that the document is closed.
    pub(crate) fn refuse(self, refused: Refused) {
        // Whoever asked may have gone: then nobody wants to know.
        match self {
            Self::Delete { reply }
            | Self::Undelete { reply }
            | Self::Purge { reply }
            | Self::Import { reply, .. } => {
                let _ = reply.send(Err(refused));
            }
            Self::Export { reply } => {
                let _ = reply.send(Err(refused));
            }
        }
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Request { .. } => "Request",
            Self::Operator(_) => "Operator",
            Self::MakeRoom => "MakeRoom",
        })
    }
}
