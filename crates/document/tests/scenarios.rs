//! Given these steps, are these the effects?

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod scenario;

use std::time::Duration;

use ringleaf_types::Limits;
use scenario::{plays, plays_with};

#[test]
fn an_update_leaves_when_its_slot_is_durable() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 hello
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "hello"
        router 1: acknowledge 1 through 1
        "#,
    );
}

#[test]
fn what_arrives_while_a_slot_is_written_gathers_for_the_next_one() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 2 b
        > type 1 c
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 2 updates
        > durable
        all: publish 2 after 1: 1 → "acb"
        router 1: acknowledge 2 through 1
        router 1: acknowledge 1 through 2
        "#,
    );
}

/// It may have been sent for the second time because the first time was not acknowledged: it is as durable as that.
#[test]
fn a_message_that_brings_nothing_new_is_acknowledged_when_all_before_it_is_durable() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > type 1 a
        append 1 in epoch 1: 1 updates
        > again 1
        count NothingNew
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 2
        > again 1
        count NothingNew
        router 1: acknowledge 1 through 3
        "#,
    );
}

#[test]
fn nothing_new_behind_something_gathered_waits_for_both() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 1 b
        > again 1
        count NothingNew
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 3
        "#,
    );
}

#[test]
fn a_document_that_is_only_read_writes_nothing() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > sync 1
        router 1: answer to [1] through 0: no structs
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 0: no structs
        > who 2
        router 1: awareness only 2: nobody
        > catch-up 0
        router 1: caught up from 0 through 0: no structs
        > wait 4000
        > detach 1
        > detach 2
        > wait 70000
        forget
        "#,
    );
}

#[test]
fn an_answer_waits_for_the_slot_that_covers_it_and_equal_requests_share_it() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > attach 2
        router 1: attached 2 at 0
        > attach 3
        router 1: attached 3 at 0
        > attach b1
        router 2: attached 1 at 0
        > sync 2 empty
        > sync 3 empty
        > sync b1 empty
        > type 1 b
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        router 1: ask 2
        router 1: ask 3
        router 2: ask 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        router 1: answer to [2, 3] through 2: "ab"
        router 2: answer to [1] through 2: "ab"
        "#,
    );
}

#[test]
fn an_answer_with_nothing_in_flight_leaves_at_once() {
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
        > sync 2 empty
        > attach 2
        router 1: attached 2 at 1
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 1: "a"
        > sync 1
        router 1: answer to [1] through 1: no structs
        "#,
    );
}

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

/// R9: the slot is created, but what lies below it is gone until the snapshot is there.
#[test]
fn a_store_that_went_backwards_is_made_whole_before_anything_is_acknowledged() {
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
        > tail 0
        store went back to 0: snapshot through 1 "ab"
        > durable
        > again 1
        count NothingNew
        > sync 1 empty
        > catch-up 1
        > save-failed
        > wait 5000
        store went back to 0: snapshot through 1 "ab"
        > saved
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 3
        router 1: answer to [1] through 2: "ab"
        router 1: caught up from 1 through 2: ""
        > type 1 c
        append 3 in epoch 1: 1 updates
        > durable
        all: publish 3 after 2: 1 → "abc"
        router 1: acknowledge 1 through 4
        "#,
    );
}

/// R10, and slot numbers go on.
#[test]
fn a_deleted_document_is_closed_to_everybody_until_it_is_undeleted() {
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
        > delete
        append 2 in epoch 1: deletion
        > type 1 b
        > sync 1 empty
        > durable
        all: closed: document deleted
        > attach 2
        router 1: closed: document deleted
        > import 4 x
        not imported 4: the document is deleted
        > undelete
        append 3 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 3
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 3: "a"
        > reopen
        > attach 2
        router 1: attached 2 at 3
        router 1: ask 2
        > type 2 b
        append 4 in epoch 2: 1 updates
        > durable
        all: publish 4 after 3: 1 → "ab"
        router 1: acknowledge 2 through 1
        "#,
    );
}

#[test]
fn what_was_sent_before_the_deletion_is_kept() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 1 b
        > delete
        > type 1 c
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        append 3 in epoch 1: deletion
        > durable
        all: closed: document deleted
        > undelete
        append 4 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 4
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 4: "ab"
        "#,
    );
}

#[test]
fn a_late_deletion_takes_what_has_gathered_with_it() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > type 1 b
        > import 5 x
        > taken 0 deletion
        not imported 5: the document was deleted
        all: closed: document deleted
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 0: 1 → "a"
        > undelete
        append 3 in epoch 1: undeletion
        > durable
        > attach 2
        router 1: attached 2 at 3
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 3: "a"
        > full 1
        > attach 1
        router 1: attached 1 at 3
        router 1: ask 1
        > full 1
        append 4 in epoch 1: 1 updates
        > durable
        all: publish 4 after 2: 1 → "ab"
        router 1: acknowledge 1 through 4
        "#,
    );
}

