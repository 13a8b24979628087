//! What this node should own, and what it does about a document that it should not.
//!
//! ```text
//! a router opens ──▶ verdict ──▶ serve            the ring names this node, or its claim is in the log
//!                            ──▶ moved            another node comes first, and the router can reach it
//!                            ──▶ probe ──▶ relay  one that comes first lives, though the router cannot reach it
//!                                      ──▶ serve  all that come first are dead: the log decides
//! the ring changes, every second ──▶ residents that others should own, and who live ──▶ flushed, let go
//!                                                                        not within two seconds ──▶ abandoned
//! ```
//!
//! The ring says who should own a document, the log says who may. A wrong verdict here costs time, never data: whoever
//! claims in the log later wins, and the other one is fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use ringleaf_coordinator::Coordinator;
use ringleaf_ring::{Member, RingView};
use ringleaf_types::{DocumentId, NodeId, RingVersion};
use ringleaf_wire::{OpenError, Opening, Peers, SessionHost};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::placement::{HoldOffs, Verdict, verdict};
use crate::registry::Resident;
use crate::shared::Shared;

/// How long a node may take to say that it lives. It is asked twice.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for a ring version that somebody else has seen.
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);
/// How often what is wanted is compared with what there is, also without news.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(1);
/// A document that was let go and has not flushed by then is abandoned: its new owner waits for it.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);
/// Limit: documents that are let go at once. Each flushes and is opened elsewhere; a second later come the next.
const LET_GO_AT_ONCE: usize = 500;
/// The others.
#[derive(Clone)]
pub struct Cluster {
    pub coordinator: Arc<dyn Coordinator>,
    pub peers: Arc<dyn Peers>,
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
    ) -> Result<Option<Arc<dyn SessionHost>>, OpenError> {
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
                    Ok(Some(self.cluster.peers.host(&other.node, &other.address)))
                }
                None => {
                    info!(document = %opening.document, "take over a document whose owner does not answer");
                    Ok(None)
                }
            },
        }
    }

    /// The newest view, and at least this version if it can be had soon.
    async fn newest(&self, version: RingVersion) -> Option<Arc<RingView>> {
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

    async fn alive(&self, other: &Member) -> bool {
        let peers = &self.cluster.peers;
        peers.alive(&other.node, &other.address, PROBE_TIMEOUT).await
            || peers.alive(&other.node, &other.address, PROBE_TIMEOUT).await
    }
}

/// Lets go of what others should own, for as long as the node lives.
pub(crate) async fn run(shared: Weak<Shared>) {
    let Some(mut ring) = ring(&shared) else { return };
    let (mut silent, mut leaving) = (BTreeSet::new(), Vec::new());
    loop {
        // News, or time: both times everything is compared.
        if let Ok(Err(_stopped)) = timeout(RECONCILE_INTERVAL, ring.changed()).await {
            return;
        }
        let Some(shared) = shared.upgrade() else { return };
        reconcile(&shared, &mut silent, &mut leaving).await;
        abandon(&mut leaving, Instant::now());
    }
}

fn ring(shared: &Weak<Shared>) -> Option<ringleaf_coordinator::Ring> {
    Some(shared.upgrade()?.membership.as_ref()?.cluster.coordinator.ring())
}

/// `silent` are the owners that did not answer the last time: that is said once.
async fn reconcile(
    shared: &Shared,
    silent: &mut BTreeSet<NodeId>,
    leaving: &mut Vec<(Arc<Resident>, Instant)>,
) {
    let Some(membership) = &shared.membership else { return };
    membership.hold_offs().forget_old_duels(Instant::now().into_std());
    let Some(view) = membership.cluster.coordinator.ring().borrow().clone() else { return };
    let mut misplaced: BTreeMap<&NodeId, Vec<Arc<Resident>>> = BTreeMap::new();
    for resident in shared.registry.all() {
        let owner = view.owner(&resident.document);
        if *owner != membership.this && !resident.stop.is_cancelled() {
            misplaced.entry(owner).or_default().push(resident);
        }
    }
    let owners: BTreeSet<&NodeId> = misplaced.keys().copied().collect();
    let owners = owners.into_iter().filter_map(|owner| view.member(owner));
    let asked = owners.map(|owner| async move { membership.alive(owner).await.then_some(&owner.node) });
    let alive: BTreeSet<&NodeId> = join_all(asked).await.into_iter().flatten().collect();
    silent.retain(|owner| misplaced.contains_key(owner) && !alive.contains(owner));
    for (owner, residents) in misplaced {
        if !alive.contains(owner) {
            if silent.insert(owner.clone()) {
                warn!(target = %owner, documents = residents.len(), "keep documents whose owner does not answer");
            }
            continue;
        }
        info!(target = %owner, documents = residents.len().min(LET_GO_AT_ONCE), "let documents go to their owner");
        for resident in residents.into_iter().take(LET_GO_AT_ONCE) {
            resident.stop.cancel();
            leaving.push((resident, Instant::now()));
        }
    }
}

/// Ends those that were let go long ago and still wait for the store.
fn abandon(leaving: &mut Vec<(Arc<Resident>, Instant)>, now: Instant) {
    leaving.retain(|(resident, since)| {
        let late = *since + LET_GO_TIMEOUT <= now;
        if late && !resident.ended.is_cancelled() {
            warn!(document = %resident.document, "abandon a document that does not flush");
            resident.abandon.cancel();
        }
        !late && !resident.ended.is_cancelled()
    });
}
