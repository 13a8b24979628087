//! A power cut in the middle of writing the log: what was whole before stays.

use super::*;

const SLOTS: u64 = 12;

/// A folder as a power cut would leave it: the database, and this much of its log.
fn left_behind(database: &[u8], log: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ringleaf.db"), database).unwrap();
    std::fs::write(folder.path().join("ringleaf.db-wal"), log).unwrap();
    folder
}

/// The files of a store with twelve slots that was not closed.
async fn files() -> (Vec<u8>, Vec<u8>) {
    let (store, folder) = filled(SLOTS).await;
    let read = |name| std::fs::read(folder.path().join(name)).unwrap();
    let files = (read("ringleaf.db"), read("ringleaf.db-wal"));
    drop(store);
    files
}

/// How many slots a store has that is opened on these files. They must follow on each other, and it must go on.
async fn recovered(database: &[u8], log: &[u8]) -> u64 {
    let folder = left_behind(database, log);
    let store = open(folder.path());
    let slots = slots_of(&store, &id("notes")).await;
    let last = slots.len() as u64;
    assert_eq!(slots, (1..=last).collect::<Vec<_>>());
    append(&store, &id("notes"), [last + 1]).await;
    store.close().await;
    last
}

#[tokio::test]
async fn a_log_that_was_cut_off_anywhere_keeps_what_came_before() {
    let (database, log) = files().await;
    let mut kept = Vec::new();
    for parts in 0..=24 {
        let length = log.len() * parts / 24;
        kept.push(recovered(&database, &log[..length]).await);
    }
    assert!(kept.is_sorted(), "{kept:?}");
    assert_eq!((kept[0], kept[24]), (0, SLOTS), "{kept:?}");
}

#[tokio::test]
async fn a_log_that_was_written_wrong_somewhere_keeps_what_came_before() {
    let (database, log) = files().await;
    for parts in 0..16 {
        let at = log.len() * parts / 16;
        let mut wrong = log.clone();
        for byte in wrong.iter_mut().skip(at).take(64) {
            *byte ^= 0x55;
        }
        let kept = recovered(&database, &wrong).await;
        assert!(kept < SLOTS, "byte {at} belonged to some commit");
    }
}

/// What the page cache shows after a failed sync may not be on the disk: opening writes it to the database anew.
#[tokio::test]
async fn opening_folds_the_log_into_the_database() {
    let (database, log) = files().await;
    let folder = left_behind(&database, &log);
    drop(schema::open_for_writing(&folder.path().join("ringleaf.db")).unwrap());
    let database = std::fs::read(folder.path().join("ringleaf.db")).unwrap();
    assert_eq!(recovered(&database, &[]).await, SLOTS);
    let folder = left_behind(&database, &log);
    let connection = schema::open_for_writing(&folder.path().join("ringleaf.db")).unwrap();
    let whole = std::fs::read(folder.path().join("ringleaf.db")).unwrap();
    assert_eq!(recovered(&whole, &[]).await, SLOTS, "at once, not only when it is closed");
    drop(connection);
}
