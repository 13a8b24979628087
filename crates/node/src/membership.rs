//! What this node should own, and what it does about a document that it should not.
//!
//! ```text
//! a router opens ──▶ verdict ──▶ serve            the ring names this node, or its claim is in the log
//!                            ──▶ moved            another node comes first, and the router can reach it
//!                            ──▶ probe ──▶ relay  one that comes first lives, though the router cannot reach it
//!                                      ──▶ serve  all that come first are dead: the log decides
//! the ring changes, every second ──▶ residents that others should own, and who live ──▶ flushed, let go
//! ```
//!
//! The ring says who should own a document, the log says who may. A wrong verdict here costs time, never data: whoever
//! claims in the log later wins, and the other one is fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use ringleaf_coordinator::Coordinator;
use ringleaf_ring::{Member, RingView};
use ringleaf_types::{DocumentId, NodeId, RingVersion};
use ringleaf_wire::{OpenError, Opening, Peers, SessionHost};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::registry::Resident;
use crate::shared::Shared;

/// How long a node may take to say that it lives. It is asked twice.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for a ring version that somebody else has seen.
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);
/// How often what is wanted is compared with what there is, also without news.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(1);
/// Limit: documents that are let go at once. Each flushes and is opened elsewhere; a second later come the next.
const LET_GO_AT_ONCE: usize = 500;
/// How long a document is not claimed again after another node has claimed it: doubling, with jitter.
const HOLD_OFF_FIRST: Duration = Duration::from_secs(2);
const HOLD_OFF_DOUBLINGS_MAX: u32 = 4;
/// Two claims that are further apart are no duel.
const DUEL_TIMEOUT: Duration = Duration::from_mins(1);

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
    held_off: Mutex<BTreeMap<DocumentId, HeldOff>>,
}

/// Another node has claimed a document that this one had, or wanted.
#[derive(Debug, Clone)]
struct HeldOff {
    by: Option<NodeId>,
    until: Instant,
    times: u32,
}

/// What an opening comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Serve,
    Moved(NodeId),
    /// Somebody else has it, and it is not known who.
    Wait,
    /// It is served here unless one of these lives.
    Probe(Vec<Member>),
}

impl Membership {
    pub(crate) fn new(this: NodeId, cluster: Cluster) -> Self {
        Self { this, cluster, held_off: Mutex::default() }
    }

    /// Another node has claimed the document.
    pub(crate) fn lost_claim(&self, document: &DocumentId, by: Option<NodeId>, now: Instant) {
        let mut held_off = self.held_off.lock().expect("no holder of this lock panics");
        let times = held_off.get(document).map_or(0, |before| before.times + 1);
        let longest = HOLD_OFF_FIRST * 2_u32.pow(times.min(HOLD_OFF_DOUBLINGS_MAX));
        let until = now + longest.mul_f64(rand::random_range(0.5..1.0));
        held_off.insert(document.clone(), HeldOff { by, until, times });
    }

    /// Whether this node keeps away from the document, and for whom.
    fn held_off(&self, document: &DocumentId, now: Instant) -> Option<HeldOff> {
        let held_off = self.held_off.lock().expect("no holder of this lock panics");
        held_off.get(document).filter(|held_off| held_off.until > now).cloned()
    }

