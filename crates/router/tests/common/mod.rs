//! A host that keeps documents in memory, and editors that speak to a real server over real sockets.
//!
//! Its updates are sets of numbers, four bytes each: joining two is joining their bytes.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "every test file uses a part of it")]

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use ringleaf_coordinator::Embedded;
use ringleaf_router::{Config, Route, RunningServer, Server};
use ringleaf_types::{CloseReason, Limits, MessageNumber, SessionId, Slot};
use ringleaf_wire::{
    ClientMessage, DocumentHost, Event, EventSink, Gone, OpenError, Opening, Request, SessionHost,
    SubmitError, y_websocket,
};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

/// How long anything may take that should come to pass.
pub const SOON: Duration = Duration::from_secs(10);

// ---- updates ----

pub fn update(numbers: &[u32]) -> Bytes {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>().into()
}

pub fn numbers(update: &[u8]) -> BTreeSet<u32> {
    // Repetition is how a test makes updates large, so it must be cheap.
    let is_new = |at: &usize| *at == 0 || update[*at..*at + 4] != update[*at - 4..*at];
    let number = |at: usize| u32::from_be_bytes(update[at..at + 4].try_into().unwrap());
    (0..update.len()).step_by(4).filter(is_new).map(number).collect()
}

// ---- the host ----

#[derive(Default)]
pub struct FakeHost {
    documents: Mutex<HashMap<String, Arc<FakeDocument>>>,
    /// What opening answers, if not a document.
    refuses: Mutex<Option<CloseReason>>,
    busy: Mutex<bool>,
    pub opens: Mutex<usize>,
    /// Opening waits for it.
    held: Mutex<Option<Arc<Notify>>>,
}

/// One document, which outlives its hosts as a store does.
#[derive(Default)]
pub struct FakeDocument {
    state: Mutex<Hosting>,
    pub room: Notify,
}

#[derive(Default)]
pub struct Hosting {
    pub slots: Vec<Bytes>,
    generation: u64,
    sink: Option<Arc<dyn EventSink>>,
    sessions: HashMap<SessionId, MessageNumber>,
    pub log: Vec<Request>,
    /// Requests are taken, and nothing is acknowledged or published before `release`.
    pub holding: bool,
    held: Vec<Event>,
    /// Nothing is taken.
    pub full: bool,
    /// A message that is to be refused, with its numbers.
    pub refuses: BTreeSet<u32>,
}

struct Hosted {
    document: Arc<FakeDocument>,
    generation: u64,
}

impl FakeHost {
    pub fn document(&self, name: &str) -> Arc<FakeDocument> {
        Arc::clone(self.documents.lock().unwrap().entry(name.into()).or_default())
    }

    pub fn refuse(&self, reason: Option<CloseReason>) {
        *self.refuses.lock().unwrap() = reason;
    }

    pub fn busy(&self, busy: bool) {
        *self.busy.lock().unwrap() = busy;
    }

    /// Opening takes until the returned is notified.
    pub fn hold(&self) -> Arc<Notify> {
        let held = Arc::new(Notify::new());
        *self.held.lock().unwrap() = Some(Arc::clone(&held));
        held
    }
}

impl SessionHost for FakeHost {
    fn open(
        &self,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        Box::pin(async move {
            *self.opens.lock().unwrap() += 1;
            let held = self.held.lock().unwrap().take();
            if let Some(held) = held {
                held.notified().await;
            }
            if let Some(reason) = *self.refuses.lock().unwrap() {
                return Err(OpenError::Refused { reason });
            }
            if *self.busy.lock().unwrap() {
                return Err(OpenError::Busy);
            }
            let document = self.document(opening.document.as_str());
            let generation = {
                let mut hosting = document.lock();
                assert!(hosting.sink.is_none(), "a router opens a document once");
                hosting.generation += 1;
                hosting.sink = Some(sink);
                hosting.sessions.clear();
                hosting.generation
            };
            Ok(Arc::new(Hosted { document, generation }) as Arc<dyn DocumentHost>)
        })
    }
}

impl DocumentHost for Hosted {
    fn try_submit(&self, request: Request) -> Result<(), SubmitError> {
        let mut hosting = self.document.lock();
        if hosting.generation != self.generation || hosting.sink.is_none() {
            return Err(SubmitError::Gone(request));
        }
        if hosting.full {
            return Err(SubmitError::Full(request));
        }
        hosting.log.push(request.clone());
        hosting.carry_out(request);
        Ok(())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        Box::pin(async move {
            loop {
                let room = self.document.room.notified();
                if !self.document.lock().full {
                    return Ok(());
                }
                room.await;
            }
        })
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let mut hosting = self.document.lock();
        if hosting.generation == self.generation {
            hosting.sink = None;
            hosting.sessions.clear();
        }
    }
}

