//! What a frame means, once it is decoded. The same for every dialect.

use bytes::Bytes;

/// What an editor says about one document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum ClientMessage {
    /// SyncStep1: "this is what I have seen, send me the rest".
    SyncRequest { state_vector: Bytes },
    /// SyncStep2: the answer to a request of ours.
    SyncAnswer { update: Bytes },
    /// A change.
    Update { update: Bytes },
    /// Presence of one or more CRDT clients (y-protocols awareness payload, unparsed).
    Awareness { payload: Bytes },
    /// "Send me everybody's awareness."
    QueryAwareness,
}

/// What an editor is told about one document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum ServerMessage {
    /// SyncStep1 of ours.
    SyncRequest { state_vector: Bytes },
    /// SyncStep2: everything that the editor's state vector lacked.
    SyncAnswer { update: Bytes },
    /// A durable change.
    Update { update: Bytes },
    /// Presence (y-protocols awareness payload).
    Awareness { payload: Bytes },
}
