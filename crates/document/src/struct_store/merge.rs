//! Several updates as one.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::cut::write_client;
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::scan::{self, Kind, Struct, Visit};

use super::encode::write_delete_set;
use super::ranges::by_client;
use super::run::Run;

/// Merges updates that were admitted one after the other. Linear in their bytes. `None`: of a client, something is missing
/// between two of them.
pub fn merge<'a>(updates: impl Iterator<Item = &'a Bytes>) -> Option<Bytes> {
    let mut merging = Merging::default();
    for update in updates {
        scan::update(update, &mut merging).ok()?;
    }
    (!merging.has_hole).then(|| merging.encode())
}

#[derive(Default)]
struct Merging {
    runs: BTreeMap<ClientId, Run>,
    deletions: Vec<(ClientId, u32, u32)>,
    has_hole: bool,
}

impl<'a> Visit<'a> for Merging {
    fn item(&mut self, item: &Struct<'a>) {
        let clock = item.clock.get();
        let run = self.runs.entry(item.client).or_insert_with(|| Run::new(clock));
        if item.kind == Kind::Skip || clock > run.end() {
            self.has_hole = true;
        } else if item.end() > run.end() {
            run.push(item);
        }
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deletions.push((client, clock.get(), clock.get() + length));
    }
}

impl Merging {
    fn encode(mut self) -> Bytes {
        self.runs.retain(|_, run| run.end() > run.begin());
        let mut out = Vec::new();
        write_var_uint(&mut out, self.runs.len() as u64);
        for (&client, run) in self.runs.iter().rev() {
            let section = run.section(client);
            write_client(&mut out, u64::from(section.end.ordinal), client, run.begin());
            out.extend_from_slice(section.bytes);
        }
        let deleted = by_client(self.deletions);
        write_delete_set(&mut out, deleted.iter().rev().map(|(client, ranges)| (*client, ranges)));
        out.into()
    }
}
