//! Rules about snapshots, and about what may be deleted.

use std::sync::Arc;

use bytes::Bytes;
use ringleaf_types::{Epoch, Slot, Snapshot};
use tokio::task::JoinSet;

use super::{add_snapshot, fill, id, numbers, record, snapshot};
use crate::{Created, Store, StoreError};

pub async fn a_load_is_the_newest_snapshot_and_the_slots_after_it(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=6).await;
    add_snapshot(&*store, &document, 2).await;
    add_snapshot(&*store, &document, 4).await;
    let stored = store.read(&document).await.expect("read");
    assert_eq!(stored.snapshot, Some(snapshot(4)));
    assert_eq!(numbers(&stored.slots), [5, 6]);
    add_snapshot(&*store, &document, 6).await;
    let stored = store.read(&document).await.expect("read");
    assert_eq!((stored.snapshot, stored.slots), (Some(snapshot(6)), Vec::new()));
}

/// R7: an owner that slept finds its slot taken, though the row is gone or never was.
pub async fn a_slot_at_or_below_the_newest_snapshot_cannot_be_created(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, [1, 2]).await;
    add_snapshot(&*store, &document, 5).await;
    for slot in 3..=5 {
        let created = store.create_slot(&document, Slot::new(slot), record(99)).await.expect("create");
        assert_eq!(created, Created::Covered, "slot {slot}");
    }
    let created = store.create_slot(&document, Slot::new(2), record(99)).await.expect("create");
    assert_eq!(created, Created::Taken(record(2)), "a row that is still there tells who took it");
    fill(&*store, &document, [6]).await;
    assert_eq!(numbers(&store.read(&document).await.expect("read").slots), [6]);
}

/// I11.
pub async fn a_snapshot_is_never_replaced(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=4).await;
    add_snapshot(&*store, &document, 3).await;
    for upto in [3, 2, 1] {
        let other = Snapshot {
            upto: Slot::new(upto),
            epoch: Epoch::new(9),
            deleted: true,
            state: Bytes::from_static(b"other"),
        };
        assert!(!store.create_snapshot(&document, other).await.expect("create"), "{upto}");
    }
    let stored = store.read(&document).await.expect("read");
    assert_eq!(stored.snapshot, Some(snapshot(3)));
    assert_eq!(numbers(&stored.slots), [4]);
}

/// R9: a store that went backwards gets a snapshot of what its owner still has.
pub async fn a_snapshot_may_cover_more_than_the_log(store: Arc<dyn Store>) {
    let (document, imported) = (id("notes"), id("imported"));
    fill(&*store, &document, 1..=2).await;
    add_snapshot(&*store, &document, 7).await;
    add_snapshot(&*store, &imported, 1).await;
    fill(&*store, &document, [8]).await;
    fill(&*store, &imported, [2]).await;
    let stored = store.read(&document).await.expect("read");
    assert_eq!(stored.snapshot, Some(snapshot(7)));
    assert_eq!(numbers(&stored.slots), [8]);
    assert_eq!(numbers(&store.read(&imported).await.expect("read").slots), [2]);
}

/// R7, with a long retention.
pub async fn trim_waits_for_the_retention(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=6).await;
    add_snapshot(&*store, &document, 3).await;
    add_snapshot(&*store, &document, 6).await;
    assert_eq!(store.trim(&document).await.expect("trim"), 0);
    assert_eq!(numbers(&store.read_after(&document, Slot::ZERO).await.expect("read on")), [1, 2, 3, 4, 5, 6]);
}

/// R7.
pub async fn trim_deletes_nothing_below_two_snapshots(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=6).await;
    assert_eq!(store.trim(&document).await.expect("trim"), 0);
    add_snapshot(&*store, &document, 6).await;
    assert_eq!(store.trim(&document).await.expect("trim"), 0);
    assert_eq!(numbers(&store.read_after(&document, Slot::ZERO).await.expect("read on")), [1, 2, 3, 4, 5, 6]);
}

/// R7: never "everything so far", and not what the newest snapshot alone covers either.
pub async fn trim_deletes_only_what_the_previous_snapshot_covers(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=10).await;
    add_snapshot(&*store, &document, 4).await;
    add_snapshot(&*store, &document, 8).await;
    assert_eq!(store.trim(&document).await.expect("trim"), 4);
    assert_eq!(
        numbers(&store.read_after(&document, Slot::new(4)).await.expect("read on")),
        [5, 6, 7, 8, 9, 10]
    );
    assert_eq!(store.trim(&document).await.expect("trim"), 0, "nothing is left to trim");
    let stored = store.read(&document).await.expect("read");
    assert_eq!(stored.snapshot, Some(snapshot(8)));
    assert_eq!(numbers(&stored.slots), [9, 10]);
}

