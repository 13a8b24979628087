//! Documents that live long: snapshots, replicas that come and go, a store that forgets.

use std::time::Duration;

use ringleaf_types::{Limits, Slot};

use crate::editor::{Editor, document, limits, start, start_with};
use crate::faulty_store::{Fault, FaultyStore};

async fn type_many(editor: &mut Editor, times: usize) {
    for _ in 0..times {
        editor.type_in("x").await;
        editor.all_acknowledged().await;
    }
}

async fn until(fact: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {fact}");
}

/// R6, R7, I10.
#[tokio::test(start_paused = true)]
async fn a_long_log_becomes_a_snapshot_while_editors_write() {
    let store = FaultyStore::new();
    let node = start_with(store.clone(), Limits { tail_slots_max: 20, ..limits() });
    let mut editor = Editor::join(&node, "notes", 1).await;
    type_many(&mut editor, 100).await;
    let notes = document("notes");
    until("a snapshot", async || store.inner.read(&notes).await.is_ok_and(|read| read.snapshot.is_some()))
        .await;
    type_many(&mut editor, 100).await;
    let covers = |upto| Slot::new(upto);
    until("a second one", async || {
        let read = store.inner.read(&notes).await.expect("it is read");
        read.snapshot.is_some_and(|snapshot| snapshot.upto > covers(150))
    })
    .await;
    let cold = start(store.clone());
    assert_eq!(Editor::join(&cold, "notes", 2).await.text().len(), 200);
    assert_eq!(Editor::join(&node, "notes", 3).await.text().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_made_is_tried_again_later() {
    let store = FaultyStore::new();
    let node = start_with(store.clone(), Limits { tail_slots_max: 20, ..limits() });
    let mut editor = Editor::join(&node, "notes", 1).await;
    store.snapshots(Fault::DiskFull);
    type_many(&mut editor, 50).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    store.snapshots(Fault::None);
    let notes = document("notes");
    for _ in 0..20 {
        type_many(&mut editor, 1).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let read = store.inner.read(&notes).await.expect("it is read");
    assert!(read.snapshot.is_some());
}

/// Two nodes over one store: the one that was the owner finds what the one that is has made.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_another_node_has_made_meanwhile_is_as_good_as_ones_own() {
    let store = FaultyStore::new();
    let node = start_with(store.clone(), Limits { tail_slots_max: 20, ..limits() });
    let mut editor = Editor::join(&node, "notes", 1).await;
    let reads = store.read_calls();
    store.reads(Fault::Hold);
    type_many(&mut editor, 30).await;
    until("a snapshot is on its way", async || store.read_calls() > reads).await;
    let notes = document("notes");
    let read = store.inner.read(&notes).await.expect("it is read");
    let others = ringleaf_document::compaction::compact(
        &notes,
        read.snapshot,
        read.slots,
        ringleaf_document::Gc::Collect,
    )
    .expect("it decodes");
    assert!(store.inner.create_snapshot(&notes, others.clone()).await.expect("it is stored"));
    store.reads(Fault::None);
    type_many(&mut editor, 30).await;
    let since = tokio::time::Instant::now();
    until("one more", async || {
        let read = store.inner.read(&notes).await.expect("it is read");
        read.snapshot.is_some_and(|snapshot| snapshot.upto > others.upto)
    })
    .await;
    assert!(since.elapsed() < Duration::from_secs(30), "the first one counts as a failure");
}

/// The notes of decodings that went well are no evidence against a document, however late they are taken back.
#[tokio::test(start_paused = true)]
async fn a_document_that_is_compacted_again_and_again_is_not_given_up() {
    let store = FaultyStore::new();
    let node = start_with(store.clone(), Limits { tail_slots_max: 2, ..limits() });
    let mut editor = Editor::join(&node, "notes", 1).await;
    store.outcomes_take(Duration::from_secs(1));
    for _ in 0..50 {
        type_many(&mut editor, 3).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(store.mark_calls() > 25, "it was not compacted again: {}", store.mark_calls());
    let read = store.inner.read(&document("notes")).await.expect("it is read");
    assert!(read.snapshot.is_some_and(|snapshot| snapshot.upto >= Slot::new(140)), "the last ones failed");
    editor.take_all();
    assert_eq!(editor.closed, None);
    assert_eq!(Editor::join(&node, "notes", 2).await.text().len(), 150);
}

/// R9: the store has lost what was durable. What memory has is saved, as a snapshot that covers it.
#[tokio::test(start_paused = true)]
async fn a_store_that_went_backwards_gets_back_what_memory_has() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    type_many(&mut editor, 10).await;
    store.go_back();
    let notes = document("notes");
    until("the snapshot", async || {
        let read = store.inner.read(&notes).await.expect("it is read");
        read.snapshot.is_some_and(|snapshot| snapshot.upto >= Slot::new(10))
    })
    .await;
    store.go_on();
    type_many(&mut editor, 10).await;
    let cold = start(store.clone());
    assert_eq!(Editor::join(&cold, "notes", 2).await.text().len(), 20);
}

/// Until then nobody else has it: the document does not end, whoever wants that.
#[tokio::test(start_paused = true)]
async fn a_document_that_has_what_the_store_lost_ends_when_that_is_saved() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    type_many(&mut editor, 10).await;
    store.snapshots(Fault::Away);
    store.go_back();
    until("a try to save it", async || store.snapshot_calls() > 0).await;
    let notes = document("notes");
    let saved = async || store.inner.read(&notes).await.expect("it is read").snapshot.map(|it| it.upto);
    let (stopped, ()) = tokio::join!(node.stop(Duration::from_secs(60)), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(saved().await, None);
        store.snapshots(Fault::None);
    });
    assert_eq!((stopped.flushed, stopped.forced), (1, 0));
    assert_eq!(saved().await, Some(Slot::new(10)));
}

