//! One complete update, kept as it is, and where in it each client's structs are.

use std::ops::Range;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::cut::write_client;
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::scan::{self, Kind, Struct, Structs, Visit};

use super::section::{Mark, Section, worth_a_mark};

/// The update that changes nothing.
const EMPTY: &[u8] = &[0, 0];

/// The bytes, and an index of 32 bytes for each client and 12 for each KiB of structs.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    bytes: Bytes,
    /// Higher clients first, as they stand in the bytes.
    clients: Vec<OfClient>,
    marks: Vec<Mark>,
    /// Where the structs end and the deleted ranges begin.
    structs_end: u32,
}

#[derive(Debug, Clone, Copy)]
struct OfClient {
    client: ClientId,
    /// Where its structs begin and end.
    begin: u32,
    end: u32,
    count: u32,
    end_clock: u32,
    first_mark: u32,
}

/// A base, and what is to be known of it beside the index.
pub(crate) struct Loaded {
    pub(crate) base: Base,
    /// Ranges that are deleted, by client from high to low, in no order within one.
    pub(crate) deleted: Vec<(ClientId, u32, u32)>,
    pub(crate) facts: Facts,
}

/// What is among some structs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Structs that name another one as their parent.
    pub(crate) with_parent: u32,
    pub(crate) tombstones: bool,
}

impl Facts {
    pub(crate) fn note(&mut self, item: &Struct<'_>) {
        self.with_parent = self.with_parent.saturating_add(u32::from(item.parent.is_some()));
        self.tombstones |= item.kind == Kind::Gc;
    }
}

impl Base {
    pub(crate) fn empty() -> Self {
        Self { bytes: Bytes::from_static(EMPTY), clients: Vec::new(), marks: Vec::new(), structs_end: 1 }
    }

    /// Indexes an update. `None`: it is not of the form in which a base is kept (higher clients first, each from zero on,
    /// without holes).
    ///
    /// # Errors
    ///
    /// Bytes that are no update.
    pub(crate) fn load(bytes: Bytes) -> Result<Option<Loaded>, Refusal> {
        if u32::try_from(bytes.len()).is_err() {
            return Ok(None);
        }
        let mut index = Index::default();
        scan::update(&bytes, &mut index)?;
        if !index.in_deletions {
            index.end_client();
        }
        if index.unusual {
            return Ok(None);
        }
        let Index { mut clients, mut marks, deleted, facts, .. } = index;
        clients.shrink_to_fit();
        marks.shrink_to_fit();
        let structs_end = clients.last().map_or(1, |of| of.end);
        Ok(Some(Loaded { base: Self { bytes, clients, marks, structs_end }, deleted, facts }))
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes of the deleted ranges.
    pub(crate) fn delete_set(&self) -> Range<usize> {
        self.structs_end as usize..self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// All clients with their ends, higher ones first.
    pub(crate) fn ends(&self) -> impl DoubleEndedIterator<Item = (ClientId, u32)> + ExactSizeIterator {
        self.clients.iter().map(|of| (of.client, of.end_clock))
    }

    pub(crate) fn end(&self, client: ClientId) -> u32 {
        self.place(client).map_or(0, |index| self.clients[index].end_clock)
    }

    pub(crate) fn section(&self, client: ClientId) -> Option<Section<'_>> {
        self.place(client).map(|index| self.section_at(index))
    }

    /// The section of the client that stands at this place.
    pub(crate) fn section_at(&self, index: usize) -> Section<'_> {
        let of = &self.clients[index];
        let marks_end = self.clients.get(index + 1).map_or(self.marks.len(), |next| next.first_mark as usize);
        Section {
            client: of.client,
            bytes: &self.bytes,
            begin: Mark { clock: 0, position: of.begin, ordinal: 0 },
            end: Mark { clock: of.end_clock, position: of.end, ordinal: of.count },
            marks: &self.marks[of.first_mark as usize..marks_end],
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len()
            + self.clients.capacity() * size_of::<OfClient>()
            + self.marks.capacity() * size_of::<Mark>()
    }

    /// Where in the index a client stands.
    pub(crate) fn place(&self, client: ClientId) -> Option<usize> {
        self.clients.binary_search_by(|of| client.cmp(&of.client)).ok()
    }
}

/// A base that is being written, and its index.
#[derive(Default)]
pub(crate) struct Writing {
    out: Vec<u8>,
    clients: Vec<OfClient>,
    marks: Vec<Mark>,
}

impl Writing {
    /// Begins, with about so much to come.
    pub(crate) fn new(bytes: usize, clients: usize) -> Self {
        let mut out = Vec::with_capacity(bytes + 16);
        write_var_uint(&mut out, clients as u64);
        Self { out, ..Self::default() }
    }

