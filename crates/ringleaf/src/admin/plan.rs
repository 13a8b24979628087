//! `POST /api/v1/ring/plan`: what a change would move, before anything moves.
//!
//! Each node counts its own documents in memory, against the ring that it knows. So the answer costs as much for a
//! thousand nodes as for one, and no names are sent around.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ringleaf_coordinator::{Coordinator as _, Pacing};
use ringleaf_node::InMemory;
use ringleaf_ring::{Change, PlanError, RingView, VirtualNodes, Weight, ideal_movement, moves};
use ringleaf_types::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::others::{self, Others, passed_on};
use super::ring::{Answer, body, or_refusal};
use super::{Admin, error};

/// A document on its way from offer to claim, when the machines have other things to do, too.
const HANDOFF_ESTIMATE: Duration = Duration::from_millis(100);
/// Its bytes, which the new owner loads out of the store.
const LOADED_PER_SECOND_ESTIMATE: f64 = 50e6;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    changes: Vec<Step>,
}

/// One change, as it is written in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Add { node: String, weight: u32 },
    Remove { node: String },
    Weigh { node: String, weight: u32 },
    VirtualNodes(u32),
}

impl Step {
    fn read(&self) -> Result<Change, String> {
        let node = |name: &String| name.parse::<NodeId>().map_err(|problem| problem.to_string());
        let weighed = |weight: &u32| Weight::new(*weight).map_err(|problem| problem.to_string());
        Ok(match self {
            Self::Add { node: name, weight } => Change::Add { node: node(name)?, weight: weighed(weight)? },
            Self::Remove { node: name } => Change::Remove { node: node(name)? },
            Self::Weigh { node: name, weight } => {
                Change::Weigh { node: node(name)?, weight: weighed(weight)? }
            }
            Self::VirtualNodes(number) => {
                Change::VirtualNodes(VirtualNodes::new(*number).map_err(|problem| problem.to_string())?)
            }
        })
    }
}

/// What a node has in memory, and how much of it would go elsewhere.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Live {
    documents: usize,
    bytes: usize,
    moving_documents: usize,
    moving_sessions: usize,
    moving_bytes: usize,
    /// Documents by where they would go.
    to: BTreeMap<String, usize>,
}

impl Live {
    fn count(node: &NodeId, planned: &RingView, documents: &[InMemory]) -> Self {
        let mut live = Self::default();
        for document in documents {
            live.documents += 1;
            live.bytes += document.bytes;
            let owner = planned.owner(&document.document);
            if owner != node {
                live.moving_documents += 1;
                live.moving_sessions += document.sessions;
                live.moving_bytes += document.bytes;
                *live.to.entry(owner.to_string()).or_default() += 1;
            }
        }
        live
    }
}

pub(super) async fn post(State(admin): State<Admin>, headers: HeaderMap, bytes: Bytes) -> Response {
    or_refusal(plan(&admin, passed_on(&headers), &bytes).await)
}

async fn plan(admin: &Admin, passed_on: bool, bytes: &Bytes) -> Answer {
    let others = admin.others()?;
    let pacing = others.etcd()?.pacing();
    let wanted: Wanted = body(bytes)?;
    let view = others.view()?;
    let refuse =
        |status, code: &str, text: String, advice: &str| Box::new(error(status, code, &text, advice));
    let changes: Vec<Change> = wanted
        .changes
        .iter()
        .map(Step::read)
        .collect::<Result<_, _>>()
        .map_err(|text| refuse(StatusCode::BAD_REQUEST, "bad_change", text, ""))?;
    let planned = view.planned(&changes).map_err(|problem| {
        let (status, code, advice) = match problem {
            PlanError::Unknown { .. } => {
                (StatusCode::NOT_FOUND, "no_such_node", "look at the names with `ringleaf node list`")
            }
            PlanError::Known { .. } => {
                (StatusCode::CONFLICT, "node_exists", "give it another name, or plan its --weight")
            }
            PlanError::Ring(_) => (StatusCode::CONFLICT, "empty_ring", "somebody must own the documents"),
        };
        refuse(status, code, crate::exit::chain(&problem), advice)
    })?;
    let here = here(admin, others, &view, &planned);
    if passed_on {
        return Ok(Json(here.unwrap_or_default()).into_response());
    }
    let (mut nodes, mut unanswered): (Vec<Value>, Vec<Value>) = (here.into_iter().collect(), Vec::new());
    let request = others::request("POST", "/api/v1/ring/plan", &json!(wanted));
    for answered in others.ask_all(&view, &request).await {
        match answered.answer {
            Ok(node) => nodes.push(node),
            Err(problem) => unanswered.push(json!({ "node": answered.node.as_str(), "problem": problem })),
        }
    }
    let mut answer = prediction(&view, &planned, nodes, &unanswered);
    answer["live"]["estimated_seconds"] = json!(estimate(&answer["live"], pacing).as_secs_f64());
    Ok(Json(answer).into_response())
}

