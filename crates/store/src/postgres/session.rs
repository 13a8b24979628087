//! What a session is told when it begins, and what the server promises about commits.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, HookError};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::OpenPostgresError;
use super::connections::{CONNECT_TIMEOUT, Lent, STATEMENT_TIMEOUT};
use crate::StoreError;

/// How often it is looked whether the server still keeps its promises. A reload of its configuration changes them.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// An answered commit is on disk, and with a synchronous standby on that one's, too. `remote_apply` promises more; `local`
/// and `remote_write` promise less of the standby, `off` promises nothing. Said by each session for itself, what it
/// finds included, so that a reload changes nothing. A database that only speaks PostgreSQL's protocol may not know the setting.
const COMMIT_FOR_GOOD: &str = "
    SELECT set_config('synchronous_commit', CASE found WHEN 'remote_apply' THEN found ELSE 'on' END, false)
    FROM current_setting('synchronous_commit', true) AS found WHERE found IS NOT NULL";
const FSYNC: &str = "SELECT current_setting('fsync', true)";

/// What a session has that sets nothing for itself.
const COMMIT_BY_DEFAULT: &str = "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'";

/// Whether the server keeps its promises, as far as anybody has looked.
#[derive(Default)]
pub(super) struct Promises {
    broken: Mutex<Option<(&'static str, String)>>,
    looked_at: Mutex<Option<Instant>>,
}

impl Promises {
    /// The setting under which an answered commit may be lost, and its value.
    pub(super) fn broken(&self) -> Option<(&'static str, String)> {
        self.broken.lock().expect("no holder of this lock panics").clone()
    }

    /// Looks again from time to time, with a connection that somebody has anyway.
    pub(super) async fn look(&self, connection: &mut Lent) -> Result<(), StoreError> {
        if self.is_due(Instant::now()) {
            let rows = connection.query(FSYNC, &[]).await?;
            self.found(rows.first().and_then(|row| row.get(0)));
        }
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut looked_at = self.looked_at.lock().expect("no holder of this lock panics");
        let due = looked_at.is_none_or(|at| now >= at + LOOK_INTERVAL);
        if due {
            *looked_at = Some(now);
        }
        due
    }

    /// Notes `fsync`, and says so when it has changed. The only one that no session can set for itself.
    fn found(&self, fsync: Option<String>) {
        let now = fsync.filter(|value| value == "off").map(|value| ("fsync", value));
        let before =
            std::mem::replace(&mut *self.broken.lock().expect("no holder of this lock panics"), now.clone());
        match (before, now) {
            (None, Some((setting, value))) => {
                tracing::error!(setting, value, "acknowledged edits may be lost in a crash of the database");
            }
            (Some((setting, _)), None) => tracing::info!(setting, "commits of the database are safe again"),
            _ => {}
        }
    }
}

/// Refuses a database of which somebody has said that its commits need not be durable. Our own sessions would be safe all the
/// same; other programs' would not, nor is it what an operator should find out after a crash.
pub(super) async fn refuse_turned_off(session: &Client) -> Result<(), OpenPostgresError> {
    let found = session.query_opt(COMMIT_BY_DEFAULT, &[]).await;
    let found = found.map_err(|error| OpenPostgresError::database(StoreError::from(error)))?;
    match found.map(|row| row.get::<_, String>(0)).filter(|value| value == "off") {
        Some(value) => Err(OpenPostgresError::Unsafe { setting: "synchronous_commit", value }),
        None => Ok(()),
    }
}

/// Every new session is set up and checked: what the server promises may have changed since the store was opened.
pub(super) async fn set_up(client: &mut ClientWrapper, promises: Arc<Promises>) -> Result<(), HookError> {
    let silent = |_| HookError::message("the database went silent while a session was set up");
    timeout(CONNECT_TIMEOUT, set_up_and_check(client, &promises)).await.map_err(silent)?
}

async fn set_up_and_check(client: &Client, promises: &Promises) -> Result<(), HookError> {
    let limit = STATEMENT_TIMEOUT.as_millis();
    // The second: a process that is stopped inside a transaction must not keep its locks.
    let settings = format!(
        "SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}; {COMMIT_FOR_GOOD}"
    );
    client.batch_execute(&settings).await.map_err(HookError::Backend)?;
    // A statement that was given up ends soon, instead of waiting on for a lock, say. A server before PostgreSQL 14, or on
    // a system that cannot look, does not know the setting; there it ends at its time limit.
    match client.batch_execute("SET client_connection_check_interval = 1000").await {
        Err(error) if error.code().is_none() => return Err(HookError::Backend(error)),
        _ => {}
    }
    let row = client.query_one(FSYNC, &[]).await.map_err(HookError::Backend)?;
    promises.found(row.get(0));
    match promises.broken() {
        None => Ok(()),
        Some((setting, value)) => {
            Err(HookError::message(OpenPostgresError::Unsafe { setting, value }.to_string()))
        }
    }
}
