//! The load: thousands of editors in one thread, cheap enough that one core of them can saturate any server.
//!
//! ```text
//! due writers ──▶ frames ──▶ sockets ──▶ server ──▶ sockets ──▶ epoll ──▶ frames ──▶ traffic: clocks, latencies
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::dialect::{Dialect, NOTHING};
use super::traffic::{Counts, Writer};
use super::websocket;

/// One read takes at most this much; the buffer is shared by all connections.
const READ_BYTES: usize = 256 * 1024;
/// As much of a skipped frame is looked at to learn its kind.
const GLANCE_BYTES: usize = 300;
const EVENTS_PER_WAIT: usize = 1024;
/// How often a condition that looks at every connection is checked.
const CHECK_INTERVAL_US: u64 = 2_000;
/// What takes longer than this is an error.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Connections that may be waiting for their first answer at once: below what any server queues.
const OPENING_MAX: usize = 64;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Handshaking,
    Open,
    Synced,
    Closed,
}

/// One editor's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) document: usize,
    pub(crate) state: State,
    /// What was read of a frame that is not complete.
    inbox: Vec<u8>,
    /// What the socket did not take.
    outbox: Vec<u8>,
    /// Bytes of a large frame that still come and are not looked at.
    skipping: usize,
    /// The frame being skipped is the one that brings us up to date.
    syncs_after_skip: bool,
    pub(crate) opened_at: u64,
    pub(crate) synced_at: u64,
    /// When it last brought anything.
    pub(crate) read_at: u64,
    /// The next clock expected of each writer of the document.
    pub(crate) seen: Vec<u64>,
    pub(crate) seen_awareness: Vec<u64>,
}

/// A document that editors share.
pub(crate) struct Document {
    path: String,
    pub(crate) prefix: Vec<u8>,
    /// Its writers have this client id and the following ones.
    pub(crate) first_client: u64,
    pub(crate) writers: Vec<usize>,
}

/// All editors of one run.
pub(crate) struct Load {
    started: Instant,
    epoll: OwnedFd,
    dialect: Dialect,
    /// Where the server is; it has another one after a restart.
    pub(crate) port: u16,
    pub(crate) documents: Vec<Document>,
    pub(crate) connections: Vec<Connection>,
    /// Connections that are not in sync yet.
    opening: usize,
    pub(crate) writers: Vec<Writer>,
    pub(crate) due: BinaryHeap<Reverse<(u64, usize)>>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    /// Frames above this many bytes are counted, not read.
    pub(crate) skip_above: usize,
    pub(crate) counts: Counts,
}

impl Load {
    pub(crate) fn new(dialect: Dialect, port: u16) -> anyhow::Result<Self> {
        Ok(Self {
            started: Instant::now(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            dialect,
            port,
            documents: Vec::new(),
            connections: Vec::new(),
            opening: 0,
            writers: Vec::new(),
            due: BinaryHeap::new(),
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            skip_above: usize::MAX,
            counts: Counts::default(),
        })
    }

    /// Microseconds since the load was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Names a document; `first_client` tells its writers' clocks from everybody else's.
    pub(crate) fn document(&mut self, name: &str, first_client: u64) -> usize {
        self.documents.push(Document {
            path: format!("/{name}"),
            prefix: self.dialect.prefix(name),
            first_client,
            writers: Vec::new(),
        });
        self.documents.len() - 1
    }

    /// Connects one more editor; it is in sync only later.
    pub(crate) fn connect(&mut self, document: usize) -> anyhow::Result<usize> {
        let opened_at = self.now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("could not connect")?;
        stream.set_nodelay(true)?;
        stream.write_all(websocket::request(self.port, &self.documents[document].path).as_bytes())?;
        stream.set_nonblocking(true)?;
        let index = self.connections.len();
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        self.opening += 1;
        self.connections.push(Connection {
            stream,
            document,
            state: State::Handshaking,
            inbox: Vec::new(),
            outbox: Vec::new(),
            skipping: 0,
            syncs_after_skip: false,
            opened_at,
            synced_at: 0,
            read_at: 0,
            seen: Vec::new(),
            seen_awareness: Vec::new(),
        });
        Ok(index)
    }

    /// Connects an editor to each of the documents and waits until all are in sync.
    pub(crate) fn connect_all(&mut self, documents: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        for document in documents {
            self.connect(document)?;
            if self.opening >= OPENING_MAX {
                self.wait_for("room for another connection", |load| load.opening < OPENING_MAX)?;
            }
        }
        self.wait_until_in_sync()
    }

    /// Waits until every connection is in sync or has ended.
    pub(crate) fn wait_until_in_sync(&mut self) -> anyhow::Result<()> {
        self.wait_for("all to be in sync", |load| load.opening == 0)
    }

    /// Runs until `fact` holds; an error after two minutes.
    pub(crate) fn wait_for(&mut self, what: &str, fact: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        if !self.run_until(WAIT_MAX, fact)? {
            bail!("waited {WAIT_MAX:?} for {what}: {} in sync, {} not yet", self.counts.synced, self.opening);
        }
        Ok(())
    }

    pub(crate) fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.run_until(duration, |_| false).map(drop)
    }

