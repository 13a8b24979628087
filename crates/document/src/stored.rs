//! The durable bytes: one update with everything through a slot, then the slots after it. Held once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ringleaf_types::{Slot, Snapshot};

/// The update that changes nothing.
pub(crate) const EMPTY_UPDATE: &[u8] = &[0, 0];

/// Slots that a snapshot has swallowed stay for those who resume from one, up to so many bytes.
const RECENT_BYTES_MAX: usize = 64 << 10;
/// Likewise, so many slots.
const RECENT_SLOTS_MAX: usize = 256;
/// Slots are merged for who lacks them, up to so many updates: merging is quadratic.
const MERGED_UPDATES_MAX: usize = 64;
/// A state vector is remembered every so many slots …
const MARK_SLOTS: u64 = 64;
/// … and so many of them.
const MARKS_MAX: usize = 32;

/// One durable slot.
struct Kept {
    slot: Slot,
    updates: Arc<[Bytes]>,
    bytes: usize,
}

pub(crate) struct Stored {
    /// Everything through `base_through`, as one update. `None`: nothing was ever written there.
    base: Option<Bytes>,
    base_through: Slot,
    /// Slots in order, without a gap but for empty ones; those up to `base_through` are only there for resuming.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Bytes of those after `base_through`.
    above_bytes: usize,
    /// All slots after this one are in `kept`.
    kept_after: Slot,
    /// What the store's newest snapshot covers.
    snapshot_upto: Slot,
    /// Slots and bytes after it.
    tail_slots: usize,
    tail_bytes: usize,
    /// State vectors of the durable state, as of some slots, oldest first.
    marks: VecDeque<(Slot, Bytes)>,
    last: Slot,
}

impl Stored {
    pub(crate) fn new(snapshot: Option<&Snapshot>) -> Self {
        let upto = snapshot.map_or(Slot::ZERO, |snapshot| snapshot.upto);
        Self {
            base: snapshot.map(|snapshot| snapshot.state.clone()),
            base_through: upto,
            kept: VecDeque::new(),
            kept_bytes: 0,
            above_bytes: 0,
            kept_after: upto,
            snapshot_upto: upto,
            tail_slots: 0,
            tail_bytes: 0,
            marks: VecDeque::new(),
            last: upto,
        }
    }

    /// A slot became durable.
    pub(crate) fn push(&mut self, slot: Slot, updates: Arc<[Bytes]>) {
        let bytes = updates.iter().map(Bytes::len).sum();
        self.last = slot;
        self.tail_slots += 1;
        self.tail_bytes += bytes;
        if !updates.is_empty() {
            self.kept_bytes += bytes;
            self.above_bytes += bytes;
            self.kept.push_back(Kept { slot, updates, bytes });
        }
    }

    /// `state` holds everything through `through`: the slots up to there are no longer needed, but for resuming.
    pub(crate) fn replace_base(&mut self, state: Bytes, through: Slot) {
        if through < self.base_through {
            return;
        }
        self.base = Some(state);
        self.base_through = through;
        self.above_bytes = self.after(through).map(Bytes::len).sum();
        self.drop_kept(RECENT_SLOTS_MAX, RECENT_BYTES_MAX);
    }

    /// Nobody is likely to resume: keep what is needed, nothing more.
    pub(crate) fn shrink(&mut self) {
        self.drop_kept(0, 0);
        self.kept.shrink_to_fit();
        self.marks.clear();
    }

    fn drop_kept(&mut self, slots_max: usize, bytes_max: usize) {
        while let Some(kept) = self.kept.front()
            && kept.slot <= self.base_through
            && (self.kept.len() > slots_max || self.kept_bytes > bytes_max)
        {
            self.kept_after = kept.slot;
            self.kept_bytes -= kept.bytes;
            self.kept.pop_front();
        }
        if self.kept.front().is_none_or(|kept| kept.slot > self.base_through) {
            self.kept_after = self.kept_after.max(self.base_through);
        }
    }

    /// The store has this snapshot.
    pub(crate) fn snapshot_created(&mut self, snapshot: &Snapshot) {
        if snapshot.upto < self.snapshot_upto {
            return;
        }
        self.snapshot_upto = snapshot.upto;
        let tail = self.kept.iter().filter(|kept| kept.slot > snapshot.upto);
        self.tail_bytes = tail.map(|kept| kept.bytes).sum();
        self.tail_slots = usize::try_from(self.last.get() - snapshot.upto.get()).unwrap_or(usize::MAX);
        self.replace_base(snapshot.state.clone(), snapshot.upto);
    }

    /// Everything that is durable, as updates: the first may be a whole state.
    pub(crate) fn updates(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.base.iter().chain(self.after(self.base_through))
    }

    fn after(&self, slot: Slot) -> impl Iterator<Item = &Bytes> + Clone {
        let start = self.kept.partition_point(|kept| kept.slot <= slot);
        self.kept.iter().skip(start).flat_map(|kept| kept.updates.iter())
    }

    /// Everything that is durable, if it happens to be one update.
    pub(crate) fn single(&self) -> Option<Bytes> {
        let mut updates = self.updates();
        match (updates.next(), updates.next()) {
            (None, _) => Some(Bytes::from_static(EMPTY_UPDATE)),
            (Some(update), None) => Some(update.clone()),
            (Some(_), Some(_)) => None,
        }
    }

    /// Everything that is durable, if it is few enough updates to be merged.
    pub(crate) fn few(&self) -> Option<impl Iterator<Item = &Bytes>> {
        let few = self.updates().take(MERGED_UPDATES_MAX + 1).count() <= MERGED_UPDATES_MAX;
        few.then(|| self.updates())
    }

    /// The updates of the slots after `from`, if they are all there and few.
    pub(crate) fn few_after(&self, from: Slot) -> Option<Vec<Bytes>> {
        if from < self.kept_after {
            return None;
        }
        let updates: Vec<Bytes> = self.after(from).take(MERGED_UPDATES_MAX + 1).cloned().collect();
        (updates.len() <= MERGED_UPDATES_MAX).then_some(updates)
    }

    /// Whether a state vector should be remembered for the slot that is about to be written.
    pub(crate) fn wants_mark(&self) -> bool {
        self.marks.back().is_none_or(|(slot, _)| self.last.get() >= slot.get() + MARK_SLOTS)
    }

    /// What was seen when `slot` became durable.
    pub(crate) fn mark(&mut self, slot: Slot, state_vector: Bytes) {
        if self.marks.len() == MARKS_MAX {
            // Every other one goes, so that the rest reaches back twice as far.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back((slot, state_vector));
    }

    /// A state vector of the durable state at or before `slot`.
    pub(crate) fn seen_at(&self, slot: Slot) -> Option<Bytes> {
        self.marks.iter().rev().find(|(at, _)| *at <= slot).map(|(_, state_vector)| state_vector.clone())
    }

    pub(crate) fn tail_slots(&self) -> usize {
        self.tail_slots
    }

    pub(crate) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// About how many bytes the state has: it may be less when it is squashed, never more.
    pub(crate) fn state_bytes(&self) -> usize {
        self.base.as_ref().map_or(0, Bytes::len) + self.above_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.updates().next().is_none()
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        let marks: usize = self.marks.iter().map(|(_, state_vector)| state_vector.len() + 48).sum();
        self.base.as_ref().map_or(0, Bytes::len) + self.kept_bytes + self.kept.len() * 128 + marks
    }
}
