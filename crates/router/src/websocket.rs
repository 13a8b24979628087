//! A socket's own task: it reads, and writes only what the fan-out could not.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{CloseReason, Rights, Subject};
use ringleaf_wire::DocumentHost;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::info_span;

use crate::addresses::Counted;
use crate::connection::Connection;
use crate::documents::Seat;
use crate::session::Session;
use crate::shared::Shared;

mod reader;

use reader::{Reader, Turn};

/// How long a peer may take to read why it is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What an editor sent outlives its socket for so long: someone types the last word and closes the tab while the
/// document's owner dies.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a session of an admitted editor's socket.
pub(crate) fn start(stream: TcpStream, early: Bytes, seat: Seat, counted: Counted, shared: Arc<Shared>) {
    let session = Session::new(shared.next_session(), Rights::ReadWrite, Subject::anyone());
    let span =
        info_span!(parent: None, "session", session = %session.id(), document = %seat.fan_out.document());
    let connection = Arc::new(Connection::new(stream, session, Arc::clone(&shared), Instant::now()));
    let reader = Reader::new(Arc::clone(&connection), Arc::clone(&seat.fan_out), Arc::clone(&shared), early);
    let tasks = shared.tasks.clone();
    tasks.spawn(span, run(reader, connection, seat, counted, shared));
}

async fn run(
    mut reader: Reader,
    connection: Arc<Connection>,
    seat: Seat,
    counted: Counted,
    shared: Arc<Shared>,
) {
    seat.fan_out.join(Arc::clone(&connection));
    loop {
        match reader.turn(Instant::now()) {
            Turn::Waits(waits) => waits.over(&connection).await,
            Turn::Again => tokio::task::yield_now().await,
            Turn::Ended => break,
        }
    }
    {
        let mut state = connection.lock();
        state.session.end();
        if !state.closing().is_none_or(outlived_by_its_messages) {
            state.session.forget_messages();
        }
    }
    // The owner hears at once that the editor is gone, also when that takes long to read why.
    let _ = reader.bring();
    Box::pin(close(&connection)).await;
    connection.lock().cut();
    drop(counted);
    Box::pin(linger(&mut reader, &connection, &shared)).await;
    seat.fan_out.leave(connection.session());
}

/// Whether what an editor sent still has somewhere to go.
fn outlived_by_its_messages(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ServiceRestart
        | CloseReason::TryAgainLater
        | CloseReason::SlowConsumer
        | CloseReason::Dead
        | CloseReason::MessageTooLarge
        | CloseReason::ProtocolError => true,
        CloseReason::Misbehaved | CloseReason::DocumentDeleted | CloseReason::DocumentQuarantined => false,
    }
}

/// What a connection's task waits for.
#[derive(Default)]
pub(crate) struct Waits {
    readable: bool,
    writable: bool,
    /// This host had no room.
    host: Option<Arc<dyn DocumentHost>>,
    until: Option<Instant>,
}

impl Waits {
    /// Waits until one of these has come.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    async fn over(self, connection: &Connection) {
        // Errors of the socket show when it is read or written next.
        tokio::select! {
            biased;
            () = connection.nudged() => {}
            () = room(self.host.as_ref()) => {}
            _ = connection.socket.readable(), if self.readable => {}
            _ = connection.socket.writable(), if self.writable => {}
            () = at(self.until) => {}
        }
    }
}

async fn room(host: Option<&Arc<dyn DocumentHost>>) {
    match host {
        Some(host) => drop(host.ready().await),
        None => pending().await,
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}

/// Writes what still waits, the close frame last, and gives the peer time to read it.
async fn close(connection: &Connection) {
    let flush = async {
        loop {
            {
                let mut state = connection.lock();
                state.flush(Instant::now());
                if !state.open() || state.drained() {
                    return state.open();
                }
            }
            if connection.socket.writable().await.is_err() {
                return false;
            }
        }
    };
    if timeout(CLOSE_TIMEOUT, flush).await != Ok(true) {
        return;
    }
    // Closing a socket with unread bytes in it resets it, and the peer would never read our last frame.
    if SockRef::from(&connection.socket).shutdown(std::net::Shutdown::Write).is_ok() {
        let _ = timeout(CLOSE_TIMEOUT, read_to_end(&connection.socket)).await;
    }
}

async fn read_to_end(socket: &TcpStream) {
    let mut scratch = [0; 512];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Brings what the editor sent to its owner, or to the next one, until it is acknowledged.
async fn linger(reader: &mut Reader, connection: &Connection, shared: &Shared) {
    let acknowledged = async {
        loop {
            let waits = Waits { host: reader.bring(), ..Waits::default() };
            if connection.lock().session.finished() {
                return;
            }
            waits.over(connection).await;
        }
    };
    tokio::select! {
        biased;
        () = shared.tasks.stop.cancelled() => {}
        _ = timeout(LINGER_TIMEOUT, acknowledged) => {}
    }
}
