//! `kill -9` at random moments: what anyone was shown is there afterwards (I1, I4).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Agent, Event, Server, ServerOptions, Socket};
use serde_json::json;

const DOCUMENTS: [&str; 3] = ["one", "two", "three"];
const WRITERS_PER_DOCUMENT: u64 = 2;
const READERS_PER_DOCUMENT: usize = 2;

/// Per document and Yjs client, how far some reader was shown what it typed.
pub(crate) type Shown = BTreeMap<(String, u64), u64>;

#[test]
fn nothing_that_was_shown_is_lost_when_the_process_is_killed() {
    let rounds = if harness::long() { 200 } else { 12 };
    let data = tempfile::tempdir().unwrap();
    let mut shown = Shown::new();
    let mut random = 0x9e37_79b9_u64;
    for round in 0..rounds {
        let mut server = Server::start_with(ServerOptions::at(data.path()));
        lost_nothing(&server, &shown);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The one place where chance decides when.
        let pause = Duration::from_millis(50 + (random >> 33) % 1_200);
        under_load(&mut server, 1_000 * round + 1, &mut shown, |server| {
            thread::sleep(pause);
            server.kill();
        });
    }
    let server = Server::start_with(ServerOptions::at(data.path()));
    let (updates, stored) = lost_nothing(&server, &shown);
    assert!(updates > 100 * rounds as usize, "the load was no load: {updates} updates");
    harness::figure(&format!("{rounds} kills, {updates} updates shown, 0 lost ({stored} stored)"));
    let mut agent = Agent::start("y-websocket-3.1");
    for document in DOCUMENTS {
        // An independent decoder finds it whole.
        agent.run("decode", json!({"update": harness::base64(&server.export(document))}));
    }
}

/// Types into several documents with readers beside it, does something to the server, and adds what the readers saw.
pub(crate) fn under_load(
    server: &mut Server,
    first_client: u64,
    shown: &mut Shown,
    act: impl FnOnce(&mut Server),
) -> usize {
    let address = server.editors();
    let seen = Mutex::new(Shown::new());
    let orderly = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (number, document) in DOCUMENTS.iter().enumerate() {
            for _ in 0..READERS_PER_DOCUMENT {
                scope.spawn(|| read(address, document, &seen, &orderly));
            }
            for writer in 0..WRITERS_PER_DOCUMENT {
                let client = first_client + number as u64 * WRITERS_PER_DOCUMENT + writer;
                scope.spawn(move || write(address, document, client));
            }
        }
        // Whatever happens in there, the others end when the server does.
        let acted = panic::catch_unwind(AssertUnwindSafe(|| act(server)));
        if let Err(trouble) = acted {
            server.kill();
            panic::resume_unwind(trouble);
        }
    });
    for (key, clock) in seen.into_inner().unwrap() {
        let known = shown.entry(key).or_default();
        *known = clock.max(*known);
    }
    orderly.into_inner()
}

fn write(address: SocketAddr, document: &str, client: u64) {
    let mut socket = Socket::open(address, &format!("/{document}"));
    let mut clock = 0;
    loop {
        for _ in 0..=(clock % 7) {
            if socket.send(&yjs::update_frame(&yjs::typed(client, clock, "x"))).is_err() {
                return;
            }
            clock += 1;
        }
        // A breath, so that bursts and lone updates both occur; what comes back is of no interest here.
        match socket.receive(Duration::from_millis(3)) {
            Event::Message(_) | Event::Silence => {}
            Event::Closed { .. } | Event::Ended => return,
        }
    }
}

fn read(address: SocketAddr, document: &str, seen: &Mutex<Shown>, orderly: &AtomicUsize) {
    let mut socket = Socket::open(address, &format!("/{document}"));
    socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
    loop {
        match socket.receive(Duration::from_secs(60)) {
            Event::Message(message) => {
                let contents = match yjs::frame(&message) {
                    Frame::Step2(update) | Frame::Update(update) => yjs::contents(&update),
                    // A state vector is a promise too: the client will not send that again.
                    Frame::Step1(clocks) => yjs::Contents { clocks, ..yjs::Contents::default() },
                    Frame::Awareness(_) | Frame::Other(_) => continue,
                };
                let mut seen = seen.lock().unwrap();
                for (client, clock) in contents.clocks {
                    let known = seen.entry((document.to_owned(), client)).or_default();
                    *known = clock.max(*known);
                }
            }
            Event::Closed { code, .. } => {
                assert_eq!(code, 1012, "the only goodbye here is a restart");
                orderly.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Event::Ended => return,
            Event::Silence => panic!("a minute without a message"),
        }
    }
}

/// Compares what was shown with what the server has now; returns the updates shown and stored.
pub(crate) fn lost_nothing(server: &Server, shown: &Shown) -> (usize, usize) {
    let started_at = Instant::now();
    let mut stored = BTreeMap::new();
    for ((document, client), clock) in shown {
        let clocks = stored.entry(document).or_insert_with(|| yjs::contents(&server.state(document)).clocks);
        let kept = clocks.get(client).copied().unwrap_or(0);
        assert!(kept >= *clock, "{document}: client {client} was shown up to {clock}, stored is {kept}");
    }
    assert!(started_at.elapsed() < Duration::from_secs(60), "a load of small documents takes a moment");
    let sum = |clocks: &BTreeMap<u64, u64>| clocks.values().sum::<u64>() as usize;
    (shown.values().sum::<u64>() as usize, stored.values().map(sum).sum())
}
