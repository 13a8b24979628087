//! A document on its way to another node: the source's side and the target's (`ring::handoff` says when).

use crate::script::plays;

/// What gathers behind a seal is written when the document claims again, under a higher epoch.
#[test]
fn a_sealed_document_takes_no_new_slot_and_one_that_claims_again_writes_what_gathered() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > type 1 a
        append 1 in epoch 1: 1 updates
        > seal
        > type 1 b
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        sealed
        > sync 1
        > claim
        append 2 in epoch 2: 1 updates
        unsealed
        > durable
        all: publish 2 after 1: 1 → "ab"
        router 1: acknowledge 1 through 2
        router 1: answer to [1] through 2: no structs
        "#,
    );
}

/// The target's fence was there first: nothing that gathered is acknowledged (I2), and the routers are told.
#[test]
fn a_source_that_claims_again_after_its_target_is_fenced() {
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
        > seal
        sealed
        > type 1 b
        > claim
        append 2 in epoch 2: 1 updates
        unsealed
        > taken 2
        fenced
        "#,
    );
}

#[test]
fn a_seal_that_is_taken_off_needs_no_fence() {
    plays(
        r#"
        > attach 1
        router 1: attached 1 at 0
        router 1: ask 1
        > seal
        sealed
        > type 1 a
        > unseal
        append 1 in epoch 1: 1 updates
        unsealed
        > durable
        all: publish 1 after 0: 1 → "a"
        router 1: acknowledge 1 through 1
        "#,
    );
}

/// I3: what the source wrote last is merged before the fence. And nobody lacks an empty fence.
#[test]
fn a_target_claims_with_an_empty_fence_behind_the_last_slot_of_its_source() {
    plays(
        r#"
        > claim
        append 1 in epoch 1: 0 updates
        > taken 0 a
        all: publish 1 after 0: 1 → "a"
        append 2 in epoch 1: 0 updates
        > durable
        > resume 1 1
        router 1: attached 1 at 1
        router 1: ask 1
        "#,
    );
}

/// I12.
#[test]
fn presence_is_inherited_and_goes_with_sessions_that_do_not_come() {
    plays(
        r#"
        > inherit 1 7 1
        > inherit 2 8 2
        > attach 1
        router 1: attached 1 at 0
        router 1: awareness only 1: 7@3 {}, 8@3 {}
        router 1: ask 1
        > wait 9000
        all: awareness: 7@3 {}, 8@3 {}
        read the tail after 0
        > wait 1100
        read the tail after 0
        all: awareness: 8@3 null
        "#,
    );
}
