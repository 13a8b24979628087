//! Each transition by its name, then both machines together, over a log that only lets the first claim of a slot in.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringleaf_types::Incarnation;

use super::*;
use crate::{ClusterId, Member, MemberState, Weight};

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
    Instant::now()
}

fn offer() -> Offer {
    Offer {
        document: "notes".parse().unwrap(),
        from: "a".parse().unwrap(),
        ring: RingVersion::new(4),
        epoch: Epoch::new(3),
    }
}

fn seal() -> Seal {
    Seal { last: Slot::new(9), epoch: Epoch::new(3), presence: Vec::new() }
}

const WARM: ToSource = ToSource::Warm { slot: Slot::new(8) };
const CLAIMED: ToSource = ToSource::Claimed { epoch: Epoch::new(4) };

/// A source that has heard and seen this much.
fn source(inputs: Vec<SourceInput>) -> (Source, Option<SourceStep>) {
    let now = start();
    let (mut source, first) = Source::begin(offer(), now);
    assert_eq!(first, SourceStep::Say(ToTarget::Offer(offer())));
    let mut step = None;
    for input in inputs {
        step = source.handle(input, now);
    }
    (source, step)
}

fn heard(message: ToSource) -> SourceInput {
    SourceInput::Heard(message)
}

fn warming() -> Vec<SourceInput> {
    vec![heard(ToSource::Accept)]
}

fn sealing() -> Vec<SourceInput> {
    vec![heard(ToSource::Accept), heard(WARM)]
}

fn sealed() -> Vec<SourceInput> {
    vec![heard(ToSource::Accept), heard(WARM), SourceInput::Sealed(seal())]
}

fn then(mut inputs: Vec<SourceInput>, input: SourceInput) -> (Option<SourceEnd>, Option<SourceStep>) {
    inputs.push(input);
    let (source, step) = source(inputs);
    (source.end(), step)
}

#[test]
fn a_document_that_is_offered_accepted_warm_sealed_and_claimed_has_moved() {
    assert_eq!(source(warming()).1, None);
    assert_eq!(source(sealing()).1, Some(SourceStep::Seal));
    assert_eq!(source(sealed()).1, Some(SourceStep::Say(ToTarget::Seal(seal()))));
    assert_eq!(then(sealed(), heard(CLAIMED)), (Some(SourceEnd::Moved), Some(SourceStep::Forward)));
}

#[test]
fn an_offer_that_is_not_taken_changes_nothing() {
    assert_eq!(then(vec![], heard(ToSource::Busy)), (Some(SourceEnd::Busy), None));
    assert_eq!(then(vec![], heard(ToSource::Behind)), (Some(SourceEnd::Behind), None));
    assert_eq!(then(vec![], heard(ToSource::Refuse)), (Some(SourceEnd::Refused), None));
    for input in [SourceInput::Late, SourceInput::Lost, heard(ToSource::Failed), heard(WARM), heard(CLAIMED)]
    {
        assert_eq!(then(vec![], input), (Some(SourceEnd::Aborted), None));
    }
}

#[test]
fn a_target_that_does_not_get_warm_changes_nothing() {
    for input in [SourceInput::Late, SourceInput::Lost, heard(ToSource::Failed), heard(CLAIMED)] {
        assert_eq!(then(warming(), input), (Some(SourceEnd::Aborted), None));
    }
}

#[test]
fn a_slot_in_flight_that_stays_undecided_ends_the_seal() {
    for input in [SourceInput::Late, SourceInput::Lost, heard(ToSource::Failed), heard(CLAIMED)] {
        assert_eq!(then(sealing(), input), (Some(SourceEnd::Aborted), Some(SourceStep::Unseal)));
    }
}

#[test]
fn a_source_in_doubt_claims_again_and_the_log_decides() {
    let low = ToSource::Claimed { epoch: Epoch::new(3) };
    for doubt in [
        SourceInput::Late,
        SourceInput::Lost,
        heard(ToSource::Failed),
        heard(low),
        heard(ToSource::Accept),
        heard(ToSource::Busy),
        heard(ToSource::Behind),
    ] {
        let mut inputs = sealed();
        inputs.push(doubt);
        let (mut source, step) = source(inputs);
        assert_eq!((source.end(), step), (None, Some(SourceStep::Claim)));
        assert!(!source.listens() && source.due_at().is_none(), "only the log counts now");
        assert_eq!(source.handle(heard(CLAIMED), start()), None, "whatever the target says");
        assert_eq!(source.end(), None);
        assert_eq!(source.handle(SourceInput::Claimed, start()), None);
        assert_eq!(source.end(), Some(SourceEnd::TakenBack));
    }
    let mut inputs = sealed();
    inputs.push(SourceInput::Lost);
    assert_eq!(then(inputs, SourceInput::Ended), (Some(SourceEnd::Ended), None), "it was fenced");
}

