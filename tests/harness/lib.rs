//! What the tests in this package share: a real server, real clients, and waiting for facts.
//!
//! ```text
//! a test ──▶ Server (the ringleaf binary, temporary folder, port 0)
//!        ├─▶ Cluster (nodes and routers, with an Etcd and a Postgres of their own; a Proxy where the network shall fail)
//!        ├─▶ Agent  (stock Yjs clients in Node, one line each, JSON lines)
//!        └─▶ Socket (a WebSocket client that can misbehave), yjs (bytes made and read by hand)
//! ```
//!
//! **Must not** sleep for a while and hope: [`wait_for`] a stated fact with a deadline.
//!
//! Start reading at [`Server`].
#![allow(clippy::print_stdout, reason = "figures and skips are read from the output by `cargo xtask test`")]

mod agent;
mod browser;
mod cluster;
mod etcd;
mod http;
mod postgres;
mod process;
mod proxy;
mod server;
mod socket;
mod wait;
pub mod yjs;

use std::time::Duration;

pub use agent::{Agent, LINES, LINES_13};
pub use browser::browse;
pub use cluster::{Cluster, ClusterOptions};
pub use etcd::Etcd;
pub use http::{HttpAnswer, http};
pub use postgres::{Postgres, url_at};
pub use process::Group;
pub use proxy::{Network, Proxy};
pub use server::{Role, Server, ServerOptions, binary};
pub use socket::{Asked, Event, Refused, Socket};
pub use wait::wait_for;

/// Whether `cargo xtask test --long` asked for the long runs.
pub fn long() -> bool {
    std::env::var_os("RINGLEAF_TEST_LONG").is_some()
}

/// For how long a test goes on that could do so for ever: so many minutes in CI and in a long run. `RINGLEAF_TEST_MINUTES`
/// overrides both.
pub fn lasting(minutes: u64, long_minutes: u64) -> Duration {
    let asked = std::env::var("RINGLEAF_TEST_MINUTES").ok();
    let asked = asked.map(|asked| asked.parse().expect("RINGLEAF_TEST_MINUTES is a number of minutes"));
    Duration::from_mins(asked.unwrap_or(if long() { long_minutes } else { minutes }))
}

/// Something that a test measured, shown by `cargo xtask test`.
pub fn figure(text: &str) {
    println!("figure: {text}");
}

/// Says why a test cannot do its work here. The test returns after it.
pub fn skip(why: &str) {
    println!("skip: {why}");
}

/// Bytes for a command to an [`Agent`].
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from_be_bytes([
            0,
            chunk[0],
            chunk.get(1).copied().unwrap_or(0),
            chunk.get(2).copied().unwrap_or(0),
        ]);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    text
}
