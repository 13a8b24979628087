//! How fast documents may move.

use std::time::Duration;

use crate::RingConfig;

/// How fast documents may move to whom the ring names. A node that leaves the ring gives its documents away whatever
/// `debounce`, `paused` and `out_per_second_max` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// Documents that one node hands over at a time.
    pub out_max: usize,
    /// Documents that one node begins to hand over in a second, at most.
    pub out_per_second_max: u32,
    /// Documents that one node takes over at a time.
    pub in_max: usize,
    /// How long the ring must stay as it is before documents move because of it.
    pub debounce: Duration,
    /// Operators want that nothing moves.
    pub paused: bool,
}

impl Pacing {
    /// What a ring configuration says; moves are not paused.
    pub fn of(config: &RingConfig) -> Self {
        Self {
            out_max: config.out_max,
            out_per_second_max: config.out_per_second_max,
            in_max: config.in_max,
            debounce: config.debounce,
            paused: false,
        }
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self::of(&RingConfig::default())
    }
}
