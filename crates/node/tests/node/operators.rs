//! What operators ask, as HTTP and JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use ringleaf_node::Node;
use ringleaf_reader::Bounds;
use ringleaf_store::{MemoryStore, Store};
use ringleaf_types::{CloseReason, Limits, Slot};
use ringleaf_wire::{Event, OpenError};
use serde_json::{Value, json};
use tower_service::Service;

use crate::editor::{Editor, document, limits, start, start_with};
use crate::faulty_store::{Fault, FaultyStore};

struct Answer {
    status: StatusCode,
    content_type: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("it is JSON")
    }

    fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        self.json()
    }

    /// Status and code of an error; every error has a message.
    fn error(&self) -> (u16, String) {
        let json = self.json();
        let error = &json["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        (self.status.as_u16(), error["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn ask(node: &Arc<Node>, method: Method, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(path).body(body.into()).expect("it is a request");
    let response = node.admin().call(request).await.expect("it never fails");
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status(),
        content_type: content_type.unwrap_or_default(),
        body: response.into_body().collect().await.expect("the body is whole").to_bytes(),
    }
}

async fn get(node: &Arc<Node>, path: &str) -> Answer {
    ask(node, Method::GET, path, ()).await
}

async fn post(node: &Arc<Node>, path: &str) -> Answer {
    ask(node, Method::POST, path, ()).await
}

async fn delete(node: &Arc<Node>, path: &str) -> Answer {
    ask(node, Method::DELETE, path, ()).await
}

async fn with(name: &str, text: &str) -> (Arc<Node>, Editor) {
    let node = start(Arc::new(MemoryStore::new()));
    let editor = write(&node, name, text, 1).await;
    (node, editor)
}

async fn write(node: &Node, name: &str, text: &str, router: u64) -> Editor {
    let mut editor = Editor::join(node, name, router).await;
    editor.type_in(text).await;
    editor.all_acknowledged().await;
    editor
}

#[test]
#[ignore = "it is the reader process of the other tests"]
fn reader_process() {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if let Ok(numbers) = <[u64; 3]>::try_from(numbers) {
        let ended = ringleaf_reader::run(&Bounds::from_arguments(numbers));
        std::process::exit(i32::from(ended.is_err()));
    }
}

const NOTES: &str = "/api/v1/documents/notes";
const CONTENT: &str = "/api/v1/documents/notes/content";

#[tokio::test]
async fn the_listing_goes_page_by_page_and_says_what_is_in_memory() {
    let node = start(Arc::new(MemoryStore::new()));
    for (index, name) in ["b/1", "a", "b/2", "c", "b/3"].into_iter().enumerate() {
        write(&node, name, "x", index as u64).await;
    }
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&node, &format!("/api/v1/documents?limit=2{after}")).await.ok();
        for line in page["documents"].as_array().unwrap() {
            names.push(line["name"].as_str().unwrap().to_owned());
            assert_eq!(line["resident"], json!(true));
            assert_eq!(line["last_slot"], json!(1));
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(names, ["a", "b/1", "b/2", "b/3", "c"]);
    let some = get(&node, "/api/v1/documents?prefix=b%2F").await.ok();
    assert_eq!(some["documents"].as_array().unwrap().len(), 3);
    assert_eq!(some["next"], Value::Null);
    assert_eq!(get(&node, "/api/v1/documents?limti=2").await.error(), (400, "bad_request".into()));
}

#[tokio::test]
async fn a_name_with_slashes_and_signs_is_one_segment() {
    let (node, _editor) = with("team a/notes & é?", "x").await;
    let shown = get(&node, "/api/v1/documents/team%20a%2Fnotes%20%26%20%C3%A9%3F").await.ok();
    assert_eq!(shown["name"], json!("team a/notes & é?"));
    assert_eq!(shown["sessions"], json!(1));
    assert_eq!(shown["epoch"], json!(1));
    assert!(shown["changed_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get(&node, "/api/v1/documents/%00").await.error(), (400, "bad_name".into()));
    assert_eq!(get(&node, "/api/v1/documents/%ff").await.error(), (400, "bad_name".into()));
    assert_eq!(get(&node, "/api/v1/documents/other").await.error(), (404, "document_not_found".into()));
}

#[tokio::test]
async fn the_content_comes_as_text_json_or_an_update_from_memory_and_from_the_store() {
    let store = Arc::new(MemoryStore::new());
    let node = start(store.clone());
    write(&node, "notes", "hello", 1).await;
    let cold = start(store.clone());
    for node in [&node, &cold] {
        let text = get(node, &format!("{CONTENT}?as=text")).await;
        assert_eq!(
            (text.content_type.as_str(), &text.body[..]),
            ("text/plain; charset=utf-8", &b"hello"[..])
        );
        assert_eq!(get(node, &format!("{CONTENT}?as=json")).await.ok(), json!({ "text": "hello" }));
        let update = get(node, &format!("{CONTENT}?as=update")).await;
        assert_eq!(update.content_type, "application/octet-stream");
        let other = format!("/api/v1/documents/copy-{}", cold.status().documents);
        ask(node, Method::PUT, &format!("{other}/content"), update.body).await.ok();
        assert_eq!(&get(node, &format!("{other}/content?as=text")).await.body[..], b"hello");
    }
    let looked = get(&cold, "/api/v1/documents/notes").await.ok();
    assert_eq!(looked["resident"], json!(false), "looking at a document does not make it resident");
    assert_eq!(get(&node, &format!("{CONTENT}?as=html")).await.error(), (400, "bad_request".into()));
}

/// An embedded value with half of a pair of surrogates: Yjs reads it, the CRDT library of the reader process does not.
const HALF_A_PAIR: &[u8] = b"\x01\x01\x01\x00\x05\x01\x01t\x08\"\\ud83d\"\x00";

#[tokio::test]
async fn what_the_crdt_library_cannot_read_is_exported_nevertheless() {
    let node = start(Arc::new(MemoryStore::new()));
    ask(&node, Method::PUT, CONTENT, HALF_A_PAIR).await.ok();
    for path in [CONTENT.to_owned(), format!("{CONTENT}?as=text")] {
        let answer = get(&node, &path).await;
        assert_eq!(answer.error(), (422, "document_unreadable".into()));
        let error = answer.json()["error"].to_string();
        assert!(error.contains("cannot read") && error.contains("doc export"), "{error}");
    }
    assert_eq!(&get(&node, &format!("{CONTENT}?as=update")).await.body[..], HALF_A_PAIR);
    let deep = post(&node, &format!("{NOTES}/verify?deep=true")).await;
    assert_eq!(deep.error(), (422, "document_unreadable".into()));
    assert_eq!(post(&node, &format!("{NOTES}/verify")).await.ok()["sound"], json!(true));
}

#[tokio::test]
async fn a_reader_process_that_is_busy_or_not_there_is_said_to_be() {
    let store = Arc::new(MemoryStore::new());
    write(&start(store.clone()), "notes", "hello", 1).await;
    let busy = Limits { reader_turn_timeout: Duration::ZERO, reader_timeout: Duration::ZERO, ..limits() };
    let node = start_with(store.clone(), busy);
    assert_eq!(get(&node, CONTENT).await.error(), (504, "read_timed_out".into()));
    node.stop(Duration::from_secs(5)).await;
    assert_eq!(get(&node, CONTENT).await.error(), (503, "unavailable".into()));
}

/// An import is durable when it is answered, reaches everybody, and cannot break the document.
#[tokio::test]
async fn an_import_is_merged_as_an_editor_would() {
    let (node, mut editor) = with("notes", "hello").await;
    let other = Editor::join(&node, "elsewhere", 5).await;
    other.edit(" world");
    let imported = ask(&node, Method::PUT, CONTENT, other.state()).await.ok();
    assert_eq!((&imported["slot"], &imported["outcome"]), (&json!(2), &json!("imported")));
    editor.until("the import", |_, editor| editor.text().contains("world")).await;
    assert!(editor.text().contains("hello"));
    for rubbish in [&b"\x01\x02\x03"[..], b"", &[0xff; 100]] {
        let refused = ask(&node, Method::PUT, CONTENT, Bytes::copy_from_slice(rubbish)).await;
        assert_eq!(refused.error(), (422, "update_refused".into()));
    }
    let again = ask(&node, Method::PUT, CONTENT, other.state()).await.ok();
    assert_eq!(again["slot"], json!(2), "nothing new makes no slot");
    let stored = node.clone();
    assert_eq!(get(&stored, NOTES).await.ok()["last_slot"], json!(2));
}

/// R10.
#[tokio::test]
async fn a_deleted_document_is_closed_to_everybody_until_it_is_undeleted() {
    let (node, mut editor) = with("notes", "precious").await;
    let deleted = delete(&node, NOTES).await.ok();
    assert_eq!(deleted["slot"], json!(2));
    let end = editor.until("the end", |_, editor| editor.closed.is_some()).await;
    assert_eq!(end, Event::Closed { reason: CloseReason::DocumentDeleted });
    for _ in 0..3 {
        let opened = Editor::open(&node, "notes", 2).await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::Refused { reason: CloseReason::DocumentDeleted })),
            "{opened:?}"
        );
    }
    until_absent(&node).await;
    assert_eq!(get(&node, NOTES).await.ok()["deleted"], json!(true));
    assert_eq!(get(&node, CONTENT).await.error(), (410, "document_deleted".into()));
    assert_eq!(delete(&node, NOTES).await.error(), (410, "document_deleted".into()));
    let import = ask(&node, Method::PUT, CONTENT, editor.state()).await;
    assert_eq!(import.error(), (410, "document_deleted".into()));

    let undeleted = post(&node, &format!("{NOTES}/undelete")).await.ok();
    assert_eq!(undeleted["slot"], json!(3));
    assert_eq!(Editor::join(&node, "notes", 3).await.text(), "precious");
    assert_eq!(post(&node, &format!("{NOTES}/undelete")).await.error(), (409, "document_not_deleted".into()));
    assert_eq!(delete(&node, "/api/v1/documents/other").await.error(), (404, "document_not_found".into()));
}

