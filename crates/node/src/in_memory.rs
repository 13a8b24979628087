//! Which documents are in memory here, for operators.

use ringleaf_types::{DocumentId, Epoch};

use crate::Node;
use crate::registry::Resident;

/// A document that this node has loaded. A moment later it may be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMemory {
    pub document: DocumentId,
    pub sessions: usize,
    pub bytes: usize,
    pub epoch: Epoch,
}

impl InMemory {
    fn of(resident: &Resident) -> Option<Self> {
        let facts = &resident.facts;
        facts.serving().then(|| Self {
            document: resident.document.clone(),
            sessions: facts.sessions(),
            bytes: facts.bytes(),
            epoch: facts.epoch(),
        })
    }
}

impl Node {
    /// All that are loaded, in no order.
    pub fn all_in_memory(&self) -> Vec<InMemory> {
        self.shared.registry.all().iter().filter_map(|resident| InMemory::of(resident)).collect()
    }

    /// This one, if it is loaded.
    pub fn in_memory(&self, document: &DocumentId) -> Option<InMemory> {
        InMemory::of(&*self.shared.registry.find(document)?)
    }
}
