//! Taking an update in: what is complete is appended, the rest is handed back (causal readiness).
//!
//! An update is scanned before anything of it is taken, so nothing has to be taken back. No unit is ever taken twice: a second
//! sender may say something else about it than the first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::cut::{Form, Units, write_client, write_end};
use ringleaf_wire::lib0::{Reader, write_var_uint};
use ringleaf_wire::scan::{self, Content, Harm, Id, Kind, Struct, Structs, TYPE_NESTING_MAX, Visit};

use super::encode::write_delete_set;
use super::order::{Order, Part, Step};
use super::ranges::{Ranges, by_client};
use super::run::{Cut, Run};
use super::{Facts, RANGE_BYTES, RUN_BYTES, StructStore};

/// An update that brings something may repeat so many deletions that are known. Beyond, it is worth leaving them out: stock
/// clients send all that they ever heard of, whenever they connect.
const KNOWN_DELETIONS_MAX: usize = 8;

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// What was new and complete, as one update: to be stored and handed on. It means the same to whoever has what was there
    /// before.
    pub news: Option<Bytes>,
    /// What lacks its ground.
    pub remainder: Option<Remainder>,
    /// Something can be read, and is left out for good, with what its client has written after it. The rest was not affected.
    pub barred: Option<Refusal>,
    /// The clients of which there is more now.
    pub grown: Vec<ClientId>,
}

/// What of an update refers to something that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    /// It, as an update.
    pub update: Bytes,
    /// It is worth trying again when one of these clients has the unit.
    pub waits: BTreeMap<ClientId, Clock>,
    /// How many structs and deleted ranges there are in it.
    pub pieces: u64,
}

/// What is asked of structs before they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// None may harm editors.
    Untrusted,
    /// They were taken once.
    Stored,
}

/// Units of a client, from one clock to another.
type Deletion = (ClientId, u32, u32);

/// An update, scanned.
#[derive(Default)]
struct Message<'a> {
    parts: Vec<Part<'a>>,
    deletions: Vec<Deletion>,
    facts: Facts,
}

impl<'a> Visit<'a> for Message<'a> {
    fn client(&mut self, structs: &Structs<'a>) {
        self.parts.push(Part::new(structs, 0));
    }

    fn item(&mut self, item: &Struct<'a>) {
        self.facts.note(item);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deletions.push((client, clock.get(), clock.get() + length));
    }
}

/// What is noted while an update is taken in.
struct Taking {
    rules: Rules,
    barred: Option<Refusal>,
    /// The parts of which the next struct is left out for good.
    barred_parts: BTreeSet<usize>,
    /// What structs say is deleted, because they came without their content, and was not.
    deleted: Vec<Deletion>,
    /// Everything was new, and was taken as it stands.
    as_it_is: bool,
}

/// Why a struct cannot be taken yet.
enum Lacking {
    /// It waits for itself.
    Itself,
    Unit(Id),
}

impl StructStore {
    /// Takes in what is new and complete of an update. Untrusted bytes are scanned here, and need no other scan.
    ///
    /// # Errors
    ///
    /// Every way in which bytes are no update. Nothing of them was taken in.
    pub fn admit(&mut self, update: &Bytes) -> Result<Admission, Refusal> {
        self.measure_nesting();
        if let Some(admission) = self.admit_plain(update)? {
            return Ok(admission);
        }
        self.admit_any(update, Rules::Untrusted)
    }

    /// Takes in an update that was admitted once, by whatever rules held then.
    ///
    /// # Errors
    ///
    /// Bytes that are no update.
    pub fn admit_stored(&mut self, update: &Bytes) -> Result<Admission, Refusal> {
        // What follows the plain rules is taken the same way, whatever the rules are.
        if let Some(admission) = self.admit_plain(update)? {
            return Ok(admission);
        }
        self.admit_any(update, Rules::Stored)
    }

