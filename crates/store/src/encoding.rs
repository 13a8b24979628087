//! How records and snapshots become bytes in a row, and back.
//!
//! ```text
//! record    version:u8 = 1 · kind:u8 (0 updates, 1 deletion, 2 undeletion) · crc32:u32 · epoch:varint
//!           · node:(length:u8 · text) · incarnation:u64 · nonce:u64 · update:(length:varint · bytes) …
//! snapshot  version:u8 = 1 · flags:u8 (1 = deleted) · crc32:u32 · epoch:varint · state to the end
//! remainder version:u8 = 1 · zero:u8 · crc32:u32 · since:u64 (milliseconds since 1970) · update to the end
//! ```
//!
//! Numbers of fixed width are little endian, varints LEB128. The checksum covers which kind of row it is, the name of
//! the document, the slot (the id of a remainder), and every byte of the row but its own four: a row that ended up under another name or number
//! does not pass. The version comes first and outside of everything else, so that any later version can change all the rest.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_types::{
    Body, DocumentId, Epoch, Incarnation, NodeId, Record, Remainder, Slot, Snapshot, Writer,
};

use crate::StoreError;

const VERSION: u8 = 1;
const KIND_UPDATES: u8 = 0;
const KIND_DELETION: u8 = 1;
const KIND_UNDELETION: u8 = 2;
const FLAG_DELETED: u8 = 1;
/// Version, kind or flags, and checksum.
const HEADER_BYTES: usize = 6;

/// What a row's checksum is about; part of the checksum.
#[derive(Clone, Copy)]
enum RowKind {
    Slot = 1,
    Snapshot = 2,
    Remainder = 3,
}

/// The kind of a body as its row says it, for listings that don't read bodies.
pub(crate) fn kind(body: &Body) -> u8 {
    match body {
        Body::Updates(_) => KIND_UPDATES,
        Body::Deletion => KIND_DELETION,
        Body::Undeletion => KIND_UNDELETION,
    }
}

pub(crate) const DELETION: u8 = KIND_DELETION;

/// About how many bytes a record becomes.
pub(crate) fn record_bytes(record: &Record) -> usize {
    match &record.body {
        Body::Updates(updates) => updates.iter().map(Bytes::len).sum(),
        Body::Deletion | Body::Undeletion => 0,
    }
}

/// Writes a record over what `row` held.
pub(crate) fn encode_record(document: &DocumentId, slot: Slot, record: &Record, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&[VERSION, kind(&record.body), 0, 0, 0, 0]);
    put_varint(row, record.epoch.get());
    let node = record.writer.node.as_str().as_bytes();
    row.push(u8::try_from(node.len()).expect("a node id has at most 64 bytes"));
    row.extend_from_slice(node);
    row.extend_from_slice(&record.writer.incarnation.get().to_le_bytes());
    row.extend_from_slice(&record.writer.nonce.to_le_bytes());
    if let Body::Updates(updates) = &record.body {
        for update in updates {
            put_varint(row, update.len() as u64);
            row.extend_from_slice(update);
        }
    }
    seal(RowKind::Slot, document, slot, row);
}

/// Reads a record; its updates share the row's memory.
pub(crate) fn decode_record(document: &DocumentId, slot: Slot, row: Bytes) -> Result<Record, StoreError> {
    let kind = check(RowKind::Slot, document, slot, &row)?;
    parse_record(kind, row).ok_or_else(|| StoreError::Unreadable {
        what: format!("slot {slot} of document {document} has a correct checksum, but an impossible content"),
    })
}

fn parse_record(kind: u8, row: Bytes) -> Option<Record> {
    let mut reader = Reader { row, at: HEADER_BYTES };
    let epoch = Epoch::new(reader.varint()?);
    let node_bytes = usize::from(*reader.take(1)?.first()?);
    let node: NodeId = std::str::from_utf8(&reader.take(node_bytes)?).ok()?.parse().ok()?;
    let incarnation = Incarnation::new(reader.fixed()?);
    let nonce = reader.fixed()?;
    let body = match kind {
        KIND_UPDATES => {
            let mut updates = Vec::new();
            while !reader.is_empty() {
                let bytes = usize::try_from(reader.varint()?).ok()?;
                updates.push(reader.take(bytes)?);
            }
            Body::Updates(updates)
        }
        KIND_DELETION => Body::Deletion,
        KIND_UNDELETION => Body::Undeletion,
        _ => return None,
    };
    reader.is_empty().then_some(Record { epoch, writer: Writer { node, incarnation, nonce }, body })
}

