//! The writes that are under way. None is ever taken out: it may arrive late, and again.

use crate::store::{Record, Snapshot};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Write {
    Slot {
        /// Where to; `None` means wherever the log ends (only with a flaw).
        slot: Option<u8>,
        record: Record,
        /// Where this very write has created a row, so that its sender may hear of success.
        created: Option<u8>,
    },
    Snapshot(Snapshot),
    Trim {
        through: u8,
    },
}

/// In a fixed order, so that equal networks are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    writes: Vec<Write>,
}

impl Network {
    pub(crate) fn send(&mut self, write: Write) {
        if let Err(at) = self.writes.binary_search(&write) {
            self.writes.insert(at, write);
        }
    }

    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Notes that the write at `index` has created `slot`.
    pub(crate) fn note_created(&mut self, index: usize, slot: u8) {
        if let Write::Slot { created, .. } = &mut self.writes[index] {
            *created = Some(slot);
        }
        self.writes.sort_unstable();
    }

    /// The slot that the write of `claim` to `slot` has created, once it has.
    pub(crate) fn created(&self, claim: u8, slot: Option<u8>) -> Option<u8> {
        self.writes.iter().find_map(|write| match write {
            Write::Slot { slot: to, record, created } if record.claim == claim && *to == slot => *created,
            Write::Slot { .. } | Write::Snapshot(_) | Write::Trim { .. } => None,
        })
    }
}
