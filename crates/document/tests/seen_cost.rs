//! What the judge costs in memory: nothing for a typed character, little for what was seen.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use ringleaf_document::{Seen, Verdict};
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::scan::{self, ScanLimits};

/// Client 1 types a character behind the one before, or deletes the one at a clock.
fn typed(clock: u32) -> Vec<u8> {
    let mut out = vec![1, 1, 1];
    write_var_uint(&mut out, u64::from(clock));
    match clock {
        0 => out.extend([4, 1, 1, b't']),
        _ => {
            out.extend([0x84, 1]);
            write_var_uint(&mut out, u64::from(clock - 1));
        }
    }
    out.extend([1, b'x', 0]);
    out
}

fn deleted(clock: u32) -> Vec<u8> {
    let mut out = vec![0, 1, 1, 1];
    write_var_uint(&mut out, u64::from(clock));
    out.push(1);
    out
}

#[test]
fn a_long_history_of_few_clients_stays_small() {
    let mut seen = Seen::new();
    for clock in 0..50_000 {
        seen.take_in(&typed(clock)).unwrap();
    }
    assert!(seen.heap_bytes() < 200, "{}", seen.heap_bytes());

    // A part of it is deleted again, from the back, one by one: one range.
    for clock in (40_000..50_000).rev() {
        seen.take_in(&deleted(clock)).unwrap();
    }
    assert!(seen.heap_bytes() < 400, "{}", seen.heap_bytes());
    assert_eq!(seen.delete_set(), [&[1, 1, 1][..], &[0xc0, 0xb8, 0x02, 0x90, 0x4e]].concat());

    // Every tenth character of the rest: four thousand ranges of eight bytes.
    for clock in (0..40_000).step_by(10) {
        seen.take_in(&deleted(clock)).unwrap();
    }
    assert!(seen.heap_bytes() < 80_000, "{}", seen.heap_bytes());
}

/// A state of so many structs of two clients, who take turns.
fn state(count: u32) -> Vec<u8> {
    let mut out = vec![2];
    for client in [2_u8, 1] {
        write_var_uint(&mut out, u64::from(count / 2));
        out.extend([client, 0]);
        for clock in 0..count / 2 {
            match (client, clock) {
                (1, 0) => out.extend([4, 1, 1, b't', 1, b'x']),
                _ => {
                    let (left, at) = if client == 1 { (2, clock - 1) } else { (1, clock) };
                    out.extend([0x84, left]);
                    write_var_uint(&mut out, u64::from(at));
                    out.extend([1, b'x']);
                }
            }
        }
    }
    out.extend([1, 1, 1, 0, 1]);
    out
}

/// How long this thread has run, however busy the machine is.
fn on_cpu() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

/// Run it in a release: `cargo test --release -p ringleaf-document --test seen_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let time = |what: &str, times: u32, mut run: Box<dyn FnMut() + '_>| {
        let before = on_cpu();
        (0..times).for_each(|_| run());
        eprintln!("{what}: {:?}", (on_cpu() - before) / times);
    };
    let mut seen = Seen::new();
    for client in 3..=120_u8 {
        seen.take_in(&[1, 1, client, 0, 4, 1, 1, b't', 1, b'x', 1, client, 1, 0, 1]).unwrap();
    }
    seen.take_in(&state(60_000)).unwrap();
    let next = [&[1, 1, 1][..], &[0xb0, 0xea, 0x01], &[0x84, 1, 0xaf, 0xea, 0x01, 1, b'x', 0]].concat();
    assert_eq!(seen.judge(&next), Ok(Verdict::Complete));
    time("judge a typed character", 1_000_000, Box::new(|| drop(std::hint::black_box(seen.judge(&next)))));
    for count in [60_000, 200_000, 1_000_000] {
        let state = state(count);
        eprintln!("a state of {count} structs, {} bytes", state.len());
        let scan = || scan::update(&state, &ScanLimits::default(), &mut ()).unwrap();
        time("  scan", 20, Box::new(scan));
        time("  take in", 10, Box::new(|| Seen::new().take_in(&state).unwrap()));
        time("  judge when new, in the wrong order", 10, Box::new(|| drop(Seen::new().judge(&state))));
        let mut known = Seen::new();
        known.take_in(&state).unwrap();
        time("  judge when known", 20, Box::new(|| drop(known.judge(&state))));
    }
}
