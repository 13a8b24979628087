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

#[cfg(test)]
mod tests {
    use ringleaf_types::{Incarnation, Writer};
    use yrs::updates::encoder::Encode;
    use yrs::{Doc, Text, WriteTxn};

    use super::*;

    fn name() -> DocumentId {
        "notes".parse().unwrap()
    }

    /// Client 1 types the letters one by one; `-` deletes the last.
    fn typed(letters: &str) -> Vec<Bytes> {
        let doc = Doc::with_client_id(1);
        let updates = letters.chars().map(|letter| {
            let mut transaction = doc.transact_mut();
            let text = transaction.get_or_insert_text("t");
            let length = text.len(&transaction);
            match letter {
                '-' => text.remove_range(&mut transaction, length - 1, 1),
                letter => text.push(&mut transaction, &letter.to_string()),
            }
            transaction.encode_update_v1().into()
        });
        updates.collect()
    }

    fn slot(number: u64, epoch: u64, body: Body) -> (Slot, Record) {
        let writer = Writer { node: "a".parse().unwrap(), incarnation: Incarnation::new(1), nonce: number };
        (Slot::new(number), Record { epoch: Epoch::new(epoch), writer, body })
    }

    fn slots(first: u64, updates: &[Bytes]) -> Vec<(Slot, Record)> {
        (first..).zip(updates).map(|(n, update)| slot(n, n, Body::Updates(vec![update.clone()]))).collect()
    }

    fn seen(state: &[u8]) -> Seen {
        let mut seen = Seen::new();
        seen.take_in(state).unwrap();
        seen
    }

    #[test]
    fn a_snapshot_holds_what_its_slots_held() {
        let updates = typed("abc-d-e");
        let snapshot = compact(&name(), None, slots(1, &updates)).unwrap();
        assert_eq!((snapshot.upto, snapshot.epoch, snapshot.deleted), (Slot::new(7), Epoch::new(7), false));
        assert_eq!(ringleaf_reader::view::text(&snapshot.state).unwrap(), "abe");
        let mut all = Seen::new();
        updates.iter().for_each(|update| all.take_in(update).unwrap());
        assert_eq!(seen(&snapshot.state).state_vector(), all.state_vector());
        assert_eq!(seen(&snapshot.state).delete_set(), all.delete_set());
    }

    /// I10: it does not matter where the earlier snapshots were made.
    #[test]
    fn snapshots_of_snapshots_are_the_same() {
        let updates = typed("abc-d-efg--h");
        let whole = compact(&name(), None, slots(1, &updates)).unwrap();
        for cut in 1..updates.len() {
            let first = compact(&name(), None, slots(1, &updates[..cut])).unwrap();
            let rest = slots(cut as u64 + 1, &updates[cut..]);
            assert_eq!(
                compact(&name(), Some(first.clone()), rest).unwrap().state,
                whole.state,
                "cut at {cut}"
            );
            // Slots that the snapshot covers may still be there.
            assert_eq!(compact(&name(), Some(first), slots(1, &updates)).unwrap().state, whole.state);
        }
    }

    #[test]
    fn a_gap_in_the_log_makes_no_snapshot() {
        let mut slots = slots(1, &typed("abc"));
        slots.remove(1);
        let after = Slot::new(1);
        assert!(
            matches!(compact(&name(), None, slots), Err(CompactError::Gap { after: a, .. }) if a == after)
        );
    }

    /// `encode_diff_v1` would leave out what is pending, and the slots would be deleted.
    #[test]
    fn a_hole_in_the_updates_makes_no_snapshot() {
        let updates = typed("abc");
        let holed = [updates[0].clone(), updates[2].clone()];
        assert!(compact(&name(), None, slots(1, &holed)).is_err());
        assert!(holds_everything(&updates[0], &holed).is_err());
        assert!(holds_everything(&updates[0], &holed[..1]).is_ok());
    }

    #[test]
    fn a_deletion_is_kept_and_its_content_too() {
        let updates = typed("ab");
        let mut log = slots(1, &updates);
        log.push(slot(3, 3, Body::Deletion));
        let deleted = compact(&name(), None, log).unwrap();
        assert!(deleted.deleted);
        let undeleted = compact(&name(), Some(deleted), vec![slot(4, 3, Body::Undeletion)]).unwrap();
        assert!(!undeleted.deleted);
        assert_eq!(undeleted.epoch, Epoch::new(3));
        assert_eq!(ringleaf_reader::view::text(&undeleted.state).unwrap(), "ab");
    }

    /// One item of client 1 at each clock, in the root array `t`.
    fn valued(values: &[&[u8]]) -> Vec<Bytes> {
        let item = |(clock, value): (usize, &&[u8])| {
            let place: &[u8] = if clock == 0 { &[8, 1, 1, b't'] } else { &[0x88, 1, clock as u8 - 1] };
            [&[1, 1, 1, clock as u8], place, &[1], value, &[0]].concat().into()
        };
        values.iter().enumerate().map(item).collect()
    }

    /// yrs has objects in hash maps, numbers as it likes, and writes both anew.
    #[test]
    fn values_stay_as_their_editors_wrote_them() {
        let object =
            [&[0x76, 8][..], b"\x01h\x78\x01g\x79\x01f\x7e\x01e\x7e\x01d\x7e\x01c\x7e\x01b\x7e\x01a\x76\x00"]
                .concat();
        let values: [&[u8]; 4] = [
            &object,
            &[0x7a, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x7d, 0x40],
            &[0x75, 1, 0x7d, 5],
        ];
        let snapshot = compact(&name(), None, slots(1, &valued(&values))).unwrap();
        let whole = [&[1, 1, 1, 0, 8, 1, 1, b't', 4][..], &values.concat(), &[0]].concat();
        assert_eq!(snapshot.state, whole, "one item with all values, as they were");
        let merged = crate::replica::merge(valued(&values).iter()).unwrap();
        assert_eq!(Replica::build([merged].iter()).unwrap().full().unwrap(), whole);
        let half = Replica::build(valued(&values[..2]).iter()).unwrap();
        let rest = Replica::build(valued(&values).iter()).unwrap();
        let rest = rest.difference(&half.state_vector().unwrap().encode_v1()).unwrap();
        assert_eq!(rest, [&[1, 1, 1, 2, 0x88, 1, 1, 2][..], values[2], values[3], &[0]].concat());
    }

    #[test]
    fn nothing_new_makes_no_snapshot() {
        assert!(matches!(compact(&name(), None, Vec::new()), Err(CompactError::Nothing { .. })));
        let snapshot = compact(&name(), None, slots(1, &typed("a"))).unwrap();
        let again = compact(&name(), Some(snapshot), slots(1, &typed("a")));
        assert!(matches!(again, Err(CompactError::Nothing { .. })));
    }

    #[test]
    fn many_edits_become_few_bytes() {
        let updates = typed(&"x".repeat(2_000));
        let snapshot = compact(&name(), None, slots(1, &updates)).unwrap();
        assert!(snapshot.state.len() < 2_100, "{} bytes", snapshot.state.len());
    }
}
