//! A host, a sink and a pair of processes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_peer::{
    AdminAnswer, AdminRequest, Answers, ClusterView, Links, LinksConfig, PeerConfig, PeerServer, Probed,
    RunningPeerServer,
};
use ringleaf_types::{Incarnation, Limits, NodeId, RingVersion, RouterId};
use ringleaf_wire::{
    DocumentHost, Event, EventSink, Gone, OpenError, Opening, Request, SessionHost, SubmitError,
};
use tokio::sync::Notify;

/// Waits for a fact.
pub(crate) async fn until<T>(mut fact: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = fact() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it becomes true")
}

type Opened = (Opening, Arc<dyn EventSink>, Arc<Document>);

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) openings: Mutex<Vec<Opened>>,
    pub(crate) refuse: Mutex<VecDeque<OpenError>>,
}

/// Takes requests while `paused` is false.
#[derive(Default)]
pub(crate) struct Document {
    pub(crate) requests: Mutex<Vec<Request>>,
    pub(crate) paused: Mutex<bool>,
    pub(crate) gone: Mutex<bool>,
    pub(crate) room: Notify,
}

struct Held(Arc<Document>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.gone.lock().unwrap() = true;
    }
}

impl Host {
    pub(crate) fn document(&self, index: usize) -> (Arc<dyn EventSink>, Arc<Document>) {
        let openings = self.openings.lock().unwrap();
        (Arc::clone(&openings[index].1), Arc::clone(&openings[index].2))
    }
}

impl SessionHost for Host {
    fn open(
        &self,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        async move {
            if let Some(error) = self.refuse.lock().unwrap().pop_front() {
                return Err(error);
            }
            let document = Arc::new(Document::default());
            self.openings.lock().unwrap().push((opening, sink, Arc::clone(&document)));
            Ok(Arc::new(Held(document)) as Arc<dyn DocumentHost>)
        }
        .boxed()
    }
}

impl DocumentHost for Held {
    fn try_submit(&self, request: Request) -> Result<(), SubmitError> {
        if *self.0.gone.lock().unwrap() {
            return Err(SubmitError::Gone(request));
        }
        if *self.0.paused.lock().unwrap() {
            return Err(SubmitError::Full(request));
        }
        self.0.requests.lock().unwrap().push(request);
        Ok(())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        async {
            if *self.0.paused.lock().unwrap() {
                self.0.room.notified().await;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Document {
    pub(crate) fn resume(&self) {
        *self.paused.lock().unwrap() = false;
        self.room.notify_one();
    }
}

#[derive(Default)]
pub(crate) struct Sink(pub Mutex<Vec<Event>>);

impl EventSink for Sink {
    fn deliver(&self, event: Event) -> Result<(), Gone> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) heard: Mutex<RingVersion>,
    /// It cannot ask the coordinator.
    pub(crate) alone: AtomicBool,
    pub(crate) view: Mutex<Option<ClusterView>>,
    /// How often it was asked who it is.
    pub(crate) asked: AtomicUsize,
}

impl Answers for Process {
    fn probed(&self) -> Probed {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let view = self.view();
        let ring = view.map_or(RingVersion::new(41), |known| known.view.version());
        let node = node();
        Probed { node, incarnation: Incarnation::new(7), ring, serving: true }
    }

    fn heard_ring(&self, version: RingVersion) {
        let mut heard = self.heard.lock().unwrap();
        *heard = version.max(*heard);
    }

    fn lacks_ring(&self, version: RingVersion) -> bool {
        self.alone.load(Ordering::SeqCst) && version > self.probed().ring
    }

    fn told_view(&self, view: ClusterView) {
        *self.view.lock().unwrap() = Some(view);
    }

    fn view(&self) -> Option<ClusterView> {
        self.view.lock().unwrap().clone()
    }

    fn admin(&self, request: AdminRequest) -> BoxFuture<'_, AdminAnswer> {
        async move {
            let content_type = format!("{} {}", request.method, request.path_and_query);
            AdminAnswer { status: 201, content_type, body: request.body }
        }
        .boxed()
    }
}

pub(crate) fn node() -> NodeId {
    "node-1".parse().unwrap()
}

pub(crate) fn opening(document: &str) -> Opening {
    Opening::new(document.parse().unwrap(), RouterId::new(5))
}

pub(crate) struct Pair {
    pub(crate) host: Arc<Host>,
    pub(crate) process: Arc<Process>,
    pub(crate) server: RunningPeerServer,
    pub(crate) links: Arc<Links>,
    pub(crate) address: String,
}

pub(crate) fn pair_with(limits: Limits) -> Pair {
    pair_of(limits.clone(), limits)
}

pub(crate) fn pair_of(nodes: Limits, routers: Limits) -> Pair {
    let limits = Arc::new(routers);
    let config = PeerConfig { listen: "127.0.0.1:0".parse().unwrap(), tls: None, limits: Arc::new(nodes) };
    let (host, process) = (Arc::new(Host::default()), Arc::new(Process::default()));
    let server = PeerServer::bind(config).unwrap().start(Arc::clone(&host) as _, Arc::clone(&process) as _);
    let links = Links::new(LinksConfig { this: "router-1".into(), tls: None, limits });
    let address = server.local_addr().to_string();
    Pair { host, process, server, links, address }
}

pub(crate) fn pair() -> Pair {
    pair_with(Limits::default())
}

impl Pair {
    pub(crate) async fn open(&self, document: &str) -> (Arc<dyn DocumentHost>, Arc<Sink>) {
        let sink = Arc::new(Sink::default());
        let host = self.links.host(&node(), &self.address);
        (host.open(opening(document), Arc::clone(&sink) as _).await.unwrap(), sink)
    }
}
