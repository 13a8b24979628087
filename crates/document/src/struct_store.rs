//! A document as its structs.
//!
//! ```text
//! update ──admit──▶ what is new and complete ──▶ run of each client (delta) ──compact──▶ base (one complete update)
//!            └────▶ remainder: what lacks its ground          deleted ranges
//! base + delta ──encode, diff──▶ updates for editors
//! ```
//!
//! Nothing is integrated: a server that stores and relays has to know which structs it has and which units are deleted, and
//! to cut and join them. Items are never ordered and values never decoded, so everything comes back as its editor wrote it, and
//! what an update costs depends on its bytes and not on the document's.

mod admit;
mod base;
mod compact;
mod encode;
mod merge;
mod nesting;
mod order;
mod ranges;
mod run;
mod section;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::scan::Struct;

pub use admit::{Admission, Remainder};
pub use compact::Gc;
pub use encode::Parts;
pub use merge::merge;

use base::{Base, Facts, Loaded};
use nesting::Places;
use ranges::Deleted;
use run::Run;

/// What a client that writes for the first time since the base costs, beside its bytes.
const RUN_BYTES: usize = 200;
/// What a deleted range costs.
const RANGE_BYTES: usize = ranges::RANGE_BYTES;

/// Compacting is worth its cost when more bytes than this have been added …
const COMPACTED_BYTES_MIN: usize = 4 << 10;
/// … and more than such a part of what is compact.
const COMPACTED_SHARE: usize = 4;

/// The fewest bytes of an update that add a client.
const CLIENT_BYTES: usize = 6;
/// Runs are put into the base when they take more memory than it, and more than this.
const RUNS_HEAP_MIN: usize = 1 << 20;
/// That takes so much less than looking at each struct.
const FOLDING_SHARE: usize = 8;

/// Structs of each client, in order of their clocks and without a hole, and which units are deleted.
///
/// Invariant: everything in it is complete. What a struct refers to is there, too, and of each client the units from zero on.
///
/// Not known here are deletions that follow from others and that no update names (a value that lost against a concurrent one,
/// content of what somebody deletes). Editors name them in their complete delete sets; until then the content is kept.
#[derive(Debug, Clone)]
pub struct StructStore {
    base: Base,
    /// What came since, by client.
    runs: BTreeMap<ClientId, Run>,
    /// Memory of the runs.
    runs_heap: usize,
    /// Clients that are not in the base.
    new_clients: usize,
    deleted: Deleted,
    /// The deleted ranges are not those of the base.
    deleted_since_base: bool,
    /// Bytes of the runs.
    delta_bytes: usize,
    /// About how much memory has been added since everything was compacted.
    grown_bytes: usize,
    /// Units that have been deleted since.
    garbage_units: usize,
    facts: Facts,
    /// No shared type lies deeper within others than this. Perhaps none lies that deep: see [`nesting`].
    nesting_max: u32,
    /// Where everything lies, if that was asked for since everything was compacted.
    places: Option<Places>,
    places_heap: usize,
}

impl Default for StructStore {
    fn default() -> Self {
        Self::new()
    }
}

impl StructStore {
    /// Nothing.
    pub fn new() -> Self {
        Self {
            base: Base::empty(),
            runs: BTreeMap::new(),
            runs_heap: 0,
            new_clients: 0,
            deleted: Deleted::default(),
            deleted_since_base: false,
            delta_bytes: 0,
            grown_bytes: 0,
            garbage_units: 0,
            facts: Facts::default(),
            nesting_max: 0,
            places: None,
            places_heap: 0,
        }
    }

    /// Makes a store of one complete update, such as [`StructStore::encode`] gives. One pass over the bytes, which are kept.
    ///
    /// That they are complete is not looked at, unless they are of a form that this store does not write: then what is not
    /// complete is left out.
    ///
    /// # Errors
    ///
    /// Bytes that are no update.
    pub fn load(state: Bytes) -> Result<Self, Refusal> {
        let Some(Loaded { base, deleted, facts }) = Base::load(state.clone())? else {
            let mut store = Self::new();
            store.admit_stored(&state)?;
            return Ok(store);
        };
        let mut store = Self { base, facts, ..Self::new() };
        store.nesting_max = facts.with_parent;
        store.take_deleted(deleted);
        store.deleted_since_base = true;
        let canonical = store.delete_set();
        store.deleted_since_base = canonical != store.base.bytes()[store.base.delete_set()];
        Ok(store)
    }

