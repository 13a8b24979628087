//! What an update says of each unit, however its structs are divided.

use std::collections::BTreeMap;

use ringleaf_document::StructStore;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::cut::Units;
use ringleaf_wire::scan::{self, Content, Id, Struct, Visit};

/// One unit, as receivers see it.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    left: Option<Id>,
    right: Option<Id>,
    parent: Option<Id>,
    content: Content,
    bytes: Vec<u8>,
}

/// All units that have content.
#[derive(Debug, Default)]
pub(crate) struct AllUnits(BTreeMap<Id, Unit>);

impl AllUnits {
    pub(crate) fn of(update: &[u8]) -> Self {
        let mut units = Self::default();
        scan::update(update, &mut units).unwrap();
        units
    }

    /// Each unit is what it was written as, or deleted.
    pub(crate) fn all_are_in(&self, truth: &Self) {
        for (id, unit) in &self.0 {
            assert_eq!(Some(unit), truth.0.get(id), "{id:?}");
        }
    }
}

impl<'a> Visit<'a> for AllUnits {
    fn item(&mut self, item: &Struct<'a>) {
        if item.content == Content::None || item.content == Content::Deleted {
            return;
        }
        let mut units = Units::new(item);
        for unit in 0..item.length {
            let clock = item.clock.get() + unit;
            let before = (item.client, Clock::new(clock.saturating_sub(1)));
            let mut bytes = Vec::new();
            units.take(1).write(&mut bytes);
            if !ringleaf_wire::cut::joins(item.content) {
                bytes.extend_from_slice(item.content_bytes);
            }
            let is_first = unit == 0;
            self.0.insert(
                (item.client, Clock::new(clock)),
                Unit {
                    left: if is_first { item.left } else { Some(before) },
                    right: item.right,
                    parent: item.parent.filter(|_| is_first),
                    content: item.content,
                    bytes,
                },
            );
        }
    }

    fn deleted(&mut self, _: ClientId, _: Clock, _: u32) {}
}

/// Looks at whether everything is there that structs refer to.
pub(crate) struct Complete<'s>(pub(crate) &'s StructStore);

impl<'a> Visit<'a> for Complete<'_> {
    fn item(&mut self, item: &Struct<'a>) {
        for (client, clock) in item.references() {
            assert!(clock < self.0.clock_of(client), "{client:?} {clock:?} is not there");
        }
        assert_eq!(item.harm, None);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, units: u32) {
        assert!(clock.get() + units <= self.0.clock_of(client).get());
    }
}