/// A deleted document that nobody asks for is not kept in memory.
async fn until_absent(node: &Node) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while node.status().documents > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:?}", node.status());
}

#[tokio::test]
async fn a_purged_document_is_empty_and_its_slots_go_on() {
    let store = Arc::new(MemoryStore::new());
    let node = start(store.clone());
    let mut editor = write(&node, "notes", "secret", 1).await;
    let purge = format!("{NOTES}/purge");
    assert_eq!(post(&node, &purge).await.error(), (409, "document_not_deleted".into()));
    delete(&node, NOTES).await.ok();
    editor.until("the end", |_, editor| editor.closed.is_some()).await;
    assert_eq!(post(&node, &purge).await.ok()["slot"], json!(3));
    let editor = write(&node, "notes", "new", 2).await;
    assert_eq!((editor.text().as_str(), editor.last_slot), ("new", Slot::new(4)));
    let stored = store.read(&document("notes")).await.expect("it is read");
    assert!(stored.slots.iter().all(|(slot, record)| slot.get() > 3 && record.epoch.get() > 1));
}

#[tokio::test]
async fn a_check_reads_decodes_and_compares() {
    let (node, _editor) = with("notes", "hello").await;
    let report = post(&node, &format!("{NOTES}/verify")).await.ok();
    assert_eq!(
        (&report["sound"], &report["slots"], &report["updates"]),
        (&json!(true), &json!(1), &json!(1))
    );
    assert_eq!(report["compared_with_memory"], json!(true));
    assert_eq!(report["reader_bytes"], Value::Null);
    let deep = post(&node, &format!("{NOTES}/verify?deep=true")).await.ok();
    assert_eq!((&deep["sound"], &deep["reader_bytes"]), (&json!(true), &deep["state_bytes"]));
    let misspelled = post(&node, &format!("{NOTES}/verify?depe=true")).await;
    assert_eq!(misspelled.error(), (400, "bad_request".into()));
    assert!(report["state_bytes"].as_u64().unwrap() > 5);

    let store = FaultyStore::new();
    let node = start(store.clone());
    write(&node, "notes", "hello", 1).await;
    store.reads(Fault::Corrupt);
    assert_eq!(post(&node, &format!("{NOTES}/verify")).await.error(), (500, "document_unsound".into()));
    assert_eq!(
        post(&node, "/api/v1/documents/other/verify").await.error(),
        (404, "document_not_found".into())
    );
}

