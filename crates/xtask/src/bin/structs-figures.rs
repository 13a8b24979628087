//! What a document's store costs, beside the CRDT library, in one run: `cargo xtask bench --case structs`.
//!
//! A program of its own, since it counts what is allocated. Times are CPU times.

#![allow(clippy::print_stdout, reason = "a person reads it")]

#[allow(dead_code, reason = "written for the bench, which uses all of it")]
#[path = "../bench/random.rs"]
mod random;
#[allow(dead_code, reason = "likewise")]
#[path = "../bench/trace.rs"]
mod trace;
#[allow(dead_code, reason = "likewise")]
#[path = "../bench/yjs.rs"]
mod yjs;

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ringleaf_document::{Gc, StructStore};
use rustix::time::{ClockId, clock_gettime};
use yrs::updates::decoder::Decode as _;
use yrs::{Doc, ReadTxn as _, StateVector, Transact as _, Update};

#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Edits that somebody has missed who asks what is new.
const MISSED: usize = 500;
/// What is done so quickly that it is done so many times.
const TIMES: u32 = 50;
/// Each client adds one letter: the worst mix of structs for the memory of a document.
const CLIENTS: u64 = 50_000;

fn main() -> anyhow::Result<()> {
    let updates: Vec<Bytes> = trace::big_as_updates().into_iter().map(Bytes::from).collect();
    match std::env::args().nth(1).as_deref() {
        // For a program that counts instructions: their difference is what admitting takes.
        Some("generate") => Ok(()),
        Some("admit") => admitted(&updates).map(drop),
        _ => figures(&updates),
    }
}

fn figures(updates: &[Bytes]) -> anyhow::Result<()> {
    let ours = ours(updates)?;
    let theirs = theirs(updates)?;
    println!("{} edits, one update each; {} of them missed", updates.len(), MISSED);
    println!("{:34}{:>14}{:>14}   goal", "", "store", "yrs");
    let row = |name: &str, of: fn(&Figures) -> f64, goal: &str| {
        println!("{name:34}{:>14.2}{:>14.2}   {goal}", of(&ours), of(&theirs));
    };
    row("admit, µs an update", |of| of.admit.as_secs_f64() * 1e6 / of.updates, "0.6");
    row("load, ms", |of| of.load.as_secs_f64() * 1e3, "2");
    row("encode all, ms", |of| of.encode.as_secs_f64() * 1e3, "");
    row("diff, µs", |of| of.diff.as_secs_f64() * 1e6, "20");
    row("compact, ms", |of| of.compact.as_secs_f64() * 1e3, "");
    row("encoded, KB", |of| of.encoded as f64 / 1e3, "less than yrs");
    row("heap / encoded", |of| of.heap as f64 / of.encoded as f64, "1.5");
    println!("being written to, heap at most {:.2} × encoded + 2 KB (goal 1.6)", ours.written_to);
    let (times, estimated) = worst_mix()?;
    println!(
        "{CLIENTS} clients of one letter: heap {times:.2} × encoded (goal 6), estimated {estimated:.2} ×"
    );
    Ok(())
}

struct Figures {
    updates: f64,
    admit: Duration,
    load: Duration,
    encode: Duration,
    diff: Duration,
    compact: Duration,
    encoded: usize,
    heap: usize,
    /// Heap over encoded bytes while it is written, at worst.
    written_to: f64,
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let worked = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let begun = worked();
    let done = work();
    (done, worked().saturating_sub(begun))
}

fn repeated<T>(work: impl Fn() -> T) -> Duration {
    timed(|| (0..TIMES).for_each(|_| drop(std::hint::black_box(work())))).1 / TIMES
}

fn admitted(updates: &[Bytes]) -> anyhow::Result<StructStore> {
    let mut store = StructStore::new();
    for update in updates {
        store.admit(update)?;
        if store.wants_compaction() {
            store.compact(Gc::Collect);
        }
    }
    Ok(store)
}

fn ours(updates: &[Bytes]) -> anyhow::Result<Figures> {
    let (store, admit) = timed(|| admitted(updates));
    drop(store?);
    let written_to = written_to(updates)?;
    let (before, known) = (HEAP.current_usage(), updates.len() - MISSED);
    let mut store = admitted(&updates[..known])?;
    let missed = store.state_vector();
    for update in &updates[known..] {
        store.admit(update)?;
    }
    let mut compacted = store.clone();
    let ((), compact) = timed(|| compacted.compact(Gc::Collect));
    drop(compacted);
    store.compact(Gc::Collect);
    let heap = HEAP.current_usage() - before;
    let state = store.encode().concat();
    Ok(Figures {
        updates: updates.len() as f64,
        admit,
        load: repeated(|| StructStore::load(state.clone())),
        encode: repeated(|| Bytes::copy_from_slice(&store.encode().concat())),
        diff: repeated(|| store.diff(&missed).map(ringleaf_document::Parts::concat)),
        compact,
        encoded: state.len(),
        heap,
        written_to,
    })
}

fn written_to(updates: &[Bytes]) -> anyhow::Result<f64> {
    let (before, mut worst) = (HEAP.current_usage(), 0_f64);
    let mut store = StructStore::new();
    for (number, update) in updates.iter().enumerate() {
        store.admit(update)?;
        if store.wants_compaction() {
            store.compact(Gc::Collect);
        }
        if number % 997 == 0 {
            let heap = HEAP.current_usage() - before;
            let encoded = store.encode().len();
            worst = worst.max((heap as f64 - 2e3) / encoded as f64);
        }
    }
    Ok(worst)
}

fn worst_mix() -> anyhow::Result<(f64, f64)> {
    let (before, mut worst) = (HEAP.current_usage(), (0_f64, 0_f64));
    let mut store = StructStore::new();
    for number in 0..CLIENTS {
        let client = (1 << 31) + number * 7_919 % (1 << 30);
        store.admit(&yjs::typed((client, 0), None, None, "x").into())?;
        if store.wants_compaction() {
            store.compact(Gc::Collect);
        }
        if number % 97 == 0 {
            let (heap, encoded) = (HEAP.current_usage() - before, store.encode().len());
            let of = |bytes: usize| (bytes as f64 - 2e3) / encoded as f64;
            if of(heap) > worst.0 {
                worst = (of(heap), of(store.heap_bytes()));
            }
        }
    }
    Ok(worst)
}

fn theirs(updates: &[Bytes]) -> anyhow::Result<Figures> {
    let before = HEAP.current_usage();
    let doc = Doc::with_client_id(1);
    let apply = |updates: &[Bytes]| -> anyhow::Result<()> {
        for update in updates {
            doc.transact_mut().apply_update(Update::decode_v1(update)?).context("yrs takes the trace")?;
        }
        Ok(())
    };
    let known = updates.len() - MISSED;
    let (first, admit) = timed(|| apply(&updates[..known]));
    first?;
    let missed = doc.transact().state_vector();
    let (last, more) = timed(|| apply(&updates[known..]));
    last?;
    let heap = HEAP.current_usage() - before;
    let encode = || doc.transact().encode_state_as_update_v1(&StateVector::default());
    let state = encode();
    let load = || -> anyhow::Result<Doc> {
        let loaded = Doc::with_client_id(2);
        loaded.transact_mut().apply_update(Update::decode_v1(&state)?)?;
        Ok(loaded)
    };
    Ok(Figures {
        updates: updates.len() as f64,
        admit: admit + more,
        load: repeated(load),
        encode: repeated(encode),
        diff: repeated(|| doc.transact().encode_diff_v1(&missed)),
        compact: Duration::ZERO,
        encoded: state.len(),
        heap,
        written_to: 0.0,
    })
}
