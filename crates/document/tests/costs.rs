//! What it costs: which thread pays, what is copied once for many, what is held in memory.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_document::{AppendOutcome, Document, Effect, Gc, Input, Settings, Weight, compaction};
use ringleaf_types::{
    Body, Epoch, Incarnation, Limits, MessageNumber, Record, Rights, RouterId, SessionId, Slot, Subject,
    Writer,
};
use ringleaf_wire::{Event, Request};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, Update, WriteTxn};

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
        Self::with(slots, tail, Gc::Collect)
    }

    fn with(slots: &[(Slot, Record)], tail: usize, gc: Gc) -> Self {
        let now = Instant::now();
        let settings = Settings {
            node: "a".parse().unwrap(),
            incarnation: Incarnation::new(2),
            seed: 1,
            limits: Arc::new(Limits::default()),
            gc,
        };
        let id = "notes".parse().unwrap();
        let (old, new) = slots.split_at(slots.len() - tail);
        let snapshot =
            (!old.is_empty()).then(|| compaction::compact(&id, None, old.to_vec(), Gc::Collect).unwrap());
        Self { document: Document::open(id, snapshot, new.to_vec(), vec![], settings, now).unwrap(), now }
    }

    /// Client 1 has typed so many letters at once, and somebody is there.
    fn large(letters: usize) -> Self {
        Self::large_with(letters, Gc::Collect)
    }

    fn large_with(letters: usize, gc: Gc) -> Self {
        let writer = Writer { node: "a".parse().unwrap(), incarnation: Incarnation::new(1), nonce: 1 };
        let body = Body::Updates(vec![typed(1, &"x".repeat(letters)).into()]);
        let record = Record { epoch: Epoch::new(1), writer, body };
        let mut stage = Self::with(&[(Slot::new(1), record)], 0, gc);
        stage.attach(1);
        stage
    }

    /// Everything, as somebody else gets it.
    fn state(&mut self) -> Bytes {
        let effects = self.handle(Input::Export { ticket: 9 });
        let state = effects.into_iter().find_map(|effect| match effect {
            Effect::Exported { state, .. } => Some(state),
            _ => None,
        });
        state.expect("nothing is in flight")
    }

    /// An editor that has everything.
    fn doc(&mut self) -> Doc {
        let doc = Doc::with_client_id(7);
        let state = Update::decode_v1(&self.state()).unwrap();
        doc.transact_mut().apply_update(state).unwrap();
        doc
    }

    /// The append in flight is.
    fn durable(&mut self) -> Vec<Effect> {
        let slot = self.document.last_slot().next();
        self.handle(Input::Appended { slot, outcome: AppendOutcome::Created })
    }

    /// The next deadline passes.
    fn wakes(&mut self) -> Vec<Effect> {
        self.now = self.now.max(self.document.next_deadline().unwrap());
        self.handle(Input::Wake)
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

/// A state vector of one client.
fn seen(client: u64, clock: u32) -> Vec<u8> {
    let mut state_vector = StateVector::default();
    state_vector.set_max(yrs::ClientID::new(client), clock);
    state_vector.encode_v1()
}

/// One update of a client that types a text at once.
fn typed(client: u64, what: &str) -> Vec<u8> {
    let doc = Doc::with_client_id(client);
    let mut transaction = doc.transact_mut();
    let text = transaction.get_or_insert_text("t");
    text.push(&mut transaction, what);
    transaction.encode_update_v1()
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
}

#[test]
fn joiners_of_a_short_tail_share_one_fold_and_the_state_is_held_once() {
    let (_, slots) = written();
    let mut stage = Stage::new(&slots, 20);
    let mut bytes: Vec<*const u8> = Vec::new();
    for session in 1..=200 {
        stage.attach(session);
        assert_eq!(stage.weight(sync(session, &[0])), Weight::Light);
        bytes.push(answers(&stage.ask(sync(session, &[0])))[0].as_ptr());
    }
    bytes.dedup();
    assert_eq!(bytes.len(), 1, "all got the same bytes");
}

#[test]
fn a_crowd_that_joins_while_somebody_writes_costs_one_fold_per_slot() {
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
}

#[test]
fn what_an_update_weighs_depends_on_its_bytes_and_not_on_the_documents() {
    let large = Stage::large(4 << 20);
    let (_, slots) = written();
    let mut small = Stage::new(&slots, 10);
    small.attach(1);
    for stage in [&large, &small] {
        let weight = |bytes: usize| stage.weight(update(1, 1, false, vec![9; bytes]));
        assert_eq!([30, 60_000].map(weight), [Weight::Light; 2]);
        assert_eq!([70_000, 400_000].map(weight), [Weight::Heavy; 2]);
        assert_eq!(weight(1_100_000), Weight::Long);
    }
}

#[test]
fn what_an_answer_weighs_depends_on_what_has_to_be_copied() {
    let weights = |bytes: usize| {
        let mut stage = Stage::large(bytes);
        let everything = stage.weight(sync(1, &[0]));
        assert_eq!(everything, Weight::Light, "nothing is copied");
        let clocks = seen(1, bytes as u32 / 2);
        let export = stage.document.weight(&Input::Export { ticket: 1 });
        assert_eq!(export, Weight::Light);
        let difference = stage.weight(sync(1, &clocks));
        stage.ask(update(1, 1, false, typed(2, "y")));
        stage.durable();
        assert_eq!(stage.weight(sync(1, &[0])), difference, "now everything is copied, too");
        difference
    };
    assert_eq!(weights(1 << 20), Weight::Light);
    assert_eq!(weights(4 << 20), Weight::Heavy);
    assert_eq!(weights(40 << 20), Weight::Long);
}

/// Somebody types, at the end and here and there, and what they typed is deleted again in part. Looked at when it was often
/// written to, since whoever looks gets everything as one.
#[test]
fn a_document_that_is_being_written_to_holds_little_more_than_what_is_stored() {
    for letters in [10, 4_000, 40_000, 400_000] {
        for edits in [10, 250, 600, 1_400, 3_000] {
            let mut stage = Stage::large(letters);
            let doc = stage.doc();
            let text = doc.get_or_insert_text("t");
            for number in 1..=edits {
                let mut transaction = doc.transact_mut();
                let length = text.len(&transaction);
                match number % 20 {
                    0 => text.remove_range(&mut transaction, length / 3, 3),
                    1 => text.insert(&mut transaction, length / 2, "here"),
                    _ => text.push(&mut transaction, "y"),
                }
                stage.ask(update(1, number, false, transaction.encode_update_v1()));
                drop(transaction);
                stage.durable();
            }
            let (held, stored) = (stage.document.resident_bytes(), stage.state().len());
            let most = stored * 8 / 5 + 2_048;
            assert!(
                held <= most,
                "{edits} edits of {letters} letters: {held} for {stored}, more than {most}"
            );
        }
    }
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
        stage.durable();
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
    while effects.is_empty() {
        effects = stage.wakes();
    }
    assert_eq!(effects, [Effect::Compact { through: Slot::new(EDITS as u64) }]);
    assert!(stage.handle(Input::Compacted { upto: Slot::new(EDITS as u64) }).is_empty());
    assert_eq!(stage.wakes(), [Effect::Forget]);
}

#[test]
fn a_large_document_is_made_compact_in_a_wake_of_its_own() {
    let mut stage = Stage::large(4 << 20);
    let before = stage.document.resident_bytes();
    // A third of what is there: worth it at once.
    stage.ask(update(1, 1, false, typed(2, &"y".repeat(2 << 20))));
    assert_eq!(stage.document.weight(&Input::Wake), Weight::Long, "the next wake is for that");
    assert_eq!(stage.document.next_deadline(), Some(stage.now));
    stage.durable();
    stage.handle(Input::Wake);
    assert_eq!(stage.document.weight(&Input::Wake), Weight::Light);
    // Little: when nobody has written for a while.
    stage.ask(update(1, 2, false, typed(3, "y")));
    stage.durable();
    stage.ask(Request::Detach { session: SessionId::new(1) });
    assert_eq!(stage.document.weight(&Input::Wake), Weight::Light);
    let mut heaviest = Weight::Light;
    while stage.document.next_deadline().is_some() {
        stage.now = stage.now.max(stage.document.next_deadline().unwrap());
        heaviest = heaviest.max(stage.document.weight(&Input::Wake));
        stage.handle(Input::Wake);
    }
    assert_eq!(heaviest, Weight::Long);
    let held = stage.document.resident_bytes() - before;
    assert!(held < (2 << 20) + (64 << 10), "{held} bytes more");
}

#[test]
fn what_was_deleted_is_gone_when_nobody_has_written_for_a_while_unless_it_is_to_be_kept() {
    for gc in [Gc::Collect, Gc::Keep] {
        let mut stage = Stage::large_with(3_000, gc);
        let doc = stage.doc();
        let text = doc.get_or_insert_text("t");
        let mut transaction = doc.transact_mut();
        text.remove_range(&mut transaction, 100, 2_800);
        stage.ask(update(1, 1, false, transaction.encode_update_v1()));
        stage.durable();
        assert!(stage.state().len() > 3_000);
        stage.now += Limits::default().compaction_idle_timeout;
        stage.handle(Input::Wake);
        let state = stage.state();
        assert_eq!(state.len() < 300, gc == Gc::Collect, "{gc:?}: {}", state.len());
        assert_eq!(ringleaf_reader::view::text(&state).unwrap(), "x".repeat(200));
    }
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
        assert_eq!(weight, Weight::Light);
        let slot = stage.document.last_slot().next();
        let begun = Instant::now();
        stage.handle(Input::Appended { slot, outcome: AppendOutcome::Created });
        appended += begun.elapsed();
    }
    println!("admit {:?}, append {:?} each", admitted / 20_000, appended / 20_000);
}
