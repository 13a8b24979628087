//! What operators ask of documents, over HTTP and JSON.
//!
//! ```text
//! GET    /api/v1/documents?prefix=&after=&limit=        a page of the listing; with sort=size the largest instead
//! GET    /api/v1/documents/{name}                       one document
//! DELETE /api/v1/documents/{name}                       close it to everybody
//! POST   /api/v1/documents/{name}/undelete              open it again
//! POST   /api/v1/documents/{name}/purge                 remove what a deleted document held, for ever
//! GET    /api/v1/documents/{name}/content?as=json|text|update
//! PUT    /api/v1/documents/{name}/content               merge an update in
//! POST   /api/v1/documents/{name}/verify                read every row and decode it; with deep=true in a reader process, too
//! GET    /api/v1/quarantine, GET|DELETE /api/v1/quarantine/{name}
//! ```
//!
//! A name is one percent-encoded segment, slashes included. Whatever changes a document goes through its task, as an
//! editor's message would.

mod content;
mod documents;
mod error;
mod quarantine;
mod time;
mod verify;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use ringleaf_store::Listed;
use ringleaf_types::DocumentId;
use serde::Serialize;

use crate::Node;
use error::ApiError;

impl Node {
    /// The routes for operators. Whoever mounts them decides who may reach them.
    pub fn admin(self: &Arc<Self>) -> Router {
        let body_bytes_max = self.shared.config.limits.document_bytes_max;
        Router::new()
            .route("/api/v1/documents", get(documents::list))
            .route("/api/v1/documents/{name}", get(documents::show).delete(documents::delete))
            .route("/api/v1/documents/{name}/undelete", post(documents::undelete))
            .route("/api/v1/documents/{name}/purge", post(documents::purge))
            .route("/api/v1/documents/{name}/content", get(content::get).put(content::put))
            .route("/api/v1/documents/{name}/verify", post(verify::verify))
            .route("/api/v1/quarantine", get(quarantine::list))
            .route("/api/v1/quarantine/{name}", get(quarantine::show).delete(quarantine::release))
            .layer(DefaultBodyLimit::max(body_bytes_max))
            .with_state(Arc::clone(self))
    }

    /// The store's line about a document, if it holds anything of it.
    async fn listed(&self, document: &DocumentId) -> Result<Option<Listed>, ApiError> {
        let listed = self.shared.store.list(document.as_str(), None, 1).await?;
        // The name itself comes first among the names that begin with it.
        Ok(listed.into_iter().next().filter(|listed| listed.document == *document))
    }

    /// The same, or the fitting error.
    async fn known(&self, document: &DocumentId) -> Result<Listed, ApiError> {
        self.listed(document).await?.ok_or_else(ApiError::not_found)
    }
}

/// The document that a path names.
struct Name(DocumentId);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::bad_name(&rejection.body_text()))?;
        name.parse()
            .map(Self)
            .map_err(|error: ringleaf_types::DocumentIdError| ApiError::bad_name(&error.to_string()))
    }
}

/// That a change is durable, and in which slot.
#[derive(Serialize)]
struct Changed {
    name: String,
    outcome: &'static str,
    slot: u64,
}

impl Changed {
    fn new(document: &DocumentId, outcome: &'static str, slot: ringleaf_types::Slot) -> Json<Self> {
        Json(Self { name: document.as_str().into(), outcome, slot: slot.get() })
    }
}
