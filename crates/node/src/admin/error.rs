//! What an operator is told when something does not work, and what to do then.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringleaf_reader::ReadError;
use ringleaf_store::StoreError;
use ringleaf_types::CloseReason;
use serde_json::json;

use crate::command::Refused;
use crate::registry::Stopping;

/// `{"error": {"code": …, "message": …, "advice": …}}` with the fitting status.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    advice: &'static str,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self { status, code, message: message.into(), advice }
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "document_not_found",
            "no document of this name is stored",
            "look at the names with `ringleaf doc list`",
        )
    }

    pub(super) fn bad_name(why: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad_name",
            why,
            "a name is 1 to 512 bytes of UTF-8 without control characters, percent-encoded as one segment of the path",
        )
    }

    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", why, "")
    }

    pub(super) fn too_large(why: &str) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "update_too_large",
            why,
            "a document has a size limit; import it in smaller updates, or raise the limit",
        )
    }

    pub(super) fn deleted() -> Self {
        Self::new(
            StatusCode::GONE,
            "document_deleted",
            "the document is deleted",
            "bring it back with `ringleaf doc undelete`",
        )
    }

    pub(super) fn not_deleted() -> Self {
        Self::new(StatusCode::CONFLICT, "document_not_deleted", "the document is not deleted", "")
    }

    pub(super) fn quarantined() -> Self {
        Self::new(
            StatusCode::LOCKED,
            "document_quarantined",
            "the document is in quarantine",
            "look at the reason with `ringleaf doc quarantine show`, and release it when it is cured",
        )
    }

    pub(super) fn not_quarantined() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "document_not_quarantined",
            "the document is not in quarantine",
            "look at those that are with `ringleaf doc quarantine list`",
        )
    }

    pub(super) fn unreadable(why: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "document_unreadable",
            why,
            "nothing was changed; look closer with `ringleaf doc verify`, and restore the document from a backup if need be",
        )
    }

    /// The report of a check that found something.
    pub(super) fn unsound(problems: &[String]) -> Self {
        Self::unreadable(problems.join("; ")).with_code("document_unsound")
    }

    fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    fn unavailable(message: impl Into<String>, advice: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, advice)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull(_) => {
                Self::unavailable(error.to_string(), "make room on the disk of the data folder")
                    .with_code("disk_full")
            }
            StoreError::Away(_) => {
                Self::unavailable(error.to_string(), "look at the log of the server, then try again")
            }
            StoreError::Closed => Self::unavailable(error.to_string(), "the server is stopping"),
            StoreError::Corrupt { .. } | StoreError::Gap { .. } | StoreError::Unreadable { .. } => {
                Self::unreadable(error.to_string())
            }
        }
    }
}

/// Nothing of what a reader process comes to says anything against the document.
impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        const EXPORT: &str =
            "the document itself is not affected: editors go on, and `ringleaf doc export` gives its bytes";
        match &error {
            ReadError::NotStarted { source } => Self::unavailable(
                format!("{error}: {source}"),
                "look at the log of the server; `ringleaf doc export` gives the document's bytes without that process",
            ),
            ReadError::Busy | ReadError::Stopped => Self::unavailable(error.to_string(), "try again"),
            ReadError::TooLong { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "read_timed_out", error.to_string(), EXPORT)
            }
            ReadError::TooLarge { .. }
            | ReadError::AnswerTooLarge { .. }
            | ReadError::OutOfMemory { .. }
            | ReadError::Crashed { .. }
            | ReadError::Refused { .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "document_unreadable", error.to_string(), EXPORT)
            }
        }
    }
}

impl From<Stopping> for ApiError {
    fn from(stopping: Stopping) -> Self {
        Self::unavailable(stopping.to_string(), "try again when the server has started again")
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Deleted | Refused::Closed(CloseReason::DocumentDeleted) => Self::deleted(),
            Refused::Closed(CloseReason::DocumentQuarantined) => Self::quarantined(),
            Refused::Closed(reason) => Self::unavailable(reason.text(), "try again"),
            Refused::NotDeleted => Self::not_deleted(),
            Refused::NotEmptied => Self::unavailable(refused.to_string(), "try again"),
            Refused::Update(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "update_refused",
                refused.to_string(),
                "it must be one encoded Yjs update (V1) that needs nothing the document does not have",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.advice.is_empty() {
            error["advice"] = self.advice.into();
        }
        (self.status, Json(json!({ "error": error }))).into_response()
    }
}
