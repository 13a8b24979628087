//! The trait, and what its operations say.

use std::time::SystemTime;

use async_trait::async_trait;
use ringleaf_types::{DocumentId, Record, Remainder, Slot, Snapshot, Writer};

use crate::StoreError;

/// Everything of one document that a load needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The newest snapshot whose checksum holds.
    pub snapshot: Option<Snapshot>,
    /// All slots after it, in order and without a gap.
    pub slots: Vec<(Slot, Record)>,
}

/// What became of creating a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The record is durable in its slot.
    Created,
    /// The slot holds this record. It may be the caller's own, from a try whose reply was lost: compare the writer.
    Taken(Record),
    /// The slot lies at or below the newest snapshot. It was taken once, though its row is gone.
    Covered,
    /// The slot before it is neither there nor covered by a snapshot: the store has lost what was durable. Nothing was
    /// created. Only stores that can lose their end look, such as a database that fails over to a replica behind it.
    Gap,
}

impl Created {
    /// Whether the slot holds this writer's record: created now, or by an earlier try whose reply was lost.
    pub fn by(&self, writer: &Writer) -> bool {
        match self {
            Self::Created => true,
            Self::Taken(record) => record.writer == *writer,
            Self::Covered | Self::Gap => false,
        }
    }
}

/// The end of a document's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The newest slot that exists, or the newest snapshot's `upto` if that is higher. Zero: there is nothing.
    pub last: Slot,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub document: DocumentId,
    pub last: Slot,
    /// Slots after the newest snapshot.
    pub tail_slots: u64,
    /// Bytes of all rows.
    pub bytes: u64,
    pub created_at: SystemTime,
    pub changed_at: SystemTime,
    pub deleted: bool,
    pub quarantined: bool,
}

/// The loads of a document that began and did not end, and why the last one failed, if it said so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    pub attempts: u32,
    pub reason: Option<String>,
}

/// A document that stays closed until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub document: DocumentId,
    pub reason: String,
    pub since: SystemTime,
}

/// The slot log of many documents.
///
/// Every operation that changes something answers when the change is durable. All are safe to repeat.
///
/// # Cancel safety
///
/// Dropping a future leaves it open whether the operation is carried out; repeating it finds out.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads a document for a load. A document that was never written is empty, not an error.
    ///
    /// A gap between the snapshot and the slots, or between slots, is [`StoreError::Gap`]; a slot whose bytes do not
    /// match their checksum is [`StoreError::Corrupt`]. A snapshot that is corrupt is passed over if an older one and
    /// the slots after it are all there.
    async fn read(&self, document: &DocumentId) -> Result<Stored, StoreError>;

    /// Reads the slots after `after`, as many as there are without a gap.
    ///
    /// When the next one is gone (trimmed, or covered by a snapshot) though the log goes on, that is
    /// [`StoreError::Gap`]: whoever asks must [`read`](Self::read) instead, not think that nothing is new.
    async fn read_after(&self, document: &DocumentId, after: Slot)
    -> Result<Vec<(Slot, Record)>, StoreError>;

    /// Creates a slot if it is absent and above the newest snapshot.
    async fn create_slot(
        &self,
        document: &DocumentId,
        slot: Slot,
        record: Record,
    ) -> Result<Created, StoreError>;

    /// Creates a snapshot if there is none with this `upto` or a higher one. `false`: there was.
    async fn create_snapshot(&self, document: &DocumentId, snapshot: Snapshot) -> Result<bool, StoreError>;

    /// Deletes what nobody needs: slots that the *previous* snapshot covers and that are older than the retention,
    /// and all snapshots but the newest two. Says how many rows went. Remainders stay.
    async fn trim(&self, document: &DocumentId) -> Result<u64, StoreError>;

    /// Keeps the part of a message whose ground is missing, beside the document and not in its log. One that is there under
    /// the same id stays as it is. How much of one document is kept, and for how long, is the caller's affair.
    async fn keep_remainder(&self, document: &DocumentId, remainder: Remainder) -> Result<(), StoreError>;

    /// Removes remainders. Those that are not there are passed over.
    ///
    /// One that is being kept at the same time may be there afterwards.
    async fn drop_remainders(&self, document: &DocumentId, ids: &[u64]) -> Result<(), StoreError>;

    /// The remainders of a document, by their age, then by id. One whose bytes do not match their checksum is left out:
    /// nobody was ever told of it.
    async fn remainders(&self, document: &DocumentId) -> Result<Vec<Remainder>, StoreError>;

    /// Documents that have remainders, in order of name, after `after`, at most `limit`. They need not be in a listing:
    /// a document that has nothing else was never written.
    async fn with_remainders(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError>;

    /// Removes everything of a document and leaves the tombstone, whose `upto` must lie above every slot: slot numbers
    /// never start again. What the tombstone holds (an empty state, deleted or not) is the caller's affair; remainders and
    /// load attempts go, a quarantine stays. `false`: there was never anything, not even a remainder, or there is a slot
    /// or snapshot at or above `upto`.
    async fn purge(&self, document: &DocumentId, tombstone: Snapshot) -> Result<bool, StoreError>;

    /// The ends of many logs, in one query. Documents that were never written are left out. With no documents it says
    /// whether the store answers.
    async fn tails(&self, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Tail)>, StoreError>;

    /// Documents whose names begin with `prefix`, in order of name, after `after`, at most `limit`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError>;

    /// Notes that bytes of this document are about to be decoded, and answers how many such notes there are now,
    /// this one included. A process that dies of the bytes leaves its note behind.
    async fn mark_attempt(&self, document: &DocumentId) -> Result<Mark, StoreError>;

    /// The decoding ended well (`None`: the notes are removed) or not (the reason is kept with them).
    async fn mark_outcome(&self, document: &DocumentId, failed: Option<String>) -> Result<(), StoreError>;

    /// The documents that have such notes, and how many.
    async fn noted(&self) -> Result<Vec<(DocumentId, u32)>, StoreError>;

    /// Closes a document until a person releases it.
    async fn quarantine(&self, document: &DocumentId, reason: String) -> Result<(), StoreError>;

    /// Releases it, notes included. `false`: it was not in quarantine.
    async fn release(&self, document: &DocumentId) -> Result<bool, StoreError>;

    /// All documents in quarantine.
    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError>;

    /// What a person must put right though the store answers. Nothing is asked: it tells what was found lately.
    fn alarm(&self) -> Option<String> {
        None
    }

    /// Waits until everything handed over before is decided, then stops taking more.
    async fn close(&self);
}