#[test]
fn a_document_that_ends_ends_its_handoff_in_every_state() {
    for inputs in [vec![], warming(), sealing(), sealed()] {
        assert_eq!(then(inputs, SourceInput::Ended), (Some(SourceEnd::Ended), None));
    }
}

#[test]
fn every_wait_for_the_target_has_an_end() {
    let due =
        |inputs| source(inputs).0.due_at().map(|at| at.saturating_duration_since(start()).as_secs_f64());
    for (inputs, seconds) in [(vec![], 2.0), (warming(), 30.0), (sealing(), 1.0), (sealed(), 2.0)] {
        let found: f64 = due(inputs).unwrap();
        assert!((seconds - 0.5..=seconds).contains(&found), "{found} of {seconds}");
    }
}

fn target(inputs: Vec<TargetInput>) -> (Target, Option<TargetStep>) {
    let (mut target, first) = Target::begin(Answer::Yes, start());
    assert_eq!(first, [TargetStep::Say(ToSource::Accept), TargetStep::Warm]);
    let mut step = None;
    for input in inputs {
        step = target.handle(input);
    }
    (target, step)
}

fn loaded() -> TargetInput {
    TargetInput::Loaded(Slot::new(8))
}

#[test]
fn a_target_that_is_warm_and_told_to_claims() {
    assert_eq!(target(vec![loaded()]).1, Some(TargetStep::Say(WARM)));
    let (claiming, step) = target(vec![loaded(), TargetInput::Seal(seal())]);
    assert_eq!(step, Some(TargetStep::Claim(seal())));
    assert!(!claiming.listens() && claiming.due_at().is_none(), "what it was told to do it does");
    let inputs = vec![loaded(), TargetInput::Seal(seal()), TargetInput::Claimed(Epoch::new(4))];
    let (owner, step) = target(inputs);
    assert_eq!((owner.end(), step), (Some(TargetEnd::Owned), Some(TargetStep::Say(CLAIMED))));
}

#[test]
fn a_target_that_takes_nothing_says_why() {
    for (answer, said) in
        [(Answer::Later, ToSource::Busy), (Answer::Behind, ToSource::Behind), (Answer::No, ToSource::Refuse)]
    {
        let (target, steps) = Target::begin(answer, start());
        assert_eq!((target.end(), steps), (Some(TargetEnd::Declined), vec![TargetStep::Say(said)]));
    }
}

#[test]
fn a_target_whose_source_is_gone_before_the_seal_forgets_the_document() {
    for input in [TargetInput::Lost, TargetInput::Late, TargetInput::Seal(seal())] {
        let (target, step) = target(vec![input]);
        assert_eq!((target.end(), step), (Some(TargetEnd::Abandoned), Some(TargetStep::Abandon)));
    }
    for input in [TargetInput::Lost, TargetInput::Late] {
        let (target, step) = target(vec![loaded(), input]);
        assert_eq!((target.end(), step), (Some(TargetEnd::Abandoned), Some(TargetStep::Abandon)));
    }
}

#[test]
fn a_target_that_loses_its_source_while_it_claims_claims_all_the_same() {
    let (target, step) = target(vec![loaded(), TargetInput::Seal(seal()), TargetInput::Lost]);
    assert_eq!((target.end(), step), (None, None));
}

#[test]
fn a_target_whose_document_ends_says_so_in_every_state() {
    for mut inputs in [vec![], vec![loaded()], vec![loaded(), TargetInput::Seal(seal())]] {
        inputs.push(TargetInput::Ended);
        let (target, step) = target(inputs);
        assert_eq!((target.end(), step), (Some(TargetEnd::Ended), Some(TargetStep::Say(ToSource::Failed))));
    }
}

/// What goes wrong in one run.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The link breaks after so many messages of both sides.
    Cut(usize),
    /// The source finds that its time is up, instead of the input of this number.
    Late(usize),
    None,
}

