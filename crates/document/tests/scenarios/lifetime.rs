//! Snapshots are made, documents come and go.

use std::time::Duration;

use ringleaf_types::Limits;

use crate::script::{plays, plays_with};

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
        > type 1 c
        > wait 25
        append 2 in epoch 1: 1 updates
        > durable
        all: publish 2 after 1: 1 → "abc"
        router 1: acknowledge 1 through 3
        "#,
    );
}

#[test]
fn an_append_is_not_held_from_somebody_who_waits_for_an_answer() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > hold 20
        > type 1 a
        > sync 1 empty
        append 1 in epoch 1: 1 updates
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        router 1: answer to [1] through 1: "a"
        "#,
    );
}

#[test]
fn a_long_tail_is_compacted() {
    let limits = Limits {
        tail_slots_max: 1,
        idle_timeout: Duration::from_secs(600),
        compaction_idle_timeout: Duration::from_secs(600),
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
fn what_is_made_compact_when_nobody_writes_answers_the_same() {
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
