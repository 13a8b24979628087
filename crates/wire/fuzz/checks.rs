//! What must hold for whatever bytes a decoder is given. Shared by the fuzz targets and the test that runs the corpus.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "every target uses a part of it")]

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::cut::{self, write_client, write_tombstone};
use ringleaf_wire::lib0::Reader;
use ringleaf_wire::scan::{self, ScanLimits, Struct, Visit};
use ringleaf_wire::{ClientMessage, ServerMessage, y_websocket};

/// Every decoder takes the bytes for its own.
pub fn all(bytes: &[u8]) {
    frame(bytes);
    any(bytes);
    state_vector(bytes);
    awareness(bytes);
    update(bytes);
}

/// A frame is a number of messages and a rest; each message is written as it was read.
pub fn frame(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let mut messages = y_websocket::decode(frame);
    for message in messages.by_ref() {
        let again = y_websocket::encode(&match message.clone() {
            ClientMessage::SyncRequest { state_vector } => ServerMessage::SyncRequest { state_vector },
            ClientMessage::SyncAnswer { update } => ServerMessage::SyncAnswer { update },
            ClientMessage::Update { update } => ServerMessage::Update { update },
            ClientMessage::Awareness { payload } => ServerMessage::Awareness { payload },
            ClientMessage::QueryAwareness => continue,
        });
        assert_eq!(y_websocket::decode(again).collect::<Vec<_>>(), [message]);
    }
    assert!(messages.ignored_bytes() <= bytes.len());
}

/// A value ends where the next one begins.
pub fn any(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if reader.skip_any().is_ok() {
        let end = reader.position();
        let mut alone = Reader::new(&bytes[..end]);
        assert!(alone.skip_any().is_ok() && alone.is_empty());
    }
}

/// What was checked is what comes out.
pub fn state_vector(bytes: &[u8]) {
    if let Ok(entries) = scan::state_vector(bytes) {
        let expected = entries.size_hint().0;
        assert_eq!(entries.count(), expected);
    }
}

/// What was checked is what comes out, and it is JSON.
pub fn awareness(bytes: &[u8]) {
    if let Ok(entries) = scan::awareness(bytes, &ScanLimits::default()) {
        let expected = entries.size_hint().0;
        let mut count = 0;
        for entry in entries {
            count += 1;
            assert!(entry.state.is_none_or(|state| state.trim().starts_with('{')));
        }
        assert_eq!(count, expected);
    }
}

/// The end of every struct of an update, from any unit on, passes the scan and has the units that it should.
pub fn update(bytes: &[u8]) {
    let mut found = Found::default();
    if scan::update(bytes, &mut found).is_err() {
        return;
    }
    for item in found.structs.iter().filter(|item| item.length > 0) {
        for offset in [1, item.length / 2, item.length - 1] {
            if (1..item.length).contains(&offset) {
                end(item, offset);
            }
        }
    }
}

fn end(item: &Struct<'_>, offset: u32) {
    let mut out = vec![1];
    write_client(&mut out, 2, item.client, item.clock.get());
    write_tombstone(&mut out, offset);
    let rest = cut::write_end(&mut out, item, offset);
    out.extend_from_slice(&item.bytes[item.bytes.len() - rest..]);
    out.push(0);
    let mut again = Found::default();
    scan::update(&out, &mut again).unwrap();
    let [_, end] = again.structs.as_slice() else { panic!("two structs") };
    assert_eq!((end.clock.get(), end.end()), (item.clock.get() + offset, item.end()));
    assert_eq!((end.kind, end.content, end.right), (item.kind, item.content, item.right));
}

#[derive(Default)]
struct Found<'a> {
    structs: Vec<Struct<'a>>,
    deletions: Vec<(ClientId, Clock, u32)>,
}

impl<'a> Visit<'a> for Found<'a> {
    fn item(&mut self, item: &Struct<'a>) {
        self.structs.push(*item);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deletions.push((client, clock, length));
    }
}
