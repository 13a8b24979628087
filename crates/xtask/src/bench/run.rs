//! One run: a fresh server with a fresh folder, and a load of its own.

use std::path::PathBuf;
use std::time::Duration;

use super::load::Load;
use super::process::Process;
use super::server::Server;

/// The server's core; the load has the other one.
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;

pub(crate) const MEGABYTE: f64 = 1e6;

/// Hocuspocus stores two seconds after an edit, y-leveldb when it gets to it.
const STORED_AFTER: Duration = Duration::from_secs(4);

/// What is fixed for one run.
pub(crate) struct Run {
    pub(crate) server: Server,
    /// The round: the same moments of writing for every server.
    pub(crate) seed: u64,
    pub(crate) window: Duration,
    /// Where the server stores; removed afterwards.
    pub(crate) data: PathBuf,
}

impl Run {
    pub(crate) fn start(&self) -> anyhow::Result<Process> {
        self.server.start(&self.data, SERVER_CORE)
    }

    pub(crate) fn load(&self, process: &Process) -> anyhow::Result<Load> {
        Load::new(self.server.dialect(), process.port)
    }

    /// A server that has these documents from an earlier life; one that stores nothing is
    /// filled and left running, since it keeps in memory what nobody has open.
    pub(crate) fn start_with(&self, documents: &[(String, &[u8])]) -> anyhow::Result<Process> {
        let process = self.start()?;
        if documents.is_empty() {
            return Ok(process);
        }
        let mut load = self.load(&process)?;
        for (number, (name, state)) in documents.iter().enumerate() {
            let document = load.document(name, 0x7000_0000 + number as u64 * 1_024);
            load.connect_all([document])?;
            load.send_update(number, state)?;
            let echoed = load.counts.bytes + state.len() as u64 / 2;
            load.wait_for("a document to be taken in", |load| load.counts.bytes >= echoed)?;
        }
        load.run_for(STORED_AFTER)?;
        if !self.server.stores() {
            return Ok(process);
        }
        (0..load.connections.len()).for_each(|index| load.close(index));
        load.run_for(STORED_AFTER / 2)?;
        drop(load);
        process.stop()?;
        self.start()
    }
}
