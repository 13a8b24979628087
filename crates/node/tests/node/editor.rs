//! A router with sessions, as far as a node can tell, and a Yjs client behind each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ringleaf_node::{Node, NodeConfig};
use ringleaf_reader::Program;
use ringleaf_store::Store;
use ringleaf_types::{
    DocumentId, GcRules, Incarnation, Limits, MessageNumber, Rights, RouterId, SessionId, Slot, Subject,
};
use ringleaf_wire::{
    DocumentHost, Event, EventSink, Gone, OpenError, Opening, Request, SessionHost, SubmitError,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

/// How long a test waits for a fact.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn limits() -> Limits {
    Limits::default()
}

pub(crate) fn start(store: Arc<dyn Store>) -> Arc<Node> {
    start_with(store, limits())
}

pub(crate) fn start_with(store: Arc<dyn Store>, limits: Limits) -> Arc<Node> {
    static RUN: AtomicU64 = AtomicU64::new(1);
    let incarnation = Incarnation::new(RUN.fetch_add(1, Ordering::Relaxed));
    let (node, limits) = ("here".parse().unwrap(), limits.into());
    Node::start(NodeConfig { node, incarnation, limits, reader: reader(), gc: GcRules::default() }, store)
}

/// This very program reads documents, too.
pub(crate) fn reader() -> Program {
    let words = ["--exact", "operators::reader_process", "--ignored", "--nocapture", "--test-threads=1"];
    Program { arguments: words.map(Into::into).into(), ..Program::default() }
}

pub(crate) fn document(name: &str) -> DocumentId {
    name.parse().unwrap()
}

/// Takes what a document says.
#[derive(Default)]
pub(crate) struct Sink {
    events: Mutex<VecDeque<Event>>,
    heard: Notify,
    gone: AtomicBool,
    busy_until: Mutex<Option<std::time::Instant>>,
}

impl EventSink for Sink {
    fn deliver(&self, event: Event) -> Result<(), Gone> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(Gone);
        }
        self.events.lock().unwrap().push_back(event);
        self.heard.notify_one();
        Ok(())
    }

    fn busy_until(&self) -> Option<std::time::Instant> {
        *self.busy_until.lock().unwrap()
    }
}

/// One editor: its own router, one session, one CRDT.
pub(crate) struct Editor {
    pub(crate) sink: Arc<Sink>,
    pub(crate) host: Arc<dyn DocumentHost>,
    pub(crate) doc: Doc,
    pub(crate) acknowledged: u64,
    pub(crate) refused: Vec<u64>,
    pub(crate) last_slot: Slot,
    pub(crate) closed: Option<Event>,
    sent: u64,
}

pub(crate) const SESSION: SessionId = SessionId::new(1);

impl Editor {
    pub(crate) async fn open(node: &Node, name: &str, router: u64) -> Result<Self, OpenError> {
        Self::open_as(node, Opening::new(document(name), RouterId::new(router))).await
    }

    pub(crate) async fn open_as(node: &Node, opening: Opening) -> Result<Self, OpenError> {
        let (sink, router) = (Arc::new(Sink::default()), opening.router);
        let opened = timeout(PATIENCE, node.open(opening, sink.clone()));
        let host = opened.await.expect("the document opens in time")?;
        // Client ids are given, so that a failure looks the same every time.
        let doc = Doc::with_client_id(1_000 + router.get());
        Ok(Self {
            sink,
            host,
            doc,
            acknowledged: 0,
            refused: Vec::new(),
            last_slot: Slot::ZERO,
            closed: None,
            sent: 0,
        })
    }

    /// Opens, attaches, and asks for everything.
    pub(crate) async fn join(node: &Node, name: &str, router: u64) -> Self {
        let mut editor = Self::open(node, name, router).await.expect("the document opens");
        editor.attach().await;
        editor.sync().await;
        editor
    }

    pub(crate) async fn attach(&mut self) {
        let (rights, subject) = (Rights::ReadWrite, Subject::anyone());
        self.submit(Request::Attach { session: SESSION, rights, subject, resume: None }).await;
        self.until("attached", |event, _| matches!(event, Event::Attached { .. })).await;
    }

