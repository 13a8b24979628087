//! Which documents are in memory here, for operators.

use ringleaf_types::{DocumentId, Epoch};

use tokio::time::Instant;

use crate::Node;
use crate::rates::PerSecond;
use crate::registry::Resident;

/// A document that this node has loaded. A moment later it may be otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct InMemory {
    pub document: DocumentId,
    pub sessions: usize,
    pub bytes: usize,
    pub epoch: Epoch,
    pub per_second: PerSecond,
    /// Sessions of which something was left behind.
    pub left_behind: usize,
}

impl InMemory {
    fn of(resident: &Resident, now: Instant) -> Option<Self> {
        let facts = &resident.facts;
        facts.serving().then(|| Self {
            document: resident.document.clone(),
            sessions: facts.sessions(),
            bytes: facts.bytes(),
            epoch: facts.epoch(),
            per_second: facts.per_second(now),
            left_behind: facts.unadmitted.read().map_or(0, |unadmitted| unadmitted.session_count()),
        })
    }
}

impl Node {
    /// All that are loaded, in no order.
    pub fn all_in_memory(&self) -> Vec<InMemory> {
        let now = Instant::now();
        self.shared.registry.all().iter().filter_map(|resident| InMemory::of(resident, now)).collect()
    }

    /// This one, if it is loaded.
    pub fn in_memory(&self, document: &DocumentId) -> Option<InMemory> {
        InMemory::of(&*self.shared.registry.find(document)?, Instant::now())
    }
}
