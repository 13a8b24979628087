//! Making a snapshot (R6): from slots read back from the store, replayed, encoded, decoded again and compared.

use bytes::Bytes;
use ringleaf_types::{Body, DocumentId, Epoch, Record, Slot, Snapshot};
use yrs::{ReadTxn, Transact};

use crate::replica::{Broken, Replica, guarded};
use crate::seen::Seen;

/// Why there is no snapshot. The slots are still there, and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// There is nothing after the newest snapshot.
    #[error("document {document} has no slots to compact")]
    Nothing {
        /// Which one.
        document: DocumentId,
    },
    /// A slot is missing.
    #[error("the log of document {document} has a gap after slot {after}")]
    Gap {
        /// Whose log.
        document: DocumentId,
        /// The last slot before the gap.
        after: Slot,
    },
    /// The CRDT does not take the bytes, or not as it should.
    #[error("document {document} cannot be replayed")]
    Broken {
        /// Which one.
        document: DocumentId,
        /// What happened.
        source: Broken,
    },
    /// What was encoded is not what was stored.
    #[error("the snapshot of document {document} differs from its slots: {what}")]
    Differs {
        /// Which one.
        document: DocumentId,
        /// In what.
        what: &'static str,
    },
}

/// Makes a snapshot of everything that was read.
///
/// # Errors
///
/// See [`CompactError`]. Nothing that does not decode to the same document is ever returned (I10).
pub fn compact(
    document: &DocumentId,
    snapshot: Option<Snapshot>,
    slots: Vec<(Slot, Record)>,
) -> Result<Snapshot, CompactError> {
    let mut upto = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
    let mut epoch = snapshot.as_ref().map_or(Epoch::ZERO, |snapshot| snapshot.epoch);
    let mut deleted = snapshot.as_ref().is_some_and(|snapshot| snapshot.deleted);
    let covered = upto;
    let mut updates: Vec<Bytes> = snapshot.into_iter().map(|snapshot| snapshot.state).collect();
    for (slot, record) in slots.into_iter().filter(|(slot, _)| *slot > covered) {
        if slot != upto.next() {
            return Err(CompactError::Gap { document: document.clone(), after: upto });
        }
        upto = slot;
        epoch = epoch.max(record.epoch);
        match record.body {
            Body::Updates(more) => updates.extend(more),
            Body::Deletion => deleted = true,
            Body::Undeletion => deleted = false,
        }
    }
    if upto == covered {
        return Err(CompactError::Nothing { document: document.clone() });
    }
    let state = encode(&updates)
        .map_err(|source| CompactError::Broken { document: document.clone(), source })?
        .map_err(|what| CompactError::Differs { document: document.clone(), what })?;
    Ok(Snapshot { upto, epoch, deleted, state })
}

/// Replays, encodes, decodes and compares. The inner error says what is not the same.
fn encode(updates: &[Bytes]) -> Result<Result<Bytes, &'static str>, Broken> {
    let replica = Replica::build(updates.iter())?;
    let state = replica.full()?;
    let again = Replica::build(std::iter::once(&state))?;
    if again.state_vector()? != replica.state_vector()? {
        return Ok(Err("the state vector"));
    }
    // Decoding joins what was replayed in pieces, so the bytes may become shorter once; then they must stay.
    let shorter = again.full()?;
    let fixed = shorter == state || Replica::build(std::iter::once(&shorter))?.full()? == shorter;
    if !fixed {
        return Ok(Err("the encoded state"));
    }
    if deletions(&again)? != deletions(&replica)? {
        return Ok(Err("the deleted ranges"));
    }
    Ok(holds_everything(&shorter, updates).map(|()| shorter))
}

fn deletions(replica: &Replica) -> Result<yrs::IdSet, Broken> {
    guarded("encode", || Ok(replica.doc().transact().snapshot().delete_set))
}

/// Checks without the CRDT that nothing of the updates is missing from the state.
fn holds_everything(state: &[u8], updates: &[Bytes]) -> Result<(), &'static str> {
    let mut seen = Seen::new();
    seen.take_in(state).map_err(|_| "it does not pass the scan")?;
    for update in updates {
        match seen.holds(update) {
            Ok(true) => {}
            Ok(false) => return Err("something is missing"),
            Err(_) => return Err("a stored update does not pass the scan"),
        }
    }
    Ok(())
}
