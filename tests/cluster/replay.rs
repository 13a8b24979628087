//! Sessions recorded between stock clients and the stock server, played to ours.
//!
//! What counts is what each client knows at the end of each step: content, deletions, awareness, and that its state
//! vector was answered. The order of frames within a step may differ, and neighbours may be merged.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::yjs::{self, Contents, Frame};
use harness::{Event, Server, Socket};
use serde_json::Value;

const SETTLED_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client was told, by whoever told it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Told {
    state_vector: Option<BTreeMap<u64, u64>>,
    contents: Contents,
    answers: usize,
    awareness: BTreeMap<u64, (u64, String)>,
}

impl Told {
    fn hear(&mut self, message: &[u8]) {
        match yjs::frame(message) {
            Frame::Step1(vector) => self.state_vector = Some(vector),
            Frame::Step2(update) => {
                self.answers += 1;
                self.contents.merge(&yjs::contents(&update));
            }
            Frame::Update(update) => self.contents.merge(&yjs::contents(&update)),
            Frame::Awareness(entries) => {
                for (client, clock, state) in entries {
                    // `{}` with clock 0 is what every client starts with; stock servers and clients ignore it.
                    if clock > 0 || state != "{}" {
                        self.awareness.insert(client, (clock, state));
                    }
                }
            }
            Frame::Other(message) => panic!("an unexpected message: {message:02x?}"),
        }
    }

    /// Whether this is all of `other`, and perhaps more.
    fn covers(&self, other: &Self) -> bool {
        let clock = |client| self.contents.clocks.get(client).copied().unwrap_or(0);
        let has_clocks = other.contents.clocks.iter().all(|(client, wanted)| clock(client) >= *wanted);
        let has_awareness = other.awareness.iter().all(|(client, wanted)| {
            self.awareness.get(client).is_some_and(|told| told.0 > wanted.0 || told == wanted)
        });
        let has_deleted = self.contents.deleted.is_superset(&other.contents.deleted);
        has_clocks && has_deleted && has_awareness && self.answers >= other.answers
    }
}

struct Client {
    socket: Socket,
    heard: Told,
    wanted: Told,
}

#[derive(Default)]
struct Stage {
    clients: BTreeMap<String, Client>,
}

impl Stage {
    fn play(&mut self, server: &Server, entry: &Value) {
        let connection = entry["conn"].as_str().unwrap_or_default();
        if let Some(target) = entry["http"].as_str() {
            // The recording had pauses; whoever comes now comes after what was before.
            self.settle(connection);
            let path = target.strip_prefix("GET ").unwrap();
            let socket = Socket::open(server.editors(), path);
            let client = Client { socket, heard: Told::default(), wanted: Told::default() };
            self.clients.insert(connection.into(), client);
        } else if let Some(hex) = entry["hex"].as_str() {
            let client = self.clients.get_mut(connection).unwrap();
            if entry["dir"] == "s2c" {
                client.wanted.hear(&bytes(hex));
            } else {
                // What a client sends may be its answer to what it was told before.
                client.settle(entry["note"].as_str().unwrap(), |heard, wanted| heard.covers(wanted));
                client.socket.send(&bytes(hex)).unwrap();
            }
        } else if let Some(code) = entry["close"].as_u64() {
            let mut client = self.clients.remove(connection).unwrap();
            match code {
                // Without a goodbye.
                1006 => client.socket.cut(),
                _ => client.socket.send_close(1000).unwrap(),
            }
        } else if !entry["mark"].is_null() {
            self.settle(entry["mark"].as_str().unwrap());
        }
    }

    /// Waits until every client was told what the recorded server told it, and nothing else.
    fn settle(&mut self, before: &str) {
        for (name, client) in &mut self.clients {
            client.settle(&format!("{name} before {before}"), |heard, wanted| heard == wanted);
        }
    }
}

impl Client {
    fn settle(&mut self, before: &str, enough: impl Fn(&Told, &Told) -> bool) {
        let since = Instant::now();
        while !enough(&self.heard, &self.wanted) {
            match self.socket.receive(Duration::from_millis(100)) {
                Event::Message(message) => self.heard.hear(&message),
                Event::Silence => {}
                end => panic!("{end:?}: {before}"),
            }
            let Self { heard, wanted, .. } = self;
            assert!(since.elapsed() < SETTLED_TIMEOUT, "{before}\ntold   {heard:?}\nwanted {wanted:?}");
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn replay(recording: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(recording);
    let entries: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let server = Server::start();
    let mut stage = Stage::default();
    for entry in entries.as_array().unwrap() {
        stage.play(&server, entry);
    }
    stage.settle("the end");
}

#[test]
fn a_session_of_y_websocket_1() {
    replay("y-websocket-v1.json");
}

#[test]
fn a_session_of_y_websocket_2() {
    replay("y-websocket-v2.json");
}

#[test]
fn a_session_of_y_websocket_3_0() {
    replay("y-websocket-v3.0.json");
}

#[test]
fn a_session_of_y_websocket_3_1() {
    replay("y-websocket-v3.1.json");
}

#[test]
fn a_session_of_yjs_14() {
    replay("y-websocket-v4-y14.json");
}
