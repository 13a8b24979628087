//! A socket's own task: it reads, and writes only what the fan-out could not.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{Rights, Subject};
use ringleaf_wire::DocumentHost;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::debug_span;

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
    // At the level of `info` there would be a hundred thousand spans in memory.
    let document = seat.fan_out.document();
    let span = debug_span!(parent: None, "session", session = %session.id(), %document);
    let connection = Arc::new(Connection::new(stream, session, Arc::clone(&shared), Instant::now()));
    let reader = Reader::new(Arc::clone(&connection), Arc::clone(&seat.fan_out), Arc::clone(&shared), early);
    let tasks = shared.tasks.clone();
    tasks.spawn(span, run(connection, reader, seat, counted, shared));
}

/// Not an `async fn`: that would hold its arguments twice, as they came and as its own variables.
#[expect(clippy::manual_async_fn, reason = "an idle socket is small")]
fn run(
    connection: Arc<Connection>,
    mut reader: Reader,
    mut seat: Seat,
    counted: Counted,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send {
    async move {
        seat.fan_out.join(Arc::clone(&connection));
        loop {
            match reader.turn(Instant::now()) {
                Turn::Waits(waits) => waits.over(&connection).await,
                Turn::Again => tokio::task::yield_now().await,
                Turn::Ended => break,
            }
        }
        reader.end();
        if !seat.leave(&shared.limits) {
            connection.lock().session.forget_messages();
        }
        // The owner hears at once that the editor is gone, also when that takes long to read why.
        let _ = reader.bring();
        Box::pin(close(&connection, &shared)).await;
        connection.lock().cut();
        drop(counted);
        Box::pin(linger(&mut reader, &connection, &shared)).await;
        seat.fan_out.leave(connection.session());
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
    async fn over(&self, connection: &Connection) {
        // Errors of the socket show when it is read or written next.
        tokio::select! {
            biased;
            () = connection.nudged() => {}
            _ = connection.socket.ready(self.interest()), if self.readable || self.writable => {}
            () = room(self.host.as_ref()), if self.host.is_some() => {}
            () = at(self.until), if self.until.is_some() => {}
        }
    }

    fn interest(&self) -> Interest {
        match (self.readable, self.writable) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (false, true) => Interest::WRITABLE,
            (true | false, false) => Interest::READABLE,
        }
    }
}

async fn room(host: Option<&Arc<dyn DocumentHost>>) {
    match host {
        Some(host) => drop(host.ready().await),
        None => pending().await,
    }
}

/// Waiting for a time is rare, and its future is large.
async fn at(until: Option<Instant>) {
    match until {
        Some(until) => Box::pin(sleep_until(until.into())).await,
        None => pending().await,
    }
}

/// Writes what still waits, the close frame last, and gives the peer time to read it.
async fn close(connection: &Connection, shared: &Shared) {
    let part = async {
        // Closing a socket with unread bytes in it resets it, and the peer would never read our last frame.
        let flushed = timeout(CLOSE_TIMEOUT, flush(connection)).await == Ok(true);
        if flushed && SockRef::from(&connection.socket).shutdown(std::net::Shutdown::Write).is_ok() {
            let _ = timeout(CLOSE_TIMEOUT, read_to_end(&connection.socket)).await;
        }
    };
    tokio::select! {
        biased;
        () = shared.tasks.cut.cancelled() => {}
        () = part => {}
    }
}

/// Whether the socket has taken everything.
async fn flush(connection: &Connection) -> bool {
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
}

async fn read_to_end(socket: &TcpStream) {
    let mut scratch = [0; 4_096];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut scratch) {
            Ok(0) => return,
            // Nothing here waits while the peer sends faster than it is read: neither the time allowed nor anybody else on
            // this thread would get a turn.
            Ok(_) => tokio::task::yield_now().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_socket_is_small() {
        let (task, connection) = (size_of_future(run), size_of::<Connection>());
        assert!(task <= 736, "{task} bytes of task");
        assert!(connection <= 512, "{connection} bytes of connection");
    }
}
