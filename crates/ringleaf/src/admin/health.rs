//! Is the process alive, and should it be sent work?

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringleaf_coordinator::Coordinator;
use ringleaf_node::{Node, NodeStatus};
use ringleaf_store::Store;
use serde::Serialize;
use tokio::time::timeout;

use super::Admin;

/// How long the store may take to answer a readiness check.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    Starting,
    Serving,
    Stopping,
    /// A command that works on the folder of a stopped server.
    Stopped,
}

/// What readiness depends on.
#[derive(Clone)]
pub(crate) struct Health {
    stage: Arc<AtomicU8>,
    documents: Option<Documents>,
    cluster: Option<Arc<dyn Coordinator>>,
}

/// What a process has that hosts documents.
#[derive(Clone)]
pub(crate) struct Documents {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: Arc<Node>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

impl Health {
    /// `cluster` is who keeps the facts, if this process has others beside it.
    pub(crate) fn new(
        stage: Stage,
        documents: Option<Documents>,
        cluster: Option<Arc<dyn Coordinator>>,
    ) -> Self {
        Self { stage: Arc::new(AtomicU8::new(stage as u8)), documents, cluster }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    pub(crate) fn stage(&self) -> Stage {
        let stages = [Stage::Starting, Stage::Serving, Stage::Stopping, Stage::Stopped];
        stages[usize::from(self.stage.load(Ordering::Acquire))]
    }

    /// All checks, each on its own, so that one answer names everything that is wrong.
    pub(crate) async fn checks(&self) -> Vec<Check> {
        let stage = self.stage();
        let listening = Check {
            name: "listener",
            ok: stage == Stage::Serving,
            detail: match stage {
                Stage::Starting => "not yet open".into(),
                Stage::Serving => "open".into(),
                Stage::Stopping | Stage::Stopped => "closed".into(),
            },
        };
        let stopping = Check {
            name: "stopping",
            ok: stage != Stage::Stopping,
            detail: if stage == Stage::Stopping { "yes".into() } else { "no".into() },
        };
        let mut checks = Vec::new();
        if let Some(documents) = &self.documents {
            checks.push(documents.check().await);
            // Of its own, so that the store still counts as reached: no other node's promises are better.
            checks.extend(documents.store.alarm().map(|detail| Check {
                name: "durability",
                ok: false,
                detail,
            }));
        }
        checks.extend([listening, stopping]);
        if let Some(cluster) = &self.cluster {
            checks.extend([ring(&**cluster), coordinator(&**cluster)]);
        }
        checks
    }

    /// Whether the store answers within that time. Not whether it takes every append: what one document cannot have
    /// stored here it could not have stored elsewhere either. A process without documents needs no store.
    pub(crate) async fn reaches_store(&self, within: Duration) -> bool {
        match &self.documents {
            Some(documents) => matches!(timeout(within, documents.store.tails(&[])).await, Ok(Ok(_))),
            None => true,
        }
    }

    /// `None`: this process hosts no documents.
    pub(crate) fn node(&self) -> Option<NodeStatus> {
        Some(self.host()?.status())
    }

    /// The same.
    pub(crate) fn host(&self) -> Option<&Node> {
        self.documents.as_ref().map(|documents| &*documents.node)
    }

    /// How the way to etcd is. `None`: there is no cluster.
    pub(super) fn coordinator(&self) -> Option<serde_json::Value> {
        let status = self.cluster.as_ref()?.status();
        Some(serde_json::json!({
            "place": status.place,
            "connected": status.connected,
            "since_seconds": status.since_seconds,
            "problem": status.problem,
        }))
    }
}

/// Without a ring nobody knows where any document is.
fn ring(cluster: &dyn Coordinator) -> Check {
    let view = cluster.ring().borrow().clone();
    let (ok, detail) = match view {
        Some(view) => (true, format!("version {}, {} node(s)", view.version(), view.members().len())),
        None => (false, "no node has served yet".into()),
    };
    Check { name: "ring", ok, detail }
}

/// It may be away for as long as it likes: the last ring goes on. So this is news, and no reason to send work elsewhere.
fn coordinator(cluster: &dyn Coordinator) -> Check {
    let status = cluster.status();
    let detail = match (status.connected, status.problem) {
        (true, _) => format!("{} answers", status.place),
        (false, problem) => format!(
            "away for {} s, the ring stays as it is: {}",
            status.since_seconds,
            problem.unwrap_or_else(|| "not yet connected".into())
        ),
    };
    Check { name: "coordinator", ok: true, detail }
}

impl Documents {
    /// Whether the store answers, and takes what documents want to append.
    async fn check(&self) -> Check {
        let failing = self.node.status().failing_appends;
        let (ok, detail) = match timeout(STORE_TIMEOUT, self.store.tails(&[])).await {
            Ok(Ok(_)) if failing > 0 => {
                (false, format!("does not take the appends of {failing} document(s)"))
            }
            Ok(Ok(_)) => (true, "answers".into()),
            Ok(Err(error)) => (false, crate::exit::chain(&error)),
            Err(_) => (false, format!("no answer within {} s", STORE_TIMEOUT.as_secs())),
        };
        Check { name: "store", ok, detail }
    }
}

/// The process answers. Nothing else is asked: a restart would not bring back a disk.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 if this process should be sent work, else 503. With `?verbose`, one line per check.
pub(super) async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let checks = admin.health.checks().await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verdict = if ready { "ok" } else { "not ready" };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    let lines: String = checks
        .iter()
        .filter(|check| verbose || !check.ok)
        .map(|check| format!("[{}] {}: {}\n", if check.ok { '+' } else { '-' }, check.name, check.detail))
        .collect();
    (status, format!("{lines}{verdict}\n")).into_response()
}
