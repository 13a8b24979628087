//! From an accepted connection to an admitted editor, or to an answer that says why not.
//!
//! Everything that can be decided from the request is decided before the upgrade: stock clients back off when a
//! request is refused, and come back ten times a second when a socket is accepted and closed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringleaf_types::{CloseReason, DocumentId};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use crate::addresses::{Counted, Limit};
use crate::documents::{NoSeat, Seat};
use crate::fan_out::Opened;
use crate::pace::Crowded;
use crate::shared::{Shared, random};
use crate::websocket;

mod plain;
mod refusal;

pub(crate) use refusal::Refusal;

/// The smallest buffer that the HTTP library takes.
const HTTP_BYTES_MIN: usize = 8 << 10;

type Answer = Response<Full<Bytes>>;

/// An editor that may come in as soon as its connection is a socket.
struct Admitted {
    seat: Seat,
    upgrade: OnUpgrade,
}

/// Answers one connection's request, and lets an editor in.
///
/// Its future is large, so it runs in a task of its own that ends when the socket's begins.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let counted = Counted::new(Arc::clone(&shared), peer.ip(), Instant::now());
    let admitted = Arc::new(Mutex::new(None));
    let service = service_fn(|request| {
        let (shared, admitted) = (Arc::clone(&shared), Arc::clone(&admitted));
        async move {
            let answer = answer(request, peer, &shared, &admitted).await;
            let mut answer = answer.unwrap_or_else(|refused| {
                shared.metrics.handshake_refused(refused.refusal);
                debug!(refusal = refused.refusal.label(), "refused a request");
                refused.answer()
            });
            // One request per connection: what waits for another would be a connection that nobody counts as idle.
            answer.headers_mut().entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.handshake_timeout)
        .max_buf_size(shared.limits.handshake_bytes_max.max(HTTP_BYTES_MIN))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        let refusal = if error.is_timeout() { Refusal::TimedOut } else { Refusal::NotHttp };
        shared.metrics.handshake_refused(refusal);
        debug!(%error, "a connection ended before it was a socket");
    }
    let admitted = admitted.lock().expect("no holder of this lock panics").take();
    let Some(Admitted { seat, upgrade }) = admitted else { return };
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    websocket::start(io.into_inner(), read_buf, seat, counted, shared);
}

/// A refused request, with the words that go along.
struct Refused {
    refusal: Refusal,
    detail: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, detail: refusal.text().into() }
    }
}

impl Refused {
    fn answer(self) -> Answer {
        let mut answer = plain::text(self.refusal.status(), &self.detail);
        let headers = answer.headers_mut();
        if let Some(seconds) = self.refusal.retry_after_seconds() {
            let jitter = if self.refusal == Refusal::Crowded { random() % u64::from(seconds + 1) } else { 0 };
            headers.insert(header::RETRY_AFTER, (u64::from(seconds) + jitter).into());
        }
        match self.refusal {
            Refusal::Method => drop(headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"))),
            Refusal::WrongVersion => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, close"));
            }
            _ => {}
        }
        answer
    }
}

async fn answer(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    admitted: &Mutex<Option<Admitted>>,
) -> Result<Answer, Refused> {
    if shared.tasks.stop.is_cancelled() {
        return Err(Refusal::Stopping.into());
    }
    if let Some(limit) = shared.addresses.too_many(peer.ip()) {
        return Err(Refusal::from(limit).into());
    }
    if !has_token(request.headers(), &header::UPGRADE, "websocket") {
        return plain::answer(&request, shared.page.as_deref()).await;
    }
    let accept = check_upgrade(&request)?;
    let document = document_of(request.uri().path())?;
    shared
        .access
        .check(request.headers())
        .map_err(|error| Refused { refusal: Refusal::Origin, detail: error.to_string() })?;
    let protocol = first_protocol(request.headers());
    wait_for_turn(shared).await?;
    let seat = Seat::take(shared, &document, peer.ip(), Instant::now()).map_err(|no_seat| match no_seat {
        NoSeat::SessionsOfDocument => Refusal::SessionsOfDocument,
        NoSeat::Address(limit) => limit.into(),
    })?;
    // Order: whoever stops the server first says so and then closes every document that has a seat.
    if shared.tasks.stop.is_cancelled() {
        return Err(Refusal::Stopping.into());
    }
    // A document that takes long to load is waited for with the socket open, so that the client does not give up.
    match seat.fan_out.opened(shared.limits.handshake_timeout / 2).await {
        Opened::Yes | Opened::NotYet => {}
        Opened::Busy => return Err(Refusal::Busy.into()),
        Opened::Refused(reason) => return Err(Refusal::from(reason).into()),
    }
    let upgrade = hyper::upgrade::on(&mut request);
    *admitted.lock().expect("no holder of this lock panics") = Some(Admitted { seat, upgrade });
    Ok(switch(&accept, protocol))
}

