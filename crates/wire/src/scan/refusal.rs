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
    /// A shared type of a kind that does not exist.
    #[error("a struct of client {client} is a shared type of the unknown kind {type_ref}")]
    UnknownType {
        /// Whose.
        client: ClientId,
        /// The kind.
        type_ref: u8,
    },
    /// A struct can be read, and would harm the editors that got it. It is left out; what does not build on it goes on.
    #[error("a struct of client {client} {harm}")]
    Harmful {
        /// Whose.
        client: ClientId,
        /// In what way.
        harm: Harm,
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

/// What a struct would do to editors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Harm {
    /// Stock Yjs clients throw when they read one.
    #[error("is a weak link, which stock editors cannot read")]
    WeakLink,
    /// Stock Yjs clients throw when they read a subdocument without options.
    #[error("is a subdocument without options")]
    NoOptions,
    /// `JSON.parse` throws.
    #[error("holds JSON that does not parse")]
    Json,
    /// Stock Yjs clients overflow their stack when they read or show the value.
    #[error("holds values nested deeper than {VALUE_NESTING_MAX} levels")]
    ValuesTooDeep,
    /// Stock Yjs clients overflow their stack when they delete the shared types.
    #[error("lies deeper than {TYPE_NESTING_MAX} levels within shared types")]
    TypesTooDeep,
}

/// How deeply arrays and objects may be nested in a value. JavaScript's parsers take some ten thousand levels.
pub const VALUE_NESTING_MAX: usize = 2_000;

/// How deeply shared types may be nested. Yjs 13 overflows its stack when it deletes about 8,000 levels.
pub const TYPE_NESTING_MAX: u32 = 2_000;