    /// Whether everything that an update brings is there.
    ///
    /// # Errors
    ///
    /// Bytes that are no update.
    pub fn holds(&self, update: &[u8]) -> Result<bool, Refusal> {
        let mut holding = Holding { store: self, holds: true };
        scan::update(update, &mut holding)?;
        Ok(holding.holds)
    }

    /// The way of nearly every update: one struct that follows on what its client has, or none, and a few deletions. One
    /// pass, and nothing is allocated beside what is kept. `None`: it has to be looked at more closely.
    fn admit_plain(&mut self, update: &Bytes) -> Result<Option<Admission>, Refusal> {
        let mut reader = Reader::new(update);
        let item = match reader.var_uint()? {
            0 => None,
            1 => {
                let mut structs = Structs::read(&mut reader)?;
                let last = structs.left() == 1;
                let item = structs.next_struct()?;
                reader = Reader::at(update, structs.position());
                match item.filter(|item| last && self.is_plain(item)) {
                    Some(item) => Some(item),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let mut deletions = [(ClientId::new(0), 0, 0); KNOWN_DELETIONS_MAX];
        let Some(count) = self.plain_deletions(&mut reader, item.as_ref(), &mut deletions)? else {
            return Ok(None);
        };
        if let Some(item) = &item {
            self.append(item, Form::Whole);
        }
        let mut news = item.is_some();
        for &(client, start, end) in &deletions[..count] {
            news |= self.delete(client, start, end);
        }
        let grown = item.iter().map(|item| item.client).collect();
        Ok(Some(Admission { news: news.then(|| update.clone()), grown, ..Admission::default() }))
    }

    fn is_plain(&self, item: &Struct<'_>) -> bool {
        let known = |(client, clock): Id| match client == item.client {
            true => clock < item.clock,
            false => clock.get() < self.end(client),
        };
        item.kind == Kind::Item
            && item.harm.is_none()
            && item.length > 0
            && item.parent.is_none()
            && item.content != Content::Deleted
            && item.clock.get() == self.end(item.client)
            && item.references().all(known)
    }

    /// Reads a delete set of few ranges, all of which are of units that are there. Answers how many there are.
    fn plain_deletions(
        &self,
        reader: &mut Reader<'_>,
        item: Option<&Struct<'_>>,
        deletions: &mut [(ClientId, u32, u32); KNOWN_DELETIONS_MAX],
    ) -> Result<Option<usize>, Refusal> {
        let mut count = 0;
        let clients = reader.var_uint()?;
        if clients > 1 {
            return Ok(None);
        }
        for _ in 0..clients {
            let client = ClientId::new(reader.var_uint()?);
            let new = item.filter(|item| item.client == client);
            let end = new.map_or_else(|| self.end(client), Struct::end);
            let ranges = reader.var_uint()?;
            if ranges > KNOWN_DELETIONS_MAX as u64 {
                return Ok(None);
            }
            for _ in 0..ranges {
                let (clock, length) = (reader.var_uint()?, reader.var_uint()?);
                if length == 0 || clock + length > u64::from(end) {
                    return Ok(None);
                }
                deletions[count] = (client, clock as u32, (clock + length) as u32);
                count += 1;
            }
        }
        Ok(reader.is_empty().then_some(count))
    }

    fn admit_any(&mut self, update: &Bytes, rules: Rules) -> Result<Admission, Refusal> {
        let mut message = Message::default();
        scan::update(update, &mut message)?;
        let Message { parts, deletions, facts } = message;
        let mut order = Order::new(parts);
        for part in &mut order.parts {
            part.begin = self.end(part.client);
            part.end = part.begin;
        }
        if rules == Rules::Untrusted {
            self.expect_nesting(facts.with_parent);
        }
        let mut taking = Taking {
            rules,
            barred: None,
            barred_parts: BTreeSet::new(),
            deleted: Vec::new(),
            as_it_is: true,
        };
        order.run(|order, index, item| self.take(order, &mut taking, index, item))?;
        self.note_facts(facts);
        let (new, left) = self.take_deletions(&order, &mut taking, deletions);
        let remainder = remainder(self, &order, &taking, left)?;
        let since: Vec<_> = order
            .parts
            .iter()
            .filter(|part| part.end > part.begin)
            .map(|part| (part.client, part.begin))
            .collect();
        drop(order);
        let news = match since.is_empty() && new.is_empty() {
            true => None,
            false if taking.as_it_is && remainder.is_none() => Some(update.clone()),
            false => Some(self.encode_since(&since, &new)),
        };
        let grown = since.into_iter().map(|(client, _)| client).collect();
        Ok(Admission { news, remainder, barred: taking.barred, grown })
    }

    fn take(&mut self, order: &mut Order<'_>, taking: &mut Taking, index: usize, item: &Struct<'_>) -> Step {
        let end = order.parts[index].end;
        // A hole that nothing follows would be one in what is stored, too.
        taking.as_it_is &= item.kind != Kind::Skip;
        if item.end() <= end {
            taking.as_it_is = false;
            let (begin, stop) = (item.clock.get(), item.end());
            self.lose_content(taking, item, begin, stop);
            return Step::Done;
        }
        match self.lacking(order, end, item) {
            Some(Lacking::Itself) => return Step::Stuck,
            Some(Lacking::Unit((client, clock))) => {
                return match order.find(client).filter(|other| *other != index) {
                    Some(other) => Step::WaitFor(other, clock.get()),
                    None => Step::Stuck,
                };
            }
            None => {}
        }
        if let Some(harm) = self.harm_of(taking, item) {
            taking.barred_parts.insert(index);
            taking.as_it_is = false;
            taking.barred.get_or_insert(Refusal::Harmful { client: item.client, harm });
            return Step::Stuck;
        }
        let form =
            if item.clock.get() == end && self.has_no_parent(item) { Form::Tombstone } else { Form::Whole };
        taking.as_it_is &= item.clock.get() == end && form == Form::Whole;
        self.lose_content(taking, item, item.clock.get(), end);
        if self.append(item, form) {
            taking.deleted.push((item.client, end, item.end()));
        }
        order.parts[index].end = item.end();
        Step::Done
    }

    /// Deletes what is there with its content of a struct that comes without.
    fn lose_content(&mut self, taking: &mut Taking, item: &Struct<'_>, begin: u32, end: u32) {
        if item.is_deleted() && begin < end && self.delete(item.client, begin, end) {
            taking.deleted.push((item.client, begin, end));
        }
    }

    /// What has to be there before a struct can be taken of which there are the units before `end`.
    fn lacking(&self, order: &Order<'_>, end: u32, item: &Struct<'_>) -> Option<Lacking> {
        if item.kind == Kind::Skip {
            return Some(Lacking::Unit(item.last()));
        }
        if item.clock.get() > end {
            return Some(Lacking::Unit((item.client, Clock::new(item.clock.get() - 1))));
        }
        for (client, clock) in item.references() {
            if client == item.client {
                if clock >= item.clock {
                    return Some(Lacking::Itself);
                }
            } else {
                let there =
                    order.find(client).map_or_else(|| self.end(client), |other| order.parts[other].end);
                if clock.get() >= there {
                    return Some(Lacking::Unit((client, clock)));
                }
            }
        }
        None
    }

    fn harm_of(&self, taking: &Taking, item: &Struct<'_>) -> Option<Harm> {
        if taking.rules == Rules::Stored {
            return None;
        }
        let too_deep = || self.depth_of(item) > TYPE_NESTING_MAX;
        item.harm.or_else(|| too_deep().then_some(Harm::TypesTooDeep))
    }

    /// Whether what it names as its parent holds something else than a shared type. Yjs makes a tombstone of it; others break.
    /// What was deleted may have been a shared type.
    fn has_no_parent(&self, item: &Struct<'_>) -> bool {
        let Some((client, clock)) = item.parent else { return false };
        self.find(client, clock.get()).is_some_and(|parent| match parent.content {
            Content::Type | Content::Deleted | Content::None => false,
            Content::Json
            | Content::Binary
            | Content::String
            | Content::Embed
            | Content::Format
            | Content::Any
            | Content::Subdocument => true,
        })
    }

    /// Appends a struct, or its end: what its client has is known to the caller. Answers whether it came without its content,
    /// or lost it here.
    fn append(&mut self, item: &Struct<'_>, form: Form) -> bool {
        let base = &self.base;
        let (run, new) = match self.runs.entry(item.client) {
            std::collections::btree_map::Entry::Occupied(run) => (run.into_mut(), 0),
            std::collections::btree_map::Entry::Vacant(place) => {
                (place.insert(Box::new(Run::new(base.end(item.client)))), RUN_BYTES)
            }
        };
        let begin = run.end();
        let (before, heap) = (run.bytes().len(), run.heap_bytes());
        if form == Form::Whole {
            run.push(item);
        } else {
            let cut = Cut { offset: 0, units: item.length, form };
            run.push_units(item, &mut Units::new(item), cut);
            self.facts.tombstones = true;
        }
        let added = run.bytes().len() - before;
        self.delta_bytes += added;
        self.grown_bytes += added + new;
        self.runs_heap += new + run.heap_bytes() - heap;
        self.new_clients += usize::from(new > 0 && begin == 0);
        self.note_depth(item, begin);
        let deleted = item.is_deleted() || form != Form::Whole;
        if deleted {
            // It has no content that compacting could forget.
            self.mark_deleted(item.client, begin, item.end());
        }
        if self.has_many_runs(0) {
            self.fold();
        }
        deleted
    }

    /// Marks units as deleted. Answers whether one of them was not.
    fn delete(&mut self, client: ClientId, start: u32, end: u32) -> bool {
        let new = self.mark_deleted(client, start, end);
        self.garbage_units += new;
        new > 0
    }

    /// Answers how many of them were not deleted yet.
    fn mark_deleted(&mut self, client: ClientId, start: u32, end: u32) -> usize {
        self.add_deleted(client, &[(start, end)])
    }

    /// Adds sorted ranges to those that are deleted, and answers how many of their units were not.
    pub(super) fn add_deleted(&mut self, client: ClientId, sorted: &[(u32, u32)]) -> usize {
        let added = self.deleted.add(client, sorted);
        self.grown_bytes += added.ranges * RANGE_BYTES;
        self.deleted_since_base |= added.units > 0;
        added.units
    }

    /// Takes in deletions of what is there. Answers which are new, and which have to wait.
    ///
    /// What came without its content is named as deleted, too: whoever has its content already would not know.
    fn take_deletions(
        &mut self,
        order: &Order<'_>,
        taking: &mut Taking,
        mut deletions: Vec<Deletion>,
    ) -> (BTreeMap<ClientId, Ranges>, Vec<Deletion>) {
        let without_content = std::mem::take(&mut taking.deleted);
        taking.as_it_is &= without_content.is_empty() || covers(&deletions, &without_content);
        let mut news = by_client(without_content);
        deletions.sort_unstable();
        let mut left = Vec::new();
        let mut known = 0;
        for of_client in deletions.chunk_by(|a, b| a.0 == b.0) {
            let client = of_client[0].0;
            let end = self.end(client);
            let barred = order.find(client).is_some_and(|index| taking.barred_parts.contains(&index));
            let none = Ranges::default();
            let before = self.deleted.get(client).unwrap_or(&none);
            let mut new = Vec::new();
            for &(_, start, stop) in of_client {
                if stop > end.max(start) && !barred {
                    left.push((client, start.max(end), stop));
                }
                let there = start..stop.min(end);
                if there.is_empty() || before.contains(&there) {
                    known += 1;
                } else {
                    new.push((there.start, there.end));
                }
            }
            if !new.is_empty() {
                self.garbage_units += self.add_deleted(client, &new);
                news.entry(client).or_default().merge(&new);
            }
        }
        taking.as_it_is &= known <= KNOWN_DELETIONS_MAX;
        (news, left)
    }
}

/// Whether all of these units are among those.
fn covers(those: &[Deletion], these: &[Deletion]) -> bool {
    let those = by_client(those.to_vec());
    let there = |(client, start, end): &Deletion| {
        those.get(client).is_some_and(|ranges| ranges.contains(&(*start..*end)))
    };
    these.iter().all(there)
}

/// Compares an update with what is there.
struct Holding<'s> {
    store: &'s StructStore,
    holds: bool,
}

impl Holding<'_> {
    fn is_deleted(&self, client: ClientId, clocks: Range<u32>) -> bool {
        clocks.is_empty() || self.store.deleted.get(client).is_some_and(|ranges| ranges.contains(&clocks))
    }
}

impl<'a> Visit<'a> for Holding<'_> {
    fn item(&mut self, item: &Struct<'a>) {
        let (begin, end) = (item.clock.get(), item.end());
        self.holds &= item.kind == Kind::Skip
            || (end <= self.store.end(item.client)
                && (!item.is_deleted() || self.is_deleted(item.client, begin..end)));
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        let clocks = clock.get()..clock.get() + length;
        self.holds &= self.is_deleted(client, clocks);
    }
}

