//! Structs by hand, structs at random, and updates that yrs has made.
//!
//! ```text
//! write ──▶ structs by hand     generate ──▶ structs at random, each after what it refers to
//! units ──▶ what an update says about each unit, read without cutting or joining anything: the judge
//! ```

mod compacting;
mod cutting;
mod generate;
mod joining;
mod lattice;
mod loading;
mod nesting;
mod remainders;
mod sessions;
mod taking;
mod units;
mod write;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};

use super::{Admission, Gc, StructStore};

fn store(updates: &[Bytes]) -> StructStore {
    let mut store = StructStore::new();
    for update in updates {
        let admission = store.admit(update).unwrap();
        assert_eq!((&admission.remainder, admission.barred), (&None, None), "taken whole");
    }
    store
}

fn encoded(store: &StructStore) -> Bytes {
    store.encode().concat()
}

/// The shortest form of everything: two stores that hold the same have the same.
fn compacted(store: &StructStore) -> Bytes {
    let mut store = store.clone();
    store.compact(Gc::Collect);
    encoded(&store)
}

fn clock_of(store: &StructStore, client: u64) -> u32 {
    store.clock_of(ClientId::new(client)).get()
}

/// Admits everything, and what lacks its ground again whenever something has come. Answers what is left in the end.
fn admit_all<'a>(store: &mut StructStore, updates: impl IntoIterator<Item = &'a Bytes>) -> Vec<Bytes> {
    let mut waiting: Vec<Bytes> = Vec::new();
    for update in updates {
        let mut admission = store.admit(update).unwrap();
        waiting.extend(admission.remainder.take().map(|rest| rest.update));
        let mut grown = admission.news.is_some();
        while std::mem::take(&mut grown) {
            for update in std::mem::take(&mut waiting) {
                let Admission { news, remainder, .. } = store.admit(&update).unwrap();
                grown |= news.is_some();
                waiting.extend(remainder.map(|rest| rest.update));
            }
        }
    }
    waiting
}

fn clocks(waits: &std::collections::BTreeMap<ClientId, Clock>) -> Vec<(u64, u32)> {
    waits.iter().map(|(client, clock)| (client.get(), clock.get())).collect()
}
