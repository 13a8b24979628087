//! How long a fan-out waits to be joined by the next one.
//!
//! A write to a socket costs the same whether it carries one frame or twenty, so under load it pays to wait a little.
//! How much is a duty cycle on what the last round cost: cheap rounds do not wait, and an idle document never does.

use std::time::{Duration, Instant};

use ringleaf_types::Limits;

/// Timers tick in milliseconds; a shorter wait is none.
const TICK: Duration = Duration::from_millis(1);

/// A round that begins so soon after it might has waited for it.
const SOON: Duration = Duration::from_millis(4);

/// After so many rounds in a row that had to wait, updates come without pause: the time that the round itself takes is not
/// part of the wait, up to half of that.
const CROWDED: u32 = 8;

/// When the next round may begin.
#[derive(Debug, Default)]
pub(super) struct Window {
    next_at: Option<Instant>,
    /// Rounds in a row that had to wait.
    waited: u32,
}

impl Window {
    /// The next round may not begin before. `None`: now.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.next_at.filter(|&at| at > now)
    }

    /// A round began and has cost so much time of a core.
    pub(super) fn ran(&mut self, began: Instant, cost: Duration, limits: &Limits) {
        let waited = self.next_at.is_some_and(|at| began < at + SOON);
        self.waited = if waited { self.waited.saturating_add(1) } else { 0 };
        let longest = limits.fan_out_window_max;
        let longer = if self.waited >= CROWDED { cost.min(longest / 2) } else { Duration::ZERO };
        let wait = (cost * limits.fan_out_duty).min(longest + longer);
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
    fn of_rounds_without_a_pause_the_cost_comes_on_top() {
        let limits = Limits { fan_out_window_max: Duration::from_millis(20), ..Limits::default() };
        let mut window = Window::default();
        let round = |window: &mut Window, began: Instant, cost: u64| {
            let cost = Duration::from_millis(cost);
            window.ran(began, cost, &limits);
            window.opens_at(began).unwrap() - began
        };
        let mut now = Instant::now();
        let waits: Vec<u128> = (0..10)
            .map(|_| {
                let wait = round(&mut window, now, 5);
                now += wait;
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [20, 20, 20, 20, 20, 20, 20, 20, 25, 25]);
        let wait = round(&mut window, now, 15);
        assert_eq!(wait.as_millis(), 30, "half as much at most");
        assert_eq!(round(&mut window, now + wait + SOON, 5).as_millis(), 20, "there was a pause");
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
