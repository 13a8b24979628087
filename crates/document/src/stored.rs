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
            // The older they are, the further they may lie apart: the most dispensable one goes.
            let at = |mark: usize| self.marks[mark].0.get();
            let lost = |mark: &usize| (at(mark + 1) - at(mark - 1)) * 1_024 / (slot.get() - at(*mark) + 1);
            if let Some(mark) = (1..MARKS_MAX - 1).min_by_key(lost) {
                self.marks.remove(mark);
            }
        }
        self.marks.push_back((slot, state_vector));
    }

    /// A state vector of the durable state at or before `slot`.
    pub(crate) fn seen_at(&self, slot: Slot) -> Option<Bytes> {
        self.marks.iter().rev().find(|(at, _)| *at <= slot).map(|(_, state_vector)| state_vector.clone())
    }

    /// Whether [`Stored::shrink`] would drop something, now or when the state is one update.
    pub(crate) fn foldable(&self) -> bool {
        !self.kept.is_empty()
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

#[cfg(test)]
mod tests {
    use ringleaf_types::Epoch;

    use super::*;

    fn update(name: u64) -> Bytes {
        Bytes::from(format!("update {name}"))
    }

    /// Slots 1 to `last`, one update each.
    fn slots(last: u64) -> Stored {
        let mut stored = Stored::new(None);
        for slot in 1..=last {
            stored.push(Slot::new(slot), Arc::new([update(slot)]));
        }
        stored
    }

    fn snapshot(upto: u64) -> Snapshot {
        Snapshot {
            upto: Slot::new(upto),
            epoch: Epoch::new(1),
            deleted: false,
            state: Bytes::from_static(b"state"),
        }
    }

    fn names(updates: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<String> {
        updates.into_iter().map(|update| String::from_utf8_lossy(update.as_ref()).into_owned()).collect()
    }

    #[test]
    fn a_snapshot_takes_the_place_of_its_slots() {
        let mut stored = slots(4);
        stored.snapshot_created(&snapshot(3));
        assert_eq!(names(stored.updates()), ["state", "update 4"]);
        assert_eq!((stored.tail_slots(), stored.tail_bytes()), (1, 8));
        assert_eq!(stored.state_bytes(), 5 + 8);
    }

    #[test]
    fn an_older_snapshot_changes_nothing() {
        let mut stored = slots(4);
        stored.snapshot_created(&snapshot(3));
        stored.snapshot_created(&snapshot(2));
        assert_eq!(names(stored.updates()), ["state", "update 4"]);
        assert_eq!(stored.tail_slots(), 1);
    }

    #[test]
    fn slots_below_a_snapshot_stay_for_who_resumes_until_nobody_is_likely_to() {
        let mut stored = slots(4);
        stored.snapshot_created(&snapshot(3));
        assert_eq!(names(stored.few_after(Slot::new(1)).unwrap()), ["update 2", "update 3", "update 4"]);
        stored.shrink();
        assert_eq!(stored.few_after(Slot::new(1)), None);
        assert_eq!(names(stored.few_after(Slot::new(3)).unwrap()), ["update 4"]);
        assert_eq!(names(stored.updates()), ["state", "update 4"]);
    }

    #[test]
    fn what_was_loaded_is_all_that_is_there() {
        let mut stored = Stored::new(Some(&snapshot(3)));
        stored.push(Slot::new(4), Arc::new([update(4)]));
        assert_eq!(stored.few_after(Slot::new(2)), None);
        assert!(stored.few_after(Slot::new(3)).is_some());
    }

    #[test]
    fn the_recent_slots_are_bounded() {
        let mut stored = Stored::new(None);
        let large = Bytes::from(vec![0; RECENT_BYTES_MAX / 4]);
        for slot in 1..=10 {
            stored.push(Slot::new(slot), Arc::new([large.clone()]));
        }
        stored.snapshot_created(&snapshot(10));
        assert!(stored.kept_bytes <= RECENT_BYTES_MAX);
        assert!(stored.few_after(Slot::new(6)).is_some(), "four of them fit");
        assert_eq!(stored.few_after(Slot::new(5)), None);
    }

    #[test]
    fn many_slots_are_not_merged() {
        let stored = slots(MERGED_UPDATES_MAX as u64 + 1);
        assert_eq!(stored.few_after(Slot::ZERO), None);
        assert!(stored.few().is_none());
        assert!(stored.few_after(Slot::new(1)).is_some());
    }

    #[test]
    fn empty_slots_count_but_hold_nothing() {
        let mut stored = slots(1);
        stored.push(Slot::new(2), Arc::new([]));
        assert_eq!(stored.tail_slots(), 2);
        assert_eq!(names([stored.single().unwrap()]), ["update 1"]);
        assert_eq!(stored.few_after(Slot::new(1)), Some(Vec::new()));
        assert_eq!(Stored::new(None).single().unwrap(), EMPTY_UPDATE);
    }

    #[test]
    fn the_state_is_held_once() {
        let mut stored = slots(50);
        let state = Bytes::from(vec![0; 100_000]);
        stored.replace_base(state, Slot::new(50));
        stored.shrink();
        assert!(stored.resident_bytes() < 110_000);
        assert_eq!(stored.single().unwrap().len(), 100_000);
    }

    #[test]
    fn what_was_seen_is_remembered_at_intervals_and_thinned_out() {
        let mut stored = Stored::new(None);
        for slot in 1..=10_000 {
            let wanted = stored.wants_mark();
            stored.push(Slot::new(slot), Arc::new([]));
            if wanted {
                stored.mark(Slot::new(slot), Bytes::from(slot.to_string()));
            }
        }
        assert!(stored.marks.len() <= MARKS_MAX);
        assert_eq!(stored.seen_at(Slot::ZERO), None);
        for slot in [1, 500, 5_000, 9_500, 9_999] {
            let seen = stored.seen_at(Slot::new(slot)).unwrap();
            let at: u64 = std::str::from_utf8(&seen).unwrap().parse().unwrap();
            assert!(at <= slot && slot - at <= 128 + (10_000 - slot) / 4, "{slot}: {at}");
        }
    }
}
