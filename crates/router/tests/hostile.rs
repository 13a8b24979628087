//! Sockets that mean no good: what each is told, and that it disturbs nobody (I14, I15).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::*;
use ringleaf_wire::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MIB: usize = 1 << 20;

/// The head of a masked frame, whose mask is zero.
fn head(first: u8, length: usize) -> Vec<u8> {
    [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes(), &[0; 4]].concat()
}

fn upgrade(first: &str, more: &str) -> String {
    format!(
        "{first}\nHost: localhost:1234\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n{more}\n"
    )
}

/// The code with which the server closes, having sent whatever else.
async fn close_code(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server hangs up");
    let mut rest = &answer[..];
    while let [first, length, payload @ ..] = rest {
        if *first == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
        rest = &payload[usize::from(*length)..];
    }
    panic!("no close frame: {answer:?}")
}

/// Sends a part of a message and then nothing more. The code with which it is closed.
async fn stop_half_way(address: SocketAddr, length: usize, part: usize) -> u16 {
    let mut editor = Editor::connect(address, "attacked").await;
    editor.sync().await;
    let stream = editor.socket.get_mut();
    // It may be closed before it has sent all that.
    let _ = stream.write_all(&[head(0x82, length), vec![7; part]].concat()).await;
    close_code(stream).await
}

