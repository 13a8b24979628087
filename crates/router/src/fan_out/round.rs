//! Framing what goes to everybody, once.

use bytes::Bytes;
use ringleaf_types::Slot;
use ringleaf_wire::{ServerMessage, websocket_frame, y_websocket};

use super::inbox::{Published, PublishedSlot};
use crate::connection::{Frame, Framed, Round};

/// From this size on a payload is not copied behind its header.
const SPLIT_BYTES_MIN: usize = 16 << 10;

/// One message, framed. A large payload is shared by all who get it, with whoever made it.
pub(super) fn frame(message: &ServerMessage) -> Frame {
    let (head, payload) = y_websocket::encode_head(message);
    let length = head.len() + payload.len();
    let split = payload.len() >= SPLIT_BYTES_MIN;
    let mut framed =
        Vec::with_capacity(websocket_frame::HEADER_BYTES_MAX + if split { head.len() } else { length });
    websocket_frame::append_binary_header(&mut framed, length);
    framed.extend_from_slice(&head);
    if split {
        return Frame { head: framed.into(), body: payload.clone() };
    }
    framed.extend_from_slice(payload);
    Frame { head: framed.into(), body: Bytes::new() }
}

/// Makes rounds of what was published: one, unless slots are missing in between. All presence goes with the last.
pub(super) fn rounds(published: Published) -> Vec<Round> {
    let mut rounds = Vec::new();
    let mut slots = published.slots.into_iter().peekable();
    while slots.peek().is_some() {
        let mut buffer = Vec::new();
        let run = frame_run(&mut buffer, &mut slots);
        rounds.push((run, buffer));
    }
    let (last_run, mut buffer) = rounds.pop().unwrap_or_default();
    let mut finished: Vec<Round> = rounds.into_iter().map(|(run, buffer)| run.round(buffer, 0)).collect();
    let awareness = published.awareness.len() as u32;
    for payload in published.awareness {
        append(&mut buffer, &ServerMessage::Awareness { payload });
    }
    if !buffer.is_empty() || last_run.slots.is_some() {
        finished.push(last_run.round(buffer, awareness));
    }
    finished
}

/// Slots that follow on one another.
#[derive(Default)]
struct Run {
    slots: Option<(Slot, Slot)>,
    frames: u32,
    bytes: usize,
}

impl Run {
    /// `buffer` holds the run's frames and after them `awareness` others.
    fn round(self, buffer: Vec<u8>, awareness: u32) -> Round {
        let all = Bytes::from(buffer);
        Round {
            slots: self.slots,
            updates: Framed { bytes: all.slice(..self.bytes), frames: self.frames },
            awareness: Framed { bytes: all.slice(self.bytes..), frames: awareness },
            all,
        }
    }
}

fn frame_run(
    buffer: &mut Vec<u8>,
    slots: &mut std::iter::Peekable<impl Iterator<Item = PublishedSlot>>,
) -> Run {
    let mut run = Run::default();
    while let Some(next) = slots.next_if(|next| run.slots.is_none_or(|(_, through)| next.previous <= through))
    {
        for update in next.updates.iter() {
            append(buffer, &ServerMessage::Update { update: update.clone() });
            run.frames += 1;
        }
        let (previous, through) = run.slots.unwrap_or((next.previous, next.slot));
        run.slots = Some((previous, through.max(next.slot)));
    }
    run.bytes = buffer.len();
    run
}

fn append(buffer: &mut Vec<u8>, message: &ServerMessage) {
    let (head, payload) = y_websocket::encode_head(message);
    websocket_frame::append_binary_header(buffer, head.len() + payload.len());
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(previous: u64, slot: u64, updates: &[&'static [u8]]) -> PublishedSlot {
        PublishedSlot {
            previous: Slot::new(previous),
            slot: Slot::new(slot),
            updates: updates.iter().map(|update| Bytes::from_static(update)).collect(),
        }
    }

    #[test]
    fn slots_that_follow_on_one_another_are_one_buffer_with_a_frame_for_each_update() {
        let published = Published {
            slots: vec![slot(4, 5, &[b"a", b"b"]), slot(5, 6, &[b"c"])],
            awareness: vec![Bytes::from_static(b"w")],
            overrun: false,
        };
        let [round] = &rounds(published)[..] else { panic!("one round") };
        assert_eq!(round.slots, Some((Slot::new(4), Slot::new(6))));
        assert_eq!((round.updates.frames, round.awareness.frames), (3, 1));
        assert_eq!(
            round.updates.bytes[..],
            [0x82, 4, 0, 2, 1, b'a', 0x82, 4, 0, 2, 1, b'b', 0x82, 4, 0, 2, 1, b'c']
        );
        assert_eq!(round.awareness.bytes[..], [0x82, 3, 1, 1, b'w']);
        assert_eq!(round.all, [&round.updates.bytes[..], &round.awareness.bytes[..]].concat());
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let whole = |frame: &Frame| [&frame.head[..], &frame.body[..]].concat();
        for length in [1, 10, SPLIT_BYTES_MIN - 1, SPLIT_BYTES_MIN, 100_000] {
            let update = Bytes::from(vec![7; length]);
            let message = ServerMessage::SyncAnswer { update: update.clone() };
            let frame = frame(&message);
            let expected = websocket_frame::server_binary([&y_websocket::encode(&message)[..]]);
            assert_eq!(whole(&frame), expected);
            assert_eq!(frame.body.as_ptr() == update.as_ptr(), length >= SPLIT_BYTES_MIN);
        }
    }

    #[test]
    fn a_missing_slot_begins_another_round() {
        let published = Published {
            slots: vec![slot(4, 5, &[b"a"]), slot(6, 7, &[b"c"])],
            awareness: vec![Bytes::from_static(b"w")],
            overrun: false,
        };
        let [first, second] = &rounds(published)[..] else { panic!("two rounds") };
        assert_eq!(first.slots, Some((Slot::new(4), Slot::new(5))));
        assert_eq!(second.slots, Some((Slot::new(6), Slot::new(7))));
        assert_eq!((first.awareness.frames, second.awareness.frames), (0, 1));
    }

    #[test]
    fn a_slot_that_brings_nothing_still_says_how_far_the_document_is() {
        let published =
            Published { slots: vec![slot(4, 5, &[b"a"]), slot(9, 9, &[])], ..Published::default() };
        let [first, second] = &rounds(published)[..] else { panic!("two rounds") };
        assert_eq!(first.slots, Some((Slot::new(4), Slot::new(5))));
        assert_eq!((second.slots, second.updates.frames), (Some((Slot::new(9), Slot::new(9))), 0));
    }

    #[test]
    fn presence_alone_is_a_round_and_nothing_is_none() {
        let awareness = vec![Bytes::from_static(b"w")];
        let published = Published { awareness, ..Published::default() };
        let [round] = &rounds(published)[..] else { panic!("one round") };
        assert_eq!((round.slots, round.awareness.frames), (None, 1));
        assert!(rounds(Published::default()).is_empty());
    }
}
