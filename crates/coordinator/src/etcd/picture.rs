//! What the facts in etcd make of the ring view. Pure: it decides, and has no clock and no connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringleaf_ring::{ClusterId, Member, MemberState, RingView, Weight};
use ringleaf_types::{NodeId, RingVersion};

/// What stands in etcd at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    members: BTreeMap<NodeId, Member>,
    /// Members that an operator wants off the ring.
    cordons: BTreeSet<NodeId>,
    /// Weights that an operator set, in place of those that the members say of themselves.
    weights: BTreeMap<NodeId, Weight>,
}

/// One fact that changed. `None` and `false`: it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Member(NodeId, Option<Member>),
    Cordon(NodeId, bool),
    Weight(NodeId, Option<Weight>),
}

impl Facts {
    pub(crate) fn take(&mut self, change: Change) {
        match change {
            Change::Member(node, Some(member)) => drop(self.members.insert(node, member)),
            Change::Member(node, None) => drop(self.members.remove(&node)),
            Change::Cordon(node, true) => drop(self.cordons.insert(node)),
            Change::Cordon(node, false) => drop(self.cordons.remove(&node)),
            Change::Weight(node, Some(weight)) => drop(self.weights.insert(node, weight)),
            Change::Weight(node, None) => drop(self.weights.remove(&node)),
        }
    }
}

/// What follows from news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, for the ring.
    Same,
    /// This is the view from now on.
    View(Arc<RingView>),
    /// The news are older than what was acted on already. They were not taken.
    Older,
}

/// The newest that is known, and what was made of it.
///
/// Invariant: versions of one etcd cluster only grow, and the members of a view are those that stood in etcd at its
/// version, plus those that the shrink guard keeps.
#[derive(Debug)]
pub(crate) struct Picture {
    /// For how long vanishing members count as vanishing together.
    window: Duration,
    /// The revision through which everything is known.
    seen: u64,
    facts: Facts,
    /// Members that are gone from etcd, but so many at once that it takes more than that to believe it.
    doubted: BTreeMap<NodeId, Member>,
    /// When members that were on the ring went, within the window.
    gone: Vec<(Instant, NodeId)>,
    view: Option<Arc<RingView>>,
}

impl Picture {
    /// Starts from the last view of an earlier run, if there is one.
    pub(crate) fn new(window: Duration, cached: Option<Arc<RingView>>) -> Self {
        let members = cached.iter().flat_map(|view| view.members());
        let members = members.map(|member| (member.node.clone(), member.clone())).collect();
        Self {
            window,
            seen: cached.as_ref().map_or(0, |view| view.version().get()),
            facts: Facts { members, ..Facts::default() },
            doubted: BTreeMap::new(),
            gone: Vec::new(),
            view: cached,
        }
    }

    /// Everything up to this version is known.
    pub(crate) fn knows(&self, version: RingVersion) -> bool {
        version.get() <= self.seen
    }

    /// The members whose end is not believed yet. Whoever probed them says so with [`probed`](Self::probed).
    pub(crate) fn doubted(&self) -> Vec<Member> {
        self.doubted.values().cloned().collect()
    }

    /// All facts at a revision.
    pub(crate) fn listed(
        &mut self,
        cluster: ClusterId,
        revision: u64,
        facts: Facts,
        now: Instant,
    ) -> Verdict {
        // Versions of different clusters do not compare: an etcd that was set up anew starts from one again.
        let same = self.view.as_ref().is_none_or(|view| view.cluster() == cluster);
        if same && revision < self.seen {
            return Verdict::Older;
        }
        self.replace(cluster, revision, facts, now)
    }

    /// Some facts changed at a revision.
    pub(crate) fn changed(
        &mut self,
        cluster: ClusterId,
        revision: u64,
        changes: Vec<Change>,
        now: Instant,
    ) -> Verdict {
        if revision <= self.seen {
            // Told again, as after a watch that began where a list ended.
            return Verdict::Same;
        }
        let mut facts = self.facts.clone();
        changes.into_iter().for_each(|change| facts.take(change));
        self.replace(cluster, revision, facts, now)
    }

    /// The doubted members have been asked; these do not answer. The others stay until they are back in etcd or are
    /// asked again.
    pub(crate) fn probed(&mut self, cluster: ClusterId, dead: &[NodeId]) -> Verdict {
        for node in dead {
            self.doubted.remove(node);
        }
        self.publish(cluster)
    }

    fn replace(&mut self, cluster: ClusterId, revision: u64, facts: Facts, now: Instant) -> Verdict {
        let before = std::mem::replace(&mut self.facts, facts);
        self.seen = revision;
        let facts = &self.facts;
        self.doubted.retain(|node, _| !facts.members.contains_key(node));
        // A member that drained has left in order; nobody need wonder where it is.
        let vanished: Vec<Member> = before
            .members
            .into_values()
            .filter(|member| {
                member.state == MemberState::Serving && !facts.members.contains_key(&member.node)
            })
            .collect();
        let window = self.window;
        self.gone.retain(|(at, node)| {
            now.saturating_duration_since(*at) < window && !facts.members.contains_key(node)
        });
        self.gone.extend(vanished.iter().map(|member| (now, member.node.clone())));
        if too_many(self.gone.len(), facts.members.len()) {
            self.doubted.extend(vanished.into_iter().map(|member| (member.node.clone(), member)));
        }
        self.publish(cluster)
    }

    /// Makes the view of what is known, if it differs from the last one.
    fn publish(&mut self, cluster: ClusterId) -> Verdict {
        let facts = &self.facts;
        let members = facts.members.values().chain(self.doubted.values()).cloned().map(|mut member| {
            if facts.cordons.contains(&member.node) && member.state == MemberState::Serving {
                member.state = MemberState::Draining;
            }
            member.weight = facts.weights.get(&member.node).copied().unwrap_or(member.weight);
            member
        });
        // A ring of nobody is none: whoever has an older view keeps it.
        let Ok(view) = RingView::new(cluster, RingVersion::new(self.seen), members.collect()) else {
            return Verdict::Same;
        };
        let known =
            |last: &Arc<RingView>| last.cluster() == view.cluster() && last.members() == view.members();
        if self.view.as_ref().is_some_and(known) {
            return Verdict::Same;
        }
        let view = Arc::new(view);
        self.view = Some(view.clone());
        Verdict::View(view)
    }
}

/// The shrink guard's threshold: at least two, and more than a third of those that there were.
fn too_many(gone: usize, left: usize) -> bool {
    gone >= 2 && gone * 3 > gone + left
}
