//! Every way in which bytes are refused.

use ringleaf_types::ClientId;

use crate::lib0::Malformed;

/// Why bytes from outside go no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They are not what they claim to be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Something follows where nothing may. Updates in the V2 format look like that, too.
    #[error("{bytes} bytes are left over")]
    BytesLeftOver {
        /// How many.
        bytes: usize,
    },
    /// More clients than one message may have.
    #[error("{clients} clients in one message, more than {max}")]
    TooManyClients {
        /// How many.
        clients: u64,
        /// What is allowed.
        max: usize,
    },
    /// A client is listed and nothing of it follows.
    #[error("client {client} is listed without anything")]
    EmptyClient {
        /// Which.
        client: ClientId,
    },
    /// A client is listed twice.
    #[error("client {client} is listed twice")]
    ClientTwice {
        /// Which.
        client: ClientId,
    },
    /// A clock, or a clock and a length, exceeds 2^31 − 1.
    #[error("a clock of client {client} is larger than 2^31 - 1")]
    ClockOverflow {
        /// Whose clock.
        client: ClientId,
    },
    /// A tombstone or a gap of length zero.
    #[error("an empty struct of client {client}")]
    EmptyStruct {
        /// Whose.
        client: ClientId,
    },
    /// A struct has a content that does not exist.
    #[error("a struct of client {client} has the unknown kind {info:#04x}")]
    UnknownContent {
        /// Whose.
        client: ClientId,
        /// The byte that should have said what it is.
        info: u8,
    },
    /// The parent of a struct is neither a name nor another struct.
    #[error("a struct of client {client} has a parent of unknown kind")]
    UnknownParent {
        /// Whose.
        client: ClientId,
    },
    /// JSON content as Yjs wrote it before 2020, which the CRDT library misreads.
    #[error("a struct of client {client} has the JSON content of an outdated Yjs")]
    LegacyJson {
        /// Whose.
        client: ClientId,
    },
    /// A shared type that the CRDT library does not know or misreads.
    #[error("a struct of client {client} is a shared type of the unsupported kind {type_ref}")]
    UnsupportedType {
        /// Whose.
        client: ClientId,
        /// The kind.
        type_ref: u8,
    },
    /// The options of a subdocument are not an object.
    #[error("a subdocument of client {client} has no options")]
    NoOptions {
        /// Whose.
        client: ClientId,
    },
    /// A JSON text does not parse, or is nested too deeply.
    #[error("a JSON text of client {client} is not usable")]
    Json {
        /// Whose.
        client: ClientId,
    },
    /// Shared types are nested too deeply, within this message or together with what is there.
    #[error("shared types are nested deeper than {max}")]
    TypesTooDeep {
        /// What is allowed.
        max: usize,
    },
    /// An awareness state is neither an object nor `null`.
    #[error("the awareness state of client {client} is neither an object nor null")]
    NoState {
        /// Whose.
        client: ClientId,
    },
    /// An awareness state is too large.
    #[error("the awareness state of client {client} has {bytes} bytes, more than {max}")]
    StateTooLarge {
        /// Whose.
        client: ClientId,
        /// How large.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
}
