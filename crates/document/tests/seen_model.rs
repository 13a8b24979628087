//! The judge against a naive model of itself: random structs with random references, holes, circles and repetitions.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ringleaf_document::{Seen, Verdict};
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::scan::{self, Kind, ScanLimits, Struct, Visit};

/// A struct as the model sees it.
#[derive(Debug, Clone)]
struct Unit {
    client: u64,
    clock: u32,
    length: u32,
    kind: Kind,
    deleted: bool,
    references: Vec<(u64, u32)>,
}

#[derive(Debug, Clone, Default)]
struct Parsed {
    structs: Vec<Unit>,
    deletions: Vec<(u64, u32, u32)>,
}

impl<'a> Visit<'a> for Parsed {
    fn item(&mut self, item: &Struct<'a>) {
        self.structs.push(Unit {
            client: item.client.get(),
            clock: item.clock.get(),
            length: item.length,
            kind: item.kind,
            deleted: item.is_deleted(),
            references: item.references().map(|(client, clock)| (client.get(), clock.get())).collect(),
        });
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deletions.push((client.get(), clock.get(), length));
    }
}

fn parse(update: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    scan::update(update, &ScanLimits::default(), &mut parsed).unwrap();
    parsed
}

/// The model: looks at everything again until nothing changes any more.
#[derive(Debug, Clone, Default, PartialEq)]
struct Naive {
    clocks: BTreeMap<u64, u32>,
    deleted: BTreeSet<(u64, u32)>,
}

impl Naive {
    fn clock(&self, client: u64) -> u32 {
        self.clocks.get(&client).copied().unwrap_or(0)
    }

    fn is_complete(&self, unit: &Unit) -> bool {
        unit.kind != Kind::Skip
            && unit.clock <= self.clock(unit.client)
            && unit.references.iter().all(|&(client, clock)| {
                if client == unit.client { clock < unit.clock } else { clock < self.clock(client) }
            })
    }