/// A store that stays away does not keep the node from stopping.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_saved_goes_when_the_time_is_up() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    type_many(&mut editor, 10).await;
    store.snapshots(Fault::Away);
    store.go_back();
    until("a try to save it", async || store.snapshot_calls() > 0).await;
    let begun_at = tokio::time::Instant::now();
    node.stop(Duration::from_secs(60)).await;
    assert!((Duration::from_secs(30)..Duration::from_secs(61)).contains(&begun_at.elapsed()));
}

/// An answer that is older than the newest slots is no sign that they are lost.
#[tokio::test(start_paused = true)]
async fn a_late_answer_about_the_end_of_the_log_raises_no_alarm() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    store.tails_take(Duration::from_secs(1));
    for _ in 0..300 {
        type_many(&mut editor, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(store.tails_calls() > 3);
    let read = store.inner.read(&document("notes")).await.expect("it is read");
    assert_eq!((read.snapshot, read.slots.len()), (None, 300));
    editor.take_all();
    assert_eq!(editor.closed, None);
}

/// A large document: loads, answers and builds run on the pool, and small ones are not held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_document_works_beside_small_ones() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut large = Editor::join(&node, "large", 1).await;
    for _ in 0..20 {
        large.type_in(&"large ".repeat(50_000)).await;
    }
    large.all_acknowledged().await;
    node.stop(Duration::from_secs(10)).await;
    let node = start(store.clone());
    let mut small = Editor::join(&node, "small", 1).await;
    let (mut large, ()) = tokio::join!(Editor::join(&node, "large", 2), async {
        for _ in 0..20 {
            small.type_in("x").await;
            small.all_acknowledged().await;
        }
    });
    assert_eq!(large.text().len(), 6_000_000);
    large.type_in("!").await;
    large.all_acknowledged().await;
    assert_eq!(Editor::join(&node, "large", 3).await.text().len(), 6_000_001);
}
