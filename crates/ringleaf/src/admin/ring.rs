//! `/api/v1/ring…`: who should own what, what a change would move, and the ring configuration.
//!
//! ```text
//! GET  /api/v1/ring[?vnodes]      the view, its members and their shares
//! POST /api/v1/ring/owners        {"documents": [name, …]}
//! POST /api/v1/ring/plan          {"changes": [{"add": {"node", "weight"}}, {"remove": {"node"}}, …]}
//! GET  /api/v1/ring/config        PUT {"text", "expected"}
//! POST /api/v1/resident           {"documents": [name, …]}: where these are in memory
//! ```

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ringleaf_coordinator::WriteError;
use ringleaf_ring::{MemberState, RingView, Token};
use ringleaf_types::{DocumentId, NodeId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, Others, passed_on};
use super::{Admin, busiest, error};

/// Limit: names in one question.
const NAMES_MAX: usize = 10_000;

/// A refusal is an answer, too. Boxed because it is large and rare.
pub(super) type Answer = Result<Response, Box<Response>>;

pub(super) fn or_refusal(answer: Answer) -> Response {
    answer.unwrap_or_else(|refusal| *refusal)
}

impl Admin {
    pub(super) fn others(&self) -> Result<&Others, Box<Response>> {
        let serving = self.serving.as_ref().ok_or_else(|| Box::new(others::not_served()))?;
        Ok(&serving.others)
    }
}

/// Reads a body by hand: what another process passes on has no content type.
pub(super) fn body<T: for<'a> Deserialize<'a>>(bytes: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(bytes)
        .map_err(|problem| Box::new(error(StatusCode::BAD_REQUEST, "bad_request", &problem.to_string(), "")))
}

pub(super) fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Serving => "serving",
        MemberState::Draining => "draining",
    }
}

/// The members with what each should own.
pub(super) fn members(view: &RingView) -> Vec<Value> {
    let serving = |member: &&ringleaf_ring::Member| member.state == MemberState::Serving;
    let weights: u32 = view.members().iter().filter(serving).map(|member| member.weight.get()).sum();
    let members = view.shares().map(|(member, share)| {
        let on_the_ring = member.state == MemberState::Serving;
        let ideal = f64::from(member.weight.get()) / f64::from(weights);
        json!({
            "node": member.node.as_str(),
            "state": state(member.state),
            "weight": member.weight.get(),
            "zone": member.zone,
            "address": member.address,
            "version": member.version,
            "incarnation": format!("{:016x}", member.incarnation.get()),
            "share": share,
            "of_ideal": on_the_ring.then_some(share / ideal),
        })
    });
    members.collect()
}

pub(super) async fn get(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    or_refusal(show(&admin, query.is_some_and(|query| query.starts_with("vnodes"))))
}

fn show(admin: &Admin, with_tokens: bool) -> Answer {
    let others = admin.others()?;
    let view = others.view()?;
    let config = &admin.facts.config;
    let applied = others.etcd.as_ref().and_then(|etcd| etcd.config().borrow().clone());
    let tokens = || -> Vec<Value> {
        view.tokens()
            .map(|(token, node)| json!({ "token": token.to_string(), "node": node.as_str() }))
            .collect()
    };
    let answer = json!({
        "cluster": others.clustered().then(|| config.cluster.clone()),
        "version": view.version().get(),
        "virtual_nodes_per_weight": view.virtual_nodes().get(),
        "points": view.tokens().len(),
        "node": others.node.as_ref().map(NodeId::as_str),
        "coordinator": admin.health.coordinator(),
        "members": members(&view),
        "config_revision": applied.map(|applied| applied.revision),
        "tokens": with_tokens.then(tokens),
    });
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    documents: Vec<String>,
}

fn names(bytes: &Bytes) -> Result<Vec<DocumentId>, Box<Response>> {
    let refuse = |code: &str, text: &str| Box::new(error(StatusCode::BAD_REQUEST, code, text, ""));
    let Names { documents } = body(bytes)?;
    if documents.len() > NAMES_MAX {
        return Err(refuse("too_many", &format!("at most {NAMES_MAX} documents at a time")));
    }
    let parsed = documents.iter().map(|name| {
        name.parse().map_err(|problem: ringleaf_types::DocumentIdError| {
            refuse("bad_name", &format!("{name:?}: {problem}"))
        })
    });
    parsed.collect()
}

pub(super) async fn owners(State(admin): State<Admin>, bytes: Bytes) -> Response {
    or_refusal(find_owners(&admin, &bytes).await)
}

async fn find_owners(admin: &Admin, bytes: &Bytes) -> Answer {
    let (others, documents) = (admin.others()?, names(bytes)?);
    let view = others.view()?;
    let mut resident = everywhere(admin, others, &documents).await;
    let lines: Vec<Value> = documents
        .iter()
        .map(|document| {
            let candidates: Vec<&str> = view.candidates(document).map(NodeId::as_str).collect();
            json!({
                "name": document.as_str(),
                "token": Token::of_document(document).to_string(),
                "owner": candidates[0],
                "pinned_to": view.pins().get(document).map(NodeId::as_str),
                "candidates": candidates,
                "in_memory": resident.found.remove(document.as_str()).unwrap_or_default(),
            })
        })
        .collect();
    let answer = json!({
        "version": view.version().get(),
        "documents": lines,
        "unanswered": resident.unanswered,
    });
    Ok(Json(answer).into_response())
}

