//! Takes the part of an update that can be admitted, and leaves the rest with its editor.
//!
//! ```text
//! structs, each after what it refers to ──keep──▶ Cut ──finish──▶ updates, to be applied one after the other
//! ```
//!
//! Structs are copied byte by byte; only counts, first clocks and the delete set are written anew. The exception is a
//! struct of which the document knows the beginning: its end becomes a struct of its own, behind what is known. The CRDT
//! library would do the same, but it would believe what such a struct says about its parent, and linking units of one
//! type into another sends it round in circles.
//!
//! What comes out has no holes, no items of length zero, and sorted deletions that do not overlap.
//!
//! Mostly one update comes out. It is more than one where the CRDT library would come to grief: it recurses over the
//! clients of an update, and at the end of a transaction it joins structs that continue each other from right to left,
//! keeping every intermediate result: ten thousand values of one byte that follow on each other cost two gigabytes. Cut
//! into pieces they cost next to nothing. *Each piece needs a transaction of its own.*

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};

use crate::lib0::{ANY_NESTING_MAX, Reader, write_var_string, write_var_uint};
use crate::scan::structs::{CONTENT_ANY, CONTENT_DELETED, CONTENT_STRING, INFO_GC, INFO_LEFT, INFO_RIGHT};
use crate::scan::{Content, Id, Kind, Struct};

/// Clients in one piece.
pub const CLIENTS_MAX: usize = 4_096;

/// Bytes that joining the structs of one piece may copy.
const JOINED_BYTES_MAX: u64 = 1 << 20;

/// Collects what is kept of an update.
#[derive(Debug, Default)]
pub struct Cut {
    done: Vec<Bytes>,
    clients: BTreeMap<Reverse<ClientId>, OfClient>,
    joined_bytes: u64,
    deletions: Vec<(ClientId, u32, u32)>,
}

/// The structs of one client in the piece that is being collected.
#[derive(Debug)]
struct OfClient {
    clock: Clock,
    count: u64,
    bytes: Vec<u8>,
    joins: Joins,
}

impl Cut {
    /// Nothing is kept yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a struct. What it refers to must be kept before it, or be known to the document; so must what its client
    /// has inserted before it.
    pub fn keep(&mut self, item: &Struct<'_>) {
        let known = self.clients.get_mut(&Reverse(item.client));
        let joined_bytes = known.map_or(0, |of| of.joins.add(item));
        if self.joined_bytes + joined_bytes > JOINED_BYTES_MAX || self.clients.len() == CLIENTS_MAX {
            self.end_piece();
        }
        self.joined_bytes += joined_bytes;
        let of = self.clients.entry(Reverse(item.client)).or_insert_with(|| OfClient {
            clock: item.clock,
            count: 0,
            bytes: Vec::new(),
            joins: Joins::after(item),
        });
        of.count += 1;
        of.bytes.extend_from_slice(item.bytes);
    }

    /// Keeps the end of a struct, from this clock on: what is before is known to the document.
    pub fn keep_end(&mut self, item: &Struct<'_>, from: Clock) {
        if from <= item.clock {
            return self.keep(item);
        }
        if from.get() >= item.end() {
            return;
        }
        let left = (item.client, Clock::new(from.get() - 1));
        let mut bytes = Vec::with_capacity(item.bytes.len() + 8);
        write_end(&mut bytes, item, from.get() - item.clock.get(), left);
        self.keep(&Struct {
            clock: from,
            length: item.end() - from.get(),
            bytes: &bytes,
            left: Some(left),
            parent: None,
            ..*item
        });
    }

    /// Keeps a deletion.
    pub fn delete(&mut self, client: ClientId, clocks: Range<u32>) {
        if !clocks.is_empty() {
            self.deletions.push((client, clocks.start, clocks.end));
        }
    }

    /// The updates that bring what was kept, in the order in which they must be applied. None, if nothing was.
    pub fn finish(mut self) -> Vec<Bytes> {
        if !self.clients.is_empty() || !self.deletions.is_empty() {
            self.end_piece_with_deletions();
        }
        self.done
    }

    fn end_piece(&mut self) {
        let mut out = self.take_structs();
        out.push(0);
        self.done.push(out.into());
    }

    fn end_piece_with_deletions(&mut self) {
        let mut out = self.take_structs();
        let mut deletions = std::mem::take(&mut self.deletions);
        // Higher clients first, as Yjs writes them.
        deletions.sort_unstable_by_key(|&(client, start, end)| (Reverse(client), start, end));
        deletions.dedup_by(|next, previous| {
            let joined = next.0 == previous.0 && next.1 <= previous.2;
            if joined {
                previous.2 = previous.2.max(next.2);
            }
            joined
        });
        let of_clients = deletions.chunk_by(|a, b| a.0 == b.0);
        write_var_uint(&mut out, of_clients.clone().count() as u64);
        for ranges in of_clients {
            write_var_uint(&mut out, ranges[0].0.get());
            write_var_uint(&mut out, ranges.len() as u64);
            for &(_, start, end) in ranges {
                write_var_uint(&mut out, u64::from(start));
                write_var_uint(&mut out, u64::from(end - start));
            }
        }
        self.done.push(out.into());
    }