/// What was not taken, as an update of its own. Of what its client already has, only the end is in it.
fn remainder(
    store: &StructStore,
    order: &Order<'_>,
    taking: &Taking,
    left: Vec<Deletion>,
) -> Result<Option<Remainder>, Refusal> {
    let mut rest = Rest { pieces: left.len() as u64, ..Rest::default() };
    for (index, part) in order.parts.iter().enumerate() {
        if part.is_stuck() && !taking.barred_parts.contains(&index) {
            rest.add(store, order, part)?;
        }
    }
    if left.is_empty() && rest.clients == 0 {
        return Ok(None);
    }
    for (client, start, _) in &left {
        rest.wait(*client, Clock::new(*start));
    }
    let mut out = Vec::with_capacity(rest.structs.len() + 16);
    write_var_uint(&mut out, rest.clients);
    out.extend_from_slice(&rest.structs);
    write_delete_set(&mut out, by_client(left).iter().rev().map(|(client, ranges)| (*client, ranges)));
    Ok(Some(Remainder { update: out.into(), waits: rest.waits, pieces: rest.pieces }))
}

/// The structs of a remainder.
#[derive(Default)]
struct Rest {
    clients: u64,
    structs: Vec<u8>,
    waits: BTreeMap<ClientId, Clock>,
    pieces: u64,
}

