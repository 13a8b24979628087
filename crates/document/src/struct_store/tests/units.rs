//! What an update says about each unit: the same for all ways to cut and join its structs.

use std::collections::{BTreeMap, BTreeSet};

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::lib0::Reader;
use ringleaf_wire::scan::{self, Content, Kind, Struct, Visit};

use super::write::Unit as At;

/// One unit, as receivers understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) content: Content,
    pub(super) left: Option<At>,
    pub(super) right: Option<At>,
    pub(super) parent: Option<At>,
    /// Its parent and its key, encoded, if it has neither left nor right.
    place: Vec<u8>,
    /// Of text, the code unit; each half of a character beyond the basic plane counts as U+FFFD.
    value: Vec<u8>,
}

/// Everything that an update says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Units {
    pub(super) units: BTreeMap<At, Unit>,
    pub(super) deleted: BTreeSet<At>,
    /// Structs, as they stand in it.
    pub(super) structs: usize,
}

pub(super) fn units(update: &[u8]) -> Units {
    let mut units = Units::default();
    scan::update(update, &mut units).unwrap();
    units
}

impl<'a> Visit<'a> for Units {
    fn item(&mut self, item: &Struct<'a>) {
        self.structs += 1;
        if item.kind == Kind::Skip {
            return;
        }
        let id = |(client, clock): scan::Id| (client.get(), clock.get());
        let client = item.client.get();
        for (at, value) in (item.clock.get()..).zip(values(item)) {
            let first = at == item.clock.get();
            let alone = item.kind == Kind::Item && item.left.is_none() && item.right.is_none();
            let head = &item.bytes[..item.bytes.len() - item.content_bytes.len()];
            let unit = Unit {
                content: item.content,
                left: if first || item.kind == Kind::Gc { item.left.map(id) } else { Some((client, at - 1)) },
                right: item.right.map(id),
                parent: item.parent.map(id).filter(|_| first),
                place: if first && alone { head[1..].to_vec() } else { Vec::new() },
                value,
            };
            assert!(self.units.insert((client, at), unit).is_none(), "a unit twice");
            if item.is_deleted() {
                self.deleted.insert((client, at));
            }
        }
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deleted.extend((clock.get()..clock.get() + length).map(|clock| (client.get(), clock)));
    }
}

/// What each unit of a struct holds.
fn values(item: &Struct<'_>) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(item.content_bytes);
    let length = item.length as usize;
    match item.content {
        Content::String => {
            let half = |unit: u16| if (0xd800..0xe000).contains(&unit) { 0xfffd } else { unit };
            let text = reader.var_string().unwrap();
            text.encode_utf16().map(|unit| half(unit).to_be_bytes().to_vec()).collect()
        }
        Content::Any | Content::Json => {
            reader.var_uint().unwrap();
            let mut values = Vec::new();
            for _ in 0..length {
                let from = reader.position();
                if item.content == Content::Any {
                    reader.skip_any().unwrap();
                } else {
                    reader.var_bytes().unwrap();
                }
                values.push(reader.between(from..reader.position()).to_vec());
            }
            values
        }
        Content::None | Content::Deleted => vec![Vec::new(); length],
        Content::Binary | Content::Embed | Content::Format | Content::Type | Content::Subdocument => {
            vec![item.content_bytes.to_vec()]
        }
    }
}

impl Units {
    /// Everything that a unit refers to is there, and of each client the units from zero on (the invariant of a store).
    pub(super) fn assert_complete(&self) {
        for (&(client, clock), unit) in &self.units {
            let before = clock.checked_sub(1).map(|clock| (client, clock));
            for at in [unit.left, unit.right, unit.parent, before].into_iter().flatten() {
                assert!(self.units.contains_key(&at), "{:?} lacks {at:?}", (client, clock));
            }
        }
        for at in &self.deleted {
            assert!(self.units.contains_key(at), "{at:?} is deleted, and not there");
        }
    }

    /// What a compaction must make of it: said again here, unit by unit.
    pub(super) fn compacted(&self) -> Self {
        let mut compacted = self.clone();
        let mut dead = BTreeMap::new();
        for &at in self.units.keys() {
            if self.is_dead(at, &mut dead) {
                compacted.deleted.insert(at);
                let nothing = Unit {
                    content: Content::None,
                    left: None,
                    right: None,
                    parent: None,
                    place: vec![],
                    value: vec![],
                };
                compacted.units.insert(at, nothing);
            } else if self.deleted.contains(&at)
                && let Some(unit) = compacted.units.get_mut(&at)
            {
                (unit.content, unit.value) = (Content::Deleted, Vec::new());
            }
        }
        compacted
    }

    /// Nobody sees it: it is a tombstone, stands beside one, or lies in something that is deleted or no shared type.
    fn is_dead(&self, at: At, known: &mut BTreeMap<At, bool>) -> bool {
        if let Some(dead) = known.get(&at) {
            return *dead;
        }
        let unit = &self.units[&at];
        let in_none = unit.parent.is_some_and(|parent| {
            self.deleted.contains(&parent) || self.units[&parent].content != Content::Type
        });
        let mut refers = [unit.left, unit.right, unit.parent].into_iter().flatten();
        let dead = unit.content == Content::None || in_none || refers.any(|other| self.is_dead(other, known));
        known.insert(at, dead);
        dead
    }

    /// The same but for how it is cut and joined.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.units, &self.deleted) == (&other.units, &other.deleted)
    }
}
