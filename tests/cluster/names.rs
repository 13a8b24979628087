//! Names, refusals and limits.

use std::time::{Duration, Instant};

use harness::{Event, Server, ServerOptions, Socket, http, wait_for, yjs};

fn refusal(server: &Server, path: &str) -> (u16, String) {
    match Socket::try_open(server.editors(), path, "") {
        Ok(_) => panic!("{path} was let in"),
        Err(refused) => (refused.0.status, refused.0.text()),
    }
}

/// Types a letter into one path and reads it through another.
fn same_document(server: &Server, one: &str, other: &str, client: u64) -> bool {
    let mut writer = Socket::open(server.editors(), one);
    writer.send(&yjs::update_frame(&yjs::typed(client, 0, "x"))).unwrap();
    wait_shown(&mut writer, client, 1);
    let mut reader = Socket::open(server.editors(), other);
    reader.send(&yjs::STEP1_OF_NOTHING).unwrap();
    loop {
        if let yjs::Frame::Step2(update) = yjs::frame(&message(&mut reader)) {
            return yjs::contents(&update).clocks.contains_key(&client);
        }
    }
}

fn message(socket: &mut Socket) -> Vec<u8> {
    match socket.receive(Duration::from_secs(20)) {
        Event::Message(message) => message,
        end => panic!("{end:?} instead of a message"),
    }
}

/// Reads until a client's text was shown up to a clock.
pub(crate) fn wait_shown(socket: &mut Socket, client: u64, clock: u64) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < Duration::from_secs(30), "client {client} is not shown up to {clock}");
        let shown = match yjs::frame(&message(socket)) {
            yjs::Frame::Step2(update) | yjs::Frame::Update(update) => yjs::contents(&update).clocks,
            yjs::Frame::Step1(clocks) => clocks,
            _ => continue,
        };
        if shown.get(&client).is_some_and(|shown| *shown >= clock) {
            return;
        }
    }
}

#[test]
fn a_name_is_utf_8_after_percent_decoding() {
    let server = Server::start();
    assert!(same_document(&server, "/a%20b", "/a%20b?token=1", 1));
    assert!(same_document(&server, "/%C3%A9t%C3%A9", "/%c3%a9t%c3%a9", 2));
    assert!(same_document(&server, "/team/notes", "/team%2Fnotes", 3));
    assert!(same_document(&server, &format!("/{}", "n".repeat(512)), &format!("/{}", "n".repeat(512)), 4));
    assert!(!same_document(&server, "/a+b", "/a%20b", 5));
    assert_eq!(server.document("a b")["name"], "a b");
    assert_eq!(server.document("été")["name"], "été");
}

#[test]
fn any_other_name_is_refused_with_400_and_a_reason() {
    let server = Server::start();
    let long = format!("/{}", "n".repeat(513));
    let cases = [
        ("/", "empty"),
        ("/?token=1", "empty"),
        (long.as_str(), "512"),
        ("/a%0Ab", "control"),
        ("/a%7Fb", "control"),
        ("/%FF", "UTF-8"),
        ("/%ED%A0%80", "UTF-8"),
    ];
    for (path, reason) in cases {
        let (status, text) = refusal(&server, path);
        assert_eq!(status, 400, "{path:?}: {text}");
        assert!(text.contains(reason), "{path:?}: {text:?} does not say {reason:?}");
    }
}

#[test]
fn a_page_of_another_site_is_not_let_in() {
    let server = Server::start();
    let open = |origin: &str| Socket::try_open(server.editors(), "/room", &format!("origin: {origin}\r\n"));
    assert_eq!(open("https://evil.example").unwrap_err().0.status, 403);
    assert_eq!(open("null").unwrap_err().0.status, 403);
    assert!(open(&format!("http://{}", server.editors())).is_ok());
    let allowing = Server::start_with(
        ServerOptions::default().argument("--allow-origin").argument("https://docs.example"),
    );
    let open = |origin: &str| Socket::try_open(allowing.editors(), "/room", &format!("origin: {origin}\r\n"));
    assert!(open("https://docs.example").is_ok());
    assert_eq!(open("https://docs.example.evil").unwrap_err().0.status, 403);
}