#[tokio::test]
async fn parts_of_large_messages_of_all_sockets_are_bounded_and_nobody_keeps_others_out() {
    let world = start_with(|limits| {
        limits.received_bytes_max = 4 * MIB;
        limits.message_bytes_max = 4 * MIB;
        limits.partial_message_timeout = Duration::from_millis(200);
    });
    let mut honest = world.synced("attacked").await;
    let mut hostile = JoinSet::new();
    for _ in 0..20 {
        hostile.spawn(stop_half_way(world.address(), 4 * MIB, 3 * MIB));
    }
    let mut most = 0;
    // Whoever types does not even notice, and whoever has something large to say says it in the end.
    for number in 0..50 {
        honest.send(&[number]).await;
        honest.until_has([number]).await;
        most = most.max(world.server.status().received_bytes);
    }
    honest.send(&vec![99; MIB / 4]).await;
    honest.until_has([99]).await;
    // Nobody is closed unless others wait for room: there was none. The last ones may stay.
    for _ in 0..10 {
        let closed = timeout(SOON, hostile.join_next()).await.unwrap();
        assert_eq!(closed.unwrap().unwrap(), 1013);
        most = most.max(world.server.status().received_bytes);
    }
    assert!(most <= 8 * MIB + 21 * (64 << 10), "{most}");
    hostile.shutdown().await;
    wait_for("nothing is held", || world.server.status().received_bytes == 0).await;
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// Whoever has closed and goes on sending as fast as it can is not listened to for ever, and keeps nobody waiting.
#[tokio::test]
async fn who_sends_on_and_on_after_its_close_is_hung_up_on() {
    let world = start();
    let mut honest = world.synced("attacked").await;
    let mut editor = world.synced("attacked").await;
    editor.socket.get_mut().write_all(&frame(0x88, &[3, 0xe8])).await.unwrap();
    let flood = editor.socket.into_inner().into_std().unwrap();
    flood.set_nonblocking(false).unwrap();
    let floods: Vec<_> = [flood.try_clone().unwrap(), flood]
        .into_iter()
        .map(|mut flood| {
            std::thread::spawn(move || {
                let rubbish = vec![0; MIB];
                let started = Instant::now();
                while started.elapsed() < SOON {
                    if std::io::Write::write_all(&mut flood, &rubbish).is_err() {
                        return true;
                    }
                }
                false
            })
        })
        .collect();
    honest.send(&[1]).await;
    honest.until_has([1]).await;
    wait_for("the floods end", || floods.iter().all(std::thread::JoinHandle::is_finished)).await;
    for flood in floods {
        assert!(flood.join().unwrap(), "the server hangs up");
    }
}

#[tokio::test]
async fn odd_frames_are_taken_for_what_they_are() {
    let world = start();
    let mut editor = world.synced("odd").await;
    let update = sync_frame(2, &update(&[7, 8]));
    let mut bytes = Vec::new();
    for (number, byte) in update.iter().enumerate() {
        // Each byte is a fragment, with pings, pongs and empty fragments in between.
        bytes.extend(frame(if number == 0 { 0x02 } else { 0x00 }, &[*byte]));
        bytes.extend(frame(0x89, b"?"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x8a, b""));
    }
    bytes.extend(frame(0x80, b""));
    // Text, in fragments and of no encoding at all, and a message of nothing.
    bytes.extend([frame(0x01, &[0xff, 0xfe]), frame(0x80, &[0xc3]), frame(0x82, b"")].concat());
    editor.socket.get_mut().write_all(&bytes).await.unwrap();
    editor.until_has([7, 8]).await;
    editor.send(&[9]).await;
    editor.until_has([9]).await;
}

#[tokio::test]
async fn floods_of_pings_and_of_empty_fragments_are_paced_and_hold_up_nobody() {
    let world = start_with(|limits| {
        limits.session_messages_per_second_max = 2_000;
        limits.session_bytes_per_second_max = 4 * MIB as u32;
    });
    let mut honest = world.synced("attacked").await;
    let pings = [frame(0x89, b"ping").repeat(3_000), frame(0x82, &sync_frame(2, &update(&[1])))].concat();
    let fragments =
        [frame(0x02, b""), frame(0x00, b"").repeat(6_000), frame(0x80, &sync_frame(2, &update(&[2])))]
            .concat();
    let mut hostile = JoinSet::new();
    let started = Instant::now();
    for flood in [pings, fragments] {
        let mut editor = world.synced("attacked").await;
        hostile.spawn(async move {
            let (mut read, mut write) = tokio::io::split(editor.socket.get_mut());
            let mut scratch = vec![0; 64 << 10];
            let reads = async { while read.read(&mut scratch).await.is_ok_and(|read| read > 0) {} };
            let writes = async { write.write_all(&flood).await };
            tokio::join!(reads, writes).1
        });
    }
    for number in 100..120 {
        honest.send(&[number]).await;
        honest.until_has([number]).await;
    }
    honest.until_has([1, 2]).await;
    // A burst of a second is free: 3,000 pings, and fragments of six megabytes that they are charged for.
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_asks_for_no_socket_of_ours_gets_an_answer_that_says_so() {
    let world = start();
    let mut wrong = Vec::new();
    let many: String = (0..200).map(|number| format!("X-{number}: 1\n")).collect();
    for (request, status) in [
        (upgrade("GET /notes HTTP/1.0", ""), 400),
        (upgrade("GET /notes HTTP/9.9", ""), 400),
        (upgrade("GET /no tes HTTP/1.1", ""), 400),
        (upgrade("GET /notes HTTP/1.1", &many), 431),
        (upgrade(&format!("GET /notes?{} HTTP/1.1", "x".repeat(40_000)), ""), 431),
        (upgrade("GET * HTTP/1.1", ""), 400),
        (upgrade("CONNECT localhost:1 HTTP/1.1", ""), 405),
        ("GET / HTTP/1.1\nHost: a\n\nGET /second HTTP/1.1\nHost: a\n\n".into(), 200),
        ("PRI * HTTP/2.0\n\nSM\n\n".into(), 0),
    ] {
        let (got, answer) = world.ask(&request).await;
        let shown: String = request.chars().take(60).collect();
        if got != status {
            wrong.push(format!("{shown:?}: {got} {answer}"));
        }
        assert_eq!(answer.matches("\r\ndate: ").count(), usize::from(got > 0), "one answer: {answer}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for path in ["/notes?query", "//", "/%25%zz%", "/a/../b", &format!("/q?{}", "y".repeat(7_000))] {
        world.synced(&path[1..]).await;
    }
    wait_for("nobody is left", || world.server.status() == Default::default()).await;
}

/// Sessions whose last words are not durable yet wait for that without an editor. They are in nobody's way.
#[tokio::test]
async fn a_crowd_that_comes_back_is_not_kept_out_by_what_it_left_behind() {
    let world = start_with(|limits| limits.sessions_per_document_max = 3);
    let document = world.host.document("notes");
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(world.synced("notes").await);
    }
    let (status, _) = world.ask(&upgrade("GET /notes HTTP/1.1", "")).await;
    assert_eq!(status, 503, "it is full");
    document.hold();
    for (editor, number) in crowd.iter_mut().zip(1..) {
        editor.send(&[number]).await;
    }
    document.until("three updates", |hosting| (1..=3).all(|number| hosting.has(number))).await;
    drop(crowd);
    wait_for("their sockets are gone", || world.server.status().connections == 0).await;
    assert_eq!(world.server.status().sessions, 3, "their last words are waited for");
    let mut crowd = Vec::new();
    for number in 4..=6 {
        let mut editor = world.editor("notes").await;
        editor.send(&[number]).await;
        crowd.push(editor);
    }
    let (status, _) = world.ask(&upgrade("GET /notes HTTP/1.1", "")).await;
    assert_eq!(status, 503, "it is full again");
    document.until("three more", |hosting| (4..=6).all(|number| hosting.has(number))).await;
    // Nor can a crowd that comes and goes leave more and more behind.
    drop(crowd);
    wait_for("as many wait as may", || world.server.status().sessions == 3).await;
    document.until("the others are detached", |hosting| hosting.sessions() == 0).await;
    document.release();
    wait_for("nobody waits any more", || world.server.status() == Default::default()).await;
}

/// Questions that are all different, each in a frame of its own.
fn questions(count: u8) -> Vec<u8> {
    (0..count).flat_map(|number| frame(0x82, &sync_frame(0, &[1, 1, number]))).collect()
}

fn asks(requests: &[Request]) -> usize {
    requests.iter().filter(|request| matches!(request, Request::SyncRequest { .. })).count()
}

#[tokio::test]
async fn what_a_socket_asked_that_broke_is_not_brought_to_anybody_and_what_it_said_is() {
    let world = start();
    let document = world.host.document("notes");
    let editor = world.synced("notes").await;
    let before = asks(&document.requests());
    document.hold();
    let mut stream = editor.socket.into_inner();
    let last_words = frame(0x82, &sync_frame(2, &update(&[1])));
    stream.write_all(&[questions(120), last_words].concat()).await.unwrap();
    // It reads no more before it is answered, and by then there is nobody who hears it.
    document.until("it has asked", |hosting| asks(&hosting.log) > before).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    document.release();
    document.until("its last words", |hosting| hosting.has(1)).await;
    document.until("it detached", |hosting| matches!(hosting.log.last(), Some(Request::Detach { .. }))).await;
    let asked = asks(&document.requests()) - before;
    assert!(asked <= 8, "{asked} questions of somebody who is gone");
}

#[tokio::test]
async fn questions_are_paced_however_many_come_in_one_frame() {
    let world = start();
    let mut editor = world.synced("notes").await;
    let answers = editor.answers;
    let started = Instant::now();
    let many: Vec<u8> = (0..16).flat_map(|number| sync_frame(0, &[1, 1, number])).collect();
    editor.send_raw(many).await;
    editor.send(&[1]).await;
    editor.until_has([1]).await;
    editor.until("all answers", |editor| editor.answers == answers + 16).await;
    // Eight a second, and those of one second are free.
    assert!(started.elapsed() >= Duration::from_millis(800), "{:?}", started.elapsed());
}
