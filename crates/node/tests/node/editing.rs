//! Editors on documents, and documents that come and go.

use std::sync::Arc;
use std::time::Duration;

use ringleaf_node::Node;
use ringleaf_store::MemoryStore;
use ringleaf_types::{Limits, MessageNumber, RouterId};
use ringleaf_wire::{Event, OpenError, Opening, Request, SubmitError};
use tokio::time::{Instant, sleep};

use crate::editor::{Editor, PATIENCE, SESSION, document, limits, start, start_with};
use crate::faulty_store::{Fault, FaultyStore};

async fn until_documents(node: &Node, count: usize) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while node.status().documents != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let resident = || node.status().documents;
    assert!(waited.await.is_ok(), "waited in vain for {count} documents, there are {}", resident());
}

#[tokio::test]
async fn what_one_types_the_other_sees_and_a_late_joiner_gets_all() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut first = Editor::join(&node, "notes", 1).await;
    let mut second = Editor::join(&node, "notes", 2).await;
    first.type_in("hello").await;
    first.all_acknowledged().await;
    second.until_text("hello").await;
    second.type_in(" world").await;
    first.until_text("hello world").await;
    let late = Editor::join(&node, "notes", 3).await;
    assert_eq!(late.text(), "hello world");
}

#[tokio::test]
async fn a_document_that_comes_back_from_the_store_holds_everything() {
    let store = Arc::new(MemoryStore::new());
    for (router, so_far) in (1..=20).zip(0..) {
        let node = start(store.clone());
        let mut editor = Editor::join(&node, "notes", router).await;
        assert_eq!(editor.text(), "x".repeat(so_far));
        editor.type_in("x").await;
        editor.all_acknowledged().await;
        // Not stopped: what was acknowledged needs no farewell.
        drop(node);
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_nobody_needs_is_forgotten_and_comes_back() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut editor = Editor::join(&node, "notes", 1).await;
    editor.type_in("kept").await;
    editor.all_acknowledged().await;
    drop(editor.host);
    until_documents(&node, 1).await;
    tokio::time::sleep(limits().idle_timeout / 2).await;
    assert_eq!(node.status().documents, 1, "not at once");
    tokio::time::sleep(limits().idle_timeout * 2).await;
    until_documents(&node, 0).await;
    assert_eq!(node.status().resident_bytes, 0, "nothing of it is counted any more");
    assert_eq!(Editor::join(&node, "notes", 2).await.text(), "kept");
}

/// Forgetting and opening race, many hundreds of times: no opener is turned away or waits for ever, nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_what_is_just_being_forgotten_loses_nothing() {
    let limits = Limits { idle_timeout: Duration::from_millis(1), ..limits() };
    let node = start_with(Arc::new(MemoryStore::new()), limits);
    let mut racing = tokio::task::JoinSet::new();
    for name in ["one", "two", "three", "four"] {
        let node = node.clone();
        racing.spawn(async move {
            for router in 1..=150 {
                let mut editor = Editor::join(&node, name, router).await;
                editor.type_in("x").await;
                editor.all_acknowledged().await;
                assert_eq!(editor.closed, None);
                drop(editor);
                tokio::time::sleep(Duration::from_micros(router * 10)).await;
            }
            assert_eq!(Editor::join(&node, name, 999).await.text().len(), 150);
        });
    }
    racing.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_that_opened_and_attaches_late_is_told_that_the_document_went() {
    let limits = Limits { idle_timeout: Duration::from_secs(5), ..limits() };
    let node = start_with(Arc::new(MemoryStore::new()), limits);
    let mut editor = Editor::open(&node, "notes", 1).await.expect("it opens");
    let end = editor.until("let go", |_, editor| editor.closed.is_some()).await;
    assert_eq!(end, Event::LetGo);
    let update = editor.edit("x");
    let request = Request::Update { session: SESSION, number: MessageNumber::new(1), answer: false, update };
    assert!(matches!(editor.host.try_submit(request), Err(SubmitError::Gone(_))));
    assert!(editor.host.ready().await.is_err());
}

#[tokio::test]
async fn a_router_that_stopped_disturbs_nobody() {
    let node = start(Arc::new(MemoryStore::new()));
    let stopped = Editor::join(&node, "notes", 1).await;
    let mut first = Editor::join(&node, "notes", 2).await;
    let mut second = Editor::join(&node, "notes", 3).await;
    stopped.stop_listening();
    for _ in 0..10 {
        first.type_in("x").await;
    }
    first.all_acknowledged().await;
    second.until_text("xxxxxxxxxx").await;
}

/// A router that opens again is attached anew, and what it held before no longer counts.
#[tokio::test]
async fn of_one_router_only_the_last_attachment_counts() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut before = Editor::join(&node, "notes", 1).await;
    let mut after = Editor::join(&node, "notes", 1).await;
    before.type_in("void").await;
    after.type_in("counts").await;
    after.all_acknowledged().await;
    drop(before);
    after.type_in("!").await;
    after.all_acknowledged().await;
    assert_eq!(Editor::join(&node, "notes", 2).await.text(), "counts!");
}

