//! What a connection is at the moment, without its socket: a state machine that never waits.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{CloseReason, Limits, Slot};
use ringleaf_wire::websocket_frame;

use super::{Frame, Round};
use crate::outbox::{Contents, Entry, Outbox};
use crate::session::Session;

/// A peer that has been silent for one such part of the time after which it counts as dead is pinged.
const PINGS_BEFORE_DEAD: u32 = 3;

/// Takes bytes like a non-blocking socket.
pub(crate) trait Pipe {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// See the module's description.
pub(crate) struct State {
    pub(crate) session: Session,
    outbox: Outbox,
    /// When the socket last took something, or began to make us wait.
    sent_at: Instant,
    /// When something last came from the peer.
    heard_at: Instant,
    /// Whether the socket is read. While it is not, silence means nothing: TCP_USER_TIMEOUT finds dead peers.
    reading: bool,
    /// What the editor sent counts among what all have sent: it is told when some of it is durable.
    pub(crate) counted: bool,
    closing: Option<CloseReason>,
    /// False when nothing can be written any more.
    open: bool,
}

/// What the connection's task must be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The socket has taken everything, or something waits behind what waited already.
    Fine,
    /// The socket makes us wait from now on, or is broken.
    Nudge,
}

impl State {
    pub(crate) fn new(session: Session, now: Instant) -> Self {
        Self {
            session,
            outbox: Outbox::default(),
            sent_at: now,
            heard_at: now,
            reading: true,
            counted: false,
            closing: None,
            open: true,
        }
    }

    pub(crate) fn open(&self) -> bool {
        self.open
    }

    pub(crate) fn closing(&self) -> Option<CloseReason> {
        self.closing
    }

    pub(crate) fn reading(&self) -> bool {
        self.reading
    }