/// What this process has in memory. None: it hosts nothing.
fn here(admin: &Admin, others: &Others, view: &RingView, planned: &RingView) -> Option<Value> {
    let (host, node) = (admin.health.host()?, others.node.as_ref()?);
    let live = Live::count(node, planned, &host.all_in_memory());
    let mut value = json!(live);
    value["node"] = node.as_str().into();
    value["version"] = view.version().get().into();
    Some(value)
}

fn prediction(view: &RingView, planned: &RingView, mut nodes: Vec<Value>, unanswered: &[Value]) -> Value {
    nodes.sort_by(|a, b| a["node"].as_str().cmp(&b["node"].as_str()));
    let sum = |key: &str| nodes.iter().filter_map(|node| node[key].as_u64()).sum::<u64>();
    let moved = moves(view, planned);
    let between: Vec<Value> = moved
        .between()
        .into_iter()
        .map(|((from, to), share)| json!({ "from": from.as_str(), "to": to.as_str(), "share": share }))
        .collect();
    let after: BTreeMap<&NodeId, f64> =
        planned.shares().map(|(member, share)| (&member.node, share)).collect();
    let before: BTreeMap<&NodeId, f64> = view.shares().map(|(member, share)| (&member.node, share)).collect();
    let mut names: Vec<&&NodeId> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let shares: Vec<Value> = names
        .into_iter()
        .map(|node| json!({ "node": node.as_str(), "before": before.get(*node), "after": after.get(*node) }))
        .collect();
    json!({
        "version": view.version().get(),
        "share": moved.share(),
        "ideal_share": ideal_movement(view, planned),
        "between": between,
        "shares": shares,
        "live": {
            "documents": sum("documents"),
            "bytes": sum("bytes"),
            "moving_documents": sum("moving_documents"),
            "moving_sessions": sum("moving_sessions"),
            "moving_bytes": sum("moving_bytes"),
            "nodes": nodes,
            "unanswered": unanswered,
        },
    })
}

