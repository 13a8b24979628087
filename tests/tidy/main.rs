//! The house rules: which crate may use which, how long a file may be, what every crate says about itself.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod crates;
mod files;