/// Writes a snapshot as a row.
pub(crate) fn encode_snapshot(document: &DocumentId, snapshot: &Snapshot) -> Vec<u8> {
    let flags = if snapshot.deleted { FLAG_DELETED } else { 0 };
    let mut row = Vec::with_capacity(HEADER_BYTES + 10 + snapshot.state.len());
    row.extend_from_slice(&[VERSION, flags, 0, 0, 0, 0]);
    put_varint(&mut row, snapshot.epoch.get());
    row.extend_from_slice(&snapshot.state);
    seal(RowKind::Snapshot, document, snapshot.upto, &mut row);
    row
}

/// Reads a snapshot; its state shares the row's memory.
pub(crate) fn decode_snapshot(document: &DocumentId, upto: Slot, row: Bytes) -> Result<Snapshot, StoreError> {
    let flags = check(RowKind::Snapshot, document, upto, &row)?;
    let mut reader = Reader { row, at: HEADER_BYTES };
    let epoch = reader.varint().filter(|_| flags <= FLAG_DELETED).ok_or_else(|| StoreError::Unreadable {
        what: format!(
            "snapshot {upto} of document {document} has a correct checksum, but an impossible content"
        ),
    })?;
    let state = reader.row.slice(reader.at..);
    Ok(Snapshot { upto, epoch: Epoch::new(epoch), deleted: flags == FLAG_DELETED, state })
}

/// Writes a remainder as a row.
pub(crate) fn encode_remainder(document: &DocumentId, remainder: &Remainder) -> Vec<u8> {
    let since = remainder.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut row = Vec::with_capacity(HEADER_BYTES + 8 + remainder.bytes.len());
    row.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0]);
    row.extend_from_slice(&since.to_le_bytes());
    row.extend_from_slice(&remainder.bytes);
    seal(RowKind::Remainder, document, Slot::new(remainder.id), &mut row);
    row
}

/// The remainders in these rows, in order. Nobody counts on one, so what cannot be read is told and left out: it is no
/// reason not to load the document.
pub(crate) fn readable_remainders(
    document: &DocumentId,
    rows: Result<Vec<(u64, Vec<u8>)>, StoreError>,
) -> Result<Vec<Remainder>, StoreError> {
    let rows = rows.or_else(|error| match error {
        StoreError::Unreadable { .. } => {
            tracing::warn!(%document, %error, "the remainders of a document cannot be read and are left out");
            Ok(Vec::new())
        }
        error => Err(error),
    })?;
    let mut remainders = Vec::with_capacity(rows.len());
    for (id, row) in rows {
        match decode_remainder(document, id, row.into()) {
            Some(remainder) => remainders.push(remainder),
            None => tracing::warn!(%document, remainder = id, "a remainder cannot be read and is left out"),
        }
    }
    remainders.sort_unstable_by_key(|remainder| (remainder.since, remainder.id));
    Ok(remainders)
}

fn decode_remainder(document: &DocumentId, id: u64, row: Bytes) -> Option<Remainder> {
    check(RowKind::Remainder, document, Slot::new(id), &row).ok().filter(|&zero| zero == 0)?;
    let mut reader = Reader { row, at: HEADER_BYTES };
    let since = UNIX_EPOCH.checked_add(Duration::from_millis(reader.fixed()?))?;
    Some(Remainder { id, since, bytes: reader.row.slice(reader.at..) })
}

/// Checks version and checksum, and answers the byte between them.
fn check(kind: RowKind, document: &DocumentId, slot: Slot, row: &[u8]) -> Result<u8, StoreError> {
    let corrupt = || StoreError::Corrupt { document: document.clone(), slot };
    let (header, _) = row.split_first_chunk::<HEADER_BYTES>().ok_or_else(corrupt)?;
    let [version, second, crc @ ..] = *header;
    if version != VERSION {
        return Err(StoreError::Unreadable {
            what: format!("slot {slot} of document {document} is of version {version}, not {VERSION}"),
        });
    }
    if u32::from_le_bytes(crc) != checksum(kind, document, slot, row) {
        return Err(corrupt());
    }
    Ok(second)
}