    /// Runs until `fact` holds (then it answers true) or the time is over.
    pub(crate) fn run_until(
        &mut self,
        duration: Duration,
        fact: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = self.now() + u64::try_from(duration.as_micros())?;
        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        let mut checked_at = 0;
        loop {
            let now = self.now();
            if now >= checked_at + CHECK_INTERVAL_US {
                checked_at = now;
                if fact(self) {
                    return Ok(true);
                }
            }
            if now >= deadline {
                return Ok(fact(self));
            }
            self.write_what_is_due(now)?;
            let wake = self.due.peek().map_or(deadline, |Reverse((due, _))| deadline.min(*due));
            self.wait(wake.min(checked_at + CHECK_INTERVAL_US), &mut events)?;
            for event in events.drain(..) {
                self.on_event(usize::try_from(event.data.u64())?, event.flags)?;
            }
        }
    }

    /// Waits for events. The kernel's timers round up to a millisecond, which would bunch the writers: the last
    /// millisecond is spent polling.
    fn wait(&self, wake: u64, events: &mut Vec<epoll::Event>) -> anyhow::Result<()> {
        let milliseconds = i64::try_from(wake.saturating_sub(self.now()) / 1_000)?;
        let timeout = Timespec { tv_sec: milliseconds / 1_000, tv_nsec: milliseconds % 1_000 * 1_000_000 };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn on_event(&mut self, index: usize, flags: epoll::EventFlags) -> anyhow::Result<()> {
        if flags.contains(epoll::EventFlags::OUT) {
            let waiting = std::mem::take(&mut self.connections[index].outbox);
            self.listen(index, epoll::EventFlags::IN)?;
            self.write(index, &waiting)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.read(index)?;
        }
        Ok(())
    }

    /// Stops reading a connection, or goes on.
    pub(crate) fn set_reading(&mut self, index: usize, reading: bool) -> anyhow::Result<()> {
        self.listen(index, if reading { epoll::EventFlags::IN } else { epoll::EventFlags::empty() })
    }

    fn listen(&self, index: usize, flags: epoll::EventFlags) -> anyhow::Result<()> {
        let stream = &self.connections[index].stream;
        Ok(epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(index as u64), flags)?)
    }

    /// Ends a connection of ours.
    pub(crate) fn close(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.state == State::Closed {
            return;
        }
        if connection.state == State::Synced {
            self.counts.synced -= 1;
        } else {
            self.opening -= 1;
        }
        connection.state = State::Closed;
        // The server may have closed it first.
        let _ = epoll::delete(&self.epoll, &connection.stream);
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Sends one message, in front of which the document's name goes where the dialect wants it.
    pub(crate) fn send(&mut self, index: usize, message: &[u8]) -> anyhow::Result<()> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let prefix = &self.documents[self.connections[index].document].prefix;
        websocket::write_frame(&mut frame, websocket::BINARY, &[prefix, message]);
        let sent = self.write(index, &frame);
        self.scratch = frame;
        sent
    }

