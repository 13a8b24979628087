//! Rules left out or got wrong: each must break a fact, or the model would not notice that we need the rule.

use crate::correct::BOUNDS;
use crate::facts::Fact;
use crate::rules::{Flaw, Rules};
use crate::search::{Outcome, search, story};

/// Watches `fact` alone, so that a story that breaks another one on its way is told to the end.
fn assert_breaks(flaw: Flaw, fact: Fact) {
    let rules = Rules { bounds: BOUNDS, flaw: Some(flaw) };
    match search(&rules, &[fact]) {
        Outcome::Holds { states, .. } => panic!("{fact:?} holds in all {states} states in spite of {flaw:?}"),
        Outcome::Breaks { fact, actions } => eprintln!("{}", story(&rules, fact, &actions)),
    }
}

#[test]
fn without_a_fence_an_old_owner_goes_on_acknowledging() {
    assert_breaks(Flaw::NoFence, Fact::FencedAcknowledgesNothing);
}

#[test]
fn a_fence_elsewhere_than_next_to_what_was_read_hides_slots_from_the_owner() {
    assert_breaks(Flaw::FenceElsewhere, Fact::OwnerHasMerged);
}

#[test]
fn acknowledging_out_of_order_loses_an_acknowledged_update() {
    assert_breaks(Flaw::AcknowledgedOutOfOrder, Fact::AcknowledgedIsStored);
}

#[test]
fn without_a_gap_check_a_reader_misses_an_acknowledged_update() {
    assert_breaks(Flaw::NoGapCheck, Fact::ReaderFindsAcknowledged);
}

#[test]
fn overwriting_the_snapshot_loses_an_acknowledged_update() {
    assert_breaks(Flaw::SnapshotOverwritten, Fact::AcknowledgedIsStored);
}

#[test]
fn deleting_all_rows_so_far_loses_an_acknowledged_update() {
    assert_breaks(Flaw::AllRowsDeleted, Fact::AcknowledgedIsStored);
}

#[test]
fn creating_a_deleted_slot_again_is_a_resurrection() {
    assert_breaks(Flaw::DeletedSlotCreated, Fact::DeletedStaysDeleted);
}

#[test]
fn creating_a_deleted_slot_again_loses_an_acknowledged_update() {
    assert_breaks(Flaw::DeletedSlotCreated, Fact::AcknowledgedIsStored);
}

#[test]
fn equal_epochs_on_an_empty_document_leave_two_owners_acknowledging() {
    assert_breaks(Flaw::EqualEpochs, Fact::FencedAcknowledgesNothing);
}

#[test]
fn acknowledging_a_repeat_at_once_loses_an_acknowledged_update() {
    assert_breaks(Flaw::RepeatAcknowledgedAtOnce, Fact::AcknowledgedIsStored);
}
