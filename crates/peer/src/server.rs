//! The port that other processes connect to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use ringleaf_types::Limits;
use ringleaf_wire::SessionHost;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{debug, debug_span, error, info_span};

use crate::bounds::WINDOW_BYTES;
use crate::outbox::FRAME_BYTES_MAX;
use crate::proto;
use crate::proto::peer_server::PeerServer as Generated;
use crate::service::{Answers, Service};
use crate::tasks::Tasks;
use crate::tls::{PeerStream, ServerTls};

/// Connections that are ready and not yet taken over.
const ACCEPTED_MAX: usize = 64;
/// A TLS handshake that takes longer is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What a server needs to know.
pub struct PeerConfig {
    /// Where it listens. Port 0 takes any.
    pub listen: SocketAddr,
    /// Without it everybody who can connect is let in.
    pub tls: Option<ServerTls>,
    /// The bounds of this process.
    pub limits: Arc<Limits>,
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub struct PeerBindError {
    pub listen: SocketAddr,
    pub source: io::Error,
}

/// A server that has its port and does not answer yet.
pub struct PeerServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: PeerConfig,
}

impl PeerServer {
    /// Takes the port. Must be called within a runtime.
    pub fn bind(config: PeerConfig) -> Result<Self, PeerBindError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(config.listen)?;
            listener.set_nonblocking(true)?;
            let local_addr = listener.local_addr()?;
            Ok((TcpListener::from_std(listener)?, local_addr))
        };
        let (listener, local_addr) =
            bind().map_err(|source| PeerBindError { listen: config.listen, source })?;
        Ok(Self { listener, local_addr, config })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers from now on.
    pub fn start(self, host: Arc<dyn SessionHost>, answers: Arc<dyn Answers>) -> RunningPeerServer {
        let Self { listener, local_addr, config } = self;
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
        let accept = accept(listener, config.tls, accepted, tasks.clone(), stop.clone());
        tasks.start(info_span!(parent: None, "peer_accept"), accept);
        let limits = config.limits;
        let service = Service { host, answers, limits, tasks: tasks.clone(), stop: stop.clone() };
        tasks.start(info_span!(parent: None, "peer_server"), serve(service, connections, stop.clone()));
        RunningPeerServer { local_addr, tasks, stop }
    }
}

/// A server that answers. Dropping it cuts everything off.
pub struct RunningPeerServer {
    local_addr: SocketAddr,
    tasks: Tasks,
    stop: CancellationToken,
}

impl RunningPeerServer {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Sends what waits on the links, ends them, and cuts off what is left after so long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts everything off.
    pub async fn stop(self, deadline: Duration) {
        self.stop.cancel();
        // What is left is cut off when self is dropped.
        let _ = tokio::time::timeout(deadline, self.tasks.finished()).await;
    }
}

impl Drop for RunningPeerServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<ServerTls>,
    accepted: mpsc::Sender<PeerStream>,
    tasks: Tasks,
    stop: CancellationToken,
) {
    /// When there are no file descriptors, for example.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = listener.accept() => stream,
        };
        match stream {
            Ok((stream, _)) => {
                let shake = shake(stream, tls.clone(), accepted.clone(), stop.clone());
                tasks.start(debug_span!(parent: None, "peer_handshake"), shake);
            }
            Err(error) => {
                debug!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn shake(
    stream: TcpStream,
    tls: Option<ServerTls>,
    accepted: mpsc::Sender<PeerStream>,
    stop: CancellationToken,
) {
    let shaken = async {
        stream.set_nodelay(true)?;
        match tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(PeerStream::plain(stream)),
        }
    };
    let shaken = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaken) => shaken,
    };
    match shaken {
        // A server that has stopped takes no more.
        Ok(Ok(stream)) => drop(accepted.send(stream).await),
        Ok(Err(error)) => debug!(%error, "a connection was refused"),
        Err(_) => debug!("a connection took too long"),
    }
}

async fn serve(service: Service, connections: mpsc::Receiver<PeerStream>, stop: CancellationToken) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Generated<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIBED)
        .build_v1()
        .expect("our own proto file is described as it should be");
    let incoming = stream::unfold(connections, |mut connections| async {
        let stream = connections.recv().await?;
        Some((Ok::<_, io::Error>(stream), connections))
    });
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(Generated::new(service).max_decoding_message_size(FRAME_BYTES_MAX))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        error!(error = &error as &dyn std::error::Error, "the peer server has ended");
    }
}
