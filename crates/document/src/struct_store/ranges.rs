//! Sets of clocks as sorted ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Clocks of one client. Ranges are not empty, and neither overlap nor touch: from each beginning to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u32, u32>);

/// With fewer new ranges than this, each is put in its place; with more, all are merged in one pass.
const FEW: usize = 32;

impl Ranges {
    /// Adds clocks. Answers whether one of them is new.
    pub(crate) fn insert(&mut self, clocks: Range<u32>) -> bool {
        if clocks.is_empty() {
            return false;
        }
        let (mut start, mut end) = (clocks.start, clocks.end);
        // From right to left: those that overlap or touch become part of the new one.
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            if from <= start && end <= to {
                return false;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
        true
    }

    /// Adds many clocks: sorted ranges, which may overlap.
    pub(crate) fn merge(&mut self, sorted: &[(u32, u32)]) {
        if sorted.len() < FEW {
            for &(start, end) in sorted {
                self.insert(start..end);
            }
            return;
        }
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.0.len() + sorted.len());
        let (mut old, mut new) =
            (std::mem::take(&mut self.0).into_iter().peekable(), sorted.iter().peekable());
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
        self.0 = merged.into_iter().collect();
    }

    /// Whether all of these clocks are in the set.
    pub(crate) fn contains(&self, clocks: &Range<u32>) -> bool {
        clocks.is_empty() || self.at(clocks.start).is_some_and(|end| clocks.end <= end)
    }

    /// The end of the range that this clock is in.
    pub(crate) fn at(&self, clock: u32) -> Option<u32> {
        let (_, &end) = self.0.range(..=clock).next_back()?;
        (clock < end).then_some(end)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        self.0.iter().map(|(&start, &end)| (start, end))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
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
            prop_assert!(all.windows(2).all(|two| two[0].1 < two[1].0), "apart");
            for clock in 0..620 {
                prop_assert_eq!(ranges.at(clock).is_some(), model.contains(&clock));
            }
        }
    }
}
