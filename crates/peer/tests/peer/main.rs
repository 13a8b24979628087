//! Links over loopback, to a host that the test plays.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod fake;
mod link;
mod rings;
mod security;
