//! How long a fan-out waits to be joined by the next one.
//!
//! A write to a socket costs the same whether it carries one frame or twenty, so under load it pays to wait a little.
//! How much is a duty cycle on what the last round cost: cheap rounds do not wait, and an idle document never does.

use std::time::{Duration, Instant};

use ringleaf_types::Limits;

/// Timers tick in milliseconds; a shorter wait is none.
const TICK: Duration = Duration::from_millis(1);

/// When the next round may begin.
#[derive(Debug, Default)]
pub(super) struct Window {
    next_at: Option<Instant>,
}

impl Window {
    /// The next round may not begin before. `None`: now.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.next_at.filter(|&at| at > now)
    }

    /// A round began and has cost so much time of a core.
    pub(super) fn ran(&mut self, began: Instant, cost: Duration, limits: &Limits) {
        let wait = (cost * limits.fan_out_duty).min(limits.fan_out_window_max);
        self.next_at = (wait >= TICK).then(|| began + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cheap_round_is_followed_at_once_and_a_costly_one_in_proportion() {
        let limits =
            Limits { fan_out_duty: 10, fan_out_window_max: Duration::from_millis(20), ..Limits::default() };
        let began = Instant::now();
        let after = |cost: u64| {
            let mut window = Window::default();
            let cost = Duration::from_micros(cost);
            window.ran(began, cost, &limits);
            window.opens_at(began + cost).map(|at| at - began)
        };
        assert_eq!(after(50), None);
        assert_eq!(after(500), Some(Duration::from_millis(5)));
        assert_eq!(after(5_000), Some(Duration::from_millis(20)));
        assert_eq!(after(30_000), None, "a round that cost more than the longest wait");
    }

    #[test]
    fn an_idle_document_does_not_wait() {
        let limits = Limits::default();
        let began = Instant::now();
        let mut window = Window::default();
        window.ran(began, Duration::from_millis(5), &limits);
        assert_eq!(window.opens_at(began + limits.fan_out_window_max), None);
    }
}
