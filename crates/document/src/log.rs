//! The claim and the appends (R1–R5, R9), one state machine.
//!
//! ```text
//!              begin                        created, or ours            begin
//!  Unclaimed ────────▶ Unclaimed, in flight ───────────────▶ Claimed ────────────▶ Claimed, in flight ─┐
//!      │                 │   ▲ late record: merge it, next slot  ▲────────────────────────────────────┘
//!      │ a higher epoch  └───┘                                                created, ours, or late
//!      │ in the tail       │ taken by an equal or higher epoch, or covered by a snapshot
//!      └───────────────────┴────────────────────────▶ Fenced, for ever
//! ```
//!
//! Who moves it: [`Log::begin`] (there is something to write), [`Log::decided`] (the store has answered) and
//! [`Log::tail`] (the check every few seconds). It knows records and slots, not what is in them.

use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{Body, Epoch, Incarnation, NodeId, Record, Slot, Writer};

use crate::AppendOutcome;

/// The end of the log, as far as this document knows it.
pub(crate) struct Log {
    node: NodeId,
    incarnation: Incarnation,
    /// State of the nonce sequence.
    seed: u64,
    /// The newest slot that is durable and merged.
    last: Slot,
    /// The highest epoch in the slots up to `last`.
    highest: Epoch,
    /// The epoch under which this document writes. Zero: not claimed yet.
    epoch: Epoch,
    /// R2: one, never two.
    in_flight: Option<(Slot, Record)>,
    fenced: bool,
}

/// What the store's answer to an append means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// The record is durable.
    Durable(Slot, Record),
    /// The slot holds a late record of a dead owner: merge and publish it. [`Log::again`] says where to try next.
    Late(Slot, Record),
    /// Another writer has claimed the document (R5): this node, if the record that says so is still there.
    Fenced(Option<NodeId>),
    /// The store ends before a slot that was durable, and takes nothing above it. The record stays in flight.
    WentBackwards,
    /// The answer fits nothing that is in flight.
    Stray,
}

/// What a tail check means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TailCheck {
    /// Merge and publish these slots, if any.
    Merge(Vec<(Slot, Record)>),
    /// Another writer, of this node, has claimed the document.
    Fenced(NodeId),
    /// The store ends before a slot that was durable.
    WentBackwards,
}

impl Log {
    pub(crate) fn new(node: NodeId, incarnation: Incarnation, seed: u64, last: Slot, highest: Epoch) -> Self {
        Self { node, incarnation, seed, last, highest, epoch: Epoch::ZERO, in_flight: None, fenced: false }
    }

    pub(crate) fn last(&self) -> Slot {
        self.last
    }

    /// Our epoch, or zero.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The highest epoch among the slots up to the last.
    pub(crate) fn highest(&self) -> Epoch {
        self.highest
    }

    pub(crate) fn busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What is being written.
    pub(crate) fn in_flight(&self) -> Option<&(Slot, Record)> {
        self.in_flight.as_ref()
    }

    /// Starts to write `body` into the next slot. The first record of an epoch is its fence (R1), whatever it holds.
    pub(crate) fn begin(&mut self, body: Body) -> (Slot, Record) {
        assert!(self.in_flight.is_none(), "one append in flight, never two (R2)");
        assert!(!self.fenced, "a fenced document writes nothing (R5)");
        let fence = if faults::active(Fault::NoFence) { self.highest } else { self.highest.next() };
        let epoch = if self.epoch == Epoch::ZERO { fence } else { self.epoch };
        self.write(epoch, body)
    }

    /// The next record is a fence, above all epochs that are known, this document's own included.
    pub(crate) fn renounce(&mut self) {
        assert!(self.in_flight.is_none(), "what is in flight belongs to the old epoch");
        self.epoch = Epoch::ZERO;
    }

    /// Writes what was in flight into the slot after a late record.
    pub(crate) fn again(&mut self) -> (Slot, Record) {
        let (_, record) = self.in_flight.take().expect("a late record stands in the way of something");
        self.write(record.epoch, record.body)
    }

    fn write(&mut self, epoch: Epoch, body: Body) -> (Slot, Record) {
        let writer =
            Writer { node: self.node.clone(), incarnation: self.incarnation, nonce: self.next_nonce() };
        let slot = self.last.next();
        let record = Record { epoch, writer, body };
        self.in_flight = Some((slot, record.clone()));
        (slot, record)
    }

    /// The store has answered.
    pub(crate) fn decided(&mut self, slot: Slot, outcome: AppendOutcome) -> Decided {
        let Some((expected, record)) = self.in_flight.take() else { return Decided::Stray };
        if expected != slot {
            self.in_flight = Some((expected, record));
            return Decided::Stray;
        }
        match outcome {
            AppendOutcome::Created => self.ours(slot, record),
            // A retry whose first reply was lost finds its own record (R2).
            AppendOutcome::Taken(found) if found.writer == record.writer => self.ours(slot, record),
            AppendOutcome::Taken(found) if found.epoch < record.epoch => {
                self.take(slot, found.epoch);
                self.in_flight = Some((slot, record));
                Decided::Late(slot, found)
            }
            AppendOutcome::Taken(found) => self.fence(Some(found.writer.node)),
            AppendOutcome::Covered => self.fence(None),
            AppendOutcome::Gap => {
                self.in_flight = Some((slot, record));
                Decided::WentBackwards
            }
        }
    }

