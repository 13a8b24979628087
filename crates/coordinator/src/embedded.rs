//! The coordinator of a process that stands alone.

use std::sync::Arc;

use async_trait::async_trait;
use ringleaf_ring::{Member, RingView};
use ringleaf_types::{NodeId, RingVersion};
use tokio::sync::watch;

use crate::{Coordinator, CoordinatorStatus, RegisterError, Ring};

/// A ring of one. It never changes, and it needs nothing outside the process.
#[derive(Debug)]
pub struct Embedded {
    ring: watch::Sender<Option<Arc<RingView>>>,
}

impl Embedded {
    pub fn new(node: NodeId) -> Self {
        Self { ring: watch::Sender::new(Some(Arc::new(RingView::of_one(node)))) }
    }
}

#[async_trait]
impl Coordinator for Embedded {
    /// The ring view. There are no changes, so waiting for one lasts until the coordinator is dropped.
    fn ring(&self) -> Ring {
        self.ring.subscribe()
    }

    async fn register(&self, _member: Member) -> Result<(), RegisterError> {
        Ok(())
    }

    async fn withdraw(&self) {}

    fn heard(&self, _version: RingVersion) {}

    fn status(&self) -> CoordinatorStatus {
        CoordinatorStatus { place: "embedded".into(), connected: true, ..CoordinatorStatus::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let coordinator = Embedded::new("here".parse().unwrap());
        let only = coordinator.ring().borrow().as_ref().unwrap().members()[0].clone();
        crate::contract::check(&coordinator, only).await;
    }

    #[test]
    fn the_ring_of_one_gives_everything_to_its_node() {
        let coordinator = Embedded::new("here".parse().unwrap());
        let ring = coordinator.ring();
        let view = ring.borrow().clone().unwrap();
        assert_eq!(view.owner(&"notes".parse().unwrap()).as_str(), "here");
        assert!(!ring.has_changed().unwrap());
        drop(coordinator);
        assert!(ring.has_changed().is_err(), "a coordinator that stopped is news");
    }
}
