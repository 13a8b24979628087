//! A network between two processes that can be cut.
//!
//! ```text
//! whoever connects ──▶ Proxy ──▶ whom it is aimed at       pass · cut (both ends are reset) · black hole (silence) · slow
//! ```

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How often those who wait look whether something has changed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often the list of sockets is read before one that is not in it does not exist.
const LOOKS_MAX: usize = 20;

/// What the network does to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Passes,
    /// Every connection is reset, and new ones too.
    Cut,
    /// Nothing arrives any more, in neither direction, and nobody is told.
    BlackHole,
    /// What the one who connects sends does not arrive; answers do.
    Deaf,
    /// What the one who connects sends arrives; answers do not.
    Mute,
    /// Everything arrives, so much later, in both directions.
    Slow(Duration),
}

/// How the network is for one of those who connect.
type Rule = Arc<dyn Fn(SocketAddr) -> Option<Network> + Send + Sync>;

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    network: Network,
    /// Has the first word about connections from an address.
    rule: Option<Rule>,
}

/// How the network is for whoever connects from there. A rule may take its time, so nobody waits for the lock meanwhile.
fn network_for(state: &Mutex<State>, from: SocketAddr) -> Network {
    let state = state.lock().expect("no holder panics");
    let (rule, network) = (state.rule.clone(), state.network);
    drop(state);
    rule.and_then(|rule| rule(from)).unwrap_or(network)
}

pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Aimed at nobody yet: whoever connects is reset.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        let address = listener.local_addr().expect("it is bound");
        let (state, stopped) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let accepting = thread::spawn({
            let (state, stopped) = (Arc::clone(&state), Arc::clone(&stopped));
            move || accept(&listener, &state, &stopped)
        });
        Self { address, state, stopped, accepting: Some(accepting) }
    }

    pub fn to(target: SocketAddr) -> Self {
        let proxy = Self::start();
        proxy.aim(target);
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead there from now on.
    pub fn aim(&self, target: SocketAddr) {
        self.state.lock().expect("no holder panics").target = Some(target);
    }

    pub fn set(&self, network: Network) {
        self.state.lock().expect("no holder panics").network = network;
    }

    /// Everything passes, whoever connects.
    pub fn heal(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        (state.network, state.rule) = (Network::Passes, None);
    }

    /// As [`set`](Self::set) for the connections of one process only, until it is [healed](Self::heal).
    pub fn set_for(&self, process: u32, network: Network) {
        let known = Mutex::new(std::collections::BTreeMap::new());
        let rule = move |from: SocketAddr| {
            // Asked once for each connection: the answer cannot change, and costs a look at all open files.
            let found = known.lock().expect("no holder panics").get(&from).copied();
            let found = found.unwrap_or_else(|| has_socket(process, from));
            known.lock().expect("no holder panics").insert(from, found);
            found.then_some(network)
        };
        self.state.lock().expect("no holder panics").rule = Some(Arc::new(rule));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The one who accepts looks up.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>, stopped: &Arc<AtomicBool>) {
    while let Ok((stream, from)) = listener.accept() {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let (state, stopped) = (Arc::clone(state), Arc::clone(stopped));
        thread::spawn(move || carry(&stream, from, &state, &stopped));
    }
}

/// Carries one connection to its end.
fn carry(near: &TcpStream, from: SocketAddr, state: &Mutex<State>, stopped: &AtomicBool) {
    let network = || if stopped.load(Ordering::Relaxed) { Network::Cut } else { network_for(state, from) };
    // A handshake that nobody answers.
    while matches!(network(), Network::BlackHole | Network::Deaf) {
        thread::sleep(LOOK_AGAIN);
    }
    let target = state.lock().expect("no holder panics").target;
    let far = match target {
        Some(target) if network() != Network::Cut => TcpStream::connect(target),
        _ => return reset(near),
    };
    let Ok(far) = far else { return reset(near) };
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| pump(near, &far, &network, Network::Deaf, &ended));
        pump(&far, near, &network, Network::Mute, &ended);
    });
}