/// The state in memory has something that the store has not: what a check is for.
#[tokio::test]
async fn a_check_finds_what_memory_has_and_the_store_lacks() {
    let (full, _editor) = with("notes", "hello").await;
    let update = get(&full, &format!("{CONTENT}?as=update")).await.body;
    let store = FaultyStore::new();
    let node = start(store.clone());
    ask(&node, Method::PUT, CONTENT, update).await.ok();
    store.reads(Fault::Empty);
    assert_eq!(post(&node, &format!("{NOTES}/verify")).await.error(), (500, "document_unsound".into()));
}

#[tokio::test]
async fn the_quarantine_is_shown_with_its_reasons_and_released() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    let mut editor = write(&node, "notes", "pre", 1).await;
    editor.type_in("cious").await;
    editor.all_acknowledged().await;
    node.stop(Duration::from_secs(5)).await;
    let node = start(store.clone());
    store.reads(Fault::Corrupt);
    assert!(Editor::open(&node, "notes", 1).await.is_err());
    store.reads(Fault::None);
    let listed = get(&node, "/api/v1/quarantine").await.ok();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 1);
    let shown = get(&node, "/api/v1/quarantine/notes").await.ok();
    assert!(shown["reason"].as_str().unwrap().contains("checksum"), "{shown}");
    assert_eq!(get(&node, NOTES).await.ok()["quarantined"], json!(true));
    assert_eq!(get(&node, CONTENT).await.error(), (423, "document_quarantined".into()));
    assert_eq!(delete(&node, NOTES).await.error(), (423, "document_quarantined".into()));
    let exported = get(&node, &format!("{CONTENT}?as=update")).await;
    assert_eq!(exported.status, StatusCode::OK);
    ask(&node, Method::PUT, "/api/v1/documents/copy/content", exported.body).await.ok();
    assert_eq!(&get(&node, "/api/v1/documents/copy/content?as=text").await.body[..], b"precious");
    // What has failed twice is not decoded again in a serving process, not even to look at it.
    let verify = format!("{NOTES}/verify");
    assert_eq!(post(&node, &verify).await.error(), (500, "document_unreadable".into()));
    delete(&node, "/api/v1/quarantine/notes").await.ok();
    assert_eq!(
        delete(&node, "/api/v1/quarantine/notes").await.error(),
        (404, "document_not_quarantined".into())
    );
    assert_eq!(post(&node, &verify).await.ok()["sound"], json!(true));
    assert_eq!(Editor::join(&node, "notes", 2).await.text(), "precious");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_said_to_be() {
    let store = FaultyStore::new();
    let node = start(store.clone());
    write(&node, "notes", "hello", 1).await;
    node.stop(Duration::from_secs(5)).await;
    assert_eq!(delete(&node, NOTES).await.error(), (503, "unavailable".into()));
    let node = start(store.clone());
    store.reads(Fault::Away);
    assert_eq!(get(&node, "/api/v1/quarantine").await.error(), (503, "unavailable".into()));
}

