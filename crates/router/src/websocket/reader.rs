//! From bytes of a socket to requests of a host, as far as limits allow. Synchronous: it never waits itself.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::CloseReason;
use ringleaf_wire::y_websocket::{self, Messages};
use ringleaf_wire::{ClientMessage, DocumentHost, Request, SubmitError};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tracing::debug;

use super::Waits;
use crate::connection::{Connection, State};
use crate::fan_out::FanOut;
use crate::frames::{FrameError, Frames, Message};
use crate::rate::Rate;
use crate::received::{Holds, Ticket};
use crate::session::Taken;
use crate::shared::Shared;

/// How much one read takes. The buffer belongs to the thread, so that a socket has none.
const READ_BYTES: usize = 64 << 10;

/// Others get their turn after so many reads.
const READS_PER_TURN: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// One socket's reading side.
pub(super) struct Reader {
    connection: Arc<Connection>,
    fan_out: Arc<FanOut>,
    shared: Arc<Shared>,
    frames: Frames,
    /// Bytes that were read and could not be dealt with yet.
    unread: Bytes,
    /// The frame at hand: its messages are taken one by one.
    messages: Option<Messages>,
    rate: Rate,
    /// What it holds, among what all hold.
    ticket: Ticket,
    /// The host that the session knows of.
    generation: u64,
}

/// What a connection's task does next.
pub(super) enum Turn {
    Waits(Waits),
    /// There is more to do, and others may go first.
    Again,
    /// The socket is done with.
    Ended,
}

/// Why reading has stopped.
enum Stopped {
    /// Everything that was read is dealt with.
    NeedsBytes,
    /// No more may be taken for now.
    Blocked(Waits),
    Ended,
}

/// What one read has brought.
enum Read {
    /// There may be more.
    More,
    /// Everything that there was, or nothing.
    All,
    /// Something that may not be taken yet.
    Blocked(Waits),
}

impl Reader {
    pub(super) fn new(
        connection: Arc<Connection>,
        fan_out: Arc<FanOut>,
        shared: Arc<Shared>,
        unread: Bytes,
    ) -> Self {
        Self {
            connection,
            fan_out,
            shared,
            frames: Frames::default(),
            unread,
            messages: None,
            rate: Rate::new(Instant::now()),
            ticket: Ticket::default(),
            generation: 0,
        }
    }

