//! All transitions of both machines: every state that can be told something, and everything that it can be told. What a row
//! says is what a reader of the pictures on `Source` and `Target` expects.

use std::fmt::Debug;
use std::time::Instant;

use ringleaf_types::{Epoch, NodeId, RingVersion, Slot};

use super::{
    Answer, Offer, Seal, Source, SourceInput, SourceStep, Target, TargetInput, TargetStep, ToSource,
};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
    Instant::now()
}

fn seal() -> Seal {
    Seal { last: Slot::new(9), epoch: Epoch::new(3), presence: Vec::new() }
}

const SOURCE_INPUTS: [&str; 13] = [
    "Accept",
    "Busy",
    "Behind",
    "Refuse",
    "Warm",
    "Claimed 4",
    "Claimed 3",
    "Failed",
    "lost",
    "late",
    "sealed",
    "claimed",
    "ended",
];

fn source_input(name: &str) -> SourceInput {
    let said = match name {
        "Accept" => ToSource::Accept,
        "Busy" => ToSource::Busy,
        "Behind" => ToSource::Behind,
        "Refuse" => ToSource::Refuse,
        "Warm" => ToSource::Warm { slot: Slot::new(8) },
        "Claimed 4" => ToSource::Claimed { epoch: Epoch::new(4) },
        "Claimed 3" => ToSource::Claimed { epoch: Epoch::new(3) },
        "Failed" => ToSource::Failed,
        "lost" => return SourceInput::Lost,
        "late" => return SourceInput::Late,
        "sealed" => return SourceInput::Sealed(seal()),
        "claimed" => return SourceInput::Claimed,
        "ended" => return SourceInput::Ended,
        _ => panic!("{name} is no input"),
    };
    SourceInput::Heard(said)
}

fn source(told: &[&str]) -> (Source, Option<SourceStep>) {
    let document = "notes".parse().unwrap();
    let from: NodeId = "a".parse().unwrap();
    let offer = Offer { document, from, ring: RingVersion::new(4), epoch: Epoch::new(3) };
    let (mut source, _) = Source::begin(offer, now());
    let mut step = None;
    for input in told {
        step = source.handle(source_input(input), now());
    }
    (source, step)
}

const TARGET_INPUTS: [&str; 6] = ["Seal", "lost", "late", "loaded", "claimed", "ended"];

fn target_input(name: &str) -> TargetInput {
    match name {
        "Seal" => TargetInput::Seal(seal()),
        "lost" => TargetInput::Lost,
        "late" => TargetInput::Late,
        "loaded" => TargetInput::Loaded(Slot::new(8)),
        "claimed" => TargetInput::Claimed(Epoch::new(4)),
        "ended" => TargetInput::Ended,
        _ => panic!("{name} is no input"),
    }
}

fn target(told: &[&str]) -> (Target, Option<TargetStep>) {
    let (mut target, _) = Target::begin(Answer::Yes, now());
    let mut step = None;
    for input in told {
        step = target.handle(target_input(input));
    }
    (target, step)
}

/// The name of what something is, without what it holds.
fn name(of: &impl Debug) -> String {
    format!("{of:?}").split([' ', '(']).next().unwrap_or_default().to_owned()
}

/// Where a state, told one thing, goes: `state, input: next, step`. Rows that say the same are one.
fn rows(
    states: &[(&str, &[&str])],
    inputs: &[&str],
    tell: impl Fn(&[&str]) -> (String, String),
) -> Vec<String> {
    let mut rows = Vec::new();
    for (state, told) in states {
        let mut outcomes: Vec<((String, String), Vec<&str>)> = Vec::new();
        for input in inputs {
            let outcome = tell(&[told, &[*input][..]].concat());
            match outcomes.iter_mut().find(|(of, _)| *of == outcome) {
                Some((_, inputs)) => inputs.push(input),
                None => outcomes.push((outcome, vec![input])),
            }
        }
        let row = |((next, step), inputs): ((String, String), Vec<&str>)| {
            format!("{state} | {} | {next} | {step}", inputs.join(", "))
        };
        rows.extend(outcomes.into_iter().map(row));
    }
    rows
}