/// The second of two updates by one client, without the first.
fn without_ground(editor: &Editor) -> (Bytes, Bytes) {
    (editor.edit("first "), editor.edit("second"))
}

/// Waits until `doc show` says this; how a document is measured is up to a second old.
async fn until_shown(node: &Arc<Node>, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut shown = Value::Null;
    for _ in 0..500 {
        shown = get(node, path).await.json();
        if holds(&shown) {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {shown}");
}

#[tokio::test]
async fn what_a_session_has_left_behind_is_shown_until_its_ground_comes() {
    let store = Arc::new(MemoryStore::new());
    let node = start(store.clone());
    let mut early = Editor::join(&node, "notes", 1).await;
    let (first, second) = without_ground(&early);
    let bytes = second.len();
    early.send(second).await;
    let shown = until_shown(&node, NOTES, |shown| shown["sessions_left_behind"] == 1).await;
    let left = &shown["left_behind"][0];
    assert_eq!((&left["reason"], &left["pieces"]), (&json!("ground"), &json!(1)), "{shown}");
    assert_eq!(left["bytes"], shown["remainder_bytes"]);
    assert!(left["bytes"].as_u64().unwrap() <= bytes as u64, "{shown}");
    assert!(left["why"].as_str().unwrap().contains("kept until that comes"), "{shown}");
    assert!(left["since"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert_eq!(
        (&shown["remainders"], &shown["last_slot"]),
        (&json!(1), &json!(0)),
        "nothing was written: {shown}"
    );
    assert_eq!(node.all_in_memory()[0].left_behind, 1);

    let mut other = Editor::join(&node, "notes", 2).await;
    other.send(first).await;
    other.until_text("first second").await;
    let shown = until_shown(&node, NOTES, |shown| shown["sessions_left_behind"] == 0).await;
    assert_eq!(shown["left_behind"], json!([]));
    until_shown(&node, NOTES, |shown| shown["remainders"] == 0).await;
    assert_eq!(node.all_in_memory()[0].left_behind, 0);
}

#[tokio::test]
async fn remainders_are_shown_though_nobody_is_there_any_more() {
    let store = Arc::new(MemoryStore::new());
    let node = start(store.clone());
    let mut early = Editor::join(&node, "notes", 1).await;
    let (_, second) = without_ground(&early);
    early.send(second).await;
    until_shown(&node, NOTES, |shown| shown["remainders"] == 1).await;
    let cold = start(store);
    let shown = get(&cold, NOTES).await.ok();
    assert_eq!((&shown["resident"], &shown["remainders"]), (&json!(false), &json!(1)), "{shown}");
    assert!(shown["remainder_bytes"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(get(&cold, "/api/v1/documents/other").await.error(), (404, "document_not_found".into()));
}

#[tokio::test]
async fn a_document_that_is_full_says_so_of_the_session_that_is_refused() {
    let limits = Limits { document_bytes_max: 200, ..limits() };
    let node = start_with(Arc::new(MemoryStore::new()), limits);
    let mut editor = write(&node, "notes", "x", 1).await;
    let update = editor.edit(&"y".repeat(300));
    editor.send(update).await;
    let shown = until_shown(&node, NOTES, |shown| shown["sessions_left_behind"] == 1).await;
    assert_eq!(shown["left_behind"][0]["reason"], json!("full"), "{shown}");
    assert!(shown["left_behind"][0]["why"].as_str().unwrap().contains("document_bytes_max"), "{shown}");
    editor.submit(ringleaf_wire::Request::Detach { session: crate::editor::SESSION }).await;
    until_shown(&node, NOTES, |shown| shown["sessions_left_behind"] == 0).await;
}
