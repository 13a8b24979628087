//! What the facts in etcd make of the ring view. Pure: it decides, and has no clock and no connection. It is public for the
//! simulation in `tests`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringleaf_ring::{ClusterId, Member, MemberState, Pins, RingView, VirtualNodes, Weight};
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{DocumentId, NodeId, RingVersion};

use super::operator::Orders;

/// What stands in etcd at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    members: BTreeMap<NodeId, Member>,
    /// Members that an operator wants off the ring.
    cordons: BTreeSet<NodeId>,
    /// Weights that an operator set, in place of those that the members say of themselves.
    weights: BTreeMap<NodeId, Weight>,
    /// Documents that an operator gave to a node.
    pins: Pins,
    /// What the ring configuration says, if there is one.
    virtual_nodes: Option<VirtualNodes>,
}

/// One fact that changed. `None` and `false`: it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Member(NodeId, Option<Member>),
    Cordon(NodeId, bool),
    Weight(NodeId, Option<Weight>),
    Pin(DocumentId, Option<NodeId>),
    VirtualNodes(Option<VirtualNodes>),
}

impl Facts {
    /// Those that make this view.
    fn of(view: &RingView) -> Self {
        let members = view.members().iter().map(|member| (member.node.clone(), member.clone())).collect();
        let (virtual_nodes, pins) = (Some(view.virtual_nodes()), view.pins().clone());
        Self { members, virtual_nodes, pins, ..Self::default() }
    }

    pub(crate) fn orders(self) -> Orders {
        Orders { cordoned: self.cordons, weights: self.weights }
    }

    pub fn take(&mut self, change: Change) {
        match change {
            Change::Member(node, Some(member)) => drop(self.members.insert(node, member)),
            Change::Member(node, None) => drop(self.members.remove(&node)),
            Change::Cordon(node, true) => drop(self.cordons.insert(node)),
            Change::Cordon(node, false) => drop(self.cordons.remove(&node)),
            Change::Weight(node, Some(weight)) => drop(self.weights.insert(node, weight)),
            Change::Weight(node, None) => drop(self.weights.remove(&node)),
            Change::Pin(document, node) => self.pins.set(document, node),
            Change::VirtualNodes(virtual_nodes) => self.virtual_nodes = virtual_nodes,
        }
    }
}

/// What follows from news.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, for the ring.
    Same,
    /// This is the view from now on.
    View(Arc<RingView>),
    /// The ring changes without a change in etcd, which every version stands for: write something there.
    Touch,
    /// The news are older than what was acted on already. They were not taken.
    Older,
}

/// The newest that is known, and what was made of it.
///
/// Invariant: versions of one etcd cluster only grow. The members of a view are those that stood in etcd at its version,
/// plus those that the shrink guard keeps; their virtual nodes are as many and their pins are those that etcd said at that
/// version.
#[derive(Debug)]
pub struct Picture {
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
    pub fn new(window: Duration, cached: Option<Arc<RingView>>) -> Self {
        Self {
            window,
            seen: cached.as_ref().map_or(0, |view| view.version().get()),
            facts: cached.as_deref().map(Facts::of).unwrap_or_default(),
            doubted: BTreeMap::new(),
            gone: Vec::new(),
            view: cached,
        }
    }

    /// Changes for how long vanishing members count as vanishing together.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// Everything up to this version is known.
    pub fn knows(&self, version: RingVersion) -> bool {
        version.get() <= self.seen
    }

    /// The version up to which everything is known. No view need have it.
    pub fn seen(&self) -> RingVersion {
        RingVersion::new(self.seen)
    }

    /// The members whose end is not believed yet. Whoever probed them says so with [`probed`](Self::probed).
    pub fn doubted(&self) -> Vec<Member> {
        self.doubted.values().cloned().collect()
    }

    /// All facts at a revision.
    pub fn listed(&mut self, cluster: ClusterId, revision: u64, facts: Facts, now: Instant) -> Verdict {
        // Versions of different clusters do not compare: an etcd that was set up anew starts from one again.
        let same = self.view.as_ref().is_none_or(|view| view.cluster() == cluster);
        if same && revision < self.seen && !faults::active(Fault::ViewBackwards) {
            return Verdict::Older;
        }
        self.replace(cluster, revision, facts, now)
    }