impl Rest {
    fn wait(&mut self, client: ClientId, clock: Clock) {
        let earliest = self.waits.entry(client).or_insert(clock);
        *earliest = clock.min(*earliest);
    }

    /// Adds what was not taken of a client. A hole that stands before it need not be kept.
    fn add(&mut self, store: &StructStore, order: &Order<'_>, part: &Part<'_>) -> Result<(), Refusal> {
        let mut rest = part.rest();
        let mut first = rest.next_struct()?;
        while first.is_some_and(|item| item.kind == Kind::Skip) {
            first = rest.next_struct()?;
        }
        let Some(first) = first else { return Ok(()) };
        if let Some(Lacking::Unit((client, clock))) = store.lacking(order, part.end, &first) {
            self.wait(client, clock);
        }
        let count = 1 + rest.left();
        self.clients += 1;
        self.pieces += count;
        let from = first.clock.get().max(part.end);
        write_client(&mut self.structs, count, part.client, from);
        if from == first.clock.get() {
            self.structs.extend_from_slice(first.bytes);
        } else {
            let end = write_end(&mut self.structs, &first, from - first.clock.get());
            self.structs.extend_from_slice(&first.bytes[first.bytes.len() - end..]);
        }
        while let Some(item) = rest.next_struct()? {
            self.structs.extend_from_slice(item.bytes);
        }
        Ok(())
    }
}