/// The part that is complete is admitted, the rest stays with the editor until its answer brings all of it.
#[test]
fn a_hole_is_asked_about_once() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 2
        > lose 1 b
        > type 1 c
        count AskedForRest
        router 1: ask 1
        > type 1 d
        > answer 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "abcd"
        router 1: acknowledge 1 through 5
        > lose 1 e
        > type 1 f
        count AskedForRest
        router 1: ask 1
        "#,
    );
}

/// Its own store has the hole. Nothing is asked twice, and it is told that the rest is not saved.
#[test]
fn an_editor_whose_answer_has_the_hole_too_is_not_asked_again() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > lose 1 a
        > type 1 b
        > answer-again 1
        count LeftWithEditor
        router 1: refused 1 number 1
        count LeftWithEditor
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > type 1 c
        count LeftWithEditor
        router 1: refused 1 number 3
        router 1: acknowledge 1 through 3
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "abc"
        router 1: acknowledge 1 through 4
        "#,
    );
}

#[test]
fn a_refused_message_is_acknowledged_in_order_and_asked_about_once() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > rubbish 1
        count Refused
        router 1: refused 1 number 3
        count AskedForRest
        > rubbish 1
        count Refused
        router 1: refused 1 number 4
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 4
        router 1: ask 1
        "#,
    );
}

#[test]
fn too_many_refused_messages_end_the_session() {
    let limits = Limits { refusals_per_minute_max: 2, ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > rubbish 1
        count Refused
        router 1: refused 1 number 1
        router 1: acknowledge 1 through 1
        > rubbish 1
        count Refused
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > wait 61000
        read the tail after 0 ×12
        > rubbish 1
        count Refused
        router 1: refused 1 number 3
        router 1: acknowledge 1 through 3
        > rubbish 1
        count Refused
        router 1: refused 1 number 4
        router 1: acknowledge 1 through 4
        > rubbish 1
        count Refused
        router 1: refused 1 number 5
        router 1: close 1: too many bad messages
        router 1: acknowledge 1 through 5
        > type 1 a
        > detach 1
        "#,
    );
}

/// I13. An answer is only compared with what was seen.
#[test]
fn a_reader_cannot_write() {
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
        > attach 2 read-only
        router 1: attached 2 at 1
        router 1: ask 2
        > type 2 b
        count Refused
        router 1: refused 2 number 1
        router 1: acknowledge 2 through 1
        > answer 2
        count Refused
        router 1: refused 2 number 2
        router 1: acknowledge 2 through 2
        > attach 3 read-only
        router 1: attached 3 at 1
        router 1: ask 3
        > full 3
        count Refused
        router 1: refused 3 number 1
        router 1: acknowledge 3 through 1
        > answer 3
        router 1: acknowledge 3 through 2
        "#,
    );
}

#[test]
fn an_import_is_like_an_edit() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > import 1 abc
        append 1 in epoch 1: 1 updates
        > import 2 abc
        > durable
        all: publish 1 after 0: 1 → "abc"
        imported 1 in 1
        imported 2 in 1
        > import 3 abc
        imported 3 in 1
        > import 4 rubbish
        not imported 4: a count is larger than what the remaining bytes can hold
        > export 5
        exported 5 through 1: "abc"
        "#,
    );
}

#[test]
fn an_export_waits_for_what_it_holds() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > export 1
        > type 1 b
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        exported 1 through 2: "ab"
        > export 2
        exported 2 through 2: "ab"
        "#,
    );
}

#[test]
fn who_is_behind_gets_the_slots_that_it_lacks() {
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
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        > catch-up 1
        router 1: caught up from 1 through 2: ""
        > catch-up 0
        router 1: caught up from 0 through 2: "ab"
        > catch-up 2
        router 1: caught up from 2 through 2: no structs
        > type 1 c
        append 3 in epoch 1: 1 updates
        > catch-up 1
        router 1: caught up from 1 through 2: ""
        > durable
        all: publish 3 after 2: 1 → "abc"
        router 1: acknowledge 1 through 3
        > catch-up 9
        router 1: caught up from 9 through 3: "abc"
        "#,
    );
}

#[test]
fn a_document_without_room_refuses_updates_and_goes_on() {
    let limits = Limits { document_bytes_max: 64, ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        router 1: acknowledge 1 through 1
        > type 1 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
        count Refused
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > type 1 c
        > sync 1 empty
        router 1: answer to [1] through 1: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        > import 3 dddddddddddddddddddddddddddddddddddddddddddd
        not imported 3: the document has no room for it
        "#,
    );
}

