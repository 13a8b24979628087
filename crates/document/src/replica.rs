//! The CRDT, behind `catch_unwind`. Built when something must be computed, thrown away when it breaks or nobody writes.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use ringleaf_wire::stand_in;
use yrs::updates::decoder::Decode;
use yrs::{Doc, OffsetKind, Options, ReadTxn, StateVector, Transact, Update};

use crate::seen;

/// Bytes of updates per transaction when many are replayed (a larger update has one of its own). At its end yrs joins
/// structs that continue each other, which is quadratic in their number, in time and in memory.
const TRANSACTION_BYTES_MAX: usize = 4 << 10;

/// A yrs document. What it encodes holds every value as its editor wrote it.
pub(crate) struct Replica {
    doc: Doc,
    values: Values,
    #[cfg(test)]
    venom: bool,
}

/// How values are in a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// As they are: yrs has met none yet that it would not write as it read it.
    Plain,
    /// Stand-ins are among them ([`stand_in`]), to be replaced in whatever is encoded.
    StandIns,
}

/// The CRDT did not do what it should with bytes that passed the scan. The replica that said so must not be used again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It panicked.
    #[error("the replica panicked in {during}")]
    Panicked {
        /// What it was doing.
        during: &'static str,
    },
    /// It does not decode what it was given.
    #[error("an update does not decode: {why}")]
    Undecodable {
        /// What it said.
        why: String,
    },
    /// It keeps something pending, though nothing with a hole is admitted.
    #[error("an update is pending in the replica")]
    Pending,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self {
            doc: Doc::with_options(options()),
            values: Values::Plain,
            #[cfg(test)]
            venom: false,
        }
    }

    /// Replays updates, the first of which may be a whole state.
    pub(crate) fn build<'a>(updates: impl Iterator<Item = &'a Bytes> + Clone) -> Result<Self, Broken> {
        let mut replica = Self::new();
        replica.replay(updates.clone())?;
        if replica.settled() == Err(Broken::Pending) {
            // yrs sometimes keeps a block although all that it builds on is there. Once more frees it.
            replica.replay(updates)?;
        }
        replica.settled()?;
        Ok(replica)
    }

    fn replay<'a>(&mut self, updates: impl Iterator<Item = &'a Bytes>) -> Result<(), Broken> {
        let mut together = Vec::new();
        let mut bytes = 0;
        for update in updates {
            let pieces = seen::pieces(update).map_err(|why| Broken::Undecodable { why: why.to_string() })?;
            for piece in pieces {
                if bytes + piece.len() > TRANSACTION_BYTES_MAX {
                    self.transact(&mut together)?;
                    bytes = 0;
                }
                bytes += piece.len();
                together.push(piece);
            }
        }
        self.transact(&mut together)
    }

    /// Applies updates in one transaction.
    fn transact(&mut self, updates: &mut Vec<Bytes>) -> Result<(), Broken> {
        guarded("apply", || {
            let mut transaction = self.doc.transact_mut();
            for update in updates.drain(..) {
                #[cfg(test)]
                sabotage(&update, &mut self.venom);
                let update = decode_hidden(&update, &mut self.values)?;
                transaction.apply_update(update).map_err(undecodable)?;
            }
            Ok(())
        })
    }

    pub(crate) fn apply(&mut self, update: &[u8]) -> Result<(), Broken> {
        guarded("apply", || {
            #[cfg(test)]
            sabotage(update, &mut self.venom);
            let update = decode_hidden(update, &mut self.values)?;
            let mut transaction = self.doc.transact_mut();
            transaction.apply_update(update).map_err(undecodable)?;
            if transaction.has_missing_updates() { Err(Broken::Pending) } else { Ok(()) }
        })
    }

    fn settled(&self) -> Result<(), Broken> {
        guarded("check", || {
            if self.doc.transact().has_missing_updates() { Err(Broken::Pending) } else { Ok(()) }
        })
    }

    /// The whole state as one update.
    pub(crate) fn full(&self) -> Result<Bytes, Broken> {
        guarded("encode", || {
            #[cfg(test)]
            assert!(!self.venom, "sabotage");
            self.encode(&StateVector::default())
        })
    }

    /// What `state_vector` lacks, as one update. The state vector has passed the scan.
    pub(crate) fn difference(&self, state_vector: &[u8]) -> Result<Bytes, Broken> {
        guarded("encode", || {
            let seen = StateVector::decode_v1(state_vector)
                .map_err(|error| Broken::Undecodable { why: error.to_string() })?;
            self.encode(&seen)
        })
    }

    /// R6: never `encode_diff_v1`, which leaves out what is pending.
    fn encode(&self, seen: &StateVector) -> Result<Bytes, Broken> {
        shown(self.doc.transact().encode_state_as_update_v1(seen), self.values)
    }

    /// The state vector, as yrs has it.
    pub(crate) fn state_vector(&self) -> Result<StateVector, Broken> {
        guarded("encode", || Ok(self.doc.transact().state_vector()))
    }

    pub(crate) fn doc(&self) -> &Doc {
        &self.doc
    }
}

/// Merges updates into one. Quadratic in their number.
pub(crate) fn merge<'a>(updates: impl Iterator<Item = &'a Bytes>) -> Result<Bytes, Broken> {
    guarded("merge", || {
        let mut values = Values::Plain;
        let hidden: Vec<_> =
            updates.map(|update| hidden(update, &mut values)).collect::<Result<_, Broken>>()?;
        let merged =
            yrs::merge_updates_v1(hidden).map_err(|error| Broken::Undecodable { why: error.to_string() })?;
        shown(merged, values)
    })
}

