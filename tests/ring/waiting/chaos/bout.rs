//! Faults that overlap, and in which order they come: a seed says it all, whatever the clock does.

use std::time::Duration;

use harness::Network;

use super::fault::{Fault, Way};

/// Longer than a lease.
const AWAY_MAX: Duration = Duration::from_secs(8);
/// About how long what is ordered takes: the next fault begins while it is under way.
const ORDER_TYPICAL: Duration = Duration::from_secs(2);
/// The node that joins, and leaves.
pub(super) const FURTHER: &str = "n4";
/// So many cards are looked at for one that goes with what there is already.
const TRIES: usize = 4;

/// Faults that are there at the same time, at least for a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bout {
    /// Each begins so long after the first.
    pub(super) faults: Vec<(Duration, Fault)>,
    /// Documents must be served all the while.
    pub(super) serves: bool,
    /// Nothing is healed before everything was served in spite of it; otherwise it is healed in the middle of that.
    pub(super) holds: bool,
}

/// Whether everything must go on while these last, in its own time; otherwise they only must not lose anything.
fn must_serve(faults: &[(Duration, Fault)], nodes: &[String], routers: &[String]) -> bool {
    let all = || faults.iter().map(|(_, fault)| fault);
    let of_use = |name: &String| !all().any(|fault| fault.useless() == Some(name.as_str()));
    let store_away = all().any(|fault| matches!(fault, Fault::StoreAway { .. }));
    // Who lost the store says so in etcd, or is no longer in it; without etcd it keeps what others would take.
    let store_lost = all().any(|fault| matches!(fault, Fault::Cut { way: Way::Store, .. }));
    let etcd_lost =
        all().any(|fault| matches!(fault, Fault::Cut { way: Way::Etcd, .. } | Fault::EtcdAway { .. }));
    // Its sockets stay, so nobody goes elsewhere.
    let router_stopped =
        all().any(|fault| matches!(fault, Fault::Freeze { node, .. } if routers.contains(node)));
    let excused = store_away || router_stopped || (store_lost && etcd_lost);
    !excused && nodes.iter().any(of_use) && routers.iter().any(of_use)
}

type Card = fn(&mut Deck) -> Fault;

/// What there is. The second kill is no mistake.
const CARDS: [Card; 18] = [
    |deck| Fault::Kill { node: deck.node(), away: deck.span(AWAY_MAX / 2) },
    |deck| Fault::Kill { node: deck.node(), away: deck.span(AWAY_MAX / 2) },
    |deck| Fault::Freeze { node: deck.node(), away: deck.span(AWAY_MAX) },
    |deck| Fault::Freeze { node: deck.router(), away: deck.span(AWAY_MAX) },
    |deck| Fault::Restart { node: deck.node() },
    |deck| Fault::Drain { node: deck.node() },
    |deck| {
        let (node, there) = (FURTHER.to_owned(), deck.nodes.iter().any(|node| node == FURTHER));
        if there { Fault::Leave { node } } else { Fault::Join { node } }
    },
    |deck| Fault::Weight { node: deck.node(), weight: 1 + deck.below(4) },
    |deck| deck.cut(|_, _| Way::Etcd),
    |deck| deck.cut(|_, _| Way::Store),
    |deck| deck.cut(|_, _| Way::Others),
    |deck| deck.cut(|deck, _| Way::One(deck.router())),
    |deck| {
        deck.cut(|deck, node| {
            let others: Vec<_> = deck.nodes.iter().filter(|other| *other != node).cloned().collect();
            Way::One(deck.one(&others))
        })
    },
    |deck| Fault::KillRouter { router: deck.router(), away: deck.span(AWAY_MAX / 2) },
    |deck| Fault::RestartRouter { router: deck.router() },
    |deck| {
        let delay = Duration::from_millis(10) + deck.span(Duration::from_millis(190));
        let way = deck.one(&[Way::Store, Way::Store, Way::Etcd]);
        Fault::Slow { way, delay, away: deck.span(AWAY_MAX) }
    },
    |deck| Fault::EtcdAway { away: deck.span(AWAY_MAX), compacted: deck.below(2) == 0 },
    |deck| Fault::StoreAway { away: deck.span(AWAY_MAX / 4), signal: deck.one(&["INT", "QUIT"]) },
];

/// Deals faults. Each kind comes before any comes again, except that there are two kills.
#[derive(Debug)]
pub(super) struct Deck {
    random: u64,
    cards: Vec<Card>,
    nodes: Vec<String>,
    routers: Vec<String>,
    overlap: usize,
}

