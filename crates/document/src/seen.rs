//! What a document has taken in, known without a CRDT.

mod depths;
mod growth;
mod judge;
mod ranges;

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::cut;
use ringleaf_wire::lib0::{Reader, write_var_uint};
use ringleaf_wire::scan::{self, ScanLimits};
use ringleaf_wire::{Cut, Refusal};

use depths::Depths;
use growth::Growth;
pub use judge::Verdict;
use ranges::Ranges;

/// How deeply shared types may be nested, over all updates of a document. The CRDT libraries recurse when they delete.
pub(crate) const NESTING_MAX: u16 = 512;

/// Longer updates are rare, or states: they are not looked at twice.
const PLAIN_BYTES_MAX: usize = 1 << 10;

/// What a document has taken in: of each client how many units, which of them are deleted, and how deeply within
/// shared types they lie.
///
/// It answers what an update brings without decoding it, and stays small: a few bytes for each client and for each run of
/// deletions, nothing for a unit.
///
/// Invariant: everything that it holds is complete. What a unit refers to is there, too, and of each client the units from
/// zero on.
///
/// Not known here are deletions that follow from others and that no update names (a value that lost against a concurrent
/// one, content that was inserted into what somebody else deleted). Editors name them in their complete delete sets;
/// taking in a snapshot does, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    clients: BTreeMap<ClientId, OfClient>,
    /// No unit lies within a shared type that is itself an item.
    flat: bool,
}

/// What was taken in of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfClient {
    clock: u32,
    deleted: Ranges,
    depths: Depths,
}

/// Divides a stored state for loading it into the CRDT library, each piece in a transaction of its own. Mostly it is one
/// piece: only a state that very many clients have written to would make the library recurse too deeply.
///
/// # Errors
///
/// Bytes that no scan would have admitted.
pub(crate) fn pieces(state: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    if Reader::new(state).var_uint()? <= cut::CLIENTS_MAX as u64 {
        return Ok(vec![state.clone()]);
    }
    let nothing = Seen::new();
    let mut growth = Growth::of(&nothing, state, &ScanLimits::stored(), u16::MAX, Some(Cut::new()))?;
    let mut cut = growth.take_cut();
    for &(client, start, end) in growth.deletions() {
        cut.delete(client, start..end);
    }
    Ok(cut.finish())
}

impl Default for Seen {
    fn default() -> Self {
        Self::new()
    }
}

impl Seen {
    /// Nothing.
    pub fn new() -> Self {
        Self { clients: BTreeMap::new(), flat: true }
    }

    /// Takes in an update that was admitted, or a stored state.
    ///
    /// What is not complete (of which nothing should have been admitted or stored) is left out.
    ///
    /// # Errors
    ///
    /// Bytes that no scan would have admitted. Nothing of them was taken in.
    pub fn take_in(&mut self, update: &[u8]) -> Result<(), Refusal> {
        if update.len() <= PLAIN_BYTES_MAX
            && let Some((grown, count)) = judge::plain_growth(self, update, &ScanLimits::stored())?
        {
            for &(client, clock) in &grown[..count] {
                self.clients.entry(client).or_default().clock = clock;
            }
            return Ok(());
        }
        self.take_in_slowly(update)
    }

    fn take_in_slowly(&mut self, update: &[u8]) -> Result<(), Refusal> {
        let growth = Growth::of(self, update, &ScanLimits::stored(), u16::MAX, None)?;
        let (grown, mut deletions) = growth.into_parts();
        for part in grown {
            let of = self.clients.entry(part.client).or_default();
            of.clock = part.clock.get();
            of.deleted.merge(&part.deleted);
            of.depths.append(&part.depths);
            self.flat &= of.depths.is_flat();
        }
        deletions.sort_unstable();
        let mut ranges = Vec::new();
        for of_client in deletions.chunk_by(|a, b| a.0 == b.0) {
            let Some(of) = self.clients.get_mut(&of_client[0].0) else { continue };
            ranges.clear();
            ranges.extend(of_client.iter().map(|&(_, start, end)| (start, end.min(of.clock))));
            of.deleted.merge(&ranges);
        }
        Ok(())
    }

