//! Which files are opened, and what is said about the others.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn error(folder: &Path) -> OpenStoreError {
    match SqliteStore::open(folder, SqliteOptions::default()) {
        Ok(_) => panic!("it must not open"),
        Err(error) => error,
    }
}

fn number(connection: &Connection, pragma: &str) -> u32 {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_was_created_is_there_after_reopening() {
    let (store, folder) = filled(5).await;
    assert!(store.create_snapshot(&id("notes"), snapshot(2)).await.unwrap());
    store.mark_attempt(&id("notes")).await.unwrap();
    store.quarantine(&id("other"), "it broke".into()).await.unwrap();
    drop(store);
    let store = SqliteStore::open_existing(folder.path(), SqliteOptions::default()).unwrap();
    assert_eq!(slots_of(&store, &id("notes")).await, [3, 4, 5]);
    assert_eq!(store.mark_attempt(&id("notes")).await.unwrap().attempts, 2);
    assert_eq!(store.quarantined().await.unwrap()[0].reason, "it broke");
    let late = store.create_slot(&id("notes"), Slot::new(2), record(2)).await.unwrap();
    assert_eq!(late, Created::Taken(record(2)));
}

#[tokio::test]
async fn a_file_says_whose_it_is_and_of_which_format() {
    let (store, _folder) = filled(1).await;
    let file = stranger(&store);
    assert_eq!(number(&file, "application_id"), 0x524c_4546);
    assert_eq!(number(&file, "user_version"), 1);
}

/// Everything that is in a store's file, by name.
fn schema_of(file: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The version that made format 1 looks at these numbers, and reads and writes these tables. It passes over others.
#[tokio::test]
async fn format_1_stays_what_it_was_though_there_are_remainders() {
    let released = tempfile::tempdir().unwrap();
    let old = Connection::open(released.path().join(folder::DATABASE)).unwrap();
    old.execute_batch(include_str!("../schema_1.sql")).unwrap();
    old.execute_batch("PRAGMA application_id = 0x524c4546; PRAGMA user_version = 1").unwrap();
    let before = schema_of(&old);
    for _ in 0..2 {
        let store = open(released.path());
        append(&store, &id("notes"), [1 + slots_of(&store, &id("notes")).await.len() as u64]).await;
        let since = std::time::UNIX_EPOCH;
        let remainder = Remainder { id: 1, since, bytes: Bytes::from(vec![7; 2 << 20]) };
        store.keep_remainder(&id("notes"), remainder).await.unwrap();
        store.close().await;
    }
    assert_eq!((number(&old, "application_id"), number(&old, "user_version")), (0x524c_4546, 1));
    let (kept, added): (Vec<_>, Vec<_>) =
        schema_of(&old).into_iter().partition(|(name, _)| !name.contains("remainders"));
    assert_eq!(kept, before);
    assert_eq!(added.len(), 2, "{added:?}");
    // What that version does as it opens.
    let opening = "DELETE FROM pieces WHERE rest <> 0 AND rest NOT IN
        (SELECT rest FROM slots WHERE rest IS NOT NULL UNION ALL SELECT rest FROM snapshots WHERE rest IS NOT NULL)";
    old.execute_batch(opening).unwrap();
    drop(old);
    let store = open(released.path());
    assert_eq!(store.remainders(&id("notes")).await.unwrap()[0].bytes.len(), 2 << 20);
    assert_eq!(slots_of(&store, &id("notes")).await, [1, 2]);
}

#[tokio::test]
async fn a_newer_format_is_refused_in_one_line_and_left_alone() {
    let (store, folder) = filled(1).await;
    let file = stranger(&store);
    store.close().await;
    file.pragma_update(None, "user_version", 2).unwrap();
    let text = error(folder.path()).to_string();
    assert!(text.contains("written by a newer ringleaf (format 2, this one knows 1)"), "{text}");
    assert!(text.contains("start that version or a later one"), "{text}");
    assert!(!text.contains('\n'), "{text}");
    assert_eq!(number(&file, "user_version"), 2);
    file.pragma_update(None, "user_version", 1).unwrap();
    assert_eq!(slots_of(&open(folder.path()), &id("notes")).await, [1]);
}

#[test]
fn somebody_elses_database_is_refused_and_left_alone() {
    for set_up in ["CREATE TABLE theirs (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(folder::DATABASE);
        Connection::open(&file).unwrap().execute_batch(set_up).unwrap();
        let before = std::fs::read(&file).unwrap();
        let error = error(folder.path());
        assert!(matches!(error, OpenStoreError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{set_up}");
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(folder::DATABASE);
    let text = "a shopping list\n".repeat(100);
    std::fs::write(&file, &text).unwrap();
    let error = error(folder.path());
    assert!(matches!(error, OpenStoreError::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

/// A process that ended between creating the file and creating its tables.
#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(folder::DATABASE), b"").unwrap();
    append(&open(folder.path()), &id("notes"), [1]).await;
}

#[tokio::test]
async fn a_folder_is_used_by_one_store_at_a_time() {
    let (store, folder) = filled(1).await;
    let text = error(folder.path()).to_string();
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    store.close().await;
    // I18: closed is closed, though the value is still there.
    assert_eq!(slots_of(&open(folder.path()), &id("notes")).await, [1]);
    drop(store);
}

#[tokio::test]
async fn a_closed_store_is_one_file() {
    let (store, folder) = filled(20).await;
    store.close().await;
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "ringleaf.db"]);
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_in_words() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let text = error(folder.path()).to_string();
    assert!(text.contains("check who owns it"), "{text}");
}

#[tokio::test]
async fn every_commit_syncs_the_log() {
    let (store, folder) = filled(1).await;
    drop(store);
    let connection = schema::open_for_writing(&folder.path().join(folder::DATABASE)).unwrap();
    let text = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    // 2 is FULL: without it a power cut takes the last commits.
    assert_eq!(number(&connection, "synchronous"), 2);
    assert_eq!(number(&connection, "wal_autocheckpoint"), 0);
    let reader = schema::open_for_reading(&folder.path().join(folder::DATABASE)).unwrap();
    assert!(reader.execute("DELETE FROM slots", []).is_err(), "a reader must not write");
}