#[test]
fn the_first_subprotocol_is_answered() {
    let server = Server::start();
    // A browser drops a socket whose answer selects none of those it offered.
    let offered = "sec-websocket-protocol: yauth-token, other\r\n";
    let request = format!(
        "GET /room HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offered}\r\n"
    );
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server.editors()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(char::from(byte[0]));
    }
    let head = head.to_ascii_lowercase();
    assert!(head.contains("sec-websocket-protocol: yauth-token\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
}

#[test]
fn a_message_above_the_limit_closes_with_4413_and_others_go_on() {
    let server =
        Server::start_with(ServerOptions::default().limit("RINGLEAF_LIMITS_MESSAGE_BYTES_MAX", "65536"));
    let mut other = Socket::open(server.editors(), "/room");
    let mut socket = Socket::open(server.editors(), "/room");
    socket.send(&yjs::update_frame(&yjs::typed(1, 0, "kept"))).unwrap();
    wait_shown(&mut other, 1, 4);
    let large = yjs::update_frame(&yjs::typed(1, 4, &"x".repeat(70_000)));
    let _ = socket.send(&large);
    let end = loop {
        match socket.receive(Duration::from_secs(20)) {
            Event::Message(_) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Event::Closed { code: 4413, .. }), "{end:?}");
    other.send(&yjs::update_frame(&yjs::typed(2, 0, "on"))).unwrap();
    wait_shown(&mut other, 2, 2);
}

#[test]
fn too_many_messages_a_second_are_read_later_and_none_is_lost() {
    let options = ServerOptions::default().limit("RINGLEAF_LIMITS_SESSION_MESSAGES_PER_SECOND_MAX", "100");
    let server = Server::start_with(options);
    let mut socket = Socket::open(server.editors(), "/room");
    let started_at = Instant::now();
    for clock in 0..400 {
        socket.send(&yjs::update_frame(&yjs::typed(1, clock, "x"))).unwrap();
    }
    wait_shown(&mut socket, 1, 400);
    let took = started_at.elapsed();
    assert!(took > Duration::from_secs(2), "400 messages at 100 a second took {took:?}");
}

#[test]
fn one_address_may_open_so_many_connections() {
    let options = ServerOptions::default().limit("RINGLEAF_LIMITS_CONNECTIONS_PER_ADDRESS_MAX", "3");
    let server = Server::start_with(options.announce("connections"));
    let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(server.editors(), "/room")).collect();
    let fourth = || std::panic::catch_unwind(|| Socket::try_open(server.editors(), "/room", "")).ok()?.ok();
    assert!(fourth().is_none());
    sockets.pop();
    // When one has left there is room again.
    wait_for("the next is let in", Duration::from_secs(10), fourth);
}

#[test]
fn a_document_may_have_so_many_sessions() {
    let options = ServerOptions::default().limit("RINGLEAF_LIMITS_SESSIONS_PER_DOCUMENT_MAX", "2");
    let server = Server::start_with(options);
    let mut sockets: Vec<_> = (0..2).map(|_| Socket::open(server.editors(), "/room")).collect();
    for socket in &mut sockets {
        socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
        message(socket);
    }
    match Socket::try_open(server.editors(), "/room", "") {
        Err(refused) => assert_eq!(refused.0.status, 503),
        Ok(mut third) => {
            let end = loop {
                match third.receive(Duration::from_secs(20)) {
                    Event::Message(_) => {}
                    end => break end,
                }
            };
            assert!(matches!(end, Event::Closed { code: 1013, .. }), "{end:?}");
        }
    }
    // The others, and other documents, are as they were.
    let mut elsewhere = Socket::open(server.editors(), "/elsewhere");
    for socket in sockets.iter_mut().chain([&mut elsewhere]) {
        socket.send(&yjs::update_frame(&yjs::typed(7, 0, "x"))).unwrap();
        wait_shown(socket, 7, 1);
    }
}

