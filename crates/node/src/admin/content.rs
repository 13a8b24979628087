//! What is in a document: out as JSON, text or an update; in as an update.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use ringleaf_document::{compaction, view};
use ringleaf_store::Stored;
use ringleaf_types::{DocumentId, Slot};
use serde::Deserialize;

use super::error::ApiError;
use super::{Changed, Name};
use crate::Node;
use crate::command::Operator;
use crate::pool::Urgency;
use crate::quarantine;

/// The slot through which the answer is complete.
const SLOT: HeaderName = HeaderName::from_static("ringleaf-slot");
/// An update without anything in it.
const EMPTY: &[u8] = &[0, 0];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(rename = "as", default)]
    form: Form,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Json,
    Text,
    Update,
}

pub(super) async fn get(
    State(node): State<Arc<Node>>,
    Name(document): Name,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(wanted) = wanted.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let listed = node.known(&document).await?;
    if crate::quarantine::holds(&node.shared, &document).await? {
        return Err(ApiError::quarantined());
    }
    let (state, slot) = if node.shared.registry.find(&document).is_some() {
        let exported = node.operate(&document, |reply| Operator::Export { reply }).await??;
        (exported.state, exported.through)
    } else {
        if listed.deleted {
            return Err(ApiError::deleted());
        }
        stored(&node, &document).await?
    };
    let (content_type, body) = match wanted.form {
        Form::Update => ("application/octet-stream", state),
        Form::Text => ("text/plain; charset=utf-8", see(&node, &document, state, as_text).await?),
        Form::Json => ("application/json", see(&node, &document, state, as_json).await?),
    };
    Ok(([(CONTENT_TYPE, content_type)], [(SLOT, slot.get().to_string())], body).into_response())
}

fn as_text(state: &[u8]) -> Result<Bytes, String> {
    view::text(state).map(Bytes::from).map_err(|error| error.to_string())
}

fn as_json(state: &[u8]) -> Result<Bytes, String> {
    view::json(state).map(|value| Bytes::from(value.to_string())).map_err(|error| error.to_string())
}

/// The state of a document that is not resident, without making it so.
async fn stored(node: &Node, document: &DocumentId) -> Result<(Bytes, Slot), ApiError> {
    let Stored { snapshot, slots } = node.shared.store.read(document).await?;
    if slots.is_empty() {
        return Ok(snapshot
            .map_or((Bytes::from_static(EMPTY), Slot::ZERO), |snapshot| (snapshot.state, snapshot.upto)));
    }
    let id = document.clone();
    let merge = move || compaction::compact(&id, snapshot, slots).map_err(|error| error.to_string());
    let merged = decode(node, document, merge).await?;
    Ok((merged.state, merged.upto))
}

async fn see(
    node: &Node,
    document: &DocumentId,
    state: Bytes,
    look: fn(&[u8]) -> Result<Bytes, String>,
) -> Result<Bytes, ApiError> {
    decode(node, document, move || look(&state)).await
}

/// Decodes stored bytes on the pool, with a note in the store that this is being done.
pub(super) async fn decode<T: Send + 'static>(
    node: &Node,
    document: &DocumentId,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ApiError> {
    let decoded = quarantine::decode(&node.shared, document, Urgency::Background, None, work)
        .await
        .map_err(|poisonous| ApiError::unreadable(poisonous.to_string()))?;
    decoded.map_err(|panicked| ApiError::unreadable(panicked.to_string()))?.map_err(ApiError::unreadable)
}

/// That a body is not announced as larger than a document may be. Looked at before anything of it is read: whoever waits
/// for a word before sending it then hears the reason, and never sends it.
pub(super) struct Fits;

impl FromRequestParts<Arc<Node>> for Fits {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, ApiError> {
        let announced: Option<u64> =
            parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let max = node.shared.config.limits.document_bytes_max;
        match announced {
            Some(bytes) if bytes > max as u64 => Err(ApiError::too_large(&format!(
                "the update has {bytes} bytes, and a document at most {max}"
            ))),
            Some(_) | None => Ok(Self),
        }
    }
}

pub(super) async fn put(
    State(node): State<Arc<Node>>,
    Name(document): Name,
    _fits: Fits,
    update: Result<Bytes, BytesRejection>,
) -> Result<Json<Changed>, ApiError> {
    let update = update.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(&rejection.body_text()),
        _ => ApiError::bad_request(rejection.body_text()),
    })?;
    let import = |reply| Operator::Import { update: update.clone(), reply };
    let slot = node.operate(&document, import).await??;
    Ok(Changed::new(&document, "imported", slot))
}
