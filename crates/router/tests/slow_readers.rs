//! Sockets that take less than there is to send.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use ringleaf_types::Slot;
use ringleaf_wire::Request;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An editor whose socket holds little.
async fn narrow(world: &World, document: &str) -> Editor {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let stream = socket.connect(world.address()).await.unwrap();
    let request = format!("ws://{}/{document}", world.address()).into_client_request().unwrap();
    let mut editor = Editor::over(stream, request).await.unwrap();
    editor.sync().await;
    editor
}

/// Ten kilobytes that say one number.
fn ten_kilobytes(number: u32) -> Bytes {
    update(&[number; 2_560])
}

#[tokio::test]
async fn a_reader_that_sleeps_falls_behind_and_is_caught_up_with_one_update() {
    let world = start();
    let document = world.host.document("notes");
    let mut slow = narrow(&world, "notes").await;
    let mut fast = world.synced("notes").await;
    for number in 0..1_000 {
        document.publish(ten_kilobytes(number));
        if number % 10 == 0 {
            fast.until_has([number]).await;
        }
    }
    fast.until_has(0..1_000).await;
    wait_for("one behind", || world.server.status().behind == 1).await;
    slow.until_has(0..1_000).await;
    wait_for("nobody behind", || world.server.status().behind == 0).await;
    assert!(slow.frames < 900, "{} frames: it was caught up", slow.frames);
    assert_eq!(fast.frames, 2 + 1_000);
    let catch_ups = document.requests().iter().filter(|r| matches!(r, Request::CatchUp { .. })).count();
    assert!((1..5).contains(&catch_ups), "{catch_ups}");
    slow.send(&[5_000]).await;
    slow.until_has([5_000]).await;
}

#[tokio::test]
async fn answers_and_acknowledgements_survive_a_full_socket() {
    let world = start();
    let document = world.host.document("notes");
    let mut slow = narrow(&world, "notes").await;
    for number in 0..500 {
        document.publish(ten_kilobytes(number));
        tokio::task::yield_now().await;
    }
    wait_for("it is behind", || world.server.status().behind == 1).await;
    // An update and two questions, sent while nothing is read.
    slow.send(&[9_999]).await;
    slow.send_raw(vec![0, 0, 1, 0]).await;
    slow.send_raw(vec![0, 0, 1, 0]).await;
    document.until("the update", |hosting| hosting.log.iter().any(is_update)).await;
    slow.until("both answers", |editor| editor.answers == 3).await;
    slow.until_has((0..500).chain([9_999])).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_too_long_is_closed_and_the_others_stay() {
    let world = start_with(|limits| {
        limits.stalled_timeout = Duration::from_millis(300);
        limits.keepalive_interval = Duration::from_millis(200);
    });
    let document = world.host.document("notes");
    let _stalled = narrow(&world, "notes").await;
    let mut fast = world.synced("notes").await;
    for number in 0..1_000 {
        document.publish(ten_kilobytes(number));
        if number % 10 == 0 {
            fast.until_has([number]).await;
        }
    }
    wait_for("it is detached", || {
        document.requests().iter().any(|request| matches!(request, Request::Detach { .. }))
    })
    .await;
    document.publish(update(&[5_000]));
    fast.until_has([5_000]).await;
}

#[tokio::test]
async fn a_gap_in_what_the_host_publishes_is_filled_for_all_with_one_question() {
    let world = start();
    let document = world.host.document("notes");
    let mut editors = Vec::new();
    for _ in 0..20 {
        editors.push(world.synced("notes").await);
    }
    // A slot that never arrived, as when a link dropped it.
    document.lock().slots.push(update(&[1]));
    document.publish(update(&[2]));
    for editor in &mut editors {
        editor.until_has([1, 2]).await;
    }
    let asked = document.requests().iter().filter(|r| **r == Request::CatchUp { from: Slot::ZERO }).count();
    assert!((1..=20).contains(&asked), "{asked}");
}

#[tokio::test]
async fn many_updates_at_once_reach_everybody_in_few_writes() {
    let world = start();
    let document = world.host.document("notes");
    let mut editors = Vec::new();
    for _ in 0..50 {
        editors.push(world.synced("notes").await);
    }
    for number in 0..2_000 {
        document.publish(update(&[number]));
    }
    for editor in &mut editors {
        editor.until_has(0..2_000).await;
        assert_eq!(editor.frames, 2 + 2_000, "one frame for each update");
    }
}
