//! Documents that wait for a person.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ringleaf_store::Quarantined;
use serde::Serialize;

use super::Name;
use super::error::ApiError;
use super::time::rfc3339;
use crate::Node;
use crate::quarantine;

#[derive(Serialize)]
pub(super) struct Listing {
    documents: Vec<Line>,
}

#[derive(Serialize)]
pub(super) struct Line {
    name: String,
    since: String,
    reason: String,
}

#[derive(Serialize)]
pub(super) struct Released {
    name: String,
    outcome: &'static str,
}

impl From<&Quarantined> for Line {
    fn from(quarantined: &Quarantined) -> Self {
        Self {
            name: quarantined.document.as_str().into(),
            since: rfc3339(quarantined.since),
            reason: quarantined.reason.clone(),
        }
    }
}

pub(super) async fn list(State(node): State<Arc<Node>>) -> Result<Json<Listing>, ApiError> {
    let quarantined = node.shared.store.quarantined().await?;
    Ok(Json(Listing { documents: quarantined.iter().map(Line::from).collect() }))
}

pub(super) async fn show(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Line>, ApiError> {
    let quarantined = node.shared.store.quarantined().await?;
    let found = quarantined.iter().find(|quarantined| quarantined.document == document);
    found.map(|quarantined| Json(quarantined.into())).ok_or_else(ApiError::not_quarantined)
}

pub(super) async fn release(
    State(node): State<Arc<Node>>,
    Name(document): Name,
) -> Result<Json<Released>, ApiError> {
    if !quarantine::release(&node.shared, &document).await? {
        return Err(ApiError::not_quarantined());
    }
    Ok(Json(Released { name: document.as_str().into(), outcome: "released" }))
}