/// Holds back whoever comes in a crowd. Nothing is opened for them before it is their turn.
async fn wait_for_turn(shared: &Shared) -> Result<(), Refused> {
    let wait = shared.pace.turn(Instant::now()).map_err(|Crowded| Refusal::Crowded)?;
    if !wait.is_zero() {
        shared.metrics.handshakes_paced.increment(1);
        tokio::select! {
            biased;
            () = shared.tasks.stop.cancelled() => return Err(Refusal::Stopping.into()),
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

fn switch(accept: &str, protocol: Option<HeaderValue>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// The key with which a proper upgrade is accepted.
fn check_upgrade(request: &Request<Incoming>) -> Result<String, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refusal::Method.into());
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::WrongVersion.into());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let connection = has_token(headers, &header::CONNECTION, "upgrade");
    match key {
        // HTTP 1.0 knows no upgrade: whoever answers one there has a proxy in between that does not know what follows.
        Some(key) if connection && request.version() == Version::HTTP_11 => {
            Ok(derive_accept_key(key.as_bytes()))
        }
        Some(_) | None => Err(Refusal::BadUpgrade.into()),
    }
}

/// Whether a header lists a word, in whatever case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// A client that offers subprotocols fails unless one of them is chosen; what they mean is its own affair.
fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?;
    HeaderValue::from_str(first).ok()
}

/// The document that a path names: everything after the first slash, percent-decoded.
fn document_of(path: &str) -> Result<DocumentId, Refused> {
    let Some(name) = path.strip_prefix('/') else { return Err(Refusal::BadName.into()) };
    let name: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
    DocumentId::from_utf8(&name)
        .map_err(|error| Refused { refusal: Refusal::BadName, detail: error.to_string() })
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Connections => Self::Connections,
            Limit::ConnectionsOfAddress => Self::ConnectionsOfAddress,
            Limit::DocumentsOfAddress => Self::DocumentsOfAddress,
        }
    }
}

impl From<CloseReason> for Refusal {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::DocumentDeleted => Self::Deleted,
            CloseReason::DocumentQuarantined => Self::Quarantined,
            CloseReason::ServiceRestart
            | CloseReason::TryAgainLater
            | CloseReason::SlowConsumer
            | CloseReason::Dead
            | CloseReason::Misbehaved
            | CloseReason::MessageTooLarge
            | CloseReason::NotTaken
            | CloseReason::DocumentFull
            | CloseReason::ProtocolError => Self::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Result<String, String> {
        document_of(path).map(|document| document.as_str().to_owned()).map_err(|refused| refused.detail)
    }

    #[test]
    fn a_path_names_a_document() {
        assert_eq!(name("/notes"), Ok("notes".into()));
        assert_eq!(name("/notes/today"), Ok("notes/today".into()));
        assert_eq!(name("/my%20room"), Ok("my room".into()));
        assert_eq!(name("/a%2Fb"), Ok("a/b".into()));
        assert_eq!(name("/100%"), Ok("100%".into()));
        assert_eq!(name("/%C3%A9"), Ok("é".into()));
        assert_eq!(name("//"), Ok("/".into()));
    }

    #[test]
    fn a_path_that_names_none_says_why() {
        assert_eq!(name("/"), Err("a document name must not be empty".into()));
        assert_eq!(name("/%FF"), Err("a document name must be UTF-8".into()));
        assert!(name("/a%00").unwrap_err().contains("control characters"));
        assert!(name(&format!("/{}", "x".repeat(513))).unwrap_err().contains("512 bytes"));
    }

    #[test]
    fn the_first_protocol_offered_is_chosen() {
        let chosen = |offered: &'static str| {
            let headers = [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered))];
            first_protocol(&headers.into_iter().collect())
        };
        assert_eq!(chosen("yauth-abc, other").unwrap(), "yauth-abc");
        assert_eq!(chosen(" ,a"), Some(HeaderValue::from_static("a")));
        assert_eq!(chosen(""), None);
    }
}
