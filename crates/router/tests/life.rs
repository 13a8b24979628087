//! Signs of life, the end of sockets, and rubbish.

mod common;

use std::time::{Duration, Instant};

use common::*;
use futures_util::SinkExt;
use ringleaf_wire::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn an_idle_socket_gets_signs_of_life_and_pings_and_lives() {
    let world = start_with(|limits| {
        limits.keepalive_interval = Duration::from_millis(100);
        limits.dead_timeout = Duration::from_millis(600);
    });
    let mut editor = world.synced("notes").await;
    let start = Instant::now();
    // The client's library answers pings as it reads.
    editor.until("signs of life", |editor| editor.awareness.len() >= 12).await;
    // At least one every 100 ms; a busy machine may take ten times as long.
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert!(editor.awareness.iter().all(|frame| frame[..] == [1, 1, 0]));
    editor.send(&[1]).await;
    editor.until_has([1]).await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed() {
    let world = start_with(|limits| {
        limits.keepalive_interval = Duration::from_millis(40);
        limits.dead_timeout = Duration::from_millis(200);
    });
    let editor = world.synced("notes").await;
    // It is not polled, so its library answers nothing; its kernel takes everything.
    wait_for("nobody is left", || world.server.status() == Default::default()).await;
    drop(editor);
}

#[tokio::test]
async fn pings_are_answered() {
    let world = start();
    let mut editor = world.synced("notes").await;
    editor.socket.send(Message::Ping("hello".into())).await.unwrap();
    loop {
        if let Some(Message::Pong(payload)) = editor.next().await {
            assert_eq!(payload, "hello".as_bytes());
            return;
        }
    }
}

#[tokio::test]
async fn rubbish_in_a_frame_is_ignored_and_the_socket_stays() {
    let world = start();
    let mut editor = world.synced("notes").await;
    for rubbish in [vec![], vec![0xff; 100], vec![0], vec![0, 9, 9], vec![66, 1, 2], vec![2, 0, 1, 65]] {
        editor.send_raw(rubbish).await;
    }
    editor.socket.send(Message::Text("text".into())).await.unwrap();
    editor.send(&[1]).await;
    editor.until_has([1]).await;
}

#[tokio::test]
async fn a_message_above_the_limit_closes_with_4413() {
    let world = start_with(|limits| limits.message_bytes_max = 1_000);
    let mut editor = world.synced("notes").await;
    editor.send(&[1; 200]).await;
    editor.until_has([1]).await;
    editor.send(&[2; 300]).await;
    assert_eq!(editor.until_closed().await, Some(4413));
}

#[tokio::test]
async fn what_is_no_websocket_closes_with_1002_and_disturbs_nobody() {
    let world = start();
    let mut other = world.synced("notes").await;
    for rubbish in
        [&[0x82, 0x01, 0x00][..], &[0xf2, 0x81, 0, 0, 0, 0, 0], &[0x83, 0x80, 0, 0, 0, 0], &[0xff; 64]]
    {
        let mut editor = world.synced("notes").await;
        let stream = editor.socket.get_mut();
        stream.write_all(rubbish).await.unwrap();
        assert_eq!(editor.until_closed().await, Some(1002), "{rubbish:?}");
    }
    other.send(&[1]).await;
    other.until_has([1]).await;
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte_in_packets_of_its_own() {
    let world = start();
    let mut editor = world.synced("notes").await;
    let frame = [&[0x82, 0x80 | 7, 1, 2, 3, 4][..], &[1, 2 ^ 2, 4 ^ 3, 4, 1, 2, 3 ^ 9]].concat();
    let stream = editor.socket.get_mut();
    for byte in frame {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    editor.until_has([9]).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_own_code() {
    let world = start();
    let mut editor = world.synced("notes").await;
    // A close with 4000, masked with zeros.
    let stream = editor.socket.get_mut();
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x0f, 0xa0]).await.unwrap();
    assert_eq!(editor.until_closed().await, Some(4000));
}

#[tokio::test]
async fn stopping_closes_everybody_with_1012_spread_over_time() {
    let world = start_with(|limits| limits.close_spread = Duration::from_millis(300));
    let mut editors = Vec::new();
    for number in 0..20 {
        editors.push(world.synced(if number % 2 == 0 { "even" } else { "odd" }).await);
    }
    let start = Instant::now();
    let stopping = world.server.stop(Duration::from_secs(10));
    let closings = editors.iter_mut().map(|editor| async move {
        let code = editor.until_closed().await;
        let at = start.elapsed();
        // The client's library answers the close, and then the server hangs up.
        while editor.next().await.is_some() {}
        (code, at)
    });
    let closings = futures_util::future::join_all(closings);
    let (closed, ()) = futures_util::future::join(closings, stopping).await;
    assert!(closed.iter().all(|(code, _)| *code == Some(1012)), "{closed:?}");
    let (first, last) =
        (closed.iter().map(|(_, at)| *at).min().unwrap(), closed.iter().map(|(_, at)| *at).max().unwrap());
    assert!(last - first > Duration::from_millis(100), "{first:?} {last:?}");
    assert_eq!(world.server.status(), Default::default());
    assert!(tokio::net::TcpStream::connect(world.address()).await.is_err(), "the port is free");
}

#[tokio::test]
async fn who_does_not_go_is_cut_off_at_the_deadline() {
    let world = start();
    let editor = world.synced("notes").await;
    let start = Instant::now();
    world.server.stop(Duration::from_millis(300)).await;
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(world.server.status(), Default::default());
    drop(editor);
}

#[tokio::test]
async fn a_host_without_room_for_what_a_broken_socket_sent_does_not_keep_the_server_from_stopping() {
    let world = start();
    let document = world.host.document("notes");
    let mut broken = world.synced("notes").await;
    let mut here = world.synced("notes").await;
    document.lock().full = true;
    broken.send(&[1]).await;
    broken.send(&[2]).await;
    let stream = broken.socket.into_inner();
    stream.set_zero_linger().unwrap();
    drop(stream);
    // The first of the two finds out when it is sent this.
    document.publish(update(&[3]));
    here.until_has([3]).await;
    let stopped = tokio::time::timeout(SOON, world.server.stop(Duration::from_millis(300))).await;
    assert!(stopped.is_ok(), "it has not stopped");
    assert_eq!(world.server.status(), Default::default());
}

/// Server and editor are on one thread here: when it sleeps, the process does.
#[tokio::test]
async fn a_process_that_was_stopped_for_long_closes_nobody_when_it_goes_on() {
    let world = start_with(|limits| {
        limits.keepalive_interval = Duration::from_millis(400);
        limits.dead_timeout = Duration::from_millis(1_500);
    });
    let mut editor = world.synced("notes").await;
    for number in 1..=2 {
        let signs = editor.awareness.len();
        std::thread::sleep(Duration::from_secs(2));
        // The first thing that the server does then is to look at the clock.
        editor.until("a sign of life", |editor| editor.awareness.len() > signs).await;
        editor.send(&[number]).await;
        editor.until_has([number]).await;
    }
}

#[tokio::test]
async fn an_editor_that_sends_too_fast_is_read_later_and_loses_nothing() {
    let world = start_with(|limits| limits.session_messages_per_second_max = 100);
    let document = world.host.document("notes");
    let mut editor = world.synced("notes").await;
    let start = Instant::now();
    for number in 0..150 {
        editor.send(&[number]).await;
    }
    editor.until_has(0..150).await;
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_millis(450), "{elapsed:?} for half more than a second's worth");
    assert_eq!(document.requests().iter().filter(|request| is_update(request)).count(), 150);
}

#[tokio::test]
async fn a_socket_that_breaks_is_detached_at_once() {
    let world = start();
    let document = world.host.document("notes");
    let editor = world.synced("notes").await;
    let stream = editor.socket.into_inner();
    stream.set_zero_linger().unwrap();
    drop(stream);
    document.until("it detached", |hosting| matches!(hosting.log.last(), Some(Request::Detach { .. }))).await;
}

#[tokio::test]
async fn half_a_frame_and_an_end_is_an_end() {
    let world = start();
    let editor = world.synced("notes").await;
    let mut stream = editor.socket.into_inner();
    stream.write_all(&[0x82, 0x84, 0, 0]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
    wait_for("nobody is left", || world.server.status() == Default::default()).await;
}
