//! A store on its bad days: nothing is lost, nothing is acknowledged early, a failed load is never an empty document.
//!
//! Time is paused: it passes only when nothing else can happen.

use std::sync::Arc;
use std::time::Duration;

use ringleaf_node::Node;
use ringleaf_types::{CloseReason, Slot};
use ringleaf_wire::{Event, OpenError};
use tokio::time::Instant;

use crate::editor::{Editor, document, start};
use crate::faulty_store::{Fault, FaultyStore};

/// What a node that has just started reads.
async fn cold(store: &Arc<FaultyStore>, name: &str) -> String {
    let node = start(store.clone());
    let text = Editor::join(&node, name, 99).await.text();
    node.stop(Duration::from_secs(10)).await;
    text
}

fn refused_for(opened: Result<Editor, OpenError>) -> CloseReason {
    match opened.map(|_| ()) {
        Err(OpenError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// I4, and I1 from the other side: until the slot is durable nobody hears anything of it.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_its_slot_is_durable() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    let mut reader = Editor::join(&node, "notes", 2).await;
    store.appends(Fault::Hold);
    writer.type_in("secret").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Joining waits, too: an answer would hold what is not durable.
    let late = Editor::open(&node, "notes", 3).await.expect("it opens");
    writer.take_all();
    reader.take_all();
    assert_eq!((writer.acknowledged, reader.text().as_str()), (0, ""));
    assert_eq!(store.durable(&document("notes")), Slot::ZERO);
    store.appends(Fault::None);
    writer.all_acknowledged().await;
    reader.until_text("secret").await;
    drop(late);
    assert_eq!(cold(&store, "notes").await, "secret");
}

/// Acknowledged is durable, also for what brings nothing new: it rests on what came before it.
#[tokio::test(start_paused = true)]
async fn what_is_known_already_is_not_acknowledged_before_what_made_it_known() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut first = Editor::join(&node, "notes", 1).await;
    let mut second = Editor::join(&node, "notes", 2).await;
    store.appends(Fault::Hold);
    let update = first.edit("once");
    first.send(update.clone()).await;
    second.send(update).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    second.take_all();
    assert_eq!(second.acknowledged, 0);
    store.appends(Fault::None);
    second.all_acknowledged().await;
    first.all_acknowledged().await;
    assert_eq!(store.durable(&document("notes")), Slot::new(1), "the second brought nothing to store");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_acknowledgements_and_loses_nothing() {
    for fault in [Fault::DiskFull, Fault::Away] {
        let store = FaultyStore::new();
        let node = start(store.clone());
        let mut writer = Editor::join(&node, "notes", 1).await;
        store.appends(fault);
        for word in ["one ", "two ", "three "] {
            writer.type_in(word).await;
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        writer.take_all();
        assert_eq!(writer.acknowledged, 0, "{fault:?}");
        assert!(store.append_calls() > 100, "it is tried again and again");
        assert_eq!(node.status().failing_appends, 1, "{fault:?}");
        store.appends(Fault::None);
        writer.all_acknowledged().await;
        assert_eq!(node.status().failing_appends, 0, "{fault:?}");
        assert_eq!(cold(&store, "notes").await, "one two three ");
    }
}

/// Somebody's lock, say: for as long as it lasts the store neither takes the append nor refuses it.
#[tokio::test(start_paused = true)]
async fn an_append_that_is_not_answered_counts_as_failing_before_it_fails() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    store.appends(Fault::Hold);
    writer.type_in("secret").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(node.status().failing_appends, 0, "it may be just slow");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.status().failing_appends, 1);
    store.appends(Fault::None);
    writer.all_acknowledged().await;
    assert_eq!(node.status().failing_appends, 0);
}

/// R2: a slot that holds my own nonce is mine.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_makes_no_second_slot() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    for word in ["a", "b", "c", "d"] {
        store.next_appends(Fault::LoseReply, 1);
        writer.type_in(word).await;
        writer.all_acknowledged().await;
    }
    let stored = ringleaf_store::Store::read(&*store.inner, &document("notes")).await.expect("it is read");
    assert_eq!(stored.slots.len(), 4, "a slot for each");
    assert_eq!(cold(&store, "notes").await, "abcd");
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_with_lost_replies_and_outages_loses_nothing_of_five_writers() {
    let store = FaultyStore::new();
    store.slow(Duration::from_millis(30));
    let node = start(store.clone());
    let mut editors = Vec::new();
    for router in 1..=5 {
        editors.push(Editor::join(&node, "notes", router).await);
    }
    for round in 0..60 {
        match round % 10 {
            3 => store.next_appends(Fault::LoseReply, 2),
            6 => store.next_appends(Fault::Away, 3),
            8 => store.next_appends(Fault::DiskFull, 1),
            _ => {}
        }
        for editor in &mut editors {
            editor.type_in("x").await;
        }
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    for editor in &mut editors {
        editor.all_acknowledged().await;
    }
    assert_eq!(cold(&store, "notes").await.len(), 300);
    for editor in &mut editors {
        editor.until_text(&"x".repeat(300)).await;
    }
}

/// I11, R8. The mutation "treat a load error as an empty document" fails here.
#[tokio::test(start_paused = true)]
async fn a_load_waits_for_a_store_that_is_away() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in("precious").await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;

    for fault in [Fault::Away, Fault::DiskFull, Fault::Hold] {
        let node = start(store.clone());
        store.reads(fault);
        let opening = Editor::join(&node, "notes", 2);
        tokio::pin!(opening);
        let waited = tokio::time::timeout(Duration::from_secs(15), opening.as_mut()).await;
        assert!(waited.is_err(), "it opened while the store was away ({fault:?})");
        store.reads(Fault::None);
        assert_eq!(opening.await.text(), "precious");
        node.stop(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_closes_is_waited_for_and_one_that_stays_is_quarantined() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in("precious").await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;

    store.next_reads(Fault::Gap, 5);
    assert_eq!(cold(&store, "notes").await, "precious");

    let node = start(store.clone());
    // The first read asks who is in quarantine.
    assert_eq!(Editor::join(&node, "other", 1).await.text(), "");
    store.reads(Fault::Gap);
    let begun_at = Instant::now();
    let opening = tokio::spawn({
        let node = node.clone();
        async move { node_open(&node, "notes").await }
    });
    let reason = opening.await.expect("it ends");
    assert_eq!(reason, Some(CloseReason::DocumentQuarantined));
    assert!(begun_at.elapsed() >= Duration::from_secs(30));
    store.reads(Fault::None);
    assert_eq!(node_open(&node, "notes").await, Some(CloseReason::DocumentQuarantined));
}

/// Opens without the patience of [`Editor::open`].
async fn node_open(node: &ringleaf_node::Node, name: &str) -> Option<CloseReason> {
    let sink = Arc::new(crate::editor::Sink::default());
    let opened = ringleaf_wire::SessionHost::open(
        node,
        ringleaf_wire::Opening::new(document(name), ringleaf_types::RouterId::new(7)),
        sink,
    )
    .await;
    match opened.map(|_| ()) {
        Ok(()) => None,
        Err(OpenError::Refused { reason }) => Some(reason),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_do_not_load_are_tried_twice_and_then_wait_for_a_person() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in("precious").await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;

    // Once is a hiccup.
    let node = start(store.clone());
    assert_eq!(Editor::join(&node, "other", 1).await.text(), "");
    store.next_reads(Fault::Corrupt, 1);
    assert_eq!(Editor::join(&node, "notes", 1).await.text(), "precious");
    node.stop(Duration::from_secs(1)).await;
    store.inner.mark_outcome(&document("notes"), None).await.expect("it is forgiven");

    // Twice is not.
    let node = start(store.clone());
    assert_eq!(Editor::join(&node, "other", 1).await.text(), "");
    store.reads(Fault::Corrupt);
    let before = store.read_calls();
    let opened = Editor::open(&node, "notes", 1).await;
    assert_eq!(refused_for(opened), CloseReason::DocumentQuarantined);
    assert_eq!(store.read_calls() - before, 2);
    store.reads(Fault::None);
    assert_eq!(refused_for(Editor::open(&node, "notes", 1).await), CloseReason::DocumentQuarantined);
    node.stop(Duration::from_secs(1)).await;

    // It stays so, for every node, until it is released.
    let node = start(store.clone());
    assert_eq!(refused_for(Editor::open(&node, "notes", 1).await), CloseReason::DocumentQuarantined);
    let quarantined = store.inner.quarantined().await.expect("it is read");
    assert!(quarantined[0].reason.contains("checksum"), "{}", quarantined[0].reason);
    node.stop(Duration::from_secs(1)).await;
    assert!(store.inner.release(&document("notes")).await.expect("it is released"));
    assert_eq!(cold(&store, "notes").await, "precious");
}

/// Processes that died while they decoded a document have left their notes.
async fn after_deaths(count: usize) -> (Arc<Node>, Arc<FaultyStore>) {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in("poison").await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;
    for _ in 0..count {
        store.inner.mark_attempt(&document("notes")).await.expect("it is noted");
    }
    (start(store.clone()), store)
}

/// Most processes that end at it do not end of it.
#[tokio::test(start_paused = true)]
async fn a_document_at_which_three_processes_were_killed_goes_on() {
    let (node, store) = after_deaths(3).await;
    let mut editor = Editor::join(&node, "notes", 1).await;
    editor.type_in("more").await;
    editor.all_acknowledged().await;
    assert_eq!(store.inner.quarantined().await.expect("it is read").len(), 0);
}

/// R8: it was being loaded, or made compact, when they ended.
#[tokio::test(start_paused = true)]
async fn a_document_that_has_ended_four_processes_does_not_end_a_fifth() {
    let (node, store) = after_deaths(4).await;
    assert_eq!(refused_for(Editor::open(&node, "notes", 1).await), CloseReason::DocumentQuarantined);
    assert_eq!(store.inner.quarantined().await.expect("it is read").len(), 1);
    let mut other = Editor::join(&node, "other", 1).await;
    other.type_in("undisturbed").await;
    other.all_acknowledged().await;
}

/// R8. One that costs next to nothing is not worth a write.
#[tokio::test(start_paused = true)]
async fn the_load_of_a_large_document_is_noted_in_the_store_first() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    for (name, bytes) in [("small", 10_000), ("large", 1_500_000)] {
        let mut writer = Editor::join(&node, name, 1).await;
        writer.type_in(&"x".repeat(bytes)).await;
        writer.all_acknowledged().await;
    }
    node.stop(Duration::from_secs(1)).await;
    let node = start(store.clone());
    let before = store.mark_calls();
    assert_eq!(Editor::join(&node, "small", 1).await.text().len(), 10_000);
    assert_eq!(store.mark_calls(), before);
    assert_eq!(Editor::join(&node, "large", 1).await.text().len(), 1_500_000);
    assert_eq!(store.mark_calls(), before + 1);
    node.stop(Duration::from_secs(1)).await;
    assert_eq!(store.inner.noted().await.expect("it is read"), [], "it went well");
    store.inner.mark_attempt(&document("large")).await.expect("it is noted");
    assert_eq!(cold(&store, "large").await.len(), 1_500_000, "one death is no reason");
    assert_eq!(store.inner.noted().await.expect("it is read"), []);
}

/// What is noted first is tried twice, too, and not for ever.
#[tokio::test(start_paused = true)]
async fn a_large_document_that_does_not_load_is_tried_twice() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in(&"x".repeat(1_500_000)).await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;
    let node = start(store.clone());
    assert_eq!(Editor::join(&node, "other", 1).await.text(), "");
    store.reads(Fault::NoUpdate);
    let before = store.read_calls();
    assert_eq!(refused_for(Editor::open(&node, "notes", 1).await), CloseReason::DocumentQuarantined);
    assert_eq!(store.read_calls() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_notes_holds_up_nobody() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut writer = Editor::join(&node, "notes", 1).await;
    writer.type_in("a").await;
    writer.all_acknowledged().await;
    node.stop(Duration::from_secs(1)).await;
    for fault in [Fault::DiskFull, Fault::Hold] {
        store.marks(fault);
        let node = start(store.clone());
        let mut writer = Editor::join(&node, "notes", 1).await;
        writer.type_in("b").await;
        writer.all_acknowledged().await;
        node.stop(Duration::from_secs(1)).await;
    }
    assert_eq!(cold(&store, "notes").await, "abb");
}

/// R9: one query for all documents.
#[tokio::test(start_paused = true)]
async fn the_ends_of_all_logs_are_looked_at_in_one_query() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editors = Vec::new();
    for router in 0..50 {
        editors.push(Editor::join(&node, &format!("document {router}"), router).await);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = store.tails_calls();
    // Each document is looked at every five seconds or so, all of them at once.
    assert!((10..=14).contains(&calls), "{calls} queries in a minute");
}

/// R9: while the tail is read the document goes on, and then it ends above what was found.
#[tokio::test(start_paused = true)]
async fn a_tail_that_is_read_late_is_no_store_that_went_backwards() {
    let store = FaultyStore::new();
    let (here, there) = (start(store.clone()), start(store.clone()));
    let mut one = Editor::join(&here, "notes", 1).await;
    one.type_in("a").await;
    one.all_acknowledged().await;
    let mut other = Editor::join(&there, "notes", 2).await;
    one.type_in("b").await;
    one.all_acknowledged().await;
    store.reads(Fault::Hold);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for text in ["c", "d", "e"] {
        other.type_in(text).await;
        other.all_acknowledged().await;
    }
    store.reads(Fault::None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    other.type_in("f").await;
    other.all_acknowledged().await;
    assert_eq!(store.snapshot_calls(), 0, "nothing was saved in an alarm");
}

/// Another node writes to the document: the tail check finds it.
#[tokio::test(start_paused = true)]
async fn what_another_node_wrote_is_noticed_within_seconds() {
    let store = FaultyStore::new();
    let (here, there) = (start(store.clone()), start(store.clone()));
    let mut one = Editor::join(&here, "notes", 1).await;
    let mut other = Editor::join(&there, "notes", 2).await;
    let began = tokio::time::Instant::now();
    one.type_in("mine ").await;
    one.all_acknowledged().await;
    // It has claimed nothing, so this is no loss to it: its router attaches again.
    other.until("the claim is noticed", |_, editor| editor.closed == Some(Event::LetGo)).await;
    assert!(began.elapsed() < Duration::from_millis(5_500), "I6: not after {:?}", began.elapsed());
    let mut other = Editor::join(&there, "notes", 2).await;
    assert_eq!(other.text(), "mine ");
    other.type_in("yours").await;
    other.all_acknowledged().await;
    let end = one.until("the end", |_, editor| editor.closed.is_some()).await;
    assert_eq!(end, Event::LetGo, "fenced");
    assert_eq!(cold(&store, "notes").await, "mine yours");
}
