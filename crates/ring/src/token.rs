//! Positions on the ring, from explicitly given bytes.
//!
//! Golden: these values decide who owns what. A cluster whose processes disagree about one of them would argue about
//! owners for ever, so they never change; the tests pin them, with values from another implementation of the hash.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use ringleaf_types::{DocumentId, NodeId};
use xxhash_rust::xxh3::xxh3_64;

/// Points on the ring for each unit of a member's weight, unless a cluster's operators say otherwise.
pub const VIRTUAL_NODES_PER_WEIGHT: u32 = 128;

/// A position on the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Where a document lies: the hash of its name.
    pub fn of_document(document: &DocumentId) -> Self {
        Self(xxh3_64(document.as_str().as_bytes()))
    }

    /// Where a member's virtual node lies: the hash of `node id · 0x00 · index (u32, big endian)`.
    ///
    /// A node id contains no zero byte, so no two virtual nodes hash the same bytes.
    pub fn of_virtual_node(node: &NodeId, index: u32) -> Self {
        Self::of_virtual_nodes(node, index..index + 1).next().expect("one index is one token")
    }

    /// Where a member's virtual nodes lie, one after the other.
    pub(crate) fn of_virtual_nodes(node: &NodeId, indexes: Range<u32>) -> impl Iterator<Item = Self> {
        let name = node.as_str().len() + 1;
        let mut bytes = [node.as_str().as_bytes(), &[0; 5]].concat();
        indexes.map(move |index| {
            bytes[name..].copy_from_slice(&index.to_be_bytes());
            Self(xxh3_64(&bytes))
        })
    }

    /// How far it is from `before` to here, along the circle. From a token to itself it is once around.
    pub(crate) const fn since(self, before: Self) -> u128 {
        match self.0.wrapping_sub(before.0) {
            0 => 1 << 64,
            length => length as u128,
        }
    }

    /// The position as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hands the token, and only it, to `hashring`, which passes it through [`AsIs`].
impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Takes a token for its own hash: what is hashed, and how, is decided in this file and nowhere else.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsIs(u64);

impl BuildHasher for AsIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for AsIs {
    fn write_u64(&mut self, token: u64) {
        self.0 = token;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only tokens are hashed here, and they write one u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str) -> u64 {
        Token::of_document(&name.parse().unwrap()).get()
    }

    #[test]
    fn lengths_go_along_the_circle_and_over_its_end() {
        assert_eq!(Token(7).since(Token(3)), 4);
        assert_eq!(Token(3).since(Token(7)), (1 << 64) - 4);
        assert_eq!(Token(3).since(Token(3)), 1 << 64);
    }

    fn virtual_node(node: &str, index: u32) -> u64 {
        Token::of_virtual_node(&node.parse().unwrap(), index).get()
    }

    #[test]
    fn the_tokens_of_documents_are_pinned() {
        assert_eq!(document("notes"), 0x704c_9df0_8ffe_6a2d);
        assert_eq!(document("notes/today"), 0xe4ab_7f63_050e_73a8);
        assert_eq!(document("é"), 0xf794_0a00_6cf1_0cb3);
        assert_eq!(document(&"x".repeat(512)), 0x12a8_1a98_c393_ea66);
    }

    #[test]
    fn the_tokens_of_virtual_nodes_are_pinned() {
        assert_eq!(virtual_node("a", 0), 0x6eba_2285_58ea_fe97);
        assert_eq!(virtual_node("a", 1), 0x3100_13a9_452c_a18d);
        assert_eq!(virtual_node("node-1", 127), 0xfd88_8f29_6d48_731e);
        assert_eq!(virtual_node("node-1", 0x0102_0304), 0x65e8_9cff_ef12_ab18);
    }

    #[test]
    fn the_index_is_big_endian_behind_a_zero_byte() {
        assert_eq!(virtual_node("ab", 0x0102_0304), xxh3_64(b"ab\0\x01\x02\x03\x04"));
    }
}
