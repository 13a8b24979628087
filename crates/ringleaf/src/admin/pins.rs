//! `/api/v1/pins…`: documents that operators gave to a node, whatever the ring says.
//!
//! ```text
//! GET    /api/v1/pins                all, as this process knows them
//! PUT    /api/v1/pins/{document}     {"node": name}: it moves there, and stays there while the node serves
//! DELETE /api/v1/pins/{document}     the ring decides again
//! ```
//!
//! A name is one percent-encoded segment, slashes included.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringleaf_ring::{MemberState, PINS_MAX};
use ringleaf_types::{DocumentId, DocumentIdError, NodeId, RingVersion};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::others::Others;
use super::ring::{Answer, body, not_written, or_refusal, state};
use super::{Admin, error, nodes};

/// So long an answer waits for this process to see what it has written. Then whoever asked may look too early.
const SEEN_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn list(State(admin): State<Admin>) -> Response {
    or_refusal(all(&admin))
}

fn all(admin: &Admin) -> Answer {
    let others = admin.others()?;
    others.etcd()?;
    let view = others.view()?;
    let lines: Vec<Value> = view
        .pins()
        .iter()
        .map(|(document, node)| {
            json!({
                "name": document.as_str(),
                "node": node.as_str(),
                "state": view.member(node).map(|member| state(member.state)),
                "owner": view.owner(document).as_str(),
            })
        })
        .collect();
    let answer = json!({
        "version": view.version().get(),
        "pins": lines,
        "max": PINS_MAX,
        "coordinator": admin.health.coordinator(),
    });
    Ok(Json(answer).into_response())
}

fn document(name: &str) -> Result<DocumentId, Box<Response>> {
    name.parse().map_err(|problem: DocumentIdError| {
        Box::new(error(StatusCode::BAD_REQUEST, "bad_name", &problem.to_string(), ""))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    node: String,
}

pub(super) async fn pin(State(admin): State<Admin>, Path(name): Path<String>, bytes: Bytes) -> Response {
    let answer = async {
        let (others, document) = (admin.others()?, document(&name)?);
        let etcd = others.etcd()?;
        let Wanted { node } = body(&bytes)?;
        let node = nodes::named(&node)?;
        serves(others, &node)?;
        let from = others.view()?.owner(&document).clone();
        let version = etcd.pin(&document, &node).await.map_err(|problem| not_written(&problem))?;
        tracing::info!(%document, target = %node, "an operator has pinned a document");
        seen(others, version).await;
        let answer = json!({
            "name": document.as_str(),
            "outcome": "pinned",
            "node": node.as_str(),
            "from": from.as_str(),
            "version": version.get(),
        });
        Ok(Json(answer).into_response())
    };
    or_refusal(answer.await)
}

/// Whoever is on its way out takes no documents. One that is not known here may have joined a moment ago: etcd says.
fn serves(others: &Others, node: &NodeId) -> Result<(), Box<Response>> {
    let view = others.view()?;
    match view.member(node) {
        Some(member) if member.state != MemberState::Serving => {
            let text = format!("{node} is {}: it takes no documents", state(member.state));
            let advice = "look at the nodes with `ringleaf node list`";
            Err(Box::new(error(StatusCode::CONFLICT, "not_serving", &text, advice)))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) async fn unpin(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let answer = async {
        let (others, document) = (admin.others()?, document(&name)?);
        let version = others.etcd()?.unpin(&document).await.map_err(|problem| not_written(&problem))?;
        tracing::info!(%document, "an operator has ended a pin");
        seen(others, version).await;
        let owner = others.view()?.owner(&document).to_string();
        let answer = json!({
            "name": document.as_str(),
            "outcome": "unpinned",
            "node": owner,
            "version": version.get(),
        });
        Ok(Json(answer).into_response())
    };
    or_refusal(answer.await)
}

/// Waits until this process has a view of this version, so that whoever asks it next is answered by that.
async fn seen(others: &Others, version: RingVersion) {
    let mut ring = others.ring.clone();
    let new_enough = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= version));
    // One that changed nothing makes no view.
    let _seen = timeout(SEEN_TIMEOUT, new_enough).await;
}
