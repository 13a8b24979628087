//! What editors write, and what an update brings: units (client, clock), and which of them are deleted.
//!
//! An editor's text is made of single characters. Each hangs on another one, of the same editor or of somebody else, so
//! that an update can lack what it builds on.

use std::collections::{BTreeMap, BTreeSet};

use harness::yjs::var_uint;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::scan::{self, Kind, Struct, Visit};

/// One character: who typed it, and its number among his.
pub(crate) type Unit = (u64, u32);

/// What every character hangs on. `None`: on the text itself.
#[derive(Debug, Default)]
pub(crate) struct Written {
    origins: BTreeMap<Unit, Option<Unit>>,
}

/// Units of each client from zero on, and the deleted ones among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) clocks: BTreeMap<u64, u32>,
    pub(crate) deleted: BTreeSet<Unit>,
}

/// What one update names, as it stands there.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Client, first clock, length.
    ranges: Vec<(u64, u32, u32)>,
    deleted: BTreeSet<Unit>,
}

impl Written {
    /// Somebody types the next character.
    pub(crate) fn add(&mut self, unit: Unit, origin: Option<Unit>) {
        let before = self.origins.insert(unit, origin);
        assert!(before.is_none(), "a unit is typed once");
    }

    /// An update with all units of `contents` that `seen` lacks, and all its deletions.
    pub(crate) fn encode(&self, contents: &Contents, seen: &BTreeMap<u64, u32>) -> Vec<u8> {
        let from = |client: &u64| seen.get(client).copied().unwrap_or(0);
        let lacking: Vec<(u64, u32, u32)> = contents
            .clocks
            .iter()
            .rev()
            .map(|(client, &clock)| (*client, from(client), clock))
            .filter(|(_, from, clock)| from < clock)
            .collect();
        let mut update = Vec::new();
        var_uint(lacking.len() as u64, &mut update);
        for (client, from, to) in lacking {
            var_uint(u64::from(to - from), &mut update);
            var_uint(client, &mut update);
            var_uint(u64::from(from), &mut update);
            (from..to).for_each(|clock| self.encode_unit((client, clock), &mut update));
        }
        encode_deleted(&contents.deleted, &mut update);
        update
    }

    fn encode_unit(&self, unit: Unit, update: &mut Vec<u8>) {
        match self.origins[&unit] {
            Some((client, clock)) => {
                update.push(0x84);
                var_uint(client, update);
                var_uint(u64::from(clock), update);
            }
            None => update.extend([0x04, 1, 4, b't', b'e', b'x', b't']),
        }
        update.extend([1, letter(unit)]);
    }
}

/// What a unit looks like.
fn letter((client, clock): Unit) -> u8 {
    b'a' + ((client + u64::from(clock)) % 26) as u8
}

fn encode_deleted(deleted: &BTreeSet<Unit>, update: &mut Vec<u8>) {
    let mut clients: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (client, clock) in deleted {
        clients.entry(*client).or_default().push(*clock);
    }
    var_uint(clients.len() as u64, update);
    for (client, clocks) in clients.iter().rev() {
        var_uint(*client, update);
        var_uint(clocks.len() as u64, update);
        for clock in clocks {
            var_uint(u64::from(*clock), update);
            var_uint(1, update);
        }
    }
}

impl Contents {
    /// Takes in what an update brings. `Err`: it does not follow on what is there, and says where.
    pub(crate) fn take(&mut self, brought: &Brought) -> Result<(), Unit> {
        let mut clocks = BTreeMap::new();
        for &(client, clock, length) in &brought.ranges {
            let known =
                clocks.entry(client).or_insert_with(|| self.clocks.get(&client).copied().unwrap_or(0));
            if clock > *known {
                return Err((client, *known));
            }
            *known = (*known).max(clock + length);
        }
        self.clocks.extend(clocks);
        self.deleted.extend(&brought.deleted);
        Ok(())
    }

    /// Takes in the ends of what an update brings, whatever lies before it.
    pub(crate) fn take_loosely(&mut self, brought: &Brought) {
        for &(client, clock, length) in &brought.ranges {
            let known = self.clocks.entry(client).or_default();
            *known = (*known).max(clock + length);
        }
        self.deleted.extend(&brought.deleted);
    }

    /// The first thing in `brought` that is not here.
    pub(crate) fn lacks(&self, brought: &Brought) -> Option<Unit> {
        let clock = |client: &u64| self.clocks.get(client).copied().unwrap_or(0);
        let unit = brought.ranges.iter().find(|(client, from, length)| from + length > clock(client));
        let unit = unit.map(|&(client, ..)| (client, clock(&client)));
        unit.or_else(|| brought.deleted.difference(&self.deleted).next().copied())
    }

    /// The first thing in `other` that is not here.
    pub(crate) fn lacks_of(&self, other: &Self) -> Option<Unit> {
        let clock = |client: &u64| self.clocks.get(client).copied().unwrap_or(0);
        let unit = other.clocks.iter().find(|(client, to)| **to > clock(client));
        let unit = unit.map(|(client, _)| (*client, clock(client)));
        unit.or_else(|| other.deleted.difference(&self.deleted).next().copied())
    }

    pub(crate) fn state_vector(&self) -> Vec<u8> {
        let mut vector = Vec::new();
        var_uint(self.clocks.len() as u64, &mut vector);
        for (&client, &clock) in self.clocks.iter().rev() {
            var_uint(client, &mut vector);
            var_uint(u64::from(clock), &mut vector);
        }
        vector
    }
}

impl Brought {
    pub(crate) fn of(update: &[u8]) -> Self {
        let mut brought = Self::default();
        scan::update(update, &mut brought).expect("an update that can be read");
        // A merge writes the clocks of one client in order.
        brought.ranges.sort_unstable();
        brought
    }
}

impl Visit<'_> for Brought {
    fn item(&mut self, item: &Struct<'_>) {
        // What somebody missed may have a hole where there is something that he has: a late record brought it, and a later
        // slot has part of it again. Yjs takes that. A hole in what he has is noticed when it is taken in.
        if item.kind != Kind::Skip {
            self.ranges.push((item.client.get(), item.clock.get(), item.length));
        }
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deleted.extend((0..length).map(|unit| (client.get(), clock.get() + unit)));
    }
}

/// Reads a state vector.
pub(crate) fn clocks_of(state_vector: &[u8]) -> BTreeMap<u64, u32> {
    let entries = scan::state_vector(state_vector).expect("a state vector that can be read");
    entries.map(|(client, clock)| (client.get(), clock.get())).collect()
}