    /// How many units of a client there are.
    pub fn clock_of(&self, client: ClientId) -> Clock {
        Clock::new(self.end(client))
    }

    /// Each client, and how many of its units there are. Higher clients first.
    pub fn clocks(&self) -> impl Iterator<Item = (ClientId, Clock)> {
        self.ends().map(|(client, end)| (client, Clock::new(end)))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.client_count() == 0
    }

    /// How many clients have written.
    pub fn client_count(&self) -> usize {
        self.base.len() + self.new_clients
    }

    /// About how many bytes [`StructStore::encode`] has.
    pub fn encoded_bytes(&self) -> usize {
        self.base.bytes().len() + self.delta_bytes
    }

    /// About how much memory it takes.
    pub fn heap_bytes(&self) -> usize {
        self.base.heap_bytes() + self.runs_heap + self.deleted.heap_bytes() + self.places_heap
    }

    /// Whether nothing was added since everything was compacted, or loaded.
    pub fn is_compact(&self) -> bool {
        self.grown_bytes == 0 && self.garbage_units == 0
    }

    /// Whether [`StructStore::encode`] copies nothing.
    pub fn is_folded(&self) -> bool {
        self.runs.is_empty() && !self.deleted_since_base
    }

    /// Whether so much was added, or deleted, that compacting is worth its cost.
    pub fn wants_compaction(&self) -> bool {
        let changed = self.grown_bytes + self.garbage_units;
        changed > COMPACTED_BYTES_MIN && changed > self.base.heap_bytes() / COMPACTED_SHARE
    }

    /// So many clients have written since the base, or will have, that it is worth copying everything.
    fn has_many_runs(&self, more: usize) -> bool {
        let runs = (self.runs.len() + more) * RUN_BYTES;
        runs > RUNS_HEAP_MIN && runs > self.base.heap_bytes()
    }

    fn end(&self, client: ClientId) -> u32 {
        self.runs.get(&client).map_or_else(|| self.base.end(client), Run::end)
    }

    /// The struct that has this unit.
    fn find(&self, client: ClientId, clock: u32) -> Option<Struct<'_>> {
        match self.runs.get(&client).filter(|run| run.begin() <= clock) {
            Some(run) => run.section(client).find(clock),
            None => self.base.section(client)?.find(clock),
        }
        .map(|found| found.item)
    }

    /// All clients, higher ones first, and where they stand in the base.
    fn places(&self) -> impl Iterator<Item = (ClientId, Option<usize>)> {
        let mut base = self.base.ends().map(|(client, _)| client).enumerate().peekable();
        let mut new =
            self.runs.iter().rev().filter(|(_, run)| run.begin() == 0).map(|(client, _)| *client).peekable();
        std::iter::from_fn(move || match (base.peek(), new.peek()) {
            (Some((_, of_base)), Some(of_run)) if of_run > of_base => new.next().map(|client| (client, None)),
            (Some(_), _) => base.next().map(|(place, client)| (client, Some(place))),
            (None, _) => new.next().map(|client| (client, None)),
        })
    }

    fn ends(&self) -> impl Iterator<Item = (ClientId, u32)> {
        self.places().map(|(client, _)| (client, self.end(client)))
    }

    /// Takes in what is deleted, in any order within each client.
    fn take_deleted(&mut self, mut deleted: Vec<(ClientId, u32, u32)>) {
        deleted.sort_unstable();
        let mut ranges = Vec::new();
        for of_client in deleted.chunk_by(|a, b| a.0 == b.0) {
            ranges.clear();
            ranges.extend(of_client.iter().map(|&(_, start, end)| (start, end)));
            self.deleted.add(of_client[0].0, &ranges);
        }
    }

    /// Whether this unit is deleted.
    fn is_deleted(&self, client: ClientId, clock: u32) -> bool {
        self.deleted.get(client).is_some_and(|ranges| ranges.at(clock).is_some())
    }
}
