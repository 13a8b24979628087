//! An immutable picture of the ring.

use std::fmt;
use std::sync::Arc;

use hashring::HashRing;
use ringleaf_types::{DocumentId, Incarnation, NodeId, RingVersion};

use crate::member::{Member, MemberState, VirtualNodes, Weight};
use crate::pins::Pins;
use crate::token::{AsIs, Token};

/// Which coordinator a ring version belongs to. Versions of different clusters do not compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterId(u64);

impl ClusterId {
    /// The ring of one, which has no coordinator outside its process.
    pub const EMBEDDED: Self = Self(0);

    /// The id that the coordinator gives itself.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The id as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Why there is no ring of these members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Somebody must own every document, so a ring is never empty. Whoever has an older view keeps it.
    #[error("no member is serving")]
    NobodyServes,
    /// Two members have the same name.
    #[error("node {node} is listed twice")]
    Duplicate {
        /// The name.
        node: NodeId,
    },
}

/// Who should own what, at one version. Immutable; equal members give equal owners everywhere.
///
/// Only [`MemberState::Serving`] members are on the ring, and at least one is.
pub struct RingView {
    cluster: ClusterId,
    version: RingVersion,
    /// For each unit of weight.
    virtual_nodes: VirtualNodes,
    /// Sorted by name.
    members: Vec<Member>,
    circle: Arc<Circle>,
    pins: Pins,
}

/// The points of a view. It follows from the members, and takes a while to build.
struct Circle {
    /// Every virtual node, sorted by token. No token occurs twice.
    tokens: Vec<VirtualNode>,
    /// Finds the one that follows a document's token. It holds nothing but tokens: to find one in `tokens` costs less than
    /// to get a million places from the system at every change.
    ring: HashRing<Token, AsIs>,
}

/// One of a member's points on the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VirtualNode {
    pub(crate) token: Token,
    /// Its place in `members`. Ties of tokens go to the lower one, that is, to the member whose name sorts first.
    pub(crate) member: usize,
}

/// What a view holds for each of its points, in bytes.
pub(crate) const POINT_BYTES: u64 = (size_of::<VirtualNode>() + size_of::<Token>() + size_of::<u64>()) as u64;

/// A length on the circle, from 0 to 1.
pub(crate) fn part_of_circle(length: u128) -> f64 {
    length as f64 / 18_446_744_073_709_551_616.0 // 2^64
}

impl RingView {
    /// Places the members that serve on the ring, with as many virtual nodes as there are unless somebody says otherwise.
    pub fn new(cluster: ClusterId, version: RingVersion, members: Vec<Member>) -> Result<Self, RingError> {
        Self::with_virtual_nodes(cluster, version, VirtualNodes::default(), members)
    }

    /// Places the members that serve on the ring, with so many virtual nodes for each unit of their weight.
    pub fn with_virtual_nodes(
        cluster: ClusterId,
        version: RingVersion,
        virtual_nodes: VirtualNodes,
        mut members: Vec<Member>,
    ) -> Result<Self, RingError> {
        members.sort_by(|a, b| a.node.cmp(&b.node));
        if let Some(twice) = members.windows(2).find(|pair| pair[0].node == pair[1].node) {
            return Err(RingError::Duplicate { node: twice[0].node.clone() });
        }
        let mut tokens = points(&members, virtual_nodes);
        if tokens.is_empty() {
            return Err(RingError::NobodyServes);
        }
        sort(&mut tokens);
        let mut ring = HashRing::with_hasher(AsIs::default());
        ring.batch_add(tokens.iter().map(|point| point.token).collect());
        let circle = Arc::new(Circle { tokens, ring });
        Ok(Self { cluster, version, virtual_nodes, members, circle, pins: Pins::default() })
    }

    /// The same members with these pins, at this version. The circle is not built again.
    pub fn pinned(&self, version: RingVersion, pins: Pins) -> Self {
        Self {
            cluster: self.cluster,
            version,
            virtual_nodes: self.virtual_nodes,
            members: self.members.clone(),
            circle: Arc::clone(&self.circle),
            pins,
        }
    }

