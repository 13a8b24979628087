//! Copies of a store that serves.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;

fn nothing(_: BackupProgress) {}

/// Opens a copy as the documentation says: alone in a folder, under the name of the database.
fn restored(copy: &Path) -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(copy, folder.path().join("ringleaf.db")).unwrap();
    (SqliteStore::open_existing(folder.path(), SqliteOptions::default()).unwrap(), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_writing_is_the_store_at_one_moment() {
    let (store, folder) = filled(1).await;
    let store = Arc::new(store);
    let large = Bytes::from(vec![7; 64 << 10]);
    for slot in 2..=100 {
        store.create_slot(&id("notes"), Slot::new(slot), record_of(slot, large.clone())).await.unwrap();
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let writing = store.clone();
    let writer = tokio::task::JoinSet::from_iter([async move {
        let mut slot = 100;
        while stopped.is_empty() {
            slot += 1;
            for name in ["a", "b"] {
                let created =
                    writing.create_slot(&id(name), Slot::new(slot - 100), record(slot)).await.unwrap();
                assert_eq!(created, Created::Created);
            }
        }
        slot - 100
    }]);
    let copy = folder.path().join("copy.db");
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    store.backup(&copy, move |progress| seen.lock().unwrap().push(progress)).await.unwrap();
    stop.send(()).unwrap();
    let written = writer.join_all().await[0];

    let steps = steps.lock().unwrap().clone();
    assert!(steps.len() > 3, "6 MB take several steps");
    assert!(steps.is_sorted_by_key(|progress| progress.pages_done));
    assert!(steps.iter().all(|progress| progress.pages == steps[0].pages), "it never starts over");
    assert_eq!(steps.last().unwrap().pages_done, steps[0].pages);
    assert!(written > 1, "commits go on meanwhile");

    let (restored, _folder) = restored(&copy);
    assert_eq!(slots_of(&restored, &id("notes")).await.len(), 100);
    let (a, b) = (slots_of(&restored, &id("a")).await.len(), slots_of(&restored, &id("b")).await.len());
    assert!(a == b || a == b + 1, "slot n of b was created after slot n of a: {a}, {b}");
    append(&restored, &id("notes"), [101]).await;
}

#[tokio::test]
async fn a_backup_is_one_file_for_its_owner() {
    let (store, _folder) = filled(3).await;
    let target = tempfile::tempdir().unwrap();
    let copy = target.path().join("copy.db");
    store.backup(&copy, nothing).await.unwrap();
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let (store, folder) = filled(3).await;
    let copy = folder.path().join("copy.db");
    for taken in [copy.clone(), folder.path().join("copy.db.partial")] {
        std::fs::write(&taken, "theirs").unwrap();
        let error = store.backup(&copy, nothing).await.unwrap_err();
        assert!(matches!(&error, BackupError::Exists { file } if *file == taken), "{error}");
        assert_eq!(std::fs::read_to_string(&taken).unwrap(), "theirs");
        std::fs::remove_file(&taken).unwrap();
    }
    let error = store.backup(store.database(), nothing).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
}

#[tokio::test]
async fn a_backup_into_nowhere_is_an_error() {
    let (store, folder) = filled(3).await;
    let error = store.backup(&folder.path().join("no/such/folder.db"), nothing).await.unwrap_err();
    assert!(matches!(error, BackupError::Write { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_store_gives_no_backup() {
    let (store, folder) = filled(3).await;
    stranger(&store).execute_batch("UPDATE slots SET record = X'01' WHERE slot = 2").unwrap();
    let copy = folder.path().join("copy.db");
    let error = store.backup(&copy, nothing).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert!(!copy.exists() && !folder.path().join("copy.db.partial").exists());
}

#[tokio::test]
async fn a_closed_store_gives_no_backup() {
    let (store, folder) = filled(3).await;
    store.close().await;
    let error = store.backup(&folder.path().join("copy.db"), nothing).await.unwrap_err();
    assert!(matches!(error, BackupError::Read(StoreError::Closed)), "{error}");
}
