//! Who hosts a document, and what to do when that host does not answer.
//!
//! ```text
//! candidates in ring order ──▶ the first that can be reached ──▶ it serves
//!                                                            ──▶ moved: whom it names, unless that one is unreachable
//!                          ──▶ tried twice, unreachable ──▶ the next, which is told so: it probes, relays or claims
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringleaf_coordinator::Coordinator;
use ringleaf_ring::RingView;
use ringleaf_types::{DocumentId, NodeId, RingVersion, RouterId};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, Opening, Peers, SessionHost};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

/// Limit: answers of "moved" that are followed for one opening. Above it the ring is changing, and waiting is cheaper.
const MOVES_MAX: usize = 4;
/// The second try to reach a node comes so long after the first.
const SECOND_TRY: Duration = Duration::from_millis(200);
/// A node that was found dead is passed over for so long, without a try.
const DEAD_FOR: Duration = Duration::from_secs(2);
/// How long to wait for a ring version that a node has seen.
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);

/// Finds the host of a document.
#[derive(Clone)]
pub struct Route {
    this: NodeId,
    coordinator: Arc<dyn Coordinator>,
    local: Option<Arc<dyn SessionHost>>,
    peers: Option<Arc<dyn Peers>>,
    dead: Arc<Mutex<BTreeMap<NodeId, Instant>>>,
}

impl Route {
    /// `local` is the node in this process, if there is one; it is called `this`.
    pub fn new(
        this: NodeId,
        coordinator: Arc<dyn Coordinator>,
        local: Option<Arc<dyn SessionHost>>,
        peers: Option<Arc<dyn Peers>>,
    ) -> Self {
        Self { this, coordinator, local, peers, dead: Arc::default() }
    }

    /// Opens the document at whoever owns it, or at the next one if that cannot be reached.
    pub(crate) async fn open(
        &self,
        document: DocumentId,
        router: RouterId,
        sink: Arc<dyn EventSink>,
    ) -> Result<Arc<dyn DocumentHost>, OpenError> {
        let mut opening = Opening::new(document, router);
        let mut named = None;
        let mut moves = 0;
        loop {
            let view = self.newest(opening.ring).await.ok_or(OpenError::Busy)?;
            opening.ring = view.version();
            let Some(target) = self.target(&view, &opening, named.take()) else {
                return Err(OpenError::Unreachable);
            };
            match self.open_at(&view, &target, &opening, &sink).await {
                Err(OpenError::Unreachable) => opening.unreachable.push(target),
                // What points at a node that cannot be reached is void: whoever said so was not told, or knows no better.
                Err(OpenError::Moved { owner, .. }) if opening.unreachable.contains(&owner) => {
                    return Err(OpenError::Busy);
                }
                Err(OpenError::Moved { .. }) if moves == MOVES_MAX => return Err(OpenError::Busy),
                Err(OpenError::Moved { owner, ring }) => {
                    debug!(document = %opening.document, target = %owner, "a document is elsewhere");
                    moves += 1;
                    named = Some(owner);
                    opening.ring = opening.ring.max(ring);
                }
                answered => return answered,
            }
        }
    }

    /// Whom to ask next: who was named, else the first in ring order that may be reached.
    fn target(&self, view: &RingView, opening: &Opening, named: Option<NodeId>) -> Option<NodeId> {
        let first =
            || view.candidates(&opening.document).find(|node| !opening.unreachable.contains(node)).cloned();
        named.or_else(first)
    }

    /// Tries it at one node, and once more if there is no way to it.
    async fn open_at(
        &self,
        view: &RingView,
        target: &NodeId,
        opening: &Opening,
        sink: &Arc<dyn EventSink>,
    ) -> Result<Arc<dyn DocumentHost>, OpenError> {
        let host = self.host(view, target).ok_or(OpenError::Unreachable)?;
        if self.dead(target) {
            return Err(OpenError::Unreachable);
        }
        let first = host.open(opening.clone(), Arc::clone(sink)).await;
        if !matches!(first, Err(OpenError::Unreachable)) {
            return first;
        }
        sleep(SECOND_TRY).await;
        let second = host.open(opening.clone(), Arc::clone(sink)).await;
        if matches!(second, Err(OpenError::Unreachable)) {
            warn!(%target, "a node cannot be reached");
            self.dead.lock().expect("no holder of this lock panics").insert(target.clone(), Instant::now());
        }
        second
    }

    fn host(&self, view: &RingView, target: &NodeId) -> Option<Arc<dyn SessionHost>> {
        if *target == self.this
            && let Some(local) = &self.local
        {
            return Some(Arc::clone(local));
        }
        Some(self.peers.as_ref()?.host(target, &view.member(target)?.address))
    }

    /// Whether the node was found dead a moment ago: many documents find out together, and one of them is enough.
    fn dead(&self, node: &NodeId) -> bool {
        let mut dead = self.dead.lock().expect("no holder of this lock panics");
        dead.retain(|_, found_at| found_at.elapsed() < DEAD_FOR);
        dead.contains_key(node)
    }

    /// The newest view, and at least this version if it can be had soon. `None`: no member has ever served.
    async fn newest(&self, version: RingVersion) -> Option<Arc<RingView>> {
        let mut ring = self.coordinator.ring();
        let known = ring.borrow().clone();
        if known.as_ref().is_none_or(|view| view.version() >= version) {
            return known;
        }
        self.coordinator.heard(version);
        let new_enough = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= version));
        match timeout(NEWER_RING_TIMEOUT, new_enough).await {
            Ok(Ok(view)) => view.clone(),
            // The coordinator is away: what is known must do.
            Ok(Err(_)) | Err(_) => known,
        }
    }
}

#[cfg(test)]
mod tests;
