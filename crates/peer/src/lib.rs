//! Server to server: what a router and a node in different processes say to each other, over gRPC.
//!
//! ```text
//! router ─▶ Links::host(node) : SessionHost ─▶ link ══ one gRPC stream ══▶ PeerServer ─▶ SessionHost of the node
//! router ◀─ EventSink ◀────────────────────── link ◀═════════════════════ outbox ◀────── EventSink
//! node ─▶ Handoffs::begin(node) : SourceTalk ══ one stream per document that moves ══▶ Answers::offered(TargetTalk)
//! ```
//!
//! **Must not** decide: what a message means is the business of those on either side.
//!
//! Start reading at [`Links`] and [`PeerServer`]; `outbox` says how documents share a link.
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

mod admin;
mod bounds;
mod channel;
mod convert;
mod handoff;
mod inbox;
mod link;
mod links;
mod outbox;
mod rings;
mod server;
mod service;
mod tasks;
mod tls;

#[cfg(test)]
mod released;

pub use admin::{AdminAnswer, AdminError, AdminRequest};
pub use handoff::{Handoffs, SourceTalk, Talk, TargetTalk, in_process};
pub use links::{Links, LinksConfig, ProbeError};
pub use rings::ClusterView;
pub use server::{PeerBindError, PeerConfig, PeerServer, RunningPeerServer};
pub use service::{Answers, Probed};
pub use tls::{AllowedNames, ClientTls, ServerTls, TlsError};

/// The generated code of `peer.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the proto file explains it"
)]
mod proto {
    tonic::include_proto!("ringleaf.v1");

    /// The proto files, for reflection.
    pub(crate) const DESCRIBED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/peer.bin"));
}
