//! Reads documents for people, in a process of its own: the CRDT library runs there and nowhere else.
//!
//! ```text
//! Reader ──Turn──▶ worker task ──stdin──▶ child process (limits first) ──▶ view, verify ──▶ the CRDT library
//!        ◀─answer or ReadError─── ◀──stdout──
//! ```
//!
//! A few bytes that are a valid update can make that library free memory that it reads, overflow its stack, or take minutes
//! and gigabytes. In a child with limits on memory and time all of that is an error of one request.
//!
//! **Must not** be on the way of an edit, or change a document.
//!
//! Start reading at [`Reader`], then [`run`], which is the child.

mod bounds;
mod protocol;

mod child;
pub mod view;

mod error;
mod metrics;
mod process;
mod reader;
mod tasks;
mod worker;

mod crdt;
mod verify;

pub use bounds::Bounds;
pub use child::run;
pub use crdt::Unreadable;
pub use error::{Ended, ReadError, TimeLimit};
pub use process::Program;
pub use reader::{Reader, Turn};

#[cfg(test)]
mod tests;
