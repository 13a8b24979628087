//! The links to all nodes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Shared, WeakShared};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use ringleaf_types::{Incarnation, Limits, NodeId, RingVersion};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, Opening, Peers, SessionHost};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint, Uri};
use tracing::{debug, info_span};

use crate::admin::{AdminAnswer, AdminError, AdminRequest, BODY_BYTES_MAX, Body, request_chunks};
use crate::bounds::{WINDOW_BYTES, request_bytes_max};
use crate::convert::node_in;
use crate::handoff::{self, Handoffs, SourceTalk};
use crate::link::Link;
use crate::outbox::{FRAME_BYTES_MAX, Outbox};
use crate::proto::item::Kind;
use crate::proto::peer_client::PeerClient;
use crate::proto::{Frame, Hello, ProbeRequest, ToSource, ToTarget};
use crate::rings::{ClusterView, Rings};
use crate::service::{Probed, check_hello, hello};
use crate::tasks::Tasks;
use crate::tls::{ClientTls, dial};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// From the connection to the node's hello.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);
/// With the interval: a silent host is noticed within 2 s.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What links need to know.
pub struct LinksConfig {
    /// The name of this process, for the logs of others.
    pub this: String,
    /// Without it connections are plain.
    pub tls: Option<ClientTls>,
    /// The bounds of this process.
    pub limits: Arc<Limits>,
}

/// Why a probe brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum ProbeError {
    #[error("nobody answers")]
    Unreachable,
    #[error("node {node} answers instead")]
    OtherNode { node: NodeId },
    #[error("the answer makes no sense")]
    Malformed,
}

/// One link per node, each connected when it is needed. Dropping it ends them.
pub struct Links {
    config: LinksConfig,
    rings: Arc<Rings>,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
    probes: Mutex<BTreeMap<Probe, WeakShared<BoxFuture<'static, bool>>>>,
    tasks: Tasks,
    this: Weak<Links>,
}

/// Which node is asked, where, and within which time it must answer.
type Probe = (NodeId, String, Duration);
type Connecting = Shared<BoxFuture<'static, Option<Arc<Link>>>>;
type Calling = Shared<BoxFuture<'static, Option<Channel>>>;

/// One node at one address.
struct Peer {
    links: Weak<Links>,
    address: String,
    link: Mutex<Option<Connecting>>,
    /// For calls, beside the link.
    calls: Mutex<Option<Calling>>,
}

