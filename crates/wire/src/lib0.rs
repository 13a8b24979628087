//! The encoding that everything of Yjs is made of: variable-length numbers, strings and buffers.
//!
//! Reading never panics, never allocates, and believes no length that it has not compared with the bytes that are left.

use std::ops::Range;

/// The largest integer that JavaScript holds exactly, 2^53 − 1: no number on the wire is larger.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Bytes that the longest number takes. Longer forms, padded with zeros, are refused.
const NUMBER_BYTES_MAX: usize = 8;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    EndOfInput,
    /// A number is larger than 2^53 − 1, or written with more than eight bytes.
    #[error("a number is larger than 2^53 - 1")]
    NumberTooLarge,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A value has a type that does not exist.
    #[error("a value has the unknown type {tag}")]
    UnknownTag {
        /// The byte that should have named a type.
        tag: u8,
    },
    /// A count says that there are more values than the bytes that are left can hold.
    #[error("a count is larger than what the remaining bytes can hold")]
    CountTooLarge,
}

/// Reads one value after the other.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Begins at a position; at the end, if there are not so many bytes.
    pub fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, at: position.min(bytes.len()) }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The bytes between two positions, both already passed.
    pub fn between(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or(&[])
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// [`Malformed::EndOfInput`].
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed::EndOfInput)?;
        self.at += 1;
        Ok(byte)
    }

    /// So many bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed::EndOfInput`] if fewer are left.
    #[inline]
    pub fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        if length > self.remaining() as u64 {
            return Err(Malformed::EndOfInput);
        }
        let end = self.at + length as usize;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// A `varUint`: 0 to 2^53 − 1.
    ///
    /// # Errors
    ///
    /// [`Malformed::EndOfInput`], [`Malformed::NumberTooLarge`].
    #[inline]
    pub fn var_uint(&mut self) -> Result<u64, Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.var_uint_rest(u64::from(first & 0x7f), 7)
    }

    fn var_uint_rest(&mut self, mut number: u64, mut shift: u32) -> Result<u64, Malformed> {
        for _ in 1..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if number <= NUMBER_MAX { Ok(number) } else { Err(Malformed::NumberTooLarge) };
            }
            shift += 7;
        }
        Err(Malformed::NumberTooLarge)
    }

    /// A `varInt`: −(2^53 − 1) to 2^53 − 1. Minus zero is read as zero.
    ///
    /// # Errors
    ///
    /// [`Malformed::EndOfInput`], [`Malformed::NumberTooLarge`].
    pub fn var_int(&mut self) -> Result<i64, Malformed> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        let magnitude = if first < 0x80 { low } else { self.var_uint_rest(low, 6)? };
        let magnitude = magnitude as i64;
        Ok(if first & 0x40 == 0 { magnitude } else { -magnitude })
    }

    /// A number of values of which each takes at least `bytes_each`, so it is bounded by the bytes that are left.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::var_uint`], and [`Malformed::CountTooLarge`].
    #[inline]
    pub fn count(&mut self, bytes_each: usize) -> Result<u64, Malformed> {
        let count = self.var_uint()?;
        if count > (self.remaining() / bytes_each.max(1)) as u64 {
            return Err(Malformed::CountTooLarge);
        }
        Ok(count)
    }

    /// A `varBuf`: a length and so many bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::var_uint`].
    #[inline]
    pub fn var_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.var_uint()?;
        self.bytes(length)
    }

    /// A `varString`: a length and so many bytes of UTF-8.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::var_uint`], and [`Malformed::NotUtf8`].
    #[inline]
    pub fn var_string(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.var_bytes()?).map_err(|_| Malformed::NotUtf8)
    }

    /// Passes over one `any` value of whatever type, and answers how deeply arrays and objects are nested in it.
    ///
    /// What is open is kept on a stack of its own, so depth costs no call frames; a level costs 16 bytes and has taken two
    /// of the input's.
    ///
    /// # Errors
    ///
    /// Every [`Malformed`].
    pub fn skip_any(&mut self) -> Result<usize, Malformed> {
        let tag = self.byte()?;
        match tag {
            ANY_OBJECT | ANY_ARRAY => self.skip_any_nested(tag),
            _ => self.skip_any_scalar(tag).map(|()| 0),
        }
    }

    #[inline]
    fn skip_any_scalar(&mut self, tag: u8) -> Result<(), Malformed> {
        match tag {
            // undefined, null, false, true
            0x7f | 0x7e | 0x79 | 0x78 => Ok(()),
            0x7d => self.var_int().map(drop),
            0x7c => self.bytes(4).map(drop),
            0x7b | 0x7a => self.bytes(8).map(drop),
            0x77 => self.var_string().map(drop),
            0x74 => self.var_bytes().map(drop),
            _ => Err(Malformed::UnknownTag { tag }),
        }
    }

    fn skip_any_nested(&mut self, mut tag: u8) -> Result<usize, Malformed> {
        let mut open = Open::default();
        let mut deepest = 0;
        loop {
            match tag {
                ANY_OBJECT | ANY_ARRAY => {
                    let keyed = tag == ANY_OBJECT;
                    open.push((self.count(if keyed { 2 } else { 1 })?, keyed));
                    deepest = deepest.max(open.depth);
                }
                _ => self.skip_any_scalar(tag)?,
            }
            let keyed = loop {
                match open.last() {
                    None => return Ok(deepest),
                    Some((0, _)) => open.depth -= 1,
                    Some((left, keyed)) => {
                        *left -= 1;
                        break *keyed;
                    }
                }
            };
            if keyed {
                self.var_string()?;
            }
            tag = self.byte()?;
        }
    }
}

