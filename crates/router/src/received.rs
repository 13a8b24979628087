//! What editors have sent and what is not durable yet, of all sockets together: parts of messages included.
//!
//! A message may be large, and anybody may send the first half of one. So what a socket holds beyond a little that is
//! free is counted here, and when all of them hold too much they are read no further. Who waits holds on to what he has:
//! if all of it were parts of messages, nobody could ever finish his. Therefore the one who came first is always read
//! on while what is whole leaves room for him, and whoever is read and does not finish in time is closed, but only while
//! others wait for him.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use ringleaf_types::Limits;

use crate::connection::Connection;

/// Who waits looks so often within the time that a message may take whether somebody has taken too long.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// Limit: those who wait that are woken at once. The others look by themselves.
const WOKEN_MAX: usize = 16;

/// See the module's description. What it counts is at most twice [`Limits::received_bytes_max`], and one read for each
/// socket that waits.
pub(crate) struct Received {
    bytes_max: usize,
    bytes_free: usize,
    timeout: Duration,
    shares: Mutex<Shares>,
}

/// Those who hold more than is free, in the order in which they came.
#[derive(Default)]
struct Shares {
    next: u64,
    whole: usize,
    partial: usize,
    each: BTreeMap<u64, Share>,
}

struct Share {
    whole: usize,
    partial: usize,
    waits: bool,
    /// Since when it is read on with the message that is under way.
    since: Instant,
    connection: Weak<Connection>,
}

/// A socket's place in the line, and what it holds. Nothing while it holds little.
#[derive(Default)]
pub(crate) struct Ticket {
    line: Option<(Arc<Received>, u64)>,
}

/// What one socket holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// Bytes of whole messages: they go when they are durable.
    pub(crate) whole: usize,
    /// Bytes of the message that is under way: they go when the rest has come.
    pub(crate) partial: usize,
}

impl Received {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            // Somebody must be able to finish the largest message there may be.
            bytes_max: limits.received_bytes_max.max(limits.message_bytes_max),
            bytes_free: limits.received_bytes_free,
            timeout: limits.partial_message_timeout,
            shares: Mutex::default(),
        }
    }

    /// When who waits should look again.
    pub(crate) fn look_at(&self, now: Instant) -> Instant {
        now + self.timeout / LOOKS_PER_TIMEOUT
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().expect("no holder of this lock panics")
    }

    /// What is counted at the moment.
    pub(crate) fn bytes(&self) -> usize {
        let shares = self.lock();
        shares.whole + shares.partial
    }

    /// Those who keep others waiting for too long. They are to be closed, with no lock held.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<Arc<Connection>> {
        let shares = self.lock();
        let too_long = |share: &&Share| {
            let read_for = now.saturating_duration_since(share.since);
            share.partial > 0 && !share.waits && read_for > self.timeout
        };
        shares.each.values().filter(too_long).filter_map(|share| share.connection.upgrade()).collect()
    }

    fn beyond_free(&self, holds: Holds) -> Holds {
        let partial = holds.partial.saturating_sub(self.bytes_free);
        let free_left = self.bytes_free.saturating_sub(holds.partial);
        Holds { whole: holds.whole.saturating_sub(free_left), partial }
    }
}

impl Ticket {
    /// Notes what a socket holds. Whether it may be read on; if not, it is nudged when there is room.
    pub(crate) fn hold(
        &mut self,
        received: &Arc<Received>,
        connection: &Arc<Connection>,
        holds: Holds,
        now: Instant,
    ) -> bool {
        self.note(received, || Arc::downgrade(connection), holds, now)
    }

    /// Whether more is held than is free.
    pub(crate) fn held(&self) -> bool {
        self.line.is_some()
    }

    fn note(
        &mut self,
        received: &Arc<Received>,
        connection: impl FnOnce() -> Weak<Connection>,
        holds: Holds,
        now: Instant,
    ) -> bool {
        let holds = received.beyond_free(holds);
        if holds == Holds::default() {
            self.leave();
            return true;
        }
        let mut shares = received.lock();
        let (_, number) = self.line.get_or_insert_with(|| {
            let number = shares.enter(connection(), now);
            (Arc::clone(received), number)
        });
        shares.note(*number, holds, received.bytes_max, now)
    }

