//! Structs and updates, byte by byte, as Yjs writes them.

use bytes::Bytes;
use ringleaf_wire::lib0::{write_var_bytes, write_var_string, write_var_uint};

const LEFT: u8 = 0x80;
const RIGHT: u8 = 0x40;
const KEYED: u8 = 0x20;

/// A unit: its client and its clock.
pub(super) type Unit = (u64, u32);

/// One struct, encoded.
pub(super) type Encoded = Vec<u8>;

/// Where an item stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) left: Option<Unit>,
    pub(super) right: Option<Unit>,
    /// `None`: the document's own type `t`.
    pub(super) parent: Option<Unit>,
    pub(super) key: Option<&'a str>,
}

/// In the document's own type `t`.
pub(super) fn root() -> Place<'static> {
    Place::default()
}

pub(super) fn after(client: u64, clock: u32) -> Place<'static> {
    Place { left: Some((client, clock)), ..Place::default() }
}

pub(super) fn before(client: u64, clock: u32) -> Place<'static> {
    Place { right: Some((client, clock)), ..Place::default() }
}

/// In the shared type that this unit is.
pub(super) fn within(client: u64, clock: u32) -> Place<'static> {
    Place { parent: Some((client, clock)), ..Place::default() }
}

pub(super) fn tombstone(length: u32) -> Encoded {
    lengthy(0, length)
}

/// Nothing is known about so many units.
pub(super) fn hole(length: u32) -> Encoded {
    lengthy(10, length)
}

fn lengthy(info: u8, length: u32) -> Encoded {
    let mut out = vec![info];
    write_var_uint(&mut out, u64::from(length));
    out
}

impl<'a> Place<'a> {
    pub(super) fn before(self, client: u64, clock: u32) -> Self {
        Self { right: Some((client, clock)), ..self }
    }

    pub(super) fn key(self, key: &'a str) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(super) fn deleted(self, length: u32) -> Encoded {
        self.item(1, |out| write_var_uint(out, u64::from(length)))
    }

    pub(super) fn json(self, values: &[&str]) -> Encoded {
        self.item(2, |out| {
            write_var_uint(out, values.len() as u64);
            values.iter().for_each(|value| write_var_string(out, value));
        })
    }

    pub(super) fn binary(self, bytes: &[u8]) -> Encoded {
        self.item(3, |out| write_var_bytes(out, bytes))
    }

    pub(super) fn text(self, text: &str) -> Encoded {
        self.item(4, |out| write_var_string(out, text))
    }

    pub(super) fn embed(self, json: &str) -> Encoded {
        self.item(5, |out| write_var_string(out, json))
    }

    pub(super) fn format(self, key: &str, json: &str) -> Encoded {
        self.item(6, |out| {
            write_var_string(out, key);
            write_var_string(out, json);
        })
    }

    /// A map.
    pub(super) fn map(self) -> Encoded {
        self.item(7, |out| out.push(1))
    }

    /// Each value is encoded already.
    pub(super) fn any(self, values: &[&[u8]]) -> Encoded {
        self.item(8, |out| {
            write_var_uint(out, values.len() as u64);
            values.iter().for_each(|value| out.extend_from_slice(value));
        })
    }

    pub(super) fn subdocument(self, name: &str) -> Encoded {
        self.item(9, |out| {
            write_var_string(out, name);
            out.extend_from_slice(&[0x76, 0]);
        })
    }

    /// What stock editors cannot read.
    pub(super) fn weak_link(self) -> Encoded {
        self.item(7, |out| out.extend_from_slice(&[7, 0, 1, 0]))
    }

    fn item(self, content: u8, write: impl FnOnce(&mut Vec<u8>)) -> Encoded {
        let flag = |there, flag| if there { flag } else { 0 };
        let info = flag(self.left.is_some(), LEFT)
            | flag(self.right.is_some(), RIGHT)
            | flag(self.key.is_some(), KEYED)
            | content;
        let mut out = vec![info];
        for (client, clock) in [self.left, self.right].into_iter().flatten() {
            write_unit(&mut out, (client, clock));
        }
        if self.left.is_none() && self.right.is_none() {
            match self.parent {
                Some(parent) => {
                    out.push(0);
                    write_unit(&mut out, parent);
                }
                None => {
                    out.push(1);
                    write_var_string(&mut out, "t");
                }
            }
            if let Some(key) = self.key {
                write_var_string(&mut out, key);
            }
        }
        write(&mut out);
        out
    }
}

fn write_unit(out: &mut Vec<u8>, (client, clock): Unit) {
    write_var_uint(out, client);
    write_var_uint(out, u64::from(clock));
}

/// An update in the making. Clients stand in it in the order in which they are added.
#[derive(Debug, Clone, Default)]
pub(super) struct Update {
    clients: Vec<(u64, u32, Vec<Encoded>)>,
    deleted: Vec<(u64, Vec<(u32, u32)>)>,
}

pub(super) fn update() -> Update {
    Update::default()
}

/// Structs of one client, and nothing else.
pub(super) fn of(client: u64, clock: u32, structs: impl IntoIterator<Item = Encoded>) -> Bytes {
    update().of(client, clock, structs).bytes()
}

/// Deleted ranges of one client, each with its length, and nothing else.
pub(super) fn deletes(client: u64, ranges: &[(u32, u32)]) -> Bytes {
    update().deletes(client, ranges).bytes()
}

impl Update {
    pub(super) fn of(mut self, client: u64, clock: u32, structs: impl IntoIterator<Item = Encoded>) -> Self {
        self.clients.push((client, clock, structs.into_iter().collect()));
        self
    }

    pub(super) fn deletes(mut self, client: u64, ranges: &[(u32, u32)]) -> Self {
        self.deleted.push((client, ranges.to_vec()));
        self
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut out = Vec::new();
        write_var_uint(&mut out, self.clients.len() as u64);
        for (client, clock, structs) in &self.clients {
            write_var_uint(&mut out, structs.len() as u64);
            write_unit(&mut out, (*client, *clock));
            structs.iter().for_each(|item| out.extend_from_slice(item));
        }
        write_var_uint(&mut out, self.deleted.len() as u64);
        for (client, ranges) in &self.deleted {
            write_var_uint(&mut out, *client);
            write_var_uint(&mut out, ranges.len() as u64);
            for (clock, length) in ranges {
                write_var_uint(&mut out, u64::from(*clock));
                write_var_uint(&mut out, u64::from(*length));
            }
        }
        out.into()
    }
}

/// A state vector.
pub(super) fn seen(clocks: &[Unit]) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_uint(&mut out, clocks.len() as u64);
    clocks.iter().for_each(|unit| write_unit(&mut out, *unit));
    out
}
