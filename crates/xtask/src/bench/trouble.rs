//! The cases in which something goes wrong: a reader that does not read, a server that is killed.

use std::time::Duration;

use super::load::Load;
use super::metric::{Figures, Metric};
use super::process::Process;
use super::random::Random;
use super::run::{MEGABYTE, Run};
use super::traffic::Action;

const FIRST_CLIENT: u64 = 0x4000_0000;
const FIRST_CLIENT_OF_CONTROL: u64 = 0x5000_0000;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
const WARM_UP: Duration = Duration::from_secs(3);
const CATCH_UP: Duration = Duration::from_secs(30);
/// A slow reader stalls for so many windows: first the kernel's buffers must fill.
const STALLED_WINDOWS: u32 = 3;

/// One of 51 readers stops reading while 10 KB × 100/s flow. What the server grows by in that time when nobody stops is
/// measured too, by a process of its own: a database's cache and a heap settle by themselves. Both keep their documents in
/// one folder, so the control has another document and other clients: what is stored already would be delivered to nobody.
pub(crate) fn slow_reader(run: &Run) -> anyhow::Result<Figures> {
    let control = growth(run, "bench-control", FIRST_CLIENT_OF_CONTROL, false)?;
    let mut figures = Figures::from([(Metric::GrowthOfControlMb, control[&Metric::GrowthMb])]);
    figures.extend(growth(run, "bench-0", FIRST_CLIENT, true)?);
    let by_slow_reader = figures[&Metric::GrowthMb] - figures[&Metric::GrowthOfControlMb];
    figures.insert(Metric::GrowthBySlowReaderMb, by_slow_reader);
    Ok(figures)
}

fn growth(run: &Run, document: &str, first_client: u64, stops: bool) -> anyhow::Result<Figures> {
    let process = run.start()?;
    let mut load = run.load(&process)?;
    let document = load.document(document, first_client);
    load.connect_all([document; 52])?;
    let slow = load.connections.len() - 1;
    load.add_writer(0, Action::SetValue { bytes: 10_000 }, 100.0, &mut Random::new(run.seed));
    load.run_for(WARM_UP)?;
    // As long as the stall.
    let before = highest_resident(&mut load, &process, run.window * STALLED_WINDOWS)?;
    load.set_reading(slow, !stops)?;
    load.reset_counts();
    let during = highest_resident(&mut load, &process, run.window * STALLED_WINDOWS)?;
    let p99 = load.counts.latency.quantile_ms(0.99);
    load.stop_writing();
    load.set_reading(slow, true)?;
    load.run_until(CATCH_UP, Load::all_delivered)?;
    let (shown, due) = load.shown_and_due();
    let mut figures = Figures::from([
        (Metric::GrowthMb, (during - before).max(0.0) / MEGABYTE),
        (Metric::DeliveredPercent, 100.0 * shown as f64 / due as f64),
        (Metric::SlowReaderLost, load.counts.lost as f64),
    ]);
    figures.extend(p99.map(|value| (Metric::P99Ms, value)));
    Ok(figures)
}

fn highest_resident(load: &mut Load, process: &Process, duration: Duration) -> anyhow::Result<f64> {
    let mut highest = 0.0_f64;
    for _ in 0..duration.as_millis() / SAMPLE_INTERVAL.as_millis() {
        load.run_for(SAMPLE_INTERVAL)?;
        highest = highest.max(process.resident_bytes());
    }
    Ok(highest)
}

/// `kill -9` under load: what had others seen that is gone after the restart?
pub(crate) fn kill(run: &Run) -> anyhow::Result<Figures> {
    let process = run.start()?;
    let mut load = run.load(&process)?;
    let mut random = Random::new(run.seed);
    let document = load.document("bench-0", FIRST_CLIENT);
    load.connect_all([document; 100])?;
    for writer in 0..10 {
        let typing = Action::Type { left: None, right: None, with_cursor: false };
        load.add_writer(writer, typing, 10.0, &mut random);
    }
    let milliseconds = run.window.as_millis() as u64;
    load.run_for(Duration::from_millis(milliseconds / 2 + random.below(milliseconds / 2)))?;
    process.kill()?;
    load.stop_writing();
    load.wait_for("the sockets to end", |load| load.counts.synced == 0)?;
    let shown = shown_to_others(&load, document);

    let process = run.start()?;
    load.port = process.port;
    let reader = load.connections.len();
    load.connect_all([document])?;
    // y-websocket with LevelDB brings the document some time after it has said that there is none.
    load.run_for(WARM_UP)?;
    let kept = &load.connections[reader].seen;
    let lost =
        |(writer, shown): (usize, &u64)| shown.saturating_sub(kept.get(writer).copied().unwrap_or_default());
    Ok(Figures::from([
        (Metric::ShownUpdates, shown.iter().sum::<u64>() as f64),
        (Metric::LostUpdates, shown.iter().enumerate().map(lost).sum::<u64>() as f64),
    ]))
}

/// Per writer, how many of its clocks any other editor has seen.
fn shown_to_others(load: &Load, document: usize) -> Vec<u64> {
    let writers = &load.documents[document].writers;
    let shown = |(at, writer): (usize, &usize)| {
        let others = load
            .connections
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != load.writers[*writer].connection);
        others.filter_map(|(_, other)| other.seen.get(at).copied()).max().unwrap_or_default()
    };
    writers.iter().enumerate().map(shown).collect()
}
