//! Disks that are full, and people who look on.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::*;

/// Appends until the disk is full, and answers the last slot that was created.
async fn append_until_full(store: &SqliteStore, document: &DocumentId) -> u64 {
    let update = Bytes::from(vec![7; 8 << 10]);
    for slot in 1..10_000 {
        match store.create_slot(document, Slot::new(slot), record_of(slot, update.clone())).await {
            Ok(created) => assert_eq!(created, Created::Created),
            Err(StoreError::DiskFull(_)) => return slot - 1,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never filled up");
}

fn open_with_room_for(pages: u32) -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let locked = Folder::create(folder.path()).unwrap();
    let connection = schema::open_for_writing(&locked.database()).unwrap();
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    (SqliteStore::start(locked, connection, SqliteOptions::default()).unwrap(), folder)
}

/// I4 at its root. The hook runs inside the commit, when everything is written and nothing is decided.
#[tokio::test]
async fn nobody_is_answered_before_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let locked = Folder::create(folder.path()).unwrap();
    let mut connection = schema::open_for_writing(&locked.database()).unwrap();
    let (commits, committing) = std::sync::mpsc::sync_channel(4);
    let (go_on, may_go_on) = std::sync::mpsc::sync_channel::<()>(4);
    // True would roll it back.
    let hold = move || commits.send(()).is_ok() && may_go_on.recv().is_err();
    connection.commit_hook(Some(hold)).unwrap();
    let store = SqliteStore::start(locked, connection, SqliteOptions::default()).unwrap();
    let notes = id("notes");
    let mut append = Box::pin(store.create_slot(&notes, Slot::new(1), record(1)));
    // Once to hand it over, and once more when the commit has begun.
    assert!(tokio::time::timeout(Duration::ZERO, append.as_mut()).await.is_err());
    committing.recv().unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, append.as_mut()).await.is_err(), "answered too early");
    go_on.send(()).unwrap();
    assert_eq!(append.await.unwrap(), Created::Created);
}