impl Links {
    /// No links yet.
    pub fn new(config: LinksConfig) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            config,
            rings: Arc::new(Rings::new()),
            peers: Mutex::default(),
            probes: Mutex::default(),
            tasks: Tasks::default(),
            this: this.clone(),
        })
    }

    /// The documents at this node. `address` is `host:port`; a node with another address than before gets another link.
    ///
    /// Whatever is opened there shares one link, which is made by the first opening and again by the next one after it
    /// broke. An opening fails with [`OpenError::Unreachable`] when that does not work, within a second.
    pub fn host(&self, node: &NodeId, address: &str) -> Arc<dyn SessionHost> {
        self.peer(node, address)
    }

    fn peer(&self, node: &NodeId, address: &str) -> Arc<Peer> {
        let mut peers = self.peers.lock().expect("no holder of this lock panics");
        if let Some(peer) = peers.get(node)
            && peer.address == address
        {
            return Arc::clone(peer);
        }
        let links = self.this.clone();
        let peer = Arc::new(Peer {
            links,
            address: address.to_owned(),
            link: Mutex::default(),
            calls: Mutex::default(),
        });
        peers.insert(node.clone(), Arc::clone(&peer));
        peer
    }

    /// The ring version that frames from here carry. A lower one than before is ignored.
    pub fn set_ring(&self, version: RingVersion) {
        self.rings.set_known(version);
    }

    /// The ring view whose version frames from here carry, and that is told to nodes that cannot ask the coordinator.
    pub fn set_view(&self, view: ClusterView) {
        self.rings.set_view(view);
    }

    /// The highest ring version that any node has told.
    pub fn heard_ring(&self) -> watch::Receiver<RingVersion> {
        self.rings.heard.subscribe()
    }

    /// Asks one or two of the nodes that know a newer ring for their view, the next time others; what they say comes to
    /// [`told_view`](Self::told_view). For whoever cannot ask the coordinator. Never waits. A node is not asked more often
    /// than twice a second; those without a link, and those of before this was, do not answer.
    pub fn ask_for_view(&self) {
        let now = Instant::now();
        let live: Vec<Arc<Link>> = {
            let peers = self.peers.lock().expect("no holder of this lock panics");
            peers.values().filter_map(|peer| peer.live()).filter(|link| link.knows_newer()).collect()
        };
        for turn in self.rings.turns(live.len()) {
            live[turn].outbox.ask_for_view(now);
        }
    }

    /// The newest ring view that a node has told when it was asked.
    pub fn told_view(&self) -> watch::Receiver<Option<ClusterView>> {
        self.rings.told.subscribe()
    }

    /// Asks who is there, on a connection of its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn probe(&self, node: &NodeId, address: &str, timeout: Duration) -> Result<Probed, ProbeError> {
        let ask = async {
            let mut client = PeerClient::new(self.connect(address).await?);
            let ring = self.rings.known().get();
            client.probe(ProbeRequest { ring }).await.ok()
        };
        let reply = tokio::time::timeout(timeout, ask).await.ok().flatten();
        let reply = reply.ok_or(ProbeError::Unreachable)?.into_inner();
        let found = node_in(&reply.node).map_err(|_| ProbeError::Malformed)?;
        if found != *node {
            return Err(ProbeError::OtherNode { node: found });
        }
        let ring = RingVersion::new(reply.ring);
        self.rings.hear(ring);
        let incarnation = Incarnation::new(reply.incarnation);
        Ok(Probed { node: found, incarnation, ring, serving: reply.serving })
    }

    /// Whether the node says that it lives. Those who ask at the same time share one probe: when a node dies, each of its
    /// documents is asked for at once, and each of them asks this.
    fn shared_probe(&self, probe: Probe) -> Shared<BoxFuture<'static, bool>> {
        let mut probes = self.probes.lock().expect("no holder of this lock panics");
        if let Some(under_way) = probes.get(&probe).and_then(WeakShared::upgrade) {
            return under_way;
        }
        probes.retain(|_, others| others.upgrade().is_some());
        let (links, (node, address, within)) = (self.this.clone(), probe.clone());
        let asked = async move {
            let Some(links) = links.upgrade() else { return false };
            links.probe(&node, &address, within).await.is_ok_and(|probed| probed.serving)
        };
        let asked = asked.boxed().shared();
        if let Some(under_way) = asked.downgrade() {
            probes.insert(probe, under_way);
        }
        asked
    }

    /// Has another process answer an admin request. How long it may take is the caller's business.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take back what the process has begun.
    pub async fn admin(
        &self,
        _node: &NodeId,
        address: &str,
        request: AdminRequest,
    ) -> Result<AdminAnswer, AdminError> {
        if request.body.len() > BODY_BYTES_MAX {
            return Err(AdminError::TooLarge);
        }
        let no_answer = |status: tonic::Status| AdminError::NoAnswer { text: status.message().to_owned() };
        let channel = self.connect(address).await.ok_or(AdminError::Unreachable)?;
        let mut client = PeerClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
        let reply =
            client.admin(Outgoing(stream::iter(request_chunks(request)).boxed())).await.map_err(no_answer)?;
        let mut chunks = reply.into_inner();
        let (mut head, mut body) = (None, Body::default());
        while let Some(chunk) = chunks.message().await.map_err(no_answer)? {
            head.get_or_insert((chunk.status, chunk.content_type));
            body.add(&chunk.body)?;
        }
        let malformed = || AdminError::NoAnswer { text: "no status".to_owned() };
        let (status, content_type) = head.ok_or_else(malformed)?;
        let status = u16::try_from(status).map_err(|_| malformed())?;
        Ok(AdminAnswer { status, content_type, body: body.whole() })
    }

    async fn connect(&self, address: &str) -> Option<Channel> {
        connect(address.to_owned(), self.config.tls.clone()).await
    }

    fn connecting(&self, address: &str) -> Connecting {
        let (address, tls) = (address.to_owned(), self.config.tls.clone());
        let (this, limits) = (self.config.this.clone(), Arc::clone(&self.config.limits));
        let (rings, tasks) = (Arc::clone(&self.rings), self.tasks.clone());
        let connecting = async move {
            let channel = connect(address.clone(), tls).await?;
            let outbox = Arc::new(Outbox::default());
            outbox.push(0, hello(&this, &limits, request_bytes_max(&limits)));
            let greeting = greet(channel, Arc::clone(&outbox), Arc::clone(&rings));
            let (frames, node) = tokio::time::timeout(HELLO_TIMEOUT, greeting).await.ok().flatten()?;
            let link = Arc::new(Link::new(outbox, &limits, rings, &node));
            tasks.start(info_span!(parent: None, "link", address), Arc::clone(&link).run(frames));
            Some(link)
        };
        connecting.boxed().shared()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

/// Boxed, because the compiler cannot tell through the layers that the future may change threads.
fn connect(address: String, tls: Option<ClientTls>) -> BoxFuture<'static, Option<Channel>> {
    let to = address.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (to, tls) = (to.clone(), tls.clone());
        let connecting: BoxFuture<'static, _> = async move { dial(to, tls).await.map(TokioIo::new) }.boxed();
        connecting
    });
    async move {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .ok()?
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector)).await {
            Ok(Ok(channel)) => Some(channel),
            Ok(Err(error)) => {
                debug!(address, error = &error as &dyn std::error::Error, "could not connect");
                None
            }
            Err(_) => None,
        }
    }
    .boxed()
}

