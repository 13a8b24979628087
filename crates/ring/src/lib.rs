//! Who should own a document: consistent hashing of names onto the members of a cluster.
//!
//! ```text
//! members (id, state, weight) ──RingView::new──▶ RingView ──owner(name)──────▶ NodeId
//!                               (immutable)               ──candidates(name)─▶ NodeId, NodeId, …
//! a view and pins ──pinned──▶ a view in which an operator's word comes before the circle
//! two views ──moves──▶ the parts of the circle that change hands
//! a document that moves ──handoff──▶ what source and target say and do (two state machines)
//! a view and changes ──planned──▶ the view that would be        Paper ──predict──▶ what a cluster would be like
//! ```
//!
//! The ring says who *should* own a document. Who *may* write to it is decided by the document's log alone.
//!
//! **Must not** wait, read a clock, or depend on how Rust hashes anything: equal views give equal owners on every
//! platform and version.
//!
//! Start reading at [`RingView`].
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

mod member;
mod moves;
mod pins;
mod plan;
mod simulate;
mod token;
mod view;

pub mod handoff;

pub use member::{Member, MemberState, VirtualNodes, VirtualNodesError, Weight, WeightError};
pub use moves::{Moves, Part, moves};
pub use pins::{PINS_MAX, Pins};
pub use plan::{Change, PlanError, ideal_movement};
pub use simulate::{Load, Movement, Paper, PaperError, Prediction};
pub use token::{Token, VIRTUAL_NODES_PER_WEIGHT};
pub use view::{Candidates, ClusterId, RingError, RingView};