    /// Does all that can be done without waiting.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        if self.shared.tasks.cut.is_cancelled() {
            // A host that has no room must not keep the process from ending.
            return Turn::Ended;
        }
        for _ in 0..READS_PER_TURN {
            let unread = std::mem::take(&mut self.unread);
            let mut rest = &unread[..];
            let stopped = self.advance(&mut rest, now);
            self.unread = unread.slice_ref(rest);
            match stopped {
                Stopped::NeedsBytes => {}
                Stopped::Blocked(waits) => return self.wait(waits, now),
                Stopped::Ended => return Turn::Ended,
            }
            match self.read(now) {
                Ok(Read::More) => {}
                Ok(Read::All) => return self.wait(Waits { readable: true, ..Waits::default() }, now),
                Ok(Read::Blocked(waits)) => return self.wait(waits, now),
                Err(_) => return Turn::Ended,
            }
        }
        Turn::Again
    }

    /// Reads once, and deals with what came.
    fn read(&mut self, now: Instant) -> io::Result<Read> {
        SCRATCH.with_borrow_mut(|scratch| {
            let (read, all) = receive(&self.connection.socket, scratch)?;
            if read == 0 {
                return Ok(Read::All);
            }
            self.connection.lock().heard(now);
            let mut rest = &scratch[..read];
            match self.advance(&mut rest, now) {
                Stopped::NeedsBytes if all => Ok(Read::All),
                Stopped::NeedsBytes => Ok(Read::More),
                Stopped::Blocked(waits) => {
                    self.unread = Bytes::copy_from_slice(rest);
                    Ok(Read::Blocked(waits))
                }
                Stopped::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    fn wait(&self, mut waits: Waits, now: Instant) -> Turn {
        let mut state = self.connection.lock();
        if state.closing().is_some() {
            return Turn::Ended;
        }
        state.reads(waits.readable, now);
        waits.writable = !state.drained();
        Turn::Waits(waits)
    }

    /// Takes messages from `input` until it is used up or no more may be taken.
    fn advance(&mut self, input: &mut &[u8], now: Instant) -> Stopped {
        loop {
            if let Some(stopped) = self.take_messages(now) {
                return stopped;
            }
            let message = match self.frames.next(input, self.shared.limits.message_bytes_max) {
                Ok(Some(message)) => message,
                Ok(None) => return Stopped::NeedsBytes,
                Err(error) => return self.broken(error, now),
            };
            // Pings cost too.
            let bytes = match &message {
                Message::Binary(frame) => frame.len(),
                Message::Text(bytes) => *bytes,
                Message::Fragment | Message::Ping(_) | Message::Pong | Message::Close(_) => 0,
            };
            if message == Message::Fragment {
                self.rate.charge_fragment(&self.shared.limits, now);
                continue;
            }
            self.rate.charge(bytes, &self.shared.limits, now);
            match message {
                Message::Binary(frame) => {
                    self.shared.metrics.messages.increment(1);
                    self.shared.metrics.message_bytes.increment(bytes as u64);
                    self.messages = Some(y_websocket::decode(frame));
                }
                Message::Text(_) => self.shared.metrics.ignored_bytes.increment(bytes as u64),
                Message::Ping(payload) => self.connection.pong(&payload, now),
                Message::Fragment | Message::Pong => {}
                Message::Close(code) => {
                    self.connection.answer_close(code, now);
                    return Stopped::Ended;
                }
            }
        }
    }

    fn broken(&self, error: FrameError, now: Instant) -> Stopped {
        debug!(%error, "a socket does not speak the protocol");
        let reason = match error {
            FrameError::TooLarge { .. } => CloseReason::MessageTooLarge,
            FrameError::NotMasked
            | FrameError::ReservedBits
            | FrameError::UnknownKind { .. }
            | FrameError::BadControl
            | FrameError::BadFragment
            | FrameError::BadClose => CloseReason::ProtocolError,
        };
        self.connection.close(reason, now);
        Stopped::Ended
    }

    /// Takes the messages of the frame at hand, and makes sure that another frame may be read.
    fn take_messages(&mut self, now: Instant) -> Option<Stopped> {
        let stopped = self.take_whole(now);
        if matches!(stopped, Some(Stopped::Ended)) || self.hold(now) {
            return stopped;
        }
        for late in self.shared.received.overdue(now) {
            debug!("a message takes too long while others wait for room");
            late.close(CloseReason::TryAgainLater, now);
        }
        let waits = Waits { until: Some(self.shared.received.look_at(now)), ..Waits::default() };
        stopped.or(Some(Stopped::Blocked(waits)))
    }

    /// Notes what is held of the editor's. Whether it may be read on.
    fn hold(&mut self, now: Instant) -> bool {
        let connection = Arc::clone(&self.connection);
        let mut state = connection.lock();
        let at_hand = self.messages.as_ref().map_or(0, Messages::bytes_left);
        let holds = Holds { whole: at_hand + state.session.held_bytes(), partial: self.frames.held() };
        let may = self.ticket.hold(&self.shared.received, &self.connection, holds, now);
        state.counted = self.ticket.held();
        may
    }

    fn take_whole(&mut self, now: Instant) -> Option<Stopped> {
        let connection = Arc::clone(&self.connection);
        let mut state = connection.lock();
        loop {
            state.flush(now);
            // A socket that takes nothing any more is read to its end: somebody's last words may be in it.
            if state.closing().is_some() {
                return Some(Stopped::Ended);
            }
            let limits = &self.shared.limits;
            let host = pump(&mut state, &self.fan_out, &mut self.generation, &self.shared);
            let blocked = host.is_some() || !state.session.may_take(limits) || state.owes_much(limits);
            if blocked {
                return Some(Stopped::Blocked(Waits { host, ..Waits::default() }));
            }
            let Some(messages) = &mut self.messages else { break };
            if let Some(until) = self.rate.next_message_at(now) {
                return Some(Stopped::Blocked(Waits { until: Some(until), ..Waits::default() }));
            }
            let Some(message) = messages.next() else {
                self.shared.metrics.ignored_bytes.increment(messages.ignored_bytes() as u64);
                self.messages = None;
                break;
            };
            let asks = matches!(message, ClientMessage::SyncRequest { .. });
            match state.session.take(message, limits) {
                Taken::Kept if asks => self.rate.charge_question(now),
                Taken::Kept | Taken::Ignored => {}
                Taken::Dropped => self.shared.metrics.forbidden.increment(1),
            }
        }
        let until = self.rate.next_at(now);
        until.map(|_| Stopped::Blocked(Waits { until, ..Waits::default() }))
    }

    /// The socket is done with: what was read of a message is of no use.
    pub(super) fn end(&mut self) {
        self.frames = Frames::default();
        self.messages = None;
        self.unread = Bytes::new();
        self.connection.lock().session.end();
    }

    /// Brings to the owner what it was not told. Returns the host that has no room for it.
    pub(super) fn bring(&mut self) -> Option<Arc<dyn DocumentHost>> {
        self.hold(Instant::now());
        let mut state = self.connection.lock();
        pump(&mut state, &self.fan_out, &mut self.generation, &self.shared)
    }
}

/// Reads what there is. Returns how many bytes, and whether these are all for now.
///
/// A read that does not fill the buffer has emptied the socket, and says so to the runtime like one that would have had
/// to wait: that spares the read that finds nothing. What comes later is announced anew.
fn receive(socket: &TcpStream, into: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut short = 0;
    let read = socket.try_io(Interest::READABLE, || match (&*SockRef::from(socket)).read(into)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read if read < into.len() => {
            short = read;
            Err(io::ErrorKind::WouldBlock.into())
        }
        read => Ok(read),
    });
    match read {
        Ok(read) => Ok((read, false)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((short, true)),
        Err(error) => Err(error),
    }
}

/// Tells the host everything that the session owes it. Returns it if it has no room.
fn pump(
    state: &mut State,
    fan_out: &FanOut,
    generation: &mut u64,
    shared: &Shared,
) -> Option<Arc<dyn DocumentHost>> {
    let (current, host) = fan_out.host();
    if current != *generation {
        *generation = current;
        state.session.lost();
    }
    let host = host?;
    while let Some(request) = state.session.next_request() {
        match host.try_submit(request) {
            Ok(()) => state.session.submitted(),
            Err(SubmitError::Full(_)) => return Some(host),
            Err(SubmitError::Gone(_)) => {
                fan_out.lost(current);
                return None;
            }
        }
    }
    // A session whose socket still has something to take would only be sent the same twice.
    let from = state.session.lacks_after().filter(|_| state.drained())?;
    if fan_out.ask(current, from) {
        if let Err(error) = host.try_submit(Request::CatchUp { from }) {
            fan_out.unask(current, from);
            match error {
                SubmitError::Full(_) => return Some(host),
                SubmitError::Gone(_) => {
                    fan_out.lost(current);
                    return None;
                }
            }
        }
        shared.metrics.catch_ups.increment(1);
    }
    state.session.asked_to_catch_up();
    None
}
