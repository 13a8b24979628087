//! The cases that ask how a delivery's cost grows with the readers and with the document.

use std::time::Duration;

use super::joining::huge_state;
use super::metric::{Figures, Metric};
use super::random::Random;
use super::run::Run;
use super::trace::{self, Trace};
use super::traffic::Action;

const WARM_UP: Duration = Duration::from_millis(1_500);
const WRITERS: usize = 10;
/// Deliveries per second that each step offers.
const OFFERED: f64 = 20_000.0;

/// 10, 100 and 1,000 readers, the same number of deliveries per second.
pub(crate) fn readers(run: &Run) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let steps =
        [(10, Metric::CpuFor10Readers), (100, Metric::CpuFor100Readers), (1_000, Metric::CpuFor1000Readers)];
    for (readers, metric) in steps {
        figures.insert(metric, cpu_per_delivery(run, readers, None)?);
    }
    add_deviation(&mut figures);
    Ok(figures)
}

/// Typing in documents of 1 KB, 300 KB and 20 MB, with 100 readers.
pub(crate) fn size(run: &Run) -> anyhow::Result<Figures> {
    let small = Trace::write(trace::Plan { edits: 1_000, characters: 1, deletes_percent: 0, burst: 100 });
    let steps =
        [(small, Metric::CpuFor1Kb), (trace::big(), Metric::CpuFor300Kb), (huge_state(), Metric::CpuFor20Mb)];
    let mut figures = Figures::new();
    for (trace, metric) in steps {
        figures.insert(metric, cpu_per_delivery(run, 100, Some(&trace))?);
    }
    add_deviation(&mut figures);
    Ok(figures)
}

/// Microseconds of the server's CPU time for each delivery.
fn cpu_per_delivery(run: &Run, readers: usize, trace: Option<&Trace>) -> anyhow::Result<f64> {
    let name = format!("bench-{readers}-{}", trace.map_or(0, |trace| trace.state.len()));
    let stored: Vec<_> = trace.iter().map(|trace| (name.clone(), trace.state.as_slice())).collect();
    let process = run.start_with(&stored)?;
    let mut load = run.load(&process)?;
    load.skip_above = 16 * 1_024;
    let document = load.document(&name, 0x4000_0000);
    load.connect_all(vec![document; readers])?;
    let mut random = Random::new(run.seed);
    for writer in 0..WRITERS {
        let place = trace.map(|trace| trace.place(writer, WRITERS));
        let (left, right) = place.map_or((None, None), |(left, right)| (Some(left), Some(right)));
        let typing = Action::Type { left, right, with_cursor: false };
        load.add_writer(writer, typing, OFFERED / readers as f64 / WRITERS as f64, &mut random);
    }
    load.run_for(WARM_UP)?;
    load.reset_counts();
    let cpu = process.cpu_seconds();
    load.run_for(run.window)?;
    Ok((process.cpu_seconds() - cpu) * 1e6 / load.counts.deliveries as f64)
}

/// How far the farthest step is from the mean of all.
fn add_deviation(figures: &mut Figures) {
    let mean = figures.values().sum::<f64>() / figures.len() as f64;
    let farthest = figures.values().map(|cost| 100.0 * (cost - mean).abs() / mean).fold(0.0, f64::max);
    figures.insert(Metric::DeviationPercent, farthest);
}
