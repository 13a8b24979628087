//! What lacks its ground is kept, and comes in by itself; what is left behind for good is told.

use std::time::Duration;

use ringleaf_types::Limits;

use crate::script::{plays, plays_with};

/// What another editor brings is enough: the one who sent it early need not come back.
#[test]
fn an_early_update_whose_sender_leaves_is_admitted_when_its_ground_comes() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > kept
        > detach 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "ab"
        keep it no longer
        router 1: acknowledge 2 through 1
        > sync 2 empty
        router 1: answer to [2] through 1: "ab"
        "#,
    );
}

/// An early deletion, too: else what was deleted would stay for everybody.
#[test]
fn an_early_deletion_whose_sender_leaves_is_carried_out_when_its_ground_comes() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 abc
        > erase 1 1 1
        count Kept
        keep 6 bytes
        count AskedForRest
        router 1: ask 1
        > kept
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 2
        count LeftBehind
        router 1: refused 1 number 3
        router 1: acknowledge 1 through 3
        > detach 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 abc
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "ac"
        keep it no longer
        router 1: acknowledge 2 through 1
        > sync 2 empty
        router 1: answer to [2] through 1: "ac"
        "#,
    );
}

#[test]
fn what_is_kept_survives_its_document() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 abc
        > erase 1 1 1
        count Kept
        keep 6 bytes
        count AskedForRest
        router 1: ask 1
        > type 1 d
        count Kept
        keep 10 bytes
        > kept
        > kept
        > reopen
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 abc
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "acd"
        keep it no longer ×2
        router 1: acknowledge 2 through 1
        > reopen
        > attach 2
        router 1: attached 2 at 1
        router 1: ask 2
        > sync 2 empty
        router 1: answer to [2] through 1: "acd"
        "#,
    );
}

/// What lies in the way is admitted when the document opens, if it is there by then.
#[test]
fn what_has_its_ground_by_now_is_admitted_when_the_document_opens() {
    plays(
        r#"
        > import 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        imported 1 in 1
        > early 77 ab
        > reopen
        > attach 1
        router 1: attached 1 at 1
        append 2 in epoch 2: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        keep it no longer
        router 1: ask 1
        > sync 1 empty
        router 1: answer to [1] through 2: "ab"
        "#,
    );
}

#[test]
fn a_chain_of_remainders_is_admitted_in_one_go() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > lose 1 c
        > type 1 d
        count Kept
        keep 10 bytes
        > lose 1 e
        > type 1 f
        count Kept
        keep 10 bytes
        > kept
        > kept
        > kept
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 e
        count Kept
        keep 10 bytes
        > copy 2 1 c
        count Kept
        keep 10 bytes
        > kept
        > kept
        > copy 2 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "abcdef"
        keep it no longer ×5
        > sync 2 empty
        router 1: answer to [2] through 1: "abcdef"
        "#,
    );
}

#[test]
fn the_same_bytes_are_kept_once() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > again 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 b
        > kept
        "#,
    );
}

/// A router may forget what is acknowledged, so the store has it by then.
#[test]
fn nothing_is_acknowledged_before_the_store_has_what_was_left_of_it() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 2
        count LeftBehind
        router 1: refused 1 number 3
        > type 1 c
        count Kept
        keep 10 bytes
        count LeftBehind
        router 1: refused 1 number 4
        > kept
        > again 1
        count LeftBehind
        router 1: refused 1 number 5
        > kept
        router 1: acknowledge 1 through 5
        "#,
    );
}

/// Nor when somebody else has sent it first, and that is still on its way.
#[test]
fn the_same_bytes_of_two_are_acknowledged_to_both_when_the_store_has_them() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > answer 2
        count NothingNew
        router 1: acknowledge 2 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > copy 2 1 b
        count AskedForRest
        router 1: ask 2
        > answer-again 2
        left behind by 2: ground
        count LeftBehind
        router 1: refused 2 number 2
        count LeftBehind
        router 1: refused 2 number 3
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 2
        count LeftBehind
        router 1: refused 1 number 3
        > kept
        router 1: acknowledge 2 through 3
        router 1: acknowledge 1 through 3
        "#,
    );
}

