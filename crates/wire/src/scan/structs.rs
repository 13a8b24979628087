//! The structs of one client, one after the other.

use ringleaf_types::{ClientId, Clock};

use super::refusal::{Harm, VALUE_NESTING_MAX};
use super::{CLOCK_MAX, Refusal, json};
use crate::lib0::{Malformed, Reader};

/// One unit of what a client has inserted.
pub type Id = (ClientId, Clock);

/// The fewest bytes that a client and its structs take: a count, an id, a clock, and one struct.
pub(super) const CLIENT_BYTES_MIN: usize = 3 + STRUCT_BYTES_MIN;

/// The fewest bytes that a struct takes.
const STRUCT_BYTES_MIN: usize = 2;

/// What a struct is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Content of whatever type, deleted or not.
    Item,
    /// A tombstone: something was here, and what it was is forgotten.
    Gc,
    /// A hole: nothing is known about these clocks here.
    Skip,
}

/// What an item holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing: it is not an item.
    None,
    /// Nothing any more: it was deleted, and only its length is kept.
    Deleted,
    /// Values as Yjs wrote them before 2020: each a JSON text, or the word `undefined`.
    Json,
    /// A buffer.
    Binary,
    /// Text.
    String,
    /// A JSON value within a text.
    Embed,
    /// The beginning or the end of a text format.
    Format,
    /// A shared type, which can hold other items.
    Type,
    /// Values.
    Any,
    /// A subdocument.
    Subdocument,
}

/// One struct of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Struct<'a> {
    /// Who inserted it.
    pub client: ClientId,
    /// Its first unit.
    pub clock: Clock,
    /// How many units it has. Only an item can have none; such items exist, and mean nothing.
    pub length: u32,
    /// What it is.
    pub kind: Kind,
    /// Its bytes in the update.
    pub bytes: &'a [u8],
    /// The unit that stood on its left when it was inserted.
    pub left: Option<Id>,
    /// The unit that stood on its right.
    pub right: Option<Id>,
    /// The shared type that holds it, if that is itself an item. Only written when there is neither left nor right.
    pub parent: Option<Id>,
    /// The byte that says what it is, as it stands in the update.
    pub info: u8,
    /// What it holds.
    pub content: Content,
    /// The bytes of that.
    pub content_bytes: &'a [u8],
    /// Why editors must not get it.
    pub harm: Option<Harm>,
}

impl Content {
    /// What the first byte of an item says.
    fn of(info: u8) -> Option<Self> {
        Some(match info & INFO_CONTENT {
            CONTENT_DELETED => Self::Deleted,
            CONTENT_JSON => Self::Json,
            CONTENT_BINARY => Self::Binary,
            CONTENT_STRING => Self::String,
            CONTENT_EMBED => Self::Embed,
            CONTENT_FORMAT => Self::Format,
            CONTENT_TYPE => Self::Type,
            CONTENT_ANY => Self::Any,
            CONTENT_DOC => Self::Subdocument,
            _ => return None,
        })
    }
}

impl Struct<'_> {
    /// Of which only the first byte is known.
    fn unread(client: ClientId, clock: Clock, info: u8) -> Self {
        Self {
            client,
            clock,
            length: 0,
            kind: Kind::Item,
            bytes: &[],
            left: None,
            right: None,
            parent: None,
            info,
            content: Content::None,
            content_bytes: &[],
            harm: None,
        }
    }

    /// The first clock after it.
    pub fn end(&self) -> u32 {
        self.clock.get() + self.length
    }

    /// Its last unit. Of a struct without any, the unit before it.
    pub fn last(&self) -> Id {
        (self.client, Clock::new(self.end().saturating_sub(1)))
    }

    /// Whether it was deleted when this was written.
    pub fn is_deleted(&self) -> bool {
        self.kind == Kind::Gc || self.content == Content::Deleted
    }

    /// Everything that it refers to.
    pub fn references(&self) -> impl Iterator<Item = Id> {
        [self.left, self.right, self.parent].into_iter().flatten()
    }
}

/// Reads the structs of one client. Cheap to clone: a clone reads on from the same place.
#[derive(Debug, Clone)]
pub struct Structs<'a> {
    reader: Reader<'a>,
    client: ClientId,
    clock: u32,
    left: u64,
}