/// An opening whose link broke meanwhile may be carried out after the one that the router made instead.
#[tokio::test]
async fn an_attachment_that_is_replaced_is_told_so() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut lives = Editor::join(&node, "notes", 1).await;
    let late = Editor::open(&node, "notes", 1).await.expect("it opens");
    lives.until("let go", |_, editor| editor.closed == Some(Event::LetGo)).await;
    drop(late);
    let mut again = Editor::join(&node, "notes", 1).await;
    again.type_in("not into the void").await;
    again.all_acknowledged().await;
}

/// Limit: `gathered_bytes_max`, then `mailbox_requests_max`. Whoever asks more waits, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_write_stops_taking_requests() {
    let limits = Limits { gathered_bytes_max: 10_000, mailbox_requests_max: 8, ..limits() };
    let store = FaultyStore::new();
    let node = start_with(store.clone(), limits);
    let mut editor = Editor::join(&node, "notes", 1).await;
    store.appends(Fault::Hold);
    let mut taken = 0;
    let mut number = 0;
    let refused = loop {
        number += 1;
        let update = editor.edit(&"x".repeat(1_000));
        let request =
            Request::Update { session: SESSION, number: MessageNumber::new(number), answer: false, update };
        match editor.host.try_submit(request) {
            Ok(()) => taken += 1,
            Err(SubmitError::Full(request)) => break request,
            Err(SubmitError::Gone(_)) => panic!("gone"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!((10..=30).contains(&taken), "{taken} were taken");
    let ready = tokio::time::timeout(Duration::from_secs(60), editor.host.ready()).await;
    assert!(ready.is_err(), "there was room though nothing was written");
    store.appends(Fault::None);
    editor.submit(refused).await;
    editor.until("all durable", |_, editor| editor.acknowledged == number).await;
    assert_eq!(Editor::join(&node, "notes", 2).await.text().len() as u64, number * 1_000);
}

/// Limit: `mailbox_requests_max`, with many more at the door than that. Looking whether there is room takes none away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_who_wait_for_room_than_there_is_room_all_get_it() {
    let limits = Limits { mailbox_requests_max: 4, ..limits() };
    let node = start_with(Arc::new(MemoryStore::new()), limits);
    let mut crowd = tokio::task::JoinSet::new();
    for router in 1..=100 {
        let node = node.clone();
        crowd.spawn(async move {
            let mut editor = Editor::join(&node, "notes", router).await;
            for _ in 0..10 {
                editor.type_in("x").await;
            }
            editor.all_acknowledged().await;
        });
    }
    crowd.join_all().await;
    assert_eq!(Editor::join(&node, "notes", 999).await.text().len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_documents_open_at_once() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut opening = tokio::task::JoinSet::new();
    for index in 0..1_000 {
        let node = node.clone();
        opening.spawn(async move {
            let mut editor = Editor::join(&node, &format!("document {index}"), 1).await;
            editor.type_in("x").await;
            editor.all_acknowledged().await;
            editor
        });
    }
    let editors = opening.join_all().await;
    assert_eq!((editors.len(), node.status().documents), (1_000, 1_000));
}

/// Many routers open one document at the same moment: it is loaded once.
#[tokio::test(start_paused = true)]
async fn a_document_that_many_want_is_loaded_once() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    store.reads(Fault::Hold);
    let mut opening = tokio::task::JoinSet::new();
    for router in 1..=100 {
        let node = node.clone();
        opening.spawn(async move { Editor::join(&node, "notes", router).await });
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.reads(Fault::None);
    assert_eq!(opening.join_all().await.len(), 100);
    assert_eq!(store.read_calls(), 1);
}

/// Limit: `resident_bytes_max`.
#[tokio::test(start_paused = true)]
async fn over_its_budget_the_node_forgets_what_has_no_sessions_longest_unused_first() {
    let store = Arc::new(MemoryStore::new());
    let node = start_with(store, Limits { resident_bytes_max: 200_000, ..limits() });
    let mut kept = Vec::new();
    for router in 1..=20 {
        let mut editor = Editor::join(&node, &format!("document {router}"), router).await;
        editor.type_in(&"x".repeat(20_000)).await;
        editor.all_acknowledged().await;
        if router <= 2 {
            kept.push(editor);
        } else {
            drop(editor);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while node.status().resident_bytes > 200_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", node.status());
    for editor in &mut kept {
        editor.take_all();
        assert_eq!(editor.closed, None, "those with sessions stay");
    }
    let resident = |index: usize| kept.len() < index;
    assert!(resident(3));
    let mut editor = Editor::join(&node, "document 3", 99).await;
    assert_eq!(editor.text().len(), 20_000);
    editor.take_all();
}

/// Limit: `resident_bytes_max`.
#[tokio::test(start_paused = true)]
async fn when_documents_in_use_fill_the_budget_others_are_not_opened() {
    let compaction_idle_timeout = Duration::from_secs(2);
    let limits = Limits { resident_bytes_max: 300_000, compaction_idle_timeout, ..limits() };
    let node = start_with(Arc::new(MemoryStore::new()), limits);
    let mut cold = Editor::join(&node, "cold", 50).await;
    cold.type_in("cold").await;
    cold.all_acknowledged().await;
    drop(cold);
    let mut editors = Vec::new();
    for router in 1..=10 {
        let mut editor = Editor::join(&node, &format!("document {router}"), router).await;
        editor.type_in(&"x".repeat(50_000)).await;
        editor.all_acknowledged().await;
        editors.push(editor);
    }
    let newcomer = async |name: &str| {
        let opening = Opening { refusable: true, ..Opening::new(document(name), RouterId::new(99)) };
        Editor::open_as(&node, opening).await.map(|_| ())
    };
    until_documents(&node, 10).await;
    assert_eq!(newcomer("cold").await, Err(OpenError::Busy));
    assert_eq!(newcomer("new").await, Err(OpenError::Busy));
    assert_eq!(newcomer("document 1").await, Ok(()), "it is in memory");
    for editor in &mut editors {
        editor.type_in("y").await;
        editor.all_acknowledged().await;
        assert_eq!(editor.closed, None, "what is open goes on");
    }
    let again = Editor::join(&node, "cold", 51).await;
    assert_eq!(again.text(), "cold", "whose sessions wait at a router is not refused");
    drop(again);
    editors.truncate(2);
    let opened = async {
        while newcomer("cold").await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, opened).await.is_ok(), "no room: {:?}", node.status());
    assert_eq!(newcomer("document 7").await, Ok(()));
}

/// Limit: `resident_bytes_max`.
#[tokio::test(start_paused = true)]
async fn of_many_documents_that_are_loaded_at_once_no_more_stay_than_there_is_room_for() {
    let store = FaultyStore::new();
    let node = start_with(store.clone(), limits());
    for router in 1..=20 {
        let mut editor = Editor::join(&node, &format!("document {router}"), router).await;
        editor.type_in(&"x".repeat(50_000)).await;
        editor.all_acknowledged().await;
    }
    node.stop(PATIENCE).await;
    let node = start_with(store.clone(), Limits { resident_bytes_max: 300_000, ..limits() });
    store.reads(Fault::Hold);
    let mut opening = tokio::task::JoinSet::new();
    for router in 1..=20 {
        let node = node.clone();
        opening.spawn(async move {
            let name = document(&format!("document {router}"));
            let opening = Opening { refusable: true, ..Opening::new(name, RouterId::new(router)) };
            let mut editor = Editor::open_as(&node, opening).await?;
            editor.attach().await;
            Ok(editor)
        });
    }
    sleep(Duration::from_secs(1)).await;
    store.reads(Fault::None);
    let opened = opening.join_all().await;
    let refused = opened.iter().filter(|opened| matches!(opened, Err(OpenError::Busy))).count();
    let status = node.status();
    assert_eq!(status.documents, opened.len() - refused, "{status:?}");
    // The one that fills it, or goes over it, is the last.
    assert!((300_000..420_000).contains(&status.resident_bytes), "{status:?}");
    assert!(opened.iter().all(|opened| matches!(opened, Ok(_) | Err(OpenError::Busy))));
}

/// A panic outside of the document: its own task ends, everybody is told, nobody else notices.
#[tokio::test]
async fn a_panic_in_one_document_leaves_the_others_alone() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut healthy = Editor::join(&node, "healthy", 1).await;
    let mut writer = Editor::join(&node, "notes", 2).await;
    let mut other = Editor::join(&node, "notes", 3).await;
    writer.type_in("kept").await;
    writer.all_acknowledged().await;
    let bomb = Arc::new(Bomb);
    let name = "notes".parse().expect("it is a name");
    let _host =
        ringleaf_wire::SessionHost::open(&*node, ringleaf_wire::Opening::new(name, RouterId::new(4)), bomb)
            .await
            .expect("it opens");
    writer.type_in(" lost?").await;
    other.until("let go", |_, editor| editor.closed == Some(Event::LetGo)).await;
    writer.until("let go", |_, editor| editor.closed == Some(Event::LetGo)).await;
    let mut again = Editor::join(&node, "notes", 2).await;
    again.send(writer.state()).await;
    again.all_acknowledged().await;
    assert_eq!(Editor::join(&node, "notes", 5).await.text(), "kept lost?");
    healthy.type_in("undisturbed").await;
    healthy.all_acknowledged().await;
}

struct Bomb;

impl ringleaf_wire::EventSink for Bomb {
    fn deliver(&self, _event: Event) -> Result<(), ringleaf_wire::Gone> {
        panic!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn updates_share_a_slot_while_the_router_would_not_hand_them_on() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut editor = Editor::join(&node, "notes", 1).await;
    editor.type_in("a").await;
    editor.all_acknowledged().await;
    let (before, began_at) = (editor.last_slot, Instant::now());
    editor.busy_for(Duration::from_millis(100));
    for letter in ["b", "c", "d", "e"] {
        editor.type_in(letter).await;
        sleep(Duration::from_millis(20)).await;
    }
    editor.all_acknowledged().await;
    assert_eq!(editor.last_slot, before.next(), "four updates, one slot");
    let waited = began_at.elapsed();
    assert!(
        waited <= Duration::from_millis(100),
        "durable when the router is ready for it, not {waited:?} later"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_is_answered_though_updates_gather() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut editor = Editor::join(&node, "notes", 1).await;
    editor.busy_for(PATIENCE * 10);
    editor.type_in("a").await;
    editor.sync().await;
    assert_eq!(editor.acknowledged, 1);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_knows_nothing_of_its_readiness_is_never_waited_for() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut editor = Editor::join(&node, "notes", 1).await;
    let other = Editor::join(&node, "notes", 2).await;
    other.busy_for(PATIENCE * 10);
    editor.type_in("a").await;
    editor.all_acknowledged().await;
}
