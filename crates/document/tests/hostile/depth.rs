//! What is nested: as deep as editors can stand, and deeper.

use bytes::Bytes;
use ringleaf_document::{Gc, StructStore};
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::scan::{Harm, TYPE_NESTING_MAX, VALUE_NESTING_MAX};

use crate::inputs::{self, At};
use crate::measure::timed;

const DEEP: u64 = TYPE_NESTING_MAX as u64 + 1;

fn clock(store: &StructStore, client: u64) -> u64 {
    u64::from(store.clock_of(ClientId::new(client)).get())
}

fn barred(client: u64, harm: Harm) -> Option<Refusal> {
    Some(Refusal::Harmful { client: ClientId::new(client), harm })
}

#[test]
fn types_as_deep_as_editors_can_stand_are_admitted_and_deeper_ones_refused_aloud() {
    let _alone = crate::alone();
    let mut store = StructStore::new();
    let admission = store.admit(&inputs::nested(9, 0, DEEP).into()).unwrap();
    assert_eq!((admission.barred, admission.remainder), (None, None));
    assert_eq!(clock(&store, 9), DEEP);
    // The healthy part of a message comes in: another client's, and of this one what is not too deep.
    let mixed = inputs::update(|update| {
        update.client(9, DEEP);
        for clock in DEEP..100_000 {
            update.item(At::In(9, clock - 1), inputs::ARRAY);
        }
        update.client(8, 0);
        update.item(At::Root, inputs::LETTER);
    });
    let admission = store.admit(&mixed.into()).unwrap();
    assert_eq!(admission.barred, barred(9, Harm::TypesTooDeep));
    assert_eq!((clock(&store, 9), clock(&store, 8)), (DEEP, 1));
}

#[test]
fn a_hundred_thousand_levels_at_once_are_refused_from_where_they_are_too_deep() {
    let _alone = crate::alone();
    let message: Bytes = inputs::nested(9, 0, 100_000).into();
    let mut store = StructStore::new();
    let (admission, took) = timed(|| store.admit(&message).unwrap());
    println!("figure: 100,000 levels refused in {took:.1?}");
    assert_eq!(admission.barred, barred(9, Harm::TypesTooDeep));
    assert_eq!(clock(&store, 9), DEEP);
    store.compact(Gc::Collect);
    let again = store.admit(&message).unwrap();
    assert_eq!((again.news, again.barred), (None, barred(9, Harm::TypesTooDeep)));
}

/// In a document that is nested as deeply as it may be, every message with a parent could go too deep.
#[test]
fn small_messages_into_a_deep_document_cost_no_look_at_all_of_it() {
    let _alone = crate::alone();
    let mut store = StructStore::new();
    store.admit(&inputs::backwards(7, 300_000).into()).unwrap();
    store.admit(&inputs::nested(9, 0, DEEP - 1).into()).unwrap();
    store.compact(Gc::Collect);
    let mut letters = |count: u64, client: u64| {
        timed(|| {
            for at in 0..count {
                let parent = At::In(9, at % (DEEP - 2));
                let message = inputs::update(|update| {
                    update.client(client, at);
                    update.item(parent, inputs::LETTER);
                });
                assert!(store.admit(&message.into()).unwrap().news.is_some());
            }
        })
        .1
    };
    letters(1, 10);
    let took = letters(2_000, 11);
    println!("figure: 2,000 letters into a document that is nested deeply: {took:.1?}");
    assert!(took.as_millis() < 1_000, "{took:?}");
    let below = inputs::update(|update| {
        update.client(12, 0);
        update.item(At::In(9, DEEP - 2), inputs::ARRAY);
        update.item(At::In(12, 0), inputs::LETTER);
    });
    assert_eq!(store.admit(&below.into()).unwrap().barred, barred(12, Harm::TypesTooDeep));
    assert_eq!(store.clock_of(ClientId::new(12)), Clock::new(1), "the last level is allowed");
}

#[test]
fn values_nested_deeply_are_refused_without_a_deep_stack() {
    let _alone = crate::alone();
    let most = VALUE_NESTING_MAX;
    for write in [inputs::nested_any, inputs::nested_json] {
        let mut store = StructStore::new();
        assert_eq!(store.admit(&write(9, most).into()).unwrap().barred, None);
        let deep: Bytes = write(8, 5_000_000).into();
        let (admission, took) = timed(|| store.admit(&deep).unwrap());
        println!("figure: five million nested values, {} MiB: {took:.1?}", deep.len() >> 20);
        assert_eq!(admission.barred, barred(8, Harm::ValuesTooDeep));
        assert_eq!((clock(&store, 9), clock(&store, 8)), (1, 0));
    }
}
