//! Records and snapshots that are too large for one commit.

use std::sync::Arc;

use super::*;
use crate::sqlite::large::PIECE_BYTES;

fn bytes(length: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..=length as u64 / 8).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes.into()
}

fn large_record(nonce: u64) -> Record {
    record_of(nonce, bytes(3 * PIECE_BYTES))
}

fn large_snapshot(upto: u64) -> Snapshot {
    Snapshot { state: bytes(3 * PIECE_BYTES), ..snapshot(upto) }
}

fn pieces(store: &SqliteStore) -> u64 {
    // Those of rows: after a purge there are some that only overwrite free pages.
    stranger(store).query_row("SELECT count(*) FROM pieces WHERE rest > 0", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn every_size_around_a_piece_comes_back_as_it_went() {
    let (store, folder) = filled(0).await;
    let mut lengths = vec![];
    for pieces in 1..=3 {
        lengths.extend(pieces * PIECE_BYTES - 50..pieces * PIECE_BYTES + 3);
    }
    let mut records = Vec::new();
    for (slot, &length) in (1..).zip(lengths.iter().step_by(11)) {
        let record = record_of(slot, bytes(length));
        let created = store.create_slot(&id("notes"), Slot::new(slot), record.clone()).await.unwrap();
        assert_eq!(created, Created::Created);
        records.push((Slot::new(slot), record));
    }
    for (upto, length) in (1..).zip([PIECE_BYTES - 7, PIECE_BYTES - 6, 2 * PIECE_BYTES - 7, 5 * PIECE_BYTES])
    {
        let snapshot = Snapshot { state: bytes(length), ..snapshot(upto) };
        assert!(store.create_snapshot(&id("snapshots"), snapshot.clone()).await.unwrap());
        assert!(store.read(&id("snapshots")).await.unwrap().snapshot == Some(snapshot));
    }
    drop(store);
    assert!(open(folder.path()).read(&id("notes")).await.unwrap().slots == records);
}

/// I14.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_snapshot_holds_up_nobody_else() {
    let (store, _folder) = filled(0).await;
    let store = Arc::new(store);
    let writing = store.clone();
    let (finished, over) = oneshot::channel();
    let snapshots = tokio::task::JoinSet::from_iter([async move {
        let large = Snapshot { state: Bytes::from(vec![7; 40 << 20]), ..snapshot(1) };
        assert!(writing.create_snapshot(&id("large"), large).await.unwrap());
        finished.send(()).unwrap();
    }]);
    let mut slot = 0;
    while over.is_empty() {
        slot += 1;
        append(&store, &id("notes"), [slot]).await;
    }
    snapshots.join_all().await;
    assert!(slot > 20, "only {slot} commits found room between 80 pieces");
}

#[tokio::test]
async fn a_large_record_that_comes_too_late_leaves_nothing_behind() {
    let (store, _folder) = filled(1).await;
    let taken = store.create_slot(&id("notes"), Slot::new(1), large_record(9)).await.unwrap();
    assert_eq!(taken, Created::Taken(record(1)));
    assert!(store.create_snapshot(&id("notes"), snapshot(5)).await.unwrap());
    let covered = store.create_slot(&id("notes"), Slot::new(4), large_record(9)).await.unwrap();
    assert_eq!(covered, Created::Covered);
    assert!(!store.create_snapshot(&id("notes"), large_snapshot(5)).await.unwrap());
    assert_eq!(pieces(&store), 0);
}

#[tokio::test]
async fn a_large_record_that_is_written_again_is_recognized_and_kept() {
    let (store, _folder) = filled(0).await;
    let first = store.create_slot(&id("notes"), Slot::new(1), large_record(1)).await.unwrap();
    let written = pieces(&store);
    assert!(written > 1);
    let again = store.create_slot(&id("notes"), Slot::new(1), large_record(1)).await.unwrap();
    assert!(first == Created::Created && again == Created::Taken(large_record(1)));
    assert_eq!(pieces(&store), written);
    assert!(store.read(&id("notes")).await.unwrap().slots == [(Slot::new(1), large_record(1))]);
}

#[tokio::test]
async fn pieces_of_a_row_that_is_there_cannot_be_thrown_away() {
    let (store, _folder) = filled(0).await;
    store.create_slot(&id("notes"), Slot::new(1), large_record(1)).await.unwrap();
    assert!(store.create_snapshot(&id("other"), large_snapshot(1)).await.unwrap());
    let written = pieces(&store);
    for rest in 0..10 {
        store.throw_away(Some(rest)).await;
    }
    assert_eq!(pieces(&store), written);
}

#[tokio::test]
async fn what_is_trimmed_or_purged_goes_with_its_pieces() {
    let (store, _folder) = filled(0).await;
    for slot in 1..=4 {
        store.create_slot(&id("notes"), Slot::new(slot), large_record(slot)).await.unwrap();
    }
    for upto in [1, 2, 4] {
        assert!(store.create_snapshot(&id("notes"), large_snapshot(upto)).await.unwrap());
    }
    let (before, of_each) = (pieces(&store), pieces(&store) / 7);
    assert_eq!(store.trim(&id("notes")).await.unwrap(), 3, "slots 1 and 2, snapshot 1");
    assert_eq!(pieces(&store), before - 3 * of_each);
    let stored = store.read(&id("notes")).await.unwrap();
    assert!(stored.snapshot == Some(large_snapshot(4)));
    assert_eq!(store.read_after(&id("notes"), Slot::new(2)).await.unwrap().len(), 2);
    assert!(store.purge(&id("notes"), snapshot(5)).await.unwrap());
    assert_eq!(pieces(&store), 0);
}

#[tokio::test]
async fn pieces_without_a_row_are_gone_after_reopening_and_no_others() {
    let (store, folder) = filled(0).await;
    store.create_slot(&id("notes"), Slot::new(1), large_record(1)).await.unwrap();
    assert!(store.create_snapshot(&id("other"), large_snapshot(1)).await.unwrap());
    let written = pieces(&store);
    // As if the process ended before the row came.
    store.write_ahead(bytes(5 * PIECE_BYTES)).await.unwrap();
    assert_eq!(pieces(&store), written + 4);
    drop(store);
    let store = open(folder.path());
    assert_eq!(pieces(&store), written);
    store.create_slot(&id("notes"), Slot::new(2), large_record(2)).await.unwrap();
    let slots = store.read(&id("notes")).await.unwrap().slots;
    assert!(slots == [(Slot::new(1), large_record(1)), (Slot::new(2), large_record(2))]);
    assert!(store.read(&id("other")).await.unwrap().snapshot == Some(large_snapshot(1)));
}

#[tokio::test]
async fn a_missing_or_changed_piece_is_noticed() {
    for damage in [
        "DELETE FROM pieces WHERE piece = 1",
        "DELETE FROM pieces",
        "UPDATE pieces SET piece = 3 - piece",
        "UPDATE pieces SET bytes = X'00' WHERE piece = 1",
    ] {
        let (store, _folder) = filled(0).await;
        let record = record_of(1, bytes(4 * PIECE_BYTES));
        store.create_slot(&id("notes"), Slot::new(1), record).await.unwrap();
        stranger(&store)
            .execute_batch(&format!("BEGIN; DROP INDEX pieces_by_rest; {damage}; COMMIT"))
            .unwrap();
        let error = store.read(&id("notes")).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{damage}: {error}");
    }
}

#[tokio::test]
async fn a_listing_and_a_backup_count_pieces() {
    let (store, folder) = filled(0).await;
    store.create_slot(&id("notes"), Slot::new(1), large_record(1)).await.unwrap();
    assert!(store.list("", None, 1).await.unwrap()[0].bytes > 3 * PIECE_BYTES as u64);
    stranger(&store).execute_batch("DELETE FROM pieces WHERE piece = 0").unwrap();
    let error = store.backup(&folder.path().join("copy.db"), |_| {}).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
}
