//! `GET /api/v1/ring/history`: how the ring has changed, as this process saw it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Admin;
use super::ring::or_refusal;
use crate::output::rfc3339;

pub(super) async fn get(State(admin): State<Admin>) -> Response {
    or_refusal(admin.others().map(|others| {
        let entries: Vec<Value> = others
            .history
            .entries()
            .iter()
            .map(|entry| {
                json!({
                    "at": rfc3339(entry.at),
                    "version": entry.version.get(),
                    "changes": entry.changes,
                })
            })
            .collect();
        Json(json!({ "history": entries })).into_response()
    }))
}