impl FakeDocument {
    pub fn lock(&self) -> MutexGuard<'_, Hosting> {
        self.state.lock().unwrap()
    }

    pub fn hold(&self) {
        self.lock().holding = true;
    }

    pub fn release(&self) {
        let mut hosting = self.lock();
        hosting.holding = false;
        for event in std::mem::take(&mut hosting.held) {
            hosting.say(event);
        }
    }

    pub fn make_room(&self) {
        self.lock().full = false;
        self.room.notify_waiters();
    }

    /// The host lets go, as a node that drains does.
    pub fn let_go(&self) {
        let mut hosting = self.lock();
        hosting.held.clear();
        if let Some(sink) = hosting.sink.take() {
            let _ = sink.deliver(Event::LetGo);
        }
        hosting.sessions.clear();
    }

    /// What the session that sent the last update sent has broken the host.
    pub fn blame_and_let_go(&self, reason: CloseReason) {
        let blamed = self.lock().log.iter().rev().find_map(|request| match request {
            Request::Update { session, .. } => Some(*session),
            _ => None,
        });
        if let (Some(session), Some(sink)) = (blamed, &self.lock().sink) {
            let _ = sink.deliver(Event::CloseSession { session, reason });
        }
        self.let_go();
    }

    /// The host is gone without a word, and with it what was not acknowledged.
    pub fn crash(&self) {
        let mut hosting = self.lock();
        hosting.held.clear();
        hosting.sink = None;
        hosting.sessions.clear();
    }

    pub fn say(&self, event: Event) {
        self.lock().say(event);
    }

    /// A change that comes from elsewhere.
    pub fn publish(&self, update: Bytes) -> Slot {
        self.lock().append(update)
    }

    pub fn numbers(&self) -> BTreeSet<u32> {
        self.lock().slots.iter().flat_map(|slot| numbers(slot)).collect()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.lock().log.clone()
    }

    pub async fn until(&self, what: &str, fact: impl FnMut(&Hosting) -> bool) {
        let mut fact = fact;
        wait_for(what, || fact(&self.lock())).await;
    }
}

impl Hosting {
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub fn has(&self, number: u32) -> bool {
        self.slots.iter().any(|slot| numbers(slot).contains(&number))
    }

    fn last(&self) -> Slot {
        Slot::new(self.slots.len() as u64)
    }

    pub fn say(&mut self, event: Event) {
        if self.holding && !matches!(event, Event::Attached { .. }) {
            self.held.push(event);
        } else if let Some(sink) = &self.sink {
            let _ = sink.deliver(event);
        }
    }

    fn append(&mut self, update: Bytes) -> Slot {
        let previous = self.last();
        self.slots.push(update.clone());
        let slot = self.last();
        self.say(Event::Publish { previous, slot, updates: [update].into() });
        slot
    }

    fn since(&self, from: Slot) -> Bytes {
        self.slots[from.get() as usize..].concat().into()
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Attach { session, .. } => {
                self.sessions.insert(session, MessageNumber::default());
                self.say(Event::Attached { session, slot: self.last() });
                self.say(Event::SyncRequest { session, state_vector: Bytes::from_static(&[0]) });
            }
            Request::Detach { session } => drop(self.sessions.remove(&session)),
            Request::Update { session, number, update, .. } => {
                let last =
                    self.sessions.insert(session, number).expect("only attached sessions send updates");
                assert!(last == MessageNumber::default() || number == last.next(), "{last} {number}");
                if !numbers(&update).is_disjoint(&self.refuses) {
                    self.say(Event::Refused { session, number });
                } else if !update.is_empty() {
                    self.append(update);
                }
                self.say(Event::Acknowledge { session, through: number });
            }
            Request::SyncRequest { session, .. } => {
                let update = self.since(Slot::ZERO);
                self.say(Event::SyncAnswer { sessions: vec![session], through: self.last(), update });
            }
            Request::Awareness { payload, .. } => self.say(Event::Awareness { only: None, payload }),
            Request::QueryAwareness { session } => {
                let payload = Bytes::from_static(&[0]);
                self.say(Event::Awareness { only: Some(session), payload });
            }
            Request::CatchUp { from } => {
                let update = self.since(from);
                self.say(Event::CaughtUp { from, through: self.last(), update });
            }
        }
    }
}

// ---- the server ----

pub struct World {
    pub host: Arc<FakeHost>,
    pub server: Arc<RunningServer>,
}

pub fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        open_to_anyone: false,
        allowed_origins: Vec::new(),
        limits: Arc::new(Limits { close_spread: Duration::from_millis(100), ..Limits::default() }),
        page: None,
    }
}

pub fn start() -> World {
    start_with(|_| {})
}

pub fn start_with(limit: impl FnOnce(&mut Limits)) -> World {
    let mut config = config();
    limit(Arc::get_mut(&mut config.limits).unwrap());
    start_config(config)
}

