//! What waits for a socket, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;
use ringleaf_types::{Limits, Slot};

/// How many buffers one write may gather.
const GATHER_MAX: usize = 16;

/// A list that grew longer than this is given back when it is empty: idle sockets keep no memory.
const KEPT_ENTRIES_MAX: usize = 8;

/// Frames for one socket that it has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Entry>,
    /// Bytes of the first entry that the socket has taken.
    written: usize,
    frames: usize,
    bytes: usize,
    /// Entries that may not be dropped.
    kept: usize,
    kept_bytes: usize,
}

/// Whole frames that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) frames: u32,
    pub(crate) contents: Contents,
}

/// What an entry means for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Slots through this one, and perhaps presence: dropped when the editor does not keep up.
    Published { through: Option<Slot>, awareness: bool },
    /// Something that the editor waits for, or a sign of life. It holds everything through this slot.
    Reply { through: Option<Slot> },
    /// The beginning of a frame whose rest is the next entry.
    Head,
    /// A pong, which an editor does not see.
    Control,
    /// The last frame of a connection.
    Close,
}

/// What a drop has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// The slot that the entry being written goes through: that one stays.
    pub(crate) kept: Option<Slot>,
    pub(crate) updates: bool,
    pub(crate) awareness: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether so many answers wait that the editor should take some before it asks for more.
    pub(crate) fn owes_much(&self, limits: &Limits) -> bool {
        self.kept > 0 && (self.kept >= limits.outbox_frames_max || self.kept_bytes >= limits.outbox_bytes_max)
    }

    /// Appends frames whose first `written` bytes the socket has taken already.
    pub(crate) fn push(&mut self, entry: Entry, written: usize) {
        debug_assert!(written == 0 || self.queue.is_empty(), "only the first entry can be partly written");
        if self.queue.is_empty() {
            self.written = written;
        }
        self.frames += entry.frames as usize;
        self.bytes += entry.bytes.len();
        if !entry.contents.may_be_dropped() {
            self.kept += 1;
            self.kept_bytes += entry.bytes.len();
        }
        self.queue.push_back(entry);
    }

    /// Whether more waits behind the first entry than may.
    pub(crate) fn over(&self, limits: &Limits) -> bool {
        let Some(first) = self.queue.front() else { return false };
        let rest = self.queue.get(1).filter(|_| first.contents == Contents::Head);
        let (mut frames, mut bytes) = (self.frames, self.bytes);
        for written in [Some(first), rest].into_iter().flatten() {
            frames -= written.frames as usize;
            bytes -= written.bytes.len();
        }
        let droppable = self.queue.len() > self.kept;
        droppable && (frames > limits.outbox_frames_max || bytes > limits.outbox_bytes_max)
    }

    /// Drops everything that may be dropped and of which the socket has taken nothing yet.
    pub(crate) fn drop_published(&mut self) -> Dropped {
        let mut dropped = Dropped { kept: None, updates: false, awareness: false };
        let begun = self.written > 0;
        let mut first = true;
        let (mut frames, mut bytes) = (0, 0);
        self.queue.retain(|entry| {
            let being_written = std::mem::take(&mut first) && begun;
            let Contents::Published { through, awareness } = entry.contents else { return true };
            if being_written {
                dropped.kept = through;
                return true;
            }
            dropped.updates |= through.is_some();
            dropped.awareness |= awareness;
            frames += entry.frames as usize;
            bytes += entry.bytes.len();
            false
        });
        self.frames -= frames;
        self.bytes -= bytes;
        dropped
    }

    /// Offers everything that waits to a socket, and tells of each entry that it took as a whole.
    ///
    /// `write` behaves like a write to a non-blocking socket. Returns whether it took anything.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
        mut taken: impl FnMut(Contents),
    ) -> io::Result<bool> {
        let mut progress = false;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER_MAX];
            let mut count = 0;
            for (slice, entry) in slices.iter_mut().zip(&self.queue) {
                let from = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&entry.bytes[from..]);
                count += 1;
            }
            let mut wrote = match write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(wrote) => wrote,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(progress),
                Err(error) => return Err(error),
            };
            progress = true;
            while let Some(first) = self.queue.front() {
                let left = first.bytes.len() - self.written;
                if wrote < left {
                    self.written += wrote;
                    break;
                }
                wrote -= left;
                self.pop(&mut taken);
            }
        }
        if self.queue.capacity() > KEPT_ENTRIES_MAX {
            self.queue = VecDeque::new();
        }
        Ok(progress)
    }

    fn pop(&mut self, taken: &mut impl FnMut(Contents)) {
        let Some(entry) = self.queue.pop_front() else { return };
        self.written = 0;
        self.frames -= entry.frames as usize;
        self.bytes -= entry.bytes.len();
        if !entry.contents.may_be_dropped() {
            self.kept -= 1;
            self.kept_bytes -= entry.bytes.len();
        }
        taken(entry.contents);
    }
}

