//! What is not admitted, and what comes and goes by hand.

use ringleaf_types::Limits;

use crate::script::{plays, plays_with};

/// R9: an append finds out first.
#[test]
fn an_append_behind_lost_slots_waits_until_a_snapshot_covers_them() {
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
        > gap
        store went back to 0: snapshot through 1 "ab"
        > tail 0
        > saved
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
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

/// I1: the router may not have heard that some of it was refused. It sends all of it again, and hears anew.
#[test]
fn what_was_held_for_a_router_that_went_is_not_told_when_it_is_back() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > gone 1
        > attach 1
        router 1: attached 1 at 0
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: ask 1
        > again 1
        count NothingNew
        router 1: acknowledge 1 through 2
        "#,
    );
}

/// The part that is complete is admitted, the rest is kept until its answer brings what it builds on.
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
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > type 1 d
        count Kept
        keep 10 bytes
        > answer 1
        append 2 in epoch 1: 1 updates
        > kept
        > kept
        > durable
        all: publish 2 after 1: 1 → "abcd"
        keep it no longer ×2
        router 1: acknowledge 1 through 5
        > lose 1 e
        > type 1 f
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        "#,
    );
}

/// Its own store has the hole. Nothing is asked twice, and it is told that the rest is not in the document yet.
#[test]
fn an_editor_whose_answer_has_the_hole_too_is_not_asked_again() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        > kept
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 1
        count LeftBehind
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > type 1 c
        count Kept
        keep 10 bytes
        count LeftBehind
        router 1: refused 1 number 3
        > kept
        router 1: acknowledge 1 through 3
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "abc"
        keep it no longer ×2
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
        left behind by 1: refused
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
        left behind by 1: refused
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
        router 1: acknowledge 1 through 5
        router 1: close 1: too many bad messages
        > type 1 a
        > detach 1
        "#,
    );
}

/// Nothing may be refused in silence: it is asked once more, though it sends nothing, and then told.
#[test]
fn an_editor_that_brings_again_what_is_refused_for_good_is_told() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > rubbish 1
        left behind by 1: refused
        count Refused
        router 1: refused 1 number 1
        router 1: acknowledge 1 through 1
        > answer-again 1
        count Refused
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > wait 4900
        > wait 200
        count AskedForRest
        router 1: ask 1
        read the tail after 0
        > wait 4000
        > answer-again 1
        count Refused
        router 1: refused 1 number 3
        router 1: close 1: part of your changes cannot be saved here: they hold something that would break other editors
        router 1: acknowledge 1 through 3
        > wait 20000
        read the tail after 0 ×4
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
        left behind by 1: full
        count Refused
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > type 1 c
        count Kept
        keep 10 bytes
        > sync 1 empty
        router 1: answer to [1] through 1: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        > import 3 dddddddddddddddddddddddddddddddddddddddddddd
        not imported 3: the document would exceed document_bytes_max (64)
        "#,
    );
}

/// The scan cannot see it, and editors break on it.
#[test]
fn a_struct_whose_parent_is_no_type_becomes_a_tombstone() {
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
        > type 1 d
        > durable
        all: publish 1 after 0: 1 → "abc"
        router 1: acknowledge 1 through 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "abcd"
        router 1: acknowledge 2 through 1
        router 1: acknowledge 1 through 2
        > sync 2 empty
        router 1: answer to [2] through 2: "abcd"
        "#,
    );
}
