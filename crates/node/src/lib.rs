//! Hosts documents: a task for each, the registry that finds it, and the operators' interface.
//!
//! ```text
//! router ──SessionHost::open──▶ registry ──▶ document task ──▶ Document (pure core)
//!        ◀──────EventSink─────────────────── carries out effects ──▶ store
//! operator ──HTTP and JSON──▶ admin ──────▶ the same tasks, and the store
//! ```
//!
//! **Must not** decide what the core decides: what is admitted, when something is durable, who may write.
//!
//! Start reading at [`Node`], then `document_task`.

mod server;

mod registry;
mod remainders;

mod command;
mod document_task;
mod host;
mod routers;

mod drain;
mod handoff;
mod membership;
pub mod placement;

mod append;
mod compactor;
mod load;
mod quarantine;
mod tail_watch;

mod admin;
mod in_memory;
mod latency;
mod rates;
mod unadmitted;

mod backoff;
mod memory;
mod metrics;
mod pool;
mod shared;
mod tasks;

pub use drain::Drained;
pub use handoff::Moves;
pub use in_memory::InMemory;
pub use latency::Latency;
pub use membership::Cluster;
pub use rates::PerSecond;
pub use server::{Node, NodeConfig, NodeStatus, RebalanceStatus, Stopped};