/// R7.
pub async fn trim_keeps_two_snapshots(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=8).await;
    for upto in [2, 4, 6, 8] {
        add_snapshot(&*store, &document, upto).await;
    }
    assert_eq!(store.trim(&document).await.expect("trim"), 6 + 2, "slots to 6, snapshots 2 and 4");
    assert_eq!(numbers(&store.read_after(&document, Slot::new(6)).await.expect("read on")), [7, 8]);
    assert_eq!(store.read(&document).await.expect("read").snapshot, Some(snapshot(8)));
}

/// R7, R10.
pub async fn a_trimmed_slot_cannot_be_created_again(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=6).await;
    add_snapshot(&*store, &document, 3).await;
    add_snapshot(&*store, &document, 6).await;
    store.trim(&document).await.expect("trim");
    for slot in 1..=3 {
        let created = store.create_slot(&document, Slot::new(slot), record(slot)).await.expect("create");
        assert_eq!(created, Created::Covered, "slot {slot}");
    }
}

/// Nobody who resumes from a trimmed slot may believe that nothing is new.
pub async fn reading_on_from_a_trimmed_slot_is_an_error(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=6).await;
    add_snapshot(&*store, &document, 3).await;
    add_snapshot(&*store, &document, 6).await;
    store.trim(&document).await.expect("trim");
    let error = store.read_after(&document, Slot::new(1)).await.expect_err("slot 2 is gone");
    assert!(matches!(error, StoreError::Gap { after, .. } if after == Slot::new(1)), "{error}");
}

/// I1, I10: at every moment a load finds everything that was created, while slots are written, compacted and trimmed.
pub async fn trim_beside_a_writer_loses_nothing(store: Arc<dyn Store>) {
    const SLOTS: u64 = 400;
    let document = id("notes");
    let mut tasks = JoinSet::new();
    let (appending, appended) = (store.clone(), document.clone());
    tasks.spawn(async move { fill(&*appending, &appended, 1..=SLOTS).await });
    let mut loaded = 0;
    while loaded < SLOTS {
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("the writer does not panic");
        }
        let stored = store.read(&document).await.expect("a load finds no gap");
        let upto = stored.snapshot.as_ref().map_or(0, |snapshot| snapshot.upto.get());
        let now = numbers(&stored.slots).last().copied().unwrap_or(upto);
        assert!(now >= loaded, "slot {loaded} was there, now the log ends at {now}");
        loaded = now;
        if stored.slots.len() > 7 {
            add_snapshot(&*store, &document, loaded - 2).await;
        }
        store.trim(&document).await.expect("trim");
        tokio::task::yield_now().await;
    }
    tasks.join_all().await;
}

/// R10.
pub async fn a_purged_document_is_empty_and_its_slots_go_on(store: Arc<dyn Store>) {
    let document = id("notes");
    let tombstone =
        Snapshot { upto: Slot::new(6), epoch: Epoch::new(3), deleted: false, state: Bytes::new() };
    assert!(!store.purge(&document, tombstone.clone()).await.expect("purge"), "there was never anything");
    fill(&*store, &document, 1..=5).await;
    add_snapshot(&*store, &document, 3).await;
    store.mark_attempt(&document).await.expect("mark");
    assert!(store.purge(&document, tombstone.clone()).await.expect("purge"));
    assert!(!store.purge(&document, tombstone.clone()).await.expect("purge"), "a second one finds the first");
    let stored = store.read(&document).await.expect("read");
    assert_eq!((stored.snapshot, stored.slots), (Some(tombstone), Vec::new()));
    for slot in 1..=6 {
        let created = store.create_slot(&document, Slot::new(slot), record(slot)).await.expect("create");
        assert_eq!(created, Created::Covered, "slot {slot}");
    }
    fill(&*store, &document, [7]).await;
    assert_eq!(store.mark_attempt(&document).await.expect("mark").attempts, 1);
}

/// Whoever purges must have seen the end of the log.
pub async fn a_purge_refuses_what_is_newer(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=5).await;
    for upto in [1, 4, 5] {
        assert!(!store.purge(&document, snapshot(upto)).await.expect("purge"), "{upto}");
    }
    add_snapshot(&*store, &document, 9).await;
    assert!(!store.purge(&document, snapshot(9)).await.expect("purge"));
    assert_eq!(store.read(&document).await.expect("read").snapshot, Some(snapshot(9)));
    assert_eq!(numbers(&store.read_after(&document, Slot::ZERO).await.expect("read on")), [1, 2, 3, 4, 5]);
}
