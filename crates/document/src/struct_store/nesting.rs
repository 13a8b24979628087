//! How deeply shared types lie within each other, and what lies within deleted ones.
//!
//! Neither is kept for each struct of every document. Of the whole document one number is known, above which no nesting goes:
//! each struct that names another one as its parent can make it deeper by one. Only when that number passes what is allowed,
//! everything is looked at ([`Places::of`]), which says how deep it really is; compacting says so, too. What was found then
//! is kept until the next compaction, so that it is not looked for again with each message.

use std::collections::BTreeMap;

use ringleaf_types::ClientId;
use ringleaf_wire::scan::{Content, Id, Kind, Struct, TYPE_NESTING_MAX};

use super::base::Facts;
use super::order::{Order, Part, Step};
use super::{CLIENT_BYTES, FOLDING_SHARE, StructStore};

/// The fewest bytes of an update that can nest one shared type in another.
const NESTING_BYTES: usize = 6;

/// Where a struct lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// So many shared types deep.
    Depth(u32),
    /// In something that is deleted: nobody sees it, whatever happens.
    Dead,
}

/// The place of each unit of a client, as a list of where it changes, in order of clocks. Before the first change units lie
/// in the document's own shared types.
#[derive(Debug, Clone, Default)]
pub(super) struct OfClient(Vec<(u32, Place)>);

impl OfClient {
    pub(super) fn at(&self, clock: u32) -> Place {
        let after = self.0.partition_point(|&(from, _)| from <= clock);
        if after == 0 { Place::Depth(0) } else { self.0[after - 1].1 }
    }

    /// Everything from this clock on lies there, until the next note. Must not come before the last one.
    pub(super) fn note(&mut self, from: u32, place: Place) {
        if self.0.last().map_or(Place::Depth(0), |last| last.1) != place {
            self.0.push((from, place));
        }
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u32, Place)>()
    }

    /// The ranges that are dead, through `end`.
    pub(super) fn dead(&self, end: u32) -> impl Iterator<Item = (u32, u32)> {
        let ends = self.0.iter().skip(1).map(|&(from, _)| from).chain(std::iter::once(end));
        self.0
            .iter()
            .zip(ends)
            .filter(|((_, place), _)| *place == Place::Dead)
            .map(|(&(from, _), to)| (from, to))
    }
}

/// The places of everything in a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub(super) clients: BTreeMap<ClientId, OfClient>,
    pub(super) depth_max: u32,
}

impl Places {
    /// Goes through everything, each struct after what it refers to. The store is folded.
    pub(super) fn of(store: &StructStore) -> Self {
        debug_assert!(store.runs.is_empty(), "everything is in the base");
        let sections = (0..store.base.len()).map(|place| store.base.section_at(place));
        let parts = sections.map(|section| Part::new(&section.structs(section.begin), 0));
        let mut order = Order::new(parts.collect());
        let mut places: Vec<OfClient> = vec![OfClient::default(); order.parts.len()];
        // Found here rather than by reading the parent again: that may be as long as the distance of two marks.
        let mut types: Vec<Vec<u32>> = vec![Vec::new(); order.parts.len()];
        let mut depth_max = 0;
        let ran = order.run(|order, index, item| {
            for (client, clock) in item.references().filter(|(client, _)| *client != item.client) {
                match order.find(client) {
                    Some(other) if clock.get() >= order.parts[other].end => {
                        return Step::WaitFor(other, clock.get());
                    }
                    Some(_) => {}
                    None => return Step::Stuck,
                }
            }
            let at = |(client, clock): Id| {
                order.find(client).map_or(Place::Depth(0), |other| places[other].at(clock.get()))
            };
            let is_type = |(client, clock): Id| {
                order.find(client).is_some_and(|other| types[other].binary_search(&clock.get()).is_ok())
            };
            let place = place_of(store, item, at, is_type);
            if item.content == Content::Type {
                types[index].push(item.clock.get());
            }
            if let Place::Depth(depth) = place {
                depth_max = depth_max.max(depth);
            }
            places[index].note(item.clock.get(), place);
            order.parts[index].end = item.end();
            Step::Done
        });
        debug_assert!(ran.is_ok(), "what is in the store was scanned");
        let clients = order.parts.iter().zip(places).filter(|(_, of)| !of.0.is_empty());
        Self { clients: clients.map(|(part, of)| (part.client, of)).collect(), depth_max }
    }

    fn depth_at(&self, (client, clock): Id) -> u32 {
        match self.clients.get(&client).map_or(Place::Depth(0), |of| of.at(clock.get())) {
            Place::Depth(depth) => depth,
            Place::Dead => 0,
        }
    }

