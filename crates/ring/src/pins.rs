//! Documents that an operator gave to a node, whatever the circle says.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringleaf_types::{DocumentId, NodeId};

/// Limit: pins of one cluster. Each is in the memory of every process and in every view on disk: a name and a node, at most
/// about 600 bytes. Whoever needs more wants other weights. It is kept by whoever writes pins; who reads them reads all,
/// because equal facts must give equal views.
pub const PINS_MAX: usize = 1_000;

/// Which documents are pinned, and where. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    nodes: Arc<BTreeMap<DocumentId, NodeId>>,
}

impl Pins {
    /// Pins the document to the node, or ends that (`None`).
    pub fn set(&mut self, document: DocumentId, node: Option<NodeId>) {
        let nodes = Arc::make_mut(&mut self.nodes);
        match node {
            Some(node) => drop(nodes.insert(document, node)),
            None => drop(nodes.remove(&document)),
        }
    }

    /// The node that the document is pinned to. It may not serve, or not be a member.
    pub fn get(&self, document: &DocumentId) -> Option<&NodeId> {
        self.nodes.get(document)
    }

    /// All pins, in the order of the documents' names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&DocumentId, &NodeId)> {
        self.nodes.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl FromIterator<(DocumentId, NodeId)> for Pins {
    fn from_iter<I: IntoIterator<Item = (DocumentId, NodeId)>>(pins: I) -> Self {
        Self { nodes: Arc::new(pins.into_iter().collect()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringleaf_types::{Incarnation, RingVersion};

    use super::*;
    use crate::{Change, ClusterId, Member, MemberState, RingView, Weight, moves};

    const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn document(name: &str) -> DocumentId {
        name.parse().unwrap()
    }

    fn member(name: &str, state: MemberState) -> Member {
        Member {
            node: node(name),
            incarnation: Incarnation::new(7),
            state,
            weight: Weight::ONE,
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        }
    }

    fn view(members: Vec<Member>) -> RingView {
        RingView::new(ClusterId::new(9), RingVersion::new(4), members).unwrap()
    }

    fn order(view: &RingView, name: &str) -> Vec<String> {
        view.candidates(&document(name)).map(ToString::to_string).collect()
    }

    #[test]
    fn a_pinned_document_is_owned_by_its_node_and_the_others_follow_in_ring_order() {
        let free = view(NODES.map(|name| member(name, MemberState::Serving)).into());
        let before = order(&free, "notes");
        let pins = Pins::from_iter([(document("notes"), node(&before[3]))]);
        let pinned = free.pinned(RingVersion::new(5), pins.clone());
        let mut expected = before.clone();
        let first = expected.remove(3);
        expected.insert(0, first);
        assert_eq!(order(&pinned, "notes"), expected);
        assert_eq!(pinned.pin(&document("notes")), Some(&node(&before[3])));
        assert_eq!((pinned.version(), pinned.pins()), (RingVersion::new(5), &pins));
        assert_ne!(pinned, free);
        let mut none = pins;
        none.set(document("notes"), None);
        assert_eq!(order(&pinned.pinned(RingVersion::new(6), none), "notes"), before);
    }

    #[test]
    fn the_ring_decides_while_the_pinned_node_does_not_serve() {
        let pins = || Pins::from_iter([(document("notes"), node("e"))]);
        let members = |state| {
            let mut members: Vec<Member> =
                NODES[..4].iter().map(|name| member(name, MemberState::Serving)).collect();
            members.extend(state);
            view(members)
        };
        let without = members(None);
        for state in [None, Some(MemberState::Draining), Some(MemberState::Joining)] {
            let pinned = members(state.map(|state| member("e", state))).pinned(RingVersion::new(5), pins());
            assert_eq!(pinned.owner(&document("notes")), without.owner(&document("notes")));
            assert_eq!(pinned.pin(&document("notes")), None);
            assert_eq!(order(&pinned, "notes"), order(&without, "notes"));
        }
        let back = members(Some(member("e", MemberState::Serving))).pinned(RingVersion::new(6), pins());
        assert_eq!(back.owner(&document("notes")), &node("e"));
    }

    #[test]
    fn a_planned_view_has_the_same_pins() {
        let all = view(NODES.map(|name| member(name, MemberState::Serving)).into());
        let owner = order(&all, "notes")[4].clone();
        let pinned = all.pinned(RingVersion::new(5), Pins::from_iter([(document("notes"), node(&owner))]));
        let grown = pinned.planned(&[Change::Add { node: node("f"), weight: Weight::ONE }]).unwrap();
        assert_eq!(grown.owner(&document("notes")), &node(&owner));
        let without = pinned.planned(&[Change::Remove { node: node(&owner) }]).unwrap();
        assert_ne!(without.owner(&document("notes")), &node(&owner));
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let states = prop_oneof![
            4 => Just(MemberState::Serving),
            1 => Just(MemberState::Draining),
            1 => Just(MemberState::Joining)
        ];
        let subset = proptest::sample::subsequence(NODES.to_vec(), 1..=5);
        (subset, proptest::collection::vec(states, 5)).prop_map(|(names, states)| {
            let mut members: Vec<Member> =
                names.into_iter().zip(states).map(|(name, state)| member(name, state)).collect();
            members[0].state = MemberState::Serving;
            members
        })
    }

    fn some_pins() -> impl Strategy<Value = Pins> {
        proptest::collection::btree_map("[a-h]", proptest::sample::select(NODES.to_vec()), 0..8)
            .prop_map(|pins| pins.into_iter().map(|(name, to)| (document(&name), node(to))).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// I16 with pins: equal facts give equal owners, however the pins came to be.
        #[test]
        fn the_order_of_pinning_is_nothing_to_the_view(members in members(), pins in some_pins()) {
            let at_once = view(members.clone()).pinned(RingVersion::new(5), pins.clone());
            let mut one_by_one = Pins::default();
            for (name, to) in pins.iter().collect::<Vec<_>>().into_iter().rev() {
                one_by_one.set(name.clone(), Some(node("z")));
                one_by_one.set(name.clone(), Some(to.clone()));
            }
            prop_assert_eq!(&at_once, &view(members).pinned(RingVersion::new(5), one_by_one));
        }

        #[test]
        fn candidates_are_all_that_serve_each_once_and_the_owner_first(
            members in members(),
            pins in some_pins(),
            name in "[a-z]",
        ) {
            let pinned = view(members.clone()).pinned(RingVersion::new(5), pins);
            let order = order(&pinned, &name);
            prop_assert_eq!(&order[0], &pinned.owner(&document(&name)).to_string());
            let mut sorted = order.clone();
            sorted.sort();
            let serving = members.iter().filter(|member| member.state == MemberState::Serving);
            prop_assert_eq!(sorted, serving.map(|member| member.node.to_string()).collect::<Vec<_>>());
        }

        /// I16, the second half: pinning moves that document and no other, and nothing on the circle.
        #[test]
        fn a_pin_moves_no_other_document(members in members(), pins in some_pins(), name in "[a-z]") {
            let before = view(members);
            let after = before.pinned(RingVersion::new(5), pins.clone());
            let document = document(&name);
            if pins.get(&document).is_none() {
                prop_assert_eq!(before.owner(&document), after.owner(&document));
            }
            prop_assert_eq!(moves(&before, &after).parts().len(), 0);
        }
    }
}
