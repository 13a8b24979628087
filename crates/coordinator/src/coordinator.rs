//! The trait: what a process may ask of whoever keeps the agreed facts.

use std::sync::Arc;

use async_trait::async_trait;
use ringleaf_ring::{Member, RingView};
use ringleaf_types::{Incarnation, NodeId, RingVersion};
use tokio::sync::watch;

use crate::Pacing;

/// The newest ring view. `None`: none is known yet, because no member has ever served.
pub type Ring = watch::Receiver<Option<Arc<RingView>>>;

/// Keeps the agreed facts, and says when they change.
#[async_trait]
pub trait Coordinator: Send + Sync + 'static {
    /// The ring view, and its changes. Views of one coordinator only ever get newer (I17). It closes when the coordinator
    /// is dropped.
    fn ring(&self) -> Ring;

    /// Puts this member on record and keeps it there, in this and in every later state, until [`withdraw`](Self::withdraw)
    /// or drop. While the coordinator's store is away the member stays as it is and is put on record when it is back.
    ///
    /// # Errors
    ///
    /// Another process lives under this name.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the member is on record; calling it again finds out.
    async fn register(&self, member: Member) -> Result<(), RegisterError>;

    /// Takes the member that was registered here off the record, and returns when nobody can find it there any more, or
    /// when its lease will have run out by itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the rest to the lease.
    async fn withdraw(&self);

    /// Somebody has seen this version: look, unless it is known.
    fn heard(&self, version: RingVersion);

    /// Whether this version is not known here and cannot be asked for now: then whoever has heard of it may tell.
    fn lacks(&self, version: RingVersion) -> bool {
        !self.knows(version) && !self.status().connected
    }

    /// Another process of this cluster has told its view. It counts while the coordinator's store is away, if it is newer
    /// than everything that is known here (I17); the store itself has the last word when it is back. Never waits.
    fn told(&self, cluster: &str, view: Arc<RingView>) {
        let _nothing_is_lacking = (cluster, view);
    }

    /// Follows the facts no more, and returns when nothing is under way; what was known last stays.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the end to itself.
    async fn close(&self) {}

    /// Whether everything through this version is in the ring view already. That may have a lower version: one that changed
    /// nothing, or that was taken back before it was seen here, makes no view.
    fn knows(&self, version: RingVersion) -> bool {
        self.ring().borrow().as_ref().is_some_and(|view| view.version() >= version)
    }

    /// How fast documents may move, by what operators have said last, as far as is known here.
    fn pacing(&self) -> Pacing {
        Pacing::default()
    }

    /// How the way to the coordinator's store is.
    fn status(&self) -> CoordinatorStatus;
}

/// Why a member cannot be put on record.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// Two processes of one name would both think that they own its documents.
    #[error(
        "another process (incarnation {incarnation}) lives as node {node}: stop it, or give this one another id"
    )]
    Foreign { node: NodeId, incarnation: Incarnation },
    /// What the member says about itself cannot be kept.
    #[error("the member cannot be put on record: {reason}")]
    Refused { reason: String },
}

/// How the way to the coordinator's store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoordinatorStatus {
    /// Where the facts are: `embedded`, or the addresses of etcd.
    pub place: String,
    /// The store answers.
    pub connected: bool,
    /// Since when it is as it is, in seconds.
    pub since_seconds: u64,
    /// Why it does not answer.
    pub problem: Option<String>,
    /// A foreign process has taken this member's name: this one must stop.
    pub displaced: bool,
}
