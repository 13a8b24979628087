//! `/api/v1/status`: one answer to "is it well, and what is it doing?".

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use ringleaf_node::{InMemory, Node, NodeStatus};
use ringleaf_router::RunningServer;
use serde_json::{Value, json};

use super::process::Process;
use super::ring::members;
use super::{Admin, Others, busiest};
use crate::config::{Config, Role, without_password};

/// Why a node leaves its documents to others though it runs.
const ASIDE: &str = "the store cannot be reached from it";

/// What stays the same as long as the process runs.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) config: Arc<Config>,
    pub(crate) incarnation: u64,
    pub(crate) started_at: SystemTime,
    pub(crate) started: Instant,
}

/// What only a server that serves has.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) editors: Arc<RunningServer>,
    pub(crate) others: Others,
}

impl Serving {
    pub(super) fn others(&self) -> &Others {
        &self.others
    }

    /// Null: no member has ever served.
    fn ring(&self) -> Option<Value> {
        let view = self.others.ring.borrow().clone()?;
        Some(json!({ "version": view.version().get(), "members": members(&view) }))
    }
}

pub(super) async fn get(State(admin): State<Admin>) -> Json<Value> {
    Json(of(&admin).await)
}

pub(super) async fn of(admin: &Admin) -> Value {
    let checks = admin.health.checks().await;
    let stage = admin.health.stage();
    let facts = &admin.facts;
    let config = &facts.config;
    let serving = admin.serving.as_ref();
    let node = admin.health.node();
    let in_memory = admin.health.host().map(Node::all_in_memory);
    let editors = serving.map(|serving| serving.editors.status());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": config.node_id.as_str(),
        "role": role(config.role),
        "incarnation": format!("{:016x}", facts.incarnation),
        "pid": std::process::id(),
        "started_at": crate::output::rfc3339(facts.started_at),
        "uptime_seconds": facts.started.elapsed().as_secs(),
        "stage": stage,
        "ready": checks.iter().all(|check| check.ok),
        "checks": checks,
        "aside": node.filter(|node| node.store_lost).map(|_| ASIDE),
        "editors": {
            "listen": serving.map(|serving| serving.editors.local_addr().to_string()),
            "open_to_anyone": config.open_to_anyone,
            "allow_origin": config.allow_origin,
            "demo_page": config.dev,
        },
        "counts": {
            "connections": editors.map(|editors| editors.connections),
            "sessions": editors.map(|editors| editors.sessions),
            "behind": editors.map(|editors| editors.behind),
            "documents_resident": node.map(|node| node.documents),
            "document_sessions": in_memory.as_ref().map(|documents| sessions(documents)),
            "sessions_left_behind": in_memory.as_ref().map(|documents| left_behind(documents)),
            "documents_quarantined": node.map(|node| node.quarantined),
            "resident_bytes": node.map(|node| node.resident_bytes),
            "failing_appends": node.map(|node| node.failing_appends),
        },
        "load": node.zip(in_memory.as_deref()).map(|(node, documents)| load(&node, documents)),
        "ring": serving.map(Serving::ring),
        "cluster": serving.filter(|serving| serving.others.clustered()).map(|_| config.cluster.clone()),
        "coordinator": admin.health.coordinator(),
        "store": store(admin),
        "process": Process::now(),
        "faults": admin.faults.list(),
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Alone => "alone",
        Role::Node => "node",
        Role::Router => "router",
    }
}

/// Of the documents that are hosted here, wherever their editors are connected.
fn sessions(documents: &[InMemory]) -> usize {
    documents.iter().map(|document| document.sessions).sum()
}

/// Sessions whose editors have sent something that is not in the document.
fn left_behind(documents: &[InMemory]) -> usize {
    documents.iter().map(|document| document.left_behind).sum()
}

/// What they move together, and how long that takes to become durable.
fn load(node: &NodeStatus, documents: &[InMemory]) -> Value {
    let mut load = busiest::rates(documents.iter().map(|document| document.per_second).sum());
    load["acknowledged_in_seconds"] = match node.acknowledged_in {
        Some(latency) => json!({ "p50": latency.p50.as_secs_f64(), "p99": latency.p99.as_secs_f64() }),
        None => Value::Null,
    };
    load
}

/// Null: this process hosts no documents.
fn store(admin: &Admin) -> Value {
    let config = &admin.facts.config;
    match config.role {
        Role::Router => Value::Null,
        Role::Node => json!({
            "keeps_nothing": false,
            "kind": "postgres",
            "address": without_password(&config.store),
        }),
        Role::Alone if config.memory => json!({ "keeps_nothing": true, "kind": "memory" }),
        Role::Alone => json!({
            "keeps_nothing": false,
            "kind": "sqlite",
            "bytes": admin.backup.as_ref().map(|store| file_bytes(store.database())),
            "folder": absolute(&config.data),
        }),
    }
}

/// The database and the log beside it that is not yet part of it.
fn file_bytes(database: &Path) -> u64 {
    let log = database.with_extension("db-wal");
    [database, &log].iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// Whoever asks has another working directory.
fn absolute(folder: &Path) -> String {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()).to_string_lossy().into_owned()
}
