//! `/api/v1/nodes…`: the members, what each of them says of itself, and what operators say of them.
//!
//! ```text
//! GET    /api/v1/nodes                      all, with the main figures of each
//! GET    /api/v1/nodes/{node}               one, with its whole status
//! DELETE /api/v1/nodes/{node}               forget what operators said of one that is gone
//! POST   /api/v1/nodes/{node}/cordon        take it off the ring; DELETE lets it back
//! PUT    /api/v1/nodes/{node}/weight        {"weight": 2}, or null for its own
//! POST   /api/v1/nodes/{node}/drain         {"seconds": 30}: see `drain`
//! ```

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringleaf_coordinator::Orders;
use ringleaf_ring::Weight;
use ringleaf_types::NodeId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, Others};
use super::ring::{Answer, body, members, not_written, or_refusal};
use super::{Admin, error, status};

pub(super) fn named(text: &str) -> Result<NodeId, Box<Response>> {
    text.parse().map_err(|problem: ringleaf_types::NodeIdError| {
        let advice = "look at the names with `ringleaf node list`";
        Box::new(error(StatusCode::BAD_REQUEST, "bad_name", &problem.to_string(), advice))
    })
}

pub(super) fn not_answered(node: &NodeId, problem: &str) -> Box<Response> {
    let text = format!("{node} does not answer: {problem}");
    Box::new(error(StatusCode::BAD_GATEWAY, "not_answered", &text, "look at it with `ringleaf node list`"))
}

pub(super) fn unknown(node: &NodeId) -> Box<Response> {
    let text = format!("no member is called {node}");
    Box::new(error(
        StatusCode::NOT_FOUND,
        "no_such_node",
        &text,
        "look at the names with `ringleaf node list`",
    ))
}

/// The status of every node, its own included. `Err`: why one did not answer.
async fn statuses(
    admin: &Admin,
    others: &Others,
) -> Result<Vec<(NodeId, Result<Value, String>)>, Box<Response>> {
    let view = others.view()?;
    let mut statuses: Vec<(NodeId, Result<Value, String>)> = Vec::new();
    if let Some(node) = &others.node {
        statuses.push((node.clone(), Ok(status::of(admin).await)));
    }
    let request = others::request("GET", "/api/v1/status", &Value::Null);
    let answers = others.ask_all(&view, &request).await;
    statuses.extend(answers.into_iter().map(|answered| (answered.node, answered.answer)));
    Ok(statuses)
}

/// What operators have said. Etcd may be away: then nothing is known of it.
async fn orders(others: &Others) -> (Orders, Option<String>) {
    let Some(etcd) = &others.etcd else { return (Orders::default(), None) };
    match etcd.orders().await {
        Ok(orders) => (orders, None),
        Err(problem) => (Orders::default(), Some(problem.to_string())),
    }
}

/// A member's line with what it says of itself.
fn line(mut member: Value, status: Option<&Result<Value, String>>, orders: &Orders) -> Value {
    let node = member["node"].as_str().unwrap_or_default().to_owned();
    let is_it = |named: &&NodeId| named.as_str() == node;
    member["cordoned"] = orders.cordoned.iter().any(|named| is_it(&named)).into();
    member["weight_set"] = orders.weights.keys().any(|named| is_it(&named)).into();
    match status {
        Some(Ok(status)) => {
            member["answers"] = true.into();
            for key in ["ready", "aside", "uptime_seconds", "pid"] {
                member[key] = status[key].clone();
            }
            member["counts"] = status["counts"].clone();
            member["load"] = status["load"].clone();
            member["resident_bytes"] = status["process"]["resident_bytes"].clone();
            member["ring_version"] = status["ring"]["version"].clone();
        }
        Some(Err(problem)) => {
            member["answers"] = false.into();
            member["problem"] = problem.as_str().into();
        }
        None => {}
    }
    member
}

pub(super) async fn list(State(admin): State<Admin>) -> Response {
    or_refusal(all(&admin).await)
}

