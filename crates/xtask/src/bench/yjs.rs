//! As much of Yjs' update format as the load needs: typing without a CRDT, and reading which clocks an update brings.

/// Writes a variable-length unsigned integer.
pub(crate) fn write_var(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes bytes behind their length.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The identity of one character: who wrote it, and which of theirs it is.
pub(crate) type Id = (u64, u64);

const HAS_LEFT: u8 = 0x80;
const HAS_RIGHT: u8 = 0x40;
const HAS_KEY: u8 = 0x20;
pub(crate) const CONTENT_DELETED: u8 = 1;
const CONTENT_BINARY: u8 = 3;
pub(crate) const CONTENT_STRING: u8 = 4;

/// Writes the head of an item in the root text `t`: what kind it is and where it stands.
pub(crate) fn write_item_head(out: &mut Vec<u8>, content: u8, left: Option<Id>, right: Option<Id>) {
    let origins = if left.is_some() { HAS_LEFT } else { 0 } | if right.is_some() { HAS_RIGHT } else { 0 };
    out.push(content | origins);
    for (client, clock) in [left, right].into_iter().flatten() {
        write_var(out, client);
        write_var(out, clock);
    }
    if origins == 0 {
        out.extend_from_slice(&[1, 1, b't']);
    }
}

/// An update of one string typed into the root text `t`.
pub(crate) fn typed(id: Id, left: Option<Id>, right: Option<Id>, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + text.len());
    out.extend_from_slice(&[1, 1]);
    write_var(&mut out, id.0);
    write_var(&mut out, id.1);
    write_item_head(&mut out, CONTENT_STRING, left, right);
    write_bytes(&mut out, text.as_bytes());
    out.push(0);
    out
}

/// An update that sets the key `k` of the root map `m`, over the value that the same writer set before.
pub(crate) fn map_value(id: Id, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + value.len());
    out.extend_from_slice(&[1, 1]);
    write_var(&mut out, id.0);
    write_var(&mut out, id.1);
    if id.1 == 0 {
        out.push(CONTENT_BINARY | HAS_KEY);
        out.extend_from_slice(&[1, 1, b'm', 1, b'k']);
    } else {
        out.push(CONTENT_BINARY | HAS_KEY | HAS_LEFT);
        write_var(&mut out, id.0);
        write_var(&mut out, id.1 - 1);
    }
    write_bytes(&mut out, value);
    if id.1 == 0 {
        out.push(0);
    } else {
        out.push(1);
        write_var(&mut out, id.0);
        out.push(1);
        write_var(&mut out, id.1 - 1);
        out.push(1);
    }
    out
}

/// Reads what lib0 writes; `None` at the end of the bytes.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn var(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.var()?).ok()?;
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn id(&mut self) -> Option<Id> {
        Some((self.var()?, self.var()?))
    }
}

/// Calls `found(client, first clock, length)` for each run of clocks that the update brings.
/// `None` if it holds something that the load's own writers and trace never write.
pub(crate) fn clock_ranges(update: &[u8], mut found: impl FnMut(u64, u64, u64)) -> Option<()> {
    let mut reader = Reader::new(update);
    for _ in 0..reader.var()? {
        let structs = reader.var()?;
        let (client, mut clock) = reader.id()?;
        for _ in 0..structs {
            let (length, is_content) = read_struct(&mut reader)?;
            if is_content {
                found(client, clock, length);
            }
            clock += length;
        }
    }
    Some(())
}

fn read_struct(reader: &mut Reader<'_>) -> Option<(u64, bool)> {
    let info = reader.byte()?;
    match info & 0x1f {
        0 => return Some((reader.var()?, true)),
        10 => return Some((reader.var()?, false)),
        _ => {}
    }
    if info & HAS_LEFT != 0 {
        reader.id()?;
    }
    if info & HAS_RIGHT != 0 {
        reader.id()?;
    }
    if info & (HAS_LEFT | HAS_RIGHT) == 0 {
        if reader.var()? == 1 {
            reader.bytes()?;
        } else {
            reader.id()?;
        }
        if info & HAS_KEY != 0 {
            reader.bytes()?;
        }
    }
    let length = match info & 0x1f {
        CONTENT_DELETED => reader.var()?,
        CONTENT_BINARY => reader.bytes().map(|_| 1)?,
        CONTENT_STRING => utf16_length(reader.bytes()?)?,
        _ => return None,
    };
    Some((length, true))
}

fn utf16_length(text: &[u8]) -> Option<u64> {
    if text.is_ascii() {
        return Some(text.len() as u64);
    }
    Some(std::str::from_utf8(text).ok()?.encode_utf16().count() as u64)
}

/// An awareness payload with one entry.
pub(crate) fn awareness(client: u64, clock: u64, state: &str) -> Vec<u8> {
    let mut out = vec![1];
    write_var(&mut out, client);
    write_var(&mut out, clock);
    write_bytes(&mut out, state.as_bytes());
    out
}

/// Calls `found(client, clock)` for each entry of an awareness payload.
pub(crate) fn awareness_entries(payload: &[u8], mut found: impl FnMut(u64, u64)) -> Option<()> {
    let mut reader = Reader::new(payload);
    for _ in 0..reader.var()? {
        let (client, clock) = reader.id()?;
        reader.bytes()?;
        found(client, clock);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(update: &[u8]) -> Vec<(u64, u64, u64)> {
        let mut all = Vec::new();
        clock_ranges(update, |client, clock, length| all.push((client, clock, length))).unwrap();
        all
    }

    #[test]
    fn the_first_character_is_written_as_yjs_writes_it() {
        let hello = typed((1, 0), None, None, "hello");
        assert_eq!(hello, b"\x01\x01\x01\x00\x04\x01\x01t\x05hello\x00");
        assert_eq!(ranges(&hello), [(1, 0, 5)]);
    }

    #[test]
    fn every_update_names_its_own_clocks() {
        assert_eq!(ranges(&typed((900, 7), Some((900, 6)), Some((3, 4)), "x")), [(900, 7, 1)]);
        assert_eq!(ranges(&map_value((900, 0), &[1; 300])), [(900, 0, 1)]);
        assert_eq!(ranges(&map_value((900, 4), &[1; 300])), [(900, 4, 1)]);
    }

    #[test]
    fn a_skip_brings_no_clocks() {
        // Two structs of client 1: a Skip of 5 clocks, then one of 2 deleted characters.
        assert_eq!(ranges(&[1, 2, 1, 0, 10, 5, 0, 2, 0]), [(1, 5, 2)]);
    }

    #[test]
    fn a_cut_update_is_refused() {
        let whole = typed((1, 0), None, None, "hello");
        assert!(clock_ranges(&whole[..whole.len() - 2], |_, _, _| ()).is_none());
    }

    #[test]
    fn an_awareness_message_names_its_clients() {
        let mut all = Vec::new();
        awareness_entries(&awareness(5, 300, "{}"), |client, clock| all.push((client, clock))).unwrap();
        assert_eq!(all, [(5, 300)]);
    }
}
