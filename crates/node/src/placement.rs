//! Who hosts a document that somebody opens at this node, as far as the ring and past duels say. Pure.
//!
//! `membership` asks the others and carries it out. It is public for the simulation in `tests`, which does so too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringleaf_ring::{Member, RingView};
use ringleaf_types::{DocumentId, NodeId};
use ringleaf_wire::Opening;

/// How long a document is not claimed again after another node has claimed it: doubling, with jitter. Whoever asks is sent
/// to that node meanwhile, and comes back at once if it is dead or has let go.
const HOLD_OFF_FIRST: Duration = Duration::from_secs(2);
const HOLD_OFF_DOUBLINGS_MAX: u32 = 4;
/// Limit: the same when nobody knows who has claimed it. Whoever asks can only be told to wait, whether that node lives or
/// not, and a crash must not cost more than two seconds.
const HOLD_OFF_UNKNOWN: Duration = Duration::from_secs(1);
/// Two claims that are further apart are no duel.
const DUEL_TIMEOUT: Duration = Duration::from_mins(1);

/// What an opening comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    Moved(NodeId),
    /// Somebody else has it, and it is not known who.
    Wait,
    /// It is served here unless one of these lives.
    Probe(Vec<Member>),
}

/// The documents that other nodes have claimed, though this one had them or wanted them.
#[derive(Debug, Default)]
pub struct HoldOffs {
    documents: BTreeMap<DocumentId, HeldOff>,
}

#[derive(Debug, Clone)]
struct HeldOff {
    by: Option<NodeId>,
    until: Instant,
    times: u32,
}

impl HoldOffs {
    /// Another node has claimed the document. `part` is drawn from ½ to 1.
    pub fn lost_claim(&mut self, document: &DocumentId, by: Option<NodeId>, now: Instant, part: f64) {
        let duel = self.documents.get(document).filter(|before| before.goes_on(now));
        let times = duel.map_or(0, |before| before.times + 1);
        let longest = match by {
            Some(_) => HOLD_OFF_FIRST * 2_u32.pow(times.min(HOLD_OFF_DOUBLINGS_MAX)),
            None => HOLD_OFF_UNKNOWN,
        };
        let until = now + longest.mul_f64(part);
        self.documents.insert(document.clone(), HeldOff { by, until, times });
    }

    /// Whether this node keeps away from the document now, and for whom, if that is known.
    pub fn keeps_away(&self, document: &DocumentId, now: Instant) -> Option<Option<NodeId>> {
        self.documents
            .get(document)
            .filter(|held_off| held_off.until > now)
            .map(|held_off| held_off.by.clone())
    }

    /// This node was told so by the winner itself: it has let go. Whoever loses again soon keeps away for longer all the same.
    pub fn denied(&mut self, document: &DocumentId, winner: &NodeId, now: Instant) {
        let kept = self.documents.get_mut(document).filter(|held_off| held_off.by.as_ref() == Some(winner));
        if let Some(held_off) = kept {
            held_off.until = held_off.until.min(now);
        }
    }

    /// The document is given to this node: there is no duel.
    pub fn welcome(&mut self, document: &DocumentId) {
        self.documents.remove(document);
    }

    pub fn forget_old_duels(&mut self, now: Instant) {
        self.documents.retain(|_, held_off| held_off.goes_on(now));
    }
}

impl HeldOff {
    fn goes_on(&self, now: Instant) -> bool {
        self.until + DUEL_TIMEOUT > now
    }
}

/// What an opening comes to at `this` node. `claimed`: its claim is the newest in the log, as far as it knows.
/// `keeps_away`: see [`HoldOffs::keeps_away`].
pub fn verdict(
    view: &RingView,
    this: &NodeId,
    opening: &Opening,
    claimed: bool,
    keeps_away: Option<&Option<NodeId>>,
) -> Verdict {
    if claimed {
        return Verdict::Serve;
    }
    let reachable = |node: &NodeId| !opening.unreachable.contains(node);
    let mut first: Vec<&NodeId> =
        view.candidates(&opening.document).take_while(|node| *node != this).collect();
    match keeps_away {
        None => {}
        Some(None) => return Verdict::Wait,
        // An earlier run of this node: nobody to keep away for.
        Some(Some(winner)) if winner == this => {}
        // It has let go again.
        Some(Some(winner)) if opening.denied.contains(winner) => {}
        Some(Some(winner)) => first = vec![winner],
    }
    if let Some(other) = first.iter().find(|node| reachable(node)) {
        return Verdict::Moved((*other).clone());
    }
    let others: Vec<Member> = first.into_iter().filter_map(|node| view.member(node)).cloned().collect();
    if others.is_empty() { Verdict::Serve } else { Verdict::Probe(others) }
}

