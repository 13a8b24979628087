//! What the processes tell each other of the ring, for those that cannot ask the coordinator.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ringleaf_ring::{ClusterId, Member, MemberState, Pins, RingView, VirtualNodes, Weight};
use ringleaf_types::{DocumentId, Incarnation, NodeId, RingVersion};
use tokio::sync::watch;

use crate::convert::node_in;
use crate::proto;

/// How many nodes are asked for their view at once. One would do, unless it stands still.
const ASKED_MAX: usize = 2;

/// A ring view, and which ringleaf cluster it is of: several can share one etcd, and so the versions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub struct ClusterView {
    pub cluster: Arc<str>,
    pub view: Arc<RingView>,
}

/// What the links of a process share.
pub(crate) struct Rings {
    /// The version that frames from here carry.
    known: AtomicU64,
    view: Mutex<Option<ClusterView>>,
    /// The highest version that any node has told.
    pub(crate) heard: watch::Sender<RingVersion>,
    /// The newest view that a node has told when it was asked.
    pub(crate) told: watch::Sender<Option<ClusterView>>,
    /// How often nodes were asked.
    rounds: AtomicUsize,
}

impl Rings {
    pub(crate) fn new() -> Self {
        Self {
            known: AtomicU64::default(),
            view: Mutex::default(),
            heard: watch::Sender::default(),
            told: watch::Sender::default(),
            rounds: AtomicUsize::default(),
        }
    }

    pub(crate) fn known(&self) -> RingVersion {
        RingVersion::new(self.known.load(Ordering::Acquire))
    }

    pub(crate) fn set_known(&self, version: RingVersion) {
        self.known.fetch_max(version.get(), Ordering::AcqRel);
    }

    pub(crate) fn set_view(&self, view: ClusterView) {
        self.set_known(view.view.version());
        *self.view.lock().expect("no holder of this lock panics") = Some(view);
    }

    pub(crate) fn view(&self) -> Option<ClusterView> {
        self.view.lock().expect("no holder of this lock panics").clone()
    }

    /// Those of so many who know something newer that are asked this time: a few, and other ones each time.
    pub(crate) fn turns(&self, of: usize) -> impl Iterator<Item = usize> {
        let first = self.rounds.fetch_add(1, Ordering::Relaxed).wrapping_mul(ASKED_MAX);
        (0..of.min(ASKED_MAX)).map(move |turn| first.wrapping_add(turn) % of)
    }

    /// A node has told its view. Nothing comes of one that is known already, or makes no sense here.
    pub(crate) fn tell(&self, told: proto::RingView) {
        let version = RingVersion::new(told.version);
        let there = |last: &ClusterView| {
            last.view.cluster().get() == told.etcd
                && last.view.version() >= version
                && *last.cluster == *told.cluster
        };
        // Order: before it is built. Several nodes may tell the same, and a big ring takes a while.
        if version <= self.known() || self.told.borrow().as_ref().is_some_and(there) {
            return;
        }
        if let Some(view) = view_in(told) {
            self.told.send_replace(Some(view));
        }
    }

    pub(crate) fn hear(&self, ring: RingVersion) {
        self.heard.send_if_modified(|highest| {
            let higher = ring > *highest;
            *highest = ring.max(*highest);
            higher
        });
    }
}

/// What is answered to somebody who knows this version.
pub(crate) fn news(view: Option<ClusterView>, known: RingVersion) -> Option<proto::RingView> {
    let ClusterView { cluster, view } = view.filter(|known_here| known_here.view.version() > known)?;
    Some(proto::RingView {
        cluster: cluster.as_ref().to_owned(),
        etcd: view.cluster().get(),
        version: view.version().get(),
        virtual_nodes_per_weight: view.virtual_nodes().get(),
        members: view.members().iter().map(member_out).collect(),
        pins: view.pins().iter().map(pin_out).collect(),
    })
}

fn pin_out((document, node): (&DocumentId, &NodeId)) -> (String, String) {
    (document.as_str().to_owned(), node.as_str().to_owned())
}

fn member_out(member: &Member) -> proto::Member {
    let state = match member.state {
        MemberState::Joining => proto::MemberState::Joining,
        MemberState::Serving => proto::MemberState::Serving,
        MemberState::Draining => proto::MemberState::Draining,
    };
    proto::Member {
        node: member.node.as_str().to_owned(),
        incarnation: member.incarnation.get(),
        state: state.into(),
        weight: member.weight.get(),
        address: member.address.clone(),
        zone: member.zone.clone(),
        version: member.version.clone(),
    }
}

/// `None`: it makes no sense here. It may be of a newer version, so that the link goes on.
pub(crate) fn view_in(told: proto::RingView) -> Option<ClusterView> {
    let members: Option<Vec<Member>> = told.members.into_iter().map(member_in).collect();
    let (cluster, version) = (ClusterId::new(told.etcd), RingVersion::new(told.version));
    let virtual_nodes = VirtualNodes::new(told.virtual_nodes_per_weight).ok()?;
    let pins: Option<Pins> = told
        .pins
        .into_iter()
        .map(|(document, node)| Some((document.parse().ok()?, node.parse().ok()?)))
        .collect();
    let view = RingView::with_virtual_nodes(cluster, version, virtual_nodes, members?).ok()?;
    Some(ClusterView { cluster: told.cluster.into(), view: Arc::new(view.pinned(version, pins?)) })
}

fn member_in(told: proto::Member) -> Option<Member> {
    let state = match told.state() {
        proto::MemberState::Joining => MemberState::Joining,
        proto::MemberState::Serving => MemberState::Serving,
        proto::MemberState::Draining => MemberState::Draining,
        proto::MemberState::Unspecified => return None,
    };
    Some(Member {
        node: node_in(&told.node).ok()?,
        incarnation: Incarnation::new(told.incarnation),
        state,
        weight: Weight::new(told.weight).ok()?,
        address: told.address,
        zone: told.zone,
        version: told.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(version: u64) -> proto::RingView {
        let view = RingView::of_one("a".parse().unwrap());
        let known = view.pinned(RingVersion::new(version), Pins::default());
        let known = ClusterView { cluster: "tests".into(), view: Arc::new(known) };
        news(Some(known), RingVersion::default()).unwrap()
    }

    #[test]
    fn what_is_known_already_is_not_built_again() {
        let rings = Rings::new();
        let version = || rings.told.borrow().as_ref().map(|told| told.view.version().get());
        rings.set_known(RingVersion::new(9));
        rings.tell(told(9));
        assert_eq!(version(), None, "it is no news");
        rings.tell(told(12));
        let heard = rings.told.subscribe();
        for old in [12, 11] {
            rings.tell(told(old));
        }
        assert!(!heard.has_changed().unwrap());
        rings.tell(proto::RingView { version: 13, members: Vec::new(), ..told(12) });
        assert_eq!(version(), Some(12), "what makes no sense changes nothing");
        rings.tell(told(13));
        assert_eq!(version(), Some(13));
    }

    #[test]
    fn a_few_are_asked_at_a_time_and_others_the_next_time() {
        let rings = Rings::new();
        let asked: Vec<Vec<usize>> = (0..3).map(|_| rings.turns(3).collect()).collect();
        assert_eq!(asked, [[0, 1], [2, 0], [1, 2]]);
        assert_eq!(rings.turns(1).collect::<Vec<_>>(), [0]);
        assert_eq!(rings.turns(0).count(), 0);
    }
}
