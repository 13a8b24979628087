//! What an attacker can make a document cost: time and memory stay in proportion to what he sends.
//!
//! Times are CPU times. The goals are for a release build (`cargo test --release`); what is asserted is far from them, so
//! that a machine with other work and a build without optimization pass.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, reason = "figures are read from the output by `cargo xtask test`")]

mod depth;
mod growth;
mod inputs;
mod measure;
mod turns;

use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// What is allocated is counted for all threads together: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A long run was asked for.
fn long() -> bool {
    std::env::var_os("RINGLEAF_TEST_LONG").is_some()
}

/// So many in CI, so many in a long run.
fn size(usual: usize, long_run: usize) -> usize {
    if long() { long_run } else { usual }
}
