//! Names and numbers. Each is its own type, so that none can stand in for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a document: 1 to 512 bytes of UTF-8 without control characters. `/` is allowed.
///
/// It displays as a short hash, because names can be private and must not end up in logs;
/// [`DocumentId::as_str`] is the name itself, for stores, the wire and the operator's own tools.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(Arc<str>);

/// Why a text cannot name a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentIdError {
    #[error("a document name must not be empty")]
    Empty,
    #[error("a document name has at most {max} bytes, this one has {bytes}")]
    TooLong { bytes: usize, max: usize },
    #[error("a document name must not contain control characters, this one has one at byte {at}")]
    ControlCharacter { at: usize },
    #[error("a document name must be UTF-8")]
    NotUtf8,
}

impl DocumentId {
    /// Longest name, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 512;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a name that arrived as raw bytes, such as a percent-decoded path.
    pub fn from_utf8(name: &[u8]) -> Result<Self, DocumentIdError> {
        std::str::from_utf8(name).map_err(|_| DocumentIdError::NotUtf8)?.parse()
    }
}

impl FromStr for DocumentId {
    type Err = DocumentIdError;

    fn from_str(name: &str) -> Result<Self, DocumentIdError> {
        if name.is_empty() {
            return Err(DocumentIdError::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(DocumentIdError::TooLong { bytes: name.len(), max: Self::BYTES_MAX });
        }
        if let Some((at, _)) = name.char_indices().find(|(_, c)| c.is_control()) {
            return Err(DocumentIdError::ControlCharacter { at });
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for DocumentId {
    /// FNV-1a (64 bit) of the name, as 16 hexadecimal digits. Not secret-proof, but it keeps names out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        write!(f, "{hash:016x}")
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentId({self})")
    }
}

/// The name of a server process: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Why a text cannot name a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 1 to 64 letters, digits, dots, dashes or underscores, not {text:?}")]
pub struct NodeIdError {
    pub text: String,
}

impl NodeId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
            return Err(NodeIdError { text: text.into() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

/// Who an editor is, as far as its awareness goes: sessions of one subject may speak for each other's client ids,
/// sessions of different subjects may not. Without access control everybody is [`Subject::anyone`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The one subject of a server without access control.
    pub fn anyone() -> Self {
        Self("".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A position in a document's log, from 1. Zero means "before the first".
    Slot(u64)
}
number! {
    /// The number of a claim on a document; every later claim has a greater one. Zero means "never claimed".
    Epoch(u64)
}
number! {
    /// The coordinator's revision at which a ring view was taken.
    RingVersion(u64)
}
number! {
    /// One run of a node process, drawn at random when it starts.
    Incarnation(u64)
}
number! {
    /// One router process, drawn at random when it starts.
    RouterId(u64)
}
number! {
    /// One editor's attachment to one document. Unique within its router for as long as that runs.
    SessionId(u64)
}
number! {
    /// The position of a message among those that one session sent, from 1. Zero means "before the first".
    MessageNumber(u64)
}
number! {
    /// A CRDT client: 32 random bits in Yjs 13, 53 in Yjs 14.
    ClientId(u64)
}
number! {
    /// How many units (UTF-16 code units, array elements …) a CRDT client has inserted; below 2^31.
    Clock(u32)
}

impl Slot {
    /// Before the first slot.
    pub const ZERO: Self = Self(0);

    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The slot before this one; [`Slot::ZERO`] stays.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Epoch {
    /// Never claimed.
    pub const ZERO: Self = Self(0);

    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl MessageNumber {
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a session may do. Reading includes awareness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    ReadOnly,
    ReadWrite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_parsed_once() {
        assert_eq!("notes/today".parse::<DocumentId>().unwrap().as_str(), "notes/today");
        assert_eq!("".parse::<DocumentId>(), Err(DocumentIdError::Empty));
        assert_eq!("a\nb".parse::<DocumentId>(), Err(DocumentIdError::ControlCharacter { at: 1 }));
        assert_eq!(DocumentId::from_utf8(&[0xff]), Err(DocumentIdError::NotUtf8));
        assert!("é".repeat(256).parse::<DocumentId>().is_ok());
        assert_eq!(
            "é".repeat(257).parse::<DocumentId>(),
            Err(DocumentIdError::TooLong { bytes: 514, max: 512 })
        );
    }

    #[test]
    fn a_name_does_not_show_in_logs() {
        let id: DocumentId = "secret plans".parse().unwrap();
        assert!(!format!("{id} {id:?}").contains("secret"));
    }
}
