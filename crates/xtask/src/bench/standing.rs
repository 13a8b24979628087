//! The cases in which nobody does anything: what it costs to be there.

use std::time::Duration;

use super::metric::{Figures, Metric};
use super::run::Run;
use super::{trace, yjs};

const SETTLE: Duration = Duration::from_secs(4);
const DOCUMENTS: usize = 1_000;
const CONNECTIONS_PER_DOCUMENT: usize = 5;
const RESIDENT_DOCUMENTS: usize = 50;

/// 5,000 connections on 1,000 documents of 200 characters.
pub(crate) fn idle(run: &Run) -> anyhow::Result<Figures> {
    let process = run.start()?;
    let mut load = run.load(&process)?;
    load.run_for(SETTLE)?;
    let empty = process.resident_bytes();
    for number in 0..DOCUMENTS {
        let first_client = 0x4000_0000 + number as u64 * 1_024;
        let document = load.document(&format!("bench-{number}"), first_client);
        load.connect_all([document])?;
        load.send_update(number, &yjs::typed((first_client, 0), None, None, &"idle ".repeat(40)))?;
    }
    load.run_for(SETTLE)?;
    let with_documents = process.resident_bytes();
    load.connect_all((0..DOCUMENTS).flat_map(|document| [document; CONNECTIONS_PER_DOCUMENT - 1]))?;
    load.run_for(SETTLE)?;
    let cpu = process.cpu_seconds();
    load.run_for(run.window)?;
    let cpu = process.cpu_seconds() - cpu;
    let full = process.resident_bytes();
    let all = (DOCUMENTS * CONNECTIONS_PER_DOCUMENT) as f64;
    let further = all - DOCUMENTS as f64;
    Ok(Figures::from([
        (Metric::KbPerConnection, (full - empty) / 1_024.0 / all),
        (Metric::KbPerFurtherConnection, (full - with_documents) / 1_024.0 / further),
        (Metric::CorePercent, 100.0 * cpu / run.window.as_secs_f64()),
    ]))
}

/// Big documents that are open, and that nobody writes to.
pub(crate) fn resident(run: &Run) -> anyhow::Result<Figures> {
    let state = trace::big().state;
    let names = (0..RESIDENT_DOCUMENTS).map(|number| format!("bench-{number}"));
    let documents: Vec<_> = names.map(|name| (name, state.as_slice())).collect();
    let process = run.start_with(&documents)?;
    let mut load = run.load(&process)?;
    load.run_for(SETTLE)?;
    let empty = process.resident_bytes();
    for (number, (name, _)) in documents.iter().enumerate() {
        let document = load.document(name, 0x4000_0000 + number as u64 * 1_024);
        load.connect_all([document])?;
    }
    load.run_for(SETTLE)?;
    let grown = process.resident_bytes() - empty;
    Ok(Figures::from([(Metric::TimesStored, grown / (documents.len() * state.len()) as f64)]))
}
