//! Whether a state comes through the CRDT library whole: a second opinion, from another implementation than the one that
//! stores and relays.

use yrs::{Doc, ReadTxn, StateVector, Transact};

use crate::crdt::{Unreadable, guarded, read};

/// Decodes the state, encodes it and decodes that: both must know the same changes and the same deletions. Answers its size
/// as the library encodes it.
pub(crate) fn verify(state: &[u8]) -> Result<usize, Unreadable> {
    guarded(|| {
        let read_once = read(state)?;
        let encoded = read_once.transact().encode_state_as_update_v1(&StateVector::default());
        let read_twice = read(&encoded)?;
        compare(&read_once, &read_twice)?;
        Ok(encoded.len())
    })
}

fn compare(once: &Doc, twice: &Doc) -> Result<(), Unreadable> {
    let (once, twice) = (once.transact().snapshot(), twice.transact().snapshot());
    if once.state_map != twice.state_map {
        return Err(Unreadable::Differs { what: "the state vector" });
    }
    if once.delete_set != twice.delete_set {
        return Err(Unreadable::Differs { what: "the deleted ranges" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use yrs::{Text, WriteTxn};

    use super::*;

    /// Client 1 types, and deletes some of it.
    fn typed(words: &str, deleted: u32) -> Doc {
        let doc = Doc::with_client_id(1);
        let mut transaction = doc.transact_mut();
        let text = transaction.get_or_insert_text("t");
        text.push(&mut transaction, words);
        text.remove_range(&mut transaction, 0, deleted);
        drop(transaction);
        doc
    }

    #[test]
    fn a_sound_state_has_a_size() {
        let state = typed("hello", 2).transact().encode_state_as_update_v1(&StateVector::default());
        assert_eq!(verify(&state), Ok(state.len()));
        assert_eq!(verify(&[0, 0]), Ok(2));
    }

    #[test]
    fn a_change_or_a_deletion_that_is_lost_on_the_way_is_found() {
        let differs = |what| Err(Unreadable::Differs { what });
        assert_eq!(compare(&typed("hello", 2), &typed("hello", 2)), Ok(()));
        assert_eq!(compare(&typed("hello", 2), &typed("hell", 2)), differs("the state vector"));
        assert_eq!(compare(&typed("hello", 2), &typed("hello", 1)), differs("the deleted ranges"));
    }

    #[test]
    fn rubbish_is_no_state() {
        assert!(matches!(verify(b"rubbish"), Err(Unreadable::Undecodable { .. })));
    }
}
