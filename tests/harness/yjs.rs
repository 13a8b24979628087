//! Yjs bytes made and read by hand: the frames of the y-websocket dialect, and updates of a known shape.

use std::collections::{BTreeMap, BTreeSet};

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::scan::{self, Kind, Struct, Visit};

/// A frame of the y-websocket dialect, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Step1(BTreeMap<u64, u64>),
    Step2(Vec<u8>),
    Update(Vec<u8>),
    Awareness(Vec<(u64, u64, String)>),
    Other(Vec<u8>),
}

/// Nothing at all: what a client asks with that has an empty document.
pub const STEP1_OF_NOTHING: [u8; 4] = [0, 0, 1, 0];

pub fn var_uint(mut number: u64, into: &mut Vec<u8>) {
    while number > 0x7f {
        into.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    into.push(number as u8);
}

fn bytes(payload: &[u8], into: &mut Vec<u8>) {
    var_uint(payload.len() as u64, into);
    into.extend_from_slice(payload);
}

/// `00 02 update`, as a client sends an edit.
pub fn update_frame(update: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 2];
    bytes(update, &mut frame);
    frame
}

/// `00 01 update`, as a client answers a state vector.
pub fn step2_frame(update: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 1];
    bytes(update, &mut frame);
    frame
}

pub fn step1_frame(state_vector: &BTreeMap<u64, u64>) -> Vec<u8> {
    let mut vector = Vec::new();
    var_uint(state_vector.len() as u64, &mut vector);
    for (&client, &clock) in state_vector {
        var_uint(client, &mut vector);
        var_uint(clock, &mut vector);
    }
    let mut frame = vec![0, 0];
    bytes(&vector, &mut frame);
    frame
}

pub fn awareness_frame(client: u64, clock: u64, state: &str) -> Vec<u8> {
    let mut payload = vec![1];
    var_uint(client, &mut payload);
    var_uint(clock, &mut payload);
    bytes(state.as_bytes(), &mut payload);
    let mut frame = vec![1];
    bytes(&payload, &mut frame);
    frame
}

/// An update in which `client` appends `text` (ASCII) behind its own last character, in the root text `text`.
pub fn typed(client: u64, clock: u64, text: &str) -> Vec<u8> {
    let mut update = vec![1, 1];
    var_uint(client, &mut update);
    var_uint(clock, &mut update);
    if clock == 0 {
        update.extend([0x04, 1]);
        bytes(b"text", &mut update);
    } else {
        update.push(0x84);
        var_uint(client, &mut update);
        var_uint(clock - 1, &mut update);
    }
    bytes(text.as_bytes(), &mut update);
    update.push(0);
    update
}

/// An update in which `client` sets key `k` of the root map `map` to a string, and so deletes its value before.
pub fn key_set(client: u64, clock: u64, value: &str) -> Vec<u8> {
    let mut update = vec![1, 1];
    var_uint(client, &mut update);
    var_uint(clock, &mut update);
    if clock == 0 {
        update.extend([0x28, 1]);
        bytes(b"map", &mut update);
        bytes(b"k", &mut update);
    } else {
        update.push(0xa8);
        var_uint(client, &mut update);
        var_uint(clock - 1, &mut update);
    }
    update.extend([1, 0x77]);
    bytes(value.as_bytes(), &mut update);
    if clock == 0 {
        update.push(0);
    } else {
        update.push(1);
        var_uint(client, &mut update);
        update.push(1);
        var_uint(clock - 1, &mut update);
        update.push(1);
    }
    update
}

/// An update by as many clients, each of which has typed one letter behind the one before, in the root text `text`: every
/// page load of an editor is a client of its own.
pub fn typed_by_many(clients: u64) -> Vec<u8> {
    let id = |client: u64| client * 1_000;
    let mut update = Vec::new();
    var_uint(clients, &mut update);
    for client in (1..=clients).rev() {
        update.push(1);
        var_uint(id(client), &mut update);
        update.push(0);
        if client == 1 {
            update.extend([0x04, 1]);
            bytes(b"text", &mut update);
        } else {
            update.push(0x84);
            var_uint(id(client - 1), &mut update);
            update.push(0);
        }
        bytes(b"x", &mut update);
    }
    update.push(0);
    update
}

