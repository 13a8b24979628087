//! A cluster of real processes, over a real etcd and a real PostgreSQL, and what it must bear.
//!
//! `waiting` holds tests that mostly wait (they run beside the others), `alone` those that measure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod failover;

/// What processes say when another one has died.
const DEATHS: [&str; 3] = [
    "a node cannot be reached",
    "keep documents whose owner does not answer",
    "members are asked whether they live",
];