#[cfg(test)]
mod tests {
    use ringleaf_ring::{ClusterId, MemberState, Weight};
    use ringleaf_types::{Incarnation, RingVersion, RouterId};

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

    #[test]
    fn who_loses_again_soon_keeps_away_for_longer_and_who_loses_much_later_does_not() {
        let (mut hold_offs, notes) = (HoldOffs::default(), "notes".parse().unwrap());
        let start = Instant::now();
        let mut kept_away = |now: Instant| {
            hold_offs.lost_claim(&notes, Some("b".parse().unwrap()), now, 1.0);
            (1..).find(|second| hold_offs.keeps_away(&notes, now + Duration::from_secs(*second)).is_none())
        };
        assert_eq!([kept_away(start), kept_away(start), kept_away(start)], [Some(2), Some(4), Some(8)]);
        assert_eq!(kept_away(start + Duration::from_secs(8) + DUEL_TIMEOUT), Some(2));
    }

    #[test]
    fn who_is_told_by_the_winner_that_it_has_let_go_keeps_away_no_longer() {
        let (mut hold_offs, now) = (HoldOffs::default(), Instant::now());
        let (notes, b): (DocumentId, NodeId) = ("notes".parse().unwrap(), "b".parse().unwrap());
        hold_offs.lost_claim(&notes, Some(b.clone()), now, 1.0);
        hold_offs.denied(&notes, &"c".parse().unwrap(), now);
        assert_eq!(hold_offs.keeps_away(&notes, now), Some(Some(b.clone())), "c did not win");
        hold_offs.denied(&notes, &b, now);
        assert_eq!(hold_offs.keeps_away(&notes, now), None);
        // The duel is not forgotten.
        hold_offs.lost_claim(&notes, Some(b.clone()), now, 1.0);
        assert_eq!(hold_offs.keeps_away(&notes, now + HOLD_OFF_FIRST), Some(Some(b)));
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
    fn whoever_cannot_say_who_has_a_document_does_not_keep_others_waiting_for_long() {
        let (mut hold_offs, mut now) = (HoldOffs::default(), Instant::now());
        let notes: DocumentId = "notes".parse().unwrap();
        for _ in 0..10 {
            hold_offs.lost_claim(&notes, None, now, 1.0);
            assert_eq!(hold_offs.keeps_away(&notes, now), Some(None));
            now += HOLD_OFF_UNKNOWN;
            assert_eq!(hold_offs.keeps_away(&notes, now), None);
        }
        // For a node that is known it is longer each time: nobody waits for that.
        let winner: NodeId = "b".parse().unwrap();
        hold_offs.lost_claim(&notes, Some(winner.clone()), now, 1.0);
        assert_eq!(hold_offs.keeps_away(&notes, now + HOLD_OFF_FIRST * 15), Some(Some(winner)));
    }

    #[test]
    fn a_node_that_lost_its_claim_names_the_winner_and_does_not_duel() {
        let view = view(&["a", "b", "c"]);
        let order: Vec<&NodeId> = view.candidates(&"notes".parse().unwrap()).collect();
        let won = Some(order[2].clone());
        assert_eq!(
            verdict(&view, order[0], &opening(&[]), false, Some(&won)),
            Verdict::Moved(order[2].clone())
        );
        let winner = view.member(order[2]).unwrap().clone();
        assert_eq!(
            verdict(&view, order[0], &opening(&[order[2]]), false, Some(&won)),
            Verdict::Probe(vec![winner])
        );
        assert_eq!(verdict(&view, order[0], &opening(&[]), false, Some(&None)), Verdict::Wait);
        let let_go = Opening { denied: vec![order[2].clone()], ..opening(&[]) };
        assert_eq!(verdict(&view, order[0], &let_go, false, Some(&won)), Verdict::Serve);
        let by_itself = Some(order[0].clone());
        assert_eq!(verdict(&view, order[0], &opening(&[]), false, Some(&by_itself)), Verdict::Serve);
    }
}
