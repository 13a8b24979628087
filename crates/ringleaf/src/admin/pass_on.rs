//! Whoever is asked about a document passes it on to the one that should answer: the document's owner, or, of a process
//! that hosts nothing, any node. One hop: what was passed on is answered where it arrives.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use ringleaf_peer::{AdminAnswer, AdminError, AdminRequest};
use ringleaf_ring::{Member, RingView};
use ringleaf_types::DocumentId;
use serde_json::{Value, json};

use super::others::{Others, passed_on};
use super::ring::everywhere;
use super::{Admin, busiest, error};

/// The largest body that goes over a link.
const BODY_BYTES_MAX: usize = 128 << 20;
/// Limit: so many nodes are tried, one after the other, before the answer is that none can be reached.
const TRIES_MAX: usize = 3;

/// What a request is about.
enum Subject {
    /// A document, and nothing of it but what `doc show` tells.
    Shown(DocumentId),
    Document(DocumentId),
    Listing,
    /// Names that cannot be, and paths that are not there.
    Unclear,
}

impl Subject {
    fn of(path: &str) -> Self {
        let rest = path.strip_prefix("/api/v1/documents").or_else(|| path.strip_prefix("/api/v1/quarantine"));
        let Some(rest) = rest else { return Self::Unclear };
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return Self::Listing;
        }
        let (name, more) = rest.split_once('/').unwrap_or((rest, ""));
        let name = percent_decode_str(name).decode_utf8().ok();
        match (name.and_then(|name| name.parse().ok()), more) {
            (Some(document), "") if path.starts_with("/api/v1/documents") => Self::Shown(document),
            (Some(document), _) => Self::Document(document),
            (None, _) => Self::Unclear,
        }
    }
}

/// A request that may be sent more than once.
struct Passed {
    parts: axum::http::request::Parts,
    body: Bytes,
}

impl Passed {
    fn admin_request(&self) -> AdminRequest {
        let uri = &self.parts.uri;
        let path = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
        AdminRequest { method: self.parts.method.to_string(), path_and_query: path, body: self.body.clone() }
    }

    fn here(self) -> Request {
        Request::from_parts(self.parts, Body::from(self.body))
    }
}

pub(super) async fn pass_on(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let Ok(others) = admin.others() else { return next.run(request).await };
    if !others.clustered() || passed_on(request.headers()) {
        return next.run(request).await;
    }
    let view = match others.view() {
        Ok(view) => view,
        Err(refusal) => return *refusal,
    };
    let get = request.method() == Method::GET;
    match Subject::of(request.uri().path()) {
        Subject::Unclear => next.run(request).await,
        Subject::Listing if others.node.is_some() => {
            with_owners(&admin, others, &view, next.run(request).await).await
        }
        Subject::Listing => {
            let members = view.members().to_vec();
            let (_, answer) = try_each(others, members, request, next).await;
            with_owners(&admin, others, &view, answer).await
        }
        Subject::Shown(document) if get => {
            let (at, answer) = try_each(others, candidates(&view, &document), request, next).await;
            let owner = view.owner(&document).as_str().to_owned();
            changed(answer, |line| {
                line["owner"] = owner.into();
                line["pinned_to"] = view.pins().get(&document).map(ToString::to_string).into();
                line["answered_by"] = at.map(|member| member.node.to_string()).into();
            })
            .await
        }
        Subject::Shown(document) | Subject::Document(document) => {
            try_each(others, candidates(&view, &document), request, next).await.1
        }
    }
}

fn candidates(view: &RingView, document: &DocumentId) -> Vec<Member> {
    view.candidates(document).filter_map(|node| view.member(node)).cloned().collect()
}

