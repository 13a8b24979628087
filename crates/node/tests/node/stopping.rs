//! The node stops in order (I18).

use std::sync::Arc;
use std::time::Duration;

use ringleaf_node::Stopped;
use ringleaf_store::Store;
use ringleaf_types::Slot;
use ringleaf_wire::OpenError;

use crate::editor::{Editor, document, start};
use crate::faulty_store::{Fault, FaultyStore};

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_durable_when_the_node_has_stopped() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    store.appends(Fault::Hold);
    let mut editors = Vec::new();
    for router in 1..=10 {
        let mut editor = Editor::join(&node, &format!("document {router}"), router).await;
        for _ in 0..5 {
            editor.type_in("x").await;
        }
        editors.push(editor);
    }
    let stopping = tokio::spawn({
        let node = node.clone();
        async move { node.stop(WITHIN).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!stopping.is_finished(), "it waits for the store");
    store.appends(Fault::None);
    assert_eq!(stopping.await.expect("it ends"), Stopped { flushed: 10, forced: 0 });
    let node = start(store.clone());
    for router in 1..=10 {
        assert_eq!(Editor::join(&node, &format!("document {router}"), 50).await.text(), "xxxxx");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_does_not_hold_up_the_end() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut idle = Editor::join(&node, "idle", 1).await;
    idle.type_in("x").await;
    idle.all_acknowledged().await;
    let mut editor = Editor::join(&node, "notes", 2).await;
    for fault in [Fault::Away, Fault::Hold] {
        store.appends(fault);
        editor.type_in("x").await;
    }
    let begun_at = tokio::time::Instant::now();
    assert_eq!(node.stop(WITHIN).await, Stopped { flushed: 1, forced: 1 });
    assert!(begun_at.elapsed() <= WITHIN + Duration::from_secs(1));
    assert_eq!(editor.acknowledged, 0, "what is lost was never acknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_waits_for_the_store_ends_at_once() {
    let store = FaultyStore::new();
    store.reads(Fault::Away);
    let node = start(store.clone());
    let opening = tokio::spawn({
        let node = node.clone();
        async move { Editor::open(&node, "notes", 1).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.stop(WITHIN).await.forced, 0);
    assert!(matches!(opening.await.expect("it ends"), Err(OpenError::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_opens_nothing() {
    let node = start(FaultyStore::new());
    assert_eq!(node.stop(WITHIN).await, Stopped { flushed: 0, forced: 0 });
    assert!(matches!(Editor::open(&node, "notes", 1).await, Err(OpenError::Busy)));
    assert!(node.status().stopping);
}

/// I18: no task holds the store any more, so it can be closed and its folder unlocked.
#[tokio::test(start_paused = true)]
async fn after_the_stop_nothing_is_left() {
    let store = FaultyStore::new();
    let held: Arc<dyn Store> = store.clone();
    let node = start(held);
    let mut editor = Editor::join(&node, "notes", 1).await;
    editor.type_in("x").await;
    editor.all_acknowledged().await;
    node.stop(WITHIN).await;
    drop(node);
    drop(editor);
    assert_eq!(Arc::strong_count(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_tail_becomes_a_snapshot_when_the_node_stops() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    for _ in 0..200 {
        editor.type_in("x").await;
        editor.all_acknowledged().await;
    }
    assert_eq!(node.stop(WITHIN).await, Stopped { flushed: 1, forced: 0 });
    let stored = store.inner.read(&document("notes")).await.expect("it is read");
    assert_eq!(stored.snapshot.map(|snapshot| snapshot.upto), Some(Slot::new(200)));
    let node = start(store.clone());
    assert_eq!(Editor::join(&node, "notes", 2).await.text().len(), 200);
}

/// The snapshot is a courtesy: without it the stop is as good.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_made_does_not_hold_up_the_end() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = Editor::join(&node, "notes", 1).await;
    for _ in 0..200 {
        editor.type_in("x").await;
        editor.all_acknowledged().await;
    }
    store.snapshots(Fault::Hold);
    assert_eq!(node.stop(WITHIN).await, Stopped { flushed: 1, forced: 0 });
}