    fn ours(&mut self, slot: Slot, record: Record) -> Decided {
        self.epoch = record.epoch;
        self.take(slot, record.epoch);
        Decided::Durable(slot, record)
    }

    fn take(&mut self, slot: Slot, epoch: Epoch) {
        assert!(slot == self.last.next(), "slots are merged without a gap");
        self.last = slot;
        self.highest = self.highest.max(epoch);
    }

    fn fence(&mut self, by: Option<NodeId>) -> Decided {
        self.in_flight = None;
        self.fenced = true;
        Decided::Fenced(by)
    }

    /// Looks at what the store holds (R9): `slots` are those after the last that was known when it was asked.
    pub(crate) fn tail(&mut self, slots: Vec<(Slot, Record)>, last: Slot) -> TailCheck {
        if last < self.last {
            return TailCheck::WentBackwards;
        }
        let mut merge = Vec::new();
        for (slot, record) in slots {
            if slot <= self.last {
                continue;
            }
            let ours = self.in_flight.as_ref().is_some_and(|(_, mine)| mine.writer == record.writer);
            if ours {
                continue;
            }
            if record.epoch > self.claim() {
                self.fenced = true;
                self.in_flight = None;
                return TailCheck::Fenced(record.writer.node);
            }
            // What lies in the slot of our own append comes with the answer to that.
            if self.in_flight.is_none() && slot == self.last.next() {
                self.take(slot, record.epoch);
                merge.push((slot, record));
            }
        }
        TailCheck::Merge(merge)
    }

    /// Takes in what the last owner wrote before it gave the document to this one. Whoever has claimed nothing yet claims
    /// above all of it, as after a load.
    pub(crate) fn follow(&mut self, slots: Vec<(Slot, Record)>) -> TailCheck {
        if self.epoch > Epoch::ZERO || self.in_flight.is_some() {
            return self.tail(slots, self.last);
        }
        let mut merge = Vec::new();
        for (slot, record) in slots {
            if slot == self.last.next() {
                self.take(slot, record.epoch);
                merge.push((slot, record));
            }
        }
        TailCheck::Merge(merge)
    }

    /// The epoch that nobody else may exceed while this document serves.
    fn claim(&self) -> Epoch {
        self.in_flight.as_ref().map_or(self.epoch, |(_, record)| record.epoch).max(self.highest)
    }