#[test]
fn a_held_append_takes_what_gathers_meanwhile() {
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
        > hold 20
        > type 1 b
        > sync 1 empty
        > type 1 c
        > wait 25
        append 2 in epoch 1: 2 updates
        > durable
        all: publish 2 after 1: 1 → "abc"
        router 1: acknowledge 1 through 3
        router 1: answer to [1] through 2: "abc"
        "#,
    );
}

#[test]
fn a_long_tail_is_compacted() {
    let limits = Limits {
        tail_slots_max: 1,
        idle_timeout: Duration::from_secs(600),
        replica_idle_timeout: Duration::from_secs(600),
        ..Limits::default()
    };
    plays_with(
        limits,
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
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        compact through 2
        > type 1 c
        append 3 in epoch 1: 1 updates
        > compaction-failed
        > durable
        all: publish 3 after 2: 1 → "abc"
        router 1: acknowledge 1 through 3
        > type 1 d
        append 4 in epoch 1: 1 updates
        > durable
        all: publish 4 after 3: 1 → "abcd"
        router 1: acknowledge 1 through 4
        > wait 61000
        read the tail after 4 ×12
        compact through 4
        > type 1 e
        append 5 in epoch 1: 1 updates
        > durable
        all: publish 5 after 4: 1 → "abcde"
        router 1: acknowledge 1 through 5
        > compacted
        > sync 1 empty
        router 1: answer to [1] through 5: "abcde"
        > catch-up 3
        router 1: caught up from 3 through 5: ""
        > catch-up 5
        router 1: caught up from 5 through 5: no structs
        "#,
    );
}

#[test]
fn an_idle_document_is_compacted_if_that_is_worthwhile_and_forgotten() {
    plays(
        r#"
        > import 1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        append 1 in epoch 1: 1 updates
        > wait 70000
        > durable
        all: publish 1 after 0: 1 → "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        imported 1 in 1
        forget
        > attach 1
        router 1: attached 1 at 1
        router 1: ask 1
        > wait 120000
        read the tail after 1 ×24
        > detach 1
        > wait 59000
        > wait 1000
        forget
        > wait 60000
        forget
        "#,
    );
}

#[test]
fn a_document_that_is_used_again_is_not_forgotten() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > detach 1
        > wait 59000
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > wait 2000
        "#,
    );
}

#[test]
fn the_replica_goes_when_nobody_writes_and_the_answers_stay_the_same() {
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
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        > sync 1 empty
        router 1: answer to [1] through 2: "ab"
        > wait 31000
        read the tail after 2 ×6
        > sync 1 empty
        router 1: answer to [1] through 2: "ab"
        > catch-up 1
        router 1: caught up from 1 through 2: "ab"
        > type 1 c
        append 3 in epoch 1: 1 updates
        > durable
        all: publish 3 after 2: 1 → "abc"
        router 1: acknowledge 1 through 3
        "#,
    );
}

#[test]
fn presence_is_published_once_per_tick_and_to_its_sender_too() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 1 {"x":1}
        > cursor 1 5 2 {"x":2}
        > attach 2
        router 1: attached 2 at 0
        router 1: awareness only 2: 5@2 {"x":2}
        router 1: ask 2
        > cursor 2 6 1 {"x":3}
        > wait 5
        all: awareness: 5@2 {"x":2}, 6@1 {"x":3}
        > cursor 1 5 3 {"x":4}
        > wait 30
        > wait 10
        all: awareness: 5@3 {"x":4}
        > who 2
        router 1: awareness only 2: 5@3 {"x":4}, 6@1 {"x":3}
        "#,
    );
}

#[test]
fn presence_leaves_together_with_the_edit() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > wait 100
        > cursor 1 5 1 {"x":1}
        > type 1 a
        append 1 in epoch 1: 1 updates
        > wait 10
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        all: awareness: 5@1 {"x":1}
        > cursor 1 5 2 {"x":2}
        > type 1 b
        append 2 in epoch 1: 1 updates
        > wait 50
        all: awareness: 5@2 {"x":2}
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        "#,
    );
}

#[test]
fn presence_of_a_session_ends_with_it_and_its_clock_stays() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 3 {"x":1}
        > wait 50
        all: awareness: 5@3 {"x":1}
        > detach 1
        > wait 50
        all: awareness: 5@3 null
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > cursor 2 5 3 {"x":1}
        > cursor 2 5 4 {"x":2}
        > wait 50
        all: awareness: 5@4 {"x":2}
        "#,
    );
}

