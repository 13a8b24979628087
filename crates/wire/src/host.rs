//! What a router may ask of whoever hosts a document, and what it is told.
//!
//! ```text
//! router ── SessionHost::open(document, sink) ──▶ DocumentHost ── try_submit(Request) ──▶ mailbox ─▶ document task
//! router ◀──────────────── EventSink::deliver(Event) ◀───────────────────────────────────────────── document task
//! ```
//!
//! The node in the same process is one `SessionHost`; a link to another node is another. Neither side of this trait
//! can tell which it is: everything that crosses it is owned data that could cross a network.
//!
//! Waiting goes one way. A router waits until its request is taken; a document never waits for a router: what an
//! [`EventSink`] cannot keep up with it drops itself, and then asks with [`Request::CatchUp`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringleaf_types::{
    CloseReason, DocumentId, MessageNumber, NodeId, Rights, RingVersion, RouterId, SessionId, Slot, Subject,
};

/// What a router asks of a document, always on behalf of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum Request {
    /// A session begins, or begins again at a new owner. Answered by [`Event::Attached`], and by a
    /// [`Event::SyncRequest`] that brings the editor's own changes here.
    ///
    /// `resume` is the newest slot that was published to the session, if it had an owner before. Its unacknowledged
    /// messages follow, with the numbers that they have.
    Attach { session: SessionId, rights: Rights, subject: Subject, resume: Option<Slot> },
    /// A session has ended: its awareness goes with it. What it has sent is still carried out.
    Detach { session: SessionId },
    /// A change, or (`answer`) the reply to an [`Event::SyncRequest`] of this host since the session was attached to it:
    /// what answered an earlier one is sent again as a change. Numbers of one session rise by one.
    /// Answered by [`Event::Acknowledge`] when it is durable, perhaps after [`Event::Refused`]. A change that builds on
    /// something that the host lacks is acknowledged after the next answer, which brings that.
    Update { session: SessionId, number: MessageNumber, answer: bool, update: Bytes },
    /// The editor wants what its state vector lacks. Answered by [`Event::SyncAnswer`].
    SyncRequest { session: SessionId, state_vector: Bytes },
    /// Presence of one or more CRDT clients, as the editor sent it.
    Awareness { session: SessionId, payload: Bytes },
    /// The editor wants everybody's presence. Answered by [`Event::Awareness`] to this session.
    QueryAwareness { session: SessionId },
    /// Sessions of this router have delivered `from` and lack what came after. Answered by one [`Event::CaughtUp`].
    CatchUp { from: Slot },
}

/// What a document tells one router. Whatever is in it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum Event {
    /// The session is attached. Every [`Event::Publish`] of a slot after `slot` reaches it. One before the session's
    /// `resume`: the log ends before that.
    Attached { session: SessionId, slot: Slot },
    /// A slot became durable. A session whose last slot is before `previous` lacks something: it is behind.
    /// `updates` are few: those of one slot are merged, or not, by the document.
    Publish { previous: Slot, slot: Slot, updates: Arc<[Bytes]> },
    /// Presence has changed. `only` names the one session that asked for it; else it is for all.
    Awareness { only: Option<SessionId>, payload: Bytes },
    /// Everything that these sessions' state vectors lacked, through `through`.
    SyncAnswer { sessions: Vec<SessionId>, through: Slot, update: Bytes },
    /// The document wants what this state vector lacks.
    SyncRequest { session: SessionId, state_vector: Bytes },
    /// All messages of the session up to this number are dealt with, and what they brought is durable.
    Acknowledge { session: SessionId, through: MessageNumber },
    /// This message was dropped. It is acknowledged all the same.
    Refused { session: SessionId, number: MessageNumber },
    /// Everything after `from`, through `through`.
    CaughtUp { from: Slot, through: Slot, update: Bytes },
    /// This session must end.
    CloseSession { session: SessionId, reason: CloseReason },
    /// All sessions of the document must end.
    Closed { reason: CloseReason },
    /// The host lets go of the document. Sessions that stay must be attached again, here or elsewhere.
    LetGo,
    /// The same, and this node has the document now, by a ring of this version or by its claim in the log.
    Moved { owner: NodeId, ring: RingVersion },
}

