//! What every store must do, as tests: one function per rule.
//!
//! ```ignore
//! ringleaf_store::contract_tests!(|retention| Fresh::new(MemoryStore::with_retention(retention)));
//! ```

mod listing;
mod notes;
mod remainders;
mod slots;
mod snapshots;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_types::{Body, DocumentId, Epoch, Incarnation, Record, Slot, Snapshot, Writer};

pub use self::listing::*;
pub use self::notes::*;
pub use self::remainders::*;
pub use self::slots::*;
pub use self::snapshots::*;
use crate::{Created, Store};

/// An empty store, and whatever must outlive it (a temporary folder).
pub struct Fresh {
    pub store: Arc<dyn Store>,
    pub keep: Box<dyn Any + Send>,
}

impl Fresh {
    pub fn new(store: impl Store) -> Self {
        Self::keeping(store, ())
    }

    pub fn keeping(store: impl Store, keep: impl Any + Send) -> Self {
        Self { store: Arc::new(store), keep: Box::new(keep) }
    }
}

/// Long enough for nothing to grow old in a test.
pub const LONG: Duration = Duration::from_secs(3_600);

/// Turns the rules into tests of one implementation. The argument makes an empty store that keeps covered slots for the
/// time it is given: `Fn(Duration) -> Fresh`, or `-> Option<Fresh>` where it cannot always be made.
#[macro_export]
macro_rules! contract_tests {
    ($make:expr) => {
        $crate::contract_tests!(@rules $make, $crate::contract::LONG;
            an_unwritten_document_is_empty
            a_slot_is_created_once_and_keeps_its_record
            a_writer_recognizes_its_own_record
            the_slot_before_the_first_cannot_be_created
            of_many_who_want_one_slot_one_gets_it
            documents_do_not_share_slots
            any_record_comes_back_as_it_went
            a_large_record_comes_back_as_it_went
            a_gap_between_slots_is_an_error
            a_gap_after_the_snapshot_is_an_error
            reading_on_stops_at_a_gap
            a_created_slot_can_be_read_at_once
            a_reader_never_sees_a_slot_without_those_before
            what_was_handed_over_and_forgotten_does_no_harm
            a_closed_store_has_decided_everything_and_takes_nothing
            a_load_is_the_newest_snapshot_and_the_slots_after_it
            a_slot_at_or_below_the_newest_snapshot_cannot_be_created
            a_snapshot_is_never_replaced
            a_snapshot_may_cover_more_than_the_log
            trim_waits_for_the_retention
            tails_are_the_ends_of_logs
            a_listing_is_ordered_and_goes_on_after_a_name
            a_prefix_is_a_text_and_not_a_pattern
            a_listing_says_how_much_there_is
            a_listing_knows_what_is_deleted
            a_listing_knows_what_is_in_quarantine
            times_in_a_listing_are_those_of_the_changes
            attempts_are_counted_until_one_ends_well
            who_has_notes_can_be_asked
            the_reason_of_a_failed_attempt_is_kept
            a_noted_document_is_not_a_written_one
            quarantine_keeps_the_first_reason_until_released
            remainders_come_back_by_age_as_they_went
            a_remainder_is_kept_once
            a_large_remainder_comes_back_as_it_went
            dropped_remainders_are_gone_and_no_others
            a_document_with_remainders_alone_is_not_a_written_one
            who_has_remainders_can_be_asked
            a_closed_store_takes_no_remainders
        );
        $crate::contract_tests!(@rules $make, std::time::Duration::ZERO;
            trim_deletes_nothing_below_two_snapshots
            trim_deletes_only_what_the_previous_snapshot_covers
            trim_keeps_two_snapshots
            a_trimmed_slot_cannot_be_created_again
            reading_on_from_a_trimmed_slot_is_an_error
            trim_beside_a_writer_loses_nothing
            a_purged_document_is_empty_and_its_slots_go_on
            a_purge_refuses_what_is_newer
            snapshots_and_trims_leave_remainders_alone
            a_purge_takes_the_remainders_and_nobody_elses
        );
    };
    (@rules $make:expr, $retention:expr; $($rule:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let fresh: Option<$crate::contract::Fresh> = ($make)($retention).into();
                // What the store needs is not installed; whoever made nothing has said so.
                let Some(fresh) = fresh else { return };
                $crate::contract::$rule(fresh.store.clone()).await;
            }
        )*
    };
}

fn id(name: &str) -> DocumentId {
    name.parse().expect("a valid name")
}

fn writer(nonce: u64) -> Writer {
    Writer { node: "n1".parse().expect("a valid node id"), incarnation: Incarnation::new(7), nonce }
}

fn record(nonce: u64) -> Record {
    let body = Body::Updates(vec![Bytes::from(format!("update {nonce}"))]);
    Record { epoch: Epoch::new(1), writer: writer(nonce), body }
}

fn record_of(body: Body) -> Record {
    Record { epoch: Epoch::new(1), writer: writer(0), body }
}

fn snapshot(upto: u64) -> Snapshot {
    let state = Bytes::from(format!("state {upto}"));
    Snapshot { upto: Slot::new(upto), epoch: Epoch::new(1), deleted: false, state }
}

/// Creates these slots; the record of slot n has nonce n.
async fn fill(store: &dyn Store, document: &DocumentId, slots: impl IntoIterator<Item = u64>) {
    for slot in slots {
        let created =
            store.create_slot(document, Slot::new(slot), record(slot)).await.expect("create a slot");
        assert_eq!(created, Created::Created, "slot {slot}");
    }
}

/// As [`fill`] with slots between which some are missing. `false`: this store creates nothing behind a gap.
async fn fill_torn(store: &dyn Store, document: &DocumentId, slots: impl IntoIterator<Item = u64>) -> bool {
    for slot in slots {
        match store.create_slot(document, Slot::new(slot), record(slot)).await.expect("create a slot") {
            Created::Created => {}
            Created::Gap => return false,
            other => panic!("slot {slot}: {other:?}"),
        }
    }
    true
}

async fn add_snapshot(store: &dyn Store, document: &DocumentId, upto: u64) {
    assert!(
        store.create_snapshot(document, snapshot(upto)).await.expect("create a snapshot"),
        "snapshot {upto}"
    );
}

/// Which slots a reading gave, after a check that each holds its own record.
fn numbers(slots: &[(Slot, Record)]) -> Vec<u64> {
    slots
        .iter()
        .map(|(slot, found)| {
            assert_eq!(*found, record(slot.get()), "slot {slot}");
            slot.get()
        })
        .collect()
}