#[tokio::test]
async fn a_full_database_refuses_appends_and_keeps_what_it_has() {
    let (store, folder) = open_with_room_for(200);
    let created = append_until_full(&store, &id("notes")).await;
    assert!(created > 10, "{created}");
    assert_eq!(slots_of(&store, &id("notes")).await.len() as u64, created);
    drop(store);
    let store = open(folder.path());
    assert_eq!(slots_of(&store, &id("notes")).await.len() as u64, created);
    append(&store, &id("notes"), [created + 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_shares_a_commit_hears_that_the_disk_is_full() {
    let (store, _folder) = open_with_room_for(200);
    append_until_full(&store, &id("notes")).await;
    let store = Arc::new(store);
    let mut appends = JoinSet::new();
    for nonce in 0..40 {
        let store = store.clone();
        let update = Bytes::from(vec![7; 100 << 10]);
        appends.spawn(async move {
            store.create_slot(&id(&format!("new {nonce}")), Slot::new(1), record_of(nonce, update)).await
        });
    }
    for outcome in appends.join_all().await {
        assert!(matches!(outcome, Err(StoreError::DiskFull(_))), "{outcome:?}");
    }
    assert_eq!(store.list("new", None, 99).await.unwrap(), [], "a rolled back commit leaves nothing");
}

/// A document's number that was given in a rolled back commit must not be used again from memory.
#[tokio::test]
async fn a_document_whose_first_append_was_rolled_back_can_be_created_later() {
    let (store, folder) = open_with_room_for(60);
    // More than there is room for, but not so large that it would be written in pieces.
    let huge = record_of(1, Bytes::from(vec![7; 400 << 10]));
    let outcome = store.create_slot(&id("first"), Slot::new(1), huge).await;
    assert!(matches!(outcome, Err(StoreError::DiskFull(_))), "{outcome:?}");
    append(&store, &id("second"), [1, 2]).await;
    append(&store, &id("first"), [1]).await;
    assert_eq!(slots_of(&store, &id("first")).await, [1]);
    assert_eq!(slots_of(&store, &id("second")).await, [1, 2]);
    drop(store);
    assert_eq!(slots_of(&open(folder.path()), &id("first")).await, [1]);
}

/// A small file system of its own, unmounted in the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: a small file system can only be mounted by root");
        }
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_store_on_a_full_disk_goes_on_by_itself_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount("4m") else { return };
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let folder = disk.0.path().join("data");
    let store = open(&folder);
    let created = append_until_full(&store, &id("notes")).await;
    for _ in 0..3 {
        let update = record_of(1, Bytes::from(vec![7; 512 << 10]));
        let outcome = store.create_slot(&id("notes"), Slot::new(created + 1), update).await;
        assert!(matches!(outcome, Err(StoreError::DiskFull(_))), "{outcome:?}");
    }
    assert_eq!(slots_of(&store, &id("notes")).await.len() as u64, created);
    std::fs::remove_file(filler).unwrap();
    append(&store, &id("notes"), created + 1..created + 20).await;
    store.close().await;
    let store = open(&folder);
    assert_eq!(slots_of(&store, &id("notes")).await.len() as u64, created + 19);
    drop(store);
}

#[tokio::test]
async fn a_backup_onto_a_full_disk_leaves_nothing_there() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let (store, _folder) = filled(0).await;
    let update = Bytes::from(vec![7; 400 << 10]);
    for slot in 1..=6 {
        store.create_slot(&id("notes"), Slot::new(slot), record_of(slot, update.clone())).await.unwrap();
    }
    let error = store.backup(&disk.0.path().join("copy.db"), |_| {}).await.unwrap_err();
    assert!(matches!(error, BackupError::Write { .. }), "{error}");
    assert_eq!(std::fs::read_dir(disk.0.path()).unwrap().count(), 0);
    append(&store, &id("notes"), [7]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_queue_makes_everybody_wait_and_nobody_fail() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { appends_waiting_max: 1, ..SqliteOptions::default() };
    let store = SqliteStore::open(folder.path(), options).unwrap();
    let documents: Vec<DocumentId> = (0..100).map(|number| id(&format!("document {number}"))).collect();
    let appends = documents.iter().map(|document| append(&store, document, 1..=2));
    futures_util::future::join_all(appends).await;
    assert_eq!(store.tails(&documents).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_lock_is_waited_for() {
    let (store, _folder) = filled(1).await;
    let stranger = stranger(&store);
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let document = id("notes");
    let append = append(&store, &document, [2]);
    tokio::pin!(append);
    let waiting = tokio::time::timeout(Duration::from_millis(100), &mut append).await;
    assert!(waiting.is_err(), "the append waits");
    assert_eq!(slots_of(&store, &id("notes")).await, [1], "reading does not");
    stranger.execute_batch("COMMIT").unwrap();
    append.await;
}

#[tokio::test]
async fn somebody_who_only_reads_holds_up_nobody() {
    let (store, _folder) = filled(1).await;
    let stranger = stranger(&store);
    stranger.execute_batch("BEGIN; SELECT * FROM slots").unwrap();
    append(&store, &id("notes"), 2..=50).await;
    let seen: u64 = stranger.query_row("SELECT count(*) FROM slots", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_beside_the_database_stays_small() {
    let (store, folder) = filled(1).await;
    let store = Arc::new(store);
    let log = folder.path().join("ringleaf.db-wal");
    let mut writers = JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let store = store.clone();
        writers.spawn(async move {
            let update = Bytes::from(vec![7; 40 << 10]);
            for slot in 1..=700 {
                let record = record_of(slot, update.clone());
                store.create_slot(&id(name), Slot::new(slot), record).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let written = 4 * 700 * (40 << 10);
    let kept = std::fs::metadata(&log).unwrap().len();
    assert!(kept < written * 4 / 5, "{kept} of {written} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_documents_share_a_commit() {
    let (store, folder) = filled(1).await;
    let store = Arc::new(store);
    let commits = Connection::open(folder.path().join("ringleaf.db")).unwrap();
    let log_bytes = || std::fs::metadata(folder.path().join("ringleaf.db-wal")).unwrap().len();
    let before = log_bytes();
    let mut appends = JoinSet::new();
    for nonce in 0..300 {
        let store = store.clone();
        appends.spawn(async move {
            store.create_slot(&id(&format!("doc {nonce}")), Slot::new(1), record(nonce)).await.unwrap()
        });
    }
    appends.join_all().await;
    // One commit for each would write at least four pages each.
    assert!(log_bytes() - before < 300 * 4 * 4_096 / 2, "{}", log_bytes() - before);
    drop(commits);
}

/// Dropping waits for what is in progress: whoever opens the folder next finds it free and whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_has_let_go_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=10 {
        let started_at = Instant::now();
        let store = open(folder.path());
        append(&store, &id("notes"), [round]).await;
        drop(store);
        assert!(started_at.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(slots_of(&open(folder.path()), &id("notes")).await.len(), 10);
}
