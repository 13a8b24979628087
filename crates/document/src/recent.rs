//! The slots that became durable lately, for those who resume from one; and how long the log is.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ringleaf_types::Slot;

/// Slots are kept up to so many bytes.
const RECENT_BYTES_MAX: usize = 64 << 10;
/// Likewise, so many slots.
const RECENT_SLOTS_MAX: usize = 256;
/// A state vector is remembered every so many slots …
const MARK_SLOTS: u64 = 64;
/// … and so many of them.
const MARKS_MAX: usize = 32;
/// Together they have no more bytes than this, unless one alone has more: a document of half a million clients is asked for its
/// newest state vector only.
const MARKS_BYTES_MAX: usize = 4 << 20;

/// All of that may take such a part of what the document takes: a difference of a small document costs no more than its slots.
const STATE_SHARE: usize = 8;
/// It may always take so much.
const ROOM_BYTES_MIN: usize = 384;
/// What a slot takes beside its updates.
const SLOT_BYTES: usize = 128;
/// What a state vector takes beside its bytes.
const MARK_BYTES: usize = 48;

/// One durable slot.
struct Kept {
    slot: Slot,
    updates: Arc<[Bytes]>,
    bytes: usize,
}

pub(crate) struct Recent {
    /// Slots in order, without a gap but for empty ones.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// All slots after this one are in `kept`.
    kept_after: Slot,
    /// What the store's newest snapshot covers.
    snapshot_upto: Slot,
    /// Slots and bytes after it.
    tail_slots: usize,
    tail_bytes: usize,
    /// A snapshot of everything through this slot was asked for, when there were so many bytes in the tail.
    asked_for: (Slot, usize),
    /// State vectors of the durable state, as of some slots, oldest first.
    marks: VecDeque<(Slot, Bytes)>,
    last: Slot,
    /// How much all of this may take.
    room: usize,
}

impl Recent {
    pub(crate) fn new(snapshot_upto: Slot) -> Self {
        Self {
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_after: snapshot_upto,
            snapshot_upto,
            tail_slots: 0,
            tail_bytes: 0,
            asked_for: (snapshot_upto, 0),
            marks: VecDeque::new(),
            last: snapshot_upto,
            room: usize::MAX,
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
            self.kept.push_back(Kept { slot, updates, bytes });
            self.drop_kept(RECENT_SLOTS_MAX, RECENT_BYTES_MAX);
        }
    }

    /// Keeps no more than is in proportion to a document of so many bytes.
    pub(crate) fn fit(&mut self, state_bytes: usize) {
        self.room = (state_bytes / STATE_SHARE).max(ROOM_BYTES_MIN);
        while self.resident_bytes() > self.room && !self.kept.is_empty() {
            self.drop_kept(self.kept.len() - 1, usize::MAX);
        }
    }

    /// Nobody is likely to resume: keep nothing.
    pub(crate) fn shrink(&mut self) {
        self.drop_kept(0, 0);
        self.kept.shrink_to_fit();
        self.marks.clear();
    }

    fn drop_kept(&mut self, slots_max: usize, bytes_max: usize) {
        while self.kept.len() > slots_max || self.kept_bytes > bytes_max {
            let Some(kept) = self.kept.pop_front() else { return };
            self.kept_after = kept.slot;
            self.kept_bytes -= kept.bytes;
        }
    }

    /// A snapshot of everything that there is was asked for.
    pub(crate) fn snapshot_asked_for(&mut self) {
        self.asked_for = (self.last, self.tail_bytes);
    }

    /// The store has this snapshot.
    pub(crate) fn snapshot_created(&mut self, upto: Slot) {
        if upto < self.snapshot_upto {
            return;
        }
        self.snapshot_upto = upto;
        self.tail_slots = usize::try_from(self.last.get().saturating_sub(upto.get())).unwrap_or(usize::MAX);
        // Of a snapshot that somebody else has made no more is known than that it covers at least as much.
        let covered = if upto >= self.asked_for.0 { self.asked_for.1 } else { 0 };
        self.tail_bytes = if self.tail_slots == 0 { 0 } else { self.tail_bytes.saturating_sub(covered) };
        self.asked_for = (upto, 0);
    }

