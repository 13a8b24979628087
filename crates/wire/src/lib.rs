//! Frames to messages and back; the bounded scan in front of the CRDT; what a router may ask of whoever hosts a document.
//!
//! ```text
//! frame ──y_websocket::decode──▶ ClientMessage ──router──▶ host::Request ──▶ document
//! frame ◀──y_websocket::encode── ServerMessage ◀──router── host::Event   ◀── document
//!                                                     update bytes ──scan──▶ document
//! ```
//!
//! **Must not** wait, hold state, or trust a length that a client claims.
//!
//! Start reading at [`ClientMessage`], then [`SessionHost`].

mod message;

pub mod lib0;
pub mod y_websocket;

pub mod websocket_frame;

pub mod scan;

pub mod cut;

pub mod host;

pub use cut::Cut;
pub use host::{DocumentHost, Event, EventSink, Gone, OpenError, Request, SessionHost, SubmitError};
pub use message::{ClientMessage, ServerMessage};
pub use scan::Refusal;
