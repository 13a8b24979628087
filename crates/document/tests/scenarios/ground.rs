//! What lacks its ground is kept, and comes in by itself.

use crate::script::plays;

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
