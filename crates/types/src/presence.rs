//! Awareness on its way from one owner of a document to the next.

use std::time::Duration;

use bytes::Bytes;

use crate::{ClientId, Clock, RouterId, SessionId, Subject};

/// What one CRDT client says of itself, and to whom that belongs. Never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    pub client: ClientId,
    pub clock: Clock,
    /// JSON. `None`: removed; the clock is kept for a while.
    pub state: Option<Bytes>,
    pub subject: Subject,
    /// The session that last raised the clock, if it is still there: with its end the state goes.
    pub raised_by: Option<(RouterId, SessionId)>,
    /// How long ago it was said.
    pub age: Duration,
}
