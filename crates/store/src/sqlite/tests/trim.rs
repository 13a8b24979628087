//! What the writer deletes, whatever the plan says.

use super::*;
use crate::sqlite::changes::TrimPlan;

async fn trim(store: &SqliteStore, upto: u64, previous: u64) -> u64 {
    let plan = TrimPlan { upto: Slot::new(upto), previous: Slot::new(previous) };
    store.change(Change::Trim { document: id("notes"), plan }).await.unwrap().count()
}

async fn left(store: &SqliteStore, after: u64) -> Vec<u64> {
    let slots = store.read_after(&id("notes"), Slot::new(after)).await.unwrap();
    slots.iter().map(|(slot, _)| slot.get()).collect()
}

/// R7, in the transaction that deletes: a plan that counts on a snapshot which is not there deletes nothing.
#[tokio::test]
async fn a_plan_without_two_snapshots_deletes_nothing() {
    let (store, _folder) = filled(6).await;
    assert_eq!(trim(&store, 6, 6).await, 0);
    assert!(store.create_snapshot(&id("notes"), snapshot(4)).await.unwrap());
    assert_eq!(trim(&store, 4, 4).await, 0, "the only snapshot");
    assert!(store.create_snapshot(&id("notes"), snapshot(6)).await.unwrap());
    assert_eq!(trim(&store, 6, 6).await, 0, "only the newest covers it");
    assert_eq!(left(&store, 0).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(trim(&store, 3, 4).await, 3);
    assert_eq!(left(&store, 3).await, [4, 5, 6]);
}

/// A load at any moment, and a crash at any moment, finds a log without a hole.
#[tokio::test]
async fn a_long_trim_deletes_from_the_lowest_slot_up() {
    const SLOTS: u64 = 1_300;
    let (store, _folder) = filled(0).await;
    let document = id("notes");
    let appends = (1..=SLOTS).map(|slot| store.create_slot(&document, Slot::new(slot), record(slot)));
    for outcome in futures_util::future::join_all(appends).await {
        assert_eq!(outcome.unwrap(), Created::Created);
    }
    for upto in [600, 1_200, SLOTS] {
        assert!(store.create_snapshot(&document, snapshot(upto)).await.unwrap());
    }
    assert_eq!(trim(&store, 1_200, 1_200).await, changes::TRIM_ROWS_MAX);
    let first_left = changes::TRIM_ROWS_MAX + 1;
    assert_eq!(left(&store, changes::TRIM_ROWS_MAX).await, (first_left..=SLOTS).collect::<Vec<_>>());
    let rest = 1_200 - changes::TRIM_ROWS_MAX + 1;
    assert_eq!(store.trim(&document).await.unwrap(), rest, "the other slots, and the oldest snapshot");
    assert_eq!(left(&store, 1_200).await, (1_201..=SLOTS).collect::<Vec<_>>());
}

/// I1: slots that came after the plan was made are none of its business.
#[tokio::test]
async fn a_late_trim_deletes_nothing_new() {
    let (store, _folder) = filled(6).await;
    for upto in [3, 6] {
        assert!(store.create_snapshot(&id("notes"), snapshot(upto)).await.unwrap());
    }
    let plan = TrimPlan { upto: Slot::new(3), previous: Slot::new(3) };
    append(&store, &id("notes"), 7..=9).await;
    assert!(store.create_snapshot(&id("notes"), snapshot(9)).await.unwrap());
    let trimmed = store.change(Change::Trim { document: id("notes"), plan }).await.unwrap();
    assert_eq!(trimmed.count(), 3);
    assert_eq!(left(&store, 3).await, [4, 5, 6, 7, 8, 9]);
}
