//! What goes through the pipes between a reader process and its parent.
//!
//! ```text
//! child:   GREETING, once it is ready
//! parent:  length (u32, big endian) | kind    | state
//! child:   length (u32, big endian) | outcome | bytes
//! ```
//!
//! One request at a time; the length counts what follows it.

/// Says that a child is ready and under its limits. What it writes before (a test program says hello) is passed over. The
/// line break comes first, since that may have no end of its own.
pub(crate) const GREETING: &[u8] = b"\nringleaf reader 1\n";

/// A length and the byte behind it.
pub(crate) const HEADER_BYTES: usize = 5;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The whole document as JSON.
    Json,
    /// The text of the first root type that has any.
    Text,
    /// Whether it comes through the CRDT library whole; answered by its size there, as eight bytes, big endian.
    Verify,
    /// Something that only tests ask, to make the child misbehave.
    #[cfg(test)]
    Test(u8),
}

impl Kind {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::Text => 2,
            Self::Verify => 3,
            #[cfg(test)]
            Self::Test(byte) => byte,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Json, Self::Text, Self::Verify].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Behind it is what was asked for.
    Done,
    /// Behind it is why not.
    Refused,
    /// The answer would be larger than a message may be.
    TooLarge,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::TooLarge];

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::TooLarge => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.byte() == byte)
    }
}

/// What stands before `bytes` of a request or an answer.
pub(crate) fn header(byte: u8, bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(bytes + 1).expect("no message is longer than its bounds allow");
    let [a, b, c, d] = length.to_be_bytes();
    [a, b, c, d, byte]
}

/// A header's length without its last byte, and that byte. None: it announces nothing at all.
pub(crate) fn read_header([a, b, c, d, byte]: [u8; HEADER_BYTES]) -> Option<(u64, u8)> {
    let length = u32::from_be_bytes([a, b, c, d]).checked_sub(1)?;
    Some((u64::from(length), byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_follows() {
        assert_eq!(header(3, 255), [0, 0, 1, 0, 3]);
        assert_eq!(read_header([0, 0, 1, 0, 3]), Some((255, 3)));
        assert_eq!(read_header([0, 0, 0, 0, 3]), None);
    }

    #[test]
    fn every_kind_and_outcome_has_a_byte_of_its_own() {
        for kind in [Kind::Json, Kind::Text, Kind::Verify] {
            assert_eq!(Kind::from_byte(kind.byte()), Some(kind));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_byte(outcome.byte()), Some(outcome));
        }
        assert_eq!(Kind::from_byte(200), None);
    }
}