/// Both machines, each with a document over the same log: the first fence of an epoch counts, the other is fenced.
/// `first`: whose fence reaches the log first, if both are on their way.
fn run(trouble: Trouble, source_first: bool) -> (SourceEnd, Option<TargetEnd>, usize) {
    let now = start() + Duration::from_secs(1);
    let (mut source, step) = Source::begin(offer(), now);
    let (mut steps, mut inputs) = (vec![step], Vec::<SourceInput>::new());
    let (mut target, mut at_target) = (None::<Target>, Vec::<TargetInput>::new());
    let (mut said, mut heard) = (0, 0);
    let mut owners = Vec::new();
    let cut = |said: usize| matches!(trouble, Trouble::Cut(after) if said > after);
    let (mut source_claims, mut target_claims) = (false, false);
    for _ in 0..100 {
        let mut target_steps = Vec::new();
        for step in steps.drain(..) {
            match step {
                SourceStep::Say(message) => {
                    said += 1;
                    match message {
                        _ if cut(said) => inputs.push(SourceInput::Lost),
                        ToTarget::Offer(_) => {
                            let (begun, first) = Target::begin(Answer::Yes, now);
                            target = Some(begun);
                            target_steps = first;
                        }
                        ToTarget::Seal(seal) => at_target.push(TargetInput::Seal(seal)),
                    }
                }
                SourceStep::Seal => inputs.push(SourceInput::Sealed(seal())),
                SourceStep::Claim => source_claims = true,
                SourceStep::Unseal | SourceStep::Forward => {}
            }
        }
        if cut(said) {
            at_target.push(TargetInput::Lost);
        }
        if let Some(target) = &mut target {
            target_steps.extend(at_target.drain(..).filter_map(|input| target.handle(input)));
        }
        for step in target_steps {
            match step {
                TargetStep::Say(message) => {
                    said += 1;
                    inputs.push(if cut(said) { SourceInput::Lost } else { SourceInput::Heard(message) });
                }
                TargetStep::Warm => at_target.push(loaded()),
                TargetStep::Claim(_) => target_claims = true,
                TargetStep::Abandon => {}
            }
        }
        // The log: a fence of this epoch is let in once.
        if source_claims && (source_first || !target_claims) && owners.is_empty() {
            owners.push("source");
            inputs.push(SourceInput::Claimed);
        }
        if target_claims && owners.is_empty() {
            owners.push("target");
            at_target.push(TargetInput::Claimed(Epoch::new(4)));
        }
        if source_claims && owners == ["target"] {
            inputs.push(SourceInput::Ended);
        }
        if target_claims && owners == ["source"] {
            at_target.push(TargetInput::Ended);
        }
        for input in inputs.drain(..) {
            heard += 1;
            let late = matches!(trouble, Trouble::Late(number) if number == heard);
            steps.extend(source.handle(if late { SourceInput::Late } else { input }, now));
        }
    }
    (source.end().expect("a source that ends"), target.and_then(|target| target.end()), owners.len())
}

proptest! {
    #[test]
    fn whatever_breaks_there_is_one_owner_and_both_know_it(
        trouble in prop_oneof![
            (0_usize..8).prop_map(Trouble::Cut),
            (1_usize..8).prop_map(Trouble::Late),
            Just(Trouble::None),
        ],
        source_first in any::<bool>(),
    ) {
        let (source, target, owners) = run(trouble, source_first);
        match source {
            SourceEnd::Moved | SourceEnd::Ended => prop_assert_eq!(target, Some(TargetEnd::Owned)),
            SourceEnd::TakenBack => prop_assert_ne!(target, Some(TargetEnd::Owned)),
            SourceEnd::Aborted => prop_assert_eq!(owners, 0, "nobody claimed"),
            SourceEnd::Busy | SourceEnd::Behind | SourceEnd::Refused => prop_assert!(false, "the target takes it"),
        }
        if matches!(trouble, Trouble::None) {
            prop_assert_eq!(source, SourceEnd::Moved);
        }
    }
}

/// The ring of this version, with these nodes on it.
fn ring(version: u64, nodes: &[&str]) -> RingView {
    let member = |node: &&str| Member {
        node: node.parse().unwrap(),
        incarnation: Incarnation::new(1),
        state: MemberState::Serving,
        weight: Weight::ONE,
        address: String::new(),
        zone: String::new(),
        version: String::new(),
    };
    RingView::new(ClusterId::new(1), RingVersion::new(version), nodes.iter().map(member).collect()).unwrap()
}

#[test]
fn a_target_whose_ring_is_older_than_the_offer_asks_for_time() {
    let (offer, this) = (offer(), "this".parse().unwrap());
    let (older, newer) = (offer.ring.get() - 1, offer.ring.get());
    let answer = |version, nodes: &[&str], known| offer.answer(Some(&ring(version, nodes)), known, &this);
    assert_eq!(answer(older, &["a"], false), Answer::Behind, "it may be this node's by the next version");
    assert_eq!(
        answer(older, &["a"], true),
        Answer::No,
        "the offer's version has changed nothing in the view"
    );
    assert_eq!(answer(newer, &["a"], false), Answer::No);
    assert_eq!(offer.answer(None, false, &this), Answer::Behind);
    for (version, known) in [(older, false), (older, true), (newer, false)] {
        assert_eq!(answer(version, &["this"], known), Answer::Yes);
    }
}
