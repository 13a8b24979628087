//! Waiting for a fact.

use std::thread;
use std::time::{Duration, Instant};

/// Asks until the answer is `Some`; panics with the name of the fact when the time is over.
pub fn wait_for<T>(fact: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started_at = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started_at.elapsed() < within, "not within {} s: {fact}", within.as_secs_f64());
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
