//! What goes out: everything, what a state vector lacks, and the state vector.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_types::ClientId;
use ringleaf_wire::cut::{write_client, write_end};
use ringleaf_wire::lib0::write_var_uint;
use ringleaf_wire::{Refusal, scan};

use super::StructStore;
use super::ranges::Ranges;
use super::section::{Mark, Section};

/// Smaller pieces of the base are copied rather than kept as slices.
const SLICE_BYTES_MIN: usize = 1 << 10;

/// One encoded update, in parts: long ones are slices of what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    done: Vec<Bytes>,
    tail: Vec<u8>,
}

impl Parts {
    /// All parts as one. Copies, unless there is only one.
    pub fn concat(mut self) -> Bytes {
        self.end_tail();
        if self.done.len() == 1 {
            return self.done.swap_remove(0);
        }
        let mut out = Vec::with_capacity(self.len());
        self.done.iter().for_each(|part| out.extend_from_slice(part));
        out.into()
    }

    /// How many bytes they are together.
    pub fn len(&self) -> usize {
        self.done.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    /// Whether there is nothing, which is no update.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slice(&mut self, of: &Bytes, range: std::ops::Range<usize>) {
        if range.len() < SLICE_BYTES_MIN {
            self.tail.extend_from_slice(&of[range]);
        } else {
            self.end_tail();
            self.done.push(of.slice(range));
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.done.push(std::mem::take(&mut self.tail).into());
        }
    }
}

/// Which structs of a client are wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    client: ClientId,
    /// Its place in the base, if it is there.
    base: Option<usize>,
    from: u32,
}

impl StructStore {
    /// Of each client how many units there are, encoded (V1). Higher clients first, as Yjs writes them.
    pub fn state_vector(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.client_count() * 8);
        write_var_uint(&mut out, self.client_count() as u64);
        for (client, end) in self.ends() {
            write_var_uint(&mut out, client.get());
            write_var_uint(&mut out, u64::from(end));
        }
        out
    }

    /// Everything, as one update. Stored bytes are not copied.
    pub fn encode(&self) -> Parts {
        if self.runs.is_empty() && !self.deleted_since_base {
            return Parts { done: vec![self.base.bytes().clone()], tail: Vec::new() };
        }
        let wanted: Vec<_> = self.places().map(|(client, base)| Wanted { client, base, from: 0 }).collect();
        self.encode_wanted(&wanted)
    }

    /// What a state vector lacks, as one update, with everything that is deleted.
    ///
    /// # Errors
    ///
    /// Every way in which a state vector is refused.
    pub fn diff(&self, state_vector: &[u8]) -> Result<Parts, Refusal> {
        let seen: BTreeMap<ClientId, u32> =
            scan::state_vector(state_vector)?.map(|(client, clock)| (client, clock.get())).collect();
        let wanted = self.places().filter_map(|(client, base)| {
            let from = seen.get(&client).copied().unwrap_or(0);
            (from < self.end(client)).then_some(Wanted { client, base, from })
        });
        Ok(self.encode_wanted(&wanted.collect::<Vec<_>>()))
    }

    /// Whether whoever has this state vector has every unit. Then all that it may lack are deletions.
    ///
    /// # Errors
    ///
    /// Every way in which a state vector is refused.
    pub fn lacks_nothing(&self, state_vector: &[u8]) -> Result<bool, Refusal> {
        // A client that is named twice counts with what comes later, so it is not enough to count.
        let mut covered: Vec<ClientId> = Vec::new();
        for (client, clock) in scan::state_vector(state_vector)? {
            let end = self.end(client);
            match end > 0 && end <= clock.get() {
                true => covered.push(client),
                false if end > clock.get() => return Ok(false),
                false => {}
            }
        }
        covered.sort_unstable();
        covered.dedup();
        Ok(covered.len() >= self.client_count())
    }

    /// Everything that is deleted, encoded. Behind a zero byte it is a complete update.
    pub fn delete_set(&self) -> Vec<u8> {
        if !self.deleted_since_base {
            return self.base.bytes()[self.base.delete_set()].to_vec();
        }
        let mut out = Vec::new();
        write_delete_set(&mut out, self.deleted.iter());
        out
    }

    /// How many deleted ranges are not encoded yet.
    pub fn unwritten_ranges(&self) -> usize {
        if self.deleted_since_base { self.deleted.len() } else { 0 }
    }

    /// What these clients have from these clocks on, and these deletions, as one update. Higher clients first.
    pub(super) fn encode_since(
        &self,
        since: &[(ClientId, u32)],
        deleted: &BTreeMap<ClientId, Ranges>,
    ) -> Bytes {
        let mut parts = Parts::default();
        write_var_uint(&mut parts.tail, since.len() as u64);
        for &(client, from) in since {
            self.write_client(&mut parts, Wanted { client, base: self.base.place(client), from });
        }
        write_delete_set(&mut parts.tail, deleted.iter().rev().map(|(client, ranges)| (*client, ranges)));
        parts.concat()
    }

    fn encode_wanted(&self, wanted: &[Wanted]) -> Parts {
        let mut parts = Parts::default();
        write_var_uint(&mut parts.tail, wanted.len() as u64);
        for &client in wanted {
            self.write_client(&mut parts, client);
        }
        if self.deleted_since_base {
            parts.tail.extend_from_slice(&self.delete_set());
        } else {
            parts.slice(self.base.bytes(), self.base.delete_set());
        }
        parts
    }

    fn write_client(&self, parts: &mut Parts, Wanted { client, base, from }: Wanted) {
        let base = base.map(|place| self.base.section_at(place)).filter(|base| base.end.clock > from);
        let run = self.runs.get(&client);
        let in_run = from.max(run.map_or(0, super::run::Run::begin));
        let base = base.and_then(|base| base.find(from).map(|found| (base, found)));
        let run = run.filter(|run| run.end() > in_run).map(|run| run.section(client));
        let run = run.and_then(|run| run.find(in_run).map(|found| (run, found)));
        let left = |(section, found): &(Section<'_>, super::section::Found<'_>)| {
            u64::from(section.end.ordinal - found.at.ordinal)
        };
        let count = base.as_ref().map_or(0, left) + run.as_ref().map_or(0, left);
        write_client(&mut parts.tail, count, client, from);
        if let Some((base, found)) = base {
            let rest = write_first(&mut parts.tail, &found, from);
            parts.slice(self.base.bytes(), rest..base.end.position as usize);
        }
        if let Some((run, found)) = run {
            let rest = write_first(&mut parts.tail, &found, in_run);
            parts.tail.extend_from_slice(&run.bytes[rest..run.end.position as usize]);
        }
    }
}

/// Writes the beginning of what a struct has from this clock on, and answers where in its section the rest begins.
fn write_first(out: &mut Vec<u8>, found: &super::section::Found<'_>, from: u32) -> usize {
    let Mark { clock, position, .. } = found.at;
    if clock == from {
        return position as usize;
    }
    let rest = write_end(out, &found.item, from - clock);
    position as usize + found.item.bytes.len() - rest
}

/// Writes deleted ranges, higher clients first.
pub(super) fn write_delete_set<'a>(
    out: &mut Vec<u8>,
    deleted: impl Iterator<Item = (ClientId, &'a Ranges)> + Clone,
) {
    write_var_uint(out, deleted.clone().count() as u64);
    for (client, ranges) in deleted {
        write_var_uint(out, client.get());
        write_var_uint(out, ranges.len() as u64);
        for (start, end) in ranges.iter() {
            write_var_uint(out, u64::from(start));
            write_var_uint(out, u64::from(end - start));
        }
    }
}
