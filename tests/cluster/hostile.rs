//! Rubbish and attacks on one socket, while others work on (I14).

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Event, Server, ServerOptions, Socket, yjs};
use serde_json::Value;

use crate::names::wait_shown;

/// Someone who works on undisturbed.
struct Worker {
    socket: Socket,
    client: u64,
    clock: u64,
    slowest: Duration,
}

impl Worker {
    fn new(server: &Server, document: &str, client: u64) -> Self {
        let socket = Socket::open(server.editors(), document);
        Self { socket, client, clock: 0, slowest: Duration::ZERO }
    }

    /// Types a letter and waits until it is shown.
    fn work(&mut self) {
        let started_at = Instant::now();
        let update = yjs::typed(self.client, self.clock, "x");
        self.socket.send(&yjs::update_frame(&update)).unwrap();
        self.clock += 1;
        wait_shown(&mut self.socket, self.client, self.clock);
        self.slowest = self.slowest.max(started_at.elapsed());
    }
}

struct Stage {
    server: Server,
    beside: Worker,
    elsewhere: Worker,
    hostile: Socket,
}

impl Stage {
    fn new() -> Self {
        let server =
            Server::start_with(ServerOptions::default().announce("refus").announce("is not in the document"));
        Self {
            beside: Worker::new(&server, "/attacked", 1),
            elsewhere: Worker::new(&server, "/elsewhere", 1),
            hostile: Socket::open(server.editors(), "/attacked"),
            server,
        }
    }

    /// Sends one hostile message and looks after the others.
    fn attack(&mut self, name: &str, message: &[u8]) {
        eprintln!("attack: {name}");
        if self.hostile.send(message).is_err() {
            self.hostile = Socket::open(self.server.editors(), "/attacked");
            self.hostile.send(message).unwrap();
        }
        // An answer to a question asked behind it: it has been dealt with. Or the socket was closed for it.
        let _ = self.hostile.send(&yjs::STEP1_OF_NOTHING);
        loop {
            match self.hostile.receive(Duration::from_secs(20)) {
                Event::Message(message) if message[..2] == [0, 1] => break,
                Event::Message(_) => {}
                Event::Closed { code, .. } => {
                    // Who answers again and again with what is no update is told that nothing of it is saved.
                    let told = code == 4422 && name.ends_with("as an answer");
                    assert!(
                        told || !(4400..4500).contains(&code),
                        "{name}: {code} keeps honest clients away"
                    );
                    self.hostile = Socket::open(self.server.editors(), "/attacked");
                    break;
                }
                Event::Ended => {
                    self.hostile = Socket::open(self.server.editors(), "/attacked");
                    break;
                }
                Event::Silence => panic!("{name}: no answer, no goodbye"),
            }
        }
        self.beside.work();
        self.elsewhere.work();
    }

