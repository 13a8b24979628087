//! What takes its time: idle connections, expiry. These run side by side.

use std::thread;
use std::time::{Duration, Instant};

use harness::{Agent, Event, LINES, Server, Socket, wait_for, yjs};
use serde_json::json;

/// Longer than the minute that the clients' own watchdogs and the usual proxies allow.
const IDLE: Duration = Duration::from_secs(65);

fn idle_connections_stay_open(line: &str) {
    let server = Server::start();
    let mut agent = Agent::start(line);
    agent.open("with", &server.url(), line);
    agent.run("setAwareness", json!({"name": "with", "state": {"user": "ann"}}));
    agent.run(
        "open",
        json!({"name": "without", "url": server.url(), "document": "quiet", "awareness": false}),
    );
    agent.wait_synced(&["without"]);
    let idle_from = Instant::now();
    wait_for("they were idle for a minute", IDLE * 2, || {
        for name in ["with", "without"] {
            let status = agent.run("status", json!({"name": name}));
            assert_eq!(status["opened"], 1, "{line}, {name} awareness: {status}");
            assert_eq!(status["closes"], json!([]), "{line}, {name} awareness: {status}");
        }
        (idle_from.elapsed() > IDLE).then_some(())
    });
    agent.run("insert", json!({"name": "without", "at": 0, "text": "still here"}));
    agent.open("other", &server.url(), "quiet");
    agent.wait_text("other", "still here");
}

#[test]
fn an_idle_client_of_y_websocket_1_stays() {
    idle_connections_stay_open(LINES[0]);
}

#[test]
fn an_idle_client_of_y_websocket_2_stays() {
    idle_connections_stay_open(LINES[1]);
}

#[test]
fn an_idle_client_of_y_websocket_3_0_stays() {
    idle_connections_stay_open(LINES[2]);
}

#[test]
fn an_idle_client_of_y_websocket_3_1_stays() {
    idle_connections_stay_open(LINES[3]);
}

#[test]
fn an_idle_client_of_yjs_14_stays() {
    idle_connections_stay_open(LINES[4]);
}

#[test]
fn something_is_sent_at_least_every_twenty_seconds() {
    let server = Server::start();
    let mut socket = Socket::open(server.editors(), "/quiet");
    socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
    let mut kept_alive = 0;
    let mut last_at = Instant::now();
    let mut longest = Duration::ZERO;
    let until = Instant::now() + IDLE;
    while Instant::now() < until {
        match socket.receive(Duration::from_secs(25)) {
            Event::Message(message) => {
                longest = longest.max(last_at.elapsed());
                last_at = Instant::now();
                kept_alive += usize::from(message == [1, 1, 0]);
            }
            end => panic!("{end:?} after {:?}", last_at.elapsed()),
        }
    }
    harness::figure(&format!("longest silence {:.1} s", longest.as_secs_f64()));
    assert!(kept_alive >= 3, "{kept_alive} keepalives");
    // A second for a machine that is busy.
    assert!(longest < Duration::from_secs(21), "{longest:?}");
}

#[test]
fn a_dead_socket_is_noticed_within_45_seconds() {
    let server = Server::start();
    let mut dead = Socket::open(server.editors(), "/room");
    dead.send(&yjs::awareness_frame(77, 1, r#"{"user":"dead"}"#)).unwrap();
    dead.answer_pings = false;
    let mut watcher = Socket::open(server.editors(), "/room");
    let since = Instant::now();
    wait_for("the watcher is told that the other is gone", Duration::from_secs(60), || {
        // It still reads, but neither answers pings nor says anything, as a peer behind a broken network.
        if let Event::Closed { .. } | Event::Ended = dead.receive(Duration::from_millis(1)) {
            dead.answer_pings = false;
        }
        match watcher.receive(Duration::from_millis(200)) {
            Event::Message(message) => match yjs::frame(&message) {
                yjs::Frame::Awareness(entries) => {
                    entries.iter().any(|entry| entry.0 == 77 && entry.2 == "null").then_some(())
                }
                _ => None,
            },
            Event::Silence => None,
            end => panic!("{end:?} for the one who is alive"),
        }
    });
    harness::figure(&format!("noticed after {:.1} s", since.elapsed().as_secs_f64()));
}

#[test]
fn the_awareness_of_a_silent_relay_expires() {
    let server = Server::start();
    // A client that keeps its socket alive but never renews its state.
    let mut silent = Socket::open(server.editors(), "/room");
    silent.send(&yjs::awareness_frame(5, 1, r#"{"user":"silent"}"#)).unwrap();
    thread::scope(|scope| {
        let alive = scope.spawn(move || {
            let until = Instant::now() + Duration::from_secs(50);
            while Instant::now() < until {
                if let Event::Closed { .. } | Event::Ended = silent.receive(Duration::from_secs(1)) {
                    return false;
                }
            }
            true
        });
        let since = Instant::now();
        wait_for("a newcomer is not told of the silent one", Duration::from_secs(45), || {
            let mut newcomer = Socket::open(server.editors(), "/room");
            newcomer.send(&yjs::STEP1_OF_NOTHING).ok()?;
            newcomer.send(&[3]).ok()?;
            loop {
                match newcomer.receive(Duration::from_millis(500)) {
                    Event::Message(message) => match yjs::frame(&message) {
                        yjs::Frame::Awareness(entries) if entries.iter().any(|entry| entry.0 == 5) => {
                            return None;
                        }
                        _ => {}
                    },
                    _ => return Some(()),
                }
            }
        });
        assert!(since.elapsed() > Duration::from_secs(20), "not before its time");
        assert!(alive.join().unwrap(), "and its socket stayed open");
    });
}
