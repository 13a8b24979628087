//! What operators write. Each is one compare-and-set; they are rare, so each makes its own connection.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use ringleaf_ring::{PINS_MAX, Weight};
use ringleaf_types::NodeId;
use tokio::sync::watch;

use super::record::Keys;
use super::{Etcd, connect};
use crate::{RingConfig, RingConfigError};

/// The ring configuration in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedConfig {
    pub config: RingConfig,
    /// As it was written, with its comments.
    pub text: String,
    /// The revision of the last change, which whoever changes it next must know.
    pub revision: u64,
}

/// What operators have said of members, also of those that are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    pub cordoned: BTreeSet<NodeId>,
    pub weights: BTreeMap<NodeId, Weight>,
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("etcd does not answer: {problem}")]
    Away { problem: String },
    #[error("no member is called {node}")]
    Unknown { node: NodeId },
    #[error("node {node} is a member: stop it first, or wait until its lease has run out")]
    Lives { node: NodeId },
    #[error("somebody else has changed it, at revision {revision}: look again")]
    Changed { revision: u64 },
    #[error("it is for cluster {theirs}, and this is {ours}")]
    OtherCluster { ours: String, theirs: String },
    #[error("the document is not pinned")]
    NotPinned,
    #[error("node {node} is of a version that knows no pins: it would take the document back")]
    KnowsNoPins { node: String },
    #[error("{PINS_MAX} documents are pinned, which is as many as can be")]
    TooManyPins,
    #[error("no ring configuration")]
    Config(#[from] RingConfigError),
}

/// Reads what stands in etcd, if it is a ring configuration.
pub(super) fn applied(text: &[u8], revision: i64) -> Result<AppliedConfig, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let config = RingConfig::parse(text).map_err(|error| error.to_string())?;
    Ok(AppliedConfig { config, text: text.into(), revision: u64::try_from(revision).unwrap_or(0) })
}

/// What stands there instead of what was expected: the transaction has got it.
fn changed(done: TxnResponse) -> WriteError {
    let found = done.op_responses().into_iter().find_map(|response| match response {
        TxnOpResponse::Get(found) => found.kvs().first().map(|kv| kv.mod_revision()),
        _ => None,
    });
    WriteError::Changed { revision: found.and_then(|at| u64::try_from(at).ok()).unwrap_or(0) }
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| u64::try_from(header.revision()).unwrap_or(0))
}

