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
use ringleaf_document::compaction;
use ringleaf_store::{Listed, Stored};
use ringleaf_types::{Body, DocumentId, Record, Slot};
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
    let quarantined = quarantine::holds(&node.shared, &document).await?;
    let reader = &node.shared.reader;
    let (content_type, body, slot) = match wanted.form {
        Form::Update if quarantined => {
            let (state, slot) = stored_in_quarantine(&node, &document).await?;
            ("application/octet-stream", state, slot)
        }
        Form::Update => {
            let (state, slot) = state(&node, &document, &listed).await?;
            ("application/octet-stream", state, slot)
        }
        Form::Json | Form::Text if quarantined => return Err(ApiError::quarantined()),
        // Order: the turn first, so that nobody who waits for one holds a document meanwhile.
        Form::Json => {
            let turn = reader.turn().await?;
            let (state, slot) = state(&node, &document, &listed).await?;
            ("application/json", turn.json(state).await?, slot)
        }
        Form::Text => {
            let turn = reader.turn().await?;
            let (state, slot) = state(&node, &document, &listed).await?;
            ("text/plain; charset=utf-8", turn.text(state).await?, slot)
        }
    };
    Ok(([(CONTENT_TYPE, content_type)], [(SLOT, slot.get().to_string())], body).into_response())
}

/// Everything that the document holds, and the slot through which that is complete.
async fn state(node: &Node, document: &DocumentId, listed: &Listed) -> Result<(Bytes, Slot), ApiError> {
    if node.shared.registry.find(document).is_some() {
        let exported = node.operate(document, |reply| Operator::Export { reply }).await??;
        return Ok((exported.state, exported.through));
    }
    if listed.deleted {
        return Err(ApiError::deleted());
    }
    stored(node, document).await
}

/// The state of a document that is not resident, without making it so.
async fn stored(node: &Node, document: &DocumentId) -> Result<(Bytes, Slot), ApiError> {
    match Rows::from(node.shared.store.read(document).await?) {
        Rows::One(state, slot) => Ok((state, slot)),
        Rows::Many(stored) => decode(node, document, merge(stored)).await,
    }
}

/// The same for a document that broke its task, deleted or not. Nothing is noted against its bytes, and nothing that is
/// noted keeps them here: somebody wants to look at them elsewhere.
async fn stored_in_quarantine(node: &Node, document: &DocumentId) -> Result<(Bytes, Slot), ApiError> {
    match Rows::from(node.shared.store.read(document).await?) {
        Rows::One(state, slot) => Ok((state, slot)),
        Rows::Many(stored) => {
            let merged = node.shared.pool.run(Urgency::Background, merge(stored)).await;
            let merged = merged.map_err(|panicked| ApiError::unreadable(panicked.to_string()))?;
            merged.map_err(ApiError::unreadable)
        }
    }
}

fn merge(stored: Stored) -> impl FnOnce() -> Result<(Bytes, Slot), String> + Send + 'static {
    let Stored { snapshot, slots } = stored;
    move || {
        let upto = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let last = slots.last().map_or(upto, |(slot, _)| *slot);
        let state = compaction::join(snapshot.as_ref(), &slots).map_err(|refusal| refusal.to_string())?;
        Ok((state, last))
    }
}

/// What a store has of a document.
enum Rows {
    /// One update, which needs no merging.
    One(Bytes, Slot),
    Many(Stored),
}

impl From<Stored> for Rows {
    fn from(stored: Stored) -> Self {
        match (&stored.snapshot, stored.slots.as_slice()) {
            (None, []) => Self::One(Bytes::from_static(EMPTY), Slot::ZERO),
            (Some(snapshot), []) => Self::One(snapshot.state.clone(), snapshot.upto),
            (None, [(slot, Record { body: Body::Updates(updates), .. })]) if updates.len() == 1 => {
                Self::One(updates[0].clone(), *slot)
            }
            _ => Self::Many(stored),
        }
    }
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
