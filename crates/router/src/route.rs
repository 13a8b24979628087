//! Who hosts a document.

use std::sync::Arc;

use ringleaf_ring::RingView;
use ringleaf_types::{DocumentId, NodeId};
use ringleaf_wire::SessionHost;
use tokio::sync::watch;

/// Finds the host of a document's owner in the newest ring view.
#[derive(Clone)]
pub struct Route {
    this: NodeId,
    ring: watch::Receiver<Option<Arc<RingView>>>,
    local: Option<Arc<dyn SessionHost>>,
}

impl Route {
    /// `local` is the node in this process, if there is one; it is called `this`.
    pub fn new(
        this: NodeId,
        ring: watch::Receiver<Option<Arc<RingView>>>,
        local: Option<Arc<dyn SessionHost>>,
    ) -> Self {
        Self { this, ring, local }
    }

    /// Where sessions of this document belong now. `None`: nobody who owns it can be reached from here.
    pub(crate) fn host(&self, document: &DocumentId) -> Option<Arc<dyn SessionHost>> {
        let view = self.ring.borrow().clone()?;
        if view.owner(document) == &self.this { self.local.clone() } else { None }
    }
}
