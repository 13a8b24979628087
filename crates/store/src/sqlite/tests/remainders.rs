//! Remainders on a disk.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::*;
use crate::sqlite::large::PIECE_BYTES;
use crate::sqlite::remainders::pieces;

fn remainder(number: u64) -> Remainder {
    remainder_of(number, 20)
}

fn remainder_of(number: u64, length: usize) -> Remainder {
    let bytes: Vec<u8> = (0..length as u64 / 8 + 1).flat_map(u64::to_le_bytes).take(length).collect();
    Remainder { id: number, since: UNIX_EPOCH + Duration::from_millis(number), bytes: bytes.into() }
}

async fn keep(store: &SqliteStore, remainders: impl IntoIterator<Item = Remainder>) {
    for remainder in remainders {
        store.keep_remainder(&id("notes"), remainder).await.unwrap();
    }
}

async fn kept(store: &SqliteStore) -> Vec<u64> {
    let found = store.remainders(&id("notes")).await.unwrap();
    found.iter().map(|remainder| remainder.id).collect()
}

fn rows(store: &SqliteStore) -> u64 {
    stranger(store).query_row("SELECT count(*) FROM remainders", [], |row| row.get(0)).unwrap()
}

/// As if the process ended before the first piece came.
async fn leave_unfinished(store: &SqliteStore, remainder: &Remainder) {
    let row = encoding::encode_remainder(&id("notes"), remainder).into();
    for (piece, bytes) in pieces(&row).skip(1) {
        let change = Change::KeepRemainder { document: id("notes"), id: remainder.id, piece, bytes };
        store.change(change).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_kept_is_there_after_reopening() {
    let (store, folder) = filled(1).await;
    let expected = [remainder(1), remainder_of(2, 3 * PIECE_BYTES), remainder(3)];
    keep(&store, expected.clone()).await;
    keep(&store, [remainder(4)]).await;
    store.drop_remainders(&id("notes"), &[4]).await.unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(store.remainders(&id("notes")).await.unwrap() == expected);
    assert_eq!(slots_of(&store, &id("notes")).await, [1]);
}

#[tokio::test]
async fn an_unfinished_remainder_is_none_and_is_gone_after_reopening() {
    let (store, folder) = filled(0).await;
    let large = [remainder_of(1, 3 * PIECE_BYTES), remainder_of(2, 3 * PIECE_BYTES)];
    keep(&store, large[..1].to_vec()).await;
    let written = rows(&store);
    leave_unfinished(&store, &large[1]).await;
    assert!(rows(&store) > written);
    assert_eq!(kept(&store).await, [1]);
    drop(store);
    let store = open(folder.path());
    assert_eq!(rows(&store), written);
    assert!(store.remainders(&id("notes")).await.unwrap() == large[..1]);
}

#[tokio::test]
async fn a_remainder_whose_try_was_cut_off_is_kept_by_the_next_one() {
    let (store, _folder) = filled(0).await;
    let large = remainder_of(1, 5 * PIECE_BYTES);
    leave_unfinished(&store, &large).await;
    let written = rows(&store);
    keep(&store, [large.clone()]).await;
    assert_eq!(rows(&store), written + 1);
    assert!(store.remainders(&id("notes")).await.unwrap() == [large]);
}

#[tokio::test]
async fn a_corrupt_remainder_is_left_out_and_hinders_nothing() {
    let (store, folder) = filled(2).await;
    keep(&store, [remainder(1), remainder(2), remainder_of(3, 3 * PIECE_BYTES), remainder(4)]).await;
    for (damage, left) in [
        ("UPDATE remainders SET record = CAST(record || x'00' AS BLOB) WHERE id = 2", &[1, 3, 4][..]),
        ("DELETE FROM remainders WHERE id = 3 AND piece = 1", &[1, 4]),
        ("UPDATE remainders SET id = 5 WHERE id = 1", &[4]),
        ("UPDATE remainders SET record = x'' WHERE id = 4", &[]),
        ("UPDATE remainders SET name = 'notes!'", &[]),
    ] {
        stranger(&store).execute_batch(damage).unwrap();
        assert_eq!(kept(&store).await, left, "{damage}");
    }
    assert_eq!(store.remainders(&id("notes!")).await.unwrap(), []);
    assert_eq!(slots_of(&store, &id("notes")).await, [1, 2]);
    store.backup(&folder.path().join("copy.db"), |_| {}).await.unwrap();
    drop(store);
    keep(&open(folder.path()), [remainder(1)]).await;
}

/// All else in the file is whole, so all else is served.
#[tokio::test]
async fn a_damaged_table_of_remainders_is_as_good_as_none() {
    let (store, folder) = filled(2).await;
    keep(&store, (0..20).map(|number| remainder_of(number, 3_000))).await;
    let pages = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'remainders'";
    let pages: Vec<usize> = stranger(&store)
        .prepare(pages)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    store.close().await;
    let file = folder.path().join(folder::DATABASE);
    let mut bytes = std::fs::read(&file).unwrap();
    for page in pages {
        bytes[(page - 1) * 4_096..page * 4_096].fill(0xa5);
    }
    std::fs::write(&file, bytes).unwrap();
    let store = open(folder.path());
    assert_eq!(kept(&store).await, [0; 0]);
    append(&store, &id("notes"), [3]).await;
    assert_eq!(slots_of(&store, &id("notes")).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_backup_holds_them() {
    let (store, folder) = filled(1).await;
    let expected = [remainder(1), remainder_of(2, 3 * PIECE_BYTES)];
    keep(&store, expected.clone()).await;
    let restored = tempfile::tempdir().unwrap();
    store.backup(&folder.path().join("copy.db"), |_| {}).await.unwrap();
    std::fs::rename(folder.path().join("copy.db"), restored.path().join(folder::DATABASE)).unwrap();
    assert!(open(restored.path()).remainders(&id("notes")).await.unwrap() == expected);
}

/// I14.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_remainders_hold_up_nobody_else() {
    let (store, _folder) = filled(0).await;
    let store = Arc::new(store);
    let writing = store.clone();
    let (finished, over) = oneshot::channel();
    let keeping = tokio::task::JoinSet::from_iter([async move {
        keep(&writing, (0..10).map(|number| remainder_of(number, 4 << 20))).await;
        finished.send(()).unwrap();
    }]);
    let mut slot = 0;
    while over.is_empty() {
        slot += 1;
        append(&store, &id("other"), [slot]).await;
    }
    keeping.join_all().await;
    assert!(slot > 20, "only {slot} commits found room between 90 pieces");
}