impl<'a> Structs<'a> {
    /// Reads the line above the structs of a client. The reader then stands at the first struct.
    ///
    /// # Errors
    ///
    /// A line that is none, or announces more structs than the bytes that are left can hold.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Refusal> {
        let left = reader.var_uint()?;
        let client = ClientId::new(reader.var_uint()?);
        let clock = clock(reader, client)?;
        if left > (reader.remaining() / STRUCT_BYTES_MIN) as u64 {
            return Err(Malformed::CountTooLarge.into());
        }
        if left == 0 {
            return Err(Refusal::EmptyClient { client });
        }
        Ok(Self { reader: reader.clone(), client, clock, left })
    }

    /// Whose they are.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The first unit of the next struct.
    pub fn clock(&self) -> Clock {
        Clock::new(self.clock)
    }

    /// How many are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Where in the update the next one begins.
    pub fn position(&self) -> usize {
        self.reader.position()
    }

    /// Reads on where another reader of these bytes has been: `left` structs of `client`, the first of which begins at
    /// `position` and with `clock`.
    pub fn resume(bytes: &'a [u8], position: usize, client: ClientId, clock: Clock, left: u64) -> Self {
        Self { reader: Reader::at(bytes, position), client, clock: clock.get(), left }
    }

    /// The bytes from the next one on.
    pub fn bytes(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The next struct, or `None` when there are no more.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`] that concerns a struct. Nothing can be read after one.
    #[inline]
    pub fn next_struct(&mut self) -> Result<Option<Struct<'a>>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let begin = self.reader.position();
        let info = self.reader.byte()?;
        let mut item = Struct::unread(self.client, Clock::new(self.clock), info);
        item.length = match info {
            INFO_GC | INFO_SKIP => {
                item.kind = if info == INFO_GC { Kind::Gc } else { Kind::Skip };
                let length = self.length()?;
                if length == 0 {
                    return Err(Refusal::EmptyStruct { client: self.client });
                }
                length
            }
            _ => self.item(info, &mut item)?,
        };
        if item.length > CLOCK_MAX - self.clock {
            return Err(Refusal::ClockOverflow { client: self.client });
        }
        self.clock += item.length;
        item.bytes = self.reader.between(begin..self.reader.position());
        Ok(Some(item))
    }

    /// The last struct of bytes that were scanned once, of which is known where it ends: so what it holds need not be read,
    /// however long that is. Whether it would harm editors is not told.
    ///
    /// # Errors
    ///
    /// Bytes that are no struct.
    pub fn last_struct(&mut self, position: usize, end: Clock) -> Result<Struct<'a>, Refusal> {
        let begin = self.reader.position();
        let info = self.reader.byte()?;
        let mut item = Struct::unread(self.client, Clock::new(self.clock), info);
        item.length = end.get().saturating_sub(self.clock);
        item.bytes = self.reader.between(begin..position);
        match info {
            INFO_GC => item.kind = Kind::Gc,
            INFO_SKIP => item.kind = Kind::Skip,
            _ => {
                self.references(info, &mut item, |reader| reader.var_bytes().map(drop))?;
                item.content =
                    Content::of(info).ok_or(Refusal::UnknownContent { client: self.client, info })?;
                item.content_bytes = self.reader.between(self.reader.position()..position);
            }
        }
        Ok(item)
    }

    /// Reads what an item refers to and what it holds, and answers how long it is.
    #[inline]
    fn item(&mut self, info: u8, item: &mut Struct<'a>) -> Result<u32, Refusal> {
        self.references(info, item, |reader| reader.var_string().map(drop))?;
        let begin = self.reader.position();
        let length = self.content(item)?;
        item.content_bytes = self.reader.between(begin..self.reader.position());
        Ok(length)
    }

    #[inline]
    fn references(
        &mut self,
        info: u8,
        item: &mut Struct<'a>,
        pass_name: impl Fn(&mut Reader<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Refusal> {
        if info & INFO_LEFT != 0 {
            item.left = Some(self.id()?);
        }
        if info & INFO_RIGHT != 0 {
            item.right = Some(self.id()?);
        }
        if info & (INFO_LEFT | INFO_RIGHT) == 0 {
            match self.reader.var_uint()? {
                1 => pass_name(&mut self.reader)?,
                0 => item.parent = Some(self.id()?),
                _ => return Err(Refusal::UnknownParent { client: self.client }),
            }
            if info & INFO_PARENT_SUB != 0 {
                pass_name(&mut self.reader)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn content(&mut self, item: &mut Struct<'a>) -> Result<u32, Refusal> {
        let client = self.client;
        let content = Content::of(item.info).ok_or(Refusal::UnknownContent { client, info: item.info })?;
        let length = match content {
            Content::None => 0,
            Content::Deleted => self.length()?,
            Content::Json => self.json_values(item)?,
            Content::Binary => self.reader.var_bytes().map(|_| 1)?,
            Content::String => {
                let length = utf16_length(self.reader.var_string()?);
                // A string is shorter than the message, and a message than 2^32 bytes; checked all the same.
                u32::try_from(length).map_err(|_| Refusal::ClockOverflow { client })?
            }
            Content::Embed => self.json(item).map(|()| 1)?,
            Content::Format => {
                self.reader.var_string()?;
                self.json(item).map(|()| 1)?
            }
            Content::Type => self.shared_type(item).map(|()| 1)?,
            Content::Any => self.anys(item)?,
            Content::Subdocument => self.subdocument(item).map(|()| 1)?,
        };
        item.content = content;
        Ok(length)
    }

    #[inline]
    fn id(&mut self) -> Result<Id, Refusal> {
        let client = ClientId::new(self.reader.var_uint()?);
        Ok((client, Clock::new(clock(&mut self.reader, client)?)))
    }

    fn length(&mut self) -> Result<u32, Refusal> {
        clock(&mut self.reader, self.client)
    }

    fn anys(&mut self, item: &mut Struct<'a>) -> Result<u32, Refusal> {
        let count = self.reader.count(1)?;
        for _ in 0..count {
            self.any(item)?;
        }
        u32::try_from(count).map_err(|_| Refusal::ClockOverflow { client: self.client })
    }

    fn any(&mut self, item: &mut Struct<'a>) -> Result<(), Refusal> {
        if self.reader.skip_any()? > VALUE_NESTING_MAX {
            item.harm = Some(Harm::ValuesTooDeep);
        }
        Ok(())
    }

    fn json_values(&mut self, item: &mut Struct<'a>) -> Result<u32, Refusal> {
        let count = self.reader.count(1)?;
        for _ in 0..count {
            let text = self.reader.var_string()?;
            if text != "undefined" {
                judge_json(text, item);
            }
        }
        u32::try_from(count).map_err(|_| Refusal::ClockOverflow { client: self.client })
    }

    fn json(&mut self, item: &mut Struct<'a>) -> Result<(), Refusal> {
        judge_json(self.reader.var_string()?, item);
        Ok(())
    }

    fn shared_type(&mut self, item: &mut Struct<'a>) -> Result<(), Refusal> {
        // Written as a number, but none of them needs more than one byte.
        match self.reader.byte()? {
            // array, map, text, XML fragment, XML text
            0 | 1 | 2 | 4 | 6 => Ok(()),
            // XML element, XML hook: its name
            3 | 5 => self.reader.var_string().map(drop).map_err(Into::into),
            7 => {
                item.harm = Some(Harm::WeakLink);
                self.weak_link()
            }
            type_ref => Err(Refusal::UnknownType { client: self.client, type_ref }),
        }
    }

    /// What a weak link refers to, as yrs writes it: flags, and one or two places, each a unit or the name of a root.
    fn weak_link(&mut self) -> Result<(), Refusal> {
        const QUOTE: u8 = 1;
        const START_UNBOUNDED: u8 = 8;
        const END_UNBOUNDED: u8 = 16;
        const ROOT: u8 = 32;
        let flags = self.reader.byte()?;
        for (unbounded, written) in
            [(START_UNBOUNDED, true), (END_UNBOUNDED, flags & (QUOTE | END_UNBOUNDED) != 0)]
        {
            if written && flags & unbounded != 0 && flags & ROOT != 0 {
                self.reader.var_string()?;
            } else if written {
                self.id()?;
            }
        }
        Ok(())
    }

    fn subdocument(&mut self, item: &mut Struct<'a>) -> Result<(), Refusal> {
        self.reader.var_string()?;
        // Yjs always writes an object, and throws when it reads anything else.
        if self.reader.clone().byte()? != crate::lib0::ANY_OBJECT {
            item.harm = Some(Harm::NoOptions);
        }
        self.any(item)
    }
}

fn judge_json(text: &str, item: &mut Struct<'_>) {
    match json::value(text) {
        None => item.harm = Some(Harm::Json),
        Some(nesting) if nesting > VALUE_NESTING_MAX => item.harm = Some(Harm::ValuesTooDeep),
        Some(_) => {}
    }
}

pub(crate) const INFO_GC: u8 = 0;
pub(crate) const INFO_SKIP: u8 = 10;
pub(crate) const INFO_LEFT: u8 = 0x80;
pub(crate) const INFO_RIGHT: u8 = 0x40;
pub(crate) const INFO_PARENT_SUB: u8 = 0x20;
/// One bit more than any content uses: the CRDT libraries differ in whether they look at it.
const INFO_CONTENT: u8 = 0x1f;

pub(crate) const CONTENT_DELETED: u8 = 1;
const CONTENT_JSON: u8 = 2;
const CONTENT_BINARY: u8 = 3;
const CONTENT_STRING: u8 = 4;
const CONTENT_EMBED: u8 = 5;
const CONTENT_FORMAT: u8 = 6;
const CONTENT_TYPE: u8 = 7;
const CONTENT_ANY: u8 = 8;
const CONTENT_DOC: u8 = 9;

/// Reads a clock or a length.
#[inline]
pub(super) fn clock(reader: &mut Reader<'_>, client: ClientId) -> Result<u32, Refusal> {
    match u32::try_from(reader.var_uint()?) {
        Ok(clock) if clock <= CLOCK_MAX => Ok(clock),
        _ => Err(Refusal::ClockOverflow { client }),
    }
}

/// UTF-16 code units, of which a character beyond the basic plane has two.
#[inline]
fn utf16_length(text: &str) -> usize {
    text.bytes().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}
