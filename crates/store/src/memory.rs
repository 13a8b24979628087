//! A store that keeps nothing: for `--memory`, and for tests that need no disk.

use std::collections::{BTreeMap, btree_map::Entry};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ringleaf_types::{Body, DocumentId, Limits, Record, Remainder, Slot, Snapshot};

use crate::{Created, Listed, Mark, Quarantined, Store, StoreError, Stored, Tail};

/// Keeps everything in memory, and obeys the same rules as a store on disk.
pub struct MemoryStore {
    retention: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    logs: BTreeMap<DocumentId, Log>,
    remainders: BTreeMap<DocumentId, BTreeMap<u64, Remainder>>,
    marks: BTreeMap<DocumentId, Mark>,
    quarantine: BTreeMap<DocumentId, (String, SystemTime)>,
}

struct Log {
    created_at: SystemTime,
    changed_at: SystemTime,
    slots: BTreeMap<Slot, (SystemTime, Record)>,
    snapshots: BTreeMap<Slot, Snapshot>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::with_retention(Limits::default().retention)
    }

    /// Slots that the previous snapshot covers are trimmed once they are older than `retention`.
    pub fn with_retention(retention: Duration) -> Self {
        Self { retention, state: Mutex::default() }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().expect("no holder of this lock panics");
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn log(&mut self, document: &DocumentId, now: SystemTime) -> &mut Log {
        let log = self.logs.entry(document.clone()).or_insert_with(|| Log {
            created_at: now,
            changed_at: now,
            slots: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        });
        log.changed_at = now;
        log
    }
}

impl Log {
    fn upto(&self) -> Slot {
        self.snapshots.last_key_value().map_or(Slot::ZERO, |(&upto, _)| upto)
    }

    fn last(&self) -> Slot {
        self.slots.last_key_value().map_or(Slot::ZERO, |(&slot, _)| slot).max(self.upto())
    }

    fn after(&self, after: Slot) -> impl Iterator<Item = (Slot, &Record)> {
        self.slots.range(after.next()..).map(|(&slot, (_, record))| (slot, record))
    }

    fn deleted(&self) -> bool {
        let covered = self.snapshots.last_key_value().is_some_and(|(_, snapshot)| snapshot.deleted);
        self.after(self.upto()).fold(covered, |deleted, (_, record)| match record.body {
            Body::Updates(_) => deleted,
            Body::Deletion => true,
            Body::Undeletion => false,
        })
    }

    fn bytes(&self) -> u64 {
        let slots = self.slots.values().map(|(_, record)| match &record.body {
            Body::Updates(updates) => updates.iter().map(|update| update.len()).sum(),
            Body::Deletion | Body::Undeletion => 0,
        });
        let snapshots = self.snapshots.values().map(|snapshot| snapshot.state.len());
        slots.chain(snapshots).sum::<usize>() as u64
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, document: &DocumentId) -> Result<Stored, StoreError> {
        let state = self.state()?;
        let Some(log) = state.logs.get(document) else {
            return Ok(Stored { snapshot: None, slots: Vec::new() });
        };
        let mut last = log.upto();
        let mut slots = Vec::new();
        for (slot, record) in log.after(last) {
            if slot != last.next() {
                return Err(StoreError::Gap { document: document.clone(), after: last });
            }
            slots.push((slot, record.clone()));
            last = slot;
        }
        Ok(Stored { snapshot: log.snapshots.last_key_value().map(|(_, snapshot)| snapshot.clone()), slots })
    }

    async fn read_after(
        &self,
        document: &DocumentId,
        after: Slot,
    ) -> Result<Vec<(Slot, Record)>, StoreError> {
        let state = self.state()?;
        let Some(log) = state.logs.get(document) else { return Ok(Vec::new()) };
        let mut slots: Vec<(Slot, Record)> = Vec::new();
        let mut last = after;
        for (slot, record) in log.after(after).take_while(|&(slot, _)| {
            let follows = slot == last.next();
            last = slot;
            follows
        }) {
            slots.push((slot, record.clone()));
        }
        if slots.is_empty() && log.last() > after {
            return Err(StoreError::Gap { document: document.clone(), after });
        }
        Ok(slots)
    }

    async fn create_slot(
        &self,
        document: &DocumentId,
        slot: Slot,
        record: Record,
    ) -> Result<Created, StoreError> {
        let now = SystemTime::now();
        let mut state = self.state()?;
        if slot == Slot::ZERO {
            return Ok(Created::Covered);
        }
        if let Some(log) = state.logs.get(document) {
            if let Some((_, taken)) = log.slots.get(&slot) {
                return Ok(Created::Taken(taken.clone()));
            }
            if slot <= log.upto() {
                return Ok(Created::Covered);
            }
        }
        state.log(document, now).slots.insert(slot, (now, record));
        Ok(Created::Created)
    }

