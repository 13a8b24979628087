//! Stopping in order, also in the middle of work.

use std::time::{Duration, Instant};

use harness::{Event, Server, ServerOptions, Socket, yjs};

use crate::crash::{Shown, lost_nothing, under_load};

fn stop_under_load(signal: &str) {
    let data = tempfile::tempdir().unwrap();
    let mut shown = Shown::new();
    let mut server = Server::start_with(ServerOptions::at(data.path()));
    let mut took = Duration::ZERO;
    let orderly = under_load(&mut server, 1, &mut shown, |server| {
        // Some load first: everybody has been shown something.
        harness::wait_for("there is load", Duration::from_secs(60), || {
            (server.last_slot("three") > 20).then_some(())
        });
        let asked_at = Instant::now();
        server.signal(signal);
        let status = server.wait_exit(Duration::from_secs(30));
        took = asked_at.elapsed();
        assert!(status.success(), "{status}");
    });
    assert_eq!(orderly, 6, "every reader was told that the server restarts");
    harness::figure(&format!("stopped after {:.2} s", took.as_secs_f64()));
    drop(server);
    // The lock is free, and everything is there.
    let server = Server::start_with(ServerOptions::at(data.path()));
    let (updates, _) = lost_nothing(&server, &shown);
    assert!(updates > 50, "{updates}");
}

#[test]
fn sigterm_under_load_closes_with_1012_and_loses_nothing() {
    stop_under_load("TERM");
}

#[test]
fn sigint_under_load_closes_with_1012_and_loses_nothing() {
    stop_under_load("INT");
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    // Sockets are closed over ten seconds, unless somebody insists.
    let options = ServerOptions::default().limit("RINGLEAF_LIMITS_CLOSE_SPREAD", "10s");
    let mut server = Server::start_with(options.announce("interrupt"));
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(server.editors(), "/room")).collect();
    for socket in &mut sockets {
        socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
    }
    server.signal("INT");
    // It has begun to stop when the first socket is closed.
    let code = harness::wait_for("a socket is closed", Duration::from_secs(15), || {
        sockets.iter_mut().find_map(|socket| match socket.receive(Duration::from_millis(5)) {
            Event::Closed { code, .. } => Some(code),
            _ => None,
        })
    });
    assert_eq!(code, 1012);
    server.signal("INT");
    let asked_at = Instant::now();
    server.wait_exit(Duration::from_secs(5));
    assert!(asked_at.elapsed() < Duration::from_secs(2), "{:?}", asked_at.elapsed());
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_in_words() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(ServerOptions::at(data.path()));
    let mut second = Server::launch(ServerOptions::at(data.path()).announce("in use"));
    let status = second.wait_exit(Duration::from_secs(10));
    assert!(!status.success());
    assert!(second.log_text().contains("in use"), "{}", second.log_text());
    drop(second);
    drop(server);
}
