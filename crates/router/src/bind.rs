//! Taking a port, and saying in words why that did not work.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel may hold for us until they are accepted: as many as come back at once after a restart.
const BACKLOG: i32 = 4_096;

/// Why there is no server on an address. The text says what happened; [`BindError::advice`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{address} can be reached from other machines, and editors are served on loopback only")]
    NotLoopback { address: SocketAddr },
    #[error("port {} is in use by {}", address.port(), Holder(holder.as_ref()))]
    InUse { address: SocketAddr, holder: Option<PortHolder> },
    #[error("port {} may only be taken by root", address.port())]
    NotPermitted { address: SocketAddr, source: io::Error },
    #[error("no network interface of this machine has the address {}", address.ip())]
    NotAvailable { address: SocketAddr, source: io::Error },
    #[error("listen on {address}")]
    Io { address: SocketAddr, source: io::Error },
}

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    pub pid: u32,
    /// The name of the program, as the kernel knows it.
    pub command: String,
}

impl BindError {
    /// What the operating system's answer means. Useful for every listener of this process, not only ours.
    pub fn from_io(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, holder: holder_of(address.port()) },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, source },
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable { address, source },
            _ => Self::Io { address, source },
        }
    }

    /// What a person can do about it, in one sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::NotLoopback { .. } => "put a proxy that checks who comes in front of a loopback address, \
                or say --open-to-anyone if everybody who reaches this address may read and write every document"
                .into(),
            Self::InUse { .. } => "stop that program, or choose another port".into(),
            Self::NotPermitted { .. } => "choose a port from 1024 on, and let a proxy have the low one".into(),
            Self::NotAvailable { .. } => {
                "use 127.0.0.1, ::1, 0.0.0.0 or an address that `ip address` shows".into()
            }
            Self::Io { .. } => "see the cause".into(),
        }
    }
}

/// Displays whoever has a port.
struct Holder<'a>(Option<&'a PortHolder>);

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => write!(f, "{} (pid {})", holder.command, holder.pid),
            None => f.write_str("another program"),
        }
    }
}

/// Listens on an address without waiting for anybody.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Sockets of a server that was stopped a moment ago must not keep the next one waiting.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| BindError::from_io(address, source))
}

/// Who listens on a port, as far as `/proc` tells.
#[cfg(target_os = "linux")]
fn holder_of(port: u16) -> Option<PortHolder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = std::fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|file| {
            std::fs::read_link(file.path())
                .is_ok_and(|to| wanted.iter().any(|w| to.as_os_str() == w.as_str()))
        });
        let command = || std::fs::read_to_string(process.path().join("comm")).ok();
        holds.then(|| PortHolder { pid, command: command().unwrap_or_default().trim().into() })
    })
}

#[cfg(not(target_os = "linux"))]
fn holder_of(_port: u16) -> Option<PortHolder> {
    None
}

/// The inodes of the sockets that listen on a port, from the text of `/proc/net/tcp`.
#[cfg(target_os = "linux")]
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let suffix = format!(":{port:04X}");
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        (local.ends_with(&suffix) && *state == LISTENING).then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_port_in_use_names_who_has_it() {
        let first = listen(any_port()).unwrap();
        let error = listen(first.local_addr().unwrap()).unwrap_err();
        let BindError::InUse { holder: Some(holder), .. } = &error else { panic!("{error:?}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains(&format!("(pid {})", holder.pid)), "{error}");
        assert!(error.advice().contains("another port"), "{}", error.advice());
    }

    #[test]
    fn an_address_of_nobody_says_so() {
        // 192.0.2.0/24 is reserved for documentation.
        let error = listen("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, BindError::NotAvailable { .. }), "{error:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_listeners_on_that_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:04D2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\n\
            1: 0100007F:04D2 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x\n\
            2: 0100007F:04D3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 x\n";
        assert_eq!(listeners(table, 1234), ["4711"]);
    }
}