    async fn create_snapshot(&self, document: &DocumentId, snapshot: Snapshot) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        let newest = state.logs.get(document).filter(|log| !log.snapshots.is_empty()).map(Log::upto);
        if newest.is_some_and(|upto| upto >= snapshot.upto) {
            return Ok(false);
        }
        let changed_at = state.logs.get(document).map(|log| log.changed_at);
        let log = state.log(document, SystemTime::now());
        log.changed_at = changed_at.unwrap_or(log.changed_at);
        log.snapshots.insert(snapshot.upto, snapshot);
        Ok(true)
    }

    async fn trim(&self, document: &DocumentId) -> Result<u64, StoreError> {
        let cutoff = SystemTime::now() - self.retention;
        let mut state = self.state()?;
        let Some(log) = state.logs.get_mut(document) else { return Ok(0) };
        let Some((&previous, _)) = log.snapshots.iter().rev().nth(1) else { return Ok(0) };
        let before = log.slots.len() + log.snapshots.len();
        let young = log.slots.iter().find(|(_, (at, _))| *at > cutoff).map(|(&slot, _)| slot);
        let keep_from = young.map_or(previous.next(), |young| young.min(previous.next()));
        log.slots = log.slots.split_off(&keep_from);
        log.snapshots = log.snapshots.split_off(&previous);
        Ok((before - log.slots.len() - log.snapshots.len()) as u64)
    }

    async fn keep_remainder(&self, document: &DocumentId, remainder: Remainder) -> Result<(), StoreError> {
        let mut state = self.state()?;
        state.remainders.entry(document.clone()).or_default().entry(remainder.id).or_insert(remainder);
        Ok(())
    }

    async fn drop_remainders(&self, document: &DocumentId, ids: &[u64]) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let Entry::Occupied(mut kept) = state.remainders.entry(document.clone()) else { return Ok(()) };
        kept.get_mut().retain(|id, _| !ids.contains(id));
        if kept.get().is_empty() {
            kept.remove();
        }
        Ok(())
    }

    async fn remainders(&self, document: &DocumentId) -> Result<Vec<Remainder>, StoreError> {
        let state = self.state()?;
        let kept = state.remainders.get(document).into_iter().flat_map(BTreeMap::values);
        let mut kept: Vec<Remainder> = kept.cloned().collect();
        kept.sort_unstable_by_key(|remainder| (remainder.since, remainder.id));
        Ok(kept)
    }

    async fn with_remainders(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        let state = self.state()?;
        let behind = state.remainders.keys().filter(|document| after.is_none_or(|after| *document > after));
        Ok(behind.take(limit).cloned().collect())
    }

    async fn purge(&self, document: &DocumentId, tombstone: Snapshot) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        match state.logs.get(document) {
            Some(log) if log.last() >= tombstone.upto => return Ok(false),
            None if !state.remainders.contains_key(document) => return Ok(false),
            Some(_) | None => {}
        }
        let log = state.log(document, SystemTime::now());
        log.slots.clear();
        log.snapshots.clear();
        log.snapshots.insert(tombstone.upto, tombstone);
        state.remainders.remove(document);
        state.marks.remove(document);
        Ok(true)
    }

    async fn tails(&self, documents: &[DocumentId]) -> Result<Vec<(DocumentId, Tail)>, StoreError> {
        let state = self.state()?;
        let tail = |document| state.logs.get(document).map(|log| Tail { last: log.last() });
        Ok(documents
            .iter()
            .filter_map(|document| tail(document).map(|tail| (document.clone(), tail)))
            .collect())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let state = self.state()?;
        let wanted = state.logs.iter().filter(|(document, _)| {
            document.as_str().starts_with(prefix) && after.is_none_or(|after| *document > after)
        });
        let listed = wanted.take(limit).map(|(document, log)| Listed {
            document: document.clone(),
            last: log.last(),
            tail_slots: log.after(log.upto()).count() as u64,
            bytes: log.bytes(),
            created_at: log.created_at,
            changed_at: log.changed_at,
            deleted: log.deleted(),
            quarantined: state.quarantine.contains_key(document),
        });
        Ok(listed.collect())
    }

    async fn mark_attempt(&self, document: &DocumentId) -> Result<Mark, StoreError> {
        let mut state = self.state()?;
        let mark = state.marks.entry(document.clone()).or_default();
        mark.attempts += 1;
        Ok(mark.clone())
    }

    async fn mark_outcome(&self, document: &DocumentId, failed: Option<String>) -> Result<(), StoreError> {
        let mut state = self.state()?;
        match failed {
            None => {
                state.marks.remove(document);
            }
            Some(reason) => state.marks.entry(document.clone()).or_default().reason = Some(reason),
        }
        Ok(())
    }

    async fn noted(&self) -> Result<Vec<(DocumentId, u32)>, StoreError> {
        let state = self.state()?;
        let noted = state.marks.iter().filter(|(_, mark)| mark.attempts > 0);
        Ok(noted.map(|(document, mark)| (document.clone(), mark.attempts)).collect())
    }

    async fn quarantine(&self, document: &DocumentId, reason: String) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if let Entry::Vacant(entry) = state.quarantine.entry(document.clone()) {
            entry.insert((reason, SystemTime::now()));
        }
        Ok(())
    }

    async fn release(&self, document: &DocumentId) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        state.marks.remove(document);
        Ok(state.quarantine.remove(document).is_some())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        let state = self.state()?;
        let quarantined = state.quarantine.iter().map(|(document, (reason, since))| Quarantined {
            document: document.clone(),
            reason: reason.clone(),
            since: *since,
        });
        Ok(quarantined.collect())
    }

    async fn close(&self) {
        self.state.lock().expect("no holder of this lock panics").closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Fresh;

    crate::contract_tests!(|retention| Fresh::new(MemoryStore::with_retention(retention)));
}
