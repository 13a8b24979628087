//! Listing, showing, deleting and bringing back.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use ringleaf_store::{Listed, Store, StoreError};
use ringleaf_types::{DocumentId, Remainder, Slot};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::ApiError;
use super::time::rfc3339;
use super::{Changed, Name};
use crate::Node;
use crate::command::Operator;
use crate::rates::PerSecond;
use crate::registry::Resident;
use crate::unadmitted::Unadmitted;

/// Documents on one page, at most and by default.
const PAGE_MAX: usize = 1_000;
const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    sort: Sort,
}

/// What comes first. The names are the pages' order; anything else is one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Name,
    /// The largest in the store.
    Size,
}

#[derive(Serialize)]
pub(super) struct Listing {
    documents: Vec<Line>,
    /// What to pass as `after` for the next page; nothing on the last one.
    next: Option<String>,
}

/// What the store and the memory say about one document.
#[derive(Serialize)]
pub(super) struct Line {
    name: String,
    last_slot: u64,
    tail_slots: u64,
    bytes: u64,
    created_at: String,
    changed_at: String,
    deleted: bool,
    quarantined: bool,
    resident: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(flatten)]
    per_second: Option<Rates>,
    /// Sessions whose editor has sent something that is not in the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_left_behind: Option<usize>,
}

/// The same, and what editors have sent that is not in the document.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    line: Line,
    /// The first of those sessions.
    left_behind: Vec<LeftBehind>,
    /// What lacks its ground and is kept until that comes, whoever has sent it.
    remainders: usize,
    remainder_bytes: usize,
}

/// A session of which something is not in the document.
#[derive(Serialize)]
struct LeftBehind {
    router: String,
    session: String,
    since: String,
    reason: &'static str,
    why: String,
    /// Of it is kept: structs and deleted ranges, and their bytes.
    pieces: u64,
    bytes: usize,
}

impl Shown {
    fn new(line: Line, unadmitted: Option<&Unadmitted>, kept: &[Remainder]) -> Self {
        let now = (Instant::now().into_std(), SystemTime::now());
        let left_behind = unadmitted.into_iter().flat_map(|unadmitted| &unadmitted.shown);
        let left_behind = left_behind.map(|left| LeftBehind {
            router: left.router.to_string(),
            session: left.session.to_string(),
            since: rfc3339(now.1 - now.0.saturating_duration_since(left.since)),
            reason: left.why.word(),
            why: left.why.to_string(),
            pieces: left.pieces,
            bytes: left.bytes,
        });
        Self {
            line,
            left_behind: left_behind.collect(),
            remainders: kept.len(),
            remainder_bytes: kept.iter().map(|remainder| remainder.bytes.len()).sum(),
        }
    }
}

/// What it moves in a second, on the node that answers.
#[derive(Serialize)]
struct Rates {
    updates_per_second: f64,
    bytes_per_second: f64,
    deliveries_per_second: f64,
}

impl From<PerSecond> for Rates {
    fn from(rates: PerSecond) -> Self {
        let rates = rates.rounded();
        Self {
            updates_per_second: rates.updates,
            bytes_per_second: rates.bytes,
            deliveries_per_second: rates.deliveries,
        }
    }
}

impl Line {
    fn new(listed: &Listed, resident: Option<&Resident>) -> Self {
        let facts = resident.map(|resident| &resident.facts).filter(|facts| facts.serving());
        Self {
            name: listed.document.as_str().into(),
            last_slot: listed.last.max(facts.map_or(listed.last, |facts| facts.last_slot())).get(),
            tail_slots: listed.tail_slots,
            bytes: listed.bytes,
            created_at: rfc3339(listed.created_at),
            changed_at: rfc3339(listed.changed_at),
            deleted: listed.deleted,
            quarantined: listed.quarantined,
            resident: facts.is_some(),
            sessions: facts.map(|facts| facts.sessions()),
            resident_bytes: facts.map(|facts| facts.bytes()),
            epoch: facts.map(|facts| facts.epoch().get()),
            per_second: facts.map(|facts| facts.per_second(Instant::now()).into()),
            sessions_left_behind: facts
                .map(|facts| facts.unadmitted.read().map_or(0, |unadmitted| unadmitted.session_count())),
        }
    }
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Listing>, ApiError> {
    let Query(page) = page.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let after = page.after.as_deref().map(str::parse).transpose();
    let after =
        after.map_err(|error: ringleaf_types::DocumentIdError| ApiError::bad_name(&error.to_string()))?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let listed = match page.sort {
        Sort::Name => node.shared.store.list(&page.prefix, after.as_ref(), limit).await?,
        Sort::Size => largest(&*node.shared.store, &page.prefix, after, limit).await?,
    };
    let next = listed.last().filter(|_| page.sort == Sort::Name && listed.len() == limit);
    let next = next.map(|last| last.document.as_str().into());
    let registry = &node.shared.registry;
    let line = |listed: &Listed| Line::new(listed, registry.find(&listed.document).as_deref());
    Ok(Json(Listing { documents: listed.iter().map(line).collect(), next }))
}

/// Reads the whole listing, and keeps the largest. Of equal ones those that come first by name.
async fn largest(
    store: &dyn Store,
    prefix: &str,
    mut after: Option<DocumentId>,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    let mut kept: Vec<Listed> = Vec::new();
    loop {
        let page = store.list(prefix, after.as_ref(), PAGE_MAX).await?;
        let last = page.len() < PAGE_MAX;
        after = page.last().map(|listed| listed.document.clone());
        kept.extend(page);
        kept.sort_by_key(|listed| std::cmp::Reverse(listed.bytes));
        kept.truncate(limit);
        if last {
            return Ok(kept);
        }
    }
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Shown>, ApiError> {
    let kept = node.shared.store.remainders(&document).await?;
    let listed = match node.listed(&document).await? {
        Some(listed) => listed,
        None => unwritten(&document, &kept).ok_or_else(ApiError::not_found)?,
    };
    let resident = node.shared.registry.find(&document);
    let unadmitted = resident.as_ref().and_then(|resident| resident.facts.unadmitted.read());
    let line = Line::new(&listed, resident.as_deref());
    Ok(Json(Shown::new(line, unadmitted.as_deref(), &kept)))
}

/// A document of which there is nothing but remainders: nothing was ever written to it.
fn unwritten(document: &DocumentId, kept: &[Remainder]) -> Option<Listed> {
    let (first, last) = (kept.first()?.since, kept.last()?.since);
    Some(Listed {
        document: document.clone(),
        last: Slot::ZERO,
        tail_slots: 0,
        bytes: 0,
        created_at: first,
        changed_at: last,
        deleted: false,
        quarantined: false,
    })
}

pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Changed>, ApiError> {
    node.known(&document).await?;
    let slot = node.operate(&document, |reply| Operator::Delete { reply }).await??;
    Ok(Changed::new(&document, "deleted", slot))
}

pub(super) async fn undelete(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Changed>, ApiError> {
    node.known(&document).await?;
    let slot = node.operate(&document, |reply| Operator::Undelete { reply }).await??;
    Ok(Changed::new(&document, "undeleted", slot))
}

pub(super) async fn purge(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Changed>, ApiError> {
    node.known(&document).await?;
    let slot = node.operate(&document, |reply| Operator::Purge { reply }).await??;
    Ok(Changed::new(&document, "purged", slot))
}
