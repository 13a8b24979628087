//! A whole document, turn by turn: none that it calls light is long, whatever came before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_document::{AppendOutcome, Document, Effect, Gc, Input, Settings, StructStore, Weight};
use ringleaf_types::{ClientId, Incarnation, Limits, MessageNumber, Rights, RouterId, SessionId, Subject};
use ringleaf_wire::{Event, Request};

use crate::inputs::{self, At};
use crate::measure::timed;
use crate::size;

/// A light turn is on a thread of the runtime, where others wait for it.
const LIGHT_GOAL: Duration = Duration::from_millis(50);
const TIMES_GOAL: u32 = 10;

const ROUTER: RouterId = RouterId::new(1);
const HOSTILE: SessionId = SessionId::new(1);
const HONEST: SessionId = SessionId::new(2);

struct Stage {
    document: Document,
    now: Instant,
    inputs: Vec<Input>,
    number: u64,
    honest_clock: u64,
    light: Duration,
    all: Duration,
    exported: Option<Bytes>,
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        let settings = Settings {
            node: "a".parse().unwrap(),
            incarnation: Incarnation::new(1),
            seed: 1,
            limits: Arc::new(Limits::default()),
            gc: Gc::Collect,
        };
        let document = Document::open("notes".parse().unwrap(), None, vec![], vec![], settings, now).unwrap();
        let mut stage = Self {
            document,
            now,
            inputs: Vec::new(),
            number: 0,
            honest_clock: 0,
            light: Duration::ZERO,
            all: Duration::ZERO,
            exported: None,
        };
        for session in [HOSTILE, HONEST] {
            stage.request(Request::Attach {
                session,
                rights: Rights::ReadWrite,
                subject: Subject::anyone(),
                resume: None,
            });
        }
        stage
    }

    /// One turn, and all that follow from it at once.
    fn handle(&mut self, input: Input) {
        self.inputs.push(input);
        while !self.inputs.is_empty() {
            let input = self.inputs.remove(0);
            let (document, now) = (&mut self.document, self.now);
            let (weight, took) = timed(|| {
                let weight = document.weight(&input);
                document.handle(input, now);
                weight
            });
            self.all += took;
            if weight == Weight::Light {
                self.light = self.light.max(took);
            }
            while let Some(effect) = self.document.next_effect() {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append { slot, .. } => {
                self.inputs.push(Input::Appended { slot, outcome: AppendOutcome::Created });
            }
            Effect::KeepRemainder { id, .. } => self.inputs.push(Input::RemainderKept { id }),
            Effect::Exported { state, .. } => self.exported = Some(state),
            Effect::Deliver { event: Event::CloseSession { reason, .. }, .. } => panic!("closed: {reason:?}"),
            _ => {}
        }
    }

    fn request(&mut self, request: Request) {
        self.handle(Input::Request { router: ROUTER, request });
    }

    fn update(&mut self, session: SessionId, answer: bool, update: Vec<u8>) {
        self.number += 1;
        let number = MessageNumber::new(self.number);
        self.request(Request::Update { session, number, answer, update: update.into() });
    }

    fn attack(&mut self, update: Vec<u8>) {
        self.update(HOSTILE, false, update);
    }

    fn sync(&mut self, session: SessionId, state_vector: Vec<u8>) {
        self.request(Request::SyncRequest { session, state_vector: state_vector.into() });
        self.wake(Duration::ZERO);
    }

    fn work(&mut self) {
        self.update(HONEST, false, inputs::letter(1, self.honest_clock));
        self.honest_clock += 1;
    }

    /// Time passes, and everything that is due is done.
    fn wake(&mut self, passes: Duration) {
        let until = self.now + passes;
        for _ in 0..10_000 {
            let Some(due) = self.document.next_deadline().filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            self.handle(Input::Wake);
        }
        self.now = until;
    }

    fn state(&mut self) -> StructStore {
        self.handle(Input::Export { ticket: 1 });
        self.wake(Duration::ZERO);
        StructStore::load(self.exported.take().unwrap()).unwrap()
    }

    /// Prints what it cost, and fails when a light turn was long or something is missing that the honest have typed.
    fn finish(mut self, name: &str) -> Duration {
        self.work();
        let clock = self.state().clock_of(ClientId::new(1));
        assert_eq!(u64::from(clock.get()), self.honest_clock);
        println!("figure: {name}: {:.1?}, the longest light turn {:.1?}", self.all, self.light);
        assert!(self.light < LIGHT_GOAL * TIMES_GOAL, "{name}: {:?}", self.light);
        self.all
    }
}