/// A session that comes back does not wait for what it sent before, and what it sent before says nothing of what it sends now.
#[test]
fn what_a_session_sent_before_it_came_back_acknowledges_nothing_of_what_it_sends_now() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > gone 1
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 c
        count Kept
        keep 10 bytes
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 3
        count LeftBehind
        router 1: refused 1 number 4
        > kept
        > kept
        router 1: acknowledge 1 through 4
        "#,
    );
}

/// Limit: `remainder_bytes_max`.
#[test]
fn without_room_for_it_its_editor_is_asked_again_when_the_ground_comes() {
    let limits = Limits { remainder_bytes_max: 15, ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > kept
        > type 1 c
        left behind by 1: no-room
        > answer-again 1
        count LeftBehind
        router 1: refused 1 number 2
        count LeftBehind
        router 1: refused 1 number 3
        count LeftBehind
        router 1: refused 1 number 4
        router 1: acknowledge 1 through 4
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 a
        count AskedForRest
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "ab"
        keep it no longer
        router 1: ask 1
        router 1: acknowledge 2 through 1
        > answer 1
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "abc"
        router 1: acknowledge 1 through 5
        > sync 2 empty
        router 1: answer to [2] through 2: "abc"
        "#,
    );
}

/// Limit: `remainder_timeout`.
#[test]
fn what_waits_for_too_long_is_forgotten_and_told() {
    let limits = Limits { remainder_timeout: Duration::from_secs(3), ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > kept
        > wait 2000
        > type 1 c
        count Kept
        keep 10 bytes
        > wait 1500
        count Expired
        10 bytes were kept for too long
        keep it no longer
        > kept
        > wait 2000
        read the tail after 0
        count Expired
        10 bytes were kept for too long
        keep it no longer
        > wait 2000
        > answer 1
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "abc"
        router 1: acknowledge 1 through 4
        "#,
    );
}

#[test]
fn a_seal_waits_for_remainders_that_are_on_their_way() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > lose 1 a
        > type 1 b
        count Kept
        keep 10 bytes
        count AskedForRest
        router 1: ask 1
        > seal
        > type 1 c
        count Kept
        keep 10 bytes
        > kept
        > kept
        sealed
        "#,
    );
}

/// The target of a handoff has opened the document before its source kept this.
#[test]
fn who_takes_over_has_what_the_last_owner_kept() {
    plays(
        r#"
        > early 77 ab
        > take-over
        append 1 in epoch 1: 0 updates
        > durable
        > take-over
        append 2 in epoch 2: 0 updates
        > durable
        > import 1 a
        append 3 in epoch 2: 1 updates
        > durable
        all: publish 3 after 0: 1 → "ab"
        keep it no longer
        imported 1 in 3
        > export 2
        exported 2 through 3: "ab"
        "#,
    );
}

#[test]
fn who_takes_over_admits_what_has_its_ground() {
    plays(
        r#"
        > import 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        imported 1 in 1
        > early 77 ab
        > take-over
        append 2 in epoch 2: 1 updates
        > durable
        all: publish 2 after 1: 1 → "ab"
        keep it no longer
        > export 2
        exported 2 through 2: "ab"
        "#,
    );
}

#[test]
fn what_would_harm_editors_is_refused_and_what_is_beside_it_goes_in() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > raw 1 02 01 08 00 04 01 01 74 01 78 01 07 00 27 01 01 74 01 6b 07 00 01 00 00
        left behind by 1: refused
        count Refused
        router 1: refused 1 number 2
        count AskedForRest
        append 1 in epoch 1: 1 updates
        > answer-again 1
        count NothingNew
        count Refused
        router 1: refused 1 number 3
        > durable
        all: publish 1 after 0: 1 → "x"
        router 1: ask 1
        router 1: acknowledge 1 through 3
        > type 1 a
        append 2 in epoch 1: 1 updates
        > again 1
        count NothingNew
        > durable
        all: publish 2 after 1: 1 → "xa"
        router 1: acknowledge 1 through 5
        > sync 1 empty
        router 1: answer to [1] through 2: "xa"
        "#,
    );
}