    /// Some facts changed at a revision.
    pub fn changed(
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

    /// Another process's view, while etcd cannot be asked. It counts only if it is newer than everything that is known;
    /// without a view of our own there is nothing to compare it with. Its members are as operators' orders have made them
    /// already.
    pub fn told(&mut self, view: &RingView, now: Instant) -> Verdict {
        let same = self.view.as_ref().is_some_and(|ours| ours.cluster() == view.cluster());
        if !same || view.version().get() <= self.seen {
            return Verdict::Older;
        }
        self.replace(view.cluster(), view.version().get(), Facts::of(view), now)
    }

    /// The doubted members have been asked; these do not answer. The others stay until they are back in etcd or are
    /// asked again.
    pub fn probed(&mut self, cluster: ClusterId, dead: &[NodeId]) -> Verdict {
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
        let mut members: Vec<Member> = members.collect();
        members.sort_by(|a, b| a.node.cmp(&b.node));
        let virtual_nodes = facts.virtual_nodes.unwrap_or_default();
        // Order: first what costs nothing. A big ring takes a while to build, and lists mostly say nothing new.
        let same_circle = |last: &&Arc<RingView>| {
            (last.cluster(), last.virtual_nodes()) == (cluster, virtual_nodes) && last.members() == members
        };
        let version = RingVersion::new(self.seen);
        let view = match self.view.as_ref().filter(same_circle) {
            Some(last) if *last.pins() == facts.pins => return Verdict::Same,
            Some(last) => last.pinned(version, facts.pins.clone()),
            None => match RingView::with_virtual_nodes(cluster, version, virtual_nodes, members) {
                Ok(view) => view.pinned(version, facts.pins.clone()),
                // A ring of nobody is none: whoever has an older view keeps it.
                Err(_) => return Verdict::Same,
            },
        };
        let at = |last: &Arc<RingView>| (last.cluster(), last.version()) == (view.cluster(), view.version());
        if self.view.as_ref().is_some_and(at) {
            return Verdict::Touch;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringleaf_types::Incarnation;

    use super::*;

    const ETCD: ClusterId = ClusterId::new(7);
    const WINDOW: Duration = Duration::from_secs(10);

    fn member(index: usize, state: MemberState) -> Member {
        Member {
            node: node(index),
            incarnation: Incarnation::new(1),
            state,
            weight: Weight::ONE,
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        }
    }

    fn node(index: usize) -> NodeId {
        format!("n{index}").parse().unwrap()
    }

    fn facts(members: impl IntoIterator<Item = usize>) -> Facts {
        let members = members.into_iter().map(|index| (node(index), member(index, MemberState::Serving)));
        Facts { members: members.collect(), ..Facts::default() }
    }

    /// One that has listed these members at revision 10.
    fn picture(members: usize, now: Instant) -> Picture {
        let mut picture = Picture::new(WINDOW, None);
        assert!(matches!(picture.listed(ETCD, 10, facts(0..members), now), Verdict::View(_)));
        picture
    }

    fn goes(index: usize) -> Vec<Change> {
        vec![Change::Member(node(index), None)]
    }

    fn names(picture: &Picture) -> Vec<String> {
        picture.view.iter().flat_map(|view| view.members()).map(|member| member.node.to_string()).collect()
    }

    #[test]
    fn a_lower_revision_of_the_same_etcd_is_not_acted_on() {
        let now = Instant::now();
        let mut picture = picture(3, now);
        assert_eq!(picture.listed(ETCD, 9, facts(0..1), now), Verdict::Older);
        assert_eq!(picture.changed(ETCD, 10, goes(0), now), Verdict::Same);
        assert_eq!(names(&picture), ["n0", "n1", "n2"]);
        let Verdict::View(view) = picture.listed(ClusterId::new(8), 2, facts(0..4), now) else {
            panic!("another etcd counts anew");
        };
        assert_eq!((view.cluster(), view.version()), (ClusterId::new(8), RingVersion::new(2)));
    }

    #[test]
    fn a_list_that_says_nothing_new_changes_no_version() {
        let now = Instant::now();
        let mut picture = picture(3, now);
        assert_eq!(picture.listed(ETCD, 20, facts(0..3), now), Verdict::Same);
        assert!(picture.knows(RingVersion::new(20)) && !picture.knows(RingVersion::new(21)));
        assert_eq!(picture.view.unwrap().version(), RingVersion::new(10));
    }

    #[test]
    fn one_of_three_may_vanish_and_two_of_three_are_doubted() {
        let now = Instant::now();
        let mut picture = picture(3, now);
        assert!(matches!(picture.changed(ETCD, 11, goes(0), now), Verdict::View(_)));
        assert_eq!(names(&picture), ["n1", "n2"]);
        assert_eq!(
            picture.changed(ETCD, 12, goes(1), now + WINDOW / 2),
            Verdict::Same,
            "it keeps the old view"
        );
        assert_eq!(picture.doubted(), [member(1, MemberState::Serving)]);
        assert_eq!(picture.probed(ETCD, &[]), Verdict::Same, "whoever answers stays");
        assert!(matches!(picture.probed(ETCD, &[node(1)]), Verdict::View(_)));
        assert_eq!(names(&picture), ["n2"]);
    }

    #[test]
    fn two_views_never_have_one_version() {
        let now = Instant::now();
        let mut picture = picture(4, now);
        let both = [goes(0), goes(1), vec![Change::Cordon(node(2), true)]].concat();
        assert!(matches!(picture.changed(ETCD, 11, both, now), Verdict::View(_)));
        assert_eq!(picture.probed(ETCD, &[node(0), node(1)]), Verdict::Touch);
        assert_eq!(names(&picture).len(), 4);
        assert!(matches!(picture.changed(ETCD, 12, vec![], now), Verdict::View(_)));
        assert_eq!(names(&picture), ["n2", "n3"]);
    }

    fn view(cluster: ClusterId, version: u64, members: impl IntoIterator<Item = usize>) -> RingView {
        let members = members.into_iter().map(|index| member(index, MemberState::Serving)).collect();
        RingView::new(cluster, RingVersion::new(version), members).unwrap()
    }

    #[test]
    fn what_another_process_says_counts_only_if_it_is_newer_and_of_the_same_etcd() {
        let now = Instant::now();
        assert_eq!(Picture::new(WINDOW, None).told(&view(ETCD, 11, 0..1), now), Verdict::Older);
        let mut picture = picture(3, now);
        for other in [view(ETCD, 10, 0..4), view(ETCD, 9, 0..4), view(ClusterId::new(8), 99, 0..4)] {
            assert_eq!(picture.told(&other, now), Verdict::Older);
        }
        let Verdict::View(taken) = picture.told(&view(ETCD, 12, 0..4), now) else { panic!("it is newer") };
        assert_eq!((taken.version().get(), taken.members().len()), (12, 4));
        assert_eq!(picture.listed(ETCD, 11, facts(0..3), now), Verdict::Older, "never backwards");
        assert!(matches!(picture.listed(ETCD, 13, facts(0..3), now), Verdict::View(_)), "etcd wins");
        assert_eq!(names(&picture), ["n0", "n1", "n2"]);
    }

    #[test]
    fn the_shrink_guard_holds_for_what_another_process_says() {
        let now = Instant::now();
        let mut picture = picture(3, now);
        assert_eq!(picture.told(&view(ETCD, 12, 0..1), now), Verdict::Same);
        assert_eq!(names(&picture), ["n0", "n1", "n2"]);
        assert_eq!(picture.doubted().len(), 2);
        assert_eq!(picture.listed(ETCD, 12, facts([0, 2]), now), Verdict::Same, "one of them is back");
        assert!(matches!(picture.probed(ETCD, &[node(1)]), Verdict::View(_)));
        assert_eq!(names(&picture), ["n0", "n2"]);
    }

    #[test]
    fn members_that_go_one_after_the_other_are_believed() {
        let mut now = Instant::now();
        let mut picture = picture(5, now);
        for index in 0..4 {
            now += WINDOW;
            let revision = 11 + u64::try_from(index).unwrap();
            assert!(matches!(picture.changed(ETCD, revision, goes(index), now), Verdict::View(_)));
        }
        assert_eq!(names(&picture), ["n4"]);
    }

    #[test]
    fn whoever_drained_is_not_doubted() {
        let now = Instant::now();
        let mut picture = picture(4, now);
        let drain = |index| Change::Member(node(index), Some(member(index, MemberState::Draining)));
        picture.changed(ETCD, 11, vec![drain(0), drain(1), drain(2)], now);
        let gone = [goes(0), goes(1), goes(2)].concat();
        assert!(matches!(picture.changed(ETCD, 12, gone, now), Verdict::View(_)));
        assert_eq!(names(&picture), ["n3"]);
    }

    #[test]
    fn the_last_view_stays_when_everybody_is_gone_and_comes_from_the_cache_at_first() {
        let now = Instant::now();
        let mut picture = picture(1, now);
        assert_eq!(picture.changed(ETCD, 11, goes(0), now), Verdict::Same);
        assert_eq!(names(&picture), ["n0"]);
        let mut next = Picture::new(WINDOW, picture.view.clone());
        assert_eq!(next.listed(ETCD, 9, facts(0..1), now), Verdict::Older, "the cache counts");
        assert_eq!(next.listed(ETCD, 12, facts(0..1), now), Verdict::Same);
    }

    #[test]
    fn operators_have_the_last_word_on_cordons_and_weights() {
        let now = Instant::now();
        let mut picture = picture(2, now);
        let three = Weight::new(3).unwrap();
        let set = vec![Change::Cordon(node(0), true), Change::Weight(node(1), Some(three))];
        let Verdict::View(view) = picture.changed(ETCD, 11, set, now) else { panic!("that is news") };
        assert_eq!(view.member(&node(0)).unwrap().state, MemberState::Draining);
        assert_eq!(view.member(&node(1)).unwrap().weight, three);
        let back = vec![Change::Cordon(node(0), false), Change::Weight(node(1), None)];
        let Verdict::View(view) = picture.changed(ETCD, 12, back, now) else { panic!("that is news") };
        assert_eq!(view.members(), [0, 1].map(|index| member(index, MemberState::Serving)));
    }

    #[test]
    fn virtual_nodes_are_as_many_as_etcd_says_at_the_version() {
        let now = Instant::now();
        let mut picture = picture(2, now);
        let set = |number: u32| vec![Change::VirtualNodes(Some(VirtualNodes::new(number).unwrap()))];
        let Verdict::View(view) = picture.changed(ETCD, 11, set(64), now) else { panic!("that is news") };
        assert_eq!((view.version().get(), view.virtual_nodes().get()), (11, 64));
        assert_eq!(picture.changed(ETCD, 12, set(64), now), Verdict::Same);
        let Verdict::View(view) = picture.changed(ETCD, 13, goes(0), now) else { panic!("that is news") };
        assert_eq!(view.virtual_nodes().get(), 64, "a change of members is none of the virtual nodes");
        let mut next = Picture::new(WINDOW, picture.view.clone());
        assert!(matches!(next.changed(ETCD, 14, vec![], now), Verdict::Same), "the cache knows them");
        let listed = Facts { virtual_nodes: set(64).iter().find_map(of), ..facts(1..2) };
        assert_eq!(next.listed(ETCD, 15, listed, now), Verdict::Same);
        let back = vec![Change::VirtualNodes(None)];
        let Verdict::View(view) = picture.changed(ETCD, 15, back, now) else { panic!("that is news") };
        assert_eq!(view.virtual_nodes(), VirtualNodes::default());
    }

    #[test]
    fn a_pin_makes_a_view_and_so_does_its_end() {
        let now = Instant::now();
        let notes: DocumentId = "notes/today".parse().unwrap();
        let pin = |to: Option<usize>| vec![Change::Pin(notes.clone(), to.map(node))];
        for to in 0..3 {
            let mut picture = picture(3, now);
            let by_ring = picture.view.as_ref().unwrap().owner(&notes).clone();
            let Verdict::View(view) = picture.changed(ETCD, 11, pin(Some(to)), now) else {
                panic!("that is news")
            };
            assert_eq!((view.version().get(), view.owner(&notes)), (11, &node(to)));
            assert_eq!(picture.changed(ETCD, 12, pin(Some(to)), now), Verdict::Same);
            let mut next = Picture::new(WINDOW, picture.view.clone());
            assert_eq!(next.changed(ETCD, 13, vec![], now), Verdict::Same, "the cache knows it");
            let Verdict::View(view) = picture.changed(ETCD, 13, goes(to), now) else { panic!("it is gone") };
            assert_eq!((view.pins().len(), view.pin(&notes)), (1, None), "the pin waits for its node");
            let back = [pin(None), vec![Change::Member(node(to), Some(member(to, MemberState::Serving)))]];
            let Verdict::View(view) = picture.changed(ETCD, 14, back.concat(), now) else {
                panic!("that is news")
            };
            assert_eq!((view.pins().len(), view.owner(&notes)), (0, &by_ring));
        }
    }

    fn of(change: &Change) -> Option<VirtualNodes> {
        match change {
            Change::VirtualNodes(virtual_nodes) => *virtual_nodes,
            Change::Member(..) | Change::Cordon(..) | Change::Weight(..) | Change::Pin(..) => None,
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Listed(Vec<usize>),
        Came(usize),
        Went(usize),
        Probed(Vec<usize>),
        Later,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let some = || proptest::collection::vec(0_usize..8, 0..8);
        let step = prop_oneof![
            1 => some().prop_map(Step::Listed),
            4 => (0_usize..8).prop_map(Step::Came),
            4 => (0_usize..8).prop_map(Step::Went),
            2 => some().prop_map(Step::Probed),
            1 => Just(Step::Later),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// I17, and that nobody who stands in etcd is missing from the ring.
        #[test]
        fn versions_only_grow_and_everybody_in_etcd_is_on_the_ring(steps in steps()) {
            let mut now = Instant::now();
            let mut picture = Picture::new(WINDOW, None);
            let mut etcd = facts(0..4);
            let (mut revision, mut newest) = (10, 0);
            picture.listed(ETCD, revision, etcd.clone(), now);
            for step in steps {
                revision += 1;
                let verdict = match step {
                    Step::Listed(members) => {
                        etcd = facts(members);
                        picture.listed(ETCD, revision, etcd.clone(), now)
                    }
                    Step::Came(index) => {
                        let change = Change::Member(node(index), Some(member(index, MemberState::Serving)));
                        etcd.take(change.clone());
                        picture.changed(ETCD, revision, vec![change], now)
                    }
                    Step::Went(index) => {
                        etcd.take(Change::Member(node(index), None));
                        picture.changed(ETCD, revision, goes(index), now)
                    }
                    Step::Probed(dead) => {
                        let dead: Vec<NodeId> = dead.into_iter().map(node).collect();
                        picture.probed(ETCD, &dead)
                    }
                    Step::Later => { now += WINDOW; Verdict::Same }
                };
                let verdict = if verdict == Verdict::Touch {
                    revision += 1;
                    picture.changed(ETCD, revision, vec![], now)
                } else {
                    verdict
                };
                if let Verdict::View(view) = verdict {
                    prop_assert!(view.version().get() > newest, "{} after {newest}", view.version());
                    newest = view.version().get();
                }
                if let Some(view) = &picture.view && !etcd.members.is_empty() {
                    for node in etcd.members.keys() {
                        prop_assert!(view.member(node).is_some(), "{node} is missing");
                    }
                    for member in view.members() {
                        let known = etcd.members.contains_key(&member.node);
                        prop_assert!(known || picture.doubted.contains_key(&member.node));
                    }
                }
            }
        }
    }
}