    /// Whether the socket has taken everything.
    pub(crate) fn drained(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether so many answers wait that the editor should take some before it asks for more.
    pub(crate) fn owes_much(&self, limits: &Limits) -> bool {
        self.outbox.owes_much(limits)
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

    /// This process did not run for so long: that was not the peer's silence. What it said meanwhile is still to be read, and
    /// the socket may take again what it did not. Our own silence it was all the same.
    pub(crate) fn slept(&mut self, time: Duration, now: Instant) {
        self.heard_at = (self.heard_at + time).min(now);
        if !self.outbox.is_empty() {
            self.sent_at = (self.sent_at + time).min(now);
        }
    }

    /// The socket takes nothing any more. What the editor sent before may still be in it, to be read to its end.
    pub(crate) fn cut(&mut self) {
        self.open = false;
        self.outbox = Outbox::default();
        self.session.cut();
    }

    /// Hands over what all sessions of the document get.
    pub(crate) fn publish(&mut self, pipe: &impl Pipe, round: &Round, limits: &Limits, now: Instant) -> Sent {
        let updates = round.slots.filter(|&(previous, through)| self.session.published(previous, through));
        let mut awareness = round.awareness.frames > 0 && self.session.listens();
        if awareness && self.session.behind() && !self.outbox.is_empty() {
            self.session.missed_awareness();
            awareness = false;
        }
        let (bytes, frames) = match (updates.is_some(), awareness) {
            (true, true) => (&round.all, round.updates.frames + round.awareness.frames),
            (true, false) => (&round.updates.bytes, round.updates.frames),
            (false, true) => (&round.awareness.bytes, round.awareness.frames),
            (false, false) => return Sent::Fine,
        };
        let through = updates.map(|(_, through)| through);
        if bytes.is_empty() {
            // A slot without updates, such as the fence of a new owner, counts as delivered with what came before.
            let Some(slot) = through else { return Sent::Fine };
            if self.outbox.is_empty() {
                self.session.delivered(slot);
            }
            return Sent::Fine;
        }
        self.send(pipe, bytes, frames, Contents::Published { through, awareness }, limits, now)
    }

    /// Writes frames, or lets them wait behind what waits already.
    pub(crate) fn send(
        &mut self,
        pipe: &impl Pipe,
        bytes: &Bytes,
        frames: u32,
        contents: Contents,
        limits: &Limits,
        now: Instant,
    ) -> Sent {
        if !self.open || self.closing.is_some() {
            return Sent::Fine;
        }
        let mut sent = Sent::Fine;
        let mut written = 0;
        if self.outbox.is_empty() {
            match pipe.write(&[IoSlice::new(bytes)]) {
                Ok(wrote) => {
                    // Scripts of a page see neither pings nor pongs: to them the server has been silent.
                    if contents != Contents::Control || wrote < bytes.len() {
                        self.sent_at = now;
                    }
                    if wrote == bytes.len() {
                        taken(&mut self.session, contents);
                        return Sent::Fine;
                    }
                    written = wrote;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.sent_at = now,
                Err(_) => {
                    self.cut();
                    return Sent::Nudge;
                }
            }
            sent = Sent::Nudge;
        }
        self.outbox.push(Entry { bytes: bytes.clone(), frames, contents }, written);
        if self.outbox.over(limits) {
            let dropped = self.outbox.drop_published();
            if dropped.updates {
                self.session.dropped(dropped.kept);
            }
            if dropped.awareness {
                self.session.missed_awareness();
            }
        }
        sent
    }

    /// Writes something that the editor waits for and that is never dropped. It holds everything through `through`.
    pub(crate) fn reply(
        &mut self,
        pipe: &impl Pipe,
        frame: &Frame,
        through: Option<Slot>,
        limits: &Limits,
        now: Instant,
    ) -> Sent {
        if frame.body.is_empty() {
            return self.send(pipe, &frame.head, 1, Contents::Reply { through }, limits, now);
        }
        if !self.open || self.closing.is_some() {
            return Sent::Fine;
        }
        // Large enough to be worth the way through the queue.
        let first = self.outbox.is_empty();
        self.outbox.push(Entry { bytes: frame.head.clone(), frames: 0, contents: Contents::Head }, 0);
        let body = Entry { bytes: frame.body.clone(), frames: 1, contents: Contents::Reply { through } };
        self.outbox.push(body, 0);
        if !first {
            return Sent::Fine;
        }
        self.sent_at = now;
        self.flush(pipe, now);
        if self.open && self.outbox.is_empty() { Sent::Fine } else { Sent::Nudge }
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self, pipe: &impl Pipe, now: Instant) {
        if self.open && !self.outbox.is_empty() {
            let Self { outbox, session, .. } = self;
            match outbox.flush(|slices| pipe.write(slices), |contents| taken(session, contents)) {
                Ok(true) => self.sent_at = now,
                Ok(false) => {}
                Err(_) => self.cut(),
            }
        }
        if self.outbox.is_empty() {
            self.session.drained();
        }
    }

    /// Ends the connection: the editor is told why as soon as its socket takes it. False: it is ending already.
    pub(crate) fn close(
        &mut self,
        pipe: &impl Pipe,
        reason: CloseReason,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        if self.closing.is_some() || !self.open {
            return false;
        }
        let frame = websocket_frame::close(reason.code(), reason.text());
        self.send(pipe, &frame, 1, Contents::Close, limits, now);
        self.closing = Some(reason);
        true
    }

    /// What a look at the clock asks for. `interval` later comes the next one.
    pub(crate) fn due(&self, interval: Duration, limits: &Limits, now: Instant) -> Due {
        if !self.open || self.closing.is_some() {
            return Due::Nothing;
        }
        let sent = now.saturating_duration_since(self.sent_at);
        let heard = now.saturating_duration_since(self.heard_at);
        if !self.outbox.is_empty() {
            let stalled = sent >= limits.stalled_timeout;
            return if stalled { Due::Close(CloseReason::SlowConsumer) } else { Due::Nothing };
        }
        // The next look would come too late.
        if self.reading && heard + interval > limits.dead_timeout {
            return Due::Close(CloseReason::Dead);
        }
        let silent = sent + interval >= limits.keepalive_interval;
        let ping = self.reading && heard >= limits.dead_timeout / PINGS_BEFORE_DEAD;
        match (silent, ping) {
            (_, true) => Due::SignOfLifeAndPing,
            (true, false) => Due::SignOfLife,
            (false, false) => Due::Nothing,
        }
    }
}

/// What [`State::due`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    SignOfLife,
    SignOfLifeAndPing,
    Close(CloseReason),
}

/// The socket has taken all of it.
fn taken(session: &mut Session, contents: Contents) {
    let through: Option<Slot> = match contents {
        Contents::Published { through, .. } | Contents::Reply { through } => through,
        Contents::Head | Contents::Control | Contents::Close => None,
    };
    if let Some(slot) = through {
        session.delivered(slot);
    }
}

#[cfg(test)]
mod tests;
