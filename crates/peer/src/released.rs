//! What released versions say stays readable: `tests/vectors/peer-1.json`, made by hand from the proto file.

use prost::Message;
use serde_json::Value;

use crate::convert::{event_in, event_out, opening_in, opening_out, refused_in, refused_out};
use crate::convert::{request_in, request_out};
use crate::inbox::Inbox;
use crate::proto::item::Kind;
use crate::proto::{Frame, Hello, Item};
use crate::service::check_hello;

const ITEM_BYTES_MAX: usize = 1 << 20;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/peer-1.json")).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The one item of a frame.
fn read(frame: &[u8]) -> (u64, u32, Kind) {
    let frame = Frame::decode(frame).unwrap();
    let ring = frame.ring;
    let mut items = Inbox::new(ITEM_BYTES_MAX).items(frame).unwrap();
    let (channel, kind) = items.pop().unwrap();
    assert!(items.is_empty());
    (ring, channel, kind)
}

/// An item understood, and said again by this version.
fn said_again(kind: Kind) -> Kind {
    match kind {
        Kind::Open(open) => Kind::Open(opening_out(opening_in(&open).unwrap())),
        Kind::Refused(refused) => Kind::Refused(refused_out(&refused_in(refused).unwrap())),
        Kind::Request(request) => Kind::Request(request_out(request_in(request).unwrap())),
        Kind::Event(event) => Kind::Event(event_out(event_in(event).unwrap())),
        Kind::Hello(hello) => {
            check_hello(&hello).unwrap();
            Kind::Hello(hello)
        }
        plain @ (Kind::Close(_) | Kind::Opened(_) | Kind::Credit(_) | Kind::Closed(_)) => plain,
        Kind::Chunk(_) => panic!("the inbox puts chunks together"),
    }
}

#[test]
fn what_version_1_says_is_understood_and_still_said_in_the_same_bytes() {
    let vectors = vectors();
    let frames = vectors["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 29);
    for vector in frames {
        let recorded = bytes(&vector["frame"]);
        let (ring, channel, kind) = read(&recorded);
        assert_eq!(ring, 7);
        let items = vec![Item { channel, kind: Some(said_again(kind)) }];
        let again = Frame { ring, items, ..Frame::default() };
        assert_eq!(again.encode_to_vec(), recorded, "{}", vector["name"]);
    }
}

#[test]
fn fields_that_a_later_version_adds_are_passed_over() {
    for vector in vectors()["frames"].as_array().unwrap() {
        let (_, channel, kind) = read(&bytes(&vector["frame"]));
        let (_, later_channel, later) = read(&bytes(&vector["later"]));
        assert_eq!((channel, kind), (later_channel, later.clone()), "{}", vector["name"]);
        said_again(later);
    }
}

#[test]
fn chunks_of_version_1_are_put_together() {
    let vectors = vectors();
    let mut inbox = Inbox::new(ITEM_BYTES_MAX);
    let frames = vectors["chunks"]["frames"].as_array().unwrap();
    let items =
        frames.iter().flat_map(|frame| inbox.items(Frame::decode(bytes(frame).as_slice()).unwrap()).unwrap());
    let items: Vec<_> = items.collect();
    let [(5, Kind::Event(event))] = items.as_slice() else { panic!("{items:?}") };
    event_in(event.clone()).unwrap();
}

#[test]
fn an_item_of_a_kind_that_is_not_known_ends_the_link_instead_of_being_lost() {
    let frame = Frame::decode(bytes(&vectors()["unknown_kind"]).as_slice()).unwrap();
    assert!(Inbox::new(ITEM_BYTES_MAX).items(frame).is_err());
}

#[test]
fn versions_that_have_one_in_common_speak_the_newest_of_these() {
    let with = |oldest, newest| {
        check_hello(&Hello { protocol_min: oldest, protocol_max: newest, ..Hello::default() }).ok()
    };
    // This version speaks 1; whoever speaks that and more speaks 1 with it.
    assert_eq!([with(1, 1), with(1, 2), with(0, 3)], [Some(1); 3]);
    // Two versions apart, nonsense, and a hello from before there were versions.
    assert_eq!([with(2, 3), with(2, 1), with(0, 0)], [None; 3]);
}

#[test]
fn two_versions_apart_by_one_agree_whoever_says_it() {
    use crate::service::newest_in_common;
    let agree = |ours, theirs| {
        let (forth, back) = (newest_in_common(ours, theirs), newest_in_common(theirs, ours));
        assert_eq!(forth, back, "{ours:?} and {theirs:?}");
        forth
    };
    assert_eq!(agree((1, 2), (1, 1)), Some(1));
    assert_eq!(agree((2, 3), (1, 2)), Some(2));
    assert_eq!(agree((3, 4), (1, 2)), None);
}