async fn all(admin: &Admin) -> Answer {
    let others = admin.others()?;
    let view = others.view()?;
    let (statuses, (orders, etcd_problem)) =
        futures_util::future::join(statuses(admin, others), orders(others)).await;
    let statuses = statuses?;
    let members: Vec<Value> = members(&view)
        .into_iter()
        .map(|member| {
            let status = statuses.iter().find(|(node, _)| member["node"] == node.as_str());
            line(member, status.map(|(_, status)| status), &orders)
        })
        .collect();
    let gone: Vec<Value> = orders
        .cordoned
        .iter()
        .chain(orders.weights.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|node| view.member(node).is_none())
        .map(|node| {
            json!({
                "node": node.as_str(),
                "cordoned": orders.cordoned.contains(node),
                "weight": orders.weights.get(node).map(|weight| weight.get()),
            })
        })
        .collect();
    let answer = json!({
        "cluster": others.clustered().then(|| admin.facts.config.cluster.clone()),
        "version": view.version().get(),
        "coordinator": admin.health.coordinator(),
        "moves_paused": others.etcd.as_ref().is_some_and(|etcd| etcd.known_rebalance().paused),
        "members": members,
        "gone": gone,
        "etcd_problem": etcd_problem,
    });
    Ok(Json(answer).into_response())
}

pub(super) async fn show(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    or_refusal(one(&admin, &name).await)
}

async fn one(admin: &Admin, name: &str) -> Answer {
    let (others, node) = (admin.others()?, named(name)?);
    let view = others.view()?;
    let member = view.member(&node).ok_or_else(|| unknown(&node))?;
    let status = match others.is_here(&node) {
        true => Ok(status::of(admin).await),
        false => others.ask_one(member, others::request("GET", "/api/v1/status", &Value::Null)).await,
    };
    let found = members(&view).into_iter().find(|member| member["node"] == node.as_str());
    let (orders, _) = orders(others).await;
    let mut answer = line(found.unwrap_or_default(), Some(&status), &orders);
    answer["status"] = status.unwrap_or_default();
    Ok(Json(answer).into_response())
}

/// Carries out what an operator says of a node, and answers with the outcome.
async fn order<F>(admin: &Admin, name: &str, outcome: &str, write: impl FnOnce(NodeId) -> F) -> Answer
where
    F: Future<Output = Result<(), ringleaf_coordinator::WriteError>>,
{
    admin.others()?.etcd()?;
    let node = named(name)?;
    write(node.clone()).await.map_err(|problem| not_written(&problem))?;
    tracing::info!(%node, outcome, "an operator has changed the ring");
    Ok(Json(json!({ "node": node.as_str(), "outcome": outcome })).into_response())
}

async fn set_cordon(admin: &Admin, name: &str, cordoned: bool) -> Answer {
    let etcd = admin.others()?.etcd()?;
    let outcome = if cordoned { "cordoned" } else { "uncordoned" };
    order(admin, name, outcome, async |node| etcd.cordon(&node, cordoned).await).await
}

pub(super) async fn cordon(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    or_refusal(set_cordon(&admin, &name, true).await)
}

pub(super) async fn uncordon(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    or_refusal(set_cordon(&admin, &name, false).await)
}

pub(super) async fn forget(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let answer = async {
        let etcd = admin.others()?.etcd()?;
        order(&admin, &name, "forgotten", async |node| etcd.forget(&node).await).await
    };
    or_refusal(answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighed {
    weight: Option<u32>,
}

pub(super) async fn weigh(State(admin): State<Admin>, Path(name): Path<String>, bytes: Bytes) -> Response {
    let answer = async {
        let etcd = admin.others()?.etcd()?;
        let Weighed { weight } = body(&bytes)?;
        let weight = weight.map(Weight::new).transpose().map_err(|problem| {
            Box::new(error(StatusCode::BAD_REQUEST, "bad_weight", &problem.to_string(), ""))
        })?;
        order(&admin, &name, "weighed", async |node| etcd.put_weight(&node, weight).await).await
    };
    or_refusal(answer.await)
}