/// Where documents are in memory.
#[derive(Default)]
pub(super) struct Whereabouts {
    /// By name. Two nodes for one name: one of them is letting go, or has not heard that it was fenced.
    pub(super) found: BTreeMap<String, Vec<Value>>,
    pub(super) unanswered: Vec<Value>,
}

impl Whereabouts {
    fn take(&mut self, answer: &Value) {
        for line in answer["documents"].as_array().into_iter().flatten() {
            let name = line["name"].as_str().unwrap_or_default();
            self.found.entry(name.to_owned()).or_default().push(line.clone());
        }
    }
}

/// Asks this node and all others.
pub(super) async fn everywhere(admin: &Admin, others: &Others, documents: &[DocumentId]) -> Whereabouts {
    let mut whereabouts = Whereabouts::default();
    whereabouts.take(&here(admin, documents));
    let Some(view) = others.ring.borrow().clone().filter(|_| others.clustered() && !documents.is_empty())
    else {
        return whereabouts;
    };
    let names: Vec<&str> = documents.iter().map(DocumentId::as_str).collect();
    let request = others::request("POST", "/api/v1/resident", &json!({ "documents": names }));
    for answered in others.ask_all(&view, &request).await {
        match answered.answer {
            Ok(answer) => whereabouts.take(&answer),
            Err(problem) => {
                whereabouts.unanswered.push(json!({ "node": answered.node.as_str(), "problem": problem }));
            }
        }
    }
    whereabouts
}

fn here(admin: &Admin, documents: &[DocumentId]) -> Value {
    let Some(node) = admin.health.host() else { return json!({ "documents": [] }) };
    let name = admin.facts.config.node_id.as_str();
    let found = documents.iter().filter_map(|document| node.in_memory(document));
    let lines: Vec<Value> = found
        .map(|found| {
            let mut line = busiest::line(&found, name);
            line["epoch"] = found.epoch.get().into();
            line
        })
        .collect();
    json!({ "documents": lines })
}

pub(super) async fn resident(State(admin): State<Admin>, headers: HeaderMap, bytes: Bytes) -> Response {
    let answer = async {
        let documents = names(&bytes)?;
        if passed_on(&headers) {
            return Ok(Json(here(&admin, &documents)).into_response());
        }
        let whereabouts = everywhere(&admin, admin.others()?, &documents).await;
        let found: Vec<Value> = whereabouts.found.into_values().flatten().collect();
        let answer = json!({ "documents": found, "unanswered": whereabouts.unanswered });
        Ok(Json(answer).into_response())
    };
    or_refusal(answer.await)
}

/// Read in etcd itself: what this process knows may be a moment old, and whoever applies the next one must not be.
pub(super) async fn config(State(admin): State<Admin>) -> Response {
    let answer = async {
        let etcd = admin.others()?.etcd()?;
        let found = etcd.read_config().await.map_err(|problem| not_written(&problem))?;
        let (text, revision) = found.unzip();
        let cluster = &admin.facts.config.cluster;
        let answer = json!({ "cluster": cluster, "revision": revision.unwrap_or(0), "text": text });
        Ok(Json(answer).into_response())
    };
    or_refusal(answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    text: String,
    /// The revision of the one that it takes the place of. 0: there is none.
    expected: u64,
}

pub(super) async fn apply(State(admin): State<Admin>, bytes: Bytes) -> Response {
    let answer = async {
        let etcd = admin.others()?.etcd()?;
        let Apply { text, expected } = body(&bytes)?;
        let revision = etcd.apply(&text, expected).await.map_err(|problem| not_written(&problem))?;
        Ok(Json(json!({ "outcome": "applied", "revision": revision })).into_response())
    };
    or_refusal(answer.await)
}

/// Why etcd was not written, with what to do.
pub(super) fn not_written(problem: &WriteError) -> Box<Response> {
    let (status, code, advice) = match problem {
        WriteError::Away { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "etcd_away", "nothing was changed; try again when etcd is back")
        }
        WriteError::Unknown { .. } => {
            (StatusCode::NOT_FOUND, "no_such_node", "look at the names with `ringleaf node list`")
        }
        WriteError::Lives { .. } => (StatusCode::CONFLICT, "node_lives", ""),
        WriteError::Changed { .. } => {
            (StatusCode::PRECONDITION_FAILED, "changed_meanwhile", "nothing was changed; apply it again")
        }
        WriteError::OtherCluster { .. } => {
            (StatusCode::CONFLICT, "other_cluster", "change the key `cluster` in the file")
        }
        WriteError::NotPinned => {
            (StatusCode::NOT_FOUND, "not_pinned", "see which are with `ringleaf doc pins`")
        }
        WriteError::KnowsNoPins { .. } => {
            (StatusCode::CONFLICT, "knows_no_pins", "bring all nodes to one version first")
        }
        WriteError::TooManyPins => {
            (StatusCode::CONFLICT, "too_many_pins", "end some with `ringleaf doc unpin`, or change weights")
        }
        WriteError::Config(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "bad_config", "see ring-config/default.toml")
        }
    };
    Box::new(error(status, code, &crate::exit::chain(problem), advice))
}