/// Asks these one after the other until one can be reached, and says which one it was.
async fn try_each(
    others: &Others,
    members: Vec<Member>,
    request: Request,
    next: Next,
) -> (Option<Member>, Response) {
    let (parts, body) = request.into_parts();
    // Order: looked at before it is read, so that whoever asks first never sends what is refused.
    let announced = HttpBody::size_hint(&body).lower();
    let body =
        if announced > BODY_BYTES_MAX as u64 { None } else { to_bytes(body, BODY_BYTES_MAX).await.ok() };
    let Some(body) = body else {
        let text = "the body has more than 128 MiB, which is more than is passed on to another process";
        let advice = "ask the document's owner itself: see `ringleaf ring owner`";
        return (None, error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text, advice));
    };
    // Whoever only looks, may look elsewhere. A write that got no answer may have been done.
    let again = parts.method == Method::GET;
    let passed = Passed { parts, body };
    let mut problem = (StatusCode::SERVICE_UNAVAILABLE, "no node could be reached".to_owned());
    for member in members.into_iter().take(TRIES_MAX) {
        if others.is_here(&member.node) {
            return (Some(member), next.run(passed.here()).await);
        }
        match others.ask(&member, passed.admin_request()).await {
            Ok(answer) => return (Some(member), response(answer)),
            Err(AdminError::Unreachable) => {
                problem.1 =
                    format!("node {} cannot be reached, nor any that would take its place", member.node);
            }
            Err(failure @ (AdminError::NoAnswer { .. } | AdminError::TooLarge)) => {
                problem = (StatusCode::BAD_GATEWAY, format!("node {}: {failure}", member.node));
                if !again {
                    break;
                }
            }
        }
    }
    (
        None,
        error(
            problem.0,
            "owner_unreachable",
            &problem.1,
            "look at the nodes with `ringleaf node list`, then try again",
        ),
    )
}

fn response(answer: AdminAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, [(header::CONTENT_TYPE, answer.content_type)], answer.body).into_response()
}

/// Changes an answer that is JSON and no error; leaves others as they are.
async fn changed(answer: Response, change: impl FnOnce(&mut Value)) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(bytes) = to_bytes(body, BODY_BYTES_MAX).await else {
        return error(StatusCode::BAD_GATEWAY, "answer_too_large", "the answer has more than 128 MiB", "");
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut value) if parts.status.is_success() && value.is_object() => {
            change(&mut value);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(value.to_string()))
        }
        Ok(_) | Err(_) => Response::from_parts(parts, Body::from(bytes)),
    }
}

/// Says of each document of a listing who owns it, and where it is in memory.
async fn with_owners(admin: &Admin, others: &Others, view: &RingView, listing: Response) -> Response {
    let mut answer = Value::Null;
    let listing = changed(listing, |value| answer = value.clone()).await;
    let lines = answer["documents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<DocumentId> =
        lines.iter().filter_map(|line| line["name"].as_str()?.parse().ok()).collect();
    let mut whereabouts = everywhere(admin, others, &names).await;
    changed(listing, |value| {
        value["unanswered"] = json!(whereabouts.unanswered);
        for line in value["documents"].as_array_mut().into_iter().flatten() {
            let Some(document) = line["name"].as_str().and_then(|name| name.parse().ok()) else { continue };
            line["owner"] = view.owner(&document).as_str().into();
            line["pinned_to"] = view.pins().get(&document).map(ToString::to_string).into();
            let found = whereabouts.found.remove(document.as_str()).unwrap_or_default();
            line["resident"] = (!found.is_empty()).into();
            if let Some(first) = found.first() {
                line["sessions"] = first["sessions"].clone();
                line["resident_bytes"] = first["bytes"].clone();
                line["epoch"] = first["epoch"].clone();
                for key in busiest::RATES {
                    line[key] = first[key].clone();
                }
            }
            let nodes: Vec<Value> = found.iter().map(|found| found["node"].clone()).collect();
            line["in_memory"] = nodes.into();
        }
    })
    .await
}

/// For a process that hosts nothing; what it is asked is passed on before it comes here.
pub(super) async fn hosts_nothing() -> Response {
    error(
        StatusCode::CONFLICT,
        "hosts_nothing",
        "this process is a router: it hosts no documents, and knows of no node that does",
        "start a node with `ringleaf node`, or ask one with --admin",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_found_in_the_path() {
        let of = |path: &str| match Subject::of(path) {
            Subject::Shown(document) => format!("show {document:?}").replace("DocumentId", ""),
            Subject::Document(document) => document.as_str().to_owned(),
            Subject::Listing => "list".into(),
            Subject::Unclear => "?".into(),
        };
        assert_eq!(of("/api/v1/documents/notes%2Ftoday/content"), "notes/today");
        assert!(of("/api/v1/documents/notes%2Ftoday").starts_with("show "));
        assert_eq!(of("/api/v1/quarantine/%C3%A9"), "é");
        assert_eq!(of("/api/v1/documents"), "list");
        assert_eq!(of("/api/v1/quarantine/"), "list");
        assert_eq!(of("/api/v1/documents/%FF"), "?");
        assert_eq!(of("/api/v1/status"), "?");
    }
}