impl Etcd {
    /// Reads what operators have said of members.
    ///
    /// # Errors
    ///
    /// etcd does not answer.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn orders(&self) -> Result<Orders, WriteError> {
        let keys = self.keys();
        let mut client = self.client().await?;
        let found = client.get(keys.prefix(), Some(GetOptions::new().with_prefix())).await;
        let found = found.map_err(|error| WriteError::Away { problem: error.to_string() })?;
        Ok(keys.facts(found.kvs().iter().map(|kv| (kv.key(), kv.value()))).orders())
    }

    /// The ring configuration in etcd, and its changes. `None`: nobody has applied one, as far as is known.
    pub fn config(&self) -> watch::Receiver<Option<AppliedConfig>> {
        self.shared.config.subscribe()
    }

    /// Reads what stands in etcd as the ring configuration at this moment, whether it can be used or not, and its
    /// revision.
    ///
    /// # Errors
    ///
    /// etcd does not answer.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn read_config(&self) -> Result<Option<(String, u64)>, WriteError> {
        let mut client = self.client().await?;
        let found = client.get(self.keys().config(), None).await;
        let found = found.map_err(|error| WriteError::Away { problem: error.to_string() })?;
        Ok(found.kvs().first().map(|kv| {
            let text = String::from_utf8_lossy(kv.value()).into_owned();
            (text, u64::try_from(kv.mod_revision()).unwrap_or(0))
        }))
    }

    /// Writes a ring configuration in place of the one of revision `expected` (0: there is none). Returns its revision.
    ///
    /// # Errors
    ///
    /// It is not valid, it is for another cluster, or it is not the expected one that stands there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was written; doing it again finds out.
    pub async fn apply(&self, text: &str, expected: u64) -> Result<u64, WriteError> {
        let config = RingConfig::parse(text)?;
        if config.cluster != self.config.cluster {
            return Err(WriteError::OtherCluster {
                ours: self.config.cluster.clone(),
                theirs: config.cluster,
            });
        }
        self.replace(self.keys().config(), text, expected).await
    }

    /// Sets a member's weight in place of the one that it has of itself, or ends that (`None`).
    ///
    /// # Errors
    ///
    /// There is no such member.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was written; doing it again does no harm.
    pub async fn put_weight(&self, node: &NodeId, weight: Option<Weight>) -> Result<(), WriteError> {
        let key = self.keys().weight(node);
        self.of_member(
            node,
            match weight {
                Some(weight) => TxnOp::put(key, weight.get().to_string(), None),
                None => TxnOp::delete(key, None),
            },
        )
        .await
    }

    /// Takes a member off the ring while it runs on (as if it drained), or lets it back.
    ///
    /// # Errors
    ///
    /// There is no such member.
    ///
    /// # Cancel safety
    ///
    /// As [`put_weight`](Self::put_weight).
    pub async fn cordon(&self, node: &NodeId, cordoned: bool) -> Result<(), WriteError> {
        let key = self.keys().cordon(node);
        self.of_member(node, if cordoned { TxnOp::put(key, "", None) } else { TxnOp::delete(key, None) })
            .await
    }

    /// Removes what operators have said of a member that is gone: it starts as any other if it comes back.
    ///
    /// # Errors
    ///
    /// It is still on record.
    ///
    /// # Cancel safety
    ///
    /// As [`put_weight`](Self::put_weight).
    pub async fn forget(&self, node: &NodeId) -> Result<(), WriteError> {
        let keys = self.keys();
        let txn = Txn::new()
            .when([Compare::create_revision(keys.member(node), CompareOp::Equal, 0)])
            .and_then([TxnOp::delete(keys.cordon(node), None), TxnOp::delete(keys.weight(node), None)]);
        let done = self.write(txn).await?;
        if done.succeeded() { Ok(()) } else { Err(WriteError::Lives { node: node.clone() }) }
    }

    async fn of_member(&self, node: &NodeId, operation: TxnOp) -> Result<(), WriteError> {
        let there = Compare::create_revision(self.keys().member(node), CompareOp::Greater, 0);
        let done = self.write(Txn::new().when([there]).and_then([operation])).await?;
        if done.succeeded() { Ok(()) } else { Err(WriteError::Unknown { node: node.clone() }) }
    }

    /// Writes in place of what was written at revision `expected` (0: nothing). Returns the revision of this.
    pub(super) async fn replace(&self, key: String, value: &str, expected: u64) -> Result<u64, WriteError> {
        let expected = i64::try_from(expected).unwrap_or(i64::MAX);
        let txn = Txn::new()
            .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, expected)])
            .and_then([TxnOp::put(key.as_str(), value, None)])
            .or_else([TxnOp::get(key.as_str(), None)]);
        let done = self.write(txn).await?;
        if done.succeeded() { Ok(revision(done.header())) } else { Err(changed(done)) }
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::of(&self.config.cluster)
    }

    /// Asks the first endpoint that answers. Nothing is sent twice unless its first sending is known to have failed.
    pub(super) async fn write(&self, txn: Txn) -> Result<TxnResponse, WriteError> {
        let mut client = self.client().await?;
        client.txn(txn).await.map_err(|error| WriteError::Away { problem: error.to_string() })
    }

    pub(super) async fn client(&self) -> Result<Client, WriteError> {
        let mut problem = "no address of etcd is given".to_owned();
        for endpoint in &self.config.endpoints {
            match connect::connect(&self.config, endpoint).await {
                Ok(mut client) => {
                    // A connection is only tried by its first question.
                    let asked =
                        client.get(self.keys().prefix(), Some(GetOptions::new().with_count_only())).await;
                    match asked {
                        Ok(_) => return Ok(client),
                        Err(error) => problem = error.to_string(),
                    }
                }
                Err(error) => problem = error,
            }
        }
        Err(WriteError::Away { problem })
    }
}
