//! The agreed facts: who the members are, and which ring follows from that.
//!
//! ```text
//! coordinator ──watch::Receiver<Arc<RingView>>──▶ router (who owns this name?) · node (what should I own?)
//! ```
//!
//! On one machine the facts are [`Embedded`] in the process: a ring of one, for ever.
//!
//! **Must not** know documents, or decide who *may* write to one: that is the log's to say.
//!
//! Start reading at [`Embedded`].

mod embedded;

pub use embedded::Embedded;
