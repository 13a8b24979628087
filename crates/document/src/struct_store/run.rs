//! What a client has written since the base: encoded structs to which others are added and joined.
//!
//! Joining follows `Item.mergeWith`, `GC.mergeWith` and `ContentString.mergeWith` and their like in Yjs 13. Not asked for is
//! that the two are neighbors in the document (`right === right`): receivers divide a struct where something stands within it.

use ringleaf_types::ClientId;
use ringleaf_wire::cut::{self, Form, Units};
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::scan::{Content, Id, Kind, Struct};

use super::section::{Mark, Section, worth_a_mark};

/// Structs of one client, the last of which is open: what continues it becomes part of it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    begin: u32,
    end: u32,
    count: u32,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    open: Option<Open>,
}

/// The last struct, if it is of a kind that can be joined.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// `Content::None`: a tombstone.
    content: Content,
    right: Option<Id>,
    /// Where its number of units or bytes stands, and which it is.
    prefix_at: usize,
    prefix: u32,
}

/// Some units of a struct, and as what they are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// How many units of the struct come before.
    pub(crate) offset: u32,
    pub(crate) units: u32,
    pub(crate) form: Form,
}

impl Run {
    /// Nothing, from this clock on.
    pub(crate) fn new(begin: u32) -> Self {
        Self { begin, end: begin, count: 0, bytes: Vec::new(), marks: Vec::new(), open: None }
    }

    pub(crate) fn begin(&self) -> u32 {
        self.begin
    }

    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    pub(crate) fn section(&self, client: ClientId) -> Section<'_> {
        Section {
            client,
            bytes: &self.bytes,
            begin: Mark { clock: self.begin, position: 0, ordinal: 0 },
            end: Mark { clock: self.end, position: self.bytes.len() as u32, ordinal: self.count },
            marks: &self.marks,
        }
    }

    /// Adds the end of a struct, from this clock on, which is where the run ends.
    pub(crate) fn push(&mut self, item: &Struct<'_>) {
        let offset = self.end - item.clock.get();
        if offset == 0 && !self.continues(item, 0, Form::Whole) {
            self.push_whole(item);
        } else {
            let mut units = Units::new(item);
            units.take(offset);
            let cut = Cut { offset, units: item.length - offset, form: Form::Whole };
            self.push_units(item, &mut units, cut);
        }
    }

    /// Adds a struct as it is.
    fn push_whole(&mut self, item: &Struct<'_>) {
        self.begin_struct();
        let content_at = self.bytes.len() + item.bytes.len() - item.content_bytes.len();
        self.bytes.extend_from_slice(item.bytes);
        self.open = match (item.kind, item.content) {
            (Kind::Item, content) if cut::joins(content) => {
                let prefix = Units::new(item).take(item.length).prefix(content);
                Some(Open { content, right: item.right, prefix_at: content_at, prefix })
            }
            (Kind::Gc, _) => {
                let prefix_at = self.bytes.len() - (item.bytes.len() - 1);
                Some(Open { content: Content::None, right: None, prefix_at, prefix: item.length })
            }
            _ => None,
        };
        self.end = item.end();
    }

    /// Adds the next units of a struct. `units` has passed those that come before.
    pub(crate) fn push_units(&mut self, item: &Struct<'_>, units: &mut Units<'_>, cut: Cut) {
        let span = units.take(cut.units);
        let form = form_of(item, cut.form);
        let content = match form {
            Form::Whole => item.content,
            Form::Deleted => Content::Deleted,
            Form::Tombstone => Content::None,
        };
        let lengths_only = matches!(content, Content::Deleted | Content::None);
        let prefix = if lengths_only { cut.units } else { span.prefix(content) };
        if self.continues(item, cut.offset, form) {
            self.lengthen(prefix);
        } else {
            self.begin_struct();
            cut::write_head(&mut self.bytes, item, cut.offset, form);
            self.open = None;
            if form == Form::Tombstone || cut::joins(content) {
                let right = item.right.filter(|_| form != Form::Tombstone);
                self.open = Some(Open { content, right, prefix_at: self.bytes.len(), prefix });
                write_var_uint(&mut self.bytes, u64::from(prefix));
            } else {
                self.bytes.extend_from_slice(item.content_bytes);
            }
        }
        if !lengths_only && cut::joins(content) {
            span.write(&mut self.bytes);
        }
        self.end += cut.units;
    }

    /// A struct begins here.
    fn begin_struct(&mut self) {
        let last = self.marks.last().map_or(0, |mark| mark.position as usize);
        if worth_a_mark(last, self.bytes.len()) {
            let position = self.bytes.len() as u32;
            self.marks.push(Mark { clock: self.end, position, ordinal: self.count });
        }
        self.count += 1;
    }

    /// Whether a struct, or what comes after its first `offset` units, becomes part of the last one.
    fn continues(&self, item: &Struct<'_>, offset: u32, form: Form) -> bool {
        let Some(open) = &self.open else { return false };
        let content = match form_of(item, form) {
            Form::Tombstone => return open.content == Content::None,
            Form::Deleted => Content::Deleted,
            Form::Whole => item.content,
        };
        open.content == content
            && open.right == item.right
            && (offset > 0 || self.is_last(item.left, item.client))
    }

    fn is_last(&self, left: Option<Id>, client: ClientId) -> bool {
        left.is_some_and(|(of, clock)| of == client && clock.get() + 1 == self.end) && self.end > self.begin
    }

    /// Makes the number before the open struct's content larger.
    fn lengthen(&mut self, by: u32) {
        let Some(open) = &mut self.open else { return };
        let before = cut::prefix_length(open.prefix);
        open.prefix += by;
        let at = open.prefix_at;
        let mut prefix = [0_u8; 8];
        let length = write_prefix(&mut prefix, open.prefix);
        if length == before {
            self.bytes[at..at + length].copy_from_slice(&prefix[..length]);
        } else {
            self.bytes.splice(at..at + before, prefix[..length].iter().copied());
        }
    }
}

/// What is already less than asked for stays that.
fn form_of(item: &Struct<'_>, form: Form) -> Form {
    if item.kind == Kind::Gc { Form::Tombstone } else { form }
}

fn write_prefix(out: &mut [u8; 8], mut prefix: u32) -> usize {
    let mut length = 0;
    while prefix >= 0x80 {
        out[length] = prefix as u8 | 0x80;
        prefix >>= 7;
        length += 1;
    }
    out[length] = prefix as u8;
    length + 1
}
