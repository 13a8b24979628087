//! `/api/v1/status`: one answer to "is it well, and what is it doing?".

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Admin;
use super::process::Process;
use crate::config::Config;

/// What stays the same as long as the process runs.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) config: Arc<Config>,
    pub(crate) incarnation: u64,
    pub(crate) started_at: SystemTime,
    pub(crate) started: Instant,
    pub(crate) editors: Option<std::net::SocketAddr>,
}

pub(super) async fn get(State(admin): State<Admin>) -> Json<Value> {
    let checks = admin.health.checks().await;
    let stage = admin.health.stage();
    let facts = &admin.facts;
    let config = &facts.config;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": config.node_id.as_str(),
        "incarnation": format!("{:016x}", facts.incarnation),
        "pid": std::process::id(),
        "started_at": crate::output::rfc3339(facts.started_at),
        "uptime_seconds": facts.started.elapsed().as_secs(),
        "stage": stage,
        "ready": checks.iter().all(|check| check.ok),
        "checks": checks,
        "editors": {
            "listen": facts.editors.map(|address| address.to_string()),
            "open_to_anyone": config.open_to_anyone,
            "allow_origin": config.allow_origin,
            "demo_page": config.dev,
        },
        "store": {
            "keeps_nothing": config.memory,
            "kind": if config.memory { "memory" } else { "sqlite" },
            "folder": (!config.memory).then(|| config.data.to_string_lossy().into_owned()),
        },
        "process": Process::now(),
        "faults": admin.faults.list(),
    }))
}