    fn take_structs(&mut self) -> Vec<u8> {
        self.joined_bytes = 0;
        let clients = std::mem::take(&mut self.clients);
        let mut out = Vec::with_capacity(16 + clients.values().map(|of| of.bytes.len() + 16).sum::<usize>());
        write_var_uint(&mut out, clients.len() as u64);
        for (Reverse(client), of) in clients {
            write_var_uint(&mut out, of.count);
            write_var_uint(&mut out, client.get());
            write_var_uint(&mut out, u64::from(of.clock.get()));
            out.extend_from_slice(&of.bytes);
        }
        out
    }
}

/// Writes what comes after the first so many units of a struct, with the last of these on its left.
fn write_end(out: &mut Vec<u8>, item: &Struct<'_>, offset: u32, left: Id) {
    if item.kind == Kind::Gc {
        out.push(INFO_GC);
        return write_var_uint(out, u64::from(item.length - offset));
    }
    let mut reader = Reader::new(item.content_bytes);
    let mut content = Vec::with_capacity(item.content_bytes.len());
    let kind = match item.content {
        Content::String => {
            let text = reader.var_string().unwrap_or_default();
            write_var_string(&mut content, &text_after(text, offset));
            CONTENT_STRING
        }
        Content::Any => {
            let count = reader.var_uint().unwrap_or_default();
            for _ in 0..offset {
                // The scan has passed over them.
                let _ = reader.skip_any(ANY_NESTING_MAX);
            }
            write_var_uint(&mut content, count.saturating_sub(u64::from(offset)));
            content.extend_from_slice(reader.between(reader.position()..item.content_bytes.len()));
            CONTENT_ANY
        }
        // Everything else is one unit long, so there is nothing to divide.
        Content::Deleted
        | Content::None
        | Content::Binary
        | Content::Embed
        | Content::Format
        | Content::Type
        | Content::Subdocument => {
            write_var_uint(&mut content, u64::from(item.length - offset));
            CONTENT_DELETED
        }
    };
    out.push(kind | INFO_LEFT | if item.right.is_some() { INFO_RIGHT } else { 0 });
    for (client, clock) in [Some(left), item.right].into_iter().flatten() {
        write_var_uint(out, client.get());
        write_var_uint(out, u64::from(clock.get()));
    }
    out.extend_from_slice(&content);
}

/// What comes after the first so many UTF-16 code units. Half a character becomes a replacement character, as in Yjs.
fn text_after(text: &str, offset: u32) -> Cow<'_, str> {
    let mut units = 0;
    for (at, character) in text.char_indices() {
        match units.cmp(&(offset as usize)) {
            Ordering::Equal => return Cow::Borrowed(&text[at..]),
            Ordering::Greater => return Cow::Owned(format!("\u{fffd}{}", &text[at..])),
            Ordering::Less => units += character.len_utf16(),
        }
    }
    Cow::Borrowed(if units > offset as usize { "\u{fffd}" } else { "" })
}

/// What it costs the CRDT library to join the structs of one client that continue each other.
///
/// Whether it really joins them depends on what stands between them in the document, so this is the most that it can be.
#[derive(Debug, Clone, Copy)]
pub struct Joins {
    end: Id,
    right: Option<Id>,
    content: Content,
    /// How many structs before it can be joined with the last one.
    count: u64,
}

impl Joins {
    /// Begins after the first struct of a client.
    pub fn after(item: &Struct<'_>) -> Self {
        let end = (item.client, Clock::new(item.end().saturating_sub(1)));
        Self { end, right: item.right, content: item.content, count: 0 }
    }

    /// Adds the next struct of the client, and answers how many more bytes will be copied because of it.
    #[inline]
    pub fn add(&mut self, item: &Struct<'_>) -> u64 {
        let bytes_each = match item.content {
            Content::String => item.bytes.len() as u64,
            // Of the library's own representation.
            Content::Any => u64::from(item.length) * 24,
            Content::None
            | Content::Deleted
            | Content::Binary
            | Content::Embed
            | Content::Format
            | Content::Type
            | Content::Subdocument => 0,
        };
        let joins = bytes_each > 0
            && self.content == item.content
            && item.left == Some(self.end)
            && item.right == self.right;
        let count = if joins { self.count + 1 } else { 0 };
        *self = Self { count, ..Self::after(item) };
        count * bytes_each
    }

    /// Whether an update may be left in one piece in which this many bytes are copied for joins.
    pub fn are_cheap(joined_bytes: u64) -> bool {
        joined_bytes <= JOINED_BYTES_MAX
    }
}
