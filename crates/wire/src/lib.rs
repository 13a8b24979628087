//! Frames to messages and back; the bounded scan in front of the CRDT; what a router may ask of whoever hosts a document.
//!
//! ```text
//! frame ──y_websocket::decode──▶ ClientMessage ──router──▶ host::Request ──▶ document
//! frame ◀──y_websocket::encode── ServerMessage ◀──router── host::Event   ◀── document
//!                                               update bytes ──scan──▶ document ──cut──▶ what it takes in
//! ```
//!
//! **Must not** wait, hold state, or trust a length that a client claims.
//!
//! Start reading at [`ClientMessage`], then [`SessionHost`]; for the scan at [`scan::update`].
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

mod message;

pub mod lib0;
pub mod y_websocket;

pub mod websocket_frame;

pub mod scan;

pub mod cut;

pub mod host;

pub use host::{
    DocumentHost, Event, EventSink, Gone, OpenError, Opening, Peers, Request, SessionHost, SubmitError,
};
pub use message::{ClientMessage, ServerMessage};
pub use scan::Refusal;
