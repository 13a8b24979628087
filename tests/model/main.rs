//! An explicit-state model of the slot log: every order in which two nodes, a store and a bad network can act, within bounds.
//!
//! **What is modelled.** One document, two nodes, the store, and writes that are under way. A node claims (it reads the
//! newest snapshot, later it lists the slots above it, then it writes its fence), takes updates from editors, appends them
//! one slot at a time, acknowledges, looks at the log's tail, makes snapshots, and deletes slots below the previous
//! snapshot. Each of these is a step of its own, and between any two of them anything else may happen: that is how a pause
//! of any length comes about. A node may crash: it forgets everything and may claim again.
//!
//! A write, once sent, stays under way for ever. It may reach the store at once, after everything else, twice, or never;
//! and whoever sent it may hear of the outcome at once, late, or never. So delays, repeats, lost requests and lost
//! replies are all the same thing: steps that may or may not be taken. An editor may send an update to either
//! node, and again after it was acknowledged.
//!
//! **What is abstracted away.** An update is a bit, and merging is `or`: that the CRDT merges in any order is tested
//! elsewhere. Time is not there, so nothing that is safe here rests on a lease, a hold-off or the ten minutes that deleted slots are
//! kept. There is no ring: any node may claim at any time, which is worse than any ring. A store that goes backward,
//! damaged bytes, the quarantine and the deletion of a whole document are not modelled. Lists of slots
//! and single creations are atomic, as the store promises. States are told apart by a hash of 64 bits.
//!
//! **What is checked** are the facts of [`facts::Fact`]. The correct rules keep them all; each [`rules::Flaw`] is a rule
//! left out or got wrong, and the search must find how that breaks a fact. Run with `--nocapture` to read those stories.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod correct;
mod facts;
mod flaws;
mod network;
mod node;
mod rules;
mod search;
mod step;
mod store;
mod world;
