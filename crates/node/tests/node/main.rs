//! The node with a store in memory, and with one that does what stores do on bad days.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod editor;
mod faulty_store;

mod editing;
mod faults;
mod stopping;
