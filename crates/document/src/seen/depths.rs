//! How deeply within shared types each unit of a client lies.

/// The depth of each clock, as a list of where it changes. Clocks before the first change have depth zero: they belong to
/// the document itself, as everything does in a plain text, for which the list stays empty.
///
/// Clocks are added in order, since a client's structs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Depths {
    /// The depth before the first change.
    first: u16,
    changes: Vec<(u32, u16)>,
}

impl Depths {
    /// Begins at a depth, to be appended to a list that ends with it.
    pub(super) fn from(first: u16) -> Self {
        Self { first, changes: Vec::new() }
    }

    /// Everything from this clock on has this depth, until the next change. Must not lie before the last one.
    pub(super) fn note(&mut self, from: u32, depth: u16) {
        if self.last() != depth {
            self.changes.push((from, depth));
        }
    }

    /// The depth of one clock.
    pub(super) fn at(&self, clock: u32) -> u16 {
        let after = self.changes.partition_point(|&(from, _)| from <= clock);
        if after == 0 { self.first } else { self.changes[after - 1].1 }
    }

    /// The depth of the last clock.
    pub(super) fn last(&self) -> u16 {
        self.changes.last().map_or(self.first, |&(_, depth)| depth)
    }

    /// Goes on with what was noted after the last change of this one.
    pub(super) fn append(&mut self, later: &Self) {
        for &(from, depth) in &later.changes {
            self.note(from, depth);
        }
    }

    pub(super) fn is_flat(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.changes.capacity() * size_of::<(u32, u16)>()
    }
}