    /// The ring of one: the only node owns everything.
    pub fn of_one(node: NodeId) -> Self {
        let only = Member {
            node,
            incarnation: Incarnation::default(),
            state: MemberState::Serving,
            weight: Weight::ONE,
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        };
        Self::new(ClusterId::EMBEDDED, RingVersion::new(1), vec![only]).expect("one member serves")
    }

    /// The coordinator whose facts these are.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The coordinator's revision at which the picture was taken.
    pub fn version(&self) -> RingVersion {
        self.version
    }

    /// Points on the ring for each unit of a member's weight.
    pub fn virtual_nodes(&self) -> VirtualNodes {
        self.virtual_nodes
    }

    /// All points on the ring in ascending order, and whose they are. What lies after one, up to and with the next, is
    /// owned by the next one's node.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (Token, &NodeId)> {
        self.circle.tokens.iter().map(|point| (point.token, self.node(point)))
    }

    /// All members, sorted by name, also those that are not on the ring.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this name.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.binary_search_by(|member| member.node.cmp(node)).ok().map(|at| &self.members[at])
    }

    /// Which documents are pinned, also those whose node does not serve.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The node that the document is pinned to, if that one serves: it owns the document.
    pub fn pin(&self, document: &DocumentId) -> Option<&NodeId> {
        self.pinned_to(document).map(|at| &self.members[at].node)
    }

    /// Who should own the document: the node that it is pinned to if that one serves, else who comes next on the circle.
    pub fn owner(&self, document: &DocumentId) -> &NodeId {
        let by_ring = || self.circle.tokens[self.position(document)].member;
        &self.members[self.pinned_to(document).unwrap_or_else(by_ring)].node
    }

    /// All members on the ring, each once, in the order in which they would own the document if those before them
    /// were gone. The first is the owner, the second its successor.
    pub fn candidates(&self, document: &DocumentId) -> Candidates<'_> {
        Candidates {
            view: self,
            first: self.pinned_to(document),
            next: self.position(document),
            left: self.circle.tokens.len(),
            met: vec![false; self.members.len()],
        }
    }

    /// Which part of all documents each member should own, from 0 to 1, in the order of [`members`](Self::members).
    /// They add up to 1. Pinned documents are counted where they would be without their pins.
    pub fn shares(&self) -> impl ExactSizeIterator<Item = (&Member, f64)> {
        let mut owned = vec![0_u128; self.members.len()];
        let tokens = &self.circle.tokens;
        let mut after = tokens.last().expect("a ring view has virtual nodes").token;
        for point in tokens {
            owned[point.member] += point.token.since(after);
            after = point.token;
        }
        self.members.iter().zip(owned).map(|(member, owned)| (member, part_of_circle(owned)))
    }

    /// Which part of all documents the member should own. Whoever wants those of all members asks for
    /// [`shares`](Self::shares).
    pub fn share(&self, node: &NodeId) -> f64 {
        self.shares().find(|(member, _)| member.node == *node).map_or(0.0, |(_, share)| share)
    }

    pub(crate) fn points(&self) -> &[VirtualNode] {
        &self.circle.tokens
    }

    pub(crate) fn node(&self, point: &VirtualNode) -> &NodeId {
        &self.members[point.member].node
    }

    /// The place in `members` of the node that the document is pinned to, if it serves.
    fn pinned_to(&self, document: &DocumentId) -> Option<usize> {
        let node = self.pins.get(document)?;
        let at = self.members.binary_search_by(|member| member.node.cmp(node)).ok()?;
        (self.members[at].state == MemberState::Serving).then_some(at)
    }

    /// The place in `tokens` of the virtual node that follows the document's token.
    fn position(&self, document: &DocumentId) -> usize {
        let Circle { tokens, ring } = &*self.circle;
        let next = ring.get(&Token::of_document(document)).expect("a ring view has virtual nodes");
        tokens.binary_search_by_key(next, |point| point.token).expect("the ring has these tokens")
    }
}

