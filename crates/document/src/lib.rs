//! What one message does to one document: the pure core.
//!
//! ```text
//!  Input ──▶ Document::handle(input, now) ──▶ next_effect() … ──▶ the shell carries them out
//!            scan · structs · remainders · log (claim, append, fence) · output gate · awareness
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
mod recent;
mod remainders;
mod session;
mod struct_store;

pub mod compaction;

pub use document::{Admitted, Document, LeftBehind, LoadError, Settings, Weight};
pub use effect::{Count, Effect};
pub use input::{AppendOutcome, Input};
pub use remainders::Kept;
pub use session::LeftWhy;
pub use struct_store::{Admission, Gc, Parts, Remainder, StructStore, merge};
