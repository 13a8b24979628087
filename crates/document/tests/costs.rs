//! What it costs: which thread pays, what is encoded once for many, what is held in memory.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_document::{AppendOutcome, Document, Effect, Input, Settings, Weight, compaction};
use ringleaf_types::{
    Body, Epoch, Incarnation, Limits, MessageNumber, Record, Rights, RouterId, SessionId, Slot, Subject,
    Writer,
};
use ringleaf_wire::{Event, Request};
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, WriteTxn};

const ROUTER: RouterId = RouterId::new(1);
const EDITS: usize = 4_000;

/// Somebody has typed for a long time, and deleted here and there.
fn written() -> (Doc, Vec<(Slot, Record)>) {
    let doc = Doc::with_client_id(1);
    let mut slots = Vec::new();
    for edit in 0..EDITS {
        let mut transaction = doc.transact_mut();
        let text = transaction.get_or_insert_text("t");
        let length = text.len(&transaction);
        if edit % 40 == 39 {
            text.remove_range(&mut transaction, length / 2, 1);
        } else {
            let at = if edit % 50 == 0 { 0 } else { length };
            text.insert(&mut transaction, at, "x");
        }
        let writer = Writer { node: "a".parse().unwrap(), incarnation: Incarnation::new(1), nonce: 1 };
        let body = Body::Updates(vec![transaction.encode_update_v1().into()]);
        slots.push((Slot::new(edit as u64 + 1), Record { epoch: Epoch::new(1), writer, body }));
    }
    (doc, slots)
}

struct Stage {
    document: Document,
    now: Instant,
}

impl Stage {
    /// The first slots are compacted, `tail` slots are not.
    fn new(slots: &[(Slot, Record)], tail: usize) -> Self {
        let now = Instant::now();
        let settings = Settings {
            node: "a".parse().unwrap(),
            incarnation: Incarnation::new(2),
            seed: 1,
            limits: Arc::new(Limits::default()),
        };
        let id = "notes".parse().unwrap();
        let (old, new) = slots.split_at(slots.len() - tail);
        let snapshot = (!old.is_empty()).then(|| compaction::compact(&id, None, old.to_vec()).unwrap());
        Self { document: Document::open(id, snapshot, new.to_vec(), settings, now).unwrap(), now }
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        self.document.handle(input, self.now);
        std::iter::from_fn(|| self.document.next_effect()).collect()
    }

    fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.handle(Input::Request { router: ROUTER, request })
    }

    fn attach(&mut self, session: u64) -> Vec<Effect> {
        let (session, rights, subject) = (SessionId::new(session), Rights::ReadWrite, Subject::anyone());
        self.ask(Request::Attach { session, rights, subject, resume: None })
    }

    fn weight(&self, request: Request) -> Weight {
        self.document.weight(&Input::Request { router: ROUTER, request })
    }
}

fn sync(session: u64, state_vector: &[u8]) -> Request {
    let state_vector = Bytes::copy_from_slice(state_vector);
    Request::SyncRequest { session: SessionId::new(session), state_vector }
}

fn update(session: u64, number: u64, answer: bool, update: Vec<u8>) -> Request {
    let (session, number) = (SessionId::new(session), MessageNumber::new(number));
    Request::Update { session, number, answer, update: update.into() }
}

fn answers(effects: &[Effect]) -> Vec<Bytes> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { event: Event::SyncAnswer { update, .. }, .. } => Some(update.clone()),
        _ => None,
    });
    answers.collect()
}

#[test]
fn joiners_of_a_document_that_nobody_writes_to_get_the_stored_bytes_as_they_are() {
    let (_, slots) = written();
    let mut stage = Stage::new(&slots, 0);
    let mut bytes: Vec<*const u8> = Vec::new();
    for session in 1..=200 {
        stage.attach(session);
        assert_eq!(stage.weight(sync(session, &[0])), Weight::Light);
        let answers = answers(&stage.ask(sync(session, &[0])));
        bytes.push(answers[0].as_ptr());
    }
    bytes.dedup();
    assert_eq!(bytes.len(), 1, "all got the same bytes");
    assert!(!stage.document.has_replica());
}