/// The arrays and objects that have begun: how many values are still to come, and whether keys stand before them.
///
/// Nearly every value is shallow, and that costs no allocation.
#[derive(Default)]
struct Open {
    depth: usize,
    shallow: [(u64, bool); SHALLOW],
    deep: Vec<(u64, bool)>,
}

impl Open {
    fn push(&mut self, values: (u64, bool)) {
        if self.depth < SHALLOW {
            self.shallow[self.depth] = values;
        } else {
            self.deep.truncate(self.depth - SHALLOW);
            self.deep.push(values);
        }
        self.depth += 1;
    }

    fn last(&mut self) -> Option<&mut (u64, bool)> {
        let last = self.depth.checked_sub(1)?;
        if last < SHALLOW { self.shallow.get_mut(last) } else { self.deep.get_mut(last - SHALLOW) }
    }
}

/// Nesting that is followed without an allocation.
const SHALLOW: usize = 8;

pub(crate) const ANY_OBJECT: u8 = 0x76;
const ANY_ARRAY: u8 = 0x75;

/// Bytes that a number takes as a `varUint`.
pub fn var_uint_length(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a `varUint`.
pub fn write_var_uint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a `varBuf`.
pub fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a `varString`.
pub fn write_var_string(out: &mut Vec<u8>, text: &str) {
    write_var_bytes(out, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_uint(bytes: &[u8]) -> Result<u64, Malformed> {
        Reader::new(bytes).var_uint()
    }

    fn read_int(bytes: &[u8]) -> Result<i64, Malformed> {
        Reader::new(bytes).var_int()
    }

    #[test]
    fn numbers_are_read_up_to_what_javascript_can_hold() {
        for number in [0, 1, 127, 128, 300, 1 << 31, 1 << 32, NUMBER_MAX] {
            let mut bytes = Vec::new();
            write_var_uint(&mut bytes, number);
            assert_eq!(read_uint(&bytes), Ok(number));
            assert_eq!(bytes.len(), var_uint_length(number));
        }
        assert_eq!(
            read_uint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(Malformed::NumberTooLarge)
        );
        assert_eq!(read_uint(&[0x80; 40]), Err(Malformed::NumberTooLarge));
        assert_eq!(read_uint(&[0x80, 0x00]), Ok(0));
        assert_eq!(read_uint(&[0x80]), Err(Malformed::EndOfInput));
        assert_eq!(read_int(&[0xc0, 0x01]), Ok(-64));
        assert_eq!(read_int(&[0x40]), Ok(0));
        assert_eq!(
            read_int(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]),
            Ok(-(NUMBER_MAX as i64)),
            "the smallest number"
        );
    }

    #[test]
    fn a_length_is_compared_with_the_bytes_that_are_left() {
        assert_eq!(Reader::new(&[0x05, 1, 2]).var_bytes(), Err(Malformed::EndOfInput));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]).var_bytes(),
            Err(Malformed::EndOfInput)
        );
        assert_eq!(Reader::new(&[0x03, 1, 2, 3]).count(2), Err(Malformed::CountTooLarge));
        assert_eq!(Reader::new(&[0x02, 0xff, 0xfe]).var_string(), Err(Malformed::NotUtf8));
    }

    #[test]
    fn any_is_passed_over_without_recursion() {
        for depth in [1, 7, 8, 9, 512, 2_000_000] {
            let mut nested = [0x75, 0x01].repeat(depth);
            assert!(Reader::new(&nested).skip_any().is_err());
            nested.push(0x7e);
            assert_eq!(Reader::new(&nested).skip_any(), Ok(depth));
        }
        // Up and down again.
        let twice = [&[0x75, 2][..], &[0x75, 1].repeat(20), &[0x7e], &[0x75, 1].repeat(30), &[0x7e]].concat();
        assert_eq!(Reader::new(&twice).skip_any(), Ok(31));
        assert_eq!(Reader::new(&[0x73]).skip_any(), Err(Malformed::UnknownTag { tag: 0x73 }));
        assert_eq!(Reader::new(&[0x75, 0x05, 0x7e]).skip_any(), Err(Malformed::CountTooLarge));

        let object = [0x76, 0x02, 0x01, b'a', 0x75, 0x00, 0x01, b'b', 0x76, 0x00, 0xaa];
        let mut reader = Reader::new(&object);
        assert_eq!(reader.skip_any(), Ok(2));
        assert_eq!(reader.remaining(), 1, "what follows the value is left alone");
    }
}
