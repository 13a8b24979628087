//! A cluster on paper: how even the load would be, how much would move, how much memory it would take.

use ringleaf_types::{NodeId, RingVersion};

use crate::member::{VirtualNodes, Weight};
use crate::moves::moves;
use crate::plan::{Change, ideal_movement, imagined};
use crate::view::{ClusterId, POINT_BYTES, RingView};

/// Limit: so many points take 640 MB and ten seconds, which is enough for 16,000 nodes at 1,024 points each.
const POINTS_MAX: u64 = 1 << 24;

/// A cluster that is only thought of. Its nodes are called `node-0`, `node-1` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// At least one.
    pub nodes: u32,
    /// Given to the nodes in turn. Empty: all have weight one.
    pub weights: Vec<Weight>,
    /// Points on the ring for each unit of weight.
    pub virtual_nodes: VirtualNodes,
    /// All that there are.
    pub documents: u64,
    /// Those that are in memory at one time.
    pub resident: u64,
    /// What one of these takes, in bytes.
    pub document_bytes: u64,
}

/// Why a cluster cannot be thought of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// Nobody would own anything.
    #[error("a cluster has at least one node")]
    NoNodes,
    /// The ring would be too big.
    #[error("the ring would have {points} points, and at most {POINTS_MAX} are simulated")]
    TooLarge {
        /// How many.
        points: u64,
    },
}

/// What to expect.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Points on the ring.
    pub points: u64,
    /// What the ring takes in every process, in bytes.
    pub ring_bytes: u64,
    /// The node that is loaded most, for its weight.
    pub fullest: Load,
    /// A node of average weight that owns just its part.
    pub mean: Load,
    /// The node that is loaded least, for its weight.
    pub emptiest: Load,
    /// One more node joins, of the weight whose turn it is.
    pub join: Movement,
    /// The first node leaves. `None`: it is the only one.
    pub leave: Option<Movement>,
}

/// What one node has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Its documents over those that its weight stands for.
    pub of_ideal: f64,
    /// All that it owns.
    pub documents: f64,
    /// Those of them that are in memory.
    pub resident: f64,
    /// What these take.
    pub bytes: f64,
}

/// What a change moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Movement {
    /// How much of all documents, from 0 to 1.
    pub share: f64,
    /// The least that would have to move.
    pub ideal_share: f64,
    /// Documents that get another owner.
    pub documents: f64,
    /// Those of them that are in memory, and so are really moved.
    pub resident: f64,
    /// What these take.
    pub bytes: f64,
    /// The most that any one pair of nodes exchanges, as a part of what moves.
    pub most_between_two: f64,
}

impl Paper {
    /// Draws the ring and measures it.
    ///
    /// # Errors
    ///
    /// There are no nodes, or too many points.
    pub fn predict(&self) -> Result<Prediction, PaperError> {
        let ring = self.ring()?;
        let weights: u32 = ring.members().iter().map(|member| member.weight.get()).sum();
        let part = |weight: Weight| f64::from(weight.get()) / f64::from(weights);
        let loads: Vec<Load> =
            ring.shares().map(|(member, share)| self.load(share, part(member.weight))).collect();
        let mean = 1.0 / f64::from(self.nodes);
        let by_load = |a: &&Load, b: &&Load| a.of_ideal.total_cmp(&b.of_ideal);
        let most = |load: Option<&Load>| *load.expect("there is a node");
        let join = Change::Add { node: name(self.nodes), weight: self.weight(self.nodes) };
        let leave = Change::Remove { node: name(0) };
        Ok(Prediction {
            points: ring.tokens().len() as u64,
            ring_bytes: ring.tokens().len() as u64 * POINT_BYTES,
            fullest: most(loads.iter().max_by(by_load)),
            mean: self.load(mean, mean),
            emptiest: most(loads.iter().min_by(by_load)),
            join: self.movement(&ring, join).expect("a new node can always join"),
            leave: self.movement(&ring, leave),
        })
    }

