//! Taking a struct apart between its units, and writing what comes of it.
//!
//! ```text
//! Struct ──Units::take──▶ Span (so many units of what it holds) ──write──▶ a struct of its own, behind what was cut off
//! ```
//!
//! It follows `Item.write`, `ContentString.splice` and their like in Yjs 13: what begins within a struct has the unit before
//! it as its left origin; its right origin, its kind and bit 0x20 stay; parent and key are left out, since receivers take both
//! from the left neighbor. Within a surrogate pair each half that is kept becomes U+FFFD, which is one unit long, too.
//!
//! Going through a struct from left to right costs as much as its bytes, in however many pieces; nothing is copied before it is
//! written.

use ringleaf_types::{ClientId, Clock};

use crate::lib0::{Reader, var_uint_length, write_var_uint};
use crate::scan::structs::{CONTENT_DELETED, INFO_GC, INFO_LEFT, INFO_PARENT_SUB, INFO_RIGHT, INFO_SKIP};
use crate::scan::{Content, Id, Kind, Struct};

/// Half of a character, as it is kept.
const HALF: &[u8] = "\u{fffd}".as_bytes();

/// Bytes that are looked at together for whether each is a unit of its own.
const ASCII_BYTES: usize = 64;

/// What a struct holds, unit by unit.
#[derive(Debug, Clone)]
pub struct Units<'a> {
    content: Content,
    /// The values, without their number.
    values: &'a [u8],
    at: usize,
    /// The first half of the character at `at` was taken.
    within: bool,
    left: u32,
}

/// Some units that follow on each other. Of content that is only a length there are no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// How many.
    pub units: u32,
    bytes: &'a [u8],
    /// It begins with the second half of a character, which is not in `bytes`.
    begins_within: bool,
    /// It ends with the first half of one.
    ends_within: bool,
}

impl<'a> Units<'a> {
    /// All units of a struct.
    pub fn new(item: &Struct<'a>) -> Self {
        let values = match item.content {
            Content::String | Content::Any | Content::Json => {
                let mut reader = Reader::new(item.content_bytes);
                // The scan has read it.
                let _ = reader.var_uint();
                &item.content_bytes[reader.position()..]
            }
            Content::None
            | Content::Deleted
            | Content::Binary
            | Content::Embed
            | Content::Format
            | Content::Type
            | Content::Subdocument => &[],
        };
        Self { content: item.content, values, at: 0, within: false, left: item.length }
    }

    /// The next so many units, or as many as there are.
    pub fn take(&mut self, units: u32) -> Span<'a> {
        let units = units.min(self.left);
        let begins_within = self.within && units > 0;
        let begin = self.at;
        self.left -= units;
        match self.content {
            Content::String => self.pass_text(units),
            Content::Any => self.pass_values(units, |reader| reader.skip_any().is_ok()),
            Content::Json => self.pass_values(units, |reader| reader.var_bytes().is_ok()),
            Content::None
            | Content::Deleted
            | Content::Binary
            | Content::Embed
            | Content::Format
            | Content::Type
            | Content::Subdocument => {}
        }
        let after_half = if begins_within { self.character_end(begin) } else { begin };
        let end = self.at.max(after_half);
        Span { units, bytes: &self.values[after_half..end], begins_within, ends_within: self.within }
    }

    fn pass_values(&mut self, units: u32, pass: impl Fn(&mut Reader<'a>) -> bool) {
        let mut reader = Reader::at(self.values, self.at);
        // Everything when that is all that is left: the usual case needs no look at the values.
        if self.left == 0 {
            self.at = self.values.len();
            return;
        }
        for _ in 0..units {
            pass(&mut reader);
        }
        self.at = reader.position();
    }

    fn pass_text(&mut self, mut units: u32) {
        if self.left == 0 {
            (self.at, self.within) = (self.values.len(), false);
            return;
        }
        if units > 0 && self.within {
            (self.at, self.within) = (self.character_end(self.at), false);
            units -= 1;
        }
        while units > 0 {
            let ascii = self.values.get(self.at..self.at + ASCII_BYTES);
            if units as usize >= ASCII_BYTES && ascii.is_some_and(<[u8]>::is_ascii) {
                self.at += ASCII_BYTES;
                units -= ASCII_BYTES as u32;
                continue;
            }
            let pair = self.values.get(self.at).is_some_and(|byte| *byte >= 0xf0);
            if pair && units == 1 {
                self.within = true;
                return;
            }
            self.at = self.character_end(self.at);
            units -= if pair { 2 } else { 1 };
        }
    }

    fn character_end(&self, at: usize) -> usize {
        let length = match self.values.get(at) {
            None => 0,
            Some(0..0x80) => 1,
            Some(0x80..0xe0) => 2,
            Some(0xe0..0xf0) => 3,
            Some(0xf0..) => 4,
        };
        (at + length).min(self.values.len())
    }
}

