//! How fast one editor may send. Whoever is faster is read later; nothing is refused.

use std::time::{Duration, Instant};

use ringleaf_types::Limits;

/// Two token buckets, messages and bytes, kept as the times at which they will be full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    messages_paid_at: Instant,
    bytes_paid_at: Instant,
}

/// What a fragment of a message costs at least, so that empty ones are not read for ever.
const FRAGMENT_BYTES: usize = 1 << 10;

/// Limit: questions per second of one session, whose answers may have to be computed. Each is charged like the messages
/// that it takes the place of. A stock client asks once per connection.
const QUESTIONS_PER_SECOND_MAX: u32 = 8;

/// A bucket holds what may be sent in one second.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { messages_paid_at: now, bytes_paid_at: now }
    }

    /// Charges one message. It is taken whatever it costs: what it overdraws is paid off before the next.
    pub(crate) fn charge(&mut self, bytes: usize, limits: &Limits, now: Instant) {
        pay(&mut self.messages_paid_at, 1, limits.session_messages_per_second_max, now);
        pay(&mut self.bytes_paid_at, bytes, limits.session_bytes_per_second_max, now);
    }

    /// Charges a fragment, beside the message that it is a part of.
    pub(crate) fn charge_fragment(&mut self, limits: &Limits, now: Instant) {
        pay(&mut self.bytes_paid_at, FRAGMENT_BYTES, limits.session_bytes_per_second_max, now);
    }

    /// Charges a question, beside the message that it came in.
    pub(crate) fn charge_question(&mut self, now: Instant) {
        pay(&mut self.messages_paid_at, 1, QUESTIONS_PER_SECOND_MAX, now);
    }

    /// When the next of the messages at hand may be taken, however many bytes these have cost. `None`: now.
    pub(crate) fn next_message_at(&self, now: Instant) -> Option<Instant> {
        self.messages_paid_at.checked_sub(BURST).filter(|&at| at > now)
    }

    /// When the next message may be read. `None`: now.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        let full_at = self.messages_paid_at.max(self.bytes_paid_at);
        full_at.checked_sub(BURST).filter(|&at| at > now)
    }
}

fn pay(paid_at: &mut Instant, amount: usize, per_second: u32, now: Instant) {
    let cost = Duration::from_secs_f64(amount as f64 / f64::from(per_second.max(1)));
    *paid_at = (*paid_at).max(now) + cost;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            session_messages_per_second_max: 100,
            session_bytes_per_second_max: 1_000,
            ..Limits::default()
        }
    }

    #[test]
    fn a_burst_of_one_second_is_free_and_the_rest_is_paced() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..100 {
            assert_eq!(rate.next_at(start), None);
            rate.charge(1, &limits(), start);
        }
        rate.charge(1, &limits(), start);
        let wait = rate.next_at(start).unwrap() - start;
        assert!(wait > Duration::from_millis(9) && wait < Duration::from_millis(11), "{wait:?}");
        assert_eq!(rate.next_at(start + Duration::from_millis(11)), None);
    }

    #[test]
    fn a_large_message_is_taken_and_paid_off_afterwards() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.charge(10_000, &limits(), start);
        let wait = rate.next_at(start).unwrap() - start;
        assert!(wait > Duration::from_millis(8_990) && wait < Duration::from_millis(9_010), "{wait:?}");
    }

    /// One frame may hold thousands.
    #[test]
    fn questions_are_dear_and_what_was_read_with_them_waits_too() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        rate.charge(100_000, &limits(), start);
        assert_eq!(rate.next_message_at(start), None, "a large message is taken at once");
        for _ in 0..QUESTIONS_PER_SECOND_MAX {
            assert_eq!(rate.next_message_at(start), None);
            rate.charge_question(start);
        }
        let wait = rate.next_message_at(start).unwrap() - start;
        assert!(wait < Duration::from_secs(1) / QUESTIONS_PER_SECOND_MAX, "{wait:?}");
        assert_eq!(rate.next_message_at(start + wait), None);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up_beyond_the_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let later = start + Duration::from_secs(3_600);
        for _ in 0..101 {
            rate.charge(1, &limits(), later);
        }
        assert!(rate.next_at(later).is_some());
    }
}
