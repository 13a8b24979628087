//! One editor's socket and session, as the connection's own task and the document's fan-out share them.
//!
//! Whoever has something for the editor writes it straight to the socket while the socket takes it. What it does not
//! take waits in the outbox, and the connection's task carries on when the socket is writable again.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{CloseReason, SessionId, Slot};
use ringleaf_wire::websocket_frame;
use ringleaf_wire::y_websocket::KEEPALIVE;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::outbox::Contents;
use crate::session::Session;
use crate::shared::Shared;

mod state;

use state::{Due, Pipe, Sent};

pub(crate) use state::State;

const NORMAL_CLOSE: u16 = 1000;

/// See the module's description.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    session: SessionId,
    inner: Mutex<Inner>,
    /// Wakes the connection's task: there is something to flush, room to read, a new owner, or an end.
    nudge: Notify,
    shared: Arc<Shared>,
}

struct Inner {
    state: State,
    counted_behind: bool,
}

/// The state of a connection while it is looked at or changed.
pub(crate) struct Locked<'a> {
    inner: MutexGuard<'a, Inner>,
    connection: &'a Connection,
}

/// Frames that are the same for all sessions of a document, in one buffer.
#[derive(Debug)]
pub(crate) struct Round {
    /// The slots after this one, through `through`. None: there are no updates.
    pub(crate) slots: Option<(Slot, Slot)>,
    pub(crate) updates: Framed,
    pub(crate) awareness: Framed,
    /// Both, one after the other in memory.
    pub(crate) all: Bytes,
}

/// One frame, in one piece or in two.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) head: Bytes,
    /// Empty if the frame is in one piece.
    pub(crate) body: Bytes,
}

/// Whole frames, and how many.
#[derive(Debug, Clone)]
pub(crate) struct Framed {
    pub(crate) bytes: Bytes,
    pub(crate) frames: u32,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, session: Session, shared: Arc<Shared>, now: Instant) -> Self {
        let id = session.id();
        let inner = Inner { state: State::new(session, now), counted_behind: false };
        Self { socket, session: id, inner: Mutex::new(inner), nudge: Notify::new(), shared }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let inner = self.inner.lock().expect("no holder of this lock panics");
        Locked { inner, connection: self }
    }

    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// # Cancel safety
    ///
    /// A nudge that came is not lost by dropping the future.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Hands over what all sessions of the document get. Whether the editor is sent the updates now.
    pub(crate) fn publish(&self, round: &Round, now: Instant) -> bool {
        let mut locked = self.lock();
        let sent = locked.inner.state.publish(self, round, &self.shared.limits, now);
        self.nudge_after(sent);
        let behind = locked.session.behind();
        if behind && locked.session.lacks_after().is_some() {
            self.nudge();
        }
        round.slots.is_some() && !behind && locked.open()
    }

    /// Hands over something that the editor waits for, if `wanted` says that it does. `through`: it holds everything
    /// up to there.
    pub(crate) fn reply(
        &self,
        frame: &Frame,
        through: Option<Slot>,
        wanted: impl FnOnce(&mut Session) -> bool,
        now: Instant,
    ) {
        let mut locked = self.lock();
        if wanted(&mut locked.session) {
            locked.reply(frame, through, now);
        }
        locked.nudge_if_useful();
    }

    /// Hands over everything after `from` if the session waits for that.
    pub(crate) fn catch_up(&self, frame: &Frame, from: Slot, through: Slot, now: Instant) {
        let mut locked = self.lock();
        if locked.session.waits_to_catch_up() {
            if locked.session.caught_up(from, through) {
                locked.reply(frame, Some(through), now);
            }
            locked.nudge_if_useful();
        }
    }

    /// Tells the session something that changes nothing but itself.
    pub(crate) fn tell<T>(&self, tell: impl FnOnce(&mut Session) -> T) {
        let mut locked = self.lock();
        tell(&mut locked.session);
        locked.nudge_if_useful();
    }

    /// Something was published and lost before it came to this session.
    pub(crate) fn missed(&self) {
        self.tell(|session| {
            session.missed();
            session.missed_awareness();
        });
    }

    /// Ends the connection: the editor is told why as soon as its socket takes it.
    pub(crate) fn close(&self, reason: CloseReason, now: Instant) {
        let mut locked = self.lock();
        if locked.inner.state.close(self, reason, &self.shared.limits, now) {
            self.shared.metrics.closed(reason);
        }
        if !outlived_by_messages(reason) {
            // Also when the editor is gone already: what broke a document must not be brought to the next host.
            locked.session.forget_messages();
        }
        self.nudge();
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(&self) {
        self.lock().cut();
        self.nudge();
    }

    /// The same when the document's task has panicked, perhaps while it held the lock.
    pub(crate) fn cut_after_panic(&self) {
        self.inner.clear_poison();
        self.cut();
    }

    /// Looks whether the peer still lives and whether it must be sent a sign of life. Called every `interval`, but for the
    /// time that this process has `slept`.
    pub(crate) fn sweep(&self, now: Instant, slept: Duration, interval: Duration) {
        let mut locked = self.lock();
        locked.slept(slept, now);
        let due = locked.inner.state.due(interval, &self.shared.limits, now);
        let (frames, count) = match due {
            Due::Nothing => return,
            Due::SignOfLife => (&self.shared.keepalive, 1),
            Due::SignOfLifeAndPing => (&self.shared.keepalive_and_ping, 2),
            Due::Close(reason) => {
                drop(locked);
                return self.close(reason, now);
            }
        };
        locked.send(frames, count, Contents::Reply { through: None }, now);
    }

    /// Answers a ping. While answers wait for the socket, further pings go unanswered: the peer takes nothing.
    pub(crate) fn pong(&self, payload: &[u8], now: Instant) {
        let mut locked = self.lock();
        if locked.drained() {
            locked.send(&websocket_frame::pong(payload), 1, Contents::Control, now);
        }
    }

    /// Answers the peer's close.
    pub(crate) fn answer_close(&self, code: Option<u16>, now: Instant) {
        let frame = websocket_frame::close(code.unwrap_or(NORMAL_CLOSE), "");
        self.lock().send(&frame, 1, Contents::Close, now);
    }

    fn nudge_after(&self, sent: Sent) {
        match sent {
            Sent::Fine => {}
            Sent::Nudge => self.nudge(),
        }
    }
}

