//! Messages of valid structs with relations that no editor would make.

use ringleaf_wire::lib0::{write_var_bytes, write_var_string, write_var_uint};

use super::choices::Choices;

/// Few, so that they meet; ids of one byte, of five, and the largest that there is.
pub(crate) const CLIENTS: [u64; 5] = [(1 << 53) - 1, 1 << 31, 300, 2, 1];

/// How long a struct becomes at most, but for tombstones.
const UNITS_MAX: usize = 6;

const KIND_STRING: u8 = 4;
const TEXTS: [&str; 7] = ["a", "bc", "ä", "€uro", "😀", "x😀y", "\u{fffd}"];

/// What was said so far: so many units of each client, be they admitted or not.
#[derive(Debug, Default)]
pub(crate) struct Said {
    ends: [u64; CLIENTS.len()],
    /// What each client has said, in the order of its clocks: these structs and their first clock.
    truth: [Vec<(u64, Vec<u8>)>; CLIENTS.len()],
    deleted: Vec<(u64, u64, u64)>,
}

/// One message.
#[derive(Debug, Default)]
struct Message {
    clients: Vec<(usize, u64, Vec<Vec<u8>>)>,
    deleted: Vec<(u64, u64, u64)>,
}

impl Said {
    /// A message in which anything may refer to anything, and the same unit may be said to be many things.
    pub(crate) fn lies(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut message = Message::default();
        for client in 0..CLIENTS.len() {
            if choices.once_in(2) {
                let near =
                    (self.ends[client] + choices.below(4) as u64).saturating_sub(choices.below(4) as u64);
                let begin = if choices.once_in(4) { 0 } else { near };
                let mut clock = begin;
                let structs: Vec<_> = (0..=choices.below(4))
                    .map(|_| {
                        let (bytes, units) = self.structure(choices, client, clock, true);
                        clock += units;
                        bytes
                    })
                    .collect();
                self.ends[client] = self.ends[client].max(clock);
                message.clients.push((client, begin, structs));
            }
        }
        self.delete(choices, &mut message, 8);
        if choices.once_in(16) {
            message.clients.reverse();
        }
        message.encode()
    }

    /// Clients write on, each on what there is, and nothing is said of it yet.
    pub(crate) fn write(&mut self, choices: &mut Choices<'_>) {
        let client = choices.below(CLIENTS.len());
        let clock = self.ends[client];
        let (bytes, units) = self.structure(choices, client, clock, false);
        self.truth[client].push((clock, bytes));
        self.ends[client] += units;
        if choices.once_in(3) {
            let mut message = Message::default();
            self.delete(choices, &mut message, 3);
            self.deleted.append(&mut message.deleted);
        }
    }

    /// Some of what was written: of each client some structs that follow on each other, perhaps with a hole between them.
    pub(crate) fn tell(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut message = Message::default();
        for (client, truth) in self.truth.iter().enumerate() {
            if truth.is_empty() || choices.once_in(3) {
                continue;
            }
            let from = choices.below(truth.len());
            let until = from + choices.below(truth.len() - from + 1);
            let Some((begin, _)) = truth.get(from).filter(|_| until > from) else { continue };
            message.clients.push((
                client,
                *begin,
                truth[from..until].iter().map(|(_, bytes)| bytes.clone()).collect(),
            ));
        }
        if let Some(deleted) = choices.pick(&self.deleted) {
            message.deleted.push(*deleted);
        }
        message.encode()
    }

