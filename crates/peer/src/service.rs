//! The node's end of everything: links, probes, admin requests.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use ringleaf_types::{Incarnation, Limits, NodeId, RingVersion};
use ringleaf_wire::SessionHost;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug_span, info, info_span};

use crate::admin::{AdminAnswer, AdminRequest, Body, answer_chunks};
use crate::bounds::{event_bytes_max, request_bytes_max, taken_bytes_max};
use crate::channel;
use crate::channel::Channel;
use crate::convert::{Malformed, opening_in, request_in};
use crate::handoff::{self, TargetTalk};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::proto;
use crate::proto::item::Kind;
use crate::proto::{Frame, Hello, Open};
use crate::rings;
use crate::rings::ClusterView;
use crate::tasks::Tasks;

/// The versions of the protocol that are spoken here: what the last release spoke is among them, so that a cluster can be
/// upgraded one process after the other. Fields are only ever added; a new kind of item (an unknown one ends the link)
/// is sent only to those who speak the version that has it.
const PROTOCOL_OLDEST: u32 = 1;
const PROTOCOL_NEWEST: u32 = 1;
/// Documents that one link carries. Above it the link is ended.
const CHANNELS_MAX: usize = 1 << 20;

/// What a probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub struct Probed {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub ring: RingVersion,
    pub serving: bool,
}

/// What a process answers besides its documents.
pub trait Answers: Send + Sync + 'static {
    /// From memory; never waits.
    fn probed(&self) -> Probed;
    /// Another process knows this ring version. Never waits; called for every frame.
    fn heard_ring(&self, version: RingVersion);
    /// Whether this process lacks that ring version and cannot ask the coordinator for it: then whoever knows it is asked
    /// for its view. Never waits; called for every frame.
    fn lacks_ring(&self, version: RingVersion) -> bool {
        let _enough_is_known = version;
        false
    }
    /// What [`lacks_ring`](Self::lacks_ring) has led to. Never waits.
    fn told_view(&self, view: ClusterView) {
        drop(view);
    }
    /// The ring view here, for those that ask. Never waits.
    fn view(&self) -> Option<ClusterView> {
        None
    }
    /// Answers as the admin port would.
    fn admin(&self, request: AdminRequest) -> BoxFuture<'_, AdminAnswer>;
    /// Another node has a document to give away. Never waits. Whoever drops the conversation takes nothing.
    fn offered(&self, talk: TargetTalk) {
        drop(talk);
    }
}

pub(crate) fn hello(name: &str, limits: &Limits, item_bytes_max: usize) -> Kind {
    Kind::Hello(Hello {
        protocol_min: PROTOCOL_OLDEST,
        protocol_max: PROTOCOL_NEWEST,
        name: name.to_owned(),
        requests_max: limits.mailbox_requests_max as u64,
        request_bytes_max: limits.outstanding_bytes_max as u64,
        item_bytes_max: item_bytes_max as u64,
    })
}

/// The version that both sides of a link speak.
pub(crate) fn check_hello(hello: &Hello) -> Result<u32, Malformed> {
    let theirs = (hello.protocol_min, hello.protocol_max);
    newest_in_common((PROTOCOL_OLDEST, PROTOCOL_NEWEST), theirs)
        .ok_or(Malformed("a protocol version that is not spoken here"))
}

/// Of two ranges, oldest and newest.
pub(crate) fn newest_in_common(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let newest = ours.1.min(theirs.1);
    (newest >= ours.0.max(theirs.0)).then_some(newest)
}

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) host: Arc<dyn SessionHost>,
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tasks: Tasks,
    pub(crate) stop: CancellationToken,
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl proto::peer_server::Peer for Service {
    type LinkStream = Answer<Frame>;
    type AdminStream = Answer<proto::AdminReplyChunk>;
    type HandoffStream = Answer<proto::ToSource>;

    async fn link(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::LinkStream>, Status> {
        let outbox = Arc::new(Outbox::default());
        let name = self.answers.probed().node;
        outbox.push(0, hello(name.as_str(), &self.limits, event_bytes_max(&self.limits)));
        let ended = Arc::new(Mutex::new(None));
        let incoming = Incoming {
            service: self.clone(),
            outbox: Arc::clone(&outbox),
            channels: BTreeMap::new(),
            last: 0,
            greeted: false,
        };
        let run = incoming.run(request.into_inner(), Arc::clone(&ended));
        self.tasks.start(info_span!(parent: None, "link"), run);
        let answers = Arc::clone(&self.answers);
        let frames = stream::unfold(Some((outbox, ended, answers)), |state| async {
            let (outbox, ended, answers) = state?;
            if let Some(frame) = outbox.frame().await {
                let frame = Frame { ring: answers.probed().ring.get(), ..frame };
                return Some((Ok(frame), Some((outbox, ended, answers))));
            }
            let status: Option<Status> = ended.lock().expect("no holder of this lock panics").take();
            status.map(|status| (Err(status), None))
        });
        Ok(Response::new(frames.boxed()))
    }

    async fn probe(
        &self,
        request: Request<proto::ProbeRequest>,
    ) -> Result<Response<proto::ProbeReply>, Status> {
        self.answers.heard_ring(RingVersion::new(request.into_inner().ring));
        let Probed { node, incarnation, ring, serving } = self.answers.probed();
        let node = node.as_str().to_owned();
        let (incarnation, ring) = (incarnation.get(), ring.get());
        Ok(Response::new(proto::ProbeReply { node, incarnation, ring, serving }))
    }

    async fn admin(
        &self,
        request: Request<Streaming<proto::AdminRequestChunk>>,
    ) -> Result<Response<Self::AdminStream>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?.ok_or_else(|| Status::invalid_argument("no request"))?;
        let mut body = Body::default();
        let too_large = |error: crate::AdminError| Status::resource_exhausted(error.to_string());
        body.add(&first.body).map_err(too_large)?;
        while let Some(chunk) = chunks.message().await? {
            body.add(&chunk.body).map_err(too_large)?;
        }
        let (method, path_and_query) = (first.method, first.path_and_query);
        let answer = self.answers.admin(AdminRequest { method, path_and_query, body: body.whole() }).await;
        Ok(Response::new(stream::iter(answer_chunks(answer).map(Ok)).boxed()))
    }

    async fn handoff(
        &self,
        request: Request<Streaming<proto::ToTarget>>,
    ) -> Result<Response<Self::HandoffStream>, Status> {
        let (talk, said) = handoff::target(request.into_inner(), &self.limits);
        self.answers.offered(talk);
        Ok(Response::new(said.map(Ok).boxed()))
    }
}

