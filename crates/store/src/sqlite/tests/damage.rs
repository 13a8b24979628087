//! Bytes that are no longer what they were.

use super::*;

/// Flips the last byte of a row.
fn flip(connection: &Connection, table: &str, column: &str, number: u64) {
    let row = format!("{column} = ?1");
    let mut record: Vec<u8> = connection
        .query_row(&format!("SELECT record FROM {table} WHERE {row}"), [number], |row| row.get(0))
        .unwrap();
    *record.last_mut().unwrap() ^= 0x40;
    connection.execute(&format!("UPDATE {table} SET record = ?2 WHERE {row}"), (number, record)).unwrap();
}

#[tokio::test]
async fn a_corrupt_slot_is_an_error_and_never_skipped() {
    let (store, _folder) = filled(5).await;
    flip(&stranger(&store), "slots", "slot", 3);
    for error in [
        store.read(&id("notes")).await.unwrap_err(),
        store.read_after(&id("notes"), Slot::new(1)).await.unwrap_err(),
        store.create_slot(&id("notes"), Slot::new(3), record(3)).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Corrupt { slot, .. } if slot == Slot::new(3)), "{error}");
    }
    assert_eq!(store.read_after(&id("notes"), Slot::new(3)).await.unwrap().len(), 2);
    append(&store, &id("notes"), [6]).await;
    append(&store, &id("other"), [1]).await;
}

#[tokio::test]
async fn a_row_under_another_name_or_number_is_an_error() {
    let (store, _folder) = filled(2).await;
    append(&store, &id("other"), [1]).await;
    let stranger = stranger(&store);
    stranger.execute_batch("UPDATE documents SET name = name || '!'").unwrap();
    assert!(matches!(store.read(&id("other!")).await, Err(StoreError::Corrupt { .. })));
    stranger.execute_batch("UPDATE documents SET name = 'notes' WHERE name = 'notes!'").unwrap();
    assert_eq!(slots_of(&store, &id("notes")).await, [1, 2]);
    let exchange = "UPDATE slots SET slot = -slot; UPDATE slots SET slot = 3 + slot";
    stranger.execute_batch(exchange).unwrap();
    let error = store.read(&id("notes")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_row_of_a_later_version_is_refused() {
    let (store, _folder) = filled(1).await;
    stranger(&store).execute_batch("UPDATE slots SET record = X'63000000000000'").unwrap();
    let error = store.read(&id("notes")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreadable { what } if what.contains("version 99")), "{error}");
}

#[tokio::test]
async fn a_corrupt_snapshot_is_passed_over_while_an_older_one_and_the_slots_are_there() {
    let (store, _folder) = filled(9).await;
    for upto in [2, 5, 8] {
        assert!(store.create_snapshot(&id("notes"), snapshot(upto)).await.unwrap());
    }
    let stranger = stranger(&store);
    flip(&stranger, "snapshots", "upto", 8);
    let stored = store.read(&id("notes")).await.unwrap();
    assert_eq!(stored.snapshot, Some(snapshot(5)));
    assert_eq!(slots_of(&store, &id("notes")).await, [6, 7, 8, 9]);
    flip(&stranger, "snapshots", "upto", 5);
    assert_eq!(store.read(&id("notes")).await.unwrap().snapshot, Some(snapshot(2)));
    flip(&stranger, "snapshots", "upto", 2);
    let stored = store.read(&id("notes")).await.unwrap();
    assert_eq!(stored.snapshot, None, "the whole log is there");
    assert_eq!(slots_of(&store, &id("notes")).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// I11: a document that cannot be loaded whole is not loaded.
#[tokio::test]
async fn a_corrupt_snapshot_without_its_slots_is_an_error() {
    let (store, _folder) = filled(6).await;
    for upto in [3, 6] {
        assert!(store.create_snapshot(&id("notes"), snapshot(upto)).await.unwrap());
    }
    assert_eq!(store.trim(&id("notes")).await.unwrap(), 3);
    let stranger = stranger(&store);
    flip(&stranger, "snapshots", "upto", 6);
    assert_eq!(slots_of(&store, &id("notes")).await, [4, 5, 6], "the previous one takes over");
    stranger.execute_batch("DELETE FROM slots WHERE slot = 6").unwrap();
    let error = store.read(&id("notes")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { slot, .. } if slot == Slot::new(6)), "{error}");
    flip(&stranger, "snapshots", "upto", 3);
    assert!(store.read(&id("notes")).await.is_err());
}

/// R7: what a corrupt snapshot covers is all that is left of it.
#[tokio::test]
async fn nothing_is_trimmed_on_the_word_of_a_corrupt_snapshot() {
    for corrupt in [3, 6] {
        let (store, _folder) = filled(6).await;
        for upto in [3, 6] {
            assert!(store.create_snapshot(&id("notes"), snapshot(upto)).await.unwrap());
        }
        flip(&stranger(&store), "snapshots", "upto", corrupt);
        assert!(matches!(store.trim(&id("notes")).await, Err(StoreError::Corrupt { .. })));
        let kept = store.read_after(&id("notes"), Slot::ZERO).await.unwrap();
        assert_eq!(kept.len(), 6);
    }
}

#[tokio::test]
async fn a_damaged_database_is_an_error_that_is_not_tried_again() {
    let (store, folder) = filled(600).await;
    store.close().await;
    let file = folder.path().join(folder::DATABASE);
    let mut bytes = std::fs::read(&file).unwrap();
    let page = 4_096;
    assert!(bytes.len() > 12 * page, "{}", bytes.len());
    for byte in &mut bytes[10 * page..] {
        *byte = 0xa5;
    }
    std::fs::write(&file, bytes).unwrap();
    let store = open(folder.path());
    let error = store.read(&id("notes")).await.unwrap_err();
    assert_eq!(error.advice(), crate::Advice::GiveUp, "{error}");
}
