//! Answers that are not at hand take turns with everything else (I14).

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
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
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update, WriteTxn};

const ROUTER: RouterId = RouterId::new(1);
const OTHER_ROUTER: RouterId = RouterId::new(2);
/// The session that asks and asks.
const ASKER: u64 = 1;
/// One that types.
const TYPIST: u64 = 2;

/// Copying so many letters is heavy.
const LETTERS: u32 = 2_500_000;

/// A document that is too large for anything to be copied on the thread of whoever asks.
struct Stage {
    document: Document,
    doc: Doc,
    now: Instant,
    slot: Option<Slot>,
    typed: u64,
}

impl Stage {
    fn new() -> Self {
        let doc = Doc::with_client_id(1);
        let update = typed(&doc, &"large".repeat(LETTERS as usize / 5));
        let writer = Writer { node: "a".parse().unwrap(), incarnation: Incarnation::new(1), nonce: 1 };
        let record = Record { epoch: Epoch::new(1), writer, body: Body::Updates(vec![update]) };
        let settings = Settings {
            node: "a".parse().unwrap(),
            incarnation: Incarnation::new(2),
            seed: 1,
            limits: Arc::new(Limits::default()),
            gc: Gc::Collect,
        };
        let now = Instant::now();
        let id = "notes".parse().unwrap();
        let snapshot = compaction::compact(&id, None, vec![(Slot::new(1), record)], Gc::Collect).unwrap();
        let document = Document::open(id, Some(snapshot), vec![], vec![], settings, now).unwrap();
        let mut stage = Self { document, doc, now, slot: None, typed: 0 };
        for session in 1..=9 {
            stage.attach(ROUTER, session);
        }
        // From now on not even everything is at hand.
        stage.types();
        stage.durable();
        stage
    }

    fn attach(&mut self, router: RouterId, session: u64) {
        let (session, rights, subject) = (SessionId::new(session), Rights::ReadWrite, Subject::anyone());
        let request = Request::Attach { session, rights, subject, resume: None };
        self.handle(Input::Request { router, request });
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        let weight = self.document.weight(&input);
        let answer = matches!(input, Input::Wake | Input::Request { .. });
        self.document.handle(input, self.now);
        let effects: Vec<Effect> = std::iter::from_fn(|| self.document.next_effect()).collect();
        let large = answers(&effects).iter().any(|(_, update)| update.len() > LETTERS as usize / 2);
        assert!(!(answer && large && weight == Weight::Light), "a copy was made where nobody expected it");
        for effect in &effects {
            if let Effect::Append { slot, .. } = effect {
                assert!(self.slot.replace(*slot).is_none(), "one append is in flight (R2)");
            }
        }
        effects
    }

    fn types(&mut self) -> Vec<Effect> {
        self.typed += 1;
        let update = typed(&self.doc, "y");
        let (session, number) = (SessionId::new(TYPIST), MessageNumber::new(self.typed));
        let request = Request::Update { session, number, answer: false, update };
        self.handle(Input::Request { router: ROUTER, request })
    }

    fn durable(&mut self) -> Vec<Effect> {
        let slot = self.slot.take().expect("an append in flight");
        self.handle(Input::Appended { slot, outcome: AppendOutcome::Created })
    }

    /// Asks for what everything but the first `has` letters is.
    fn asks(&mut self, session: u64, has: u32) -> Vec<Effect> {
        self.asks_over(ROUTER, session, has)
    }

    fn asks_over(&mut self, router: RouterId, session: u64, has: u32) -> Vec<Effect> {
        let mut state_vector = StateVector::default();
        state_vector.set_max(yrs::ClientID::new(1), has);
        let state_vector = state_vector.encode_v1().into();
        let request = Request::SyncRequest { session: SessionId::new(session), state_vector };
        self.handle(Input::Request { router, request })
    }

    /// A wake, if one is due now.
    fn wakes(&mut self) -> Option<Vec<Effect>> {
        let due = self.document.next_deadline().is_some_and(|at| at <= self.now);
        due.then(|| {
            assert!(self.document.weight(&Input::Wake) >= Weight::Heavy, "what is due now is dear");
            self.handle(Input::Wake)
        })
    }
}

fn typed(doc: &Doc, what: &str) -> Bytes {
    let mut transaction = doc.transact_mut();
    let text = transaction.get_or_insert_text("t");
    text.insert(&mut transaction, 0, what);
    transaction.encode_update_v1().into()
}

/// Who was answered with which update.
fn answers(effects: &[Effect]) -> Vec<(Vec<u64>, Bytes)> {
    let answers = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { event: Event::SyncAnswer { sessions, update, .. }, .. } => {
            Some((sessions.iter().map(|session| session.get()).collect(), update.clone()))
        }
        _ => None,
    });
    answers.collect()
}

fn answered(effects: &[Effect]) -> Vec<u64> {
    answers(effects).into_iter().flat_map(|(sessions, _)| sessions).collect()
}

fn published(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Broadcast { event: Event::Publish { .. } }))
}

#[test]
fn who_asks_alone_is_answered_at_once() {
    let mut stage = Stage::new();
    assert_eq!(answered(&stage.asks(ASKER, 5)), [ASKER]);
    assert!(stage.wakes().is_none());
}

