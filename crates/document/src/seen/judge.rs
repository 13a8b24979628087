//! The gap gate: which part of an update a document can take in.

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::cut::Joins;
use ringleaf_wire::scan::{self, Id, Kind, ScanLimits, Struct, Structs, Visit};
use ringleaf_wire::{Cut, Refusal};

use super::growth::Growth;
use super::{OfClient, Seen};

/// What a document can take in of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every struct and every deletion was seen.
    NothingNew,
    /// Everything is complete, and no struct was seen: admit the bytes as they are.
    Complete,
    /// Something is not complete, was seen, or is not written in the way in which it is kept.
    Partial {
        /// What can be admitted instead, in order. Nothing, if all that is complete was seen.
        complete: Vec<Bytes>,
        /// How many structs and deleted ranges lie behind a hole, and stay with their editor. May be zero.
        left: u64,
    },
}

pub(super) fn judge(
    seen: &Seen,
    update: &[u8],
    limits: &ScanLimits,
    nesting_max: u16,
) -> Result<Verdict, Refusal> {
    let mut quick = Quick::new(seen, nesting_max);
    scan::update(update, limits, &mut quick)?;
    match quick.verdict() {
        Some(verdict) => Ok(verdict),
        None => judge_slowly(seen, update, limits, nesting_max),
    }
}

/// How far each client is extended by an update that brings nothing but live structs of the document's own shared types,
/// in an order in which they follow on one another. `None`: it has to be looked at more slowly.
pub(super) fn plain_growth(
    seen: &Seen,
    update: &[u8],
    limits: &ScanLimits,
) -> Result<Option<PlainGrowth>, Refusal> {
    let mut quick = Quick::new(seen, 0);
    scan::update(update, limits, &mut quick)?;
    Ok(quick.plain_growth())
}

/// For whatever [`Quick`] does not see through.
fn judge_slowly(
    seen: &Seen,
    update: &[u8],
    limits: &ScanLimits,
    nesting_max: u16,
) -> Result<Verdict, Refusal> {
    let mut growth = Growth::of(seen, update, limits, nesting_max, Some(Cut::new()))?;
    let mut cut = growth.take_cut();
    let mut left = growth.structs_left()?;
    let mut near = 0;
    for &(client, start, end) in growth.deletions() {
        let known_to = growth.end(client);
        left += u64::from(end > known_to);
        let known = start..end.min(known_to);
        if !seen.of_client(client).is_some_and(|of| of.deleted.contains(&known, &mut near)) {
            cut.delete(client, known);
        }
    }
    let complete = cut.finish();
    if complete.is_empty() && left == 0 {
        return Ok(Verdict::NothingNew);
    }
    if left == 0 && complete.len() == 1 && complete[0] == update {
        return Ok(Verdict::Complete);
    }
    Ok(Verdict::Partial { complete, left })
}

/// How many clients [`Quick`] can follow.
const QUICK_CLIENTS_MAX: usize = 8;

/// An update that brings something new may repeat so many deletions that were seen. Beyond, it is worth cutting them off:
/// stock clients send all that they ever heard of, whenever they connect.
const KNOWN_DELETIONS_MAX: usize = 8;

/// Clients, each with its new clock; and how many of them there are.
pub(super) type PlainGrowth = ([(ClientId, u32); QUICK_CLIENTS_MAX], usize);

/// Judges, in one pass and without allocating, what nearly every update is: structs that follow on what was seen in the
/// order in which they stand, and deletions of what was seen. Gives up on everything else.
struct Quick<'s> {
    seen: &'s Seen,
    nesting_max: u16,
    gave_up: bool,
    brings_structs: bool,
    brings_deletions: bool,
    brings_tombstones: bool,
    repeats_structs: bool,
    /// The client whose structs or deletions are being walked over, and what is complete of it.
    client: Option<ClientId>,
    of_client: Option<&'s OfClient>,
    end: u32,
    /// Clients that this update extends, and how far.
    grown: [(ClientId, u32); QUICK_CLIENTS_MAX],
    grown_count: usize,
    /// No new struct lies deeper within shared types than this.
    depth_max: u16,
    /// Where the last deleted range was found, and where it ended.
    near: usize,
    deleted_to: u32,
    in_deletions: bool,
    /// Deleted ranges that were seen.
    known_deletions: usize,
    /// Of the current client, and bytes that are copied for all of them.
    joins: Option<Joins>,
    joined_bytes: u64,
}