#[test]
fn messages_that_are_large_in_some_way_make_no_long_light_turn() {
    let _alone = crate::alone();
    let many = size(100_000, 500_000);
    let inputs: [(&str, Vec<Vec<u8>>); 5] = [
        ("a crowd of clients", vec![inputs::crowd(1 << 31, many, At::Root, 1)]),
        ("a text, and deletions", vec![inputs::text(9, 4 << 20), inputs::deletions(9, 3 * many, 2)]),
        ("letters backwards", vec![inputs::backwards(9, 3 * many as u64)]),
        ("nested types", vec![inputs::nested(9, 0, 2_000), inputs::nested(9, 2_000, many as u64)]),
        ("parents that are no types", inputs::parents_that_are_none(9, 1 << 20, 7_000).into()),
    ];
    for (name, messages) in inputs {
        let mut stage = Stage::new();
        for message in messages {
            stage.attack(message);
            stage.work();
        }
        for round in 0..20 {
            stage.attack(inputs::crowd(1_000 + round * 100, 50, At::Root, 1));
            stage.work();
            let own = stage.state().state_vector();
            stage.sync(HONEST, own);
            stage.sync(HOSTILE, inputs::state_vector(1 << 31, 10, round));
            stage.wake(Duration::from_secs(1));
        }
        stage.finish(name);
    }
}

#[test]
fn a_state_vector_of_half_a_million_clients_makes_no_long_light_turn() {
    let _alone = crate::alone();
    let mut stage = Stage::new();
    let many = size(100_000, 500_000);
    stage.attack(inputs::crowd(1 << 31, many, At::Root, 1));
    for clock in 0..4 {
        stage.work();
        stage.sync(HOSTILE, inputs::state_vector(1 << 31, many as u64, clock));
        stage.sync(HOSTILE, inputs::state_vector(5, many as u64, clock));
    }
    stage.finish("state vectors of many clients");
}

/// What waits for many units, and they come one by one: without a bound, each would have everything looked at again.
#[test]
fn a_remainder_whose_ground_comes_bit_by_bit_is_not_tried_with_every_bit() {
    let _alone = crate::alone();
    let (units, bits) = (200_000, 1_000);
    let mut stage = Stage::new();
    stage.attack(inputs::waits_for_each(8, 7, units));
    assert_eq!(stage.document.remainders().0, 1);
    for clock in 0..bits {
        stage.attack(inputs::letter(7, clock));
        stage.wake(Duration::from_millis(10));
    }
    stage.wake(Duration::from_secs(20));
    assert_eq!(u64::from(stage.state().clock_of(ClientId::new(8)).get()), bits, "what can be is admitted");
    assert_eq!(stage.document.remainders().0, 1, "the rest waits");
    let took = stage.finish("a remainder of 200,000 letters, of which 1,000 are admitted one by one");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn many_remainders_that_wait_for_one_client_are_admitted_as_it_grows() {
    let _alone = crate::alone();
    let count = 5_000;
    let mut stage = Stage::new();
    // Answers, so that nothing is owed to the session.
    for number in 0..count {
        let message = inputs::update(|update| {
            update.client(10_000 + number, 0);
            update.item(At::After(7, number), inputs::LETTER);
        });
        stage.attack(message);
    }
    assert_eq!(stage.document.remainders().0 as u64, count);
    for clock in 0..count {
        stage.attack(inputs::letter(7, clock));
        stage.wake(Duration::from_millis(10));
    }
    stage.wake(Duration::from_secs(60));
    assert_eq!(stage.document.remainders().0, 0);
    assert_eq!(stage.state().client_count() as u64, count + 1);
    let took = stage.finish("5,000 remainders that wait for one client");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