/// What a router says when it opens a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The document.
    pub document: DocumentId,
    /// Who opens it.
    pub router: RouterId,
    /// The ring version that led here. A host that knows a lower one looks again. Zero: no ring did.
    pub ring: RingVersion,
    /// Nodes that come before this one and that the router cannot reach. An answer that points at one of them is void.
    pub unreachable: Vec<NodeId>,
    /// Nodes that have said of themselves that they do not have it. Whoever keeps away for one of these need not.
    pub denied: Vec<NodeId>,
    /// A node that the router can reach passes it on. It goes no further.
    pub relayed: bool,
    /// The router has no session in it yet: whoever wants it can be told to try again later.
    pub refusable: bool,
}

impl Opening {
    /// The opening of a router that came straight to whom the ring names.
    pub fn new(document: DocumentId, router: RouterId) -> Self {
        Self {
            document,
            router,
            ring: RingVersion::default(),
            unreachable: Vec::new(),
            denied: Vec::new(),
            relayed: false,
            refusable: false,
        }
    }
}

/// Hosts documents.
pub trait SessionHost: Send + Sync + 'static {
    /// Makes the document resident, if it is not, and says where its sessions' requests go.
    ///
    /// `sink` gets every event for this router's sessions until it is [`Gone`] or the returned host is dropped. A
    /// router opens a document once for all its sessions.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most a resident document without sessions, which is forgotten when it is idle.
    fn open(
        &self,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>>;
}

/// The way to other nodes.
pub trait Peers: Send + Sync + 'static {
    /// The node at this address (`host:port`), as a host. Nothing is connected before something is opened there.
    fn host(&self, node: &NodeId, address: &str) -> Arc<dyn SessionHost>;

    /// Whether the node answers there within this time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    fn alive<'a>(&'a self, node: &'a NodeId, address: &'a str, within: Duration) -> BoxFuture<'a, bool>;
}

/// Takes the requests for one document from one router. Dropping it detaches all its sessions.
pub trait DocumentHost: Send + Sync + 'static {
    /// Hands over a request if there is room. Requests are carried out in the order in which they were taken.
    fn try_submit(&self, request: Request) -> Result<(), SubmitError>;

    /// Waits until there may be room.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>>;
}

/// Takes what a document tells one router.
pub trait EventSink: Send + Sync + 'static {
    /// Never waits. Everything but [`Event::Publish`] and [`Event::Awareness`] must be kept; those two may be dropped
    /// by a receiver that is behind, which then asks for what it lacks.
    fn deliver(&self, event: Event) -> Result<(), Gone>;

    /// Nothing that is published is handed on before this moment, as far as that is known here: a document loses
    /// nothing by gathering updates until shortly before.
    fn busy_until(&self) -> Option<Instant> {
        None
    }
}

/// The other side has stopped. News, not a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side has stopped")]
pub struct Gone;

/// Why a request was not taken. It comes back, for the next try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum SubmitError {
    #[error("the document's mailbox is full")]
    Full(Request),
    #[error("the document is no longer hosted there")]
    Gone(Request),
}

/// Why a document cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum OpenError {
    /// It is closed to everybody, or stays closed until a person has looked.
    #[error("{}", reason.text())]
    Refused { reason: CloseReason },
    /// The host stops, or has no room; another try may succeed.
    #[error("the host takes no documents at the moment")]
    Busy,
    /// Another node owns it, as of this ring version.
    #[error("node {owner} owns the document")]
    Moved { owner: NodeId, ring: RingVersion },
    /// There is no way to the host at the moment.
    #[error("the host cannot be reached")]
    Unreachable,
}
