//! `GET /api/v1/busiest?limit=20`: the documents in memory that have the most editors, here or in the whole cluster.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, passed_on};
use super::{Admin, Serving};

const DEFAULT: usize = 20;
/// Limit: whoever wants to know more lists documents.
const MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<usize>,
}

pub(super) async fn get(
    State(admin): State<Admin>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Json<Value> {
    let limit = wanted.limit.unwrap_or(DEFAULT).min(MAX);
    let mut documents = here(&admin);
    let mut unanswered = Vec::new();
    let others = admin.serving.as_ref().map(Serving::others).filter(|_| !passed_on(&headers));
    // A cluster without a ring has nobody to ask.
    if let Some((others, view)) = others.and_then(|others| Some((others, others.view().ok()?))) {
        // Each has at most so many of the busiest of all.
        let request = others::request("GET", &format!("/api/v1/busiest?limit={limit}"), &Value::Null);
        for answered in others.ask_all(&view, &request).await {
            match answered.answer {
                Ok(answer) => documents.extend(answer["documents"].as_array().into_iter().flatten().cloned()),
                Err(problem) => {
                    unanswered.push(json!({ "node": answered.node.as_str(), "problem": problem }))
                }
            }
        }
    }
    Json(json!({ "documents": busiest(documents, limit), "unanswered": unanswered }))
}

fn here(admin: &Admin) -> Vec<Value> {
    let node = admin.facts.config.node_id.as_str();
    let documents = admin.health.host().into_iter().flat_map(|host| host.all_in_memory());
    documents
        .map(|document| {
            json!({
                "name": document.document.as_str(),
                "node": node,
                "sessions": document.sessions,
                "bytes": document.bytes,
            })
        })
        .collect()
}

/// Those with the most editors first, of equal ones the larger.
fn busiest(mut documents: Vec<Value>, limit: usize) -> Vec<Value> {
    let rank = |document: &Value| (document["sessions"].as_u64(), document["bytes"].as_u64());
    documents.sort_by_key(|document| std::cmp::Reverse(rank(document)));
    documents.truncate(limit);
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_with_the_most_editors_come_first_and_of_equal_ones_the_larger() {
        let document = |name: &str, sessions: u32, bytes: u32| json!({ "name": name, "sessions": sessions, "bytes": bytes });
        let documents =
            vec![document("a", 1, 9), document("b", 3, 1), document("c", 1, 10), document("d", 0, 99)];
        let names: Vec<_> = busiest(documents, 3)
            .iter()
            .map(|document| document["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["b", "c", "a"]);
    }
}
