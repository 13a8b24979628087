//! Pinning documents to nodes. An operator's word, like those of `operator`.

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp};
use ringleaf_ring::PINS_MAX;
use ringleaf_types::{DocumentId, NodeId, RingVersion};

use super::operator::revision;
use super::{Etcd, WriteError, record};

/// So often in a row no other operator pins something by chance.
const TRIES_MAX: usize = 8;

impl Etcd {
    /// Pins the document to a member, in place of another pin that it may have. Returns the version from which on views
    /// have it.
    ///
    /// # Errors
    ///
    /// There is no such member, there are as many pins as there may be, or not all members know what a pin is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was written; doing it again does no harm.
    pub async fn pin(&self, document: &DocumentId, node: &NodeId) -> Result<RingVersion, WriteError> {
        let (keys, mut client) = (self.keys(), self.client().await?);
        let away = |error: etcd_client::Error| WriteError::Away { problem: error.to_string() };
        let (pin, pinned, member) = (keys.pin(document), keys.pinned(), keys.member(node));
        let mut seen = 0;
        for _ in 0..TRIES_MAX {
            // Order: the guard before what it guards. Whoever pins in between changes it, and is noticed.
            let guard = client.get(pinned.as_str(), None).await.map_err(away)?;
            seen = guard.kvs().first().map_or(0, KeyValue::mod_revision);
            let all = GetOptions::new().with_prefix().with_keys_only();
            let all = client.get(keys.pins(), Some(all)).await.map_err(away)?;
            if all.kvs().len() >= PINS_MAX && !all.kvs().iter().any(|kv| kv.key() == pin.as_bytes()) {
                return Err(WriteError::TooManyPins);
            }
            let members =
                client.get(keys.members(), Some(GetOptions::new().with_prefix())).await.map_err(away)?;
            if let Some(older) = members.kvs().iter().find(|kv| !record::knows_pins(kv.value())) {
                let node = String::from_utf8_lossy(&older.key()[keys.members().len()..]).into_owned();
                return Err(WriteError::KnowsNoPins { node });
            }
            let conditions = [
                Compare::mod_revision(pinned.as_str(), CompareOp::Equal, seen),
                Compare::create_revision(member.as_str(), CompareOp::Greater, 0),
            ];
            let puts = [TxnOp::put(pin.as_str(), node.as_str(), None), TxnOp::put(pinned.as_str(), "", None)];
            let done = client.txn(Txn::new().when(conditions).and_then(puts)).await.map_err(away)?;
            if done.succeeded() {
                return Ok(RingVersion::new(revision(done.header())));
            }
            if client.get(member.as_str(), None).await.map_err(away)?.kvs().is_empty() {
                return Err(WriteError::Unknown { node: node.clone() });
            }
        }
        Err(WriteError::Changed { revision: u64::try_from(seen).unwrap_or(0) })
    }

    /// Ends the document's pin: the ring decides again. Returns the version from which on views are without it.
    ///
    /// # Errors
    ///
    /// It is not pinned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was written; doing it again finds out.
    pub async fn unpin(&self, document: &DocumentId) -> Result<RingVersion, WriteError> {
        let pin = self.keys().pin(document);
        let there = Compare::create_revision(pin.as_str(), CompareOp::Greater, 0);
        let gone = TxnOp::delete(pin.as_str(), None);
        let done = self.write(Txn::new().when([there]).and_then([gone])).await?;
        if !done.succeeded() {
            return Err(WriteError::NotPinned);
        }
        Ok(RingVersion::new(revision(done.header())))
    }
}