/// About how long the documents in memory will be on their way: as long as the busiest node needs, which hands over and takes
/// so many at a time, and so many a second, as the pacing allows. Zero: nothing moves.
fn estimate(live: &Value, pacing: Pacing) -> Duration {
    let nodes = live["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut coming: BTreeMap<&str, u64> = BTreeMap::new();
    for (to, number) in nodes.iter().filter_map(|node| node["to"].as_object()).flatten() {
        *coming.entry(to).or_default() += number.as_u64().unwrap_or(0);
    }
    let rounds = |documents: u64, at_a_time: usize| documents.div_ceil(at_a_time.max(1) as u64);
    let out = nodes.iter().filter_map(|node| node["moving_documents"].as_u64());
    let most_out = out.clone().max().unwrap_or(0);
    let out = out.map(|documents| rounds(documents, pacing.out_max));
    let into = coming.values().map(|&documents| rounds(documents, pacing.in_max));
    let Some(rounds @ 1..) = out.chain(into).max() else { return Duration::ZERO };
    let bytes = live["moving_bytes"].as_u64().unwrap_or(0);
    let handoffs = HANDOFF_ESTIMATE.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
    // Whatever there is room for, they leave one by one.
    let evenly = Duration::from_secs_f64(most_out as f64 / f64::from(pacing.out_per_second_max.max(1)));
    pacing.debounce
        + handoffs.max(evenly)
        + Duration::from_secs_f64(bytes as f64 / LOADED_PER_SECOND_ESTIMATE)
}

#[cfg(test)]
mod tests {
    use ringleaf_node::PerSecond;
    use ringleaf_ring::{ClusterId, Member, MemberState};
    use ringleaf_types::{DocumentId, Epoch, Incarnation, RingVersion};

    use super::*;

    fn ring(names: &[&str]) -> RingView {
        let member = |name: &&str| Member {
            node: name.parse().unwrap(),
            incarnation: Incarnation::new(1),
            state: MemberState::Serving,
            weight: Weight::ONE,
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        };
        RingView::new(ClusterId::new(1), RingVersion::new(7), names.iter().map(member).collect()).unwrap()
    }

    fn documents(owner: &str, view: &RingView) -> Vec<InMemory> {
        let all = (0..100).map(|index| format!("document-{index}").parse().unwrap());
        let owned = all.filter(|document: &DocumentId| view.owner(document).as_str() == owner);
        owned
            .map(|document| InMemory {
                document,
                sessions: 2,
                bytes: 10,
                epoch: Epoch::new(1),
                per_second: PerSecond::default(),
                left_behind: 0,
            })
            .collect()
    }

    #[test]
    fn a_node_counts_what_would_leave_it_and_where_it_would_go() {
        let before = ring(&["a", "b", "c"]);
        let node: NodeId = "a".parse().unwrap();
        let resident = documents("a", &before);
        assert_eq!(Live::count(&node, &before, &resident).moving_documents, 0);
        let without = before.planned(&[Change::Remove { node: node.clone() }]).unwrap();
        let live = Live::count(&node, &without, &resident);
        assert_eq!((live.documents, live.bytes), (resident.len(), resident.len() * 10));
        assert_eq!((live.moving_documents, live.moving_sessions), (resident.len(), resident.len() * 2));
        assert_eq!(live.to.values().sum::<usize>(), resident.len());
        assert_eq!(live.to.keys().map(String::as_str).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn what_all_nodes_count_is_added_up() {
        let before = ring(&["a", "b"]);
        let after = before.planned(&[Change::Remove { node: "a".parse().unwrap() }]).unwrap();
        let node = |name: &str, moving: usize| json!({ "node": name, "documents": 3, "bytes": 30, "moving_documents": moving, "moving_sessions": 1, "moving_bytes": 10 });
        let plan = prediction(&before, &after, vec![node("b", 0), node("a", 3)], &[]);
        assert_eq!((&plan["live"]["documents"], &plan["live"]["moving_documents"]), (&json!(6), &json!(3)));
        assert_eq!(plan["live"]["nodes"][0]["node"], "a");
        assert_eq!(plan["shares"][0]["after"], Value::Null, "a is gone");
        assert_eq!(plan["shares"][1]["after"], 1.0);
        assert!(
            (plan["share"].as_f64().unwrap() - plan["shares"][0]["before"].as_f64().unwrap()).abs() < 1e-9
        );
    }

    #[test]
    fn a_plan_takes_as_long_as_its_busiest_node() {
        let pacing = Pacing { out_max: 8, in_max: 16, ..Pacing::default() };
        let node = |name: &str, moving: u64| json!({ "node": name, "moving_documents": moving, "to": { "new": moving } });
        let seconds = |nodes: &[Value]| {
            let live = json!({ "nodes": nodes, "moving_bytes": 0 });
            estimate(&live, pacing).saturating_sub(pacing.debounce).as_secs_f64()
        };
        assert_eq!(seconds(&[node("a", 0)]), 0.0);
        assert_eq!(seconds(&[node("a", 800)]), 10.0, "100 rounds of the one that gives");
        let slow = Pacing { out_per_second_max: 10, ..pacing };
        let live = json!({ "nodes": [node("a", 800)], "moving_bytes": 0 });
        assert_eq!(estimate(&live, slow), slow.debounce + Duration::from_secs(80), "one by one");
        let givers: Vec<Value> = (0..8).map(|index| node(&format!("n{index}"), 800)).collect();
        assert_eq!(seconds(&givers), 40.0, "400 rounds of the one that takes");
    }

    #[test]
    fn steps_are_checked() {
        let read = |text: &str| serde_json::from_str::<Step>(text).unwrap().read();
        let two = Weight::new(2).unwrap();
        assert_eq!(
            read(r#"{"add": {"node": "n4", "weight": 2}}"#),
            Ok(Change::Add { node: "n4".parse().unwrap(), weight: two })
        );
        assert_eq!(read(r#"{"remove": {"node": "n4"}}"#), Ok(Change::Remove { node: "n4".parse().unwrap() }));
        assert!(read(r#"{"weigh": {"node": "n4", "weight": 65}}"#).unwrap_err().contains("1 to 64"));
        assert!(read(r#"{"remove": {"node": "n/4"}}"#).is_err());
        assert!(read(r#"{"virtual_nodes": 0}"#).is_err());
    }
}
