//! The admin port: health, metrics, status, and the node's own admin routes behind one guard.
//!
//! ```text
//! GET /livez  /readyz[?verbose]  /metrics        anyone who can reach the port
//! /api/v1/…                                      programs; no pages of other origins, no rebound DNS names
//! ```

mod backup;
mod busiest;
mod drain;
mod faults;
mod guard;
mod health;
mod history;
mod metrics;
mod nodes;
mod others;
mod pass_on;
mod pins;
mod plan;
mod process;
mod rebalance;
mod ring;
mod shape;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post, put};
use ringleaf_store::SqliteStore;

pub(crate) use busiest::Sort;
pub(crate) use drain::Drain;
pub(crate) use faults::Faults;
pub(crate) use health::{Documents, Health, Stage};
pub(crate) use metrics::Metrics;
pub(crate) use others::{HOP, Others};
pub(crate) use status::{Facts, Serving};

/// Everything that the admin port answers from.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) faults: Faults,
    pub(crate) facts: Facts,
    /// What there is besides documents, while the server serves.
    pub(crate) serving: Option<Serving>,
    /// Where operators ask for this process's end.
    pub(crate) drain: Arc<Drain>,
    /// What can be copied into a file: nothing, unless documents are in a folder of this process.
    pub(crate) backup: Option<Arc<SqliteStore>>,
}

impl Admin {
    /// All routes; `node` brings those of the documents, where there are any.
    pub(crate) fn router(self, node: Option<Router>) -> Router {
        let api = Router::new()
            .route("/api/v1/status", get(status::get))
            .route("/api/v1/backup", post(backup::post))
            .route("/api/v1/ring", get(ring::get))
            .route("/api/v1/ring/owners", post(ring::owners))
            .route("/api/v1/ring/plan", post(plan::post))
            .route("/api/v1/ring/config", get(ring::config).put(ring::apply))
            .route("/api/v1/ring/history", get(history::get))
            .route("/api/v1/ring/rebalance", get(rebalance::get).put(rebalance::put))
            .route("/api/v1/pins", get(pins::list))
            .route("/api/v1/pins/{document}", put(pins::pin).delete(pins::unpin))
            .route("/api/v1/resident", post(ring::resident))
            .route("/api/v1/busiest", get(busiest::get))
            .route("/api/v1/nodes", get(nodes::list))
            .route("/api/v1/nodes/{node}", get(nodes::show).delete(nodes::forget))
            .route("/api/v1/nodes/{node}/cordon", post(nodes::cordon).delete(nodes::uncordon))
            .route("/api/v1/nodes/{node}/weight", put(nodes::weigh))
            .route("/api/v1/nodes/{node}/drain", post(drain::post))
            .with_state(self.clone());
        let documents = node.unwrap_or_else(|| {
            Router::new()
                .route("/api/v1/documents", any(pass_on::hosts_nothing))
                .route("/api/v1/documents/{*rest}", any(pass_on::hosts_nothing))
                .route("/api/v1/quarantine", any(pass_on::hosts_nothing))
                .route("/api/v1/quarantine/{*rest}", any(pass_on::hosts_nothing))
        });
        let documents = documents.layer(axum::middleware::from_fn_with_state(self.clone(), pass_on::pass_on));
        Router::new()
            .route("/", get(index))
            .route("/livez", get(health::livez))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(metrics::get))
            .with_state(self)
            .merge(api)
            .merge(documents)
            .fallback(not_found)
            .layer(axum::middleware::from_fn(shape::shape))
            .layer(axum::middleware::from_fn(guard::check))
    }
}

/// For whoever follows the banner's address with a browser.
async fn index() -> &'static str {
    concat!(
        "ringleaf ",
        env!("CARGO_PKG_VERSION"),
        ", admin port\n\n",
        "/livez             is the process alive?\n",
        "/readyz?verbose    should it be sent work, and why not?\n",
        "/metrics           for Prometheus\n",
        "/api/v1/status     what `ringleaf status` shows, as JSON\n",
        "/api/v1/ring       what `ringleaf ring show` shows, as JSON\n",
        "/api/v1/nodes      what `ringleaf node list` shows, as JSON\n",
        "/api/v1/documents  what `ringleaf doc list` shows, as JSON\n",
    )
}

async fn not_found() -> axum::response::Response {
    error(
        axum::http::StatusCode::NOT_FOUND,
        "no_such_path",
        "there is nothing at this path",
        "see /livez, /readyz?verbose, /metrics and /api/v1/status",
    )
}

/// The one shape of every error on this port.
fn error(
    status: axum::http::StatusCode,
    code: &str,
    message: &str,
    advice: &str,
) -> axum::response::Response {
    use axum::response::IntoResponse;
    let body = serde_json::json!({ "error": { "code": code, "message": message, "advice": advice } });
    (status, axum::Json(body)).into_response()
}
