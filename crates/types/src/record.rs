//! What a document's log is made of. The store keeps these; only the document core looks inside.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{Epoch, Incarnation, NodeId, Slot};

/// Who wrote a record. The nonce is drawn once per append, so a writer whose reply was lost recognizes its own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub nonce: u64,
}

/// What one slot holds, written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The claim under which it was written. The first record of an epoch is that epoch's *fence*.
    pub epoch: Epoch,
    pub writer: Writer,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Encoded CRDT updates (V1), in the order in which they were admitted. May be empty in a fence.
    Updates(Vec<Bytes>),
    /// The document is closed to everybody until it is undeleted or purged.
    Deletion,
    /// The document is open again, with what it held.
    Undeletion,
}

/// All slots up to `upto`, merged into one. Created once, never replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub upto: Slot,
    /// The highest epoch among the slots that it covers.
    pub epoch: Epoch,
    /// Whether the document was deleted at `upto`.
    pub deleted: bool,
    /// The whole state as one encoded update (V1), with its complete delete set.
    pub state: Bytes,
}

/// The part of a message whose ground is missing, kept beside the document until that comes. Nobody has been told of it:
/// it is neither acknowledged nor published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    /// Drawn by whoever keeps it, never twice for one document.
    pub id: u64,
    /// When it was left over, in whole milliseconds: stores keep no more.
    pub since: SystemTime,
    /// An encoded CRDT update (V1).
    pub bytes: Bytes,
}
