//! Sockets that mean no good: what each is told, and that it disturbs nobody (I14, I15).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MIB: usize = 1 << 20;

/// The head of a masked frame, whose mask is zero.
fn head(first: u8, length: usize) -> Vec<u8> {
    [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes(), &[0; 4]].concat()
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
    wait_for("they hold all there is", || world.server.status().received_bytes > 4 * MIB).await;
    // Whoever types does not even notice, and whoever has something large to say says it in the end.
    for number in 0..50 {
        honest.send(&[number]).await;
        honest.until_has([number]).await;
        most = most.max(world.server.status().received_bytes);
    }
    honest.send(&vec![99; MIB / 4]).await;
    honest.until_has([99]).await;
    // Each was closed when others waited: the last ones may stay.
    for _ in 0..10 {
        let closed = timeout(SOON, hostile.join_next()).await.unwrap();
        assert_eq!(closed.unwrap().unwrap(), 1013);
        most = most.max(world.server.status().received_bytes);
    }
    assert!(most <= 8 * MIB + 21 * (64 << 10), "{most}");
    hostile.shutdown().await;
    wait_for("nothing is held", || world.server.status().received_bytes == 0).await;
}
