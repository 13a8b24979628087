//! Sets of clocks as sorted ranges.

use std::ops::Range;

/// Clocks of one client. Ranges are sorted, not empty, and neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    ranges: Vec<(u32, u32)>,
}

impl Ranges {
    /// Adds clocks. Cheap at the end; elsewhere it moves what comes after.
    pub(super) fn insert(&mut self, clocks: Range<u32>) {
        if clocks.is_empty() {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if clocks.start >= last.0 => {
                if clocks.start <= last.1 {
                    last.1 = last.1.max(clocks.end);
                } else {
                    self.ranges.push((clocks.start, clocks.end));
                }
            }
            None => self.ranges.push((clocks.start, clocks.end)),
            Some(_) => self.insert_before_last(&clocks),
        }
    }

    fn insert_before_last(&mut self, clocks: &Range<u32>) {
        let first = self.ranges.partition_point(|&(_, end)| end < clocks.start);
        let after = first + self.ranges[first..].partition_point(|&(start, _)| start <= clocks.end);
        if first == after {
            self.ranges.insert(first, (clocks.start, clocks.end));
            return;
        }
        let joined = (clocks.start.min(self.ranges[first].0), clocks.end.max(self.ranges[after - 1].1));
        self.ranges[first] = joined;
        self.ranges.drain(first + 1..after);
    }

    /// Adds many clocks at once: sorted ranges, which may overlap.
    pub(super) fn merge(&mut self, sorted: &[(u32, u32)]) {
        // One by one moves the tail each time; merging touches each range once.
        if sorted.len() < 8 || self.ranges.last().is_none_or(|last| sorted[0].0 >= last.0) {
            for &(start, end) in sorted {
                self.insert(start..end);
            }
            return;
        }
        let old = std::mem::take(&mut self.ranges);
        self.ranges.reserve(old.len() + sorted.len());
        let (mut old, mut new) = (old.into_iter().peekable(), sorted.iter().copied().peekable());
        loop {
            let next = match (old.peek(), new.peek()) {
                (Some(a), Some(b)) if a <= b => old.next(),
                (Some(_), None) => old.next(),
                _ => new.next(),
            };
            let Some((start, end)) = next else { break };
            self.insert(start..end);
        }
        self.ranges.shrink_to_fit();
    }

    /// Whether all of these clocks are in the set. `near` is where to look first, and where they were found: clocks
    /// asked about in order are found in a step.
    pub(super) fn contains(&self, clocks: &Range<u32>, near: &mut usize) -> bool {
        if clocks.is_empty() {
            return true;
        }
        let holds = |&(start, end): &(u32, u32)| start <= clocks.start && clocks.end <= end;
        for at in [*near, *near + 1] {
            if self.ranges.get(at).is_some_and(holds) {
                *near = at;
                return true;
            }
        }
        let at = self.ranges.partition_point(|&(_, end)| end <= clocks.start);
        *near = at;
        self.ranges.get(at).is_some_and(holds)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn as_slice(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<(u32, u32)>()
    }
}