/// The incoming half of one link.
struct Incoming {
    service: Service,
    outbox: Arc<Outbox>,
    channels: BTreeMap<u32, Channel>,
    last: u32,
    greeted: bool,
}

impl Incoming {
    async fn run(mut self, mut frames: Streaming<Frame>, ended: Arc<Mutex<Option<Status>>>) {
        let mut inbox = Inbox::new(request_bytes_max(&self.service.limits));
        let stop = self.service.stop.clone();
        loop {
            let frame = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.outbox.finish();
                    return;
                }
                frame = frames.message() => frame,
            };
            let taken = match frame {
                Ok(Some(frame)) => self.take(&mut inbox, frame),
                Ok(None) => break,
                Err(status) => {
                    info!(reason = status.message(), "a link has ended");
                    break;
                }
            };
            if let Err(malformed) = taken {
                info!(reason = malformed.0, "a link is ended");
                let status = Status::invalid_argument(malformed.to_string());
                *ended.lock().expect("no holder of this lock panics") = Some(status);
                break;
            }
        }
        self.outbox.close();
    }

    /// What the frame says of the ring.
    fn heard(&self, frame: &mut Frame) {
        let (answers, ring) = (&self.service.answers, RingVersion::new(frame.ring));
        answers.heard_ring(ring);
        if answers.lacks_ring(ring) {
            self.outbox.ask_for_view(Instant::now());
        }
        if frame.wants_view
            && let Some(news) = rings::news(answers.view(), ring)
        {
            self.outbox.tell_view(news);
        }
        // Order: the look first. Several routers may tell the same, and a big ring takes a while to build.
        let lacking = frame.view.take().filter(|told| answers.lacks_ring(RingVersion::new(told.version)));
        if let Some(view) = lacking.and_then(rings::view_in) {
            answers.told_view(view);
        }
    }

    fn take(&mut self, inbox: &mut Inbox, mut frame: Frame) -> Result<(), Malformed> {
        self.heard(&mut frame);
        for (number, kind) in inbox.items(frame)? {
            if !self.greeted {
                let Kind::Hello(hello) = &kind else { return Err(Malformed("no hello")) };
                let protocol = check_hello(hello)?;
                inbox.take_up_to(taken_bytes_max(request_bytes_max(&self.service.limits), hello));
                self.greeted = true;
                info!(router = hello.name, protocol, "a link has begun");
                continue;
            }
            self.item(number, kind)?;
        }
        Ok(())
    }

    fn item(&mut self, number: u32, kind: Kind) -> Result<(), Malformed> {
        if let Kind::Open(open) = &kind {
            return self.open(number, open);
        }
        if number == 0 || number > self.last {
            return Err(Malformed("an unknown channel"));
        }
        match kind {
            Kind::Request(request) => {
                let request = request_in(request)?;
                self.channels.get(&number).map_or(Ok(()), |channel| channel.push(request))
            }
            Kind::Close(_) => {
                self.channels.remove(&number);
                Ok(())
            }
            Kind::Hello(_)
            | Kind::Chunk(_)
            | Kind::Open(_)
            | Kind::Opened(_)
            | Kind::Refused(_)
            | Kind::Event(_)
            | Kind::Credit(_)
            | Kind::Closed(_) => Err(Malformed("an item that only a node sends")),
        }
    }

    fn open(&mut self, number: u32, open: &Open) -> Result<(), Malformed> {
        if number <= self.last {
            return Err(Malformed("a channel that was used before"));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return Err(Malformed("too many documents"));
        }
        let opening = opening_in(open)?;
        self.last = number;
        let span = debug_span!(parent: None, "channel", document = %opening.document);
        let limits = &self.service.limits;
        let (channel, queue) = channel::channel(limits);
        self.channels.insert(number, channel);
        let (host, outbox) = (Arc::clone(&self.service.host), Arc::clone(&self.outbox));
        let run = channel::run(host, opening, queue, outbox, number, limits.fan_out_waiting_bytes_max);
        self.service.tasks.start(span, run);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
