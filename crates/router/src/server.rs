//! The listener, and everything that lives as long as it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ringleaf_types::{CloseReason, Limits};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{sleep, timeout};
use tracing::{debug, debug_span, error, info_span, warn};

use crate::access::Access;
use crate::bind::{self, BindError};
use crate::handshake::{self, Refusal};
use crate::pace;
use crate::page::Page;
use crate::route::Route;
use crate::shared::Shared;
use crate::tasks::Tasks;

/// Limit: connections beyond the allowed ones that are told so. Above it they are dropped.
const REFUSED_AT_ONCE_MAX: usize = 1_024;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an editors' server needs to know.
#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Editors may come from other machines. Without it only loopback addresses are listened on.
    pub open_to_anyone: bool,
    /// Web pages of other hosts that may connect, as origins (`https://example.com`), or `*` for all.
    pub allowed_origins: Vec<String>,
    pub limits: Arc<Limits>,
    /// Served to plain requests. None: a line of text at `/`.
    pub page: Option<Arc<dyn Page>>,
}

/// An editors' server that has its port and does nothing yet.
pub struct Server {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

/// An editors' server at work. It goes on until it is stopped or dropped.
pub struct RunningServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What there is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterStatus {
    /// Open connections, those that are not yet sockets included.
    pub connections: usize,
    pub sessions: usize,
    /// Documents that have sessions here.
    pub documents: usize,
    /// Sessions that did not keep up and are being caught up.
    pub behind: usize,
    /// What [`Limits::received_bytes_max`] bounds.
    pub received_bytes: usize,
}

impl Server {
    /// Takes the port. Nobody is accepted before [`Server::start`].
    ///
    /// # Errors
    ///
    /// The port cannot be had, or is open to other machines though that was not asked for.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        if !config.open_to_anyone && !config.listen.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback { address: config.listen });
        }
        let listener = bind::listen(config.listen)?;
        let address = listener.local_addr().map_err(|source| BindError::from_io(config.listen, source))?;
        Ok(Self { config, listener, address })
    }

    /// The address that it listens on, with the port that was taken if the configured one was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept editors. Must be called inside a tokio runtime.
    pub fn start(self, route: Route) -> RunningServer {
        let Config { open_to_anyone, allowed_origins, limits, page, .. } = self.config;
        let access = Access::new(&allowed_origins, open_to_anyone);
        let tasks = Tasks::default();
        let shared = Arc::new(Shared::new(limits, access, page, route, tasks.clone()));
        tasks.spawn_until_cut(info_span!("accept"), accept(self.listener, Arc::clone(&shared)));
        RunningServer { address: self.address, shared }
    }
}

/// Takes connections until the server stops.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "could not watch the listener: nobody is accepted"),
    };
    let stop = shared.tasks.stop.clone();
    loop {
        let accepted = select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(_) if shared.addresses.total() >= shared.limits.connections_max + REFUSED_AT_ONCE_MAX => {
                // Not even words for them.
                shared.metrics.handshake_refused(Refusal::Connections);
            }
            Ok((stream, peer)) => {
                prepare(&stream, &shared.limits);
                let span = debug_span!(parent: None, "handshake", %peer);
                shared.tasks.spawn_until_cut(span, handshake::serve(stream, peer, Arc::clone(&shared)));
            }
            Err(error) => {
                // Mostly too many open files: those that are here stay, and others may come when some have left.
                warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Small frames leave at once, and a peer that does not even acknowledge bytes is found by the kernel.
fn prepare(stream: &TcpStream, limits: &Limits) {
    let socket = SockRef::from(stream);
    let mut set = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        set = set.and(socket.set_tcp_user_timeout(Some(limits.dead_timeout)));
    }
    if let Err(error) = set {
        // The peer is gone already.
        debug!(%error, "could not prepare a socket");
    }
}

impl RunningServer {
    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Counts what there is.
    pub fn status(&self) -> RouterStatus {
        RouterStatus {
            connections: self.shared.addresses.total(),
            sessions: self.shared.documents.seats(),
            documents: self.shared.documents.count(),
            behind: self.shared.behind(),
            received_bytes: self.shared.received.bytes(),
        }
    }

    /// Stops accepting, closes all sockets with 1012, spread over [`Limits::close_spread`] or longer if there are many,
    /// and waits until they are gone. What is left after `deadline` is cut off.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, sockets still close; nobody waits for them.
    pub async fn stop(&self, deadline: Duration) {
        let tasks = &self.shared.tasks;
        tasks.stop.cancel();
        let spread = pace::close_spread(&self.shared.limits, self.shared.addresses.total(), deadline);
        for fan_out in self.shared.documents.all() {
            fan_out.close_all(CloseReason::ServiceRestart, spread);
        }
        if timeout(deadline, tasks.ended()).await.is_err() {
            warn!(connections = self.shared.addresses.total(), "cut off editors that did not go in time");
            self.cut();
            tasks.ended().await;
        }
    }
}

impl RunningServer {
    fn cut(&self) {
        self.shared.tasks.stop.cancel();
        self.shared.tasks.cut.cancel();
        for fan_out in self.shared.documents.all() {
            fan_out.cut_all();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.cut();
        // A host holds on to the fan-out that it delivers to, and the fan-out to its host.
        self.shared.documents.clear();
    }
}
