//! Given these steps, are these the effects?

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod awareness;
mod deletion;
mod ground;
mod handoff;
mod left_behind;
mod lifetime;
mod ownership;
mod publishing;
mod refusals;
mod script;
