//! The encoded structs of one client that follow on each other, and finding one of them.

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::scan::{Struct, Structs};

/// A place to begin reading at is remembered about every so many bytes.
const MARK_BYTES: usize = 1 << 10;

/// A place among structs: the first unit of a struct, where it begins, and how many structs come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) clock: u32,
    pub(crate) position: u32,
    pub(crate) ordinal: u32,
}

/// Structs of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) client: ClientId,
    /// Holds the structs, and perhaps something else around them.
    pub(crate) bytes: &'a [u8],
    /// Where the first struct begins.
    pub(crate) begin: Mark,
    /// Where the last one ends.
    pub(crate) end: Mark,
    /// Places between.
    pub(crate) marks: &'a [Mark],
}

/// One struct, and where it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) item: Struct<'a>,
    pub(crate) at: Mark,
}

impl<'a> Section<'a> {
    /// The struct that has this unit.
    pub(crate) fn find(&self, clock: u32) -> Option<Found<'a>> {
        if clock < self.begin.clock || clock >= self.end.clock {
            return None;
        }
        let after = self.marks.partition_point(|mark| mark.clock <= clock);
        let mut at = if after == 0 { self.begin } else { self.marks[after - 1] };
        let next = self.marks.get(after).copied().unwrap_or(self.end);
        let mut structs = self.structs(at);
        loop {
            // The last one before a mark may be very long, and the mark says where it ends.
            let item = if at.ordinal + 1 == next.ordinal {
                structs.last_struct(next.position as usize, Clock::new(next.clock)).ok()?
            } else {
                structs.next_struct().ok().flatten()?
            };
            if item.end() > clock {
                return Some(Found { item, at });
            }
            at = Mark { clock: item.end(), position: structs.position() as u32, ordinal: at.ordinal + 1 };
        }
    }

    /// All structs from this place on.
    pub(crate) fn structs(&self, from: Mark) -> Structs<'a> {
        let left = u64::from(self.end.ordinal - from.ordinal);
        Structs::resume(self.bytes, from.position as usize, self.client, Clock::new(from.clock), left)
    }
}

/// Whether a place is worth remembering, so long after the last one.
pub(crate) fn worth_a_mark(last: usize, position: usize) -> bool {
    position >= last + MARK_BYTES
}