    fn leave(&mut self) {
        if let Some((received, number)) = self.line.take() {
            received.lock().leave(number, received.bytes_max);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shares {
    fn enter(&mut self, connection: Weak<Connection>, now: Instant) -> u64 {
        self.next += 1;
        let share = Share { whole: 0, partial: 0, waits: false, since: now, connection };
        self.each.insert(self.next, share);
        self.next
    }

    fn note(&mut self, number: u64, holds: Holds, bytes_max: usize, now: Instant) -> bool {
        let Some(share) = self.each.get_mut(&number) else { return true };
        let before = share.whole + share.partial;
        self.whole = self.whole - share.whole + holds.whole;
        self.partial = self.partial - share.partial + holds.partial;
        if holds.partial == 0 {
            share.since = now;
        }
        (share.whole, share.partial) = (holds.whole, holds.partial);
        let may = self.whole + self.partial <= bytes_max || self.is_first(number, bytes_max);
        if let Some(share) = self.each.get_mut(&number) {
            if may && share.waits {
                share.since = now;
            }
            share.waits = !may;
        }
        if holds.whole + holds.partial < before {
            self.wake(bytes_max);
        }
        may
    }

    /// Whether this is the one who goes on whatever others have begun.
    fn is_first(&self, number: u64, bytes_max: usize) -> bool {
        let first = self.each.iter().find(|(_, share)| share.partial > 0 || share.waits);
        first.is_some_and(|(first, share)| *first == number && self.whole + share.partial <= bytes_max)
    }

    fn leave(&mut self, number: u64, bytes_max: usize) {
        if let Some(share) = self.each.remove(&number) {
            self.whole -= share.whole;
            self.partial -= share.partial;
            self.wake(bytes_max);
        }
    }

    /// There is more room than before, or another one is the first. Who is woken too many finds out and waits again.
    fn wake(&self, bytes_max: usize) {
        let count = if self.whole + self.partial <= bytes_max { WOKEN_MAX } else { 1 };
        let waiting = self.each.values().filter(|share| share.waits);
        for connection in waiting.take(count).filter_map(|share| share.connection.upgrade()) {
            connection.nudge();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000;

    fn received() -> Arc<Received> {
        Arc::new(Received::new(&Limits {
            received_bytes_max: MAX,
            received_bytes_free: 10,
            message_bytes_max: 500,
            partial_message_timeout: Duration::from_secs(30),
            ..Limits::default()
        }))
    }

    struct Line {
        received: Arc<Received>,
        now: Instant,
        tickets: Vec<Ticket>,
    }

    impl Line {
        fn new(sockets: usize) -> Self {
            let tickets = (0..sockets).map(|_| Ticket::default()).collect();
            Self { received: received(), now: Instant::now(), tickets }
        }

        fn hold(&mut self, socket: usize, whole: usize, partial: usize) -> bool {
            self.tickets[socket].note(&self.received, Weak::new, Holds { whole, partial }, self.now)
        }

        /// Who is read, holds a part of a message, and has taken too long.
        fn overdue(&self) -> usize {
            let shares = self.received.lock();
            let late = |share: &&Share| self.now - share.since > self.received.timeout;
            shares.each.values().filter(|share| share.partial > 0 && !share.waits).filter(late).count()
        }
    }

    #[test]
    fn little_is_free_and_leaves_nothing_behind() {
        let mut line = Line::new(100);
        for socket in 0..100 {
            assert!(line.hold(socket, 4, 6));
            assert!(!line.tickets[socket].held());
        }
        assert!(line.hold(0, 8, 6) && line.hold(1, 3, 12));
        assert_eq!(line.received.bytes(), 4 + 5);
        line.hold(0, 10, 0);
        line.tickets.clear();
        assert_eq!(line.received.bytes(), 0);
        assert!(line.received.lock().each.is_empty());
    }

    #[test]
    fn when_all_hold_parts_of_messages_one_after_the_other_finishes() {
        let mut line = Line::new(20);
        let mut part = [110; 20];
        for (socket, part) in part.iter().enumerate() {
            line.hold(socket, 0, *part);
        }
        let mut finished = 0;
        while finished < 20 {
            let may: Vec<usize> = (0..20).filter(|&at| part[at] > 0 && line.hold(at, 0, part[at])).collect();
            assert!(!may.is_empty(), "somebody is read");
            for at in may {
                part[at] += 50;
                if part[at] >= 500 {
                    part[at] = 0;
                    finished += 1;
                }
                line.hold(at, 0, part[at]);
                assert!(line.received.bytes() <= 2 * MAX + 20 * 50, "{}", line.received.bytes());
            }
        }
    }

    #[test]
    fn what_is_whole_and_not_stored_stops_even_the_first() {
        let mut line = Line::new(3);
        assert!(line.hold(0, 0, 50));
        assert!(line.hold(1, 900, 0));
        assert!(!line.hold(2, 0, 210));
        assert!(!line.hold(0, 0, 200), "the store must take something first");
        line.hold(1, 700, 0);
        assert!(line.hold(0, 0, 250) && !line.hold(2, 0, 210));
    }

    #[test]
    fn only_who_is_read_and_does_not_finish_keeps_others_waiting_too_long() {
        let mut line = Line::new(3);
        assert!(line.hold(0, 0, 500));
        assert!(!line.hold(1, 0, 600));
        line.now += Duration::from_secs(31);
        assert!(line.hold(0, 0, 500), "the first");
        assert!(!line.hold(1, 0, 600));
        assert_eq!(line.overdue(), 1);
        // The first is closed: the other one begins anew.
        line.tickets[0] = Ticket::default();
        assert!(line.hold(1, 0, 600));
        assert_eq!(line.overdue(), 0);
        // Message after message is no single long one.
        for _ in 0..10 {
            line.now += Duration::from_secs(20);
            assert!(line.hold(1, 300, 0) && line.hold(1, 0, 300));
        }
        assert_eq!(line.overdue(), 0);
    }
}