    fn ring(&self) -> Result<RingView, PaperError> {
        if self.nodes == 0 {
            return Err(PaperError::NoNodes);
        }
        // One more, because one more will join.
        let members = (0..=self.nodes).map(|index| self.weight(index).virtual_nodes(self.virtual_nodes));
        let points = members.map(u64::from).sum();
        if points > POINTS_MAX {
            return Err(PaperError::TooLarge { points });
        }
        let members = (0..self.nodes).map(|index| imagined(name(index), self.weight(index))).collect();
        let (cluster, version) = (ClusterId::EMBEDDED, RingVersion::new(1));
        let ring = RingView::with_virtual_nodes(cluster, version, self.virtual_nodes, members);
        Ok(ring.expect("one member serves, and names differ"))
    }

    fn weight(&self, index: u32) -> Weight {
        let turn = index as usize % self.weights.len().max(1);
        self.weights.get(turn).copied().unwrap_or(Weight::ONE)
    }

    fn load(&self, share: f64, ideal: f64) -> Load {
        let resident = share * self.resident as f64;
        Load {
            of_ideal: share / ideal,
            documents: share * self.documents as f64,
            resident,
            bytes: resident * self.document_bytes as f64,
        }
    }

    fn movement(&self, before: &RingView, change: Change) -> Option<Movement> {
        let after = before.planned(&[change]).ok()?;
        let moved = moves(before, &after);
        let share = moved.share();
        let most = moved.between().into_values().fold(0.0, f64::max);
        let resident = share * self.resident as f64;
        Some(Movement {
            share,
            ideal_share: ideal_movement(before, &after),
            documents: share * self.documents as f64,
            resident,
            bytes: resident * self.document_bytes as f64,
            most_between_two: if share > 0.0 { most / share } else { 0.0 },
        })
    }
}

fn name(index: u32) -> NodeId {
    format!("node-{index}").parse().expect("letters, a dash and digits are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(nodes: u32, weights: &[u32]) -> Paper {
        Paper {
            nodes,
            weights: weights.iter().map(|weight| Weight::new(*weight).unwrap()).collect(),
            virtual_nodes: VirtualNodes::default(),
            documents: 1_000_000,
            resident: 10_000,
            document_bytes: 1_000,
        }
    }

    #[test]
    fn one_node_has_everything_and_nobody_to_leave_it_to() {
        let one = paper(1, &[]).predict().unwrap();
        assert_eq!((one.points, one.leave), (128, None));
        assert_eq!(one.fullest, one.emptiest);
        assert_eq!((one.fullest.of_ideal, one.fullest.documents), (1.0, 1e6));
        assert_eq!(one.fullest.bytes, 1e7);
        assert!((0.4..0.6).contains(&one.join.share), "{:?}", one.join);
    }

    #[test]
    fn loads_lie_around_the_mean_and_a_node_moves_about_its_part() {
        let ten = paper(10, &[]).predict().unwrap();
        assert!(ten.emptiest.of_ideal < 1.0 && ten.fullest.of_ideal > 1.0);
        assert_eq!(ten.mean.documents, 100_000.0);
        assert!((ten.join.ideal_share - 1.0 / 11.0).abs() < 1e-9);
        let leave = ten.leave.unwrap();
        assert!((leave.share / leave.ideal_share - 1.0).abs() < 0.35, "{leave:?}");
        assert!(leave.most_between_two < 0.3, "its documents are spread over the others: {leave:?}");
    }

    #[test]
    fn a_node_is_measured_against_its_weight() {
        let mixed = paper(10, &[1, 4]).predict().unwrap();
        assert_eq!(mixed.points, 5 * 128 + 5 * 4 * 128);
        assert!(mixed.fullest.of_ideal < 1.4, "{mixed:?}");
        assert!((mixed.join.ideal_share - 1.0 / 26.0).abs() < 1e-9, "the eleventh has weight one");
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        assert_eq!(paper(0, &[]).predict(), Err(PaperError::NoNodes));
        assert!(matches!(paper(1_000_000, &[]).predict(), Err(PaperError::TooLarge { .. })));
    }
}
