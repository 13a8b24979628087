//! What an editor wrote comes back to it: stock clients and the demo page take that for "it is durable".

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Event, Server, Socket};

/// Reads until an update (no answer) brings that client's clock.
fn wait_echo(socket: &mut Socket, client: u64, clock: u64) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < Duration::from_secs(30), "client {client} never gets {clock} back");
        match socket.receive(Duration::from_secs(10)) {
            Event::Message(message) => {
                if let Frame::Update(update) = yjs::frame(&message) {
                    let shown = yjs::contents(&update).clocks.get(&client).copied();
                    if shown.is_some_and(|shown| shown >= clock) {
                        return;
                    }
                }
            }
            end => panic!("{end:?} instead of the edit of client {client}"),
        }
    }
}

#[test]
fn an_edit_comes_back_to_its_author_who_asks_for_everything_else_meanwhile() {
    let server = Server::start();
    let mut socket = Socket::open(server.editors(), "/room");
    for round in 0..100_u64 {
        let (clock, after) = (round * 2, round * 2 + 2);
        // As an answer when it comes back online, or as an edit; and at once a question that its own edit is not in.
        let update = yjs::typed(1, clock, "xy");
        let message = if round % 2 == 0 { yjs::step2_frame(&update) } else { yjs::update_frame(&update) };
        socket.send(&message).unwrap();
        socket.send(&yjs::step1_frame(&BTreeMap::from([(1, after)]))).unwrap();
        wait_echo(&mut socket, 1, after);
    }
}

#[test]
fn offline_edits_come_back_after_a_reconnect() {
    let server = Server::start();
    for round in 1..20_u64 {
        let mut socket = Socket::open(server.editors(), "/room");
        socket.send(&yjs::step1_frame(&BTreeMap::from([(round, 3)]))).unwrap();
        socket.send(&yjs::step2_frame(&yjs::typed(round, 0, "abc"))).unwrap();
        wait_echo(&mut socket, round, 3);
    }
}