    /// How deep a struct lies of which everything is there that it refers to.
    fn depth_of(&self, item: &Struct<'_>) -> u32 {
        match item.parent {
            Some(parent) => self.depth_at(parent) + 1,
            None => {
                [item.left, item.right].into_iter().flatten().map(|id| self.depth_at(id)).max().unwrap_or(0)
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.clients.values().map(|of| 64 + of.heap_bytes()).sum()
    }
}

impl StructStore {
    /// How deep a struct would lie; 0 while nothing can be too deep.
    pub(super) fn depth_of(&self, item: &Struct<'_>) -> u32 {
        self.places.as_ref().map_or(0, |places| places.depth_of(item))
    }

    /// A struct begins here.
    pub(super) fn note_depth(&mut self, item: &Struct<'_>, begin: u32) {
        let Some(places) = &mut self.places else { return };
        let depth = places.depth_of(item);
        places.depth_max = places.depth_max.max(depth);
        if depth > 0 || places.clients.contains_key(&item.client) {
            let of = places.clients.entry(item.client).or_default();
            self.places_heap -= of.heap_bytes();
            of.note(begin, Place::Depth(depth));
            self.places_heap += of.heap_bytes();
        }
    }

    /// So many structs with a parent are about to come. If they could nest shared types too deeply, it has to be known where
    /// everything lies.
    pub(super) fn expect_nesting(&mut self, with_parent: u32) {
        let could = self.nesting_max.saturating_add(with_parent) > TYPE_NESTING_MAX;
        if with_parent == 0 || !could || self.places.is_some() {
            return;
        }
        if self.facts.with_parent == 0 {
            self.keep_places(Places::default());
        } else {
            self.fold();
            let places = Places::of(self);
            self.keep_places(places);
        }
    }

    pub(super) fn keep_places(&mut self, places: Places) {
        self.nesting_max = places.depth_max;
        self.places_heap = places.heap_bytes();
        self.places = Some(places);
    }

    /// Looks at how deep shared types really lie, if no more is known than how many there are at most.
    pub(super) fn measure_nesting(&mut self) {
        if self.places.is_none() && self.nesting_max > TYPE_NESTING_MAX {
            self.fold();
            let places = Places::of(self);
            self.measured(places);
        }
    }

    /// Keeps what was found only where it is likely to be needed again: it can be as large as the document.
    pub(super) fn measured(&mut self, places: Places) {
        self.forget_places();
        if places.depth_max > TYPE_NESTING_MAX / 2 {
            self.keep_places(places);
        } else {
            self.nesting_max = places.depth_max;
        }
    }

    pub(super) fn forget_places(&mut self) {
        (self.places, self.places_heap) = (None, 0);
    }

    /// What an update was said to hold is in it.
    pub(super) fn note_facts(&mut self, facts: Facts) {
        self.facts.tombstones |= facts.tombstones;
        self.facts.with_parent = self.facts.with_parent.saturating_add(facts.with_parent);
        self.nesting_max = match &self.places {
            Some(places) => places.depth_max,
            None => self.nesting_max.saturating_add(facts.with_parent),
        };
    }

    /// How much of it admitting an update of so many bytes may have to look at, beside the update: nothing, but where shared
    /// types could become nested too deeply, and where so many clients have written that everything is put in order.
    pub fn looked_at_bytes(&self, update_bytes: usize) -> usize {
        let could_nest = self.nesting_max as usize + update_bytes / NESTING_BYTES > TYPE_NESTING_MAX as usize;
        let nests = self.facts.with_parent > 0 && self.places.is_none() && could_nest;
        let folds = self.has_many_runs(update_bytes / CLIENT_BYTES);
        let all = |looks: bool, share: usize| if looks { self.encoded_bytes() / share } else { 0 };
        all(nests, 1) + all(folds, FOLDING_SHARE)
    }
}

/// Where a struct lies: in its parent, or where its neighbors lie. What has a dead neighbor is dead, as in Yjs what has a
/// tombstone as its neighbor becomes one.
fn place_of(
    store: &StructStore,
    item: &Struct<'_>,
    at: impl Fn(Id) -> Place,
    is_type: impl Fn(Id) -> bool,
) -> Place {
    if item.kind == Kind::Gc {
        return Place::Dead;
    }
    if let Some(parent) = item.parent {
        let alive = !store.is_deleted(parent.0, parent.1.get());
        return match at(parent) {
            Place::Depth(depth) if alive && is_type(parent) => Place::Depth(depth + 1),
            Place::Depth(_) | Place::Dead => Place::Dead,
        };
    }
    let mut depth = 0;
    for neighbor in [item.left, item.right].into_iter().flatten() {
        match at(neighbor) {
            Place::Dead => return Place::Dead,
            Place::Depth(of) => depth = depth.max(of),
        }
    }
    Place::Depth(depth)
}
