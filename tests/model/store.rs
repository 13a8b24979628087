//! The store of one document: slots and snapshots, created once.

use crate::rules::{Flaw, Rules};

/// A set of updates, one bit each.
pub(crate) type Updates = u8;

/// The number of slots that a state has room for; the bounds may use fewer.
pub(crate) const SLOTS_MAX: usize = 8;

/// What one slot holds. Who wrote it is its claim: a node that claims twice is two writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Record {
    pub epoch: u8,
    pub claim: u8,
    pub fence: bool,
    pub body: Updates,
}

/// A snapshot; as what a reader has put together it is also the result of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Snapshot {
    /// The last slot that it covers; 0 for an empty document.
    pub upto: u8,
    pub seen: Updates,
    /// The highest epoch in what it covers.
    pub epoch: u8,
}

impl Snapshot {
    pub(crate) fn merge(&mut self, record: Record) {
        self.seen |= record.body;
        self.epoch = self.epoch.max(record.epoch);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    rows: [Option<Record>; SLOTS_MAX],
    /// What each slot held first, deleted or not. Only the facts look at it.
    first: [Option<Record>; SLOTS_MAX],
    /// In the order of what they cover (with a flaw: in the order in which they were written).
    snapshots: [Option<Snapshot>; 2],
}

impl Store {
    pub(crate) fn row(&self, slot: u8) -> Option<Record> {
        self.rows[usize::from(slot) - 1]
    }

    pub(crate) fn first(&self, slot: u8) -> Option<Record> {
        self.first[usize::from(slot) - 1]
    }

    pub(crate) fn newest(&self) -> Snapshot {
        self.snapshots.iter().flatten().last().copied().unwrap_or_default()
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        self.snapshots.iter().flatten().copied()
    }

    /// How far slots may be deleted: up to what the previous snapshot covers.
    pub(crate) fn trim_through(&self) -> Option<u8> {
        self.snapshots[1].and(self.snapshots[0]).map(|previous| previous.upto)
    }

    /// Whether slot `slot` cannot be created: it is there, or deleted.
    pub(crate) fn taken(&self, slot: u8, rules: &Rules) -> bool {
        self.row(slot).is_some() || (slot <= self.newest().upto && !rules.have(Flaw::DeletedSlotCreated))
    }

    /// The slot after the last one that is there or covered.
    pub(crate) fn end(&self) -> u8 {
        let last = (1..=SLOTS_MAX as u8).rev().find(|slot| self.row(*slot).is_some());
        last.unwrap_or(0).max(self.newest().upto) + 1
    }

    /// What a reader that holds `base` has after listing the slots above it, or `None` if some are missing between them.
    pub(crate) fn list(&self, base: Snapshot, rules: &Rules) -> Option<Snapshot> {
        let mut loaded = base;
        for slot in base.upto + 1..=SLOTS_MAX as u8 {
            let Some(record) = self.row(slot) else { continue };
            if slot != loaded.upto + 1 && !rules.have(Flaw::NoGapCheck) {
                return None;
            }
            loaded.merge(record);
            loaded.upto = slot;
        }
        Some(loaded)
    }

    pub(crate) fn create(&mut self, slot: u8, record: Record) {
        let index = usize::from(slot) - 1;
        assert!(self.rows[index].is_none(), "the store never overwrites a slot");
        self.rows[index] = Some(record);
        self.first[index].get_or_insert(record);
    }

    pub(crate) fn create_snapshot(&mut self, snapshot: Snapshot, rules: &Rules) {
        if rules.have(Flaw::SnapshotOverwritten) {
            let newest = self.snapshots().last().filter(|newest| *newest != snapshot);
            self.snapshots = newest.map_or([Some(snapshot), None], |newest| [Some(newest), Some(snapshot)]);
        } else if !self.snapshots().any(|present| present.upto == snapshot.upto) {
            let mut all: Vec<Snapshot> = self.snapshots().chain([snapshot]).collect();
            all.sort_unstable();
            self.snapshots = [all.first().copied(), all.get(1).copied()];
        }
    }

    pub(crate) fn delete(&mut self, through: u8, rules: &Rules) {
        let end = if rules.have(Flaw::AllRowsDeleted) { SLOTS_MAX } else { usize::from(through) };
        self.rows[..end].fill(None);
    }
}
