//! What must be true in every state, or of every step.

use crate::network::Write;
use crate::rules::Rules;
use crate::store::{Record, Updates};
use crate::world::{Action, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// I1: who loads the document, after whatever crash, finds every acknowledged update in the store.
    AcknowledgedIsStored,
    /// I1: so does a reader whose snapshot and slots were read at different times.
    ReaderFindsAcknowledged,
    /// I2: a slot holds one record for ever, unless it is deleted.
    SlotHoldsOneRecord,
    /// I2: above a fence nothing of an older (or equal) epoch is acknowledged by its writer.
    FencedAcknowledgesNothing,
    /// I3: an owner acknowledges nothing before it has merged every slot below its fence.
    OwnerHasMerged,
    /// I9: a deleted slot is never created again.
    DeletedStaysDeleted,
    /// I10: creating a snapshot or deleting slots does not change what a load finds.
    CompactionChangesNothing,
    /// I11: a snapshot that exists is never changed.
    SnapshotHoldsForEver,
}

impl Fact {
    pub(crate) const ALL: [Self; 8] = [
        Self::AcknowledgedIsStored,
        Self::ReaderFindsAcknowledged,
        Self::SlotHoldsOneRecord,
        Self::FencedAcknowledgesNothing,
        Self::OwnerHasMerged,
        Self::DeletedStaysDeleted,
        Self::CompactionChangesNothing,
        Self::SnapshotHoldsForEver,
    ];
}

/// What a careful load finds now, or nothing if it would never end (a gap that stays).
pub(crate) fn loaded(world: &World, rules: &Rules) -> Updates {
    world.store.list(world.store.newest(), rules).map_or(0, |loaded| loaded.seen)
}

/// The facts that the step from `before` to `after` broke, as far as they show in the two.
pub(crate) fn check(before: &World, action: Action, after: &World, rules: &Rules, broken: &mut Vec<Fact>) {
    let now = loaded(after, rules);
    if after.acknowledged & !now != 0 {
        broken.push(Fact::AcknowledgedIsStored);
    }
    let Action::Deliver { write } = action else { return };
    for slot in 1..=rules.bounds.slots {
        let (old, new) = (before.store.row(slot), after.store.row(slot));
        if new.is_some() && new != after.store.first(slot) {
            broken.push(Fact::SlotHoldsOneRecord);
        }
        if old.is_none() && new.is_some() && before.store.first(slot).is_some() {
            broken.push(Fact::DeletedStaysDeleted);
        }
    }
    let compaction = match before.network.writes()[write] {
        Write::Snapshot(_) | Write::Trim { .. } => true,
        Write::Slot { .. } => false,
    };
    if compaction && now != loaded(before, rules) {
        broken.push(Fact::CompactionChangesNothing);
    }
    if before.store.snapshots().any(|old| after.store.snapshots().all(|new| new != old)) {
        broken.push(Fact::SnapshotHoldsForEver);
    }
}

/// What the acknowledgement of `record` in `slot` breaks, by a writer that has merged `merged`.
pub(crate) fn check_acknowledgement(
    world: &World,
    slot: u8,
    record: Record,
    merged: Updates,
    broken: &mut Vec<Fact>,
) {
    let newer = |(claim, fence): (usize, &crate::world::Fence)| {
        claim != usize::from(record.claim)
            && fence.slot != 0
            && fence.slot <= slot
            && fence.epoch >= record.epoch
    };
    if world.fences.iter().enumerate().any(newer) {
        broken.push(Fact::FencedAcknowledgesNothing);
    }
    check_merged(world, record.claim, merged, broken);
}

/// What any acknowledgement by the owner `claim` breaks.
pub(crate) fn check_merged(world: &World, claim: u8, merged: Updates, broken: &mut Vec<Fact>) {
    let below = 1..world.fences[usize::from(claim)].slot;
    let must = below.filter_map(|slot| world.store.first(slot)).fold(0, |all, record| all | record.body);
    if must & !merged != 0 {
        broken.push(Fact::OwnerHasMerged);
    }
}