    /// Takes in what is complete; answers how much is not.
    fn take_in(&mut self, parsed: &Parsed) -> u64 {
        loop {
            let mut changed = false;
            for unit in &parsed.structs {
                let (from, end) = (self.clock(unit.client), unit.clock + unit.length);
                if end > from && self.is_complete(unit) {
                    self.clocks.insert(unit.client, end);
                    if unit.deleted {
                        self.deleted.extend((from..end).map(|clock| (unit.client, clock)));
                    }
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let behind =
            |unit: &&Unit| unit.kind != Kind::Skip && unit.clock + unit.length > self.clock(unit.client);
        let mut left = parsed.structs.iter().filter(behind).count() as u64;
        for &(client, clock, length) in &parsed.deletions {
            let known = self.clock(client);
            left += u64::from(clock + length > known);
            self.deleted.extend((clock..(clock + length).min(known)).map(|clock| (client, clock)));
        }
        left
    }
}

fn naive_of(seen: &Seen) -> Naive {
    let mut naive = Naive {
        clocks: seen.clocks().map(|(client, clock)| (client.get(), clock.get())).collect(),
        deleted: BTreeSet::new(),
    };
    let update = [&[0][..], &seen.delete_set()].concat();
    for (client, clock, length) in parse(&update).deletions {
        naive.deleted.extend((clock..clock + length).map(|clock| (client, clock)));
    }
    naive.clocks.retain(|_, clock| *clock > 0);
    naive
}

const CLIENTS: u64 = 4;

/// How a random struct is written: its kind, its length, and what it refers to.
type Draft = (u8, u32, Option<(u64, u32)>, Option<(u64, u32)>, u64);

fn write_struct(out: &mut Vec<u8>, &(kind, length, left, right, parent): &Draft) {
    match kind {
        0 => out.extend([0, length as u8]),
        1 => out.extend([10, length as u8]),
        _ => {
            let content = if kind == 2 { 1 } else { 4 };
            let info =
                content | if left.is_some() { 0x80 } else { 0 } | if right.is_some() { 0x40 } else { 0 };
            out.push(info);
            for (client, clock) in [left, right].into_iter().flatten() {
                write_var_uint(out, client);
                write_var_uint(out, u64::from(clock));
            }
            if left.is_none() && right.is_none() {
                match parent {
                    0..4 => out.extend([0, parent as u8 + 1, 0]),
                    _ => out.extend([1, 1, b't']),
                }
            }
            // Sometimes of length zero.
            let length = if kind == 3 { 0 } else { length };
            out.push(length as u8);
            if content == 4 {
                out.extend(std::iter::repeat_n(b'x', length as usize));
            }
        }
    }
}

fn draft() -> impl Strategy<Value = Draft> {
    let id = || proptest::option::weighted(0.4, (1..=CLIENTS, 0..12_u32));
    // Mostly items; few tombstones, Skips and empty items.
    let kind = prop_oneof![1 => Just(0_u8), 1 => Just(1), 1 => Just(2), 1 => Just(3), 12 => Just(4)];
    (kind, 1..4_u32, id(), id(), 0..12_u64)
}

prop_compose! {
    fn update()(
        clients in proptest::collection::btree_map(
            1..=CLIENTS,
            (0..6_u32, proptest::collection::vec(draft(), 1..5)),
            0..4,
        ),
        deletions in proptest::collection::btree_map(
            1..=CLIENTS,
            proptest::collection::vec((0..14_u32, 0..4_u32), 1..4),
            0..3,
        ),
        descending in any::<bool>(),
    ) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_uint(&mut out, clients.len() as u64);
        let mut clients: Vec<_> = clients.into_iter().collect();
        if descending {
            clients.reverse();
        }
        for (client, (clock, structs)) in clients {
            for number in [structs.len() as u64, client, u64::from(clock)] {
                write_var_uint(&mut out, number);
            }
            for draft in &structs {
                write_struct(&mut out, draft);
            }
        }
        write_var_uint(&mut out, deletions.len() as u64);
        for (client, ranges) in deletions {
            write_var_uint(&mut out, client);
            write_var_uint(&mut out, ranges.len() as u64);
            for (clock, length) in ranges {
                write_var_uint(&mut out, u64::from(clock));
                write_var_uint(&mut out, u64::from(length));
            }
        }
        out
    }
}

fn admitted(update: &[u8], verdict: &Verdict) -> Vec<Vec<u8>> {
    match verdict {
        Verdict::NothingNew => vec![],
        Verdict::Complete => vec![update.to_vec()],
        Verdict::Partial { complete, .. } => complete.iter().map(|bytes| bytes.to_vec()).collect(),
    }
}

fn left(verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::NothingNew | Verdict::Complete => 0,
        Verdict::Partial { left, .. } => *left,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_judge_agrees_with_the_model(updates in proptest::collection::vec(update(), 1..12)) {
        let mut seen = Seen::new();
        let mut naive = Naive::default();
        for update in &updates {
            let verdict = seen.judge(update).unwrap();
            let before = naive.clone();
            let expected_left = naive.take_in(&parse(update));
            prop_assert_eq!(left(&verdict), expected_left, "{:?}", update);
            let new = naive != before;
            prop_assert_eq!(new, !admitted(update, &verdict).is_empty(), "{:?} {:?}", update, verdict);

            // What is admitted has no holes, brings everything that is complete, and nothing else.
            for part in admitted(update, &verdict) {
                for unit in parse(&part).structs {
                    prop_assert!(unit.kind != Kind::Skip && unit.length > 0);
                    // No unit is ever admitted twice, whatever a second sender says about it.
                    prop_assert!(unit.clock >= seen.clock_of(ClientId::new(unit.client)).get());
                }
                prop_assert!(seen.judge(&part).unwrap() == Verdict::Complete, "{:?}", part);
                seen.take_in(&part).unwrap();
            }
            prop_assert_eq!(naive_of(&seen), naive.clone(), "{:?}", update);

            // The same bytes again bring nothing.
            let again = seen.judge(update).unwrap();
            prop_assert!(admitted(update, &again).is_empty());
            prop_assert_eq!(left(&again), expected_left);
        }
    }

    #[test]
    fn taking_in_leaves_out_what_is_not_complete(updates in proptest::collection::vec(update(), 1..12)) {
        let mut seen = Seen::new();
        let mut naive = Naive::default();
        for update in &updates {
            seen.take_in(update).unwrap();
            naive.take_in(&parse(update));
            prop_assert_eq!(naive_of(&seen), naive.clone());
        }
    }
}
