//! The cases in which editors open documents: after a restart, and many at once.

use std::time::Duration;

use super::histogram::Histogram;
use super::load::{Connection, Load};
use super::metric::{Figures, Metric};
use super::process::Process;
use super::random::Random;
use super::run::{MEGABYTE, Run};
use super::trace::{self, Plan, Trace};
use super::traffic::Action;

/// Frames of a join above this are counted, not read: the load must not be what is slow.
const SKIP_ABOVE: usize = 16 * 1024;
const FIRST_CLIENT: u64 = 0x4000_0000;
/// A server that has just started is given this long before it is timed.
const SETTLE: Duration = Duration::from_millis(1_500);

/// The first editor of the big document after a restart, then 200 at once.
pub(crate) fn cold_and_many(run: &Run) -> anyhow::Result<Figures> {
    let state = trace::big().state;
    let process = run.start_with(&[("bench-0".to_owned(), &state)])?;
    let mut load = run.load(&process)?;
    let other = load.document("another", FIRST_CLIENT);
    load.connect_all([other])?;
    load.run_for(SETTLE)?;
    load.skip_above = SKIP_ABOVE;
    let document = load.document("bench-0", FIRST_CLIENT + 1_024);
    let mut figures = Figures::new();
    load.reset_counts();
    let first = load.connect(document)?;
    // y-websocket with LevelDB says that it has nothing and brings the document afterwards.
    let wanted = state.len() as u64 / 2;
    load.wait_for("the whole document", |load| load.counts.bytes >= wanted && load.counts.synced > first)?;
    if run.server.stores() {
        let Connection { opened_at, read_at, .. } = load.connections[first];
        figures.insert(Metric::ColdOpenMs, (read_at - opened_at) as f64 / 1_000.0);
    }
    let joins = join_at_once(&mut load, &process, document, 200)?;
    expect_bytes(&load, 200 * state.len())?;
    figures.insert(Metric::JoinCpuMs, joins.cpu_seconds * 1_000.0 / 200.0);
    figures.extend(joins.latency.quantile_ms(0.5).map(|value| (Metric::JoinP50Ms, value)));
    figures.extend(joins.latency.quantile_ms(0.99).map(|value| (Metric::JoinP99Ms, value)));
    Ok(figures)
}

/// 150 editors at once open a document of 20 MB in which somebody types.
pub(crate) fn huge(run: &Run) -> anyhow::Result<Figures> {
    let state = huge_state().state;
    let process = run.start_with(&[("bench-0".to_owned(), &state)])?;
    let mut load = run.load(&process)?;
    load.skip_above = SKIP_ABOVE;
    let document = load.document("bench-0", FIRST_CLIENT);
    load.connect_all([document])?;
    let typing = Action::Type { left: None, right: None, with_cursor: false };
    load.add_writer(0, typing, 1.0, &mut Random::new(run.seed));
    load.run_for(SETTLE)?;
    load.reset_counts();
    let joins = join_at_once(&mut load, &process, document, 150)?;
    expect_bytes(&load, 150 * state.len())?;
    let mut figures = Figures::new();
    figures.insert(Metric::CpuSeconds, joins.cpu_seconds);
    figures.insert(Metric::PeakMb, process.peak_bytes() / MEGABYTE);
    figures.insert(Metric::PeakTimesDocument, process.peak_bytes() / state.len() as f64);
    figures.extend(joins.latency.quantile_ms(0.99).map(|value| (Metric::JoinP99Ms, value)));
    Ok(figures)
}

/// About 20 MB: paragraphs of a hundred characters, pasted at changing places.
pub(crate) fn huge_state() -> Trace {
    Trace::write(Plan { edits: 190_000, characters: 100, deletes_percent: 0, burst: 3 })
}

struct Joins {
    cpu_seconds: f64,
    latency: Histogram,
}

fn join_at_once(
    load: &mut Load,
    process: &Process,
    document: usize,
    editors: usize,
) -> anyhow::Result<Joins> {
    load.reset_counts();
    let cpu = process.cpu_seconds();
    let before = load.connections.len();
    for _ in 0..editors {
        load.connect(document)?;
    }
    load.wait_until_in_sync()?;
    let mut latency = Histogram::default();
    load.connections[before..].iter().map(waited_us).for_each(|micros| latency.record(micros));
    Ok(Joins { cpu_seconds: process.cpu_seconds() - cpu, latency })
}

fn waited_us(connection: &Connection) -> u64 {
    connection.synced_at - connection.opened_at
}

/// A server that answers with next to nothing has not done the work. Servers encode differently: half is enough.
fn expect_bytes(load: &Load, bytes: usize) -> anyhow::Result<()> {
    let (read, wanted) = (load.counts.bytes, bytes as u64 / 2);
    anyhow::ensure!(read >= wanted, "the editors were sent {read} bytes, the documents have {bytes}");
    Ok(())
}