    /// All that was written.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let told = self.truth.iter().enumerate().filter(|(_, truth)| !truth.is_empty());
        let clients = told
            .map(|(client, truth)| (client, 0, truth.iter().map(|(_, bytes)| bytes.clone()).collect()))
            .collect();
        Message { clients, deleted: self.deleted.clone() }.encode()
    }

    fn delete(&self, choices: &mut Choices<'_>, message: &mut Message, most: usize) {
        for _ in 0..choices.below(most) {
            let client = choices.below(CLIENTS.len());
            let clock = choices.below(self.ends[client] as usize + 2) as u64;
            message.deleted.push((CLIENTS[client], clock, choices.below(5) as u64));
        }
    }

    /// One struct, and how many units it has.
    fn structure(&self, choices: &mut Choices<'_>, client: usize, clock: u64, lies: bool) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let kind = choices.below(if lies { 14 } else { 12 });
        if kind >= 11 && (lies || kind == 11) {
            let units = 1 + choices.below(UNITS_MAX) as u64;
            out.push(if kind == 12 { 10 } else { 0 });
            write_var_uint(&mut out, units);
            return (out, units);
        }
        let kind = [1, 2, 3, KIND_STRING, KIND_STRING, KIND_STRING, 5, 6, 7, 7, 8, 9][kind.min(11)];
        let (left, right) = (choices.once_in(2), choices.once_in(3));
        let sub = choices.once_in(4);
        out.push(kind | u8::from(left) << 7 | u8::from(right) << 6 | u8::from(sub) << 5);
        if left {
            // Mostly the unit before it, so that there is something to join.
            let own = (CLIENTS[client], clock.saturating_sub(1));
            let joins = clock > 0 && !choices.once_in(3);
            self.write_id(choices, &mut out, client, clock, lies, joins.then_some(own));
        }
        if right {
            self.write_id(choices, &mut out, client, clock, lies, None);
        }
        if !left && !right {
            let within = clock > 0 && choices.once_in(2);
            out.push(u8::from(!within));
            if within {
                self.write_id(choices, &mut out, client, clock, lies, None);
            } else {
                write_var_string(&mut out, "t");
            }
            if sub {
                write_var_string(&mut out, "key");
            }
        }
        let units = write_content(choices, &mut out, kind);
        (out, units)
    }

    fn write_id(
        &self,
        choices: &mut Choices<'_>,
        out: &mut Vec<u8>,
        client: usize,
        clock: u64,
        lies: bool,
        id: Option<(u64, u64)>,
    ) {
        let (of, unit) = id.unwrap_or_else(|| {
            let other = choices.below(CLIENTS.len());
            // What is there before this struct. A liar goes a little further.
            let end = if other == client { clock } else { self.ends[other] };
            let unit = choices.below((end + if lies { 3 } else { 0 }).min(200) as usize) as u64;
            if end == 0 && !lies {
                (CLIENTS[client], unit.min(clock.saturating_sub(1)))
            } else {
                (CLIENTS[other], unit)
            }
        });
        // The first struct of the first client has nothing to refer to: then it waits for itself.
        write_var_uint(out, of);
        write_var_uint(out, unit);
    }
}

fn write_content(choices: &mut Choices<'_>, out: &mut Vec<u8>, kind: u8) -> u64 {
    match kind {
        1 => {
            let units = 1 + choices.below(UNITS_MAX) as u64;
            write_var_uint(out, units);
            units
        }
        2 => {
            let values = ["undefined", "{\"a\":[1]}", "\"x\"", "[[[]]]"];
            let count = 1 + choices.below(3);
            write_var_uint(out, count as u64);
            for _ in 0..count {
                write_var_string(out, values[choices.below(values.len())]);
            }
            count as u64
        }
        3 => {
            write_var_bytes(out, &[0; 3][..choices.below(4)]);
            1
        }
        KIND_STRING => write_text(choices, out),
        5 => {
            write_var_string(out, if choices.once_in(9) { "{broken" } else { "{\"image\":1}" });
            1
        }
        6 => {
            write_var_string(out, "bold");
            write_var_string(out, if choices.once_in(2) { "null" } else { "true" });
            1
        }
        7 => {
            let kind = choices.below(16) as u8;
            match kind {
                3 | 5 => {
                    out.push(kind);
                    write_var_string(out, "p");
                }
                // A weak link to the first unit of the first client.
                7 => out.extend([7, 0, 1, 0]),
                _ => out.push(kind % 3),
            }
            1
        }
        8 => {
            let values: [&[u8]; 5] =
                [&[0x7e], &[0x7f], &[0x75, 1, 0x75, 0], &[0x76, 1, 1, b'k', 0x7d, 5], &[0x77, 1, b'v']];
            let count = 1 + choices.below(4);
            write_var_uint(out, count as u64);
            for _ in 0..count {
                out.extend_from_slice(values[choices.below(values.len())]);
            }
            count as u64
        }
        _ => {
            write_var_string(out, "guid");
            out.extend_from_slice(if choices.once_in(9) { &[0x7e] } else { &[0x76, 0] });
            1
        }
    }
}

/// Text, now and then of more than one block that the store remembers the place of.
fn write_text(choices: &mut Choices<'_>, out: &mut Vec<u8>) -> u64 {
    let mut text: String = (0..=choices.below(3)).map(|_| TEXTS[choices.below(TEXTS.len())]).collect();
    if choices.once_in(24) {
        text = text.repeat(700);
    }
    write_var_string(out, &text);
    text.encode_utf16().count() as u64
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_uint(&mut out, self.clients.len() as u64);
        for (client, begin, structs) in &self.clients {
            write_var_uint(&mut out, structs.len() as u64);
            write_var_uint(&mut out, CLIENTS[*client]);
            write_var_uint(&mut out, *begin);
            structs.iter().for_each(|bytes| out.extend_from_slice(bytes));
        }
        let mut deleted = self.deleted.clone();
        deleted.sort_by_key(|(client, ..)| std::cmp::Reverse(*client));
        let by_client: Vec<_> = deleted.chunk_by(|a, b| a.0 == b.0).collect();
        write_var_uint(&mut out, by_client.len() as u64);
        for ranges in by_client {
            write_var_uint(&mut out, ranges[0].0);
            write_var_uint(&mut out, ranges.len() as u64);
            for (_, clock, units) in ranges {
                write_var_uint(&mut out, *clock);
                write_var_uint(&mut out, *units);
            }
        }
        out
    }
}
