//! Whether documents may move because the ring has changed: what operators say of that, under one key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use etcd_client::KeyValue;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Etcd, WriteError};

/// Whether documents move because the ring has changed. Without a word from operators they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebalance {
    pub paused: bool,
    /// When that was said, in seconds since 1970. `None`: nobody has said anything.
    pub since: Option<u64>,
    /// The revision of the last change, which whoever changes it next must know. 0: there was none.
    pub revision: u64,
}

/// What stands under the key. Fields that a newer version adds are passed over.
#[derive(Serialize, Deserialize)]
struct Record {
    paused: bool,
    #[serde(default)]
    since: Option<u64>,
}

/// What it means that this stands there. What cannot be read stops nobody.
pub(super) fn found(found: Option<&KeyValue>) -> Rebalance {
    let Some(found) = found else { return Rebalance::default() };
    let record = serde_json::from_slice(found.value()).unwrap_or_else(|error| {
        warn!(%error, "what is said of rebalancing in etcd cannot be read, so documents move");
        Record { paused: false, since: None }
    });
    let revision = u64::try_from(found.mod_revision()).unwrap_or(0);
    Rebalance { paused: record.paused, since: record.since, revision }
}

impl Etcd {
    /// Reads what stands in etcd at this moment.
    ///
    /// # Errors
    ///
    /// etcd does not answer.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn rebalance(&self) -> Result<Rebalance, WriteError> {
        let mut client = self.client().await?;
        let answer = client.get(self.keys().rebalance(), None).await;
        let answer = answer.map_err(|error| WriteError::Away { problem: error.to_string() })?;
        Ok(found(answer.kvs().first()))
    }

    /// What was heard last. It may be old while etcd is away.
    pub fn known_rebalance(&self) -> Rebalance {
        *self.shared.rebalance.borrow()
    }

    /// Says whether documents may move, in place of what was said at revision `expected` (0: nothing). Returns the new
    /// revision. Nodes hear of it as of any change.
    ///
    /// # Errors
    ///
    /// etcd does not answer, or somebody has said something else meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was written; looking finds out.
    pub async fn pause_rebalance(&self, paused: bool, expected: u64) -> Result<u64, WriteError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
        let value = serde_json::to_string(&Record { paused, since }).expect("a record has only plain values");
        self.replace(self.keys().rebalance(), &value, expected).await
    }
}
