//! What all tasks of a node have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ringleaf_document::{Gc, Settings};
use ringleaf_reader::Reader;
use ringleaf_ring::RingView;
use ringleaf_store::Store;
use ringleaf_types::{DocumentId, NodeId};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::handoff::Handoffs;
use crate::latency::Latencies;
use crate::membership::Membership;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::quarantine::{Notes, Quarantine};
use crate::registry::Registry;
use crate::server::NodeConfig;
use crate::tail_watch::TailWatch;
use crate::tasks::Tasks;

pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) tasks: Tasks,
    /// Outcomes of decodings on their way to the store. They are waited for at the end: a note that stays behind
    /// would count as a process that died.
    pub(crate) outcomes: Tasks,
    pub(crate) pool: Pool,
    pub(crate) reader: Reader,
    pub(crate) metrics: Metrics,
    pub(crate) quarantine: Quarantine,
    pub(crate) notes: Notes,
    pub(crate) tails: TailWatch,
    /// How long acknowledgements took lately.
    pub(crate) latencies: Latencies,
    pub(crate) handoffs: Handoffs,
    /// None: a node that stands alone owns everything.
    pub(crate) membership: Option<Membership>,
    /// Panics without a sender to blame, of documents that have not ended in order since.
    panics: Mutex<BTreeMap<DocumentId, u32>>,
    pub(crate) memory: Memory,
    /// Appends that the store has refused at least once, and that are tried again, or that it has not answered for long.
    failing_appends: AtomicUsize,
    /// One snapshot is made at a time.
    compactions: Semaphore,
    /// The time to stop is running out.
    hurry: AtomicBool,
}

impl Shared {
    pub(crate) fn new(config: NodeConfig, store: Arc<dyn Store>, membership: Option<Membership>) -> Self {
        Self {
            memory: Memory::new(config.limits.resident_bytes_max),
            reader: Reader::new(&config.reader, &config.limits),
            config,
            store,
            registry: Registry::new(),
            tasks: Tasks::default(),
            outcomes: Tasks::default(),
            pool: Pool::new(),
            metrics: Metrics::new(),
            quarantine: Quarantine::default(),
            notes: Notes::default(),
            tails: TailWatch::default(),
            latencies: Latencies::new(Instant::now()),
            handoffs: Handoffs::new(),
            membership,
            panics: Mutex::default(),
            failing_appends: AtomicUsize::new(0),
            compactions: Semaphore::new(1),
            hurry: AtomicBool::new(false),
        }
    }

    /// Another node has claimed the document: this one holds off.
    pub(crate) fn lost_claim(&self, document: &DocumentId, by: Option<NodeId>) {
        if let Some(membership) = &self.membership {
            membership.lost_claim(document, by, Instant::now());
        }
    }

    /// The newest ring. None: this node stands alone, or has not heard of one yet.
    pub(crate) fn ring_view(&self) -> Option<Arc<RingView>> {
        self.membership.as_ref()?.view()
    }

    /// Whether that is so by the newest ring.
    pub(crate) fn should_own(&self, node: &NodeId, document: &DocumentId) -> bool {
        self.ring_view().is_some_and(|view| view.owner(document) == node)
    }

    /// What a document is told about its surroundings.
    pub(crate) fn settings(&self, document: &DocumentId) -> Settings {
        Settings {
            gc: self.gc(document),
            node: self.config.node.clone(),
            incarnation: self.config.incarnation,
            seed: rand::random(),
            limits: Arc::clone(&self.config.limits),
        }
    }

    /// What becomes of deleted content in this document.
    pub(crate) fn gc(&self, document: &DocumentId) -> Gc {
        if self.config.gc.collects(document) { Gc::Collect } else { Gc::Keep }
    }

    /// Counts an append that the store does not take, for as long as the answer lives.
    pub(crate) fn append_fails(&self) -> FailingAppend<'_> {
        self.failing_appends.fetch_add(1, Ordering::Relaxed);
        FailingAppend { count: &self.failing_appends }
    }

    pub(crate) fn failing_appends(&self) -> usize {
        self.failing_appends.load(Ordering::Relaxed)
    }

    /// A document's task panicked and nobody is to blame. Answers how often by now.
    pub(crate) fn panicked(&self, document: &DocumentId) -> u32 {
        let mut panics = self.panics.lock().expect("no holder of this lock panics");
        let count = panics.entry(document.clone()).or_default();
        *count += 1;
        *count
    }

    /// The document has ended in order: what was is forgotten.
    pub(crate) fn forget_panics(&self, document: &DocumentId) {
        self.panics.lock().expect("no holder of this lock panics").remove(document);
    }

    /// Waits for the turn to make a snapshot.
    pub(crate) async fn compaction_turn(&self) -> SemaphorePermit<'_> {
        self.compactions.acquire().await.expect("it is never closed")
    }

    pub(crate) fn set_hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Only what must be done is done now.
    pub(crate) fn hurry(&self) -> bool {
        self.hurry.load(Ordering::Relaxed)
    }
}

/// One append that the store does not take.
pub(crate) struct FailingAppend<'a> {
    count: &'a AtomicUsize,
}

impl Drop for FailingAppend<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