    fn forget_old_duels(&self, now: Instant) {
        let mut held_off = self.held_off.lock().expect("no holder of this lock panics");
        held_off.retain(|_, held_off| held_off.until + DUEL_TIMEOUT > now);
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
        let held_off = self.held_off(&opening.document, Instant::now());
        match verdict(&view, &self.this, opening, claimed, held_off.as_ref()) {
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
        let mut ring = self.cluster.coordinator.ring();
        let known = ring.borrow().clone();
        if known.as_ref().is_some_and(|view| view.version() >= version) {
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

fn verdict(
    view: &RingView,
    this: &NodeId,
    opening: &Opening,
    claimed: bool,
    held_off: Option<&HeldOff>,
) -> Verdict {
    if claimed {
        return Verdict::Serve;
    }
    let reachable = |node: &NodeId| !opening.unreachable.contains(node);
    let mut first: Vec<&NodeId> =
        view.candidates(&opening.document).take_while(|node| *node != this).collect();
    match held_off.map(|held_off| &held_off.by) {
        None => {}
        Some(None) => return Verdict::Wait,
        // An earlier run of this node: nobody to keep away for.
        Some(Some(winner)) if winner == this => {}
        Some(Some(winner)) => first = vec![winner],
    }
    if let Some(other) = first.iter().find(|node| reachable(node)) {
        return Verdict::Moved((*other).clone());
    }
    let others: Vec<Member> = first.into_iter().filter_map(|node| view.member(node)).cloned().collect();
    if others.is_empty() { Verdict::Serve } else { Verdict::Probe(others) }
}

/// Lets go of what others should own, for as long as the node lives.
pub(crate) async fn run(shared: Weak<Shared>) {
    let Some(mut ring) = ring(&shared) else { return };
    let mut silent = BTreeSet::new();
    loop {
        // News, or time: both times everything is compared.
        if let Ok(Err(_stopped)) = timeout(RECONCILE_INTERVAL, ring.changed()).await {
            return;
        }
        let Some(shared) = shared.upgrade() else { return };
        reconcile(&shared, &mut silent).await;
    }
}

fn ring(shared: &Weak<Shared>) -> Option<ringleaf_coordinator::Ring> {
    Some(shared.upgrade()?.membership.as_ref()?.cluster.coordinator.ring())
}

/// `silent` are the owners that did not answer the last time: that is said once.
async fn reconcile(shared: &Shared, silent: &mut BTreeSet<NodeId>) {
    let Some(membership) = &shared.membership else { return };
    membership.forget_old_duels(Instant::now());
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
        for resident in residents.iter().take(LET_GO_AT_ONCE) {
            resident.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use ringleaf_ring::{ClusterId, MemberState, Weight};
    use ringleaf_types::{Incarnation, RouterId};

    use super::*;

    fn view(nodes: &[&str]) -> RingView {
        let member = |node: &&str| Member {
            node: node.parse().unwrap(),
            incarnation: Incarnation::new(1),
            state: MemberState::Serving,
            weight: Weight::ONE,
            address: format!("{node}:1236"),
            zone: String::new(),
            version: String::new(),
        };
        RingView::new(ClusterId::new(1), RingVersion::new(3), nodes.iter().map(member).collect()).unwrap()
    }

    fn opening(unreachable: &[&NodeId]) -> Opening {
        let unreachable = unreachable.iter().map(|node| (*node).clone()).collect();
        Opening { unreachable, ..Opening::new("notes".parse().unwrap(), RouterId::new(1)) }
    }

    fn held_off(by: Option<&NodeId>) -> HeldOff {
        HeldOff { by: by.cloned(), until: Instant::now(), times: 0 }
    }

    #[test]
    fn the_owner_serves_and_others_say_who_does() {
        let view = view(&["a", "b", "c"]);
        let order: Vec<&NodeId> = view.candidates(&"notes".parse().unwrap()).collect();
        let asked = |node| verdict(&view, node, &opening(&[]), false, None);
        assert_eq!(asked(order[0]), Verdict::Serve);
        assert_eq!(asked(order[1]), Verdict::Moved(order[0].clone()));
        assert_eq!(asked(order[2]), Verdict::Moved(order[0].clone()));
        assert_eq!(asked(&"stranger".parse().unwrap()), Verdict::Moved(order[0].clone()));
    }

    #[test]
    fn whoever_cannot_be_reached_is_probed_by_the_next() {
        let view = view(&["a", "b", "c"]);
        let order: Vec<&NodeId> = view.candidates(&"notes".parse().unwrap()).collect();
        let probed = |node: &NodeId| view.member(node).unwrap().clone();
        let first_is_away = opening(&[order[0]]);
        assert_eq!(
            verdict(&view, order[1], &first_is_away, false, None),
            Verdict::Probe(vec![probed(order[0])])
        );
        assert_eq!(verdict(&view, order[2], &first_is_away, false, None), Verdict::Moved(order[1].clone()));
        let both_are = opening(&[order[0], order[1]]);
        assert_eq!(
            verdict(&view, order[2], &both_are, false, None),
            Verdict::Probe(vec![probed(order[0]), probed(order[1])])
        );
    }

    #[test]
    fn a_claim_in_the_log_outweighs_the_ring() {
        let view = view(&["a", "b", "c"]);
        let order: Vec<&NodeId> = view.candidates(&"notes".parse().unwrap()).collect();
        assert_eq!(verdict(&view, order[2], &opening(&[]), true, None), Verdict::Serve);
    }

    #[test]
    fn a_node_that_lost_its_claim_names_the_winner_and_does_not_duel() {
        let view = view(&["a", "b", "c"]);
        let order: Vec<&NodeId> = view.candidates(&"notes".parse().unwrap()).collect();
        let won = held_off(Some(order[2]));
        assert_eq!(
            verdict(&view, order[0], &opening(&[]), false, Some(&won)),
            Verdict::Moved(order[2].clone())
        );
        let winner = view.member(order[2]).unwrap().clone();
        assert_eq!(
            verdict(&view, order[0], &opening(&[order[2]]), false, Some(&won)),
            Verdict::Probe(vec![winner])
        );
        assert_eq!(verdict(&view, order[0], &opening(&[]), false, Some(&held_off(None))), Verdict::Wait);
        let by_itself = held_off(Some(order[0]));
        assert_eq!(verdict(&view, order[0], &opening(&[]), false, Some(&by_itself)), Verdict::Serve);
    }
}