impl Pipe for Connection {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let wrote = match slices {
            [one] => self.socket.try_write(one)?,
            many => self.socket.try_write_vectored(many)?,
        };
        self.shared.metrics.wrote(wrote);
        Ok(wrote)
    }
}

impl Locked<'_> {
    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.inner.state.flush(self.connection, now);
    }

    fn send(&mut self, bytes: &Bytes, frames: u32, contents: Contents, now: Instant) {
        let limits = &self.connection.shared.limits;
        let sent = self.inner.state.send(self.connection, bytes, frames, contents, limits, now);
        self.connection.nudge_after(sent);
    }

    fn reply(&mut self, frame: &Frame, through: Option<Slot>, now: Instant) {
        let limits = &self.connection.shared.limits;
        let sent = self.inner.state.reply(self.connection, frame, through, limits, now);
        self.connection.nudge_after(sent);
    }

    /// Wakes the connection's task if there may be room for more to be taken, or something to be asked.
    fn nudge_if_useful(&self) {
        let state = &self.inner.state;
        let idle = state.open() && state.reading() && !state.session.behind() && !state.counted;
        if !idle || state.session.next_request().is_some() {
            self.connection.nudge();
        }
    }
}

impl std::ops::Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.inner.state
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.inner.state
    }
}

impl Drop for Locked<'_> {
    /// Counts sessions that are behind.
    fn drop(&mut self) {
        let behind = self.inner.state.session.behind() && self.inner.state.open();
        if behind != self.inner.counted_behind {
            self.inner.counted_behind = behind;
            self.connection.shared.count_behind(behind);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.inner.get_mut().is_ok_and(|inner| inner.counted_behind) {
            self.shared.count_behind(false);
        }
    }
}

/// Whether what an editor sent still has somewhere to go after it was closed for this reason.
fn outlived_by_messages(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ServiceRestart
        | CloseReason::TryAgainLater
        | CloseReason::SlowConsumer
        | CloseReason::Dead
        | CloseReason::MessageTooLarge
        | CloseReason::NotTaken
        | CloseReason::DocumentFull
        | CloseReason::ProtocolError => true,
        CloseReason::Misbehaved | CloseReason::DocumentDeleted | CloseReason::DocumentQuarantined => false,
    }
}

/// Something that every client takes for a sign of life, framed.
pub(crate) fn keepalive() -> Bytes {
    websocket_frame::server_binary([KEEPALIVE])
}
