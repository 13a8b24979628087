//! A store that has bad days: the days are chosen by the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use ringleaf_store::{Created, Listed, Mark, MemoryStore, Quarantined, Store, StoreError, Stored, Tail};
use ringleaf_types::{Body, DocumentId, Record, Remainder, Slot, Snapshot};
use tokio::sync::Notify;

/// What an operation does instead of what it should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    Away,
    DiskFull,
    /// Carries it out, and then says that it is away.
    LoseReply,
    /// Does not answer before the fault is over.
    Hold,
    Gap,
    Corrupt,
    /// Reads the slots, and nothing in them.
    Empty,
    /// Reads updates with something behind their end.
    NoUpdate,
}

#[derive(Debug, Default)]
struct State {
    append: Fault,
    read: Fault,
    mark: Fault,
    snapshot: Fault,
    /// How many operations the fault still hits, if not all.
    appends_left: Option<u32>,
    reads_left: Option<u32>,
    slowness: Option<Duration>,
    durable: BTreeMap<DocumentId, Slot>,
    append_calls: u64,
    read_calls: u64,
    tails_calls: u64,
    mark_calls: u64,
    snapshot_calls: u64,
    outcome_takes: Duration,
    tails_take: Duration,
    backwards: bool,
}

pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn Store>,
    state: Mutex<State>,
    changed: Notify,
}

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, state: Mutex::default(), changed: Notify::new() })
    }

    pub(crate) fn appends(&self, fault: Fault) {
        let mut state = self.state();
        (state.append, state.appends_left) = (fault, None);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Hits the next appends only.
    pub(crate) fn next_appends(&self, fault: Fault, times: u32) {
        let mut state = self.state();
        (state.append, state.appends_left) = (fault, Some(times));
    }

    pub(crate) fn reads(&self, fault: Fault) {
        let mut state = self.state();
        (state.read, state.reads_left) = (fault, None);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn next_reads(&self, fault: Fault, times: u32) {
        let mut state = self.state();
        (state.read, state.reads_left) = (fault, Some(times));
    }

    pub(crate) fn marks(&self, fault: Fault) {
        self.state().mark = fault;
    }

    pub(crate) fn snapshots(&self, fault: Fault) {
        self.state().snapshot = fault;
    }

    /// Every append takes up to so long.
    pub(crate) fn slow(&self, slowness: Duration) {
        self.state().slowness = Some(slowness);
    }

    /// The outcome of a decoding is stored only after so long.
    pub(crate) fn outcomes_take(&self, long: Duration) {
        self.state().outcome_takes = long;
    }

    /// What is said about the ends of logs is so old.
    pub(crate) fn tails_take(&self, long: Duration) {
        self.state().tails_take = long;
    }

    /// From now on it looks as if the newest slots had never been.
    pub(crate) fn go_back(&self) {
        self.state().backwards = true;
    }

    pub(crate) fn go_on(&self) {
        self.state().backwards = false;
    }

    pub(crate) fn snapshot_calls(&self) -> u64 {
        self.state().snapshot_calls
    }

    pub(crate) fn mark_calls(&self) -> u64 {
        self.state().mark_calls
    }

    /// The newest slot that this store has made durable.
    pub(crate) fn durable(&self, document: &DocumentId) -> Slot {
        self.state().durable.get(document).copied().unwrap_or(Slot::ZERO)
    }

    pub(crate) fn append_calls(&self) -> u64 {
        self.state().append_calls
    }

    pub(crate) fn read_calls(&self) -> u64 {
        self.state().read_calls
    }

    pub(crate) fn tails_calls(&self) -> u64 {
        self.state().tails_calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the next operation of this kind does; one that is held finds out when the hold is over.
    async fn fault(&self, of: impl Fn(&mut State) -> (&mut Fault, Option<&mut Option<u32>>)) -> Fault {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let fault = {
                let mut state = self.state();
                let (fault, left) = of(&mut state);
                let hit = *fault;
                if let Some(Some(left)) = left {
                    if *left == 0 {
                        *fault = Fault::None;
                        Fault::None
                    } else {
                        *left -= 1;
                        hit
                    }
                } else {
                    hit
                }
            };
            if fault != Fault::Hold {
                return fault;
            }
            changed.await;
        }
    }
}

fn trouble(fault: Fault, document: &DocumentId) -> Result<(), StoreError> {
    let slot = Slot::new(1);
    match fault {
        Fault::None | Fault::LoseReply | Fault::Hold | Fault::Empty | Fault::NoUpdate => Ok(()),
        Fault::Away => Err(StoreError::Away("announced".into())),
        Fault::DiskFull => Err(StoreError::DiskFull("announced".into())),
        Fault::Gap => Err(StoreError::Gap { document: document.clone(), after: slot }),
        Fault::Corrupt => Err(StoreError::Corrupt { document: document.clone(), slot }),
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn read(&self, document: &DocumentId) -> Result<Stored, StoreError> {
        self.state().read_calls += 1;
        let fault = self.fault(|state| (&mut state.read, Some(&mut state.reads_left))).await;
        trouble(fault, document)?;
        let mut stored = self.inner.read(document).await?;
        if fault == Fault::Empty {
            stored.slots.iter_mut().for_each(|(_, record)| record.body = Body::Updates(Vec::new()));
        }
        if fault == Fault::NoUpdate {
            let states = stored.snapshot.iter_mut().map(|snapshot| &mut snapshot.state);
            let updates = stored.slots.iter_mut().flat_map(|(_, record)| match &mut record.body {
                Body::Updates(updates) => updates.as_mut_slice(),
                Body::Deletion | Body::Undeletion => &mut [],
            });
            states.chain(updates).for_each(|update| *update = [&update[..], &[0]].concat().into());
        }
        Ok(stored)
    }

    async fn read_after(
        &self,
        document: &DocumentId,
        after: Slot,
    ) -> Result<Vec<(Slot, Record)>, StoreError> {
        trouble(self.fault(|state| (&mut state.read, Some(&mut state.reads_left))).await, document)?;
        self.inner.read_after(document, after).await
    }

    async fn create_slot(
        &self,
        document: &DocumentId,
        slot: Slot,
        record: Record,
    ) -> Result<Created, StoreError> {
        self.state().append_calls += 1;
        let fault = self.fault(|state| (&mut state.append, Some(&mut state.appends_left))).await;
        trouble(fault, document)?;
        let slowness = self.state().slowness;
        if let Some(slowness) = slowness {
            tokio::time::sleep(slowness.mul_f64(rand::random())).await;
        }
        let created = self.inner.create_slot(document, slot, record).await?;
        let mut state = self.state();
        let durable = state.durable.entry(document.clone()).or_default();
        *durable = slot.max(*durable);
        if fault == Fault::LoseReply {
            Err(StoreError::Away("the reply is lost".into()))
        } else {
            Ok(created)
        }
    }

    async fn create_snapshot(&self, document: &DocumentId, snapshot: Snapshot) -> Result<bool, StoreError> {
        self.state().snapshot_calls += 1;
        trouble(self.fault(|state| (&mut state.snapshot, None)).await, document)?;
        self.inner.create_snapshot(document, snapshot).await
    }

    async fn trim(&self, document: &DocumentId) -> Result<u64, StoreError> {
        self.inner.trim(document).await
    }

    /// Has the faults of appends, without being counted as one.
    async fn keep_remainder(&self, document: &DocumentId, remainder: Remainder) -> Result<(), StoreError> {
        let fault = self.fault(|state| (&mut state.append, None)).await;
        trouble(fault, document)?;
        self.inner.keep_remainder(document, remainder).await?;
        if fault == Fault::LoseReply { Err(StoreError::Away("the reply is lost".into())) } else { Ok(()) }
    }

    async fn drop_remainders(&self, document: &DocumentId, ids: &[u64]) -> Result<(), StoreError> {
        trouble(self.fault(|state| (&mut state.append, None)).await, document)?;
        self.inner.drop_remainders(document, ids).await
    }

    async fn remainders(&self, document: &DocumentId) -> Result<Vec<Remainder>, StoreError> {
        trouble(self.fault(|state| (&mut state.read, None)).await, document)?;
        self.inner.remainders(document).await
    }

    async fn with_remainders(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.inner.with_remainders(after, limit).await
    }

    async fn purge(&self, document: &DocumentId, tombstone: Snapshot) -> Result<bool, StoreError> {
        self.inner.purge(document, tombstone).await
    }

    async fn tails(&self, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
        self.state().tails_calls += 1;
        let mut tails = self.inner.tails(documents).await?;
        let takes = self.state().tails_take;
        tokio::time::sleep(takes).await;
        if self.state().backwards {
            tails.iter_mut().for_each(|(_, tail)| tail.last = Slot::new(tail.last.get() / 2));
        }
        Ok(tails)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn mark_attempt(&self, document: &DocumentId) -> Result<Mark, StoreError> {
        self.state().mark_calls += 1;
        trouble(self.fault(|state| (&mut state.mark, None)).await, document)?;
        self.inner.mark_attempt(document).await
    }

    async fn mark_outcome(&self, document: &DocumentId, failed: Option<String>) -> Result<(), StoreError> {
        let takes = self.state().outcome_takes;
        tokio::time::sleep(takes).await;
        self.inner.mark_outcome(document, failed).await
    }

    async fn noted(&self) -> Result<Vec<(DocumentId, u32)>, StoreError> {
        self.inner.noted().await
    }

    async fn quarantine(&self, document: &DocumentId, reason: String) -> Result<(), StoreError> {
        self.inner.quarantine(document, reason).await
    }

    async fn release(&self, document: &DocumentId) -> Result<bool, StoreError> {
        self.inner.release(document).await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        let fault = self.state().read;
        if matches!(fault, Fault::Away | Fault::DiskFull) {
            trouble(fault, &"all".parse().unwrap())?;
        }
        self.inner.quarantined().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
