//! Making a snapshot (R6): from slots read back from the store, made compact, loaded again and compared.

use bytes::Bytes;
use ringleaf_types::{Body, DocumentId, Epoch, Record, Slot, Snapshot};
use ringleaf_wire::Refusal;

use crate::struct_store::{Gc, StructStore};

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
    /// The bytes cannot be read.
    #[error("document {document} cannot be read")]
    Unreadable {
        /// Which one.
        document: DocumentId,
        /// What is wrong with them.
        source: Refusal,
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
    gc: Gc,
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
    let state = encode(&updates, gc)
        .map_err(|source| CompactError::Unreadable { document: document.clone(), source })?
        .map_err(|what| CompactError::Differs { document: document.clone(), what })?;
    Ok(Snapshot { upto, epoch, deleted, state })
}

/// Everything that a store holds of a document, as one update, as it stands there.
///
/// # Errors
///
/// Bytes that are no update.
pub fn join(snapshot: Option<&Snapshot>, slots: &[(Slot, Record)]) -> Result<Bytes, Refusal> {
    let mut updates: Vec<&Bytes> = snapshot.iter().map(|snapshot| &snapshot.state).collect();
    for (_, record) in slots {
        if let Body::Updates(more) = &record.body {
            updates.extend(more);
        }
    }
    let mut structs = replay(updates.into_iter())?;
    structs.fold();
    Ok(structs.encode().concat())
}

/// Takes in a whole state, and updates after it.
fn replay<'a>(mut updates: impl Iterator<Item = &'a Bytes>) -> Result<StructStore, Refusal> {
    let mut structs =
        updates.next().map_or_else(|| Ok(StructStore::new()), |state| StructStore::load(state.clone()))?;
    for update in updates {
        structs.admit_stored(update)?;
    }
    Ok(structs)
}

/// Makes everything compact, loads what comes of it, and compares. The inner error says what is not the same.
fn encode(updates: &[Bytes], gc: Gc) -> Result<Result<Bytes, &'static str>, Refusal> {
    let mut structs = replay(updates.iter())?;
    structs.compact(gc);
    let state = structs.encode().concat();
    let again = StructStore::load(state.clone())?;
    if again.state_vector() != structs.state_vector() {
        return Ok(Err("the state vector"));
    }
    if again.delete_set() != structs.delete_set() {
        return Ok(Err("the deleted ranges"));
    }
    if again.encode().concat() != state {
        return Ok(Err("the encoded state"));
    }
    for update in updates {
        if !again.holds(update)? {
            return Ok(Err("something is missing"));
        }
    }
    Ok(Ok(state))
}

#[cfg(test)]
mod tests {
    use ringleaf_types::{Incarnation, Writer};
    use yrs::{Doc, Text, Transact, WriteTxn};

    use super::*;

    fn compact(
        document: &DocumentId,
        snapshot: Option<Snapshot>,
        slots: Vec<(Slot, Record)>,
    ) -> Result<Snapshot, CompactError> {
        super::compact(document, snapshot, slots, Gc::Collect)
    }

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

    fn structs(state: &Bytes) -> StructStore {
        StructStore::load(state.clone()).unwrap()
    }

    #[test]
    fn a_snapshot_holds_what_its_slots_held() {
        let updates = typed("abc-d-e");
        let snapshot = compact(&name(), None, slots(1, &updates)).unwrap();
        assert_eq!((snapshot.upto, snapshot.epoch, snapshot.deleted), (Slot::new(7), Epoch::new(7), false));
        assert_eq!(ringleaf_reader::view::text(&snapshot.state).unwrap(), "abe");
        let mut all = StructStore::new();
        updates.iter().for_each(|update| drop(all.admit(update).unwrap()));
        assert_eq!(structs(&snapshot.state).state_vector(), all.state_vector());
        assert_eq!(structs(&snapshot.state).delete_set(), all.delete_set());
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

    #[test]
    fn a_hole_in_the_updates_makes_no_snapshot() {
        let updates = typed("abc");
        let holed = [updates[0].clone(), updates[2].clone()];
        let made = compact(&name(), None, slots(1, &holed));
        assert!(matches!(made, Err(CompactError::Differs { what: "something is missing", .. })));
    }

    #[test]
    fn deleted_content_goes_unless_it_is_to_be_kept() {
        let has_b = |state: &Bytes| state.contains(&b'b');
        let log = || slots(1, &typed("ab-c"));
        assert!(!has_b(&compact(&name(), None, log()).unwrap().state));
        let kept = super::compact(&name(), None, log(), Gc::Keep).unwrap();
        assert!(has_b(&kept.state));
        assert_eq!(ringleaf_reader::view::text(&kept.state).unwrap(), "ac");
    }

    #[test]
    fn what_a_store_holds_is_joined_as_it_stands() {
        let updates = typed("ab-c");
        let snapshot = super::compact(&name(), None, slots(1, &updates[..2]), Gc::Keep).unwrap();
        let joined = join(Some(&snapshot), &slots(3, &updates[2..])).unwrap();
        assert_eq!(ringleaf_reader::view::text(&joined).unwrap(), "ac");
        assert_eq!(join(None, &[]).unwrap(), [0, 0][..]);
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
        let merged = crate::merge(valued(&values).iter()).unwrap();
        assert_eq!(merged, whole);
        let rest = structs(&snapshot.state).diff(&[1, 1, 2]).unwrap().concat();
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