    fn after(&self, slot: Slot) -> impl Iterator<Item = &Bytes> + Clone {
        let start = self.kept.partition_point(|kept| kept.slot <= slot);
        self.kept.iter().skip(start).flat_map(|kept| kept.updates.iter())
    }

    /// The updates of the slots after `from`, if they are all there.
    pub(crate) fn after_if_kept(&self, from: Slot) -> Option<impl Iterator<Item = &Bytes> + Clone> {
        (from >= self.kept_after).then(|| self.after(from))
    }

    /// Whether a state vector should be remembered for the slot that is about to be written.
    pub(crate) fn wants_mark(&self) -> bool {
        self.marks.back().is_none_or(|(slot, _)| self.last.get() >= slot.get() + MARK_SLOTS)
    }

    /// What was seen when `slot` became durable.
    pub(crate) fn mark(&mut self, slot: Slot, state_vector: Bytes) {
        let new = state_vector.len() + MARK_BYTES;
        while self.marks.len() >= MARKS_MAX
            || (self.marks.len() > 2 && self.marks_bytes() + new > self.room / 2)
        {
            // The older they are, the further they may lie apart: the most dispensable one goes.
            let at = |mark: usize| self.marks[mark].0.get();
            let lost = |mark: &usize| (at(mark + 1) - at(mark - 1)) * 1_024 / (slot.get() - at(*mark) + 1);
            let Some(mark) = (1..self.marks.len() - 1).min_by_key(lost) else { break };
            self.marks.remove(mark);
        }
        self.marks.push_back((slot, state_vector));
        let mut bytes: usize = self.marks.iter().map(|(_, state_vector)| state_vector.len()).sum();
        while bytes > MARKS_BYTES_MAX && self.marks.len() > 1 {
            bytes -= self.marks.pop_front().map_or(0, |(_, state_vector)| state_vector.len());
        }
    }

    /// A state vector of the durable state at or before `slot`.
    pub(crate) fn seen_at(&self, slot: Slot) -> Option<Bytes> {
        self.marks.iter().rev().find(|(at, _)| *at <= slot).map(|(_, state_vector)| state_vector.clone())
    }

