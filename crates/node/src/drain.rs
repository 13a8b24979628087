//! Leaving in order: everything goes to whom the ring names without this node.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::handoff::Moves;
use crate::server::Node;

/// Between two looks at what is left. Idle documents end within less, and busy targets have room again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What became of a node's documents when it was drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    pub moves: Moves,
    /// These are still here: there was no time, or the ring names nobody else.
    pub left: usize,
}

impl Node {
    /// Moves everything away that others should own, once the ring says so. It is the caller who takes this node off the
    /// ring before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the rest to the looks that a node takes by itself.
    pub async fn drain(&self, within: Duration) -> Drained {
        let before = self.moves();
        let deadline = Instant::now() + within;
        let rounds = async {
            while self.misplaced() > 0 {
                self.shared.handoffs.look_at_once();
                sleep(LOOK_INTERVAL).await;
            }
        };
        // What is left then is counted below.
        let _ = timeout_at(deadline, rounds).await;
        let (moves, left) = (self.moves().since(before), self.shared.registry.count());
        let Moves { moved, forgotten, let_go } = moves;
        info!(moved, forgotten, let_go, left, "drained");
        Drained { moves, left }
    }

    /// Documents here that others should own.
    pub(crate) fn misplaced(&self) -> usize {
        let Some(view) = self.shared.ring_view() else { return 0 };
        let this = &self.shared.config.node;
        let residents: Vec<Arc<_>> = self.shared.registry.all();
        residents.iter().filter(|resident| view.owner(&resident.document) != this).count()
    }
}
