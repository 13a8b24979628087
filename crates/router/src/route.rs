//! Who hosts a document, and what to do when that host does not answer.
//!
//! ```text
//! candidates in ring order ──▶ the first that can be reached ──▶ it serves
//!                                                            ──▶ moved: whom it names, unless that one is unreachable
//!                          ──▶ tried twice, unreachable ──▶ the next, which is told so: it probes, relays or claims
//! ```

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ringleaf_coordinator::Coordinator;
use ringleaf_ring::RingView;
use ringleaf_types::{DocumentId, NodeId, RingVersion, RouterId};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, Opening, Peers, SessionHost};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::search::{Dead, SECOND_TRY, Search};

/// How long to wait for a ring version that a node has seen.
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);

/// Finds the host of a document.
#[derive(Clone)]
pub struct Route {
    this: NodeId,
    coordinator: Arc<dyn Coordinator>,
    local: Option<Arc<dyn SessionHost>>,
    peers: Option<Arc<dyn Peers>>,
    dead: Arc<Mutex<Dead>>,
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

    /// Opens the document at whoever owns it, or at the next one if that cannot be reached. `at`: that is known to be this
    /// node, by a ring of this version. `refusable`: nobody has it open here.
    pub(crate) async fn open(
        &self,
        document: DocumentId,
        router: RouterId,
        at: Option<(NodeId, RingVersion)>,
        refusable: bool,
        sink: Arc<dyn EventSink>,
    ) -> Result<Arc<dyn DocumentHost>, OpenError> {
        let mut search = Search::new(document, router);
        if let Some((owner, ring)) = at {
            search.first(owner, ring);
        }
        if refusable {
            search.refusable();
        }
        loop {
            let view = self.newest(search.opening().ring).await.ok_or(OpenError::Busy)?;
            let target = search.target(&view).ok_or(OpenError::Unreachable)?;
            match self.open_at(&view, &target, search.opening(), &sink).await {
                Err(OpenError::Unreachable) => search.unreachable(target),
                Err(OpenError::Moved { owner, ring }) => {
                    debug!(document = %search.opening().document, target = %owner, "a document is elsewhere");
                    search.moved(target, owner, ring)?;
                }
                answered => return answered,
            }
        }
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
        if self.dead().holds(target, Instant::now().into_std()) {
            return Err(OpenError::Unreachable);
        }
        let first = host.open(opening.clone(), Arc::clone(sink)).await;
        if !matches!(first, Err(OpenError::Unreachable)) {
            return first;
        }
        sleep(SECOND_TRY).await;
        let second = host.open(opening.clone(), Arc::clone(sink)).await;
        if matches!(second, Err(OpenError::Unreachable))
            && self.dead().found(target.clone(), Instant::now().into_std())
        {
            warn!(%target, "a node cannot be reached");
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

    fn dead(&self) -> MutexGuard<'_, Dead> {
        self.dead.lock().expect("no holder of this lock panics")
    }

    /// The newest view, and at least this version if it can be had soon. `None`: no member has ever served.
    async fn newest(&self, version: RingVersion) -> Option<Arc<RingView>> {
        // Order: what is known before the view, so that the view has it.
        let knows = self.coordinator.knows(version);
        let mut ring = self.coordinator.ring();
        let known = ring.borrow().clone();
        if known.as_ref().is_none_or(|view| knows || view.version() >= version) {
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
