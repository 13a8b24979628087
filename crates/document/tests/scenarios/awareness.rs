//! Presence.

use ringleaf_types::Limits;

use crate::script::{plays, plays_with};

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
