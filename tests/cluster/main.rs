//! Real sockets, real clients, real files: the `ringleaf` binary from outside.
//!
//! `waiting` holds tests that mostly wait (they run beside the others), `alone` those that measure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod alone;
mod browser;
mod clients;
mod crash;
mod disk;
mod echo;
mod holes;
mod hostile;
mod names;
mod reading;
mod replay;
mod stopping;
mod storm;
mod unread;
mod unusual;
mod values;
mod waiting;