/// No call into yrs is trusted not to panic. Overflows of the stack cannot be caught: the scan bounds the nesting, and
/// the shell's threads have deep stacks.
pub(crate) fn guarded<T>(
    during: &'static str,
    work: impl FnOnce() -> Result<T, Broken>,
) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Broken::Panicked { during }))
}

fn decode_hidden(update: &[u8], values: &mut Values) -> Result<Update, Broken> {
    decode(&hidden(update, values)?)
}

/// An update with stand-ins where they are needed.
fn hidden<'a>(update: &'a [u8], values: &mut Values) -> Result<Cow<'a, [u8]>, Broken> {
    let hidden = stand_in::hide(update).map_err(|why| Broken::Undecodable { why: why.to_string() })?;
    if hidden.is_some() {
        *values = Values::StandIns;
    }
    Ok(hidden.map_or(Cow::Borrowed(update), Cow::Owned))
}

/// What yrs has encoded, with the values in place of their stand-ins.
fn shown(encoded: Vec<u8>, values: Values) -> Result<Bytes, Broken> {
    if values != Values::StandIns {
        return Ok(encoded.into());
    }
    let shown = stand_in::show(&encoded).map_err(|why| Broken::Undecodable { why: why.to_string() })?;
    Ok(shown.unwrap_or(encoded).into())
}

fn decode(update: &[u8]) -> Result<Update, Broken> {
    Update::decode_v1(update).map_err(|error| Broken::Undecodable { why: error.to_string() })
}

fn undecodable(error: yrs::error::UpdateError) -> Broken {
    Broken::Undecodable { why: error.to_string() }
}

/// Nothing is ever written by the replica itself: its client id is not used, and it must not clean up formatting, which
/// would be a change that no editor has made. Positions are counted as Yjs counts them.
fn options() -> Options {
    Options {
        offset_kind: OffsetKind::Utf16,
        skip_gc: false,
        cleanup_formatting: false,
        ..Options::with_guid_and_client_id("ringleaf".into(), yrs::ClientID::new(1))
    }
}

/// Breaks the replica on purpose: at once, or when it is encoded.
#[cfg(test)]
fn sabotage(update: &[u8], venom: &mut bool) {
    let contains = |word: &[u8]| update.windows(word.len()).any(|window| window == word);
    assert!(!contains(b"poison"), "sabotage");
    *venom |= contains(b"venom");
}

#[cfg(test)]
mod tests {
    use yrs::updates::encoder::Encode;
    use yrs::{Text, WriteTxn};

    use super::*;

    /// Client 1 types the letters one by one.
    fn typed(letters: &str) -> Vec<Bytes> {
        let doc = Doc::with_client_id(1);
        let updates = letters.chars().map(|letter| {
            let mut transaction = doc.transact_mut();
            let text = transaction.get_or_insert_text("t");
            text.push(&mut transaction, &letter.to_string());
            transaction.encode_update_v1().into()
        });
        updates.collect()
    }

    fn clock(replica: &Replica) -> u32 {
        replica.state_vector().unwrap().get(&yrs::ClientID::new(1))
    }

    #[test]
    fn updates_are_replayed_in_chunks_to_the_same_state() {
        let updates = typed(&"x".repeat(515));
        let replayed = Replica::build(updates.iter()).unwrap();
        let mut applied = Replica::new();
        updates.iter().for_each(|update| applied.apply(update).unwrap());
        assert_eq!(clock(&replayed), 515);
        assert_eq!(Replica::build([applied.full().unwrap()].iter()).unwrap().full(), replayed.full());
    }

    #[test]
    fn a_difference_and_what_was_there_make_the_whole() {
        let updates = typed("abcdef");
        let half = Replica::build(updates[..3].iter()).unwrap();
        let whole = Replica::build(updates.iter()).unwrap();
        let difference = whole.difference(&half.state_vector().unwrap().encode_v1()).unwrap();
        let mut half = half;
        half.apply(&difference).unwrap();
        assert_eq!(clock(&half), 6);
        assert!(difference.len() < whole.full().unwrap().len() + 8);
    }

    #[test]
    fn a_hole_that_got_past_the_gate_is_noticed() {
        let updates = typed("ab");
        // In Yjs this waits; in yrs it hides behind a Skip. The second update builds on the first.
        assert_eq!(Replica::new().apply(&updates[1]), Err(Broken::Pending));
        assert!(matches!(Replica::build(updates[1..].iter()), Err(Broken::Pending)));
    }

    /// Nothing pending should ever get here; if it does, it must not be lost (R6: never `encode_diff_v1`).
    #[test]
    fn what_is_pending_is_in_the_encoded_state() {
        let updates = typed("ab");
        let mut holed = Replica::new();
        holed.apply(&updates[1]).unwrap_err();
        let state = holed.full().unwrap();
        assert_eq!(clock(&Replica::build([state, updates[0].clone()].iter()).unwrap()), 2);
    }

    #[test]
    fn a_panic_is_news_and_not_the_end() {
        let panicked: Result<(), Broken> = guarded("test", || panic!("on purpose"));
        assert_eq!(panicked, Err(Broken::Panicked { during: "test" }));
    }

    #[test]
    fn bytes_that_do_not_decode_are_refused() {
        assert!(matches!(Replica::new().apply(&[1, 1, 1]), Err(Broken::Undecodable { .. })));
        assert!(matches!(merge([Bytes::from_static(&[9])].iter()), Err(Broken::Undecodable { .. })));
    }

    #[test]
    fn merged_updates_are_the_same_change() {
        let updates = typed("abc");
        let merged = merge(updates.iter()).unwrap();
        assert!(merged.len() < updates.iter().map(Bytes::len).sum());
        assert_eq!(
            Replica::build([merged].iter()).unwrap().full(),
            Replica::build([Replica::build(updates.iter()).unwrap().full().unwrap()].iter()).unwrap().full()
        );
    }
}
