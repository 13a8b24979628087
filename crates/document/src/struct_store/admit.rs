//! Taking an update in: what is complete is appended, the rest is handed back (causal readiness).
//!
//! An update is scanned before anything of it is taken, so nothing has to be taken back. No unit is ever taken twice: a second
//! sender may say something else about it than the first.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::cut::{Form, Units, write_client, write_end};
use ringleaf_wire::lib0::{Reader, write_var_uint};
use ringleaf_wire::scan::{self, Content, Harm, Id, Kind, Struct, Structs, TYPE_NESTING_MAX, Visit};

use super::encode::write_delete_set;
use super::nesting::{OfClient, Place, Places};
use super::order::{Order, Part, Step};
use super::ranges::Ranges;
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

/// An update, scanned.
#[derive(Default)]
struct Message<'a> {
    parts: Vec<Part<'a>>,
    deletions: Vec<(ClientId, u32, u32)>,
    facts: Facts,
}

impl<'a> Visit<'a> for Message<'a> {
    fn client(&mut self, structs: &Structs<'a>) {
        self.parts.push(Part::new(structs.clone(), 0));
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
    /// By part.
    parts: Vec<OfPart>,
    /// Where everything lies, if the update could nest shared types too deeply.
    places: Option<Places>,
    barred: Option<Refusal>,
    /// Everything was new, and was taken as it stands.
    as_it_is: bool,
}

impl Taking {
    /// Everything was taken as it stands, but for what is left as a remainder.
    fn is_whole(&self) -> bool {
        self.as_it_is && self.barred.is_none()
    }
}

