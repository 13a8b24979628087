//! One run: a fresh server with a fresh folder, and a load of its own.

use std::path::PathBuf;
use std::time::Duration;

use super::load::Load;
use super::process::Process;
use super::server::Server;

/// The server's core; the load has the other one.
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;

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
}
