//! What is left in the files of a document that was purged.

use std::time::SystemTime;

use super::*;

/// Stands in everything that the purged document ever held.
const SECRET: &str = "the secret of the purged document";
/// Stands in everything that the others hold.
const OTHER: &str = "what the other documents hold";

fn secret() -> DocumentId {
    id("secret")
}

/// The database and its log, as somebody with an editor sees them.
fn found(folder: &Path, text: &str) -> usize {
    let files =
        ["ringleaf.db", "ringleaf.db-wal"].map(|name| std::fs::read(folder.join(name)).unwrap_or_default());
    files.iter().map(|bytes| memchr(bytes, text.as_bytes())).sum()
}

fn memchr(bytes: &[u8], text: &[u8]) -> usize {
    let first = text[0];
    bytes.windows(text.len()).filter(|window| window[0] == first && *window == text).count()
}

async fn until_not_found(folder: &Path, text: &str) {
    let began = std::time::Instant::now();
    while found(folder, text) > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{text:?} is still found {} times",
            found(folder, text)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn state_of(text: &str, length: usize) -> Bytes {
    text.bytes().cycle().take(length.max(text.len())).collect()
}

async fn append_text(store: &SqliteStore, document: &DocumentId, slot: u64, text: &str, length: usize) {
    let created = store.create_slot(document, Slot::new(slot), record_of(slot, state_of(text, length))).await;
    assert_eq!(created.unwrap(), Created::Created);
}

async fn compact(store: &SqliteStore, document: &DocumentId, upto: u64, text: &str, length: usize) {
    let state = state_of(text, length);
    assert!(store.create_snapshot(document, Snapshot { state, ..snapshot(upto) }).await.unwrap());
    store.trim(document).await.unwrap();
}

const REMAINDERS: usize = 40;

/// Remainders of many sizes, the last of which has pieces; some of them are dropped.
async fn keep_text(store: &SqliteStore, document: &DocumentId, text: &str) {
    let number = |number: usize| number as u64;
    for index in 0..2 * REMAINDERS {
        let bytes = state_of(text, 40 + index * index * 200);
        let remainder = Remainder { id: number(index), since: SystemTime::now(), bytes };
        store.keep_remainder(document, remainder).await.unwrap();
    }
    let ids: Vec<u64> = (0..REMAINDERS).map(|index| number(2 * index)).collect();
    store.drop_remainders(document, &ids).await.unwrap();
}

async fn purge(store: &SqliteStore, last: u64) {
    let tombstone = Snapshot { state: Bytes::new(), deleted: true, ..snapshot(last) };
    assert!(store.purge(&secret(), tombstone).await.unwrap());
}

/// Rows of all sizes, beside those of nine others.
async fn a_busy_store(store: &SqliteStore, trimmed: bool) -> u64 {
    const SLOTS: u64 = 240;
    let lengths = [40, 700, 90, 3_000, 200, 9_000, 40_000];
    for slot in 1..=SLOTS {
        let others = (0..9).map(async |other| {
            append_text(
                store,
                &id(&format!("other {other}")),
                slot,
                OTHER,
                lengths[(slot as usize + other) % 5],
            )
            .await;
        });
        futures_util::future::join_all(others).await;
        append_text(store, &secret(), slot, SECRET, lengths[slot as usize % 7]).await;
        if trimmed && slot % 60 == 0 {
            compact(store, &id("other 3"), slot, OTHER, 70_000).await;
            compact(store, &secret(), slot, SECRET, 100_000 + slot as usize).await;
        }
    }
    SLOTS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_purged_document_is_left_in_the_files() {
    let (store, folder) = filled(0).await;
    let slots = a_busy_store(&store, false).await;
    // Larger than one commit, so that there are pieces.
    compact(&store, &secret(), slots, SECRET, 3 << 20).await;
    keep_text(&store, &secret(), SECRET).await;
    keep_text(&store, &id("other 3"), OTHER).await;
    assert!(found(folder.path(), SECRET) > 0);
    purge(&store, slots + 1).await;
    until_not_found(folder.path(), SECRET).await;
    assert!(found(folder.path(), OTHER) > 0);
    assert_eq!(store.remainders(&id("other 3")).await.unwrap().len(), REMAINDERS);
    let verdict: String = stranger(&store).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// Trims leave what they delete in free pages, and a purge comes long after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_trimmed_before_the_purge_is_left_in_free_pages() {
    let (store, folder) = filled(0).await;
    let slots = a_busy_store(&store, true).await;
    purge(&store, slots + 1).await;
    until_not_found(folder.path(), SECRET).await;
    for other in 0..9 {
        assert!(store.read(&id(&format!("other {other}"))).await.is_ok());
    }
    // And the pages are free again.
    let pieces =
        || stranger(&store).query_row("SELECT count(*) FROM pieces", [], |row| row.get::<_, u64>(0)).unwrap();
    while pieces() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As `ringleaf doc purge --data` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_closed_after_a_purge_finishes_it_first() {
    let (store, folder) = filled(0).await;
    let slots = a_busy_store(&store, true).await;
    purge(&store, slots + 1).await;
    store.close().await;
    assert_eq!(found(folder.path(), SECRET), 0);
}

/// A reader keeps old pages in the log. They go when it has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_holds_up_the_end_of_a_purge_but_nobody_else() {
    let (store, folder) = filled(0).await;
    append_text(&store, &secret(), 1, SECRET, 40).await;
    let reader = stranger(&store);
    reader.execute_batch("BEGIN; SELECT count(*) FROM slots").unwrap();
    purge(&store, 2).await;
    let began = std::time::Instant::now();
    append(&store, &id("notes"), 1..=20).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(found(folder.path(), SECRET) > 0, "what a reader may still want to read stays");
    reader.execute_batch("COMMIT").unwrap();
    until_not_found(folder.path(), SECRET).await;
}

/// The process was killed between the purge and the end of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_was_cut_off_is_finished_after_the_next_start() {
    let (store, folder) = filled(0).await;
    let slots = a_busy_store(&store, true).await;
    drop(store);
    let connection = Connection::open(folder.path().join("ringleaf.db")).unwrap();
    overwrite::Overwriting::want(&connection).unwrap();
    let rows = ["DELETE FROM slots", "DELETE FROM snapshots"]
        .map(|delete| format!("{delete} WHERE document = (SELECT id FROM documents WHERE name = 'secret')"));
    connection.execute_batch(&format!("PRAGMA secure_delete = fast; {}", rows.join(";"))).unwrap();
    drop(connection);
    assert!(found(folder.path(), SECRET) > 0, "in the pages that these rows had to themselves");
    let store = open(folder.path());
    until_not_found(folder.path(), SECRET).await;
    append(&store, &id("notes"), [slots + 1]).await;
}

/// A number below the one given, another one each time.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut random = seed;
    move |max| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % max
    }
}

