//! `POST /api/v1/nodes/{node}/drain`: hand everything off, then end the process. Asked again, it says how far that is.
//!
//! The process waits for a moment at the end, so that whoever asked can hear what came of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use ringleaf_node::{Drained, Stopped};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::nodes::{named, not_answered, unknown};
use super::others;
use super::ring::{Answer, body, or_refusal};
use super::{Admin, Stage};

/// An answer comes after so long, finished or not.
const ANSWER_INTERVAL: Duration = Duration::from_millis(300);
/// Limit: nobody waits longer for a drain. Larger numbers mean "as long as it takes", and this is.
const SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// So long somebody who has asked may take to ask again.
const TOLD_TIMEOUT: Duration = Duration::from_secs(3);

/// What operators want drained, and what came of it.
pub(crate) struct Drain {
    /// Within which time. None: nobody has asked.
    wanted: watch::Sender<Option<Duration>>,
    ended: watch::Sender<Option<(Drained, Stopped)>>,
    told: Notify,
}

impl Drain {
    pub(crate) fn new() -> Arc<Self> {
        let (wanted, ended) = (watch::Sender::new(None), watch::Sender::new(None));
        Arc::new(Self { wanted, ended, told: Notify::new() })
    }

    /// Waits until somebody asks; answers how long it may take.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn wanted(&self) -> Duration {
        let mut wanted = self.wanted.subscribe();
        match wanted.wait_for(Option::is_some).await {
            Ok(within) => within.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Nothing is left here. Returns when whoever asked has heard of it, or does not come any more.
    pub(crate) async fn end(&self, drained: Drained, stopped: Stopped) {
        self.ended.send_replace(Some((drained, stopped)));
        if self.wanted.borrow().is_some() {
            let _nobody_came = timeout(TOLD_TIMEOUT, self.told.notified()).await;
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    seconds: u64,
}

pub(super) async fn post(State(admin): State<Admin>, Path(name): Path<String>, bytes: Bytes) -> Response {
    or_refusal(drain(&admin, &name, &bytes).await)
}

async fn drain(admin: &Admin, name: &str, bytes: &Bytes) -> Answer {
    let (others, node) = (admin.others()?, named(name)?);
    others.etcd()?;
    let Asked { seconds } = body(bytes)?;
    if !others.is_here(&node) {
        let view = others.view()?;
        let member = view.member(&node).ok_or_else(|| unknown(&node))?;
        let path = format!("/api/v1/nodes/{node}/drain");
        let request = others::request("POST", &path, &json!({ "seconds": seconds }));
        let answer =
            others.ask_one(member, request).await.map_err(|problem| not_answered(&node, &problem))?;
        return Ok(Json(answer).into_response());
    }
    admin.drain.wanted.send_if_modified(|wanted| {
        let first = wanted.is_none();
        wanted.get_or_insert(Duration::from_secs(seconds.min(SECONDS_MAX)));
        first
    });
    let mut ended = admin.drain.ended.subscribe();
    let known = timeout(ANSWER_INTERVAL, ended.wait_for(Option::is_some)).await;
    let known = known.ok().and_then(Result::ok).and_then(|ended| *ended);
    if known.is_some() {
        admin.drain.told.notify_one();
    }
    Ok(Json(progress(admin, name, known)).into_response())
}

fn progress(admin: &Admin, node: &str, ended: Option<(Drained, Stopped)>) -> Value {
    let (moves, resident) = admin.health.node().map(|node| (node.moves, node.documents)).unwrap_or_default();
    let (moves, outcome) = match ended {
        Some((drained, _)) => (drained.moves, "drained"),
        None if admin.health.stage() == Stage::Stopping => (moves, "draining"),
        None => (moves, "asked"),
    };
    json!({
        "node": node,
        "outcome": outcome,
        "moved": moves.moved,
        "forgotten": moves.forgotten,
        "let_go": moves.let_go,
        "left": ended.map_or(resident, |(drained, _)| drained.left),
        "forced": ended.map(|(_, stopped)| stopped.forced),
    })
}
