//! `POST /api/v1/backup {"file": "/absolute/path"}`: this process writes the file, and says in JSON lines how far it is.
//!
//! The last line is `{"outcome": "written", …}` or `{"error": …}`. A backup goes on when whoever asked goes away.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use ringleaf_store::{BackupError, BackupProgress, SqliteStore};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Admin, error};
use crate::config::Role;

/// Steps that nobody has read yet. Above it: they are left out, a later one says more.
const STEPS_WAITING_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    file: PathBuf,
}

pub(super) async fn post(
    State(admin): State<Admin>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Response {
    let Json(Wanted { file }) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, "bad_request", &rejection.body_text(), ""),
    };
    if admin.facts.config.role != Role::Alone {
        let text = "the documents of a cluster are in its database, not in a folder of this process";
        return error(StatusCode::CONFLICT, "not_here", text, "back up the database with its own tools");
    }
    let Some(store) = admin.backup else {
        let advice = "start the server without --memory";
        return error(
            StatusCode::CONFLICT,
            "keeps_nothing",
            "this server keeps nothing that could be copied",
            advice,
        );
    };
    if !file.is_absolute() {
        return error(
            StatusCode::BAD_REQUEST,
            "relative_path",
            "the server has a working directory of its own",
            "give an absolute path",
        );
    }
    if file.symlink_metadata().is_ok() {
        let text = format!("{} exists already", file.display());
        return error(
            StatusCode::CONFLICT,
            "file_exists",
            &text,
            "a backup never overwrites anything, give another name",
        );
    }
    let lines = Lines::start(store, file);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines.stream())).into_response()
}

/// A backup under way.
struct Lines {
    backup: Pin<Box<dyn Future<Output = Value> + Send>>,
    steps: mpsc::Receiver<BackupProgress>,
    outcome: Option<Value>,
    ended: bool,
}

impl Lines {
    fn start(store: Arc<SqliteStore>, file: PathBuf) -> Self {
        let (sender, steps) = mpsc::channel(STEPS_WAITING_MAX);
        let backup = async move {
            let progress = move |step| {
                let _left_out = sender.try_send(step);
            };
            outcome(&file, store.backup(&file, progress).await)
        };
        Self { backup: Box::pin(backup), steps, outcome: None, ended: false }
    }

    fn stream(self) -> impl Stream<Item = Result<String, Infallible>> {
        stream::unfold(self, |mut lines| async move {
            let line = lines.next().await?;
            Some((Ok(format!("{line}\n")), lines))
        })
    }

    async fn next(&mut self) -> Option<Value> {
        while self.outcome.is_none() {
            tokio::select! {
                biased;
                outcome = &mut self.backup => self.outcome = Some(outcome),
                Some(step) = self.steps.recv() => return Some(line(step)),
            }
        }
        // Order: what was said on the way comes before the outcome.
        if let Ok(step) = self.steps.try_recv() {
            return Some(line(step));
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        self.outcome.clone()
    }
}

fn line(step: BackupProgress) -> Value {
    json!({ "pages_done": step.pages_done, "pages": step.pages })
}

fn outcome(file: &std::path::Path, result: Result<(), BackupError>) -> Value {
    let error = match result {
        Ok(()) => {
            let bytes = std::fs::metadata(file).map_or(0, |file| file.len());
            info!(bytes, "backup written");
            return json!({ "outcome": "written", "file": file.to_string_lossy(), "bytes": bytes });
        }
        Err(error) => error,
    };
    let message = crate::exit::chain(&error);
    warn!(error = %message, "backup not written");
    let code = match error {
        BackupError::Exists { .. } => "file_exists",
        BackupError::Write { .. } => "cannot_write",
        BackupError::Damaged { .. } => "damaged",
        BackupError::Read(_) => "store",
    };
    json!({ "error": { "code": code, "message": message, "advice": "" } })
}