/// Every virtual node of those that serve, as they come.
fn points(members: &[Member], virtual_nodes: VirtualNodes) -> Vec<VirtualNode> {
    let serving = || members.iter().enumerate().filter(|(_, member)| member.state == MemberState::Serving);
    let count = |member: &Member| member.weight.virtual_nodes(virtual_nodes);
    // In a cluster of a thousand nodes there are a million: one allocation, and a plain loop.
    let mut points = Vec::with_capacity(serving().map(|(_, member)| count(member) as usize).sum());
    for (at, member) in serving() {
        let tokens = Token::of_virtual_nodes(&member.node, 0..count(member));
        points.extend(tokens.map(|token| VirtualNode { token, member: at }));
    }
    points
}

/// In the order of the circle. A binary search may stop at any of several equal tokens, so only one of them stays: that of
/// the member whose name sorts first.
fn sort(points: &mut Vec<VirtualNode>) {
    points.sort_unstable_by_key(|point| point.token.get());
    points.dedup_by(|next, kept| {
        let same = next.token == kept.token;
        if same {
            kept.member = kept.member.min(next.member);
        }
        same
    });
}

impl PartialEq for RingView {
    fn eq(&self, other: &Self) -> bool {
        // The tokens follow from the members and from how many each has.
        (self.cluster, self.version, self.virtual_nodes)
            == (other.cluster, other.version, other.virtual_nodes)
            && self.members == other.members
            && self.pins == other.pins
    }
}

impl Eq for RingView {}

impl fmt::Debug for RingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingView")
            .field("cluster", &self.cluster)
            .field("version", &self.version)
            .field("virtual_nodes", &self.virtual_nodes)
            .field("members", &self.members)
            .field("tokens", &self.circle.tokens.len())
            .field("pins", &self.pins.len())
            .finish_non_exhaustive()
    }
}