impl<'s> Quick<'s> {
    fn new(seen: &'s Seen, nesting_max: u16) -> Self {
        Self {
            seen,
            nesting_max,
            gave_up: false,
            brings_structs: false,
            brings_deletions: false,
            brings_tombstones: false,
            repeats_structs: false,
            client: None,
            of_client: None,
            end: 0,
            grown: [(ClientId::new(0), 0); QUICK_CLIENTS_MAX],
            grown_count: 0,
            depth_max: 0,
            near: 0,
            deleted_to: 0,
            in_deletions: false,
            known_deletions: 0,
            joins: None,
            joined_bytes: 0,
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        let brings_something = self.brings_structs || self.brings_deletions;
        if self.gave_up
            || !Joins::are_cheap(self.joined_bytes)
            || (brings_something && self.repeats_structs)
            || (brings_something && self.known_deletions > KNOWN_DELETIONS_MAX)
        {
            None
        } else if brings_something {
            Some(Verdict::Complete)
        } else {
            Some(Verdict::NothingNew)
        }
    }

    fn plain_growth(mut self) -> Option<PlainGrowth> {
        self.keep_end();
        let plain = !(self.gave_up || self.brings_deletions || self.brings_tombstones);
        (plain && self.seen.flat && self.depth_max == 0).then_some((self.grown, self.grown_count))
    }

    fn turn_to(&mut self, client: ClientId) {
        self.keep_end();
        self.client = Some(client);
        self.of_client = self.seen.of_client(client);
        self.joins = None;
        self.end = self.end_of_other(client);
    }

    /// Remembers how far the current client was extended.
    fn keep_end(&mut self) {
        let Some(client) = self.client else { return };
        if self.in_deletions || self.end == self.of_client.map_or(0, |of| of.clock) {
            return;
        }
        if self.grown_count == QUICK_CLIENTS_MAX {
            self.gave_up = true;
            return;
        }
        self.grown[self.grown_count] = (client, self.end);
        self.grown_count += 1;
    }

    fn end_of_other(&self, client: ClientId) -> u32 {
        let grown = self.grown[..self.grown_count].iter().find(|grown| grown.0 == client);
        grown.map_or_else(|| self.seen.clock(client), |&(_, end)| end)
    }

    fn is_complete(&self, (client, clock): Id, of: &Struct<'_>) -> bool {
        if client == of.client { clock < of.clock } else { clock.get() < self.end_of_other(client) }
    }

    /// At most how deep it lies. What this update brings is not remembered: it lies nowhere deeper than `depth_max`.
    fn depth_max_at(&self, (client, clock): Id) -> u16 {
        if clock.get() < self.seen.clock(client) {
            self.seen.depth(client, clock.get())
        } else {
            self.depth_max
        }
    }

    fn depth_max_of(&self, item: &Struct<'_>) -> u16 {
        if let Some(parent) = item.parent {
            return self.depth_max_at(parent).saturating_add(1);
        }
        if self.seen.flat && self.depth_max == 0 {
            return 0;
        }
        let neighbors = [item.left, item.right].into_iter().flatten();
        neighbors.map(|neighbor| self.depth_max_at(neighbor)).max().unwrap_or(0)
    }
}

impl<'a> Visit<'a> for Quick<'_> {
    fn client(&mut self, structs: &Structs<'a>) {
        self.turn_to(structs.client());
    }

    #[inline]
    fn item(&mut self, item: &Struct<'a>) {
        if self.gave_up {
            return;
        }
        if item.length == 0
            || item.kind == Kind::Skip
            || item.clock.get() > self.end
            || (item.end() > self.end && !item.references().all(|id| self.is_complete(id, item)))
        {
            self.gave_up = true;
            return;
        }
        if item.clock.get() < self.end {
            // At least its beginning was seen. Beside something new it must not be kept: it may say something else than
            // before, and whoever merges both may take either.
            self.repeats_structs = true;
            self.gave_up |= item.end() > self.end;
            return;
        }
        self.depth_max = self.depth_max.max(self.depth_max_of(item));
        if self.depth_max > self.nesting_max {
            self.gave_up = true;
        }
        self.end = item.end();
        self.brings_structs = true;
        self.brings_tombstones |= item.is_deleted();
        match &mut self.joins {
            Some(joins) => self.joined_bytes += joins.add(item),
            None => self.joins = Some(Joins::after(item)),
        }
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        if self.gave_up {
            return;
        }
        if !self.in_deletions || self.client != Some(client) {
            self.turn_to(client);
            self.in_deletions = true;
            self.near = 0;
            self.deleted_to = 0;
        }
        let clocks = clock.get()..clock.get() + length;
        if clocks.is_empty() || clocks.start < self.deleted_to || clocks.end > self.end {
            self.gave_up = true;
            return;
        }
        self.deleted_to = clocks.end;
        let near = &mut self.near;
        if self.of_client.is_some_and(|of| of.deleted.contains(&clocks, near)) {
            self.known_deletions += 1;
        } else {
            self.brings_deletions = true;
        }
    }
}
