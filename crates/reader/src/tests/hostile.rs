//! Documents that are attacks on the library: each costs one request, and the next is served.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_types::Limits;
use ringleaf_wire::lib0::{Reader as Lib0Reader, write_var_bytes, write_var_uint};
use yrs::updates::decoder::Decode;
use yrs::{ReadTxn, Transact};

use super::{PATIENCE, REPLAY, limits, pid, reader};
use crate::crdt::Unreadable;
use crate::{ReadError, Reader, TimeLimit};

fn numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| write_var_uint(out, *number));
}

/// So many arrays, each in the one before it; then all of it is deleted, or not.
fn nested(levels: u64, deleted: bool) -> Bytes {
    let mut update = Vec::new();
    numbers(&mut update, &[1, levels, 1, 0]);
    update.extend([7, 1, 1, b't', 0]);
    for parent in 0..levels - 1 {
        update.extend([7, 0]);
        numbers(&mut update, &[1, parent]);
        update.push(0);
    }
    numbers(&mut update, if deleted { &[1, 1, 1, 0, 1] } else { &[0] });
    update.into()
}

/// Client 1 types two letters, and each of so many others inserts so many times between them. Elsewhere each begins
/// with what the client before it ended with, so that they are integrated from the lowest to the highest: that takes longest.
fn crowd_at_one_place(clients: u64, insertions: u64) -> Bytes {
    let mut update = Vec::new();
    numbers(&mut update, &[clients + 1]);
    for client in (2..=clients + 1).rev() {
        numbers(&mut update, &[insertions + 2, client, 0]);
        match client {
            2 => update.extend([4, 1, 1, b'u']),
            _ => {
                update.push(0x84);
                numbers(&mut update, &[client - 1, insertions + 1]);
            }
        }
        update.extend([1, b'y']);
        for _ in 0..insertions {
            update.push(0xc4);
            numbers(&mut update, &[1, 0, 1, 1, 1]);
            update.push(b'x');
        }
        update.push(0x84);
        numbers(&mut update, &[client, 0]);
        update.extend([1, b'y']);
    }
    numbers(&mut update, &[1, 1, 0]);
    update.extend([4, 1, 1, b't', 2, b'a', b'b', 0]);
    update.into()
}

/// So many of the smallest structs: each takes the library a hundred times its bytes.
fn smallest_structs(count: u64) -> Bytes {
    let mut update = Vec::new();
    numbers(&mut update, &[1, count, 1, 0]);
    update.extend([7, 1, 1, b't', 0]);
    for left in 0..count - 1 {
        update.push(0x87);
        numbers(&mut update, &[1, left]);
        update.push(0);
    }
    update.push(0);
    update.into()
}

async fn read(reader: &Reader, state: Bytes) -> Result<Bytes, ReadError> {
    let read = reader.turn().await?.json(state).await;
    pid(reader).await;
    read
}

/// A small one of each is read, so that what fails fails for its size.
#[tokio::test]
async fn small_ones_of_their_kind_are_read() {
    let reader = reader(&limits());
    assert_eq!(read(&reader, nested(3, true)).await.unwrap(), "{\"t\":null}");
    assert_eq!(read(&reader, nested(3, false)).await.unwrap(), "{\"t\":[[[[]]]]}");
    assert_eq!(read(&reader, crowd_at_one_place(2, 2)).await.unwrap(), "{\"t\":\"axxxxb\",\"u\":\"yyyy\"}");
    assert_eq!(read(&reader, smallest_structs(3)).await.unwrap(), "{\"t\":[[],[],[]]}");
}

#[tokio::test]
async fn a_document_that_takes_the_library_for_ever_costs_one_request() {
    let cpu = Duration::from_secs(1);
    let reader = reader(&Limits { reader_cpu_timeout: cpu, reader_timeout: PATIENCE, ..limits() });
    let error = read(&reader, crowd_at_one_place(1_500, 40)).await.unwrap_err();
    assert!(matches!(error, ReadError::TooLong { limit: TimeLimit::Cpu, .. }), "{error}");
}

#[tokio::test]
async fn a_document_that_overflows_the_librarys_stack_costs_one_request() {
    let reader = reader(&limits());
    // The child's stack is large enough for what a server may meet; this is not that.
    assert_eq!(read(&reader, nested(20_000, true)).await.unwrap(), "{\"t\":null}");
    read(&reader, nested(5_000, false)).await.unwrap();
    let error = read(&reader, nested(200_000, false)).await.unwrap_err();
    assert!(matches!(error, ReadError::Crashed { .. }), "{error}");
}

#[tokio::test]
async fn a_document_that_takes_all_memory_costs_one_request() {
    let reader = reader(&limits());
    let error = read(&reader, smallest_structs(4_000_000)).await.unwrap_err();
    assert!(matches!(error, ReadError::OutOfMemory { .. }), "{error}");
}

/// Inputs that break the library's memory are kept outside of this project.
#[tokio::test]
async fn documents_that_break_the_librarys_memory_cost_one_request() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/hostile");
    let reader = reader(&limits());
    for name in ["corrupts-memory.json", "parent-not-a-type.json"] {
        let Ok(text) = std::fs::read(folder.join(name)) else {
            println!("skip: {name} is kept outside of this project, and is not there");
            return;
        };
        let updates: Vec<String> = serde_json::from_slice(&text).unwrap();
        let updates: Vec<Vec<u8>> = updates.iter().map(|update| bytes(update)).collect();
        let merged = Bytes::from(yrs::merge_updates_v1(&updates).unwrap());
        let mut one_by_one = Vec::new();
        updates.iter().for_each(|update| write_var_bytes(&mut one_by_one, update));
        for _ in 0..3 {
            let verified = reader.turn().await.unwrap().verify(merged.clone()).await;
            let replayed = reader.turn().await.unwrap().read(REPLAY, one_by_one.clone().into()).await;
            let replayed = replayed.map(|state| state.len());
            println!("figure: {name}: {verified:?}, one by one {replayed:?}");
            let _read_or_not = read(&reader, merged.clone()).await;
        }
    }
}

/// In the child.
pub(crate) fn replay(updates: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let refused =
        |error: &dyn std::error::Error| Unreadable::Undecodable { what: "it", why: error.to_string() };
    let doc = yrs::Doc::new();
    let mut updates = Lib0Reader::new(updates);
    while !updates.is_empty() {
        let update = updates.var_bytes().map_err(|error| refused(&error))?;
        let update = yrs::Update::decode_v1(update).map_err(|error| refused(&error))?;
        doc.transact_mut().apply_update(update).map_err(|error| refused(&error))?;
    }
    Ok(doc.transact().encode_state_as_update_v1(&yrs::StateVector::default()))
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(pair).collect()
}