    /// Adds a client: sections that follow on each other.
    pub(crate) fn add(&mut self, client: ClientId, sections: &[Section<'_>]) {
        let count = sections.iter().map(|section| u64::from(section.end.ordinal)).sum();
        write_client(&mut self.out, count, client, 0);
        let begin = self.out.len() as u32;
        let first_mark = self.marks.len() as u32;
        let (mut count, mut end_clock) = (0, 0);
        for section in sections {
            let at = self.out.len() as u32;
            let moved = |mark: &Mark| Mark {
                clock: mark.clock,
                position: at + mark.position - section.begin.position,
                ordinal: count + mark.ordinal,
            };
            if count > 0 {
                self.marks.push(moved(&section.begin));
            }
            self.marks.extend(section.marks.iter().map(moved));
            self.out.extend_from_slice(
                &section.bytes[section.begin.position as usize..section.end.position as usize],
            );
            count += section.end.ordinal;
            end_clock = section.end.clock;
        }
        let end = self.out.len() as u32;
        self.clients.push(OfClient { client, begin, end, count, end_clock, first_mark });
    }

    /// Ends it with encoded deletions.
    pub(crate) fn end(mut self, deletions: &[u8]) -> Base {
        let structs_end = self.out.len() as u32;
        self.out.extend_from_slice(deletions);
        self.out.shrink_to_fit();
        self.clients.shrink_to_fit();
        self.marks.shrink_to_fit();
        Base { bytes: self.out.into(), clients: self.clients, marks: self.marks, structs_end }
    }
}

/// Makes the index while the bytes are scanned.
#[derive(Default)]
struct Index {
    clients: Vec<OfClient>,
    marks: Vec<Mark>,
    deleted: Vec<(ClientId, u32, u32)>,
    facts: Facts,
    unusual: bool,
    /// Where the next struct begins.
    at: Mark,
    last_mark: usize,
    in_deletions: bool,
}

impl Index {
    fn end_client(&mut self) {
        if let Some(of) = self.clients.last_mut() {
            (of.end, of.count, of.end_clock) = (self.at.position, self.at.ordinal, self.at.clock);
        }
    }

    fn end_of(&self, client: ClientId) -> u32 {
        let found = self.clients.binary_search_by(|of| client.cmp(&of.client));
        found.map_or(0, |index| self.clients[index].end_clock)
    }
}

impl<'a> Visit<'a> for Index {
    fn client(&mut self, structs: &Structs<'a>) {
        self.end_client();
        let client = structs.client();
        let follows = self.clients.last().is_none_or(|last| last.client > client);
        self.unusual |= !follows || structs.clock() != Clock::new(0);
        let begin = structs.position() as u32;
        self.at = Mark { clock: 0, position: begin, ordinal: 0 };
        self.last_mark = begin as usize;
        let first_mark = self.marks.len() as u32;
        self.clients.push(OfClient { client, begin, end: begin, count: 0, end_clock: 0, first_mark });
    }

    fn item(&mut self, item: &Struct<'a>) {
        self.unusual |= item.kind == Kind::Skip || item.length == 0;
        self.facts.note(item);
        if worth_a_mark(self.last_mark, self.at.position as usize) {
            self.last_mark = self.at.position as usize;
            self.marks.push(self.at);
        }
        if item.is_deleted() {
            self.deleted.push((item.client, item.clock.get(), item.end()));
        }
        let position = self.at.position + item.bytes.len() as u32;
        self.at = Mark { clock: item.end(), position, ordinal: self.at.ordinal + 1 };
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        if !std::mem::replace(&mut self.in_deletions, true) {
            self.end_client();
        }
        let end = clock.get() + length;
        self.unusual |= end > self.end_of(client) || length == 0;
        self.deleted.push((client, clock.get(), end));
    }
}
