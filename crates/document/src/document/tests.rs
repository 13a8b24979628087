//! What a document does when the CRDT breaks. Updates that hold the word `poison` panic when they are applied, those that
//! hold `venom` when the state is encoded afterwards.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at few effects")]

use yrs::{Doc, ReadTxn, StateVector, Text, Transact};

use super::*;
use crate::Count;
use ringleaf_types::SessionId;

const ROUTER: RouterId = RouterId::new(1);

struct Stage {
    document: Document,
    now: Instant,
    slot: Option<Slot>,
}

impl Stage {
    /// With sessions 1, 2 and 3.
    fn new() -> Self {
        Self::of(Vec::new())
    }

    fn of(slots: Vec<(Slot, Record)>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
        let now = Instant::now();
        let settings = Settings {
            node: "a".parse().unwrap(),
            incarnation: Incarnation::new(1),
            seed: 1,
            limits: Arc::default(),
        };
        let document = Document::open("notes".parse().unwrap(), None, slots, settings, now).unwrap();
        let mut stage = Self { document, now, slot: None };
        for session in 1..=3 {
            stage.ask(Request::Attach {
                session: SessionId::new(session),
                rights: Rights::ReadWrite,
                subject: Subject::anyone(),
                resume: None,
            });
        }
        stage
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        self.document.handle(input, self.now);
        let effects: Vec<Effect> = std::iter::from_fn(|| self.document.next_effect()).collect();
        for effect in &effects {
            if let Effect::Append { slot, .. } = effect {
                self.slot = Some(*slot);
            }
        }
        effects
    }

    fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.handle(Input::Request { router: ROUTER, request })
    }

    fn send(&mut self, session: u64, number: u64, what: &str) -> Vec<Effect> {
        let number = MessageNumber::new(number);
        let update = typed(session * 10 + number.get(), what);
        self.ask(Request::Update { session: SessionId::new(session), number, answer: false, update })
    }

    fn sync(&mut self, session: u64) -> Vec<Effect> {
        let state_vector = Bytes::from_static(&[0]);
        self.ask(Request::SyncRequest { session: SessionId::new(session), state_vector })
    }

    fn durable(&mut self) -> Vec<Effect> {
        let slot = self.slot.take().unwrap();
        self.handle(Input::Appended { slot, outcome: AppendOutcome::Created })
    }
}

fn typed(client: u64, what: &str) -> Bytes {
    let doc = Doc::with_client_id(client);
    let root = doc.get_or_insert_text("t");
    root.push(&mut doc.transact_mut(), what);
    doc.transact().encode_state_as_update_v1(&StateVector::default()).into()
}

fn ended(effects: &[Effect]) -> Vec<u64> {
    let ended = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { event: Event::CloseSession { session, .. }, .. } => Some(session.get()),
        _ => None,
    });
    ended.collect()
}

fn acknowledged(effects: &[Effect]) -> Vec<u64> {
    let acknowledged = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { event: Event::Acknowledge { session, .. }, .. } => Some(session.get()),
        _ => None,
    });
    acknowledged.collect()
}

/// What the next append writes, or an answer says, in any order.
fn words(effects: &[Effect]) -> String {
    let written = effects.iter().find_map(|effect| match effect {
        Effect::Append { record: Record { body: Body::Updates(updates), .. }, .. } => Some(updates.concat()),
        Effect::Deliver { event: Event::SyncAnswer { update, .. }, .. } => Some(update.to_vec()),
        _ => None,
    });
    let written = written.unwrap_or_default();
    let known = ["one", "two", "three", "venom", "poison"];
    let words = known.iter().filter(|word| written.windows(word.len()).any(|w| w == word.as_bytes()));
    words.copied().collect::<Vec<&str>>().join(" ")
}

#[test]
fn a_panic_ends_the_session_that_caused_it_and_harms_nobody_else() {
    let mut stage = Stage::new();
    stage.send(1, 1, "one");
    stage.send(2, 1, "two");
    let effects = stage.send(3, 1, "poison");
    assert_eq!(ended(&effects), [3]);
    assert!(effects.contains(&Effect::Count(Count::Panicked)));
    assert!(!stage.document.has_replica());
    // The others' updates were kept as bytes, and the replica is made of them.
    let effects = stage.durable();
    assert_eq!(words(&effects), "two");
    stage.sync(1);
    assert_eq!(words(&stage.durable()), "", "it takes its time, so what is durable is told first");
    assert_eq!(words(&stage.handle(Input::Wake)), "one two");
    assert!(ended(&stage.send(1, 2, "three")).is_empty());
}

#[test]
fn the_session_that_broke_the_document_is_not_listened_to_any_more() {
    let mut stage = Stage::new();
    stage.send(3, 1, "poison");
    assert!(stage.send(3, 2, "three").is_empty());
    assert!(stage.sync(3).is_empty());
}

#[test]
fn what_breaks_the_document_later_is_found_among_what_waits_and_taken_back() {
    let mut stage = Stage::new();
    stage.send(1, 1, "one");
    stage.send(2, 1, "two");
    stage.send(3, 1, "venom");
    stage.sync(1);
    let effects = stage.durable();
    assert_eq!(ended(&effects), [3]);
    assert_eq!(acknowledged(&effects), [1]);
    assert_eq!(words(&effects), "two", "the next slot is written without it");
    let effects = stage.durable();
    assert_eq!(acknowledged(&effects), [2], "what was taken back is never acknowledged");
    assert_eq!(words(&effects), "one two");
    // Sent again by another session, it is new.
    assert_eq!(words(&stage.send(1, 2, "three")), "three");
}

