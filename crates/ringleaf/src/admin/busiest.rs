//! `GET /api/v1/busiest?sort=updates&limit=20&prefix=`: the documents in memory that come first, here or in the whole
//! cluster. Each node chooses among its own, so that only those travel that may be shown.

use std::cmp::Ordering;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use clap::ValueEnum;
use ringleaf_node::{InMemory, PerSecond};
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, passed_on};
use super::{Admin, Serving};

const DEFAULT: usize = 20;
/// Limit: whoever wants to know more lists documents.
const MAX: usize = 1_000;
/// The rates in a document's line.
pub(super) const RATES: [&str; 3] = ["updates_per_second", "bytes_per_second", "deliveries_per_second"];

/// What documents are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// Updates a second that bring something new
    Updates,
    /// Bytes a second of such updates
    Bytes,
    /// Editors
    // What versions answered that knew no other.
    #[default]
    Sessions,
    /// Bytes that they take
    Size,
    /// Their names
    Name,
    /// Editors that have sent something that is not in the document; only documents that have such editors
    #[serde(rename = "left-behind")]
    LeftBehind,
}

impl Sort {
    /// As in a query.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Updates => "updates",
            Self::Bytes => "bytes",
            Self::Sessions => "sessions",
            Self::Size => "size",
            Self::Name => "name",
            Self::LeftBehind => "left-behind",
        }
    }

    /// Names rise, numbers fall; of equal ones the one with more editors comes first, then the larger.
    fn compare(self, a: &Figures<'_>, b: &Figures<'_>) -> Ordering {
        let first = match self {
            Self::Updates => b.updates.total_cmp(&a.updates),
            Self::Bytes => b.bytes_in.total_cmp(&a.bytes_in),
            Self::Sessions => Ordering::Equal,
            Self::Size => b.size.cmp(&a.size),
            Self::Name => a.name.cmp(b.name),
            Self::LeftBehind => b.left_behind.cmp(&a.left_behind),
        };
        first.then(b.sessions.cmp(&a.sessions)).then(b.size.cmp(&a.size)).then(a.name.cmp(b.name))
    }
}

/// What is compared of a document.
struct Figures<'a> {
    name: &'a str,
    updates: f64,
    bytes_in: f64,
    sessions: u64,
    size: u64,
    left_behind: u64,
}

impl<'a> Figures<'a> {
    fn of(document: &'a InMemory) -> Self {
        Self {
            name: document.document.as_str(),
            updates: document.per_second.updates,
            bytes_in: document.per_second.bytes,
            sessions: document.sessions as u64,
            size: document.bytes as u64,
            left_behind: document.left_behind as u64,
        }
    }

    /// Of a line that some node has written. What an older one does not know counts as none.
    fn read(line: &'a Value) -> Self {
        let [updates, bytes_in, _] = RATES.map(|key| line[key].as_f64().unwrap_or_default());
        Self {
            name: line["name"].as_str().unwrap_or_default(),
            updates,
            bytes_in,
            sessions: line["sessions"].as_u64().unwrap_or_default(),
            size: line["bytes"].as_u64().unwrap_or_default(),
            left_behind: line["left_behind"].as_u64().unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<usize>,
    #[serde(default)]
    sort: Sort,
    #[serde(default)]
    prefix: String,
}

pub(super) async fn get(
    State(admin): State<Admin>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Json<Value> {
    let limit = wanted.limit.unwrap_or(DEFAULT).min(MAX);
    let mut documents = here(&admin, &wanted, limit);
    let mut unanswered = Vec::new();
    let others = admin.serving.as_ref().map(Serving::others).filter(|_| !passed_on(&headers));
    // A cluster without a ring has nobody to ask.
    if let Some((others, view)) = others.and_then(|others| Some((others, others.view().ok()?))) {
        // Each has at most so many of the busiest of all.
        let prefix = crate::client::segment(&wanted.prefix);
        let query = format!("/api/v1/busiest?limit={limit}&sort={}&prefix={prefix}", wanted.sort.word());
        for answered in others.ask_all(&view, &others::request("GET", &query, &Value::Null)).await {
            match answered.answer {
                Ok(answer) => documents.extend(answer["documents"].as_array().into_iter().flatten().cloned()),
                Err(problem) => {
                    unanswered.push(json!({ "node": answered.node.as_str(), "problem": problem }))
                }
            }
        }
    }
    let documents = first(documents, limit, |a, b| wanted.sort.compare(&Figures::read(a), &Figures::read(b)));
    Json(json!({ "sort": wanted.sort.word(), "documents": documents, "unanswered": unanswered }))
}

fn here(admin: &Admin, wanted: &Wanted, limit: usize) -> Vec<Value> {
    let node = admin.facts.config.node_id.as_str();
    let documents = admin.health.host().into_iter().flat_map(|host| host.all_in_memory());
    let named = documents.filter(|document| document.document.as_str().starts_with(&wanted.prefix));
    let named = named.filter(|document| wanted.sort != Sort::LeftBehind || document.left_behind > 0);
    let first = first(named.collect(), limit, |a, b| wanted.sort.compare(&Figures::of(a), &Figures::of(b)));
    first.iter().map(|document| line(document, node)).collect()
}

/// What is said of a document in memory.
pub(super) fn line(document: &InMemory, node: &str) -> Value {
    let mut line = rates(document.per_second);
    line["name"] = document.document.as_str().into();
    line["node"] = node.into();
    line["sessions"] = document.sessions.into();
    line["bytes"] = document.bytes.into();
    line["left_behind"] = document.left_behind.into();
    line
}

pub(super) fn rates(rates: PerSecond) -> Value {
    let rates = rates.rounded();
    let [updates, bytes, deliveries] = RATES;
    json!({ updates: rates.updates, bytes: rates.bytes, deliveries: rates.deliveries })
}

/// So many of those that come first, in order. Of 100,000 only those are put in order.
fn first<T>(mut all: Vec<T>, limit: usize, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if limit < all.len() {
        all.select_nth_unstable_by(limit, &compare);
        all.truncate(limit);
    }
    all.sort_by(compare);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sort: Sort, limit: usize) -> String {
        let document = |name: &str, sessions: u32, bytes: u32, updates: f64, bytes_in: f64| {
            json!({ "name": name, "sessions": sessions, "bytes": bytes,
                "updates_per_second": updates, "bytes_per_second": bytes_in })
        };
        let documents = vec![
            document("a", 1, 9, 0.5, 900.0),
            document("b", 3, 1, 0.0, 0.0),
            json!({ "name": "c", "sessions": 1, "bytes": 10, "updates_per_second": 40.0,
                "bytes_per_second": 80.0, "left_behind": 1 }),
            // As an older version says it.
            json!({ "name": "d", "sessions": 0, "bytes": 99 }),
        ];
        let first = first(documents, limit, |a, b| sort.compare(&Figures::read(a), &Figures::read(b)));
        first.iter().map(|document| document["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn documents_come_in_the_order_that_is_asked_for_and_no_more_than_that() {
        assert_eq!(names(Sort::Updates, 9), "cabd");
        assert_eq!(names(Sort::Bytes, 2), "ac");
        assert_eq!(names(Sort::Sessions, 3), "bca", "of equal ones the larger");
        assert_eq!(names(Sort::Size, 1), "d");
        assert_eq!(names(Sort::Name, 9), "abcd");
        assert_eq!(names(Sort::Name, 0), "");
        assert_eq!(names(Sort::LeftBehind, 1), "c");
    }
}