impl Contents {
    fn may_be_dropped(self) -> bool {
        matches!(self, Self::Published { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &'static [u8], contents: Contents) -> Entry {
        Entry { bytes: Bytes::from_static(bytes), frames: 1, contents }
    }

    fn published(through: u64) -> Contents {
        Contents::Published { through: Some(Slot::new(through)), awareness: false }
    }

    /// Lets a socket take so many bytes; says what it took, and of which entries it has all.
    fn take(outbox: &mut Outbox, mut room: usize) -> (Vec<u8>, Vec<Contents>) {
        let (mut bytes, mut whole) = (Vec::new(), Vec::new());
        let write = |slices: &[IoSlice<'_>]| {
            let mut wrote = 0;
            for slice in slices {
                let now = slice.len().min(room);
                bytes.extend(&slice[..now]);
                room -= now;
                wrote += now;
            }
            if wrote == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(wrote) }
        };
        outbox.flush(write, |contents| whole.push(contents)).unwrap();
        (bytes, whole)
    }

    #[test]
    fn bytes_leave_in_order_however_few_are_taken_at_a_time() {
        let mut outbox = Outbox::default();
        outbox.push(entry(b"abc", published(1)), 1);
        outbox.push(entry(b"de", Contents::Control), 0);
        outbox.push(entry(b"f", published(2)), 0);
        assert_eq!(take(&mut outbox, 1), (b"b".to_vec(), vec![]));
        assert_eq!(take(&mut outbox, 2), (b"cd".to_vec(), vec![published(1)]));
        assert_eq!(take(&mut outbox, 9), (b"ef".to_vec(), vec![Contents::Control, published(2)]));
        assert!(outbox.is_empty());
    }

    #[test]
    fn more_entries_than_one_write_gathers_leave_too() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(entry(b"x", published(1)), 0);
        }
        assert_eq!(take(&mut outbox, 1_000).0.len(), 100);
        assert_eq!(outbox.queue.capacity(), 0, "an idle socket keeps no memory");
    }

    #[test]
    fn a_drop_spares_what_is_being_written_and_what_is_waited_for() {
        let mut outbox = Outbox::default();
        let reply = Contents::Reply { through: None };
        outbox.push(entry(b"abc", published(1)), 1);
        outbox.push(entry(b"de", published(2)), 0);
        outbox.push(entry(b"fg", reply), 0);
        let awareness = Contents::Published { through: None, awareness: true };
        outbox.push(entry(b"h", awareness), 0);
        let dropped = outbox.drop_published();
        assert_eq!(dropped, Dropped { kept: Some(Slot::new(1)), updates: true, awareness: true });
        assert_eq!(take(&mut outbox, 9), (b"bcfg".to_vec(), vec![published(1), reply]));
        assert_eq!((outbox.frames, outbox.bytes, outbox.kept, outbox.kept_bytes), (0, 0, 0, 0));
    }

    #[test]
    fn the_message_being_written_does_not_count_and_one_may_always_wait() {
        let limits = Limits { outbox_frames_max: 1, outbox_bytes_max: 4, ..Limits::default() };
        let mut outbox = Outbox::default();
        outbox.push(entry(b"long message", published(1)), 0);
        assert!(!outbox.over(&limits));
        outbox.push(entry(b"four", published(2)), 0);
        assert!(!outbox.over(&limits));
        outbox.push(entry(b"", published(3)), 0);
        assert!(outbox.over(&limits), "two frames wait");
        outbox.drop_published();
        outbox.push(entry(b"head", Contents::Head), 0);
        outbox.push(entry(b"its rest", Contents::Reply { through: None }), 0);
        assert!(!outbox.over(&limits), "one message in two parts");
        outbox.push(entry(b"five!", published(4)), 0);
        assert!(outbox.over(&limits));
    }

    #[test]
    fn answers_alone_are_never_over_but_may_be_much() {
        let limits = Limits { outbox_bytes_max: 4, ..Limits::default() };
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push(entry(b"answer", Contents::Reply { through: None }), 0);
        }
        assert!(!outbox.over(&limits));
        assert!(outbox.owes_much(&limits));
        take(&mut outbox, 100);
        assert!(!outbox.owes_much(&limits));
    }
}
