//! What is left behind for good is told to those whom it concerns.

use std::time::Duration;

use ringleaf_types::Limits;

use crate::script::{plays, plays_with};

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
        router 1: acknowledge 1 through 4
        > wait 5000
        count AskedForRest
        router 1: ask 1
        read the tail after 0
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
        router 1: acknowledge 1 through 5
        > wait 5000
        count AskedForRest
        router 1: ask 1
        read the tail after 1
        > answer 1
        count Refused
        router 1: refused 1 number 6
        router 1: close 1: your changes cannot be saved: the document has reached its largest size
        router 1: acknowledge 1 through 6
        "#,
    );
}