/// Begins a link and waits for the node's hello. Boxed for the same reason.
fn greet(
    channel: Channel,
    outbox: Arc<Outbox>,
    rings: Arc<Rings>,
) -> BoxFuture<'static, Option<(tonic::Streaming<Frame>, Hello)>> {
    let frames = stream::unfold((outbox, rings), |(outbox, rings)| async move {
        let frame = outbox.frame().await?;
        let frame = Frame { ring: rings.known().get(), ..frame };
        Some((frame, (outbox, rings)))
    });
    let frames = Outgoing(frames.boxed());
    async move {
        let mut client = PeerClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
        let mut frames = client.link(frames).await.ok()?.into_inner();
        let mut first = frames.message().await.ok()??;
        // A node says nothing else before it was asked.
        let Some(Kind::Hello(hello)) = first.items.pop()?.kind.filter(|_| first.items.is_empty()) else {
            return None;
        };
        check_hello(&hello).ok()?;
        Some((frames, hello))
    }
    .boxed()
}

/// A named type, for the compiler's sake: see [`connect`].
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().0.poll_next_unpin(cx)
    }
}

impl Peer {
    /// The link, if there is one that carries something.
    fn live(&self) -> Option<Arc<Link>> {
        let link = self.link.lock().expect("no holder of this lock panics");
        let link = link.as_ref()?.peek()?.as_ref()?;
        (!link.broken()).then(|| Arc::clone(link))
    }

    /// The link that is there or on its way; else a new one.
    fn link(&self) -> Option<Connecting> {
        let mut link = self.link.lock().expect("no holder of this lock panics");
        let last = link.take().filter(|last| match last.peek() {
            None => true,
            Some(None) => false,
            Some(Some(link)) => !link.broken(),
        });
        let links = self.links.upgrade()?;
        Some(link.insert(last.unwrap_or_else(|| links.connecting(&self.address))).clone())
    }
}

impl Peer {
    /// The connection for calls that is there or on its way; else a new one.
    fn calls(&self) -> Option<Calling> {
        let mut calls = self.calls.lock().expect("no holder of this lock panics");
        let links = self.links.upgrade()?;
        let connecting = || connect(self.address.clone(), links.config.tls.clone()).shared();
        Some(calls.get_or_insert_with(connecting).clone())
    }

    /// A connection that did not work is not used again.
    fn forget_calls(&self) {
        *self.calls.lock().expect("no holder of this lock panics") = None;
    }

    async fn hand_off(&self, sent: BoxStream<'static, ToTarget>) -> Option<tonic::Streaming<ToSource>> {
        let answers = async {
            let mut client = PeerClient::new(self.calls()?.await?).max_decoding_message_size(FRAME_BYTES_MAX);
            client.handoff(Outgoing(sent)).await.ok()
        };
        let answers: BoxFuture<'_, _> = answers.boxed();
        let answers = answers.await;
        if answers.is_none() {
            self.forget_calls();
        }
        answers.map(tonic::Response::into_inner)
    }
}

impl Handoffs for Links {
    fn begin(&self, node: &NodeId, address: &str) -> SourceTalk {
        let peer = self.peer(node, address);
        handoff::source(move |sent| {
            let answers = async move {
                let answers = peer.hand_off(sent).await;
                let next = |mut answers: tonic::Streaming<ToSource>| async {
                    let answer = answers.message().await.ok()??;
                    Some((answer, answers))
                };
                stream::iter(answers).flat_map(move |answers| stream::unfold(answers, next))
            };
            answers.flatten_stream().boxed()
        })
    }
}

impl Peers for Links {
    fn host(&self, node: &NodeId, address: &str) -> Arc<dyn SessionHost> {
        Self::host(self, node, address)
    }

    fn alive<'a>(&'a self, node: &'a NodeId, address: &'a str, within: Duration) -> BoxFuture<'a, bool> {
        self.shared_probe((node.clone(), address.to_owned(), within)).boxed()
    }
}

impl SessionHost for Peer {
    fn open(
        &self,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        async move {
            let link = self.link().ok_or(OpenError::Unreachable)?;
            let link = link.await.ok_or(OpenError::Unreachable)?;
            link.open(opening, sink).await
        }
        .boxed()
    }
}
