//! Who gets a socket, and what the others are told.

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_router::{BindError, Page, PageFile, Server};
use ringleaf_types::{CloseReason, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\nHost: localhost:1234\nUpgrade: websocket\nConnection: keep-alive, Upgrade\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n{more}\n"
    )
}

#[tokio::test]
async fn a_bad_name_is_refused_with_a_reason() {
    let world = start();
    for (path, reason) in [
        ("/", "must not be empty"),
        ("/a%0Ab", "control characters"),
        ("/%FF%FE", "must be UTF-8"),
        (&format!("/{}", "x".repeat(513)), "at most 512 bytes"),
    ] {
        let (status, answer) = world.ask(&upgrade(path, "")).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains(reason), "{answer}");
    }
    assert_eq!(*world.host.opens.lock().unwrap(), 0);
}

#[tokio::test]
async fn names_are_percent_decoded_and_the_query_is_no_part_of_them() {
    let world = start();
    let mut editor = world.synced("my%20room/%C3%A9?token=a").await;
    editor.send(&[1]).await;
    editor.until_has([1]).await;
    assert!(world.host.document("my room/é").numbers().contains(&1));
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_refused() {
    let world = start();
    let good = upgrade("/notes", "");
    for (head, status) in [
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n", ""), 400),
        (good.replace("keep-alive, Upgrade", "close"), 400),
        (good.replace("GET", "POST"), 405),
        ("nonsense\n\n".into(), 400),
    ] {
        let (got, answer) = world.ask(&head).await;
        assert_eq!(got, status, "{head} {answer}");
    }
    let (_, answer) = world.ask(&good.replace("Version: 13", "Version: 8")).await;
    assert!(answer.to_lowercase().contains("sec-websocket-version: 13"), "{answer}");
}

#[tokio::test]
async fn a_browser_on_another_page_is_refused_and_told_what_to_do() {
    let world = start();
    let (status, answer) = world.ask(&upgrade("/notes", "Origin: https://evil.example\n")).await;
    assert_eq!(status, 403);
    assert!(answer.contains("allowed origins"), "{answer}");
    let mut config = config();
    config.allowed_origins = vec!["https://wiki.example".into()];
    let world = start_config(config);
    let mut request = format!("ws://{}/notes", world.address()).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://wiki.example".parse().unwrap());
    Editor::connect_with(world.address(), request).await.unwrap().sync().await;
}

#[tokio::test]
async fn the_first_subprotocol_is_echoed_and_compression_is_declined() {
    let world = start();
    let mut request = format!("ws://{}/notes", world.address()).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "yauth-token, other".parse().unwrap());
    headers.insert("sec-websocket-extensions", "permessage-deflate".parse().unwrap());
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let (_, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "yauth-token");
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
}

#[tokio::test]
async fn a_document_that_cannot_be_had_is_refused_before_the_upgrade() {
    let world = start();
    for (reason, status) in [(CloseReason::DocumentDeleted, 410), (CloseReason::DocumentQuarantined, 423)] {
        world.host.refuse(Some(reason));
        assert_eq!(world.ask(&upgrade("/notes", "")).await.0, status);
    }
    world.host.refuse(None);
    world.host.busy(true);
    let (status, answer) = world.ask(&upgrade("/notes", "")).await;
    assert_eq!(status, 503);
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    world.host.busy(false);
    world.synced("notes").await;
}

#[tokio::test]
async fn a_document_that_takes_long_to_open_is_waited_for_with_the_socket_open() {
    let world = start_with(|limits| {
        limits.handshake_timeout = Duration::from_millis(100);
        limits.keepalive_interval = Duration::from_millis(40);
    });
    let held = world.host.hold();
    let mut editor = world.editor("notes").await;
    editor.send(&[1]).await;
    editor.until("signs of life", |editor| editor.awareness.len() >= 2).await;
    held.notify_one();
    editor.sync().await;
    editor.until_has([1]).await;
}