    /// The document is what the honest made of it, for an independent decoder too.
    fn finish(mut self) {
        self.beside.work();
        let clocks = yjs::contents(&self.server.state("attacked")).clocks;
        assert_eq!(clocks.get(&1), Some(&self.beside.clock));
        let mut agent = harness::Agent::start("y-websocket-3.1");
        let update = harness::base64(&self.server.export("attacked"));
        let content = agent.run("decode", serde_json::json!({"update": update}));
        assert!(content["text"].to_string().contains(&"x".repeat(3)), "{content}");
        let slowest = self.beside.slowest.max(self.elsewhere.slowest);
        harness::figure(&format!("the slowest edit of others took {slowest:.1?}"));
        // Ten times the goal of 100 ms.
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}

fn number(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    yjs::var_uint(value, &mut bytes);
    bytes
}

/// An update of one client at clock 0 in the root text, with this info byte and content.
fn item(client: u64, info: u8, content: &[u8]) -> Vec<u8> {
    [&[1, 1], number(client).as_slice(), &[0, info, 1, 1, b't'], content, &[0]].concat()
}

/// Arrays within arrays.
fn nested_any(depth: usize) -> Vec<u8> {
    let mut content = vec![1];
    content.extend([0x75, 1].repeat(depth));
    content.push(0x7e);
    item(1_000, 8, &content)
}

/// Every client listed without a struct.
fn clients_without_structs(clients: u64) -> Vec<u8> {
    let mut update = number(clients);
    for client in 0..clients {
        update.push(0);
        update.extend(number(2_000_000 + client));
        update.push(0);
    }
    update.push(0);
    update
}

/// Each client's character stands to the right of the one before it.
fn chain_of_clients(clients: u64) -> Vec<u8> {
    let mut update = number(clients);
    for client in (0..clients).rev() {
        update.push(1);
        update.extend(number(3_000_000 + client));
        update.push(0);
        if client == 0 {
            update.extend([4, 1, 1, b't']);
        } else {
            update.push(0x84);
            update.extend(number(3_000_000 + client - 1));
            update.push(0);
        }
        update.extend([1, b'c']);
    }
    update.push(0);
    update
}

/// Arrays that hold each other, and the deletion of the outermost.
fn nested_types(depth: u64) -> Vec<u8> {
    let client = number(4_000);
    let mut update = [&[1], number(depth).as_slice(), &client, &[0]].concat();
    for clock in 0..depth {
        if clock == 0 {
            update.extend([7, 1, 1, b'a', 0]);
        } else {
            update.extend([7, 0]);
            update.extend(&client);
            update.extend(number(clock - 1));
            update.push(0);
        }
    }
    update.extend([1]);
    update.extend(&client);
    update.extend([1, 0, 1]);
    update
}

#[test]
fn attacks_that_are_known_disturb_nobody() {
    let mut stage = Stage::new();
    let updates = [
        ("text that is not UTF-8", item(1_001, 4, &[3, 0xff, 0xfe, 0xfd])),
        ("a root name that is not UTF-8", vec![1, 1, 9, 0, 4, 1, 2, 0xff, 0xfe, 1, b'x', 0]),
        ("an encoded surrogate", item(1_002, 4, &[3, 0xed, 0xa0, 0x80])),
        ("20,000 nested arrays", nested_any(20_000)),
        ("50,000 clients without structs", clients_without_structs(50_000)),
        ("a chain of 40,000 clients", chain_of_clients(40_000)),
        ("10,000 nested types, deleted", nested_types(10_000)),
        ("100 million clients", [number(100_000_000), vec![0]].concat()),
        ("400 million structs", [vec![1], number(400_000_000), vec![5, 0, 0]].concat()),
        ("an array of two billion", item(1_003, 8, &number(1 << 31))),
        (
            "clocks that overflow",
            [&[1, 2, 9, 0, 0], number(u64::from(u32::MAX)).as_slice(), &[0], &number(10), &[0]].concat(),
        ),
        ("a clock beyond 2^31", [&[1, 1, 9], number(1 << 31).as_slice(), &[0, 1, 0]].concat()),
        ("a struct without length", vec![1, 1, 9, 0, 0, 0, 0]),
        (
            "a hole with a parent that is nowhere",
            vec![1, 1, 6, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x61, 0x6b, 0x7d, 0x34, 0],
        ),
        ("a parent that is nowhere", vec![1, 1, 9, 0, 7, 0, 8, 5, 0, 0]),
        ("an origin in the future of its own", vec![1, 1, 9, 0, 0x84, 9, 5, 1, b'x', 0]),
        ("deletions of what nobody has", vec![0, 1, 9, 1, 0, 0xff, 0xff, 3]),
        ("an update in the second format", vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
        ("bytes behind the end", vec![0, 0, 1, 2, 3]),
        ("an unknown kind of content", item(1_004, 11, &[1, 1])),
    ];
    for (name, update) in updates {
        stage.attack(name, &yjs::update_frame(&update));
        stage.attack(&format!("{name}, as an answer"), &yjs::step2_frame(&update));
    }
    let messages: [(&str, Vec<u8>); 12] = [
        ("a state vector of 400 million", [vec![0, 0, 5], number(400_000_000), vec![0]].concat()),
        ("awareness of 134 million", vec![1, 4, 0x80, 0x80, 0x80, 0x40]),
        ("awareness that is not JSON", yjs::awareness_frame(5, 1, "{nonsense")),
        ("awareness that is a number", yjs::awareness_frame(6, 1, "1")),
        ("awareness that is not UTF-8", vec![1, 6, 1, 7, 1, 2, 0xff, 0xfe]),
        ("awareness nested 100,000 deep", yjs::awareness_frame(8, 1, &"[".repeat(100_000))),
        ("an empty message", vec![]),
        ("a type that nobody knows", vec![32, 1, 2, 3]),
        ("a sync type that nobody knows", vec![0, 9]),
        ("a number that never ends", vec![0xff; 64]),
        ("a length beyond the end", vec![0, 2, 0xff, 0xff, 0xff, 0x7f, 0]),
        ("two bytes", vec![0, 0]),
    ];
    for (name, message) in &messages {
        stage.attack(name, message);
    }
    stage.finish();
}

#[test]
fn frames_that_stock_servers_were_asked_about_disturb_nobody() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/edge.json");
    let entries: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut stage = Stage::new();
    for entry in entries.as_array().unwrap() {
        let hex = entry["hex"].as_str().unwrap_or_default();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
        stage.attack(entry["note"].as_str().unwrap_or("?"), &bytes);
    }
    // Some of these are honest edits of client 1; the document is whole all the same.
    let update = harness::base64(&stage.server.export("attacked"));
    harness::Agent::start("y-websocket-3.1").run("decode", serde_json::json!({"update": update}));
}

#[test]
fn cut_and_mangled_updates_disturb_nobody() {
    let mut stage = Stage::new();
    let honest = yjs::update_frame(&yjs::key_set(5_000, 0, "a value of some length"));
    for end in 1..honest.len() {
        stage.attack("a cut update", &honest[..end]);
    }
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..if harness::long() { 20_000 } else { 300 } {
        let mut update = yjs::key_set(6_000, 1, "value");
        for _ in 0..=random(3) {
            let at = random(update.len());
            update[at] = random(256) as u8;
        }
        stage.attack("a mangled update", &yjs::update_frame(&update));
    }
    stage.finish();
}

#[test]
fn what_is_not_websocket_ends_that_socket_alone() {
    let mut stage = Stage::new();
    let broken: [(&str, &[u8]); 5] = [
        ("a frame without a mask", &[0x82, 0x01, 0x00]),
        ("reserved bits", &[0xf2, 0x80, 0, 0, 0, 0]),
        ("an unknown opcode", &[0x83, 0x80, 0, 0, 0, 0]),
        ("a continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0]),
        ("a length of 2^63", &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    ];
    for (name, bytes) in broken {
        let mut socket = Socket::open(stage.server.editors(), "/attacked");
        socket.send_raw(bytes).unwrap();
        loop {
            match socket.receive(Duration::from_secs(20)) {
                Event::Message(_) => {}
                Event::Closed { .. } | Event::Ended => break,
                Event::Silence => panic!("{name}: the socket stays open"),
            }
        }
        stage.beside.work();
        stage.elsewhere.work();
    }
    // Text is WebSocket, though nothing that we speak.
    stage.hostile.send_text("hello?").unwrap();
    stage.attack("after a text message", &[]);
    stage.finish();
}