/// An update in which `client` writes two values into the root array `array` as Yjs did before 2020: as JSON text.
pub fn old_json(client: u64) -> Vec<u8> {
    let mut update = vec![1, 1];
    var_uint(client, &mut update);
    update.extend([0, 0x02, 1]);
    bytes(b"array", &mut update);
    update.push(2);
    bytes(br#"{"old":[1,2]}"#, &mut update);
    bytes(b"undefined", &mut update);
    update.push(0);
    update
}

/// An update in which `client` puts a weak link into the root array `array`, which only yrs knows.
pub fn weak_link(client: u64) -> Vec<u8> {
    let mut update = vec![1, 2];
    var_uint(client, &mut update);
    update.extend([0, 0x04, 1]);
    bytes(b"text", &mut update);
    bytes(b"x", &mut update);
    update.extend([0x07, 1]);
    bytes(b"array", &mut update);
    // A link to the letter.
    update.extend([7, 0]);
    var_uint(client, &mut update);
    update.extend([0, 0]);
    update
}

/// Reads one frame that a server sent.
///
/// # Panics
/// When it is cut short.
pub fn frame(message: &[u8]) -> Frame {
    let mut reader = Reader(message);
    match (message.first(), message.get(1)) {
        (Some(0), Some(kind @ 0..=2)) => {
            reader.0 = &message[2..];
            let body = reader.bytes();
            match kind {
                0 => Frame::Step1(state_vector(body)),
                1 => Frame::Step2(body.to_vec()),
                _ => Frame::Update(body.to_vec()),
            }
        }
        (Some(1), _) => {
            reader.0 = &message[1..];
            let mut payload = Reader(reader.bytes());
            let count = payload.var_uint();
            let entry = |reader: &mut Reader<'_>| {
                let (client, clock) = (reader.var_uint(), reader.var_uint());
                (client, clock, String::from_utf8_lossy(reader.bytes()).into_owned())
            };
            Frame::Awareness((0..count).map(|_| entry(&mut payload)).collect())
        }
        _ => Frame::Other(message.to_vec()),
    }
}

fn state_vector(body: &[u8]) -> BTreeMap<u64, u64> {
    let mut reader = Reader(body);
    let count = reader.var_uint();
    (0..count).map(|_| (reader.var_uint(), reader.var_uint())).collect()
}

/// What an update brings: per client the clock after its last struct, and every deleted unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub clocks: BTreeMap<u64, u64>,
    pub deleted: BTreeSet<(u64, u64)>,
}

impl Contents {
    pub fn merge(&mut self, other: &Self) {
        for (client, &clock) in &other.clocks {
            let known = self.clocks.entry(*client).or_default();
            *known = clock.max(*known);
        }
        self.deleted.extend(&other.deleted);
    }
}

impl Visit<'_> for Contents {
    fn item(&mut self, item: &Struct<'_>) {
        assert!(item.kind != Kind::Skip, "a server sends no holes");
        let known = self.clocks.entry(item.client.get()).or_default();
        *known = u64::from(item.end()).max(*known);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        let units = (0..u64::from(length)).map(|unit| (client.get(), u64::from(clock.get()) + unit));
        self.deleted.extend(units);
    }
}

/// What an update brings.
///
/// # Panics
/// When it is no update, or has a hole.
pub fn contents(update: &[u8]) -> Contents {
    let mut contents = Contents::default();
    scan::update(update, &mut contents).expect("a server sends updates");
    contents
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn var_uint(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = self.0.split_first().expect("a number that is complete");
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.var_uint() as usize;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}
