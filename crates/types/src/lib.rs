//! The words of ringleaf: ids, log records, limits and the reasons for which a connection ends.
//!
//! ```text
//! bytes from outside ──parse once──▶ newtypes of this crate ──▶ every other crate
//! ```
//!
//! **Must not** do anything: no waiting, no I/O, no clocks, no state.
//!
//! Start reading at [`DocumentId`], then [`Record`].

mod close_reason;
pub mod faults;
mod gc;
mod id;
mod limits;
mod presence;
mod record;

pub use close_reason::{CloseReason, Next};
pub use gc::{GcRule, GcRuleError, GcRules};
pub use id::{
    ClientId, Clock, DocumentId, DocumentIdError, Epoch, Incarnation, MessageNumber, NodeId, NodeIdError,
    Rights, RingVersion, RouterId, SessionId, Slot, Subject,
};
pub use limits::Limits;
pub use presence::Presence;
pub use record::{Body, Record, Remainder, Snapshot, Writer};