    /// Whether [`Recent::shrink`] would drop something.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.marks.is_empty()
    }

    pub(crate) fn tail_slots(&self) -> usize {
        self.tail_slots
    }

    pub(crate) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        self.kept_bytes + self.kept.len() * SLOT_BYTES + self.marks_bytes()
    }

    fn marks_bytes(&self) -> usize {
        self.marks.iter().map(|(_, state_vector)| state_vector.len() + MARK_BYTES).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: u64) -> Bytes {
        Bytes::from(format!("update {name}"))
    }

    /// Slots 1 to `last`, one update each.
    fn slots(last: u64) -> Recent {
        let mut recent = Recent::new(Slot::ZERO);
        for slot in 1..=last {
            recent.push(Slot::new(slot), Arc::new([update(slot)]));
        }
        recent
    }

    fn names(recent: &Recent, from: u64) -> Option<Vec<String>> {
        let updates = recent.after_if_kept(Slot::new(from))?;
        Some(updates.map(|update| String::from_utf8_lossy(update).into_owned()).collect())
    }

    #[test]
    fn a_snapshot_makes_the_tail_shorter_by_what_it_covers() {
        let mut recent = slots(4);
        recent.snapshot_asked_for();
        recent.push(Slot::new(5), Arc::new([update(5)]));
        recent.snapshot_created(Slot::new(4));
        assert_eq!((recent.tail_slots(), recent.tail_bytes()), (1, 8));
        recent.snapshot_created(Slot::new(3));
        assert_eq!(recent.tail_slots(), 1, "an older one changes nothing");
        recent.snapshot_created(Slot::new(5));
        assert_eq!((recent.tail_slots(), recent.tail_bytes()), (0, 0));
    }

    #[test]
    fn slots_stay_for_who_resumes_until_nobody_is_likely_to() {
        let mut recent = slots(4);
        assert_eq!(names(&recent, 1).unwrap(), ["update 2", "update 3", "update 4"]);
        recent.shrink();
        assert_eq!(names(&recent, 3), None);
        assert_eq!(names(&recent, 4).unwrap(), [""; 0]);
        assert_eq!(recent.resident_bytes(), 0);
    }

    #[test]
    fn what_was_loaded_is_all_that_is_there() {
        let mut recent = Recent::new(Slot::new(3));
        recent.push(Slot::new(4), Arc::new([update(4)]));
        assert_eq!(names(&recent, 2), None);
        assert!(names(&recent, 3).is_some());
    }

    #[test]
    fn the_recent_slots_are_bounded() {
        let mut recent = Recent::new(Slot::ZERO);
        let large = Bytes::from(vec![0; RECENT_BYTES_MAX / 4]);
        for slot in 1..=10 {
            recent.push(Slot::new(slot), Arc::new([large.clone()]));
        }
        assert!(recent.kept_bytes <= RECENT_BYTES_MAX);
        assert!(names(&recent, 6).is_some(), "four of them fit");
        assert_eq!(names(&recent, 5), None);
    }

    /// Who resumes from before gets a difference, and of a small document that is small.
    #[test]
    fn what_is_kept_is_in_proportion_to_the_document() {
        for (state_bytes, most) in [(0, 384), (4 << 10, 512), (64 << 10, 8 << 10), (1 << 30, 64 << 10)] {
            let mut recent = Recent::new(Slot::ZERO);
            for slot in 1..=1_000 {
                let wanted = recent.wants_mark();
                recent.push(Slot::new(slot), Arc::new([update(slot)]));
                if wanted {
                    recent.mark(Slot::new(slot), Bytes::from_static(&[0; 10]));
                }
                recent.fit(state_bytes);
                assert!(recent.resident_bytes() <= most, "{state_bytes}: {}", recent.resident_bytes());
            }
            assert!(names(&recent, 999).is_some(), "{state_bytes}: the last one is there");
            assert!(recent.seen_at(Slot::new(997)).is_some() && recent.seen_at(Slot::new(1)).is_some());
        }
    }

    #[test]
    fn large_state_vectors_are_forgotten_sooner() {
        let mut recent = slots(1);
        for slot in 2..10 {
            recent.mark(Slot::new(slot), Bytes::from(vec![0; MARKS_BYTES_MAX / 3]));
        }
        assert!(recent.resident_bytes() < MARKS_BYTES_MAX + 4_096);
        assert!(recent.seen_at(Slot::new(7)).is_some());
        recent.mark(Slot::new(10), Bytes::from(vec![0; MARKS_BYTES_MAX * 2]));
        assert!(recent.seen_at(Slot::new(9)).is_none() && recent.seen_at(Slot::new(10)).is_some());
    }

    #[test]
    fn empty_slots_count_but_hold_nothing() {
        let mut recent = slots(1);
        recent.push(Slot::new(2), Arc::new([]));
        assert_eq!(recent.tail_slots(), 2);
        assert_eq!(names(&recent, 1).unwrap(), [""; 0]);
    }

    #[test]
    fn what_was_seen_is_remembered_at_intervals_and_thinned_out() {
        let mut recent = Recent::new(Slot::ZERO);
        for slot in 1..=10_000 {
            let wanted = recent.wants_mark();
            recent.push(Slot::new(slot), Arc::new([]));
            if wanted {
                recent.mark(Slot::new(slot), Bytes::from(slot.to_string()));
            }
        }
        assert!(recent.marks.len() <= MARKS_MAX);
        assert_eq!(recent.seen_at(Slot::ZERO), None);
        for slot in [1, 500, 5_000, 9_500, 9_999] {
            let seen = recent.seen_at(Slot::new(slot)).unwrap();
            let at: u64 = std::str::from_utf8(&seen).unwrap().parse().unwrap();
            assert!(at <= slot && slot - at <= 128 + (10_000 - slot) / 4, "{slot}: {at}");
        }
    }
}
