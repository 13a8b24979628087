//! What is told, when, and to whom.

use crate::script::plays;

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
        append 2 in epoch 1: 1 updates
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