    pub(crate) async fn sync(&mut self) {
        let state_vector = self.state_vector();
        self.submit(Request::SyncRequest { session: SESSION, state_vector }).await;
        self.until("a sync answer", |event, _| matches!(event, Event::SyncAnswer { .. })).await;
    }

    fn state_vector(&self) -> Bytes {
        use yrs::updates::encoder::Encode;
        self.doc.transact().state_vector().encode_v1().into()
    }

    pub(crate) async fn submit(&self, mut request: Request) {
        loop {
            match self.host.try_submit(request) {
                Ok(()) => return,
                Err(SubmitError::Full(back)) => request = back,
                Err(SubmitError::Gone(_)) => panic!("the document is gone"),
            }
            timeout(PATIENCE, self.host.ready()).await.expect("there is room in time").expect("it is there");
        }
    }

    /// Types at the end, and sends the change. Answers its number.
    pub(crate) async fn type_in(&mut self, text: &str) -> u64 {
        let update = self.edit(text);
        self.send(update).await
    }

    pub(crate) fn edit(&self, text: &str) -> Bytes {
        let field = self.doc.get_or_insert_text("text");
        let before = self.doc.transact().state_vector();
        let end = field.len(&self.doc.transact());
        field.insert(&mut self.doc.transact_mut(), end, text);
        self.doc.transact().encode_state_as_update_v1(&before).into()
    }

    pub(crate) async fn send(&mut self, update: Bytes) -> u64 {
        self.sent += 1;
        let number = MessageNumber::new(self.sent);
        self.submit(Request::Update { session: SESSION, number, answer: false, update }).await;
        self.sent
    }

    /// Everything that was sent is durable.
    pub(crate) async fn all_acknowledged(&mut self) {
        let sent = self.sent;
        self.until("all acknowledged", |_, editor| editor.acknowledged >= sent).await;
    }

    /// Takes events until the fact is true.
    pub(crate) async fn until(&mut self, fact: &str, holds: impl Fn(&Event, &Self) -> bool) -> Event {
        let waited = timeout(PATIENCE, async {
            loop {
                while let Some(event) = self.take() {
                    if holds(&event, self) {
                        return event;
                    }
                }
                self.sink.heard.notified().await;
            }
        });
        let waited = waited.await;
        waited.unwrap_or_else(|_| panic!("waited in vain: {fact}"))
    }

    /// Waits until the text is this.
    pub(crate) async fn until_text(&mut self, expected: &str) {
        if self.text() != expected {
            self.until(&format!("the text {expected:?}"), |_, editor| editor.text() == expected).await;
        }
    }

    /// Takes one event, if there is one, and does what a router would.
    pub(crate) fn take(&mut self) -> Option<Event> {
        let event = self.sink.events.lock().unwrap().pop_front()?;
        match &event {
            Event::Publish { slot, updates, .. } => {
                updates.iter().for_each(|update| self.apply(update));
                self.last_slot = *slot;
            }
            Event::SyncAnswer { update, .. } | Event::CaughtUp { update, .. } => self.apply(update),
            Event::Acknowledge { through, .. } => self.acknowledged = through.get(),
            Event::Refused { number, .. } => self.refused.push(number.get()),
            Event::Closed { .. } | Event::LetGo | Event::Moved { .. } | Event::CloseSession { .. } => {
                self.closed = Some(event.clone())
            }
            Event::Attached { .. } | Event::Awareness { .. } | Event::SyncRequest { .. } => {}
        }
        Some(event)
    }

    pub(crate) fn take_all(&mut self) {
        while self.take().is_some() {}
    }

    fn apply(&self, update: &[u8]) {
        self.doc.transact_mut().apply_update(Update::decode_v1(update).unwrap()).unwrap();
    }

    pub(crate) fn text(&self) -> String {
        let field = self.doc.get_or_insert_text("text");
        field.get_string(&self.doc.transact())
    }

    /// Everything that this editor has, as one update.
    pub(crate) fn state(&self) -> Bytes {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default()).into()
    }

    /// For so long this router hands on nothing that is published.
    pub(crate) fn busy_for(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        *self.sink.busy_until.lock().unwrap() = Some(until.into_std());
    }

    /// From now on this router has stopped.
    pub(crate) fn stop_listening(&self) {
        self.sink.gone.store(true, Ordering::SeqCst);
    }
}
