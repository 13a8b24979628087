//! The cases in which editors write at a steady rate.

use std::time::Duration;

use anyhow::Context as _;

use super::case::Case;
use super::metric::{Figures, Metric};
use super::process::Process;
use super::random::Random;
use super::run::{MEGABYTE, Run};
use super::traffic::Action;

/// The server's compiler and caches get used to the load first.
const WARM_UP: Duration = Duration::from_millis(1_500);
/// What was written is given this long to arrive once nobody writes any more.
const DRAIN: Duration = Duration::from_secs(20);

/// Who writes how much.
struct Shape {
    documents: usize,
    connections: usize,
    writers: usize,
    per_second: f64,
    kind: Kind,
}

enum Kind {
    Typing,
    TypingWithCursor,
    Presence,
}

fn shape(case: Case) -> Option<Shape> {
    let one = |connections, writers, per_second, kind| Shape {
        documents: 1,
        connections,
        writers,
        per_second,
        kind,
    };
    Some(match case {
        Case::Fanout100 | Case::BigDocument => one(100, 10, 10.0, Kind::Typing),
        Case::Fanout1000 => one(1_000, 10, 2.0, Kind::Typing),
        Case::Saturated => one(1_000, 10, 20.0, Kind::Typing),
        Case::ManyDocuments => {
            Shape { documents: 1_000, connections: 4, writers: 4, per_second: 2.0, kind: Kind::Typing }
        }
        Case::GroupCommit => {
            Shape { documents: 1_000, connections: 1, writers: 1, per_second: 20.0, kind: Kind::Typing }
        }
        Case::Cursors => one(100, 10, 10.0, Kind::TypingWithCursor),
        Case::Presence => one(500, 500, 1.0, Kind::Presence),
        Case::Acknowledgement => one(2, 1, 5.0, Kind::Typing),
        _ => return None,
    })
}

/// Runs one of the typing cases against a fresh server.
pub(crate) fn measure(case: Case, run: &Run) -> anyhow::Result<Figures> {
    let shape = shape(case).context("not a typing case")?;
    let process = run.start()?;
    let mut load = run.load(&process)?;
    let mut random = Random::new(run.seed);
    let trace = (case == Case::BigDocument).then(super::trace::big);
    for number in 0..shape.documents {
        let document = load.document(&format!("bench-{number}"), 0x4000_0000 + number as u64 * 1_024);
        let first = load.connect(document)?;
        load.wait_for("the first editor", |load| load.counts.synced > number)?;
        if let Some(trace) = &trace {
            load.send_update(first, &trace.state)?;
        }
    }
    load.connect_all((0..shape.documents).flat_map(|document| vec![document; shape.connections - 1]))?;
    for document in 0..shape.documents {
        let here = |load: &super::load::Load| {
            let all = load.connections.iter().enumerate();
            all.filter(|(_, one)| one.document == document)
                .map(|(index, _)| index)
                .take(shape.writers)
                .collect()
        };
        let connections: Vec<usize> = here(&load);
        for (number, connection) in connections.into_iter().enumerate() {
            let place = trace.as_ref().map(|trace| trace.place(number, shape.writers));
            let (left, right) = place.map_or((None, None), |(left, right)| (Some(left), Some(right)));
            let action = match shape.kind {
                Kind::Typing => Action::Type { left, right, with_cursor: false },
                Kind::TypingWithCursor => Action::Type { left, right, with_cursor: true },
                Kind::Presence => Action::Presence,
            };
            load.add_writer(connection, action, shape.per_second, &mut random);
        }
    }
    load.run_for(WARM_UP)?;
    steady(&mut load, &process, run.window)
}

/// Measures for `window`, then lets what is under way arrive.
fn steady(load: &mut super::load::Load, process: &Process, window: Duration) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    load.reset_counts();
    let (cpu, started) = (process.cpu_seconds(), load.now());
    let cluster = process.cluster.as_ref().map(|cluster| (cluster, cluster.look()));
    load.run_for(window)?;
    let cpu = process.cpu_seconds() - cpu;
    let elapsed = (load.now() - started) as f64 / 1e6;
    let presence_only = load.counts.updates == 0;
    let delivered = if presence_only { load.counts.awareness_deliveries } else { load.counts.deliveries };
    if let Some((cluster, before)) = cluster {
        let spent = cluster.look().since(&before);
        let owner = if spent.owner_cpu > 0.0 { spent.owner_cpu } else { cpu };
        figures.insert(Metric::OwnerUsPerDelivery, owner * 1e6 / delivered as f64);
        figures.insert(Metric::DatabaseCorePercent, 100.0 * spent.database_cpu / elapsed);
        figures.insert(Metric::CommitsPerSecond, spent.commits / elapsed);
    }
    figures.insert(Metric::UpdatesPerSecond, load.counts.updates as f64 / elapsed);
    figures.insert(Metric::DeliveriesPerCpuSecond, delivered as f64 / cpu);
    figures.insert(Metric::CorePercent, 100.0 * cpu / elapsed);
    figures.insert(Metric::ResidentMb, process.resident_bytes() / MEGABYTE);

    load.stop_writing();
    load.run_until(DRAIN, |load| load.all_delivered())?;
    let counts = &load.counts;
    let latency = if presence_only { &counts.awareness_latency } else { &counts.latency };
    let quantiles = [
        (Metric::P50Ms, latency.quantile_ms(0.5)),
        (Metric::P99Ms, latency.quantile_ms(0.99)),
        (Metric::EchoP50Ms, counts.echo.quantile_ms(0.5)),
        (Metric::EchoP95Ms, counts.echo.quantile_ms(0.95)),
        (Metric::EchoP99Ms, counts.echo.quantile_ms(0.99)),
    ];
    figures.extend(quantiles.into_iter().filter_map(|(metric, value)| Some((metric, value?))));
    let (shown, due) = load.shown_and_due();
    figures.insert(Metric::DeliveredPercent, 100.0 * shown as f64 / (due as f64).max(1.0));
    anyhow::ensure!(load.counts.lost == 0, "the server closed {} connections", load.counts.lost);
    Ok(figures)
}
