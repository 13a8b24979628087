//! Structs at random. Each comes after what it refers to, so that all of them together are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;

use super::write::{Encoded, Place, Unit, Update, hole, tombstone, update};

pub(super) const CLIENTS: u64 = 4;

/// From what one struct is made. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    client: u64,
    content: u8,
    length: u32,
    /// It goes on where its client stopped.
    goes_on: bool,
    left: Option<usize>,
    right: Option<usize>,
    parent: Option<usize>,
    keyed: bool,
}

pub(super) fn choices(most: usize) -> impl Strategy<Value = Vec<Choice>> {
    let unit = |weight: f64| proptest::option::weighted(weight, any::<usize>());
    let choice = (
        0..CLIENTS,
        0..16_u8,
        1..4_u32,
        proptest::bool::weighted(0.6),
        (unit(0.6), unit(0.2), unit(0.5)),
        proptest::bool::weighted(0.2),
    );
    let choice = choice.prop_map(|(client, content, length, goes_on, (left, right, parent), keyed)| Choice {
        client: client + 1,
        content,
        length,
        goes_on,
        left,
        right,
        parent,
        keyed,
    });
    proptest::collection::vec(choice, 1..most)
}

/// A struct that was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) client: u64,
    pub(super) clocks: Range<u32>,
    pub(super) encoded: Encoded,
}

/// All of them, each after what it refers to.
pub(super) fn make(choices: &[Choice]) -> Vec<Made> {
    let (mut made, mut units, mut types) = (Vec::new(), Vec::<Unit>::new(), Vec::<Unit>::new());
    let mut keys: BTreeSet<Unit> = BTreeSet::new();
    let mut ends: BTreeMap<u64, (u32, Option<Unit>)> = BTreeMap::new();
    for choice in choices {
        let (end, right_before) = ends.get(&choice.client).copied().unwrap_or_default();
        let pick = |of: &[Unit], number: usize| (!of.is_empty()).then(|| of[number % of.len()]);
        let mut place = Place::default();
        if choice.goes_on && end > 0 {
            (place.left, place.right) = (Some((choice.client, end - 1)), right_before);
        } else {
            place.left = choice.left.and_then(|number| pick(&units, number));
            place.right = choice.right.and_then(|number| pick(&units, number));
            // Mostly a shared type.
            let of = if choice.content.is_multiple_of(8) { &units } else { &types };
            place.parent = choice.parent.and_then(|number| pick(of, number));
        }
        // What stands beside something stands under its key.
        let keyed = match place.left.or(place.right) {
            Some(beside) => keys.contains(&beside),
            None => choice.keyed,
        };
        place.key = keyed.then_some("k");
        let (encoded, length) = encode(choice, place);
        if encoded[0] & 0x1f == 7 {
            types.push((choice.client, end));
        }
        let new = (end..end + length).map(|clock| (choice.client, clock));
        units.extend(new.clone());
        keys.extend(new.filter(|_| keyed));
        ends.insert(choice.client, (end + length, place.right));
        made.push(Made { client: choice.client, clocks: end..end + length, encoded });
    }
    made
}

fn encode(choice: &Choice, place: Place<'_>) -> (Encoded, u32) {
    let length = choice.length;
    let many = length as usize;
    match choice.content {
        0..5 => (place.text(&"abc"[..many]), length),
        5 => (place.text(&"é😀"[..if many == 1 { 2 } else { 6 }]), if many == 1 { 1 } else { 3 }),
        6 | 7 => (place.any(&[&[0x7d, 5][..], &[0x77, 1, b'v'], &[0x75, 1, 0x7e]][..many]), length),
        8 => (place.json(&["1", "undefined", "{\"a\":2}"][..many]), length),
        9 => (place.deleted(length), length),
        10 => (tombstone(length), length),
        11 => (place.binary(&[1, 2]), 1),
        12 => (place.embed("{}"), 1),
        13 => (place.format("b", "true"), 1),
        14 => (place.subdocument("s"), 1),
        _ => (place.map(), 1),
    }
}

/// All structs as one update.
pub(super) fn whole(made: &[Made]) -> Bytes {
    message(made, &[]).bytes()
}

/// These structs as an update. Where those of a client do not follow on each other, it has a hole.
pub(super) fn message(made: &[Made], deleted: &[(u64, u32, u32)]) -> Update {
    let mut update = update();
    for client in (1..=CLIENTS).rev() {
        let of: Vec<&Made> = made.iter().filter(|made| made.client == client).collect();
        let Some(first) = of.first() else { continue };
        let (begin, mut end) = (first.clocks.start, first.clocks.start);
        let mut structs = Vec::new();
        for made in of {
            if made.clocks.start > end {
                structs.push(hole(made.clocks.start - end));
            }
            structs.push(made.encoded.clone());
            end = made.clocks.end;
        }
        update = update.of(client, begin, structs);
    }
    for client in (1..=CLIENTS).rev() {
        let ranges: Vec<_> = deleted.iter().filter(|of| of.0 == client).map(|of| (of.1, of.2)).collect();
        if !ranges.is_empty() {
            update = update.deletes(client, &ranges);
        }
    }
    update
}

/// From what one message is made: which structs, how many of them in the middle are missing, and which units it deletes.
pub(super) type Cutout = (usize, usize, usize, Vec<(usize, u32)>);

pub(super) fn cutouts(most: usize) -> impl Strategy<Value = Vec<Cutout>> {
    let deleted = proptest::collection::vec((any::<usize>(), 1..4_u32), 0..3);
    proptest::collection::vec((any::<usize>(), 1..8_usize, 0..4_usize, deleted), 0..most)
}

/// Messages that together bring everything, many of it several times, in an order in which nearly nothing has its ground: the
/// cutouts, then each struct alone, from the last to the first.
pub(super) fn messages(made: &[Made], cutouts: &[Cutout]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    for (from, count, missing, deleted) in cutouts {
        let from = from % made.len();
        let to = made.len().min(from + count);
        let (first, last) = made[from..to].split_at((to - from) / 2);
        let some = [first, &last[last.len().min(*missing)..]].concat();
        let deleted: Vec<_> = deleted
            .iter()
            .map(|(number, length)| {
                let of = &made[number % made.len()];
                (of.client, of.clocks.start, (*length).min(of.clocks.end - of.clocks.start))
            })
            .collect();
        messages.push(message(&some, &deleted).bytes());
    }
    messages.extend(made.iter().rev().map(|one| message(std::slice::from_ref(one), &[]).bytes()));
    messages
}