fn seal(kind: RowKind, document: &DocumentId, slot: Slot, row: &mut [u8]) {
    let checksum = checksum(kind, document, slot, row);
    row[2..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Expects a row with a complete header.
fn checksum(kind: RowKind, document: &DocumentId, slot: Slot, row: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let name = document.as_str().as_bytes();
    let mut place = [0; 11];
    place[0] = kind as u8;
    place[1..9].copy_from_slice(&slot.get().to_le_bytes());
    place[9..].copy_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    hasher.update(&place);
    hasher.update(name);
    hasher.update(&row[..2]);
    hasher.update(&row[HEADER_BYTES..]);
    hasher.finalize()
}

fn put_varint(row: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        row.push(number as u8 | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

/// Reads on in a row, never past its end.
struct Reader {
    row: Bytes,
    at: usize,
}

impl Reader {
    fn is_empty(&self) -> bool {
        self.at == self.row.len()
    }

    fn take(&mut self, bytes: usize) -> Option<Bytes> {
        let end = self.at.checked_add(bytes).filter(|&end| end <= self.row.len())?;
        let taken = self.row.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn fixed(&mut self) -> Option<u64> {
        let end = self.at.checked_add(8)?;
        let number = u64::from_le_bytes(self.row.get(self.at..end)?.try_into().ok()?);
        self.at = end;
        Some(number)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.row.get(self.at)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> DocumentId {
        name.parse().unwrap()
    }

    fn encoded(document: &DocumentId, slot: Slot, record: &Record) -> Vec<u8> {
        let mut row = vec![7; 3];
        encode_record(document, slot, record, &mut row);
        row
    }

    prop_compose! {
        fn any_body()(
            kind in 0..4_u8,
            updates in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        ) -> Body {
            match kind {
                0 => Body::Deletion,
                1 => Body::Undeletion,
                _ => Body::Updates(updates.into_iter().map(Bytes::from).collect()),
            }
        }
    }

    prop_compose! {
        fn any_record()(
            epoch: u64, incarnation: u64, nonce: u64, node in "[A-Za-z0-9._-]{1,64}", body in any_body(),
        ) -> Record {
            let writer = Writer { node: node.parse().unwrap(), incarnation: Incarnation::new(incarnation), nonce };
            Record { epoch: Epoch::new(epoch), writer, body }
        }
    }

    fn example() -> (DocumentId, Slot, Record) {
        let writer = Writer { node: "n1".parse().unwrap(), incarnation: Incarnation::new(5), nonce: 6 };
        let body = Body::Updates(vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")]);
        (id("notes"), Slot::new(9), Record { epoch: Epoch::new(300), writer, body })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_went(record in any_record(), name in "[^\\p{C}]{1,40}", slot: u64) {
            let (document, slot) = (id(&name), Slot::new(slot));
            let row = encoded(&document, slot, &record);
            prop_assert_eq!(decode_record(&document, slot, row.into()).unwrap(), record);
        }

        #[test]
        fn a_snapshot_comes_back_as_it_went(
            upto: u64, epoch: u64, deleted: bool, state in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let document = id("notes");
            let snapshot = Snapshot { upto: Slot::new(upto), epoch: Epoch::new(epoch), deleted, state: state.into() };
            let row = encode_snapshot(&document, &snapshot);
            prop_assert_eq!(decode_snapshot(&document, Slot::new(upto), row.into()).unwrap(), snapshot);
        }

        #[test]
        fn a_remainder_comes_back_as_it_went(
            id: u64, since in 0..u64::MAX >> 1, bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let (document, since) = (self::id("notes"), UNIX_EPOCH + Duration::from_millis(since));
            let remainder = Remainder { id, since, bytes: bytes.into() };
            let row = encode_remainder(&document, &remainder);
            prop_assert_eq!(decode_remainder(&document, id, row.clone().into()), Some(remainder));
            prop_assert_eq!(decode_remainder(&document, id ^ 1, row.clone().into()), None);
            prop_assert_eq!(decode_remainder(&self::id("other"), id, row.into()), None);
        }

        #[test]
        fn odd_bytes_are_an_error_and_never_a_panic(row in prop::collection::vec(any::<u8>(), 0..100)) {
            let document = id("notes");
            prop_assert!(decode_record(&document, Slot::new(1), row.clone().into()).is_err());
            prop_assert!(decode_snapshot(&document, Slot::new(1), row.clone().into()).is_err());
            prop_assert!(decode_remainder(&document, 1, row.into()).is_none());
        }

        /// What the checksum cannot catch: bytes that somebody sealed on purpose.
        #[test]
        fn odd_bytes_under_a_correct_checksum_never_panic(
            kind in 0..5_u8, content in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let document = id("notes");
            let mut row = vec![VERSION, kind, 0, 0, 0, 0];
            row.extend(content);
            let mut snapshot = row.clone();
            let mut remainder = row.clone();
            seal(RowKind::Slot, &document, Slot::new(1), &mut row);
            seal(RowKind::Snapshot, &document, Slot::new(1), &mut snapshot);
            seal(RowKind::Remainder, &document, Slot::new(1), &mut remainder);
            let _ = decode_record(&document, Slot::new(1), row.into());
            let _ = decode_snapshot(&document, Slot::new(1), snapshot.into());
            let _ = decode_remainder(&document, 1, remainder.into());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (document, slot, record) = example();
        let row = encoded(&document, slot, &record);
        for at in 0..row.len() {
            for bit in 0..8 {
                let mut flipped = row.clone();
                flipped[at] ^= 1 << bit;
                let error = decode_record(&document, slot, flipped.into()).unwrap_err();
                match error {
                    StoreError::Unreadable { .. } => assert_eq!(at, 0, "{error}"),
                    StoreError::Corrupt { .. } => assert_ne!(at, 0, "{error}"),
                    _ => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_remainder_is_noticed() {
        let document = id("notes");
        let remainder = Remainder { id: 9, since: UNIX_EPOCH, bytes: Bytes::from_static(b"one") };
        let row = encode_remainder(&document, &remainder);
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_remainder(&document, 9, flipped.into()), None, "{bit}");
        }
    }

    #[test]
    fn every_cut_row_is_noticed() {
        let (document, slot, record) = example();
        let row = encoded(&document, slot, &record);
        for bytes in 0..row.len() {
            let cut = Bytes::copy_from_slice(&row[..bytes]);
            assert!(
                matches!(decode_record(&document, slot, cut), Err(StoreError::Corrupt { .. })),
                "{bytes}"
            );
        }
    }

    #[test]
    fn a_row_passes_only_in_its_own_place() {
        let (document, slot, record) = example();
        let row = Bytes::from(encoded(&document, slot, &record));
        assert!(decode_record(&document, slot, row.clone()).is_ok());
        assert!(decode_record(&id("other"), slot, row.clone()).is_err());
        assert!(decode_record(&document, slot.next(), row.clone()).is_err());
        assert!(decode_snapshot(&document, slot, row.clone()).is_err());
        assert!(decode_remainder(&document, slot.get(), row).is_none());
    }

    #[test]
    fn a_row_of_a_later_version_is_called_unreadable() {
        let (document, slot, record) = example();
        let mut row = encoded(&document, slot, &record);
        row[0] = VERSION + 1;
        let error = decode_record(&document, slot, row.into()).unwrap_err();
        assert!(matches!(&error, StoreError::Unreadable { what } if what.contains("version 2")), "{error}");
    }

    /// Rows are on people's disks: a change of this text needs a new version.
    #[test]
    fn version_one_is_pinned() {
        let (document, slot, record) = example();
        let hex: String =
            encoded(&document, slot, &record).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01002e5439d8ac02026e3105000000000000000600000000000000036f6e65000374776f");
        let since = UNIX_EPOCH + Duration::from_millis(0x0102);
        let remainder = Remainder { id: 9, since, bytes: Bytes::from_static(b"one") };
        let hex: String =
            encode_remainder(&document, &remainder).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01005313b8c102010000000000006f6e65");
    }
}
