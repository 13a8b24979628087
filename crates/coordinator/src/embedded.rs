//! The coordinator of a process that stands alone.

use std::sync::Arc;

use ringleaf_ring::RingView;
use ringleaf_types::NodeId;
use tokio::sync::watch;

/// A ring of one. It never changes, and it needs nothing outside the process.
#[derive(Debug)]
pub struct Embedded {
    ring: watch::Sender<Arc<RingView>>,
}

impl Embedded {
    pub fn new(node: NodeId) -> Self {
        Self { ring: watch::Sender::new(Arc::new(RingView::of_one(node))) }
    }

    /// The ring view, and its changes: here there are none, so waiting for one lasts until the coordinator is dropped.
    pub fn ring(&self) -> watch::Receiver<Arc<RingView>> {
        self.ring.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_of_one_gives_everything_to_its_node() {
        let coordinator = Embedded::new("here".parse().unwrap());
        let ring = coordinator.ring();
        let view = Arc::clone(&ring.borrow());
        assert_eq!(view.owner(&"notes".parse().unwrap()).as_str(), "here");
        assert!(!ring.has_changed().unwrap());
        drop(coordinator);
        assert!(ring.has_changed().is_err(), "a coordinator that stopped is news");
    }
}