#[test]
fn a_deleted_document_is_closed_to_everybody_until_it_is_undeleted() {
    let server = Server::start();
    let mut socket = Socket::open(server.editors(), "/gone");
    socket.send(&yjs::update_frame(&yjs::typed(1, 0, "x"))).unwrap();
    wait_shown(&mut socket, 1, 1);
    assert!(server.admin_request("DELETE", "/api/v1/documents/gone", b"").status < 300);
    let end = loop {
        match socket.receive(Duration::from_secs(20)) {
            Event::Message(_) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Event::Closed { code: 4410, .. }), "{end:?}");
    match Socket::try_open(server.editors(), "/gone", "") {
        Err(refused) => assert_eq!(refused.0.status, 410),
        Ok(mut socket) => {
            let end = loop {
                match socket.receive(Duration::from_secs(20)) {
                    Event::Message(message) => assert_ne!(message[..2], [0, 1], "it answers nobody"),
                    end => break end,
                }
            };
            assert!(matches!(end, Event::Closed { code: 4410, .. }), "{end:?}");
        }
    }
    assert!(server.admin_request("POST", "/api/v1/documents/gone/undelete", b"").status < 300);
    let mut socket = Socket::open(server.editors(), "/gone");
    socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
    wait_shown(&mut socket, 1, 1);
}

#[test]
fn other_machines_are_served_only_when_told_so() {
    let options = ServerOptions { listen: Some("0.0.0.0:0"), ..ServerOptions::default() };
    let mut server = Server::launch(options.announce("open-to-anyone"));
    let status = server.wait_exit(Duration::from_secs(20));
    assert!(!status.success());
    assert!(server.log_text().contains("--open-to-anyone"), "{}", server.log_text());
}

/// Limit: `resident_bytes_max`.
#[test]
fn documents_in_use_that_fill_the_memory_keep_others_out_until_they_are_left() {
    let options = ServerOptions::default()
        .limit("RINGLEAF_LIMITS_RESIDENT_BYTES_MAX", 200_000)
        .limit("RINGLEAF_LIMITS_COMPACTION_IDLE_TIMEOUT", "1s")
        .announce("documents in use fill resident_bytes_max");
    let server = Server::start_with(options);
    let mut writer = Socket::open(server.editors(), "/large");
    writer.send(&yjs::update_frame(&yjs::typed(1, 0, &"x".repeat(300_000)))).unwrap();
    wait_shown(&mut writer, 1, 300_000);
    let mut names = (1..).map(|number| format!("/other-{number}"));
    let opens = |name: &str| match Socket::try_open(server.editors(), name, "") {
        Ok(_) => true,
        Err(refused) => {
            assert_eq!(refused.0.status, 503, "{}", refused.0.text());
            false
        }
    };
    // A document's memory is measured once a second.
    wait_for("others are kept out", Duration::from_secs(30), || (!opens(&names.next()?)).then_some(()));
    assert!(opens("/large"), "it is in memory");
    writer.send(&yjs::update_frame(&yjs::typed(2, 0, "y"))).unwrap();
    wait_shown(&mut writer, 2, 1);
    drop(writer);
    wait_for("there is room again", Duration::from_secs(30), || opens(&names.next()?).then_some(()));
}

#[test]
fn an_overlong_handshake_is_refused() {
    let server = Server::start();
    let large = format!("x-padding: {}\r\n", "x".repeat(20 << 10));
    let refused = Socket::try_open(server.editors(), "/room", &large).unwrap_err();
    assert!(matches!(refused.0.status, 400 | 431), "{}", refused.0.head);
}

#[test]
fn health_and_metrics_are_on_the_admin_port_alone() {
    let server = Server::start();
    assert_eq!(server.admin_request("GET", "/livez", b"").status, 200);
    assert_eq!(server.admin_request("GET", "/readyz?verbose", b"").status, 200);
    let mut socket = Socket::open(server.editors(), "/secret-name");
    socket.send(&yjs::update_frame(&yjs::typed(1, 0, "x"))).unwrap();
    wait_shown(&mut socket, 1, 1);
    let metrics = server.admin_request("GET", "/metrics", b"").text();
    assert!(metrics.contains("ringleaf_"), "{metrics}");
    assert!(!metrics.contains("secret-name"), "names of documents are private");
    assert!(!server.log_text().contains("secret-name"), "in the log too");
    let outside = http(server.editors(), "GET", "/metrics", b"").unwrap();
    assert!(!outside.text().contains("ringleaf_connections"), "{}", outside.text());
}
