//! Editors: their sockets, their sessions, and fan-out to them.
//!
//! ```text
//! TCP ─▶ server ─▶ handshake (access, limits) ─▶ websocket ─▶ session ─▶ SessionHost ─▶ document
//!                                                  outbox ◀── fan_out ◀── EventSink ◀──┘
//! ```
//!
//! A connection's own task only reads. What editors are told is framed once per document and written from the
//! document's fan-out straight to the sockets that take it.
//!
//! **Must not** decode an update, know the CRDT or the store, or make a document wait for an editor.
//!
//! Start reading at [`Server`], then `session`.

mod server;

mod bind;
mod handshake;

mod access;
mod addresses;
mod page;

pub mod session;

mod connection;
mod documents;
mod fan_out;
mod frames;
mod outbox;
mod pace;
mod rate;
mod received;
mod websocket;

mod metrics;
mod route;
pub mod search;
mod shared;
mod tasks;

pub use bind::{BindError, PortHolder};
pub use page::{Page, PageFile};
pub use route::Route;
pub use server::{Config, RouterStatus, RunningServer, Server};
