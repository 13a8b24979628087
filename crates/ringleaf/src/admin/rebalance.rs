//! `/api/v1/ring/rebalance`: how far documents are with moving to whom the ring names, and whether they may.
//!
//! ```text
//! GET  what operators say, and a line for each node
//! PUT  {"paused": true, "expected": 7}   7: the revision of what it takes the place of; 0: nothing
//! ```

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use ringleaf_coordinator::{Coordinator, Pacing};
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, Others, passed_on};
use super::ring::{Answer, body, not_written, or_refusal};
use super::{Admin, Stage};

pub(super) async fn get(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    or_refusal(show(&admin, passed_on(&headers)).await)
}

async fn show(admin: &Admin, passed_on: bool) -> Answer {
    let others = admin.others()?;
    let etcd = others.etcd()?;
    let here = here(admin, others);
    if passed_on {
        return Ok(Json(here).into_response());
    }
    let view = others.view()?;
    let request = others::request("GET", "/api/v1/ring/rebalance", &Value::Null);
    let (answers, read) = futures_util::future::join(others.ask_all(&view, &request), etcd.rebalance()).await;
    // What this process has heard is better than nothing, and is said to be that.
    let (said, problem) = match read {
        Ok(said) => (said, None),
        Err(problem) => (etcd.known_rebalance(), Some(problem.to_string())),
    };
    let mut nodes: Vec<Value> = Some(here).filter(|here| !here.is_null()).into_iter().collect();
    let mut unanswered = Vec::new();
    for answered in answers {
        match answered.answer {
            Ok(node) => nodes.push(node),
            Err(problem) => unanswered.push(json!({ "node": answered.node.as_str(), "problem": problem })),
        }
    }
    nodes.sort_by(|a, b| a["node"].as_str().cmp(&b["node"].as_str()));
    let Pacing { out_max, out_per_second_max, in_max, debounce, .. } = etcd.pacing();
    let answer = json!({
        "cluster": admin.facts.config.cluster,
        "paused": said.paused,
        "since": said.since,
        "revision": said.revision,
        "out_max": out_max,
        "out_per_second_max": out_per_second_max,
        "in_max": in_max,
        "debounce_milliseconds": debounce.as_millis(),
        "nodes": nodes,
        "unanswered": unanswered,
        "etcd_problem": problem,
    });
    Ok(Json(answer).into_response())
}

/// Null: this process hosts no documents.
fn here(admin: &Admin, others: &Others) -> Value {
    let (Some(node), Some(etcd)) = (admin.health.host(), &others.etcd) else { return Value::Null };
    let (status, pacing) = (node.rebalance(), etcd.pacing());
    json!({
        "node": admin.facts.config.node_id.as_str(),
        "paused": pacing.paused,
        "out_max": pacing.out_max,
        "in_max": pacing.in_max,
        "draining": admin.health.stage() == Stage::Stopping,
        "to_move": status.to_move,
        "going": status.going,
        "coming": status.coming,
        "moved": status.moves.moved,
        "forgotten": status.moves.forgotten,
        "let_go": status.moves.let_go,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    paused: bool,
    expected: u64,
}

pub(super) async fn put(State(admin): State<Admin>, bytes: Bytes) -> Response {
    let answer = async {
        let etcd = admin.others()?.etcd()?;
        let Wanted { paused, expected } = body(&bytes)?;
        let written = etcd.pause_rebalance(paused, expected).await;
        let revision = written.map_err(|problem| not_written(&problem))?;
        tracing::info!(paused, "an operator says whether documents move to other nodes");
        let outcome = if paused { "paused" } else { "resumed" };
        Ok(Json(json!({ "outcome": outcome, "revision": revision })).into_response())
    };
    or_refusal(answer.await)
}
