//! What must always hold of one document, and what one needs to know to tell.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_document::AppendOutcome;
use ringleaf_store::{Created, Stored};
use ringleaf_types::{Body, Epoch, Record, Slot, Snapshot};

use crate::contents::{Brought, Contents, Unit, Written, clocks_of};

#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) written: Written,
    /// Everything that any slot ever held.
    pub(crate) durable: Contents,
    /// Everything that an editor was told is safe.
    pub(crate) acknowledged: Contents,
    /// All slots that were ever created. The store may have trimmed them.
    slots: BTreeMap<Slot, Kept>,
    last: Slot,
    /// The last word on it (R10).
    pub(crate) deleted: bool,
    /// It was so at some time. An owner that was cut off may hear of that late.
    pub(crate) deleted_once: bool,
}

struct Kept {
    record: Record,
    contents: Contents,
}

impl Facts {
    /// A slot was created. The store itself says so (I2: once).
    pub(crate) fn created(&mut self, slot: Slot, record: &Record) {
        assert_eq!(slot, self.last.next(), "a slot was created behind a gap (R2)");
        let mut contents = Contents::default();
        self.deleted = match &record.body {
            Body::Updates(_) => self.deleted,
            Body::Deletion => true,
            Body::Undeletion => false,
        };
        self.deleted_once |= self.deleted;
        if let Body::Updates(updates) = &record.body {
            for update in updates {
                let brought = Brought::of(update);
                self.durable
                    .take(&brought)
                    .unwrap_or_else(|unit| panic!("slot {slot} has a hole before {unit:?}"));
                contents.take_loosely(&brought);
            }
        }
        let before = self.slots.insert(slot, Kept { record: record.clone(), contents });
        assert!(before.is_none(), "slot {slot} was written twice (I2)");
        self.last = slot;
    }

    /// A writer learns what became of its append. Whether the record is its own.
    pub(crate) fn decided(&self, slot: Slot, record: &Record, outcome: &AppendOutcome) -> bool {
        let ours = match outcome {
            AppendOutcome::Created => true,
            AppendOutcome::Taken(found) => found.writer == record.writer,
            AppendOutcome::Covered | AppendOutcome::Gap => false,
        };
        if !ours {
            return false;
        }
        let kept = self.slots.get(&slot).expect("what the store says it holds");
        assert!(kept.record == *record, "slot {slot} holds something else than its writer believes (I2)");
        let above = self.slots.range(..slot).find(|(_, kept)| kept.record.epoch > record.epoch);
        assert!(above.is_none(), "slot {slot} of epoch {} lies above a fence (I2)", record.epoch);
        true
    }

    /// A node claims, or goes on writing, knowing the log through the slot before this one.
    pub(crate) fn appends(&self, slot: Slot, record: &Record, claims: bool) {
        assert!(slot.previous() <= self.last, "slot {slot} leaves a gap");
        let (epoch, known) = (record.epoch, self.epoch_through(slot.previous()));
        assert!(epoch >= known, "epoch {epoch} after epoch {known} was seen (I17)");
        assert!(epoch > known || !claims, "a claim with epoch {epoch}, which somebody has had (I2)");
    }

    /// I4: what leaves a node is durable at that instant.
    pub(crate) fn leaves(&self, update: &[u8], what: &str) {
        let brought = Brought::of(update);
        if let Some(unit) = self.durable.lacks(&brought) {
            panic!("{what} left before it was durable: {unit:?} (I4)");
        }
    }

    /// I4, for a state vector; and I3: it holds all slots that the node has merged.
    pub(crate) fn asks(&self, state_vector: &[u8]) {
        for (client, clock) in clocks_of(state_vector) {
            let durable = self.durable.clocks.get(&client).copied().unwrap_or(0);
            assert!(
                clock <= durable,
                "a state vector left with {clock} of {client}, durable are {durable} (I4)"
            );
        }
    }

    /// I1: an editor is told that this is safe.
    pub(crate) fn acknowledges(&mut self, update: &[u8]) {
        let brought = Brought::of(update);
        if let Some(unit) = self.durable.lacks(&brought) {
            panic!("acknowledged before it was durable: {unit:?} (I1)");
        }
        self.acknowledged.take_loosely(&brought);
    }

    /// What is said to hold the slots after `from` through `through` does.
    pub(crate) fn holds_slots<'a>(
        &self,
        updates: impl IntoIterator<Item = &'a Bytes>,
        from: Slot,
        through: Slot,
        what: &str,
    ) {
        let mut contents = Contents::default();
        updates.into_iter().for_each(|update| contents.take_loosely(&Brought::of(update)));
        for (slot, kept) in self.slots.range(from.next()..through.next().max(from.next())) {
            if let Some(unit) = contents.lacks_of(&kept.contents) {
                panic!("{what} through {through} lacks {unit:?} of slot {slot} (I5)");
            }
        }
    }

    /// The same of what an editor has together with an answer to it. It may have asked more than once.
    pub(crate) fn completes(&self, asked: &[BTreeMap<u64, u32>], update: &[u8], through: Slot) {
        let brought = Brought::of(update);
        let lacks = |had: &BTreeMap<u64, u32>| {
            let mut contents = Contents { clocks: had.clone(), ..Contents::default() };
            contents.take_loosely(&brought);
            let slots = self.slots.range(..through.next());
            slots.into_iter().find_map(|(_, kept)| contents.lacks_of(&kept.contents))
        };
        let lacking: Option<Vec<Unit>> = asked.iter().map(lacks).collect();
        if let Some(units) = lacking {
            panic!("an answer through {through} lacks {units:?} (I3, I5)");
        }
    }

    /// I1, I11: what a node has loaded is all that was ever acknowledged.
    pub(crate) fn loaded(&self, stored: &Stored) {
        let contents = contents(stored);
        if let Some(unit) = contents.lacks_of(&self.acknowledged) {
            panic!("a load lacks {unit:?}, which was acknowledged (I1)");
        }
    }

    pub(crate) fn snapshot(&self, snapshot: &Snapshot) {
        let brought = Brought::of(&snapshot.state);
        if let Some(unit) = self.durable.lacks(&brought) {
            panic!("a snapshot holds {unit:?}, which is not durable (R6)");
        }
        self.holds_slots([&snapshot.state], Slot::ZERO, snapshot.upto, "a snapshot");
    }

    pub(crate) fn last(&self) -> Slot {
        self.last
    }

    /// The highest epoch in the slots through this one.
    pub(crate) fn epoch_through(&self, slot: Slot) -> Epoch {
        self.slots.range(..=slot).map(|(_, kept)| kept.record.epoch).max().unwrap_or(Epoch::ZERO)
    }
}

/// What a cold load finds.
pub(crate) fn contents(stored: &Stored) -> Contents {
    let mut contents = Contents::default();
    if let Some(snapshot) = &stored.snapshot {
        contents.take(&Brought::of(&snapshot.state)).expect("a snapshot has no hole");
    }
    for (slot, record) in &stored.slots {
        let Body::Updates(updates) = &record.body else { continue };
        for update in updates {
            if let Err(unit) = contents.take(&Brought::of(update)) {
                panic!("a load finds a hole before {unit:?} in slot {slot}");
            }
        }
    }
    contents
}

/// What the store answers, in the words of a document.
pub(crate) fn outcome(created: Created) -> AppendOutcome {
    match created {
        Created::Created => AppendOutcome::Created,
        Created::Taken(record) => AppendOutcome::Taken(record),
        Created::Covered => AppendOutcome::Covered,
        Created::Gap => AppendOutcome::Gap,
    }
}