#[derive(Debug, Clone, Default)]
struct OfPart {
    begin: u32,
    /// What the first struct that was not taken waits for.
    waits: Option<Id>,
    barred: bool,
    places: OfClient,
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
        let mut taking = self.begin_taking(&mut order, facts, rules);
        order.run(|order, index, item| self.take(order, &mut taking, index, item))?;
        self.end_taking(&taking, facts);
        let (new, left) = self.take_deletions(&order, &mut taking, deletions);
        let since: Vec<_> = order
            .parts
            .iter()
            .zip(&taking.parts)
            .filter(|(part, of)| part.end > of.begin)
            .map(|(part, of)| (part.client, of.begin))
            .collect();
        let remainder = remainder(&order, &taking, left)?;
        let news = match since.is_empty() && new.is_empty() {
            true => None,
            false if taking.is_whole() && remainder.is_none() => Some(update.clone()),
            false => Some(self.encode_since(&since, &new)),
        };
        let grown = since.iter().map(|(client, _)| *client).collect();
        Ok(Admission { news, remainder, barred: taking.barred, grown })
    }

    fn begin_taking(&self, order: &mut Order<'_>, facts: Facts, rules: Rules) -> Taking {
        let mut parts = Vec::with_capacity(order.parts.len());
        for part in &mut order.parts {
            part.end = self.end(part.client);
            parts.push(OfPart { begin: part.end, ..OfPart::default() });
        }
        let nests = rules == Rules::Untrusted
            && facts.with_parent > 0
            && self.nesting_max.saturating_add(facts.with_parent) > TYPE_NESTING_MAX;
        let places = nests.then(|| Places::of(self));
        Taking { rules, parts, places, barred: None, as_it_is: true }
    }

    fn end_taking(&mut self, taking: &Taking, facts: Facts) {
        self.facts.tombstones |= facts.tombstones;
        self.facts.with_parent = self.facts.with_parent.saturating_add(facts.with_parent);
        self.nesting_max = match &taking.places {
            Some(places) => {
                self.nesting_measured = true;
                let new = taking.parts.iter().map(|part| part.places.depth_max()).max();
                places.depth_max.max(new.unwrap_or(0))
            }
            None => self.nesting_max.saturating_add(facts.with_parent),
        };
    }

    fn take(&mut self, order: &mut Order<'_>, taking: &mut Taking, index: usize, item: &Struct<'_>) -> Step {
        let end = order.parts[index].end;
        if item.end() <= end {
            taking.as_it_is = false;
            return Step::Done;
        }
        let of = &mut taking.parts[index];
        if item.kind == Kind::Skip {
            of.waits = Some(item.last());
            return Step::Stuck;
        }
        if item.clock.get() > end {
            of.waits = Some((item.client, Clock::new(item.clock.get() - 1)));
            return Step::Stuck;
        }
        for (client, clock) in item.references() {
            of.waits = Some((client, clock));
            if client == item.client {
                if clock >= item.clock {
                    // It waits for itself.
                    of.waits = None;
                    return Step::Stuck;
                }
            } else if let Some(other) = order.find(client) {
                if clock.get() >= order.parts[other].end {
                    return Step::WaitFor(other, clock.get());
                }
            } else if clock.get() >= self.end(client) {
                return Step::Stuck;
            }
        }
        of.waits = None;
        if let Some(harm) = self.harm_of(order, taking, index, item) {
            taking.parts[index].barred = true;
            taking.barred.get_or_insert(Refusal::Harmful { client: item.client, harm });
            return Step::Stuck;
        }
        let form =
            if item.clock.get() == end && self.has_no_parent(item) { Form::Tombstone } else { Form::Whole };
        taking.as_it_is &= item.clock.get() == end && form == Form::Whole;
        self.append(item, form);
        order.parts[index].end = item.end();
        Step::Done
    }

    fn harm_of(
        &self,
        order: &Order<'_>,
        taking: &mut Taking,
        index: usize,
        item: &Struct<'_>,
    ) -> Option<Harm> {
        if taking.rules == Rules::Stored {
            return None;
        }
        if item.harm.is_some() {
            return item.harm;
        }
        let Taking { places: Some(places), parts, .. } = taking else { return None };
        let at = |(client, clock): Id| match order.find(client) {
            Some(other) if clock.get() >= parts[other].begin => parts[other].places.at(clock.get()),
            Some(_) | None => places.at((client, clock)),
        };
        let depth = |id| match at(id) {
            Place::Depth(depth) => depth,
            Place::Dead => 0,
        };
        let depth = match item.parent {
            Some(parent) => depth(parent) + 1,
            None => [item.left, item.right].into_iter().flatten().map(depth).max().unwrap_or(0),
        };
        if depth > TYPE_NESTING_MAX {
            return Some(Harm::TypesTooDeep);
        }
        let begin = order.parts[index].end;
        parts[index].places.note(begin, Place::Depth(depth));
        None
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

    /// Appends a struct, or its end: what its client has is known to the caller.
    fn append(&mut self, item: &Struct<'_>, form: Form) {
        let base = &self.base;
        let (run, new) = match self.runs.entry(item.client) {
            std::collections::btree_map::Entry::Occupied(run) => (run.into_mut(), 0),
            std::collections::btree_map::Entry::Vacant(place) => {
                (place.insert(Run::new(base.end(item.client))), RUN_BYTES)
            }
        };
        let begin = run.end();
        let before = run.bytes().len();
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
        if item.is_deleted() || form != Form::Whole {
            self.delete(item.client, begin, item.end());
        }
    }

    /// Marks units as deleted. Answers whether one of them was not.
    fn delete(&mut self, client: ClientId, start: u32, end: u32) -> bool {
        let ranges = self.deleted.entry(client).or_default();
        let before = ranges.len();
        let new = ranges.insert(start..end);
        if new {
            self.grown_bytes += ranges.len().saturating_sub(before) * RANGE_BYTES;
            self.garbage_units += (end - start) as usize;
            self.deleted_since_base = true;
        }
        new
    }

    /// Takes in deletions of what is there. Answers which are new, and which have to wait.
    fn take_deletions(
        &mut self,
        order: &Order<'_>,
        taking: &mut Taking,
        mut deletions: Vec<(ClientId, u32, u32)>,
    ) -> (BTreeMap<ClientId, Ranges>, Vec<(ClientId, u32, u32)>) {
        deletions.sort_unstable();
        let (mut news, mut left) = (BTreeMap::new(), Vec::new());
        let mut known = 0;
        for of_client in deletions.chunk_by(|a, b| a.0 == b.0) {
            let client = of_client[0].0;
            let end = self.end(client);
            let barred = order.find(client).is_some_and(|index| taking.parts[index].barred);
            let none = Ranges::default();
            let before = self.deleted.get(&client).unwrap_or(&none);
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
                self.deleted_since_base = true;
                self.garbage_units += new.iter().map(|(start, end)| (end - start) as usize).sum::<usize>();
                let ranges = self.deleted.entry(client).or_default();
                let before = ranges.len();
                ranges.merge(&new);
                self.grown_bytes += ranges.len().saturating_sub(before) * RANGE_BYTES;
                let mut ranges = Ranges::default();
                ranges.merge(&new);
                news.insert(client, ranges);
            }
        }
        taking.as_it_is &= known <= KNOWN_DELETIONS_MAX;
        (news, left)
    }
}

