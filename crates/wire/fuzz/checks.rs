//! What must hold for whatever bytes a decoder is given. Shared by the fuzz targets and the test that runs the corpus.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "every target uses a part of it")]

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::lib0::{ANY_NESTING_MAX, Reader};
use ringleaf_wire::scan::{self, Kind, ScanLimits, Struct, Visit};
use ringleaf_wire::{ClientMessage, Cut, ServerMessage, stand_in, y_websocket};

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

/// What stands in for values goes through the scan, and gives back what it stands for.
pub fn stand_ins(update: &[u8]) {
    if let Some(hidden) = stand_in::hide(update).unwrap() {
        let limits = ScanLimits::stored();
        assert_eq!(scan::update(&hidden, &limits, &mut ()), Ok(()));
        assert_eq!(stand_in::show(&hidden).unwrap().as_deref(), Some(update));
    }
}

/// A value ends where the next one begins.
pub fn any(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if reader.skip_any(ANY_NESTING_MAX).is_ok() {
        let end = reader.position();
        let mut alone = Reader::new(&bytes[..end]);
        assert!(alone.skip_any(ANY_NESTING_MAX).is_ok() && alone.is_empty());
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

/// What is cut of an update passes the scan and says the same, without Skips and empty items.
pub fn update(bytes: &[u8]) {
    let mut found = Found::default();
    if scan::update(bytes, &ScanLimits::default(), &mut found).is_err() {
        return;
    }
    stand_ins(bytes);
    let mut cut = Cut::new();
    let mut kept: Vec<Struct<'_>> = Vec::new();
    for item in &found.structs {
        if item.kind == Kind::Skip || item.length == 0 {
            continue;
        }
        // Of a client, what is kept has no hole.
        let follows =
            kept.last().is_none_or(|last| last.client != item.client || last.end() == item.clock.get());
        if follows {
            cut.keep(item);
            kept.push(*item);
        }
    }
    for &(client, clock, length) in &found.deletions {
        cut.delete(client, clock.get()..clock.get() + length);
    }
    let pieces = cut.finish();
    let mut again = Found::default();
    for piece in &pieces {
        scan::update(piece, &ScanLimits::default(), &mut again).unwrap();
    }
    let sorted = |structs: &[Struct<'_>]| {
        let mut all: Vec<_> =
            structs.iter().map(|item| (item.client, item.clock, item.kind, item.bytes.to_vec())).collect();
        all.sort_by_key(|item| (item.0, item.1));
        all
    };
    assert_eq!(sorted(&again.structs), sorted(&kept));
    let apart = again.deletions.windows(2).all(|two| {
        two[0].0 > two[1].0 || (two[0].0 == two[1].0 && two[0].1.get() + two[0].2 < two[1].1.get())
    });
    assert!(apart, "deletions are sorted and do not touch");
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
