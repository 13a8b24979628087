//! What editors experience: over real sockets, against a host that keeps numbers in memory.

mod common;

use bytes::Bytes;
use common::*;
use ringleaf_types::CloseReason;
use ringleaf_wire::{Event, Request};

#[tokio::test]
async fn two_editors_exchange_updates_and_each_sees_its_own() {
    let world = start();
    let (mut one, mut two) = (world.synced("notes").await, world.synced("notes").await);
    assert_eq!((one.requests, two.requests), (1, 1), "the server asks too");
    one.send(&[1]).await;
    two.send(&[2]).await;
    one.until_has([1, 2]).await;
    two.until_has([1, 2]).await;
    let mut late = world.synced("notes").await;
    late.until_has([1, 2]).await;
    assert_eq!(*world.host.opens.lock().unwrap(), 1, "a document is opened once for all");
}

#[tokio::test]
async fn documents_are_apart() {
    let world = start();
    let (mut one, mut two) = (world.synced("one").await, world.synced("two").await);
    one.send(&[1]).await;
    two.send(&[2]).await;
    one.until_has([1]).await;
    two.until_has([2]).await;
    assert!(!one.has.contains(&2) && !two.has.contains(&1));
}

#[tokio::test]
async fn a_frame_may_hold_several_messages_and_a_stray_tail() {
    let world = start();
    let mut editor = world.synced("notes").await;
    let frame = [sync_frame(2, &update(&[1])), sync_frame(2, &update(&[2])), vec![0, 0]].concat();
    editor.send_raw(frame).await;
    editor.until_has([1, 2]).await;
}

#[tokio::test]
async fn an_editor_that_leaves_is_detached_and_its_document_let_go() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    editor.send(&[1]).await;
    editor.until_has([1]).await;
    let _ = editor.socket.close(None).await;
    document
        .until("a detached session", |hosting| matches!(hosting.log.last(), Some(Request::Detach { .. })))
        .await;
    wait_for("nothing is left", || world.server.status() == Default::default()).await;
}

#[tokio::test]
async fn a_deleted_document_closes_its_sockets_for_good() {
    let world = start();
    let mut editor = world.synced("notes").await;
    world.host.refuse(Some(CloseReason::DocumentDeleted));
    world.host.document("notes").say(Event::Closed { reason: CloseReason::DocumentDeleted });
    assert_eq!(editor.until_closed().await, Some(4410));
    let handshake = "GET /notes HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n\
        Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\n";
    assert_eq!(world.ask(handshake).await.0, 410);
    world.host.refuse(None);
    world.synced("notes").await;
}

#[tokio::test]
async fn one_session_can_be_closed_and_the_others_stay() {
    let world = start();
    let (mut one, mut two) = (world.synced("notes").await, world.synced("notes").await);
    let document = world.host.document("notes");
    let session = document.requests().iter().find_map(|request| match request {
        Request::Attach { session, .. } => Some(*session),
        _ => None,
    });
    document.say(Event::CloseSession { session: session.unwrap(), reason: CloseReason::Misbehaved });
    assert_eq!(one.until_closed().await, Some(1008));
    two.send(&[1]).await;
    two.until_has([1]).await;
}

/// An editor whose document has no room for more, or who lacks something itself, does nothing wrong.
#[tokio::test]
async fn refused_messages_close_no_session_unless_the_document_says_so() {
    let world = start();
    let document = world.host.document("notes");
    document.lock().refuses.insert(13);
    let mut editor = world.synced("notes").await;
    for _ in 0..30 {
        editor.send(&[13]).await;
    }
    editor.send(&[1]).await;
    editor.until_has([1]).await;
}

#[tokio::test]
async fn presence_goes_to_everybody_and_can_be_asked_for() {
    let world = start();
    let (mut one, mut two) = (world.synced("notes").await, world.synced("notes").await);
    let awareness = Bytes::from_static(&[1, 6, 1, 7, 1, 2, b'{', b'}']);
    one.send_raw(awareness.clone()).await;
    for editor in [&mut one, &mut two] {
        editor.until("presence", |editor| editor.awareness.contains(&awareness)).await;
    }
    two.send_raw(vec![3]).await;
    two.until("an answer", |editor| editor.awareness.len() == 2).await;
}

#[tokio::test]
async fn a_message_of_ten_mebibytes_goes_through() {
    let world = start();
    let (mut one, mut two) = (world.synced("notes").await, world.synced("notes").await);
    let mut many = vec![0; 10 << 18];
    many[10 << 17] = 1;
    many.push(2);
    one.send(&many).await;
    two.until_has([0, 1, 2]).await;
    one.until_has([0, 1, 2]).await;
}