/// The members on the ring in the order of [`RingView::candidates`].
#[derive(Debug, Clone)]
pub struct Candidates<'a> {
    view: &'a RingView,
    /// The node that the document is pinned to, until it was told.
    first: Option<usize>,
    next: usize,
    left: usize,
    met: Vec<bool>,
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a NodeId;

    fn next(&mut self) -> Option<&'a NodeId> {
        if let Some(pinned) = self.first.take() {
            self.met[pinned] = true;
            return Some(&self.view.members[pinned].node);
        }
        let tokens = &self.view.circle.tokens;
        while self.left > 0 {
            let member = tokens[self.next].member;
            self.left -= 1;
            self.next = (self.next + 1) % tokens.len();
            if !std::mem::replace(&mut self.met[member], true) {
                return Some(&self.view.members[member].node);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn member(node: &str, weight: u32, state: MemberState) -> Member {
        Member {
            node: node.parse().unwrap(),
            incarnation: Incarnation::new(7),
            state,
            weight: Weight::new(weight).unwrap(),
            address: format!("{node}:1236"),
            zone: String::new(),
            version: String::new(),
        }
    }

    fn ring(members: Vec<Member>) -> RingView {
        RingView::new(ClusterId::new(9), RingVersion::new(4), members).unwrap()
    }

    fn serving(nodes: &[&str]) -> RingView {
        ring(nodes.iter().map(|node| member(node, 1, MemberState::Serving)).collect())
    }

    fn document(index: usize) -> DocumentId {
        format!("document-{index}").parse().unwrap()
    }

    fn load(view: &RingView, documents: usize) -> BTreeMap<NodeId, usize> {
        let mut load = BTreeMap::new();
        for index in 0..documents {
            *load.entry(view.owner(&document(index)).clone()).or_default() += 1;
        }
        load
    }

    #[test]
    fn owners_are_pinned() {
        let view = serving(&["a", "b", "c"]);
        let owners: String = (0..40).map(|index| view.owner(&document(index)).as_str()).collect();
        assert_eq!(owners, "bcabacbcccabaacbcbaccbbabcbabcbabbaabcaa");
        let order: Vec<&str> = view.candidates(&document(0)).map(NodeId::as_str).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn owners_follow_from_the_number_of_virtual_nodes_and_are_pinned_for_another() {
        let members: Vec<Member> = ["a", "b", "c"].map(|node| member(node, 1, MemberState::Serving)).into();
        let make = |virtual_nodes, members| {
            let virtual_nodes = VirtualNodes::new(virtual_nodes).unwrap();
            RingView::with_virtual_nodes(ClusterId::new(9), RingVersion::new(4), virtual_nodes, members)
                .unwrap()
        };
        let view = make(1_024, members.clone());
        let owners: String = (0..40).map(|index| view.owner(&document(index)).as_str()).collect();
        assert_eq!(owners, "cbbabbacacacabbacaccacbbccbcbabbabaabbab");
        assert_eq!(view.tokens().len(), 3_072);
        assert_ne!(view, ring(members.clone()));
        assert_eq!(make(128, members.clone()), ring(members));
    }

    #[test]
    fn the_only_node_owns_everything() {
        let view = RingView::of_one("only".parse().unwrap());
        assert_eq!(view.owner(&document(1)).as_str(), "only");
        assert_eq!(view.candidates(&document(1)).count(), 1);
        assert_eq!(view.share(&"only".parse().unwrap()), 1.0);
        assert_eq!(view.share(&"other".parse().unwrap()), 0.0);
    }

    #[test]
    fn only_serving_members_are_on_the_ring() {
        let view = ring(vec![
            member("joins", 1, MemberState::Joining),
            member("drains", 1, MemberState::Draining),
            member("serves", 1, MemberState::Serving),
        ]);
        assert_eq!(view.owner(&document(1)).as_str(), "serves");
        assert_eq!(view.candidates(&document(1)).count(), 1);
        assert_eq!(view.members().len(), 3);
        assert_eq!(view.share(&"drains".parse().unwrap()), 0.0);
    }

    #[test]
    fn a_ring_is_never_empty_and_never_ambiguous() {
        let make = |members| RingView::new(ClusterId::EMBEDDED, RingVersion::new(1), members).map(|_| ());
        assert_eq!(make(vec![]), Err(RingError::NobodyServes));
        assert_eq!(make(vec![member("a", 1, MemberState::Joining)]), Err(RingError::NobodyServes));
        let twice = vec![member("a", 1, MemberState::Serving), member("a", 2, MemberState::Joining)];
        assert_eq!(make(twice), Err(RingError::Duplicate { node: "a".parse().unwrap() }));
    }

    #[test]
    fn the_load_is_even() {
        let nodes: Vec<String> = (0..50).map(|index| format!("node-{index}")).collect();
        let view = serving(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
        let load = load(&view, 100_000);
        let most = *load.values().max().unwrap() as f64 / 2_000.0;
        assert!(most <= 1.25, "the fullest of 50 nodes has {most} times its part");
    }

    #[test]
    fn the_share_is_what_a_member_really_owns() {
        let view = ring(vec![
            member("small", 1, MemberState::Serving),
            member("big", 3, MemberState::Serving),
            member("gone", 8, MemberState::Draining),
        ]);
        let load = load(&view, 50_000);
        for (node, count) in &load {
            let (share, seen) = (view.share(node), *count as f64 / 50_000.0);
            assert!(
                (share - seen).abs() < 0.01,
                "{node} has {share} of the circle and {seen} of the documents"
            );
        }
        let big = view.share(&"big".parse().unwrap());
        assert!((0.65..0.85).contains(&big), "three quarters, about: {big}");
    }

    #[test]
    fn of_equal_tokens_the_one_of_the_first_member_stays() {
        let point = |name: &str, member| {
            let token = Token::of_document(&name.parse().unwrap());
            VirtualNode { token, member }
        };
        let mut points = vec![point("b", 3), point("a", 2), point("b", 1), point("a", 0), point("b", 2)];
        sort(&mut points);
        let mut expected = vec![point("a", 0), point("b", 1)];
        expected.sort_by_key(|point| point.token);
        assert_eq!(points, expected);
    }

    /// I16, the second half.
    #[test]
    fn a_new_member_takes_from_the_others_and_moves_nothing_between_them() {
        let before = serving(&["a", "b", "c"]);
        let after = serving(&["a", "b", "c", "d"]);
        let mut moved = 0;
        for index in 0..20_000 {
            let (was, is) = (before.owner(&document(index)), after.owner(&document(index)));
            if was != is {
                assert_eq!(is.as_str(), "d");
                moved += 1;
            }
        }
        let share = after.share(&"d".parse().unwrap());
        assert!((f64::from(moved) / 20_000.0 - share).abs() < 0.01, "{moved} moved");
    }

    #[test]
    fn a_changed_weight_only_adds_or_takes_away_virtual_nodes() {
        let before = ring(vec![member("a", 1, MemberState::Serving), member("b", 1, MemberState::Serving)]);
        let after = ring(vec![member("a", 1, MemberState::Serving), member("b", 2, MemberState::Serving)]);
        for index in 0..5_000 {
            if before.owner(&document(index)).as_str() == "b" {
                assert_eq!(after.owner(&document(index)).as_str(), "b");
            }
        }
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let state = prop_oneof![
            1 => Just(MemberState::Joining),
            3 => Just(MemberState::Serving),
            1 => Just(MemberState::Draining)
        ];
        proptest::collection::btree_map("[a-z0-9.-]{1,8}", (1_u32..4, state), 1..12).prop_map(|members| {
            members.iter().map(|(node, (weight, state))| member(node, *weight, *state)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// I16, the first half.
        #[test]
        fn equal_views_give_equal_owners_however_their_members_were_listed(
            (listed, shuffled) in members().prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
            names in proptest::collection::vec("\\PC{1,20}", 1..20),
        ) {
            let version = RingVersion::new(1);
            let view = RingView::new(ClusterId::EMBEDDED, version, listed);
            let other = RingView::new(ClusterId::EMBEDDED, version, shuffled);
            prop_assert_eq!(&view, &other);
            if let (Ok(view), Ok(other)) = (view, other) {
                for document in names.iter().filter_map(|name| name.parse().ok()) {
                    prop_assert_eq!(view.owner(&document), other.owner(&document));
                    prop_assert!(view.candidates(&document).eq(other.candidates(&document)));
                }
            }
        }

        #[test]
        fn the_candidates_are_all_that_serve_each_once_and_the_owner_leads(members in members(), name in "\\PC{1,20}") {
            let Ok(document) = name.parse::<DocumentId>() else { return Ok(()) };
            let Ok(view) = RingView::new(ClusterId::EMBEDDED, RingVersion::new(1), members) else { return Ok(()) };
            let candidates: Vec<&NodeId> = view.candidates(&document).collect();
            prop_assert_eq!(candidates[0], view.owner(&document));
            let mut sorted = candidates.clone();
            sorted.sort();
            let serving: Vec<&NodeId> = view
                .members()
                .iter()
                .filter(|member| member.state == MemberState::Serving)
                .map(|member| &member.node)
                .collect();
            prop_assert_eq!(sorted, serving);
        }

        /// Losing the owner makes the successor the owner.
        #[test]
        fn without_its_owner_a_document_goes_to_the_successor(members in members(), name in "\\PC{1,20}") {
            let Ok(document) = name.parse::<DocumentId>() else { return Ok(()) };
            let Ok(view) = RingView::new(ClusterId::EMBEDDED, RingVersion::new(1), members.clone()) else { return Ok(()) };
            let owner = view.owner(&document).clone();
            let Some(successor) = view.candidates(&document).nth(1) else { return Ok(()) };
            let rest = members.into_iter().filter(|member| member.node != owner).collect();
            let without = RingView::new(ClusterId::EMBEDDED, RingVersion::new(2), rest).unwrap();
            prop_assert_eq!(without.owner(&document), successor);
        }

        #[test]
        fn the_shares_add_up(members in members()) {
            let Ok(view) = RingView::new(ClusterId::EMBEDDED, RingVersion::new(1), members) else { return Ok(()) };
            let sum: f64 = view.members().iter().map(|member| view.share(&member.node)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    }
}
