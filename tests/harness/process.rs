//! Programs that are not ours, and how a test starts and ends them.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Ports below this may belong to somebody who has one for ever.
const FIRST_PORT: u16 = 10_000;

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

/// Ports on loopback that nobody listens on, for servers that are to come back where they were.
///
/// Not from the range that the system takes for whoever connects: while a server is away, somebody who looks for it could
/// be given its port, and even connect to himself. Other tests that run beside this one are given others, for as long as
/// this process lives.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let mut next = RandomState::new().hash_one(()) as u16;
    let listeners = [(); N].map(|()| {
        for _ in 0..TRIES {
            next = next.wrapping_add(1);
            let port = FIRST_PORT + next % (taken_by_the_system() - FIRST_PORT);
            if let Some(held) = hold(port)
                && let Ok(listener) = TcpListener::bind(("127.0.0.1", port))
            {
                HELD.lock().expect("no holder of this lock panics").push(held);
                return listener;
            }
        }
        panic!(
            "no free port in {TRIES} tries; is {} writable?",
            std::env::temp_dir().join(HELD_FOLDER).display()
        );
    });
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// Where tests tell each other which ports they have.
const HELD_FOLDER: &str = "ringleaf-test-ports";
/// Limit: so many ports in a row are not taken on any machine where tests can run.
const TRIES: usize = 2_000;

/// The locks on the ports that this process was given.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Tells other tests that a port is taken. `None`: one of them has it, or had it in this process.
fn hold(port: u16) -> Option<File> {
    let folder = std::env::temp_dir().join(HELD_FOLDER);
    std::fs::create_dir_all(&folder).ok()?;
    let file = File::options().create(true).append(true).open(folder.join(port.to_string())).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Where the ports begin that the system gives to whoever connects.
fn taken_by_the_system() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    first.filter(|first| *first > 2 * FIRST_PORT).unwrap_or(32_768)
}

/// The folder on the `PATH`, or among these, that has all of the programs.
pub(crate) fn folder_with(programs: &[&str], others: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(others);
    folders.find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}
