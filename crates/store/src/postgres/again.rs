//! A statement that may be sent twice: when nothing is heard of it, another connection is asked as well.
//!
//! The first one goes on being waited for, so a database that is merely slow does the work it has begun, and gets one
//! more of the same. Of each statement at most one more is under way, and all count as lent.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

use super::connections::{Connections, Params};
use crate::StoreError;

/// Between two connections that are asked in place of a silent one.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs a statement that is as good twice as once.
///
/// # Cancel safety
///
/// A statement whose future is dropped may still be carried out.
pub(super) async fn insist(
    connections: &Connections,
    sql: &'static str,
    params: &Params<'_>,
) -> Result<Result<Vec<Row>, tokio_postgres::Error>, StoreError> {
    let mut first = connections.get().await?;
    let asked_at = Instant::now();
    let patience = connections.patience();
    let mut answer = std::pin::pin!(first.try_query(sql, params));
    if let Ok(outcome) = timeout(patience, &mut answer).await {
        connections.asked_in_vain(false);
        return outcome;
    }
    // Order: before another one is asked for, so that none is lent that is as old and as silent.
    connections.doubt_rested(asked_at);
    tokio::select! {
        biased;
        outcome = answer => {
            connections.asked_in_vain(true);
            outcome
        }
        outcome = ask_another(connections, sql, params, patience) => {
            let elapsed_ms = asked_at.elapsed().as_millis();
            tracing::info!(elapsed_ms, "a connection to the database was silent, another one answered");
            connections.asked_in_vain(false);
            Ok(outcome)
        }
    }
}

/// Asks one connection after the other, each for longer. When to give up is for whoever waits for the first.
async fn ask_another(
    connections: &Connections,
    sql: &'static str,
    params: &Params<'_>,
    mut patience: Duration,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    loop {
        patience = patience.saturating_mul(2);
        if let Ok(mut another) = connections.get().await
            && let Ok(Ok(outcome)) = timeout(patience, another.try_query(sql, params)).await
        {
            return outcome;
        }
        sleep(PAUSE).await;
    }
}
