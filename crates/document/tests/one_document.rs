//! One document and its editors, from the outside.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_document::{AppendOutcome, Document, Effect, Input, Settings};
use ringleaf_types::{Body, Incarnation, Limits, MessageNumber, Rights, RouterId, SessionId, Slot, Subject};
use ringleaf_wire::{Event, Request};
use yrs::{Doc, ReadTxn, StateVector, Text, Transact};

const ROUTER: RouterId = RouterId::new(7);

fn open(now: Instant) -> Document {
    let settings = Settings {
        node: "a".parse().unwrap(),
        incarnation: Incarnation::new(1),
        seed: 1,
        limits: Arc::new(Limits::default()),
    };
    Document::open("notes".parse().unwrap(), None, Vec::new(), settings, now).unwrap()
}

fn ask(document: &mut Document, request: Request, now: Instant) -> Vec<Effect> {
    document.handle(Input::Request { router: ROUTER, request }, now);
    std::iter::from_fn(|| document.next_effect()).collect()
}

fn typed(text: &str) -> Bytes {
    let doc = Doc::with_client_id(5);
    let root = doc.get_or_insert_text("t");
    root.push(&mut doc.transact_mut(), text);
    let update = doc.transact().encode_state_as_update_v1(&StateVector::default());
    update.into()
}

#[test]
fn an_update_leaves_when_its_slot_is_durable() {
    let now = Instant::now();
    let mut document = open(now);
    let session = SessionId::new(1);
    let attach =
        Request::Attach { session, rights: Rights::ReadWrite, subject: Subject::anyone(), resume: None };
    let attached = ask(&mut document, attach, now);
    assert_eq!(attached.len(), 2);

    let update = typed("hello");
    let number = MessageNumber::new(1);
    let request = Request::Update { session, number, answer: false, update: update.clone() };
    let effects = ask(&mut document, request, now);
    let [Effect::Append { slot, record }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((*slot, &record.body), (Slot::new(1), &Body::Updates(vec![update.clone()])));

    document.handle(Input::Appended { slot: *slot, outcome: AppendOutcome::Created }, now);
    let effects: Vec<Effect> = std::iter::from_fn(|| document.next_effect()).collect();
    assert_eq!(
        effects,
        [
            Effect::Broadcast {
                event: Event::Publish {
                    previous: Slot::ZERO,
                    slot: Slot::new(1),
                    updates: Arc::new([update])
                }
            },
            Effect::Deliver { router: ROUTER, event: Event::Acknowledge { session, through: number } },
        ]
    );
}
