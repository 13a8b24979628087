//! Many nodes, routers and editors on one thread: the real core over a fake network, a fake etcd and a fake slot log, in
//! virtual time, with faults that a seed chooses.
//!
//! ```text
//! editor ──▶ router: Session, Search ──link──▶ node: placement, Document ──▶ log (the rules of MemoryStore)
//!              └─ Picture ◀── etcd ──▶ Picture ─┘ ◀──handoff──▶ other nodes
//! ```
//!
//! **What is real** is all that decides: `document` (claim, fence, append, acknowledge, snapshot), `router::session` and
//! `router::search`, `node::placement`, `coordinator::picture`, `ring` with its handoffs, and the store's rules. **What is written again here**
//! is what waits: the document's task, the fan-out, links, leases.
//!
//! **What is checked** at every step: what leaves a node is durable at that instant (I4), acknowledged updates are in every
//! load (I1), a slot is written once and nothing above a fence by an older epoch (I2), answers hold every slot that they
//! say (I3), a torn log is no document (I11), rings and epochs never go back (I17). And after the last fault: editors, a
//! load and the log agree (I5), an edit is seen by all within a second (I6), characters are there once (I9), whoever is there is seen and
//! nobody else (I12), documents are with their owners and equal views have equal owners (I16).
//!
//! A failure prints the command that replays its seed, with all that happened.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of it is tests")]

mod contents;
mod deletion;
mod editor;
mod effects;
mod etcd;
mod facts;
mod fan_out;
mod faults;
mod handoff;
mod log;
mod network;
mod node;
mod presence;
mod quiescence;
mod random;
mod relay;
mod resident;
mod router;
mod scenario;
mod seeds;
mod strike;
mod strikes;
mod trace;
mod world;
