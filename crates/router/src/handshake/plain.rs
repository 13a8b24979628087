//! Answers to requests that ask for no socket.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Answer, Refusal, Refused};
use crate::access::own_page;
use crate::page::{Page, PageFile};

const GREETING: &str = "ringleaf: editors connect by WebSocket to ws://<this server>/<document name>\n";

/// A page may load what comes from here, talk to sockets, and be shown in no other page. Names of documents are in its
/// address, so it tells nobody where a reader came from.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

pub(super) async fn answer(request: &Request<Incoming>, page: Option<&dyn Page>) -> Result<Answer, Refused> {
    let path = request.uri().path();
    if let (&Method::POST, Some(page)) = (request.method(), page) {
        return wish(request, page).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refusal::Method.into());
    }
    let file = match page {
        Some(page) => page.get(path).await,
        None => None,
    };
    match file {
        Some(file) => Ok(serve(file)),
        None if path == "/" => Ok(text(StatusCode::OK, GREETING)),
        None => Err(Refusal::NotFound.into()),
    }
}

/// What comes of a wish of the page.
async fn wish(request: &Request<Incoming>, page: &dyn Page) -> Result<Answer, Refused> {
    if !own_page(request.headers()) {
        let detail = "only the page of this server may wish for something here".to_owned();
        return Err(Refused { refusal: Refusal::Origin, detail });
    }
    let Some((status, file)) = page.post(request.uri().path()).await else {
        return Err(Refusal::Method.into());
    };
    let mut answer = serve(file);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok(answer)
}

/// A line of text. The library leaves its body out when only the head was asked for.
pub(super) fn text(status: StatusCode, text: &str) -> Answer {
    let mut line = text.to_owned();
    if !line.ends_with('\n') {
        line.push('\n');
    }
    let mut answer = Response::new(Full::new(Bytes::from(line)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn serve(file: PageFile) -> Answer {
    let mut answer = Response::new(Full::new(file.bytes));
    let headers = answer.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&file.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let cache = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    for (name, value) in PAGE_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
