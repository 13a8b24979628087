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

use crate::outbox::{Contents, Entry, Outbox};
use crate::session::Session;
use crate::shared::Shared;

/// A peer that has been silent for one such part of the time after which it counts as dead is pinged.
const PINGS_BEFORE_DEAD: u32 = 3;

const NORMAL_CLOSE: u16 = 1000;

/// See the module's description.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    session: SessionId,
    state: Mutex<State>,
    /// Wakes the connection's task: there is something to flush, room to read, a new owner, or an end.
    nudge: Notify,
    shared: Arc<Shared>,
}

pub(crate) struct State {
    pub(crate) session: Session,
    outbox: Outbox,
    /// When the socket last took something, or began to make us wait.
    sent_at: Instant,
    /// When something last came from the peer.
    heard_at: Instant,
    /// Whether the socket is read. While it is not, silence means nothing: TCP_USER_TIMEOUT finds dead peers.
    reading: bool,
    closing: Option<CloseReason>,
    /// False when nothing can be written any more.
    open: bool,
    counted_behind: bool,
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

/// Whole frames, and how many.
#[derive(Debug, Clone)]
pub(crate) struct Framed {
    pub(crate) bytes: Bytes,
    pub(crate) frames: u32,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, session: Session, shared: Arc<Shared>, now: Instant) -> Self {
        let state = State {
            outbox: Outbox::default(),
            sent_at: now,
            heard_at: now,
            reading: true,
            closing: None,
            open: true,
            counted_behind: false,
            session,
        };
        let session = state.session.id();
        Self { socket, session, state: Mutex::new(state), nudge: Notify::new(), shared }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
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

    // ---- what the fan-out has for the editor ----

    /// Hands over what all sessions of the document get.
    pub(crate) fn publish(&self, round: &Round, now: Instant) {
        let mut state = self.lock();
        let updates = round.slots.filter(|&(previous, through)| state.session.published(previous, through));
        let mut awareness = round.awareness.frames > 0 && state.session.listens();
        if awareness && state.session.behind() && !state.outbox.is_empty() {
            state.session.missed_awareness();
            awareness = false;
        }
        let (bytes, frames) = match (updates.is_some(), awareness) {
            (true, true) => (&round.all, round.updates.frames + round.awareness.frames),
            (true, false) => (&round.updates.bytes, round.updates.frames),
            (false, true) => (&round.awareness.bytes, round.awareness.frames),
            (false, false) => return self.settle(&mut state),
        };
        let through = updates.map(|(_, through)| through);
        self.send(&mut state, bytes, frames, Contents::Published { through, awareness }, now);
        self.settle(&mut state);
    }

    /// Hands over something that the editor waits for, if `wanted` says that it does. `through`: it holds everything
    /// up to there.
    pub(crate) fn reply(
        &self,
        frame: &Bytes,
        through: Option<Slot>,
        wanted: impl FnOnce(&mut Session) -> bool,
        now: Instant,
    ) {
        let mut state = self.lock();
        if wanted(&mut state.session) {
            self.send(&mut state, frame, 1, Contents::Reply { through }, now);
        }
        self.settle(&mut state);
        self.nudge_if_useful(&state);
    }

    /// Hands over everything after `from` if the session waits for that.
    pub(crate) fn catch_up(&self, frame: &Bytes, from: Slot, through: Slot, now: Instant) {
        let mut state = self.lock();
        if !state.session.waits_to_catch_up() {
            return;
        }
        if state.session.caught_up(from, through) {
            self.send(&mut state, frame, 1, Contents::Reply { through: Some(through) }, now);
        }
        self.settle(&mut state);
        self.nudge();
    }

    /// Tells the session something that changes nothing but itself.
    pub(crate) fn tell<T>(&self, tell: impl FnOnce(&mut Session) -> T) {
        let mut state = self.lock();
        tell(&mut state.session);
        self.settle(&mut state);
        self.nudge_if_useful(&state);
    }

    /// Something was published and lost before it came to this session.
    pub(crate) fn missed(&self) {
        let mut state = self.lock();
        state.session.missed();
        state.session.missed_awareness();
        self.settle(&mut state);
        self.nudge();
    }

    /// Ends the connection: the editor is told why as soon as its socket takes it.
    pub(crate) fn close(&self, reason: CloseReason, now: Instant) {
        let mut state = self.lock();
        self.close_locked(&mut state, reason, now);
    }

    fn close_locked(&self, state: &mut State, reason: CloseReason, now: Instant) {
        if state.closing.is_some() || !state.open {
            return;
        }
        self.shared.metrics.closed(reason);
        let frame = websocket_frame::close(reason.code(), reason.text());
        self.send(state, &frame, 1, Contents::Close, now);
        state.closing = Some(reason);
        self.nudge();
    }

    /// Looks whether the peer still lives and whether it must be sent a sign of life. Called every `interval`.
    pub(crate) fn sweep(&self, now: Instant, interval: Duration) {
        let limits = &self.shared.limits;
        let mut state = self.lock();
        if !state.open || state.closing.is_some() {
            return;
        }
        let sent = now.saturating_duration_since(state.sent_at);
        let heard = now.saturating_duration_since(state.heard_at);
        if !state.outbox.is_empty() {
            if sent >= limits.stalled_timeout {
                self.close_locked(&mut state, CloseReason::SlowConsumer, now);
            }
            return;
        }
        if state.reading && heard >= limits.dead_timeout {
            self.close_locked(&mut state, CloseReason::Dead, now);
            return;
        }
        let silent = sent + interval >= limits.keepalive_interval;
        let ping = state.reading && heard >= limits.dead_timeout / PINGS_BEFORE_DEAD;
        match (silent, ping) {
            (true, true) => self.send(&mut state, &self.shared.keepalive_and_ping, 2, Contents::Control, now),
            (true, false) => self.send(&mut state, &self.shared.keepalive, 1, Contents::Control, now),
            (false, true) => self.send(&mut state, &websocket_frame::ping(), 1, Contents::Control, now),
            (false, false) => {}
        }
    }

    // ---- what the connection's task does ----

    /// Answers a ping. While answers wait for the socket, further pings go unanswered: the peer takes nothing.
    pub(crate) fn pong(&self, payload: &[u8], now: Instant) {
        let mut state = self.lock();
        if state.outbox.is_empty() {
            self.send(&mut state, &websocket_frame::pong(payload), 1, Contents::Control, now);
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&self, state: &mut State, now: Instant) {
        if state.open && !state.outbox.is_empty() {
            let State { outbox, session, .. } = state;
            let write = |slices: &[IoSlice<'_>]| {
                let wrote = self.socket.try_write_vectored(slices)?;
                self.shared.metrics.wrote(wrote);
                Ok(wrote)
            };
            let taken = |contents: Contents| settle_taken(session, contents);
            match outbox.flush(write, taken) {
                Ok(true) => state.sent_at = now,
                Ok(false) => {}
                Err(_) => state.open = false,
            }
        }
        if state.outbox.is_empty() {
            state.session.drained();
        }
        self.settle(state);
    }

    /// Answers the peer's close.
    pub(crate) fn answer_close(&self, code: Option<u16>, now: Instant) {
        let mut state = self.lock();
        let frame = websocket_frame::close(code.unwrap_or(NORMAL_CLOSE), "");
        self.send(&mut state, &frame, 1, Contents::Close, now);
    }

    // ---- both ----

    fn send(&self, state: &mut State, bytes: &Bytes, frames: u32, contents: Contents, now: Instant) {
        if !state.open || state.closing.is_some() {
            return;
        }
        let mut written = 0;
        if state.outbox.is_empty() {
            match self.socket.try_write(bytes) {
                Ok(wrote) => {
                    self.shared.metrics.wrote(wrote);
                    state.sent_at = now;
                    if wrote == bytes.len() {
                        return settle_taken(&mut state.session, contents);
                    }
                    written = wrote;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.sent_at = now,
                Err(_) => {
                    state.open = false;
                    return self.nudge();
                }
            }
            self.nudge();
        }
        state.outbox.push(Entry { bytes: bytes.clone(), frames, contents }, written);
        if state.outbox.over(&self.shared.limits) {
            let dropped = state.outbox.drop_published();
            if dropped.updates {
                state.session.dropped(dropped.kept);
            }
            if dropped.awareness {
                state.session.missed_awareness();
            }
        }
    }

    /// Wakes the connection's task if there may be room for more to be taken, or something to be asked.
    fn nudge_if_useful(&self, state: &State) {
        if !state.reading || state.session.behind() || state.session.next_request().is_some() {
            self.nudge();
        }
    }

    /// Counts sessions that are behind.
    fn settle(&self, state: &mut State) {
        let behind = state.session.behind() && state.open;
        if behind != state.counted_behind {
            state.counted_behind = behind;
            self.shared.count_behind(behind);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let behind = self.state.get_mut().is_ok_and(|state| state.counted_behind);
        if behind {
            self.shared.count_behind(false);
        }
    }
}

impl State {
    pub(crate) fn open(&self) -> bool {
        self.open
    }

    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    /// The socket is gone; the session may have something left to do.
    pub(crate) fn cut(&mut self) {
        self.open = false;
        self.outbox = Outbox::default();
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(crate) fn reads(&mut self, reading: bool, now: Instant) {
        if reading && !self.reading {
            self.heard_at = now;
        }
        self.reading = reading;
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

/// The socket has taken all of it.
fn settle_taken(session: &mut Session, contents: Contents) {
    match contents {
        Contents::Published { through: Some(slot), .. } | Contents::Reply { through: Some(slot) } => {
            session.delivered(slot);
        }
        Contents::Published { .. } | Contents::Reply { .. } | Contents::Control | Contents::Close => {}
    }
}

/// Something that every client takes for a sign of life, framed.
pub(crate) fn keepalive() -> Bytes {
    websocket_frame::server_binary([KEEPALIVE])
}