/// While rows are deleted those that are still there move to other pages, and may leave a copy behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_during_the_purge_leave_nothing_behind() {
    let (store, folder) = filled(0).await;
    let mut up_to = random(1);
    let mut last = 0;
    let mut others = [0; 3];
    for _ in 0..300 {
        let mut appends = Vec::new();
        for _ in 0..8 {
            let length = 40 + up_to(1_200) as usize;
            let other = up_to(6) as usize;
            let (document, slot, text) = match others.get_mut(other) {
                Some(slot) => (id(&format!("other {other}")), slot, OTHER),
                None => (secret(), &mut last, SECRET),
            };
            *slot += 1;
            let (slot, record) = (Slot::new(*slot), record_of(*slot, state_of(text, length)));
            let store = &store;
            appends.push(async move { store.create_slot(&document, slot, record).await.unwrap() });
        }
        futures_util::future::join_all(appends).await;
    }
    purge(&store, last + 1).await;
    until_not_found(folder.path(), SECRET).await;
}

/// The same, of a table with an order of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remainders_that_move_during_the_purge_leave_nothing_behind() {
    let (store, folder) = filled(1).await;
    append_text(&store, &secret(), 1, SECRET, 40).await;
    let (mut up_to, mut others) = (random(2), 0);
    for number in 0..2_400 {
        let length = 40 + up_to(1_200) as usize;
        let (document, text) = if up_to(2) == 0 { (secret(), SECRET) } else { (id("other"), OTHER) };
        others += usize::from(text == OTHER);
        let remainder = Remainder { id: number, since: SystemTime::now(), bytes: state_of(text, length) };
        store.keep_remainder(&document, remainder).await.unwrap();
    }
    purge(&store, 2).await;
    until_not_found(folder.path(), SECRET).await;
    assert_eq!(store.remainders(&id("other")).await.unwrap().len(), others);
}