/// The id is known from before: JavaScript servers miss its second end.
#[test]
fn a_reconnect_leaves_no_ghost() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 1 {}
        > wait 50
        all: awareness: 5@1 {}
        > detach 1
        > wait 50
        all: awareness: 5@1 null
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > cursor 2 5 2 {}
        > wait 50
        all: awareness: 5@2 {}
        > detach 2
        > wait 50
        all: awareness: 5@2 null
        > attach 3
        router 1: attached 3 at 0
        router 1: ask 3
        "#,
    );
}

#[test]
fn the_end_of_the_old_connection_does_not_remove_what_the_new_one_raised() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 1 {}
        > wait 50
        all: awareness: 5@1 {}
        > attach 2
        router 1: attached 2 at 0
        router 1: awareness only 2: 5@1 {}
        router 1: ask 2
        > cursor 2 5 2 {}
        > wait 50
        all: awareness: 5@2 {}
        > detach 1
        > wait 50
        > who 2
        router 1: awareness only 2: 5@2 {}
        "#,
    );
}

#[test]
fn ids_of_another_subject_are_ignored() {
    plays(
        r#"
        > attach 1 as alice
        router 1: attached 1 at 0
        router 1: ask 1
        > attach 2 as bob
        router 1: attached 2 at 0
        router 1: ask 2
        > cursor 1 5 1 {"a":1}
        > cursor 2 5 2 {"b":1}
        > cursor 2 5 1 null
        > wait 50
        all: awareness: 5@1 {"a":1}
        "#,
    );
}

#[test]
fn tabs_of_one_subject_speak_for_each_other() {
    plays(
        r#"
        > attach 1 as alice
        router 1: attached 1 at 0
        router 1: ask 1
        > attach 2 as alice
        router 1: attached 2 at 0
        router 1: ask 2
        > cursor 1 5 1 {"a":1}
        > cursor 2 5 1 {"a":1}
        > cursor 2 5 1 null
        > wait 50
        all: awareness: 5@1 {"a":1}
        > detach 2
        > wait 50
        > cursor 2 5 2 null
        > detach 2
        > wait 50
        > attach 2 as alice
        router 1: attached 2 at 0
        router 1: awareness only 2: 5@1 {"a":1}
        router 1: ask 2
        > cursor 2 5 2 null
        > wait 50
        all: awareness: 5@2 null
        "#,
    );
}

#[test]
fn presence_that_is_not_renewed_expires() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 1 {}
        > wait 50
        all: awareness: 5@1 {}
        > wait 29000
        read the tail after 0 ×5
        > wait 5000
        read the tail after 0
        all: awareness: 5@1 null
        > who 1
        router 1: awareness only 1: nobody
        "#,
    );
}

#[test]
fn presence_of_a_lost_router_lives_out_its_time() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > attach b1
        router 2: attached 1 at 0
        router 2: ask 1
        > cursor b1 5 1 {}
        > wait 50
        all: awareness: 5@1 {}
        > gone 2
        > wait 20000
        read the tail after 0 ×4
        > who 1
        router 1: awareness only 1: 5@1 {}
        > wait 15000
        read the tail after 0 ×2
        all: awareness: 5@1 null
        read the tail after 0
        "#,
    );
}

#[test]
fn a_state_with_clock_zero_is_ignored_as_every_client_does() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 0 {}
        > wait 50
        > who 1
        router 1: awareness only 1: nobody
        "#,
    );
}

#[test]
fn presence_is_bounded() {
    let limits = Limits { awareness_clients_max: 1, awareness_state_bytes_max: 8, ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > cursor 1 5 1 {"x":"123456789"}
        > cursor 1 6 1 {}
        > cursor 1 7 1 {}
        > wait 50
        all: awareness: 6@1 {}
        > cursor 1 8 1 rubbish
        "#,
    );
}

#[test]
fn a_session_of_a_router_that_is_gone_says_nothing() {
    plays(
        r#"
        > attach b1
        router 2: attached 1 at 0
        router 2: ask 1
        > gone 2
        > type b1 a
        > cursor b1 5 1 {}
        > sync b1 empty
        > who b1
        "#,
    );
}

/// The scan cannot see it, and yrs refuses it: the replica is made again without it.
#[test]
fn a_struct_whose_parent_is_no_type_is_refused_and_the_rest_goes_on() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > type 1 abc
        append 1 in epoch 1: 1 updates
        > raw 2 01 01 02 00 04 00 65 00 01 78 00
        count Panicked
        count Refused
        router 1: refused 2 number 1
        > type 1 d
        > durable
        all: publish 1 after 0: 1 → "abc"
        router 1: acknowledge 1 through 1
        router 1: acknowledge 2 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "abcd"
        router 1: acknowledge 1 through 2
        > sync 2 empty
        router 1: answer to [2] through 2: "abcd"
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