#[test]
fn joiners_of_a_short_tail_share_one_merge_and_the_state_is_held_once() {
    let (_, slots) = written();
    let mut stage = Stage::new(&slots, 20);
    stage.attach(1);
    assert_eq!(stage.weight(sync(1, &[0])), Weight::Builds, "yrs decodes stored bytes");
    let first = answers(&stage.ask(sync(1, &[0])));
    stage.attach(2);
    assert_eq!(stage.weight(sync(2, &[0])), Weight::Light);
    let second = answers(&stage.ask(sync(2, &[0])));
    assert_eq!(first[0].as_ptr(), second[0].as_ptr());
    assert!(!stage.document.has_replica());
    assert!(stage.document.resident_bytes() < first[0].len() * 3 / 2 + 4_096);
}

#[test]
fn a_crowd_that_joins_while_somebody_writes_costs_one_encode_per_slot() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 0);
    for session in 1..=200 {
        stage.attach(session);
    }
    let text = doc.get_or_insert_text("t");
    let type_one = |number: u64| {
        let mut transaction = doc.transact_mut();
        text.insert(&mut transaction, 0, "y");
        update(1, number, false, transaction.encode_update_v1())
    };
    stage.ask(type_one(1));
    for session in 2..=200 {
        assert!(answers(&stage.ask(sync(session, &[0]))).is_empty(), "a slot is in flight");
    }
    stage.ask(type_one(2));
    let slot = stage.document.last_slot().next();
    let effects = stage.handle(Input::Appended { slot, outcome: AppendOutcome::Created });
    assert!(answers(&effects).is_empty(), "they hold what is written now");
    let effects = stage.handle(Input::Appended { slot: slot.next(), outcome: AppendOutcome::Created });
    let answered = effects.iter().find_map(|effect| match effect {
        Effect::Deliver { event: Event::SyncAnswer { sessions, through, .. }, .. } => {
            Some((sessions.len(), *through))
        }
        _ => None,
    });
    assert_eq!(answered, Some((199, slot.next())));
    assert_eq!(answers(&effects).len(), 1);
}

#[test]
fn a_crowd_that_reconnects_writes_no_slot_and_is_shown_nothing() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 100);
    let state_vector = doc.transact().state_vector().encode_v1();
    // A stock client answers with what the server lacks, and always with its complete delete set.
    let answer = doc.transact().encode_state_as_update_v1(&doc.transact().state_vector());
    for session in 1..=500 {
        let mut effects = stage.attach(session);
        assert_eq!(stage.weight(sync(session, &state_vector)), Weight::Light);
        effects.extend(stage.ask(sync(session, &state_vector)));
        let request = update(session, 1, true, answer.clone());
        assert_eq!(stage.weight(request.clone()), Weight::Light);
        effects.extend(stage.ask(request));
        for effect in effects {
            assert!(!matches!(effect, Effect::Append { .. } | Effect::Broadcast { .. }), "{effect:?}");
        }
    }
    assert!(!stage.document.has_replica());
}

#[test]
fn the_first_write_builds_the_replica_and_later_ones_are_light() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 10);
    stage.attach(1);
    let text = doc.get_or_insert_text("t");
    let type_one = |number: u64| {
        let mut transaction = doc.transact_mut();
        text.push(&mut transaction, "y");
        update(1, number, false, transaction.encode_update_v1())
    };
    let request = type_one(1);
    assert_eq!(stage.weight(request.clone()), Weight::Builds);
    stage.ask(request);
    assert_eq!(stage.weight(type_one(2)), Weight::Light);
    assert_eq!(stage.weight(update(1, 2, false, vec![0; 100_000])), Weight::Heavy);
    assert_eq!(stage.weight(update(1, 2, false, vec![9])), Weight::Light);
}

