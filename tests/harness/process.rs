//! Programs that are not ours, and how a test starts and ends them.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whether a process stands beside this one or in a group of its own, where no Ctrl-C of a terminal reaches it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Group {
    /// Whoever ends the test ends this too.
    #[default]
    Ours,
    Own,
}

impl Group {
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Own {
            command.process_group(0);
        }
    }
}

/// Starts what says nothing and is told nothing; its trouble goes into a file.
pub(crate) fn spawn(mut command: Command, group: Group, log: &Path) -> Child {
    let file = std::fs::File::options().create(true).append(true).open(log).expect("the folder is ours");
    group.apply(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    command.spawn().unwrap_or_else(|error| panic!("{error}: {command:?}"))
}

/// Sends a signal, such as `STOP`.
///
/// # Panics
/// When there is no such process.
pub(crate) fn signal(id: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "could not send {signal} to {id}");
}

/// Ports on loopback that nobody listens on. Somebody else may take one before it is used: unlikely, and then seen.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there are free ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// The folder on the `PATH`, or among these, that has all of the programs.
pub(crate) fn folder_with(programs: &[&str], others: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(others);
    folders.find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}
