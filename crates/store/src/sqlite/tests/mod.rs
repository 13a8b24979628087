//! What only a store on disk can do, or suffer.

mod backup;
mod damage;
mod faults;
mod formats;
mod large;
mod model;
mod purge;
mod remainders;
mod torn;
mod trim;

use std::path::Path;

use bytes::Bytes;
use ringleaf_types::{Body, Epoch, Incarnation, Writer};
use tempfile::TempDir;

use super::*;
use crate::contract::Fresh;

crate::contract_tests!(|retention| {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { retention, ..SqliteOptions::default() };
    Fresh::keeping(SqliteStore::open(folder.path(), options).unwrap(), folder)
});

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

fn record(nonce: u64) -> Record {
    record_of(nonce, Bytes::from(format!("update {nonce}")))
}

fn record_of(nonce: u64, update: Bytes) -> Record {
    let writer = Writer { node: "n1".parse().unwrap(), incarnation: Incarnation::new(7), nonce };
    Record { epoch: Epoch::new(1), writer, body: Body::Updates(vec![update]) }
}

fn snapshot(upto: u64) -> Snapshot {
    let state = Bytes::from(format!("state {upto}"));
    Snapshot { upto: Slot::new(upto), epoch: Epoch::new(1), deleted: false, state }
}

fn open(folder: &Path) -> SqliteStore {
    let options = SqliteOptions { retention: Duration::ZERO, ..SqliteOptions::default() };
    SqliteStore::open(folder, options).unwrap()
}

/// What the pace of commits goes by: a busy document is company for itself.
#[test]
fn each_update_of_a_slot_has_waited_for_its_commit() {
    let held = |updates: usize| {
        let record = Record { body: Body::Updates(vec![Bytes::from_static(b"u"); updates]), ..record(1) };
        changes::Change::CreateSlot { document: id("notes"), slot: Slot::new(1), record }.held()
    };
    assert_eq!([0, 1, 3].map(held), [1, 1, 3]);
    assert_eq!(changes::Change::DeletePieces { rest: 1 }.held(), 1);
}

/// A store with slots 1 to `slots` in the document "notes".
async fn filled(slots: u64) -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store, &id("notes"), 1..=slots).await;
    (store, folder)
}

async fn append(store: &SqliteStore, document: &DocumentId, slots: impl IntoIterator<Item = u64>) {
    for slot in slots {
        let created = store.create_slot(document, Slot::new(slot), record(slot)).await.unwrap();
        assert_eq!(created, Created::Created, "slot {slot}");
    }
}

async fn slots_of(store: &SqliteStore, document: &DocumentId) -> Vec<u64> {
    let stored = store.read(document).await.unwrap();
    stored.slots.iter().map(|(slot, _)| slot.get()).collect()
}

/// Somebody with the sqlite3 tool.
fn stranger(store: &SqliteStore) -> Connection {
    Connection::open(store.database()).unwrap()
}