#[test]
fn a_document_that_is_only_resident_holds_little_more_than_what_is_stored() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 0);
    let stored = answers(&{
        stage.attach(1);
        stage.ask(sync(1, &[0]))
    })[0]
        .len();
    assert!(stage.document.resident_bytes() <= stored * 3 / 2, "{}", stage.document.resident_bytes());
    // And so does one that somebody has written to, some time later.
    let text = doc.get_or_insert_text("t");
    for number in 1..=200 {
        let mut transaction = doc.transact_mut();
        text.push(&mut transaction, "y");
        stage.ask(update(1, number, false, transaction.encode_update_v1()));
        drop(transaction);
        let slot = stage.document.last_slot().next();
        stage.handle(Input::Appended { slot, outcome: AppendOutcome::Created });
    }
    assert!(stage.document.has_replica());
    while stage.document.has_replica() {
        stage.now = stage.now.max(stage.document.next_deadline().unwrap());
        stage.handle(Input::Wake);
    }
    assert!(stage.document.resident_bytes() <= (stored + 200) * 3 / 2 + 1_024);
    let full = answers(&stage.ask(sync(1, &[0])));
    let expected = doc.transact().encode_state_as_update_v1(&StateVector::default());
    assert_eq!(
        ringleaf_reader::view::text(&full[0]).unwrap(),
        ringleaf_reader::view::text(&expected).unwrap()
    );
}

#[test]
fn who_was_away_for_long_gets_the_difference_and_not_the_whole() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 0);
    stage.attach(1);
    let from = stage.document.last_slot();
    let text = doc.get_or_insert_text("t");
    for number in 1..=200 {
        let mut transaction = doc.transact_mut();
        text.push(&mut transaction, "y");
        stage.ask(update(1, number, false, transaction.encode_update_v1()));
        drop(transaction);
        let slot = stage.document.last_slot().next();
        stage.handle(Input::Appended { slot, outcome: AppendOutcome::Created });
    }
    let effects = stage.ask(Request::CatchUp { from });
    let [Effect::Deliver { event: Event::CaughtUp { update, .. }, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let whole = answers(&stage.ask(sync(1, &[0])))[0].len();
    assert!(update.len() < whole / 2, "{} of {whole}", update.len());
}

#[test]
fn a_worthwhile_tail_is_compacted_before_the_document_is_forgotten() {
    let (_, slots) = written();
    let mut stage = Stage::new(&slots, 500);
    let mut effects = Vec::new();
    let mut heaviest = Weight::Light;
    while effects.is_empty() {
        stage.now = stage.now.max(stage.document.next_deadline().unwrap());
        heaviest = heaviest.max(stage.document.weight(&Input::Wake));
        effects = stage.handle(Input::Wake);
    }
    assert_eq!(heaviest, Weight::Builds, "the tail was folded into one update before that");
    assert!(!stage.document.has_replica());
    assert_eq!(effects, [Effect::Compact { through: Slot::new(EDITS as u64) }]);
    let snapshot = compaction::compact(&"notes".parse().unwrap(), None, slots).unwrap();
    assert!(stage.handle(Input::Compacted { snapshot }).is_empty());
    stage.now = stage.now.max(stage.document.next_deadline().unwrap());
    assert_eq!(stage.handle(Input::Wake), [Effect::Forget]);
}

/// Run by hand, optimized: `cargo test --release -p ringleaf-document --test costs -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and says nothing when it is not optimized"]
fn a_typed_character_takes_microseconds() {
    let (doc, slots) = written();
    let mut stage = Stage::new(&slots, 0);
    for session in 1..=1_000 {
        stage.attach(session);
    }
    let text = doc.get_or_insert_text("t");
    let updates: Vec<Vec<u8>> = (0..20_000)
        .map(|_| {
            let mut transaction = doc.transact_mut();
            text.push(&mut transaction, "y");
            transaction.encode_update_v1()
        })
        .collect();
    let (mut admitted, mut appended) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for (number, bytes) in updates.into_iter().enumerate() {
        let request = update(number as u64 % 1_000 + 1, number as u64, false, bytes);
        let begun = Instant::now();
        let weight = stage.document.weight(&Input::Request { router: ROUTER, request: request.clone() });
        stage.ask(request);
        admitted += begun.elapsed();
        assert!(number == 0 || weight == Weight::Light);
        let slot = stage.document.last_slot().next();
        let begun = Instant::now();
        stage.handle(Input::Appended { slot, outcome: AppendOutcome::Created });
        appended += begun.elapsed();
    }
    println!("admit {:?}, append {:?} each", admitted / 20_000, appended / 20_000);
}