pub fn start_config(config: Config) -> World {
    let host = Arc::new(FakeHost::default());
    let coordinator = Arc::new(Embedded::new("here".parse().unwrap()));
    let server = Server::bind(config).unwrap();
    let route = Route::new(
        "here".parse().unwrap(),
        coordinator,
        Some(Arc::clone(&host) as Arc<dyn SessionHost>),
        None,
    );
    World { host, server: Arc::new(server.start(route)) }
}

impl World {
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub async fn editor(&self, document: &str) -> Editor {
        Editor::connect(self.address(), document).await
    }

    /// An editor that has synchronized.
    pub async fn synced(&self, document: &str) -> Editor {
        let mut editor = self.editor(document).await;
        editor.sync().await;
        editor
    }

    /// The status and the body with which a request is answered.
    pub async fn ask(&self, head: &str) -> (u16, String) {
        ask(self.address(), head).await
    }
}

/// Sends a request as it is and reads what comes.
pub async fn ask(address: SocketAddr, head: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

// ---- editors ----

pub type Socket = WebSocketStream<TcpStream>;

pub struct Editor {
    pub socket: Socket,
    pub has: BTreeSet<u32>,
    pub awareness: Vec<Bytes>,
    pub requests: usize,
    pub answers: usize,
    pub frames: usize,
}

impl Editor {
    pub async fn connect(address: SocketAddr, document: &str) -> Self {
        let request = format!("ws://{address}/{document}").into_client_request().unwrap();
        Self::connect_with(address, request).await.expect("a socket")
    }

    pub async fn connect_with(
        address: SocketAddr,
        request: tungstenite::handshake::client::Request,
    ) -> tungstenite::Result<Self> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, request).await
    }

    pub async fn over(
        stream: TcpStream,
        request: tungstenite::handshake::client::Request,
    ) -> tungstenite::Result<Self> {
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self { socket, has: BTreeSet::new(), awareness: Vec::new(), requests: 0, answers: 0, frames: 0 })
    }

    pub async fn send_raw(&mut self, bytes: impl Into<Bytes>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    pub async fn send(&mut self, new: &[u32]) {
        self.send_raw(sync_frame(2, &update(new))).await;
    }

    /// Asks for everything and waits for the answer.
    pub async fn sync(&mut self) {
        let answers = self.answers;
        self.send_raw([0_u8, 0, 1, 0].to_vec()).await;
        self.until("an answer", |editor| editor.answers > answers).await;
    }

    /// The next message, or the end.
    pub async fn next(&mut self) -> Option<Message> {
        self.socket.next().await.and_then(Result::ok)
    }

    /// Reads until something is true.
    pub async fn until(&mut self, what: &str, fact: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !fact(self) {
            let message = tokio::time::timeout_at(deadline.into(), self.socket.next()).await;
            let message = message.unwrap_or_else(|_| panic!("{what}: not in time, {}", self.summary()));
            let message = message.unwrap_or_else(|| panic!("{what}: the socket ended, {}", self.summary()));
            self.take(message.unwrap_or_else(|error| panic!("{what}: {error}")));
        }
    }

    fn summary(&self) -> String {
        format!("it has {} numbers after {} frames", self.has.len(), self.frames)
    }

    pub fn take(&mut self, message: Message) {
        let Message::Binary(frame) = message else { return };
        self.frames += 1;
        match frame[..] {
            // Sync messages have the same form in both directions.
            [0, ..] => {
                let mut messages = y_websocket::decode(frame);
                match messages.next().expect("a message") {
                    ClientMessage::SyncRequest { .. } => self.requests += 1,
                    ClientMessage::SyncAnswer { update } => {
                        self.answers += 1;
                        self.has.extend(numbers(&update));
                    }
                    ClientMessage::Update { update } => self.has.extend(numbers(&update)),
                    other => panic!("{other:?}"),
                }
                assert_eq!(messages.next(), None, "one message is one frame");
            }
            [1, ..] => self.awareness.push(frame),
            _ => panic!("{frame:?}"),
        }
    }

    /// Reads until all these numbers are here.
    pub async fn until_has(&mut self, wanted: impl IntoIterator<Item = u32>) {
        let wanted: BTreeSet<u32> = wanted.into_iter().collect();
        self.until("numbers", |editor| wanted.is_subset(&editor.has)).await;
    }

    /// Reads until the server closes; says with which code.
    pub async fn until_closed(&mut self) -> Option<u16> {
        let deadline = Instant::now() + SOON;
        loop {
            match tokio::time::timeout_at(deadline.into(), self.socket.next()).await.expect("a close") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(message)) => self.take(message),
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// A sync message with a payload of any size.
pub fn sync_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, kind];
    let mut length = payload.len();
    while length >= 0x80 {
        frame.push(length as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend(payload);
    frame
}

/// Waits until something is true.
pub async fn wait_for(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn is_update(request: &Request) -> bool {
    matches!(request, Request::Update { .. })
}
