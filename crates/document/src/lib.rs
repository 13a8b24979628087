//! What one message does to one document: the pure core.
//!
//! ```text
//!  Input ──▶ Document::handle(input, now) ──▶ next_effect() … ──▶ the shell carries them out
//!            scan · seen · gap gate · log (claim, append, fence) · output gate · awareness · lazy replica
//! ```
//!
//! **Must not** wait, read a clock, draw random numbers of its own, or know nodes, sockets or files.
//!
//! Start reading at [`Document::handle`].
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

mod awareness;
mod document;
mod effect;
mod gate;
mod input;
mod log;
mod replica;
mod seen;
mod session;
mod stored;

pub mod compaction;

pub use document::{Admitted, Document, LoadError, Settings, Weight};
pub use effect::{Count, Effect};
pub use input::{AppendOutcome, Input};
pub use replica::Broken;
pub use seen::{Seen, Verdict};