/// What it is only shows when its turn comes.
#[test]
fn what_waited_for_its_ground_and_would_harm_editors_is_told() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > raw 1 01 01 07 01 27 01 01 74 01 6b 07 00 01 00 00
        count Kept
        keep 15 bytes
        count AskedForRest
        router 1: ask 1
        > kept
        > answer-again 1
        left behind by 1: ground
        count LeftBehind
        router 1: refused 1 number 2
        count LeftBehind
        router 1: refused 1 number 3
        router 1: acknowledge 1 through 3
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > raw 2 01 01 07 00 04 01 01 74 01 78 00
        left behind by 1: refused
        count AskedForRest
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "x"
        keep it no longer
        router 1: ask 1
        router 1: acknowledge 2 through 1
        "#,
    );
}

#[test]
fn who_brings_again_what_is_refused_for_good_is_told_and_sent_away() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > raw 1 01 01 07 00 27 01 01 74 01 6b 07 00 01 00 00
        left behind by 1: refused
        count NothingNew
        count Refused
        router 1: refused 1 number 2
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 2
        > answer-again 1
        count NothingNew
        count Refused
        router 1: refused 1 number 3
        router 1: acknowledge 1 through 3
        > again 1
        count NothingNew
        count Refused
        router 1: refused 1 number 4
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 4
        > answer-again 1
        count NothingNew
        count Refused
        router 1: refused 1 number 5
        router 1: close 1: part of your changes cannot be saved here: they hold something that would break other editors
        router 1: acknowledge 1 through 5
        > again 1
        "#,
    );
}

#[test]
fn who_no_longer_brings_what_was_refused_stays() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > raw 1 01 01 07 00 27 01 01 74 01 6b 07 00 01 00 00
        left behind by 1: refused
        count NothingNew
        count Refused
        router 1: refused 1 number 2
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 2
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 3
        > raw 1 01 01 07 00 27 01 01 74 01 6b 07 00 01 00 00
        count NothingNew
        count Refused
        router 1: refused 1 number 4
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 4
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 5
        > type 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 6
        "#,
    );
}

/// Limit: `document_bytes_max`.
#[test]
fn who_brings_again_what_the_document_has_no_room_for_is_sent_away() {
    let limits = Limits { document_bytes_max: 40, ..Limits::default() };
    plays_with(
        limits,
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > answer 1
        count NothingNew
        router 1: acknowledge 1 through 1
        > type 1 aaaaaaaaaaaaaaaa
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "aaaaaaaaaaaaaaaa"
        router 1: acknowledge 1 through 2
        > type 1 bbbbbbbbbbbbbbbbbbbbbbbbbbb
        left behind by 1: full
        count Refused
        router 1: refused 1 number 3
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 3
        > answer 1
        count Refused
        router 1: refused 1 number 4
        router 1: acknowledge 1 through 4
        > again 1
        count Refused
        router 1: refused 1 number 5
        count AskedForRest
        router 1: ask 1
        router 1: acknowledge 1 through 5
        > answer 1
        count Refused
        router 1: refused 1 number 6
        router 1: close 1: your changes cannot be saved: the document has reached its largest size
        router 1: acknowledge 1 through 6
        "#,
    );
}

#[test]
fn an_import_with_a_hole_is_refused_whole() {
    plays(
        r#"
        > import 1 early ab
        not imported 1: the update lacks something that it builds on; 1 structs or deletions lie behind the hole
        > import 2 raw 02 01 08 00 04 01 01 74 01 78 01 07 00 27 01 01 74 01 6b 07 00 01 00 00
        not imported 2: a struct of client 7 is a weak link, which stock editors cannot read
        > import 3 raw 02 01 08 00 04 01 01 74 01 78 01 07 00 84 09 05 01 79 00
        not imported 3: the update lacks something that it builds on; 1 structs or deletions lie behind the hole
        > export 4
        exported 4 through 0: ""
        > import 5 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        imported 5 in 1
        "#,
    );
}

/// I13.
#[test]
fn nothing_of_a_reader_is_kept() {
    plays(
        r#"
        > attach 1 read-only
        router 1: attached 1 at 0
        router 1: ask 1
        > lose 1 a
        > type 1 b
        count Refused
        router 1: refused 1 number 1
        router 1: acknowledge 1 through 1
        > answer-again 1
        count Refused
        router 1: refused 1 number 2
        router 1: acknowledge 1 through 2
        > attach 2
        router 1: attached 2 at 0
        router 1: ask 2
        > copy 2 1 a
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 2 through 1
        "#,
    );
}
