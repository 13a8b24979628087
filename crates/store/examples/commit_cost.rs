//! What a commit costs: `cargo run --release -p ringleaf-store --example commit_cost [FOLDER] [SECONDS]`.
//!
//! CPU is that of the store's own threads, so the load does not blur it. Compare only inside one run.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_store::{Created, SqliteOptions, SqliteStore, Store};
use ringleaf_types::{Body, DocumentId, Epoch, Incarnation, Record, Slot, Snapshot, Writer};
use tokio::task::JoinSet;

struct Case {
    name: &'static str,
    documents: u64,
    /// Appends per second of each document; `None`: the next as soon as the last is durable.
    rate: Option<f64>,
    gap_max: Duration,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = Duration::from_secs_f64(arguments.next().map_or(5.0, |seconds| seconds.parse().unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let gap = Duration::from_millis(4);
    let cases = [
        Case { name: "one, closed loop", documents: 1, rate: None, gap_max: gap },
        Case { name: "one, 100/s", documents: 1, rate: Some(100.0), gap_max: gap },
        Case { name: "1,000, 8,000/s, no gap", documents: 1_000, rate: Some(8.0), gap_max: Duration::ZERO },
        Case { name: "1,000, 8,000/s", documents: 1_000, rate: Some(8.0), gap_max: gap },
        Case { name: "1,000, closed loop", documents: 1_000, rate: None, gap_max: gap },
    ];
    println!(
        "{:<24} {:>9} {:>11} {:>9} {:>9} {:>9}",
        "case", "appends/s", "CPU µs each", "p50 ms", "p99 ms", "max ms"
    );
    for case in cases {
        let folder = tempfile::tempdir_in(&parent).unwrap();
        runtime.block_on(measure(&case, folder.path(), seconds));
    }
    let folder = tempfile::tempdir_in(&parent).unwrap();
    runtime.block_on(measure_reading(folder.path()));
}

async fn measure(case: &Case, folder: &Path, seconds: Duration) {
    let options = SqliteOptions { commit_gap_max: case.gap_max, ..SqliteOptions::default() };
    let store = Arc::new(SqliteStore::open(folder, options).unwrap());
    let (cpu_before, started_at) = (store_cpu(), Instant::now());
    let mut appends = JoinSet::new();
    for number in 0..case.documents {
        let (store, rate) = (store.clone(), case.rate);
        // Phases spread evenly, like editors that know nothing of each other.
        let phase = rate.map_or(0.0, |rate| (number as f64 * 0.618_034).fract() / rate);
        let until = started_at + seconds;
        appends.spawn(async move { append(&store, number, phase, rate, until).await });
    }
    let mut latencies: Vec<Duration> = appends.join_all().await.into_iter().flatten().collect();
    let (cpu, elapsed) = (store_cpu() - cpu_before, started_at.elapsed());
    store.close().await;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!(
        "{:<24} {:>9.0} {:>11.1} {:>9.2} {:>9.2} {:>9.2}",
        case.name,
        latencies.len() as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / latencies.len() as f64,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn append(
    store: &SqliteStore,
    number: u64,
    phase: f64,
    rate: Option<f64>,
    until: Instant,
) -> Vec<Duration> {
    let document: DocumentId = format!("folder/document {number}").parse().unwrap();
    let mut next_at = Instant::now() + Duration::from_secs_f64(phase);
    let mut latencies = Vec::new();
    for slot in 1.. {
        if rate.is_some() {
            tokio::time::sleep_until(next_at.into()).await;
        }
        let started_at = Instant::now();
        if started_at >= until {
            break;
        }
        let created = store.create_slot(&document, Slot::new(slot), record(slot, 30)).await.unwrap();
        assert_eq!(created, Created::Created);
        latencies.push(started_at.elapsed());
        next_at += Duration::from_secs_f64(rate.map_or(0.0, f64::recip));
    }
    latencies
}

async fn measure_reading(folder: &Path) {
    let store = SqliteStore::open(folder, SqliteOptions::default()).unwrap();
    let document: DocumentId = "read".parse().unwrap();
    for slot in 1..=1_000 {
        store.create_slot(&document, Slot::new(slot), record(slot, 60)).await.unwrap();
    }
    time("read a log of 1,000 slots", || store.read(&document)).await;
    for (upto, mebibytes) in [(1_000, 1), (2_000, 20)] {
        let state = Bytes::from(vec![7; mebibytes << 20]);
        let snapshot = Snapshot { upto: Slot::new(upto), epoch: Epoch::new(1), deleted: false, state };
        let started_at = Instant::now();
        store.create_snapshot(&document, snapshot).await.unwrap();
        println!("{:<40} {:>8.2} ms", format!("create a snapshot of {mebibytes} MiB"), millis(started_at));
        time(&format!("read a snapshot of {mebibytes} MiB"), || store.read(&document)).await;
    }
    store.close().await;
}

async fn time<F: Future>(name: &str, work: impl Fn() -> F) {
    let mut times = Vec::new();
    for _ in 0..9 {
        let started_at = Instant::now();
        work().await;
        times.push(millis(started_at));
    }
    times.sort_by(f64::total_cmp);
    println!("{name:<40} {:>8.2} ms (median of {})", times[times.len() / 2], times.len());
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

fn record(nonce: u64, bytes: usize) -> Record {
    let writer = Writer { node: "node-1".parse().unwrap(), incarnation: Incarnation::new(7), nonce };
    Record { epoch: Epoch::new(1), writer, body: Body::Updates(vec![Bytes::from(vec![7; bytes])]) }
}

/// CPU time of this process's threads whose names begin with "store-", as the kernel counts it.
fn store_cpu() -> Duration {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        if read("comm").starts_with("store-") {
            nanoseconds += read("schedstat").split(' ').next().map_or(0, |time| time.parse().unwrap_or(0));
        }
    }
    Duration::from_nanos(nanoseconds)
}
