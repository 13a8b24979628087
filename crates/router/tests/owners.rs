//! What becomes of sessions when the document's host lets go, dies, or has no room.

mod common;

use std::time::Duration;

use common::*;
use ringleaf_types::{CloseReason, MessageNumber, Slot};
use ringleaf_wire::Request;

#[tokio::test]
async fn sessions_stay_when_their_host_lets_go_and_find_the_next_one() {
    let world = start();
    let document = world.host.document("notes");
    let (mut one, mut two) = (world.synced("notes").await, world.synced("notes").await);
    one.send(&[1]).await;
    two.until_has([1]).await;
    document.let_go();
    document.until("both attached again", |hosting| hosting.sessions() == 2).await;
    let resumed = document.requests().into_iter().filter_map(|request| match request {
        Request::Attach { resume, .. } => Some(resume),
        _ => None,
    });
    assert_eq!(resumed.collect::<Vec<_>>()[2..], [Some(Slot::new(1)), Some(Slot::new(1))]);
    two.send(&[2]).await;
    one.until_has([1, 2]).await;
    two.until_has([1, 2]).await;
    assert_eq!((one.answers, one.requests), (1, 2), "the editor only sees another question");
}

#[tokio::test]
async fn what_was_not_acknowledged_goes_to_the_next_host() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    // The host takes three, and dies before anything is durable for this editor to see.
    document.lock().full = true;
    for number in 1..=3 {
        editor.send(&[number]).await;
    }
    wait_for("one that waits", || document.lock().slots.is_empty()).await;
    document.crash();
    document.make_room();
    editor.until_has([1, 2, 3]).await;
    let numbers = document.requests().into_iter().filter_map(|request| match request {
        Request::Update { number, .. } => Some(number),
        _ => None,
    });
    let expected: Vec<_> = (1..=3).map(MessageNumber::new).collect();
    assert_eq!(numbers.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn updates_that_a_dying_host_had_taken_are_sent_again() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    document.hold();
    editor.send(&[1]).await;
    editor.send(&[2]).await;
    document.until("two taken", |hosting| hosting.log.iter().filter(|r| is_update(r)).count() == 2).await;
    document.crash();
    document.lock().slots.clear();
    document.release();
    // Nothing tells the router: it finds out when it has something to say.
    editor.send(&[3]).await;
    editor.until_has([1, 2, 3]).await;
    assert_eq!(document.numbers(), [1, 2, 3].into());
}

#[tokio::test]
async fn slots_that_were_published_between_two_hosts_are_caught_up() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    document.publish(update(&[1]));
    editor.until_has([1]).await;
    world.host.busy(true);
    document.let_go();
    document.publish(update(&[2]));
    document.publish(update(&[3]));
    world.host.busy(false);
    editor.until_has([1, 2, 3]).await;
    assert!(document.requests().contains(&Request::CatchUp { from: Slot::new(1) }));
}

#[tokio::test]
async fn the_last_word_outlives_its_socket() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    document.hold();
    editor.send(&[7]).await;
    document.until("it taken", |hosting| hosting.log.iter().any(is_update)).await;
    let _ = editor.socket.close(None).await;
    drop(editor);
    document.until("it detached", |hosting| hosting.sessions() == 0).await;
    // The owner dies with the update, after the tab was closed.
    document.let_go();
    document.lock().slots.clear();
    document.release();
    document.until("the last word", |hosting| !hosting.slots.is_empty()).await;
    assert_eq!(document.numbers(), [7].into());
    wait_for("nothing is left", || world.server.status() == Default::default()).await;
}

/// Who sends poison and leaves at once must not have it brought to one host after the other.
#[tokio::test]
async fn a_last_word_that_broke_its_host_is_not_brought_to_the_next() {
    let world = start();
    let document = world.host.document("notes");
    let (mut editor, mut other) = (world.synced("notes").await, world.synced("notes").await);
    document.hold();
    editor.send(&[7]).await;
    document.until("it taken", |hosting| hosting.log.iter().any(is_update)).await;
    let _ = editor.socket.close(None).await;
    drop(editor);
    document.until("it detached", |hosting| hosting.sessions() == 1).await;
    document.lock().slots.clear();
    document.blame_and_let_go(CloseReason::Misbehaved);
    document.until("the other attached again", |hosting| hosting.sessions() > 0).await;
    wait_for("the seat free", || world.server.status().sessions == 1).await;
    document.lock().holding = false;
    other.send(&[8]).await;
    other.until_has([8]).await;
    assert_eq!(document.numbers(), [8].into());
}

#[tokio::test]
async fn the_last_awareness_is_offered_to_the_next_host() {
    let world = start();
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    let awareness = vec![1, 6, 1, 7, 1, 2, b'{', b'}'];
    editor.send_raw(awareness.clone()).await;
    editor.until("its echo", |editor| editor.awareness.len() == 1).await;
    document.let_go();
    editor.until("it again", |editor| editor.awareness.len() == 2).await;
    assert_eq!(editor.awareness[1][..], awareness);
}

#[tokio::test]
async fn a_host_without_room_makes_the_editor_wait_and_nobody_else() {
    let world = start_with(|limits| limits.outstanding_messages_max = 4);
    let document = world.host.document("full");
    let mut editor = world.synced("full").await;
    let mut other = world.synced("other").await;
    document.lock().full = true;
    for number in 0..500 {
        editor.send(&[number]).await;
    }
    other.send(&[1]).await;
    other.until_has([1]).await;
    document.make_room();
    editor.until_has(0..500).await;
}

/// Someone types while the document cannot take it, and closes the tab. The owner's next word finds the socket broken.
#[tokio::test]
async fn last_words_are_read_out_of_a_broken_socket() {
    let world = start_with(|limits| limits.outstanding_messages_max = 4);
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    document.lock().full = true;
    for number in 0..100 {
        editor.send(&[number]).await;
    }
    document.publish(update(&[1000]));
    editor.socket.get_ref().readable().await.unwrap();
    // What it has not read makes this a reset.
    drop(editor);
    for number in 1001..1010 {
        document.publish(update(&[number]));
        tokio::task::yield_now().await;
    }
    document.make_room();
    document.until("its last words", |hosting| (0..100).all(|number| hosting.has(number))).await;
}

#[tokio::test]
async fn what_is_outstanding_is_bounded_and_nothing_is_lost() {
    let world = start_with(|limits| {
        limits.outstanding_messages_max = 10;
        limits.outstanding_bytes_max = 100;
    });
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    document.hold();
    for number in 0..100 {
        editor.send(&[number]).await;
    }
    let taken = |hosting: &Hosting| hosting.log.iter().filter(|request| is_update(request)).count();
    document.until("ten", |hosting| taken(hosting) == 10).await;
    tokio::time::timeout(Duration::from_millis(50), document.until("more", |hosting| taken(hosting) > 10))
        .await
        .expect_err("no more is taken");
    document.release();
    editor.until_has(0..100).await;
}

#[tokio::test]
async fn a_message_larger_than_the_bound_is_taken_when_nothing_else_is_outstanding() {
    let world = start_with(|limits| limits.outstanding_bytes_max = 100);
    let mut editor = world.synced("notes").await;
    editor.send(&[7; 1_000]).await;
    editor.send(&[8]).await;
    editor.until_has([7, 8]).await;
}