    /// SplitMix64: the nonces of one incarnation differ, and a test can repeat them.
    pub(crate) fn next_nonce(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut nonce = self.seed;
        nonce = (nonce ^ (nonce >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        nonce = (nonce ^ (nonce >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        nonce ^ (nonce >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(last: u64, highest: u64) -> Log {
        Log::new("a".parse().unwrap(), Incarnation::new(1), 1, Slot::new(last), Epoch::new(highest))
    }

    fn nothing() -> Body {
        Body::Updates(Vec::new())
    }

    fn by(node: &str, epoch: u64) -> Record {
        let writer = Writer { node: node.parse().unwrap(), incarnation: Incarnation::new(9), nonce: 9 };
        Record { epoch: Epoch::new(epoch), writer, body: nothing() }
    }

    /// Claims and appends once.
    fn claimed(last: u64, highest: u64) -> Log {
        let mut log = log(last, highest);
        let (slot, _) = log.begin(nothing());
        assert!(matches!(log.decided(slot, AppendOutcome::Created), Decided::Durable(..)));
        log
    }

    #[test]
    fn the_fence_has_the_next_slot_and_the_next_epoch() {
        let mut log = log(7, 3);
        let (slot, record) = log.begin(nothing());
        assert_eq!((slot, record.epoch), (Slot::new(8), Epoch::new(4)));
        assert_eq!(log.epoch(), Epoch::ZERO, "it is not claimed before the fence is in");
        assert_eq!(log.decided(slot, AppendOutcome::Created), Decided::Durable(slot, record));
        assert_eq!((log.epoch(), log.last()), (Epoch::new(4), Slot::new(8)));
    }

    #[test]
    fn later_records_have_the_epoch_of_the_fence_and_nonces_of_their_own() {
        let mut log = claimed(0, 0);
        let (slot, first) = log.begin(nothing());
        log.decided(slot, AppendOutcome::Created);
        let (_, second) = log.begin(nothing());
        assert_eq!((first.epoch, second.epoch), (Epoch::new(1), Epoch::new(1)));
        assert_ne!(first.writer.nonce, second.writer.nonce);
    }

    #[test]
    fn what_stands_in_the_slot_decides() {
        // The claim is epoch 4, and goes on as epoch 4.
        for claim in [true, false] {
            for (found, fenced) in [(0, false), (3, false), (4, true), (5, true)] {
                let mut log = if claim { log(7, 3) } else { claimed(6, 3) };
                let (slot, _) = log.begin(nothing());
                let decided = log.decided(slot, AppendOutcome::Taken(by("b", found)));
                let expected = if fenced {
                    Decided::Fenced(Some("b".parse().unwrap()))
                } else {
                    Decided::Late(slot, by("b", found))
                };
                assert_eq!(decided, expected, "epoch {found}, claim {claim}");
            }
        }
    }

    #[test]
    fn after_a_late_record_the_same_body_goes_into_the_next_slot_under_the_same_claim() {
        let mut log = log(0, 0);
        let (slot, first) = log.begin(Body::Deletion);
        log.decided(slot, AppendOutcome::Taken(by("b", 0)));
        let (slot, second) = log.again();
        assert_eq!(slot, Slot::new(2));
        assert_eq!((second.epoch, second.body), (first.epoch, Body::Deletion));
        assert_ne!(second.writer, first.writer, "each try is recognized by itself");
    }

    #[test]
    fn its_own_record_of_an_earlier_run_is_not_its_own() {
        let mut log = log(0, 0);
        let (slot, record) = log.begin(nothing());
        let writer = Writer { incarnation: Incarnation::new(0), ..record.writer.clone() };
        assert_eq!(
            log.decided(slot, AppendOutcome::Taken(Record { writer, ..record })),
            Decided::Fenced(Some("a".parse().unwrap())),
            "another run with the same epoch has claimed"
        );
    }

    #[test]
    fn an_answer_to_nothing_changes_nothing() {
        let mut log = log(0, 0);
        assert_eq!(log.decided(Slot::new(1), AppendOutcome::Created), Decided::Stray);
        let (slot, _) = log.begin(nothing());
        assert_eq!(log.decided(slot.next(), AppendOutcome::Created), Decided::Stray);
        assert!(log.busy());
    }

    #[test]
    fn a_tail_below_its_own_is_noticed() {
        let mut log = claimed(0, 0);
        assert_eq!(log.tail(Vec::new(), Slot::ZERO), TailCheck::WentBackwards);
        assert_eq!(log.tail(Vec::new(), Slot::new(1)), TailCheck::Merge(Vec::new()));
    }

    #[test]
    fn an_append_behind_a_gap_stays_in_flight() {
        let mut log = claimed(0, 0);
        let (slot, record) = log.begin(nothing());
        assert_eq!(log.decided(slot, AppendOutcome::Gap), Decided::WentBackwards);
        assert_eq!(
            log.in_flight(),
            Some(&(slot, record.clone())),
            "as it is, so that a late try is recognized"
        );
        assert_eq!(log.decided(slot, AppendOutcome::Created), Decided::Durable(slot, record));
    }

    #[test]
    fn its_own_append_in_the_tail_is_left_to_the_answer() {
        let mut log = log(0, 0);
        let (slot, record) = log.begin(nothing());
        assert_eq!(log.tail(vec![(slot, record)], slot), TailCheck::Merge(Vec::new()));
        assert_eq!(log.last(), Slot::ZERO);
    }

    #[test]
    fn a_tail_is_merged_in_order_and_without_a_gap() {
        let mut log = log(2, 1);
        let slots = [1, 2, 3, 4, 6].map(|slot| (Slot::new(slot), by("b", 1)));
        let merged = [3, 4].map(|slot| (Slot::new(slot), by("b", 1)));
        assert_eq!(log.tail(slots.to_vec(), Slot::new(6)), TailCheck::Merge(merged.to_vec()));
        assert_eq!(log.last(), Slot::new(4));
    }

    #[test]
    fn who_is_given_the_document_claims_above_the_fence_of_the_last_owner() {
        let slots = [4, 5, 7].map(|slot| (Slot::new(slot), by("b", 2)));
        let mut unclaimed = log(3, 1);
        assert_eq!(unclaimed.follow(slots.to_vec()), TailCheck::Merge(slots[..2].to_vec()));
        let (slot, record) = unclaimed.begin(nothing());
        assert_eq!((slot, record.epoch), (Slot::new(6), Epoch::new(3)));
        let mut owner = claimed(2, 0);
        assert_eq!(owner.follow(slots.to_vec()), TailCheck::Fenced("b".parse().unwrap()));
    }

    #[test]
    fn any_claim_of_somebody_else_in_the_tail_fences() {
        for mut log in [log(0, 3), claimed(0, 3)] {
            let slot = log.last().next();
            assert_eq!(log.tail(vec![(slot, by("b", 5))], slot), TailCheck::Fenced("b".parse().unwrap()));
        }
    }

    #[test]
    #[should_panic(expected = "R2")]
    fn two_appends_at_once_are_a_bug() {
        let mut log = log(0, 0);
        log.begin(nothing());
        log.begin(nothing());
    }

    #[test]
    #[should_panic(expected = "R5")]
    fn a_fenced_log_is_never_written_again() {
        let mut log = log(0, 0);
        let (slot, _) = log.begin(nothing());
        log.decided(slot, AppendOutcome::Covered);
        log.begin(nothing());
    }
}