#[test]
fn the_source_has_these_transitions_and_no_others() {
    let states: [(&str, &[&str]); 6] = [
        ("Offered", &[]),
        ("Warming", &["Accept"]),
        ("Sealing", &["Accept", "Warm"]),
        ("Sealed", &["Accept", "Warm", "sealed"]),
        ("Claiming", &["Accept", "Warm", "sealed", "late"]),
        ("Over", &["Busy"]),
    ];
    let tell = |told: &[&str]| {
        let (source, step) = source(told);
        (format!("{:?}", source.state), step.as_ref().map_or("-".into(), name))
    };
    let expected = [
        "Offered | Accept | Warming | -",
        "Offered | Busy | Over(Busy) | -",
        "Offered | Behind | Over(Behind) | -",
        "Offered | Refuse | Over(Refused) | -",
        "Offered | Warm, Claimed 4, Claimed 3, Failed, lost, late, sealed, claimed | Over(Aborted) | -",
        "Offered | ended | Over(Ended) | -",
        "Warming | Accept, Busy, Behind, Refuse, Claimed 4, Claimed 3, Failed, lost, late, sealed, claimed | Over(Aborted) | -",
        "Warming | Warm | Sealing | Seal",
        "Warming | ended | Over(Ended) | -",
        "Sealing | Accept, Busy, Behind, Refuse, Warm, Claimed 4, Claimed 3, Failed, lost, late, claimed | Over(Aborted) | Unseal",
        "Sealing | sealed | Sealed | Say",
        "Sealing | ended | Over(Ended) | -",
        "Sealed | Accept, Busy, Behind, Refuse, Warm, Claimed 3, Failed, lost, late, sealed, claimed | Claiming | Claim",
        "Sealed | Claimed 4 | Over(Moved) | Forward",
        "Sealed | ended | Over(Ended) | -",
        "Claiming | Accept, Busy, Behind, Refuse, Warm, Claimed 4, Claimed 3, Failed, lost, late, sealed | Claiming | -",
        "Claiming | claimed | Over(TakenBack) | -",
        "Claiming | ended | Over(Ended) | -",
        "Over | Accept, Busy, Behind, Refuse, Warm, Claimed 4, Claimed 3, Failed, lost, late, sealed, claimed, ended | Over(Busy) | -",
    ];
    assert_same(&rows(&states, &SOURCE_INPUTS, tell), &expected);
}

#[test]
fn the_target_has_these_transitions_and_no_others() {
    let states: [(&str, &[&str]); 4] =
        [("Warming", &[]), ("Warm", &["loaded"]), ("Claiming", &["loaded", "Seal"]), ("Over", &["lost"])];
    let tell = |told: &[&str]| {
        let (target, step) = target(told);
        (format!("{:?}", target.state), step.as_ref().map_or("-".into(), name))
    };
    let expected = [
        "Warming | Seal, lost, late, claimed | Over(Abandoned) | Abandon",
        "Warming | loaded | Warm | Say",
        "Warming | ended | Over(Ended) | Say",
        "Warm | Seal | Claiming | Claim",
        "Warm | lost, late, loaded, claimed | Over(Abandoned) | Abandon",
        "Warm | ended | Over(Ended) | Say",
        "Claiming | Seal, lost, late, loaded | Claiming | -",
        "Claiming | claimed | Over(Owned) | Say",
        "Claiming | ended | Over(Ended) | Say",
        "Over | Seal, lost, late, loaded, claimed, ended | Over(Abandoned) | -",
    ];
    assert_same(&rows(&states, &TARGET_INPUTS, tell), &expected);
}

fn assert_same(found: &[String], expected: &[&str]) {
    assert_eq!(found, expected, "found:\n{}", found.join("\n"));
}