impl Span<'_> {
    /// What stands before the values: their number, or for text that of its bytes.
    pub fn prefix(&self, content: Content) -> u32 {
        match content {
            Content::String => self.bytes_length() as u32,
            Content::None
            | Content::Deleted
            | Content::Json
            | Content::Binary
            | Content::Embed
            | Content::Format
            | Content::Type
            | Content::Any
            | Content::Subdocument => self.units,
        }
    }

    /// How many bytes [`Span::write`] writes.
    pub fn bytes_length(&self) -> usize {
        let halves = usize::from(self.begins_within) + usize::from(self.ends_within);
        self.bytes.len() + halves * HALF.len()
    }

    /// Writes the values.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.begins_within {
            out.extend_from_slice(HALF);
        }
        out.extend_from_slice(self.bytes);
        if self.ends_within {
            out.extend_from_slice(HALF);
        }
    }

    /// The values as they stand in the struct, without halves of characters: those on the left, and whether one ends it.
    pub fn borrowed(&self) -> (&'static [u8], &[u8], &'static [u8]) {
        let half = |there| if there { HALF } else { &[][..] };
        (half(self.begins_within), self.bytes, half(self.ends_within))
    }
}

/// What a struct is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With what it holds.
    Whole,
    /// As deleted: only the length of what it holds is kept, and where it stands.
    Deleted,
    /// As a tombstone: only the length.
    Tombstone,
}

/// Writes what stands before the content of a struct that begins `offset` units into another.
pub fn write_head(out: &mut Vec<u8>, item: &Struct<'_>, offset: u32, form: Form) {
    if item.kind == Kind::Skip {
        out.push(INFO_SKIP);
        return;
    }
    if form == Form::Tombstone || item.kind == Kind::Gc {
        out.push(INFO_GC);
        return;
    }
    if item.kind == Kind::Skip {
        out.push(INFO_SKIP);
        return;
    }
    let content = if form == Form::Deleted { CONTENT_DELETED } else { item.info & !FLAGS };
    if offset == 0 {
        let head = &item.bytes[1..item.bytes.len() - item.content_bytes.len()];
        out.push(item.info & FLAGS | content);
        out.extend_from_slice(head);
        return;
    }
    let right = if item.right.is_some() { INFO_RIGHT } else { 0 };
    out.push(content | INFO_LEFT | right | item.info & INFO_PARENT_SUB);
    write_id(out, (item.client, Clock::new(item.clock.get() + offset - 1)));
    if let Some(right) = item.right {
        write_id(out, right);
    }
}

const FLAGS: u8 = INFO_LEFT | INFO_RIGHT | INFO_PARENT_SUB;

fn write_id(out: &mut Vec<u8>, (client, clock): Id) {
    write_var_uint(out, client.get());
    write_var_uint(out, u64::from(clock.get()));
}

/// Writes a tombstone.
pub fn write_tombstone(out: &mut Vec<u8>, length: u32) {
    out.push(INFO_GC);
    write_var_uint(out, u64::from(length));
}

/// Writes the line above the structs of a client: how many there are, whose they are, and where they begin.
pub fn write_client(out: &mut Vec<u8>, count: u64, client: ClientId, clock: u32) {
    write_var_uint(out, count);
    write_var_uint(out, client.get());
    write_var_uint(out, u64::from(clock));
}

/// Writes the end of a struct, from so many units on, for a client that has the units before it. Answers how many of the
/// struct's last bytes belong behind what was written: long content is not copied.
pub fn write_end(out: &mut Vec<u8>, item: &Struct<'_>, offset: u32) -> usize {
    write_head(out, item, offset, Form::Whole);
    let mut units = Units::new(item);
    if item.kind != Kind::Item || item.content == Content::Deleted {
        write_var_uint(out, u64::from(item.length - offset));
        return 0;
    }
    units.take(offset);
    let rest = units.take(u32::MAX);
    write_var_uint(out, u64::from(rest.prefix(item.content)));
    let (half, bytes, _) = rest.borrowed();
    out.extend_from_slice(half);
    bytes.len()
}

/// Whether a struct of this content can be joined with others of its kind.
pub fn joins(content: Content) -> bool {
    match content {
        Content::Deleted | Content::String | Content::Any | Content::Json => true,
        Content::None
        | Content::Binary
        | Content::Embed
        | Content::Format
        | Content::Type
        | Content::Subdocument => false,
    }
}

/// How many bytes a prefix takes.
pub fn prefix_length(prefix: u32) -> usize {
    var_uint_length(u64::from(prefix))
}
