//! The agreed facts: who the members are, and which ring follows from that.
//!
//! ```text
//! coordinator ──watch::Receiver<Option<Arc<RingView>>>──▶ router (who owns this name?) · node (what should I own?)
//! ```
//!
//! On one machine the facts are [`Embedded`] in the process: a ring of one, for ever. In a cluster they are in [`Etcd`].
//!
//! **Must not** know documents, or decide who *may* write to one: that is the log's to say.
//!
//! Start reading at [`Coordinator`].

pub mod contract;
mod coordinator;
mod embedded;
mod etcd;
mod pacing;
mod prober;
mod ring_config;
mod tasks;

pub use coordinator::{Coordinator, CoordinatorStatus, RegisterError, Ring};
pub use embedded::Embedded;
pub use etcd::picture;
pub use etcd::{AppliedConfig, Etcd, EtcdConfig, EtcdTls, Orders, Rebalance, WriteError};
pub use pacing::Pacing;
pub use prober::Prober;
pub use ring_config::{RingConfig, RingConfigError};