    /// What can be admitted of an update. Untrusted bytes are scanned here, and need no other scan.
    ///
    /// No unit is ever admitted twice: a second sender may say something else about it than the first, and whoever merges
    /// or replays both could take either. What was admitted therefore means the same in any order and any merge.
    ///
    /// An update that follows on what was seen, as nearly all do, is judged in one pass and without allocating.
    ///
    /// # Errors
    ///
    /// Every way in which bytes are refused.
    pub fn judge(&self, update: &[u8]) -> Result<Verdict, Refusal> {
        judge::judge(self, update, &ScanLimits::default(), NESTING_MAX)
    }

    /// Whether everything that a stored update or state brings was taken in.
    ///
    /// # Errors
    ///
    /// Bytes that no scan would have admitted.
    pub fn holds(&self, stored: &[u8]) -> Result<bool, Refusal> {
        Ok(judge::judge(self, stored, &ScanLimits::stored(), u16::MAX)? == Verdict::NothingNew)
    }

    /// Encoded (V1): of each client how many units were taken in. Higher clients first, as Yjs writes them.
    pub fn state_vector(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.clients.len() * 8);
        write_var_uint(&mut out, self.clients.len() as u64);
        for (client, of) in self.clients.iter().rev() {
            write_var_uint(&mut out, client.get());
            write_var_uint(&mut out, u64::from(of.clock));
        }
        out
    }

    /// Encoded (V1): everything that is known to be deleted. Behind a zero byte it is a complete update.
    pub fn delete_set(&self) -> Vec<u8> {
        let with_deletions = self.clients.iter().rev().filter(|(_, of)| !of.deleted.is_empty());
        let mut out = Vec::new();
        write_var_uint(&mut out, with_deletions.clone().count() as u64);
        for (client, of) in with_deletions {
            let ranges = of.deleted.as_slice();
            write_var_uint(&mut out, client.get());
            write_var_uint(&mut out, ranges.len() as u64);
            for &(start, end) in ranges {
                write_var_uint(&mut out, u64::from(start));
                write_var_uint(&mut out, u64::from(end - start));
            }
        }
        out
    }

    /// Whether whoever has this state vector has every unit that was taken in. Then all that it may lack are deletions,
    /// and a zero byte with the delete set behind it answers it.
    ///
    /// # Errors
    ///
    /// Every way in which a state vector is refused.
    pub fn lacks_nothing(&self, state_vector: &[u8]) -> Result<bool, Refusal> {
        let covered = scan::state_vector(state_vector)?
            .filter(|&(client, clock)| self.of_client(client).is_some_and(|of| of.clock <= clock.get()));
        Ok(covered.count() >= self.clients.len())
    }

    /// How many units of a client were taken in.
    pub fn clock_of(&self, client: ClientId) -> Clock {
        Clock::new(self.clock(client))
    }

    /// Each client, and how many of its units were taken in, in order of client.
    pub fn clocks(&self) -> impl Iterator<Item = (ClientId, Clock)> {
        self.clients.iter().map(|(&client, of)| (client, Clock::new(of.clock)))
    }

    /// Whether nothing was taken in.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// About how much memory this takes.
    pub fn heap_bytes(&self) -> usize {
        let each = size_of::<ClientId>() + size_of::<OfClient>() + 8;
        let of_clients =
            self.clients.values().map(|of| each + of.deleted.heap_bytes() + of.depths.heap_bytes());
        of_clients.sum()
    }

    fn of_client(&self, client: ClientId) -> Option<&OfClient> {
        self.clients.get(&client)
    }

    fn clock(&self, client: ClientId) -> u32 {
        self.of_client(client).map_or(0, |of| of.clock)
    }

    fn depth(&self, client: ClientId, clock: u32) -> u16 {
        self.of_client(client).map_or(0, |of| of.depths.at(clock))
    }

    fn last_depth(&self, client: ClientId) -> u16 {
        self.of_client(client).map_or(0, |of| of.depths.last())
    }
}

#[cfg(test)]
mod tests;