    fn write(&mut self, index: usize, mut bytes: &[u8]) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        while connection.outbox.is_empty() && !bytes.is_empty() {
            match connection.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.lost(index);
                    return Ok(());
                }
            }
        }
        if !bytes.is_empty() {
            connection.outbox.extend_from_slice(bytes);
            self.listen(index, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    /// The server ended a connection.
    fn lost(&mut self, index: usize) {
        if self.connections[index].state != State::Closed {
            self.counts.lost += 1;
            self.close(index);
        }
    }

    fn read(&mut self, index: usize) -> anyhow::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.connections[index].stream.read(&mut buffer);
        match read {
            Ok(0) => self.lost(index),
            Ok(length) => {
                self.counts.bytes += length as u64;
                self.connections[index].read_at = self.now();
                self.take_in(index, &buffer[..length])?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.lost(index),
        }
        self.buffer = buffer;
        Ok(())
    }

    fn take_in(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let mut inbox = std::mem::take(&mut self.connections[index].inbox);
        if inbox.is_empty() {
            let read = self.read_frames(index, bytes)?;
            inbox.extend_from_slice(&bytes[read..]);
        } else {
            inbox.extend_from_slice(bytes);
            let read = self.read_frames(index, &inbox)?;
            inbox.drain(..read);
        }
        if inbox.is_empty() {
            inbox = Vec::new();
        }
        self.connections[index].inbox = inbox;
        Ok(())
    }

    /// Reads the frames that are complete; answers how many bytes they took.
    fn read_frames(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut at = 0;
        if self.connections[index].state == State::Handshaking {
            let Some(end) = websocket::end_of_response(bytes) else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                bail!("refused: {}", String::from_utf8_lossy(&bytes[..end]));
            }
            at = end;
            self.connections[index].state = State::Open;
            for message in self.dialect.opening() {
                self.send(index, &message)?;
            }
        }
        loop {
            let rest = &bytes[at..];
            let skipped = rest.len().min(self.connections[index].skipping);
            if skipped > 0 {
                at += skipped;
                self.connections[index].skipping -= skipped;
                if self.connections[index].skipping == 0 && self.connections[index].syncs_after_skip {
                    self.connections[index].syncs_after_skip = false;
                    self.in_sync(index);
                }
                continue;
            }
            let Some(head) = websocket::read_head(rest) else { return Ok(at) };
            let body = &rest[head.bytes..];
            if head.payload > self.skip_above && body.len() >= GLANCE_BYTES.min(head.payload) {
                self.counts.frames += 1;
                let message = self.dialect.read(&body[..GLANCE_BYTES.min(head.payload)]);
                self.connections[index].syncs_after_skip =
                    matches!(message, Some(super::dialect::Message::SyncStep2(_)));
                self.connections[index].skipping = head.payload;
                at += head.bytes;
            } else if let Some(payload) = body.get(..head.payload) {
                self.on_frame(index, head.opcode, payload)?;
                at += head.bytes + head.payload;
            } else {
                return Ok(at);
            }
        }
    }

    fn on_frame(&mut self, index: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        match opcode {
            websocket::BINARY => {}
            websocket::PING => {
                let mut frame = Vec::new();
                websocket::write_frame(&mut frame, websocket::PONG, &[payload]);
                return self.write(index, &frame);
            }
            websocket::CLOSE => {
                self.lost(index);
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.counts.frames += 1;
        match self.dialect.read(payload).context("a frame that we cannot read")? {
            super::dialect::Message::SyncStep1 => self.send(index, &NOTHING)?,
            super::dialect::Message::SyncStep2(update) => {
                self.count_update(index, update, false)?;
                self.in_sync(index);
            }
            super::dialect::Message::Update(update) => self.count_update(index, update, true)?,
            super::dialect::Message::Awareness(payload) => self.count_awareness(index, payload)?,
            super::dialect::Message::Acknowledged => self.counts.acknowledged += 1,
            super::dialect::Message::Other => {}
        }
        Ok(())
    }

    fn in_sync(&mut self, index: usize) {
        if self.connections[index].state == State::Open {
            self.connections[index].state = State::Synced;
            self.connections[index].synced_at = self.now();
            self.counts.synced += 1;
            self.opening -= 1;
        }
    }
}