#[test]
fn an_import_that_breaks_the_document_is_taken_back_and_told() {
    let mut stage = Stage::new();
    stage.send(1, 1, "one");
    stage.handle(Input::Import { ticket: 7, update: typed(99, "venom") });
    stage.send(2, 1, "two");
    stage.sync(1);
    let effects = stage.durable();
    let told = effects.iter().any(|e| matches!(e, Effect::Imported { ticket: 7, outcome: Err(_) }));
    assert!(told, "{effects:?}");
    assert_eq!(words(&effects), "two");
    assert_eq!(words(&stage.durable()), "one two");
}

#[test]
fn a_document_that_breaks_with_nobody_to_blame_is_closed_until_somebody_has_looked() {
    let mut stage = Stage::new();
    stage.send(1, 1, "one");
    stage.durable();
    stage.send(3, 1, "venom");
    stage.durable();
    let effects = stage.sync(1);
    let quarantined = effects.iter().any(|effect| matches!(effect, Effect::Quarantine { .. }));
    assert!(quarantined, "{effects:?}");
    assert!(stage.send(1, 2, "two").is_empty(), "it is over");
    assert_eq!(stage.document.next_deadline(), None);
}

#[test]
fn stored_poison_never_becomes_a_writable_document() {
    let writer =
        ringleaf_types::Writer { node: "b".parse().unwrap(), incarnation: Incarnation::new(9), nonce: 1 };
    let body = Body::Updates(vec![typed(9, "poison")]);
    let mut stage = Stage::of(vec![(Slot::new(1), Record { epoch: Epoch::new(1), writer, body })]);
    let effects = stage.send(1, 1, "one");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Quarantine { .. })), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Append { .. })), "I11");
}

/// A router reads no more from a session to which it owes four answers.
#[test]
fn a_state_vector_that_cannot_be_read_is_answered_all_the_same() {
    let mut stage = Stage::new();
    stage.send(1, 1, "hello");
    stage.durable();
    let answered = stage.ask(Request::SyncRequest {
        session: SessionId::new(2),
        state_vector: Bytes::from_static(&[9, 9, 9]),
    });
    assert!(answered.contains(&Effect::Count(Count::Refused)));
    assert_eq!(words(&answered), words(&stage.sync(3)), "everything");
}

#[test]
fn the_tail_of_a_large_document_may_be_longer() {
    const MIB: usize = 1 << 20;
    let asks = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Compact { .. }));
    let mut stage = Stage::new();
    let writes = |stage: &mut Stage, number, mib: usize| {
        stage.send(1, number, &"x".repeat(mib * MIB));
        asks(&stage.durable())
    };
    assert!(writes(&mut stage, 1, 8));
    let snapshot = Snapshot {
        upto: Slot::new(1),
        epoch: Epoch::new(1),
        deleted: false,
        state: typed(11, &"x".repeat(8 * MIB)),
    };
    stage.handle(Input::Compacted { snapshot });
    assert!(!writes(&mut stage, 2, 2), "a snapshot of 10 MiB for the sake of 2 MiB");
    assert!(writes(&mut stage, 3, 1));
}

#[test]
fn the_bytes_that_wait_are_bounded() {
    let mut stage = Stage::new();
    let limits = Limits { gathered_bytes_max: 200, ..Limits::default() };
    stage.document.limits = Arc::new(limits);
    stage.send(1, 1, "one");
    assert!(!stage.document.full());
    stage.send(1, 2, &"two".repeat(80));
    assert!(stage.document.full());
    stage.durable();
    assert!(!stage.document.full(), "they are on their way");
}

#[test]
fn a_session_that_comes_back_is_told_whether_the_log_reaches_as_far_as_it_was() {
    let mut stage = Stage::new();
    stage.send(1, 1, "one");
    stage.durable();
    stage.handle(Input::Seal);
    stage.handle(Input::Claim);
    stage.durable();
    assert_eq!(stage.document.last_slot(), Slot::new(2), "an empty fence");
    let mut attached = |resume: Option<u64>| {
        let (session, rights, subject) = (SessionId::new(4), Rights::ReadWrite, Subject::anyone());
        let resume = resume.map(Slot::new);
        let effects = stage.ask(Request::Attach { session, rights, subject, resume });
        let reads = effects.iter().any(|effect| matches!(effect, Effect::ReadTail { .. }));
        let slot = effects.iter().find_map(|effect| match effect {
            Effect::Deliver { event: Event::Attached { slot, .. }, .. } => Some(slot.get()),
            _ => None,
        });
        (slot.unwrap(), reads)
    };
    assert_eq!(attached(None), (1, false), "nobody lacks an empty fence");
    assert_eq!(attached(Some(1)), (1, false));
    assert_eq!(attached(Some(2)), (2, false), "it was caught up through that");
    assert_eq!(attached(Some(3)), (1, true), "there is no such slot, as far as is known");
}