#[tokio::test]
async fn limits_refuse_with_503_and_say_when_to_come_back() {
    let world = start_with(|limits| {
        limits.sessions_per_document_max = 1;
        limits.documents_opened_per_minute_max = 2;
        limits.connections_per_address_max = 3;
    });
    let _one = world.synced("one").await;
    let (status, answer) = world.ask(&upgrade("/one", "")).await;
    assert!(status == 503 && answer.contains("as many editors as one document may have"), "{answer}");
    let _two = world.synced("two").await;
    let (status, answer) = world.ask(&upgrade("/three", "")).await;
    assert!(status == 503 && answer.contains("opened as many documents"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 60"), "{answer}");
    // Another address is 127.0.0.2, as far as the server can tell.
    let _idle = TcpStream::connect(world.address()).await.unwrap();
    wait_for("three connections", || world.server.status().connections == 3).await;
    let (status, answer) = world.ask(&upgrade("/one", "")).await;
    assert!(status == 503 && answer.contains("your address has as many connections"), "{answer}");
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped() {
    let world = start_with(|limits| limits.handshake_timeout = Duration::from_millis(100));
    let mut slow = TcpStream::connect(world.address()).await.unwrap();
    slow.write_all(b"GET /notes HTTP/1.1\r\nHost:").await.unwrap();
    let mut silent = TcpStream::connect(world.address()).await.unwrap();
    for stream in [&mut slow, &mut silent] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the server hangs up");
    }
    wait_for("no connections", || world.server.status().connections == 0).await;
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let world = start();
    let (status, _) = world.ask(&upgrade("/notes", &format!("X-Long: {}\n", "x".repeat(20_000)))).await;
    assert_eq!(status, 431);
}

struct Pages;

impl Page for Pages {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<PageFile>> {
        let file = (path == "/").then(|| PageFile {
            content_type: Cow::Borrowed("text/html; charset=utf-8"),
            bytes: Bytes::from_static(b"<!doctype html>"),
            immutable: false,
        });
        std::future::ready(file).boxed()
    }

    fn post<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<(u16, PageFile)>> {
        let done = (path == "/.wish").then(|| {
            let content_type = Cow::Borrowed("text/plain");
            (201, PageFile { content_type, bytes: Bytes::from_static(b"done"), immutable: false })
        });
        std::future::ready(done).boxed()
    }
}

#[tokio::test]
async fn wishes_are_for_the_page_of_this_server_alone() {
    let mut config = config();
    config.page = Some(Arc::new(Pages));
    config.allowed_origins = vec!["*".into()];
    let world = start_config(config);
    let wish = async |path: &str, origin: &str| {
        let request = format!("POST {path} HTTP/1.1\nHost: localhost:1\n{origin}Content-Length: 0\n\n");
        world.ask(&request).await
    };
    let (status, answer) = wish("/.wish", "Origin: http://localhost:1\n").await;
    assert!(status == 201 && answer.ends_with("done"), "{answer}");
    assert_eq!(wish("/other", "Origin: http://localhost:1\n").await.0, 405);
    for origin in ["", "Origin: http://localhost:2\n", "Origin: http://evil.example\n"] {
        assert_eq!(wish("/.wish", origin).await.0, 403, "{origin:?}");
    }
    let (status, _) = start().ask("POST / HTTP/1.1\nHost: h\nOrigin: http://h\nContent-Length: 0\n\n").await;
    assert_eq!(status, 405, "without a page there is nothing to wish for");
}

#[tokio::test]
async fn plain_requests_get_a_page_or_words() {
    let world = start();
    let (status, answer) = world.ask("GET / HTTP/1.1\nHost: localhost\n\n").await;
    assert!(status == 200 && answer.contains("editors connect by WebSocket"), "{answer}");
    let (status, answer) = world.ask("GET /notes HTTP/1.1\nHost: localhost\n\n").await;
    assert!(status == 404 && answer.contains("ws://"), "{answer}");
    let (status, answer) = world.ask("DELETE / HTTP/1.1\nHost: localhost\n\n").await;
    assert!(status == 405 && answer.contains("GET, HEAD"), "{answer}");

    let mut config = config();
    config.page = Some(Arc::new(Pages));
    let world = start_config(config);
    let (status, answer) = world.ask("GET /?x HTTP/1.1\nHost: localhost\n\n").await;
    assert!(status == 200 && answer.ends_with("<!doctype html>"), "{answer}");
    assert!(answer.to_lowercase().contains("content-security-policy: default-src 'self'"), "{answer}");
    let (status, answer) = world.ask("HEAD / HTTP/1.1\nHost: localhost\n\n").await;
    assert!(status == 200 && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("content-length: 15"), "{answer}");
}

#[tokio::test]
async fn what_follows_the_request_at_once_is_not_lost() {
    let world = start();
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = upgrade("/notes", "").replace('\n', "\r\n");
    // An update with the numbers of "abcd", masked with zeros, in the same packet as the request.
    let frame = [&[0x82, 0x80 | 7, 0, 0, 0, 0, 0, 2, 4][..], b"abcd"].concat();
    stream.write_all(&[head.as_bytes(), &frame].concat()).await.unwrap();
    let document = world.host.document("notes");
    document.until("the update", |hosting| hosting.slots.iter().any(|slot| slot[..] == *b"abcd")).await;
}

#[test]
fn other_machines_are_not_served_unless_that_was_said() {
    let mut config = config();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let error = Server::bind(config.clone()).err().unwrap();
    assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");
    assert!(error.advice().contains("--open-to-anyone"));
    config.open_to_anyone = true;
    assert_ne!(Server::bind(config).ok().unwrap().local_addr().port(), 0);
}

#[test]
fn a_port_is_taken_once() {
    let mut config = config();
    let first = Server::bind(config.clone()).ok().unwrap();
    config.listen = first.local_addr();
    let error = Server::bind(config).err().unwrap();
    assert!(error.to_string().contains("is in use by"), "{error}");
    assert_eq!(Limits::default().handshake_bytes_max, 16 << 10);
}
