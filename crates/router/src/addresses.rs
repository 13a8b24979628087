//! How much one address may have: connections, and documents that it opens.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ringleaf_types::Limits;

use crate::shared::Shared;

/// The window in which opened documents are counted.
const OPENED_WINDOW: Duration = Duration::from_secs(60);

/// Counts per address. An entry lives while it has connections, or for the window after it opened something.
pub(crate) struct Addresses {
    limits: Arc<Limits>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    each: HashMap<IpAddr, Count>,
    /// Entries without connections are looked for when there are so many entries.
    tidy_at: usize,
}

#[derive(Default)]
struct Count {
    connections: usize,
    opened: u32,
    opened_since: Option<Instant>,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    ConnectionsOfAddress,
    DocumentsOfAddress,
}

/// A connection that is counted. Every one is, also those that are refused in the end.
pub(crate) struct Counted {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Addresses {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn total(&self) -> usize {
        self.lock().total
    }

    fn enter(&self, address: IpAddr, now: Instant) {
        let mut counts = self.lock();
        counts.total += 1;
        counts.each.entry(address).or_default().connections += 1;
        if counts.each.len() > counts.tidy_at {
            counts.each.retain(|_, count| count.connections > 0 || count.opened_lately(now));
            counts.tidy_at = 1_024.max(counts.each.len() * 2);
        }
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.lock();
        counts.total -= 1;
        if let Some(count) = counts.each.get_mut(&address) {
            count.connections -= 1;
            if count.connections == 0 && count.opened == 0 {
                counts.each.remove(&address);
            }
        }
    }

    /// Whether a connection that is counted already is one too many.
    pub(crate) fn too_many(&self, address: IpAddr) -> Option<Limit> {
        let counts = self.lock();
        let of_address = counts.each.get(&group(address)).map_or(0, |count| count.connections);
        if counts.total > self.limits.connections_max {
            Some(Limit::Connections)
        } else if of_address > self.limits.connections_per_address_max {
            Some(Limit::ConnectionsOfAddress)
        } else {
            None
        }
    }

    /// Charges an address for a document that it opens.
    pub(crate) fn opens(&self, address: IpAddr, now: Instant) -> Result<(), Limit> {
        let mut counts = self.lock();
        let count = counts.each.entry(group(address)).or_default();
        if !count.opened_lately(now) {
            count.opened = 0;
            count.opened_since = Some(now);
        }
        if count.opened >= self.limits.documents_opened_per_minute_max {
            return Err(Limit::DocumentsOfAddress);
        }
        count.opened += 1;
        Ok(())
    }
}

impl Count {
    fn opened_lately(&self, now: Instant) -> bool {
        self.opened_since.is_some_and(|since| now.duration_since(since) < OPENED_WINDOW)
    }
}

impl Counted {
    pub(crate) fn new(shared: Arc<Shared>, address: IpAddr, now: Instant) -> Self {
        let address = group(address);
        shared.addresses.enter(address, now);
        shared.metrics.connections.increment(1.0);
        Self { shared, address }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.addresses.leave(self.address);
        self.shared.metrics.connections.decrement(1.0);
    }
}

/// Whoever has one IPv6 address has the 2^64 around it too.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new(Arc::new(Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            documents_opened_per_minute_max: 2,
            ..Limits::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_all_together_have_so_many() {
        let (addresses, now) = (addresses(), Instant::now());
        let (one, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for _ in 0..2 {
            addresses.enter(one, now);
            assert_eq!(addresses.too_many(one), None);
        }
        addresses.enter(one, now);
        assert_eq!(addresses.too_many(one), Some(Limit::ConnectionsOfAddress));
        addresses.enter(other, now);
        assert_eq!(addresses.too_many(other), Some(Limit::Connections));
        addresses.leave(one);
        addresses.leave(one);
        assert_eq!(addresses.too_many(one), None);
        assert_eq!(addresses.total(), 2);
    }

    #[test]
    fn documents_are_counted_within_a_minute() {
        let (addresses, now) = (addresses(), Instant::now());
        let one = ip("10.0.0.1");
        assert_eq!(addresses.opens(one, now), Ok(()));
        assert_eq!(addresses.opens(one, now), Ok(()));
        assert_eq!(addresses.opens(one, now), Err(Limit::DocumentsOfAddress));
        assert_eq!(addresses.opens(ip("10.0.0.2"), now), Ok(()));
        assert_eq!(addresses.opens(one, now + OPENED_WINDOW), Ok(()));
    }

    #[test]
    fn neighbors_in_ipv6_are_one_address() {
        assert_eq!(group(ip("2001:db8::1")), group(ip("2001:db8::ffff:1")));
        assert_ne!(group(ip("2001:db8::1")), group(ip("2001:db8:0:1::1")));
        assert_eq!(group(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
