//! The node with a store in memory, and with one that does what stores do on bad days.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a test owns the tasks that it starts")]

mod editor;
mod faulty_store;

mod asking;
mod editing;
mod faults;
mod long_lives;
mod moving;
mod operators;
mod pacing;
mod stopping;
