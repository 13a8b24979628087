//! What this node should own, and what it does about a document that it should not.
//!
//! ```text
//! a router opens ──▶ verdict ──▶ serve            the ring names this node, or its claim is in the log
//!                            ──▶ moved            another node comes first, and the router can reach it
//!                            ──▶ probe ──▶ relay  one that comes first lives, though the router cannot reach it
//!                                      ──▶ serve  all that come first are dead: the log decides
//! the ring changes, every second ──▶ residents that others should own, and who live ──▶ handed off (see `handoff`)
//!                                                  or let go: not flushed within two seconds ──▶ abandoned
//! ```
//!
//! The ring says who should own a document, the log says who may. A wrong verdict here costs time, never data: whoever
//! claims in the log later wins, and the other one is fenced.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use ringleaf_coordinator::{Coordinator, Pacing, Ring};
use ringleaf_peer::{Handoffs, SourceTalk};
use ringleaf_ring::{Member, MemberState, RingView};
use ringleaf_types::{DocumentId, NodeId, RingVersion};
use ringleaf_wire::{OpenError, Opening, Peers, SessionHost};
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::placement::{HoldOffs, Verdict, verdict};

/// How long a node may take to say that it lives. It is asked twice.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for a ring version that somebody else has seen.
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);

/// The others.
#[derive(Clone)]
pub struct Cluster {
    pub coordinator: Arc<dyn Coordinator>,
    pub peers: Arc<dyn Peers>,
    pub handoffs: Arc<dyn Handoffs>,
}

/// This node's place among the others.
pub(crate) struct Membership {
    this: NodeId,
    cluster: Cluster,
    hold_offs: Mutex<HoldOffs>,
}

impl Membership {
    pub(crate) fn new(this: NodeId, cluster: Cluster) -> Self {
        Self { this, cluster, hold_offs: Mutex::default() }
    }

    /// Another node has claimed the document.
    pub(crate) fn lost_claim(&self, document: &DocumentId, by: Option<NodeId>, now: Instant) {
        self.hold_offs().lost_claim(document, by, now.into_std(), rand::random_range(0.5..1.0));
    }

    /// Another node, which was asked for a router that cannot reach it, says that somebody else has the document.
    pub(crate) fn denied(&self, document: &DocumentId, by: &NodeId) {
        self.hold_offs().denied(document, by, Instant::now().into_std());
    }

    /// Another node gives the document to this one.
    pub(crate) fn welcome(&self, document: &DocumentId) {
        self.hold_offs().welcome(document);
    }

    pub(crate) fn view(&self) -> Option<Arc<RingView>> {
        self.cluster.coordinator.ring().borrow().clone()
    }

    /// The newest view, and its changes.
    pub(crate) fn ring(&self) -> Ring {
        self.cluster.coordinator.ring()
    }

    /// Whether everything of this version is known here.
    pub(crate) fn knows(&self, version: RingVersion) -> bool {
        self.cluster.coordinator.knows(version)
    }

    pub(crate) fn pacing(&self) -> Pacing {
        self.cluster.coordinator.pacing()
    }

    /// Whether the ring names this node for anything. Without a ring nothing is known.
    pub(crate) fn serves(&self, view: &RingView) -> bool {
        view.member(&self.this).is_some_and(|this| this.state == MemberState::Serving)
    }

    pub(crate) fn forget_old_duels(&self) {
        self.hold_offs().forget_old_duels(Instant::now().into_std());
    }

    pub(crate) fn begin_handoff(&self, to: &Member) -> SourceTalk {
        self.cluster.handoffs.begin(&to.node, &to.address)
    }

    fn hold_offs(&self) -> MutexGuard<'_, HoldOffs> {
        self.hold_offs.lock().expect("no holder of this lock panics")
    }

    /// Who hosts the document instead of this node. `None`: this node does.
    ///
    /// # Errors
    ///
    /// The router should go elsewhere, or come again.
    pub(crate) async fn elsewhere(
        &self,
        opening: &Opening,
        claimed: bool,
    ) -> Result<Option<(NodeId, Arc<dyn SessionHost>)>, OpenError> {
        let view = self.newest(opening.ring).await.ok_or(OpenError::Busy)?;
        let keeps_away = self.hold_offs().keeps_away(&opening.document, Instant::now().into_std());
        match verdict(&view, &self.this, opening, claimed, keeps_away.as_ref()) {
            Verdict::Serve => Ok(None),
            Verdict::Moved(owner) => Err(OpenError::Moved { owner, ring: view.version() }),
            Verdict::Wait => Err(OpenError::Busy),
            Verdict::Probe(others) => match self.first_alive(&others).await {
                // Whoever relays has just reached this node, so it is this one's turn to decide.
                Some(_) if opening.relayed => Err(OpenError::Busy),
                Some(other) => {
                    info!(document = %opening.document, target = %other.node, "relay a document for a router");
                    Ok(Some((other.node.clone(), self.cluster.peers.host(&other.node, &other.address))))
                }
                None => {
                    info!(document = %opening.document, "take over a document whose owner does not answer");
                    Ok(None)
                }
            },
        }
    }

    /// The newest view, and at least this version if it can be had soon.
    pub(crate) async fn newest(&self, version: RingVersion) -> Option<Arc<RingView>> {
        // Order: what is known before the view, so that the view has it.
        let knows = self.cluster.coordinator.knows(version);
        let mut ring = self.cluster.coordinator.ring();
        let known = ring.borrow().clone();
        if known.as_ref().is_some_and(|view| knows || view.version() >= version) {
            return known;
        }
        self.cluster.coordinator.heard(version);
        let new_enough = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= version));
        if let Ok(Ok(view)) = timeout(NEWER_RING_TIMEOUT, new_enough).await {
            return view.clone();
        }
        // The coordinator is away. An old view is better than none: the log has the last word.
        self.cluster.coordinator.ring().borrow().clone()
    }

    /// The first of these that lives; all are asked at once, and twice.
    async fn first_alive<'a>(&self, others: &'a [Member]) -> Option<&'a Member> {
        let alive = join_all(others.iter().map(|other| self.alive(other))).await;
        others.iter().zip(alive).find_map(|(other, alive)| alive.then_some(other))
    }

    pub(crate) async fn alive(&self, other: &Member) -> bool {
        let peers = &self.cluster.peers;
        peers.alive(&other.node, &other.address, PROBE_TIMEOUT).await
            || peers.alive(&other.node, &other.address, PROBE_TIMEOUT).await
    }
}