/// Carries what comes from one to the other until either ends, or the network is cut.
fn pump(
    mut source: &TcpStream,
    mut sink: &TcpStream,
    network: &dyn Fn() -> Network,
    deaf: Network,
    ended: &AtomicBool,
) {
    // Neither side may hold up a cut: a peer that is stopped reads nothing.
    let _ = source.set_read_timeout(Some(LOOK_AGAIN));
    let _ = sink.set_write_timeout(Some(LOOK_AGAIN));
    let _ = sink.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    // Read before a hole opened: a packet that is on the way, and arrives when it has closed.
    let mut waiting = 0..0;
    loop {
        let now = network();
        if now == Network::Cut || ended.load(Ordering::Relaxed) {
            break;
        }
        if now == Network::BlackHole || now == deaf {
            thread::sleep(LOOK_AGAIN);
            continue;
        }
        let done = if waiting.is_empty() {
            let read = source.read(&mut buffer).map(|count| waiting = 0..count);
            if let (Network::Slow(delay), true) = (now, read.is_ok()) {
                thread::sleep(delay);
            }
            read
        } else {
            sink.write(&buffer[waiting.clone()]).map(|count| waiting.start += count)
        };
        match done {
            Ok(()) if waiting == (0..0) => {
                let _ = sink.shutdown(Shutdown::Write);
                return;
            }
            Ok(()) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => break,
        }
    }
    ended.store(true, Ordering::Relaxed);
    reset(source);
    reset(sink);
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// It ends when it is closed, as by a machine that has never heard of the connection.
fn reset(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

/// Whether the process holds the socket of this local address, as Linux says it.
fn has_socket(process: u32, address: SocketAddr) -> bool {
    // The list of all sockets is not read at one instant: one that is there can be missing from it while others come and go.
    let inodes =
        (0..LOOKS_MAX).map(|_| inodes(address)).find(|inodes| !inodes.is_empty()).unwrap_or_default();
    let wanted: Vec<_> = inodes.into_iter().map(|inode| format!("socket:[{inode}]")).collect();
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.any(|link| wanted.iter().any(|wanted| link.to_string_lossy() == *wanted))
}

/// Of all sockets that have this local address. Connections that are over, but remembered, have none.
fn inodes(address: SocketAddr) -> Vec<String> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!("0100007F:{:04X}", address.port());
    let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = fields.filter(|fields| fields.get(1) == Some(&local.as_str()));
    ours.filter_map(|fields| fields.get(9).filter(|inode| **inode != "0").map(ToString::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with itself.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    fn says(stream: &mut TcpStream, within: Duration) -> Option<u8> {
        let mut byte = [0];
        stream.set_read_timeout(Some(within)).unwrap();
        stream.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    #[test]
    fn what_a_black_hole_swallowed_arrives_when_it_closes() {
        let proxy = Proxy::to(echo());
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(b"a").unwrap();
        assert_eq!(says(&mut stream, Duration::from_secs(10)), Some(b'a'));
        proxy.set(Network::BlackHole);
        stream.write_all(b"b").unwrap();
        assert_eq!(says(&mut stream, Duration::from_millis(100)), None);
        proxy.set(Network::Passes);
        assert_eq!(says(&mut stream, Duration::from_secs(10)), Some(b'b'));
    }

    #[test]
    fn a_cut_resets_what_is_there_and_what_comes() {
        let proxy = Proxy::to(echo());
        let mut before = TcpStream::connect(proxy.address()).unwrap();
        before.write_all(b"a").unwrap();
        assert_eq!(says(&mut before, Duration::from_secs(10)), Some(b'a'));
        proxy.set(Network::Cut);
        let mut after = TcpStream::connect(proxy.address()).unwrap();
        for stream in [&mut before, &mut after] {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let ended = stream.read(&mut [0]);
            assert!(ended.as_ref().is_ok_and(|count| *count == 0) || !is_timeout(&ended.unwrap_err()));
        }
    }

    #[test]
    fn a_slow_network_delays_each_way_until_it_is_healed() {
        let delay = Duration::from_millis(100);
        let proxy = Proxy::to(echo());
        proxy.set(Network::Slow(delay));
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        let sent_at = std::time::Instant::now();
        stream.write_all(b"a").unwrap();
        assert_eq!(says(&mut stream, Duration::from_secs(10)), Some(b'a'));
        assert!(sent_at.elapsed() >= delay * 2);
        proxy.set_for(std::process::id(), Network::BlackHole);
        stream.write_all(b"b").unwrap();
        assert_eq!(says(&mut stream, delay), None);
        proxy.heal();
        assert_eq!(says(&mut stream, Duration::from_secs(10)), Some(b'b'));
    }

    #[test]
    fn one_process_can_be_cut_off_alone() {
        let proxy = Proxy::to(echo());
        proxy.set_for(std::process::id(), Network::BlackHole);
        let mut ours = TcpStream::connect(proxy.address()).unwrap();
        ours.write_all(b"a").unwrap();
        assert_eq!(says(&mut ours, Duration::from_millis(100)), None);
        // No process has this number.
        proxy.set_for(0, Network::BlackHole);
        assert_eq!(says(&mut ours, Duration::from_secs(10)), Some(b'a'));
    }
}