/// Compares an update with what is there.
struct Holding<'s> {
    store: &'s StructStore,
    holds: bool,
}

impl<'a> Visit<'a> for Holding<'_> {
    fn item(&mut self, item: &Struct<'a>) {
        self.holds &= item.kind == Kind::Skip || item.end() <= self.store.end(item.client);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        let clocks = clock.get()..clock.get() + length;
        let deleted = || self.store.deleted.get(&client).is_some_and(|ranges| ranges.contains(&clocks));
        self.holds &= clocks.is_empty() || deleted();
    }
}

/// What was not taken, as an update of its own. Of what its client already has, only the end is in it.
fn remainder(
    order: &Order<'_>,
    taking: &Taking,
    left: Vec<(ClientId, u32, u32)>,
) -> Result<Option<Remainder>, Refusal> {
    let stuck =
        || order.parts.iter().zip(&taking.parts).filter(|(part, of)| part.held.is_some() && !of.barred);
    if left.is_empty() && stuck().next().is_none() {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut waits = BTreeMap::new();
    let mut pieces = left.len() as u64;
    let mut wait = |client: ClientId, clock: Clock| {
        let earliest = waits.entry(client).or_insert(clock);
        *earliest = clock.min(*earliest);
    };
    write_var_uint(&mut out, stuck().count() as u64);
    for (part, of) in stuck() {
        let Some(held) = part.held else { continue };
        let count = 1 + part.rest.left();
        pieces += count;
        if let Some((client, clock)) = of.waits {
            wait(client, clock);
        }
        let from = held.clock.get().max(part.end);
        write_client(&mut out, count, part.client, from);
        if from == held.clock.get() {
            out.extend_from_slice(held.bytes);
        } else {
            let rest = write_end(&mut out, &held, from - held.clock.get());
            out.extend_from_slice(&held.bytes[held.bytes.len() - rest..]);
        }
        let mut rest = part.rest.clone();
        while let Some(item) = rest.next_struct()? {
            out.extend_from_slice(item.bytes);
        }
    }
    let mut deleted: BTreeMap<ClientId, Vec<(u32, u32)>> = BTreeMap::new();
    for (client, start, end) in left {
        wait(client, Clock::new(start));
        deleted.entry(client).or_default().push((start, end));
    }
    let merged = |ranges: Vec<(u32, u32)>| {
        let mut merged = Ranges::default();
        merged.merge(&ranges);
        merged
    };
    let deleted: BTreeMap<_, _> =
        deleted.into_iter().map(|(client, ranges)| (client, merged(ranges))).collect();
    write_delete_set(&mut out, deleted.iter().rev().map(|(client, ranges)| (*client, ranges)));
    Ok(Some(Remainder { update: out.into(), waits, pieces }))
}
