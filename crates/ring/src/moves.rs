//! What changes hands when one view follows another.

use std::collections::BTreeMap;

use ringleaf_types::NodeId;

use crate::token::Token;
use crate::view::{RingView, VirtualNode, part_of_circle};

/// A part of the circle that changes hands: the documents whose tokens lie after `after`, up to and with `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Where it begins; this token is not in it.
    pub after: Token,
    /// Where it ends; this token is in it. Not greater than `after`: it goes over the end of the circle.
    pub through: Token,
    /// Whose it was.
    pub from: &'a NodeId,
    /// Whose it is.
    pub to: &'a NodeId,
}

impl Part<'_> {
    /// How much of the circle it is, from 0 to 1.
    pub fn share(&self) -> f64 {
        part_of_circle(self.through.since(self.after))
    }

    /// Whether a document with this token changes hands with it.
    pub fn contains(&self, token: Token) -> bool {
        token.since(self.after) <= self.through.since(self.after)
    }
}

/// All that changes hands between two views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Moves<'a> {
    /// The parts, in ascending order of their ends. No two neighbors have the same nodes.
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// How much of all documents moves, from 0 to 1.
    pub fn share(&self) -> f64 {
        part_of_circle(self.parts.iter().map(|part| part.through.since(part.after)).sum())
    }

    /// How much of all documents moves from whom to whom, from 0 to 1, sorted by name.
    pub fn between(&self) -> BTreeMap<(&'a NodeId, &'a NodeId), f64> {
        let mut lengths: BTreeMap<_, u128> = BTreeMap::new();
        for part in &self.parts {
            *lengths.entry((part.from, part.to)).or_default() += part.through.since(part.after);
        }
        lengths.into_iter().map(|(nodes, length)| (nodes, part_of_circle(length))).collect()
    }
}

/// Compares two views. A node is the same node if it has the same name.
///
/// One pass over the tokens of both.
pub fn moves<'a>(before: &'a RingView, after: &'a RingView) -> Moves<'a> {
    let (old, new) = (before.points(), after.points());
    let last = |points: &[VirtualNode]| points.last().expect("a ring view has virtual nodes").token;
    let mut behind = last(old).max(last(new));
    let (mut at_old, mut at_new) = (0, 0);
    let mut parts: Vec<Part<'a>> = Vec::new();
    while at_old < old.len() || at_new < new.len() {
        // What lies behind the last token belongs to the first one.
        let (left, right) = (&old[at_old % old.len()], &new[at_new % new.len()]);
        let ahead = [old.get(at_old), new.get(at_new)].into_iter().flatten().map(|point| point.token);
        let through = ahead.min().expect("one of them is not at its end");
        let part = Part { after: behind, through, from: before.node(left), to: after.node(right) };
        if part.from != part.to {
            match parts.last_mut() {
                Some(last) if (last.through, last.from, last.to) == (part.after, part.from, part.to) => {
                    last.through = through;
                }
                _ => parts.push(part),
            }
        }
        behind = through;
        at_old += usize::from(old.get(at_old).is_some_and(|point| point.token == through));
        at_new += usize::from(new.get(at_new).is_some_and(|point| point.token == through));
    }
    Moves { parts }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringleaf_types::{DocumentId, Incarnation, RingVersion};

    use super::*;
    use crate::{ClusterId, Member, MemberState, VirtualNodes, Weight};

    fn ring(members: &[(&str, u32)], virtual_nodes: u32) -> RingView {
        let member = |(node, weight): &(&str, u32)| Member {
            node: node.parse().unwrap(),
            incarnation: Incarnation::new(7),
            state: MemberState::Serving,
            weight: Weight::new(*weight).unwrap(),
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        };
        let virtual_nodes = VirtualNodes::new(virtual_nodes).unwrap();
        let members = members.iter().map(member).collect();
        RingView::with_virtual_nodes(ClusterId::new(9), RingVersion::new(4), virtual_nodes, members).unwrap()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn nothing_moves_between_equal_views() {
        let view = ring(&[("a", 1), ("b", 2)], 128);
        assert_eq!(moves(&view, &view), Moves { parts: Vec::new() });
        assert_eq!(moves(&view, &view).share(), 0.0);
    }

    #[test]
    fn everything_moves_from_one_node_to_another() {
        let (a, b) = (ring(&[("a", 1)], 1), ring(&[("b", 1)], 1));
        let moved = moves(&a, &b);
        assert!(close(moved.share(), 1.0), "{moved:?}");
        assert_eq!(moved.between().len(), 1);
    }

    /// I16, the second half, on the whole circle.
    #[test]
    fn a_new_member_takes_its_share_and_moves_nothing_between_the_others() {
        let (before, after) = (ring(&[("a", 1), ("b", 2), ("c", 1)], 128), {
            ring(&[("a", 1), ("b", 2), ("c", 1), ("d", 2)], 128)
        });
        let d = "d".parse().unwrap();
        let moved = moves(&before, &after);
        assert!(moved.parts().iter().all(|part| *part.to == d && *part.from != d));
        assert!(close(moved.share(), after.share(&d)), "{}", moved.share());
        // And back again.
        assert!(close(moves(&after, &before).share(), moved.share()));
    }

    #[test]
    fn a_greater_weight_takes_from_the_others_what_it_adds() {
        let (before, after) = (ring(&[("a", 1), ("b", 1)], 128), ring(&[("a", 1), ("b", 2)], 128));
        let b = "b".parse().unwrap();
        let moved = moves(&before, &after);
        assert!(moved.parts().iter().all(|part| *part.to == b));
        assert!(close(moved.share(), after.share(&b) - before.share(&b)));
    }

    fn members() -> impl Strategy<Value = (BTreeMap<String, u32>, u32)> {
        (proptest::collection::btree_map("[a-f]", 1_u32..4, 1..6), 1_u32..20)
    }

    fn view((members, virtual_nodes): &(BTreeMap<String, u32>, u32)) -> RingView {
        let members: Vec<(&str, u32)> =
            members.iter().map(|(node, weight)| (node.as_str(), *weight)).collect();
        ring(&members, *virtual_nodes)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_moves_are_what_two_lookups_say(
            before in members(),
            after in members(),
            names in proptest::collection::vec("[a-z]{1,12}", 40),
        ) {
            let (before, after) = (view(&before), view(&after));
            let moved = moves(&before, &after);
            for name in names {
                let document: DocumentId = name.parse().unwrap();
                let token = Token::of_document(&document);
                let found: Vec<&Part<'_>> = moved.parts().iter().filter(|part| part.contains(token)).collect();
                let (was, is) = (before.owner(&document), after.owner(&document));
                match found.as_slice() {
                    [] => prop_assert_eq!(was, is),
                    [part] => prop_assert!((part.from, part.to) == (was, is) && was != is),
                    more => prop_assert!(false, "{:?} overlap", more),
                }
            }
        }

        #[test]
        fn what_each_node_gains_and_loses_makes_its_new_share(before in members(), after in members()) {
            let (before, after) = (view(&before), view(&after));
            let between = moves(&before, &after).between();
            for node in ["a", "b", "c", "d", "e", "f"] {
                let node: NodeId = node.parse().unwrap();
                let gained: f64 = between.iter().filter(|((_, to), _)| **to == node).map(|(_, share)| share).sum();
                let lost: f64 = between.iter().filter(|((from, _), _)| **from == node).map(|(_, share)| share).sum();
                prop_assert!(close(before.share(&node) + gained - lost, after.share(&node)), "{}", node);
            }
        }
    }
}
