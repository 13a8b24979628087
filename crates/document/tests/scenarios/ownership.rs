//! The log has the last word: claims, late records, fences, the tail.

use crate::script::plays;

/// R1 and R2: a record of a lower epoch stands in the slot.
#[test]
fn a_late_record_of_a_dead_owner_is_merged_and_the_next_slot_is_tried() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 mine
        append 1 in epoch 1: 1 updates
        > taken 0 late
        all: publish 1 after 0: 1 → "late"
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "latemine"
        router 1: acknowledge 1 through 1
        "#,
    );
}

#[test]
fn a_late_record_can_stand_in_the_way_of_a_claimed_document_too() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > type 1 b
        append 2 in epoch 1: 1 updates
        > taken 0
        append 3 in epoch 1: 1 updates
        > taken 0 x
        all: publish 3 after 1: 1 → "xa"
        append 4 in epoch 1: 1 updates
        > durable
        all: publish 4 after 3: 1 → "xab"
        router 1: acknowledge 1 through 2
        "#,
    );
}

/// R5: nothing is acknowledged; the routers send it again to the new owner.
#[test]
fn a_claim_that_loses_ends_the_document() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > taken 1
        fenced
        > type 1 b
        > wait 60000
        "#,
    );
}

#[test]
fn a_fenced_node_cannot_append() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > type 1 b
        append 2 in epoch 1: 1 updates
        > taken 2 other
        fenced
        > type 1 c
        "#,
    );
}

/// R7: the owner that slept for an hour.
#[test]
fn a_slot_below_a_snapshot_was_somebody_elses() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > type 1 b
        append 2 in epoch 1: 1 updates
        > covered
        fenced
        "#,
    );
}

/// R2: the first reply was lost.
#[test]
fn a_retry_finds_its_own_record() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > mine
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        "#,
    );
}

#[test]
fn the_first_record_of_the_next_owner_has_a_higher_epoch() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > reopen
        > attach 1
        router 1: attached 1 at 1
        router 1: ask 1
        > full 1
        count NothingNew
        router 1: acknowledge 1 through 2
        > type 1 b
        append 2 in epoch 2: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 3
        "#,
    );
}

#[test]
fn the_tail_is_looked_at_while_there_are_sessions() {
    plays(
        r#"
        > wait 6000
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > wait 11000
        read the tail after 0 ×2
        > detach 1
        > wait 6000
        "#,
    );
}

/// R9: a document that has not claimed follows its owner.
#[test]
fn new_slots_in_the_tail_are_merged_and_published() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > tail 1 0 other
        all: publish 1 after 0: 1 → "other"
        > tail 1
        > sync 1 empty
        router 1: answer to [1] through 1: "other"
        "#,
    );
}

#[test]
fn a_higher_epoch_in_the_tail_fences() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > type 1 b
        append 2 in epoch 1: 1 updates
        > tail 2 2 other
        fenced
        > type 1 c
        "#,
    );
}

/// While an append is in flight, what lies in its slot comes with the answer to that.
#[test]
fn a_late_record_in_the_tail_is_merged() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        > tail 2 0 late
        all: publish 2 after 1: 1 → "latea"
        > type 1 b
        append 3 in epoch 1: 1 updates
        > tail 3 0 later
        > taken 0 later
        all: publish 3 after 2: 1 → "latera"
        append 4 in epoch 1: 1 updates
        > durable
        all: publish 4 after 3: 1 → "laterab"
        router 1: acknowledge 1 through 2
        "#,
    );
}

#[test]
fn a_resumed_session_that_has_more_makes_the_tail_be_read_at_once() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > resume 1 5
        router 1: attached 1 at 0
        router 1: ask 1
        read the tail after 0
        > resume 1 0
        router 1: attached 1 at 0
        router 1: ask 1
        "#,
    );
}