#[test]
fn an_edit_waits_for_one_answer_at_most_however_many_are_wanted() {
    let mut stage = Stage::new();
    stage.asks(ASKER, 1);
    for has in 2..100 {
        assert!(stage.asks(ASKER, has).is_empty(), "the next wake is for that");
    }
    let effects = stage.types();
    assert!(matches!(effects.as_slice(), [Effect::Append { .. }]), "{effects:?}");
    // Somebody types on and on: slots and answers take turns, and what is durable is told before anything is made.
    for turn in 0..20 {
        assert!(stage.wakes().is_none(), "a slot is in flight");
        stage.types();
        let effects = stage.durable();
        assert!(published(&effects));
        assert_eq!(answered(&effects).len(), usize::from(turn > 0), "the one that this slot covers");
        assert_eq!(stage.slot, None, "now it is the turn of an answer");
        let effects = stage.wakes().expect("the answer is due");
        assert!(stage.slot.is_some(), "and behind it, what has gathered is written");
        assert_eq!(answered(&effects), [0; 0], "it holds what is written now");
    }
    assert_eq!(answered(&stage.durable()), [ASKER]);
    let mut rest = 0;
    while let Some(effects) = stage.wakes() {
        assert_eq!(answered(&effects), [ASKER], "one at a time");
        rest += 1;
    }
    assert_eq!(rest, 98 - 20);
}

#[test]
fn sessions_take_turns_and_each_is_answered_in_its_order() {
    let mut stage = Stage::new();
    stage.asks(ASKER, 1);
    for has in 2..10 {
        stage.asks(ASKER, has);
    }
    stage.asks(7, 20);
    stage.asks(8, 21);
    // This one has got everything and would be answered at once, if it had not asked for something else before.
    stage.asks(8, LETTERS + 1);
    let mut order = Vec::new();
    let mut of_8 = Vec::new();
    while let Some(effects) = stage.wakes() {
        for (sessions, update) in answers(&effects) {
            if sessions == [8] {
                of_8.push(update.len());
            }
            order.extend(sessions);
        }
    }
    assert_eq!(order, [7, 8, 1, 8, 1, 1, 1, 1, 1, 1, 1]);
    assert!(of_8[0] > LETTERS as usize - 100 && of_8[1] < 100, "{of_8:?}");
}

#[test]
fn equal_questions_of_all_routers_share_one_copy() {
    let mut stage = Stage::new();
    stage.attach(OTHER_ROUTER, 1);
    stage.asks(ASKER, 1);
    for session in 3..9 {
        stage.asks(session, 77);
    }
    stage.asks_over(OTHER_ROUTER, 1, 77);
    let effects = stage.wakes().unwrap();
    let answers = answers(&effects);
    assert_eq!(answers.len(), 2, "one for each router");
    assert_eq!(answers[0].0, (3..9).collect::<Vec<u64>>());
    assert_eq!(answers[0].1.as_ptr(), answers[1].1.as_ptr());
    assert!(stage.wakes().is_none());
}

#[test]
fn nothing_is_made_for_who_has_left() {
    let mut stage = Stage::new();
    stage.attach(OTHER_ROUTER, 1);
    for has in 1..100 {
        stage.asks(ASKER, has);
        stage.asks_over(OTHER_ROUTER, 1, has + 1_000);
    }
    stage.handle(Input::Request {
        router: ROUTER,
        request: Request::Detach { session: SessionId::new(ASKER) },
    });
    stage.handle(Input::RouterGone { router: OTHER_ROUTER });
    assert!(stage.wakes().is_none());
}

#[test]
fn answers_while_it_is_sealed_are_not_due_and_come_afterwards() {
    let mut stage = Stage::new();
    stage.handle(Input::Seal);
    for has in 1..5 {
        assert!(stage.asks(ASKER, has).is_empty());
    }
    assert!(stage.wakes().is_none());
    assert!(stage.handle(Input::Unseal).is_empty());
    for _ in 1..5 {
        assert_eq!(answered(&stage.wakes().unwrap()), [ASKER]);
    }
    assert!(stage.wakes().is_none());
}

#[test]
fn catch_ups_exports_and_answers_all_get_their_turn() {
    let mut stage = Stage::new();
    stage.asks(ASKER, 1);
    for has in 2..6 {
        stage.asks(ASKER, has);
    }
    // No slot has this number: it is owed everything.
    let request = Request::CatchUp { from: Slot::new(1_000) };
    assert!(stage.handle(Input::Request { router: ROUTER, request }).is_empty());
    assert!(stage.handle(Input::Export { ticket: 1 }).is_empty());
    let mut told: Vec<BTreeMap<&str, usize>> = Vec::new();
    while let Some(effects) = stage.wakes() {
        let mut kinds = BTreeMap::new();
        for effect in &effects {
            let kind = match effect {
                Effect::Exported { .. } => "export",
                Effect::Deliver { event: Event::CaughtUp { .. }, .. } => "catch-up",
                Effect::Deliver { event: Event::SyncAnswer { .. }, .. } => "answer",
                other => panic!("{other:?}"),
            };
            *kinds.entry(kind).or_default() += 1;
        }
        told.push(kinds);
    }
    let all: usize = told.iter().flat_map(BTreeMap::values).sum();
    assert_eq!(all, 4 + 1 + 1, "{told:?}");
    assert_eq!(told[0].get("export"), Some(&1), "{told:?}");
}

#[test]
fn whoever_is_answered_in_turn_has_everything_in_the_end() {
    let mut stage = Stage::new();
    let mine = Doc::with_client_id(9);
    stage.asks(ASKER, 1);
    stage.asks(7, 0);
    stage.types();
    stage.types();
    stage.durable();
    stage.wakes().expect("the answer is due");
    for effects in [stage.durable()] {
        for (sessions, update) in answers(&effects) {
            assert_eq!(sessions, [7]);
            mine.transact_mut().apply_update(Update::decode_v1(&update).unwrap()).unwrap();
        }
    }
    let text = |doc: &Doc| {
        let transaction = doc.transact();
        transaction.get_text("t").unwrap().get_string(&transaction)
    };
    assert_eq!(text(&mine), text(&stage.doc));
}