impl Deck {
    /// Up to so many faults at once.
    pub(super) fn new(seed: u64, nodes: Vec<String>, routers: Vec<String>, overlap: usize) -> Self {
        Self { random: seed, cards: Vec::new(), nodes, routers, overlap }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % limit
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn node(&mut self) -> String {
        self.one(&self.nodes.clone())
    }

    fn router(&mut self) -> String {
        self.one(&self.routers.clone())
    }

    fn cut(&mut self, way: impl FnOnce(&mut Self, &String) -> Way) -> Fault {
        let node = self.node();
        let way = way(self, &node);
        let network = self.one(&[Network::Cut, Network::BlackHole, Network::Deaf, Network::Mute]);
        Fault::Cut { node, way, network, away: self.span(AWAY_MAX) }
    }

    pub(super) fn span(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.below(1_000) as f64 / 1_000.0)
    }

    /// One that goes with those.
    fn beside(&mut self, those: &[(Duration, Fault)]) -> Option<Fault> {
        for _ in 0..TRIES {
            if self.cards.is_empty() {
                self.cards = CARDS.to_vec();
            }
            let drawn = self.below(self.cards.len());
            let fault = self.cards[drawn](self);
            if those.iter().any(|(_, other)| other.excludes(&fault)) {
                continue;
            }
            self.cards.swap_remove(drawn);
            match &fault {
                Fault::Join { node } => self.nodes.push(node.clone()),
                Fault::Leave { node } => self.nodes.retain(|known| known != node),
                _ => {}
            }
            return Some(fault);
        }
        None
    }

    pub(super) fn bout(&mut self) -> Bout {
        let nodes = self.nodes.clone();
        let mut faults: Vec<(Duration, Fault)> = Vec::new();
        while faults.len() < self.overlap {
            let lasts = faults
                .last()
                .map_or(Duration::ZERO, |(after, fault)| *after + fault.away().unwrap_or(ORDER_TYPICAL));
            let after = self.span(lasts);
            let Some(fault) = self.beside(&faults) else { break };
            faults.push((after, fault));
            // Some come alone.
            if self.below(4) == 0 {
                break;
            }
        }
        let serves = must_serve(&faults, &nodes, &self.routers);
        Bout { faults, serves, holds: self.below(2) == 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("{prefix}{number}")).collect()
    }

    fn play(seed: u64, overlap: usize) -> Vec<Bout> {
        let mut deck = Deck::new(seed, names("n", 3), names("r", 2), overlap);
        (0..40).map(|_| deck.bout()).collect()
    }

    #[test]
    fn a_seed_plays_the_same_faults_and_every_kind_of_them() {
        assert_eq!(play(7, 2), play(7, 2));
        assert_ne!(play(7, 2), play(8, 2));
        let faults = play(7, 2).into_iter().flat_map(|bout| bout.faults);
        let words: BTreeSet<_> = faults.map(|(_, fault)| fault.word()).collect();
        assert_eq!(words.len(), 13, "{words:?}");
    }

    #[test]
    fn so_many_overlap_and_none_that_exclude_each_other() {
        assert!(play(7, 1).iter().all(|bout| bout.faults.len() == 1));
        for bout in (0..50).flat_map(|seed| play(seed, 3)) {
            assert!((1..=3).contains(&bout.faults.len()));
            for (number, (_, fault)) in bout.faults.iter().enumerate() {
                let mut others = bout.faults[number + 1..].iter();
                assert!(
                    others.all(|(_, other)| !fault.excludes(other) && !other.excludes(fault)),
                    "{bout:?}"
                );
            }
        }
    }

    #[test]
    fn who_must_be_served_has_a_router_a_node_and_the_store() {
        let away = Duration::from_secs(1);
        let kill = |node: &str| Fault::Kill { node: node.into(), away };
        let kill_router = |router: &str| Fault::KillRouter { router: router.into(), away };
        let cut = |way| Fault::Cut { node: "n1".into(), way, network: Network::Cut, away };
        let etcd_away = Fault::EtcdAway { away, compacted: false };
        let store_away = Fault::StoreAway { away, signal: "INT" };
        let serves = |faults: &[Fault]| {
            let faults: Vec<_> = faults.iter().map(|fault| (Duration::ZERO, fault.clone())).collect();
            must_serve(&faults, &names("n", 3), &names("r", 2))
        };
        assert!(serves(&[kill("n1"), kill("n2")]));
        assert!(!serves(&[kill("n1"), kill("n2"), kill("n3")]));
        assert!(serves(&[kill("n1"), etcd_away.clone()]));
        assert!(!serves(&[kill("n1"), store_away]));
        assert!(serves(&[kill_router("r1"), cut(Way::One("r2".into()))]));
        assert!(!serves(&[kill_router("r1"), kill_router("r2")]));
        assert!(!serves(&[Fault::Freeze { node: "r1".into(), away }]));
        assert!(serves(&[cut(Way::Store)]));
        assert!(!serves(&[cut(Way::Store), etcd_away]));
    }
}
