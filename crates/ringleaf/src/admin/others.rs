//! The other processes of the cluster: asking them what the admin port of this one cannot know.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use ringleaf_coordinator::{Etcd, Ring};
use ringleaf_peer::{AdminAnswer, AdminError, AdminRequest, Links};
use ringleaf_ring::{Member, RingView};
use ringleaf_types::NodeId;
use serde_json::Value;

use super::error;
use crate::history::History;

/// Marks a request that another process passes on. Whoever gets it answers for itself and asks nobody.
pub(crate) const HOP: &str = "x-ringleaf-hop";
/// Limit: a node that takes longer to say what it has is left out of the answer, and named in it.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit: nodes that are asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// What a serving process knows of the others.
#[derive(Clone)]
pub(crate) struct Others {
    /// The name of this process, if it hosts documents.
    pub(crate) node: Option<NodeId>,
    pub(crate) ring: Ring,
    /// The way to them. None: there are no others.
    pub(crate) links: Option<Arc<Links>>,
    /// Where operators write. None: there is no cluster.
    pub(crate) etcd: Option<Arc<Etcd>>,
    pub(crate) history: History,
}

/// What one node answered.
pub(super) struct Answered {
    pub(super) node: NodeId,
    pub(super) answer: Result<Value, String>,
}

impl Others {
    /// The ring as it is now.
    pub(super) fn view(&self) -> Result<Arc<RingView>, Box<Response>> {
        let view = self.ring.borrow().clone();
        view.ok_or_else(|| {
            Box::new(error(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_ring",
                "no node has ever served in this cluster, as far as is known here",
                "start one with `ringleaf node`, or look at the way to etcd with `ringleaf status`",
            ))
        })
    }

    /// Where operators write.
    pub(super) fn etcd(&self) -> Result<&Etcd, Box<Response>> {
        self.etcd.as_deref().ok_or_else(|| Box::new(no_cluster()))
    }

    pub(super) fn clustered(&self) -> bool {
        self.links.is_some()
    }

    pub(super) fn is_here(&self, node: &NodeId) -> bool {
        self.node.as_ref() == Some(node)
    }

    /// Asks one member, and waits for as long as it takes.
    pub(super) async fn ask(
        &self,
        member: &Member,
        request: AdminRequest,
    ) -> Result<AdminAnswer, AdminError> {
        let links = self.links.as_ref().ok_or(AdminError::Unreachable)?;
        links.admin(&member.node, &member.address, request).await
    }

    /// Asks one member, but not for long. `Err`: why there is no answer.
    pub(super) async fn ask_one(&self, member: &Member, request: AdminRequest) -> Result<Value, String> {
        match tokio::time::timeout(ASK_TIMEOUT, self.ask(member, request)).await {
            Ok(answer) => value(answer),
            Err(_) => Err(format!("no answer within {} s", ASK_TIMEOUT.as_secs())),
        }
    }

    /// Whether some other node reaches the store. The first that does is enough: one that is dead keeps nobody waiting.
    pub(crate) async fn reach_the_store(&self) -> bool {
        let Some(view) = self.ring.borrow().clone() else { return false };
        let request = request("GET", "/api/v1/status", &Value::Null);
        let reached = self.asked(&view, &request).any(|answered| async move {
            let checks = answered.answer.as_ref().ok().and_then(|status| status["checks"].as_array());
            checks.is_some_and(|checks| {
                checks.iter().any(|check| check["name"] == "store" && check["ok"] == true)
            })
        });
        reached.await
    }

    /// Asks all other members at once. In the order of their names.
    pub(super) async fn ask_all(&self, view: &RingView, request: &AdminRequest) -> Vec<Answered> {
        let mut answers: Vec<Answered> = self.asked(view, request).collect().await;
        answers.sort_by(|a, b| a.node.cmp(&b.node));
        answers
    }

    /// All other members are asked; their answers come in the order in which they give them.
    fn asked(&self, view: &RingView, request: &AdminRequest) -> impl Stream<Item = Answered> + '_ {
        let others = view.members().iter().filter(|member| !self.is_here(&member.node)).cloned();
        let request = request.clone();
        stream::iter(others.collect::<Vec<Member>>())
            .map(move |member| {
                let request = request.clone();
                async move {
                    let answer = self.ask_one(&member, request).await;
                    Answered { node: member.node, answer }
                }
            })
            .buffer_unordered(ASKED_AT_ONCE)
    }
}

fn value(answer: Result<AdminAnswer, AdminError>) -> Result<Value, String> {
    let answer = answer.map_err(|error| match error {
        AdminError::Unreachable => "it cannot be reached".to_owned(),
        AdminError::NoAnswer { text } => format!("no answer ({text})"),
        AdminError::TooLarge => error.to_string(),
    })?;
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    match (answer.status, &value) {
        (200..300, _) => Ok(value),
        (status, _) => match value["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Err(format!("it answers with status {status}")),
        },
    }
}

pub(super) fn request(method: &str, path_and_query: &str, body: &Value) -> AdminRequest {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    AdminRequest { method: method.into(), path_and_query: path_and_query.into(), body }
}

/// Another process passes it on.
pub(super) fn passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(HOP)
}

pub(super) fn no_cluster() -> Response {
    error(
        StatusCode::CONFLICT,
        "no_cluster",
        "this server is not part of a cluster: it is a ring of one",
        "start nodes with `ringleaf node --etcd …`; `ringleaf ring simulate` needs none",
    )
}

pub(super) fn not_served() -> Response {
    error(
        StatusCode::CONFLICT,
        "not_served",
        "nobody serves this folder, so there is no ring",
        "name a server with --admin",
    )
}
