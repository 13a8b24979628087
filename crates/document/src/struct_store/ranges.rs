//! Sets of clocks as sorted ranges.

use std::collections::BTreeMap;
use std::ops::Range;

use ringleaf_types::ClientId;

/// Clocks of one client. Ranges are not empty, and neither overlap nor touch: from each beginning to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    ends: BTreeMap<u32, u32>,
    units: u64,
}

/// What is deleted, by client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    by_client: BTreeMap<ClientId, Ranges>,
    ranges: usize,
}

/// How much was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) units: usize,
    pub(crate) ranges: usize,
}

/// What a range costs, and what a client costs.
pub(crate) const RANGE_BYTES: usize = 14;
const CLIENT_BYTES: usize = 64;

impl Deleted {
    /// Adds sorted ranges, which may overlap.
    pub(crate) fn add(&mut self, client: ClientId, sorted: &[(u32, u32)]) -> Added {
        let ranges = self.by_client.entry(client).or_default();
        let before = (ranges.units(), ranges.len());
        ranges.merge(sorted);
        self.ranges = self.ranges + ranges.len() - before.1;
        Added { units: (ranges.units() - before.0) as usize, ranges: ranges.len().saturating_sub(before.1) }
    }

    pub(crate) fn get(&self, client: ClientId) -> Option<&Ranges> {
        self.by_client.get(&client)
    }

    /// Clients from high to low.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientId, &Ranges)> + Clone {
        self.by_client.iter().rev().map(|(client, ranges)| (*client, ranges))
    }

    /// How many ranges there are of all clients.
    pub(crate) fn len(&self) -> usize {
        self.ranges
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.by_client.len() * CLIENT_BYTES + self.ranges * RANGE_BYTES
    }
}

/// Ranges of many clients, in any order, as sets.
pub(crate) fn by_client(mut ranges: Vec<(ClientId, u32, u32)>) -> BTreeMap<ClientId, Ranges> {
    ranges.sort_unstable();
    let of_clients = ranges.chunk_by(|a, b| a.0 == b.0).map(|of_client| {
        let mut ranges = Ranges::default();
        ranges.merge(&of_client.iter().map(|&(_, start, end)| (start, end)).collect::<Vec<_>>());
        (of_client[0].0, ranges)
    });
    of_clients.filter(|(_, ranges)| ranges.len() > 0).collect()
}

/// With fewer new ranges than this, or fewer than such a part of what is there, each is put in its place; with more, all are
/// merged in one pass.
const FEW: usize = 32;
const FEW_SHARE: usize = 16;

impl Ranges {
    /// Adds clocks. Answers whether one of them is new.
    pub(crate) fn insert(&mut self, clocks: Range<u32>) -> bool {
        if clocks.is_empty() {
            return false;
        }
        let (mut start, mut end) = (clocks.start, clocks.end);
        // From right to left: those that overlap or touch become part of the new one.
        while let Some((&from, &to)) = self.ends.range(..=end).next_back() {
            if to < start {
                break;
            }
            if from <= start && end <= to {
                return false;
            }
            self.ends.remove(&from);
            self.units -= u64::from(to - from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.ends.insert(start, end);
        self.units += u64::from(end - start);
        true
    }

    /// Adds many clocks: sorted ranges, which may overlap.
    pub(crate) fn merge(&mut self, sorted: &[(u32, u32)]) {
        if sorted.len() < FEW.max(self.len() / FEW_SHARE) {
            for &(start, end) in sorted {
                self.insert(start..end);
            }
            return;
        }
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.len() + sorted.len());
        let (mut old, mut new) =
            (std::mem::take(&mut self.ends).into_iter().peekable(), sorted.iter().peekable());
        loop {
            let next = match (old.peek(), new.peek()) {
                (Some(a), Some(b)) if a <= b => old.next(),
                (Some(_), None) => old.next(),
                _ => new.next().copied(),
            };
            let Some((start, end)) = next else { break };
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ if start < end => merged.push((start, end)),
                _ => {}
            }
        }
        self.units = merged.iter().map(|(start, end)| u64::from(end - start)).sum();
        self.ends = merged.into_iter().collect();
    }

    /// Whether all of these clocks are in the set.
    pub(crate) fn contains(&self, clocks: &Range<u32>) -> bool {
        clocks.is_empty() || self.at(clocks.start).is_some_and(|end| clocks.end <= end)
    }

    /// The end of the range that this clock is in.
    pub(crate) fn at(&self, clock: u32) -> Option<u32> {
        let (_, &end) = self.ends.range(..=clock).next_back()?;
        (clock < end).then_some(end)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        self.ends.iter().map(|(&start, &end)| (start, end))
    }

    /// How many clocks there are.
    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// How many ranges they make.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn clocks(ranges: &Ranges) -> BTreeSet<u32> {
        ranges.iter().flat_map(|(start, end)| start..end).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_are_a_set_of_clocks(
            one_by_one in proptest::collection::vec((0..60u32, 0..8u32), 0..40),
            mut together in proptest::collection::vec((0..600u32, 0..8u32), 0..80),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, length) in one_by_one {
                let new = (start..start + length).any(|clock| !model.contains(&clock));
                prop_assert_eq!(ranges.contains(&(start..start + length)), !new);
                prop_assert_eq!(ranges.insert(start..start + length), new);
                model.extend(start..start + length);
                prop_assert_eq!(clocks(&ranges), model.clone());
            }
            together.sort_unstable();
            let together: Vec<_> = together.iter().map(|&(start, length)| (start, start + length)).collect();
            ranges.merge(&together);
            model.extend(together.iter().flat_map(|&(start, end)| start..end));
            prop_assert_eq!(clocks(&ranges), model.clone());
            let all: Vec<_> = ranges.iter().collect();
            prop_assert_eq!(ranges.units(), model.len() as u64);
            prop_assert!(all.windows(2).all(|two| two[0].1 < two[1].0), "apart");
            for clock in 0..620 {
                prop_assert_eq!(ranges.at(clock).is_some(), model.contains(&clock));
            }
        }
    }
}
