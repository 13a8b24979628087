//! How far an update extends what was seen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::scan::{self, Id, Kind, ScanLimits, Struct, Structs, Visit};
use ringleaf_wire::{Cut, Refusal};

use super::Seen;
use super::depths::Depths;

/// The clients of an update, each with how far it can be taken in.
///
/// A struct is complete when it follows on what its client has without a hole, and everything that it refers to is
/// complete. Beginning with what was seen, each client is taken as far as it goes; where it refers to another client's
/// structs further ahead, it waits for those. Each struct is looked at once and waits at most once for each of its three
/// references, so the work is linear in their number (times the logarithm of the number of clients). Structs that wait
/// for each other in a circle wait for ever: they are never complete.
///
/// Nearly all structs refer only to what stands before them, or was seen. They are taken while the update is scanned, and
/// need not be read again: of each client only those from the first on that has to wait.
pub(super) struct Growth<'s, 'a> {
    seen: &'s Seen,
    /// As they come while the update is scanned, higher clients first; sorted by client after that.
    parts: Vec<Part<'a>>,
    scanning: bool,
    /// So far higher clients have come first, as every encoder of note writes them. Else parts are found only when sorted.
    in_order: bool,
    /// The part that is being scanned is taken at the same time.
    flows: bool,
    deletions: Vec<(ClientId, u32, u32)>,
    nesting_max: u16,
    /// Collects what becomes complete, in that order.
    cut: Option<Cut>,
    /// Nothing lies within a shared type that is itself an item, so there are no depths to look up.
    flat: bool,
}

/// One client's structs.
struct Part<'a> {
    client: ClientId,
    rest: Structs<'a>,
    /// Read, but not complete yet.
    held: Option<Struct<'a>>,
    /// What was seen of it before.
    begin: u32,
    /// What is complete of it by now.
    end: u32,
    /// Of what is new.
    depths: Depths,
    /// New clocks that are tombstones.
    deleted: Vec<(u32, u32)>,
    /// Who waits until which clock of this client is complete.
    waiting: BinaryHeap<Reverse<(u32, usize)>>,
}

/// What became of one struct.
enum Step {
    /// It was seen, or is complete now.
    Done,
    /// There is a hole before it, or it refers to what is not there: nothing more of its client becomes complete.
    Stuck,
    /// It refers to a clock of another client that is in this update, but not complete yet.
    WaitFor(usize, u32),
}

impl<'s, 'a> Growth<'s, 'a> {
    /// Scans an update and takes it as far as it goes.
    pub(super) fn of(
        seen: &'s Seen,
        update: &'a [u8],
        limits: &ScanLimits,
        nesting_max: u16,
        cut: Option<Cut>,
    ) -> Result<Self, Refusal> {
        let mut growth = Self {
            seen,
            parts: Vec::new(),
            scanning: true,
            in_order: true,
            flows: false,
            deletions: Vec::new(),
            nesting_max,
            cut,
            flat: seen.flat,
        };
        scan::update(update, limits, &mut growth)?;
        growth.scanning = false;
        growth.parts.sort_unstable_by_key(|part| part.client);
        growth.grow()?;
        Ok(growth)
    }

    fn grow(&mut self) -> Result<(), Refusal> {
        let mut ready: Vec<usize> = (0..self.parts.len()).collect();
        while let Some(index) = ready.pop() {
            self.take(index)?;
            let part = &mut self.parts[index];
            while let Some(&Reverse((clock, waiting))) = part.waiting.peek() {
                if clock >= part.end {
                    break;
                }
                part.waiting.pop();
                ready.push(waiting);
            }
        }
        Ok(())
    }

    /// Takes one client as far as it goes.
    fn take(&mut self, index: usize) -> Result<(), Refusal> {
        loop {
            let part = &mut self.parts[index];
            let item = match part.held.take() {
                Some(item) => item,
                None => match part.rest.next_struct()? {
                    Some(item) => item,
                    None => return Ok(()),
                },
            };
            match self.step(index, &item)? {
                Step::Done => {}
                Step::Stuck => {
                    self.parts[index].held = Some(item);
                    return Ok(());
                }
                Step::WaitFor(other, clock) => {
                    self.parts[index].held = Some(item);
                    self.parts[other].waiting.push(Reverse((clock, index)));
                    return Ok(());
                }
            }
        }
    }

    fn step(&mut self, index: usize, item: &Struct<'a>) -> Result<Step, Refusal> {
        let end = self.parts[index].end;
        if item.end() <= end {
            return Ok(Step::Done);
        }
        if item.clock.get() > end || item.kind == Kind::Skip {
            return Ok(Step::Stuck);
        }
        for (client, clock) in item.references() {
            if client == item.client {
                if clock >= item.clock {
                    return Ok(Step::Stuck);
                }
            } else if let Some(other) = self.part(client) {
                if clock.get() >= self.parts[other].end {
                    return Ok(Step::WaitFor(other, clock.get()));
                }
            } else if clock.get() >= self.seen.clock(client) {
                return Ok(Step::Stuck);
            }
        }
        let depth = self.depth_of(item, end);
        if depth > self.nesting_max {
            return Err(Refusal::TypesTooDeep { max: usize::from(self.nesting_max) });
        }
        let part = &mut self.parts[index];
        part.depths.note(end, depth);
        if item.is_deleted() {
            part.deleted.push((end, item.end()));
        }
        part.end = item.end();
        if let Some(cut) = &mut self.cut {
            cut.keep_end(item, Clock::new(end));
        }
        Ok(Step::Done)
    }

    /// How deeply within shared types an item lies. A neighbor lies within the same one.
    ///
    /// Of an item whose beginning was seen, the neighbor on the left is that, whatever the item says.
    fn depth_of(&mut self, item: &Struct<'a>, end: u32) -> u16 {
        let seen = (item.clock.get() < end).then(|| (item.client, Clock::new(end - 1)));
        if let Some(parent) = item.parent.filter(|_| seen.is_none()) {
            self.flat = false;
            return self.depth_at(parent).saturating_add(1);
        }
        if self.flat {
            return 0;
        }
        let mut depth = 0;
        for neighbor in [seen.or(item.left), item.right].into_iter().flatten() {
            depth = depth.max(self.depth_at(neighbor));
        }
        depth
    }

    fn depth_at(&self, (client, clock): Id) -> u16 {
        match self.part(client) {
            Some(index) if clock.get() >= self.parts[index].begin => self.parts[index].depths.at(clock.get()),
            _ => self.seen.depth(client, clock.get()),
        }
    }

    fn part(&self, client: ClientId) -> Option<usize> {
        let found = if self.scanning {
            self.parts.binary_search_by(|part| client.cmp(&part.client))
        } else {
            self.parts.binary_search_by_key(&client, |part| part.client)
        };
        found.ok()
    }

    /// How much of a client is complete with this update.
    pub(super) fn end(&self, client: ClientId) -> u32 {
        self.part(client).map_or_else(|| self.seen.clock(client), |index| self.parts[index].end)
    }

    /// What was collected.
    pub(super) fn take_cut(&mut self) -> Cut {
        self.cut.take().unwrap_or_default()
    }

    /// Every deleted range, as it stands in the update.
    pub(super) fn deletions(&self) -> &[(ClientId, u32, u32)] {
        &self.deletions
    }

    /// How many structs are not complete.
    pub(super) fn structs_left(&self) -> Result<u64, Refusal> {
        let mut left = 0;
        for part in &self.parts {
            let mut rest = part.rest.clone();
            let mut next = part.held;
            while let Some(item) = next {
                left += u64::from(item.kind != Kind::Skip && item.end() > part.end);
                next = rest.next_struct()?;
            }
        }
        Ok(left)
    }

    /// What is complete, for taking in: each client with its clock, and what is noted about what is new.
    pub(super) fn into_parts(self) -> (Vec<Grown>, Vec<(ClientId, u32, u32)>) {
        let parts = self.parts.into_iter().filter(|part| part.end > part.begin);
        let grown = parts.map(|part| Grown {
            client: part.client,
            clock: Clock::new(part.end),
            depths: part.depths,
            deleted: part.deleted,
        });
        (grown.collect(), self.deletions)
    }
}

/// What an update adds to one client.
pub(super) struct Grown {
    pub(super) client: ClientId,
    pub(super) clock: Clock,
    pub(super) depths: Depths,
    pub(super) deleted: Vec<(u32, u32)>,
}

impl<'a> Visit<'a> for Growth<'_, 'a> {
    fn client(&mut self, structs: &Structs<'a>) {
        let client = structs.client();
        let begin = self.seen.clock(client);
        self.in_order &= self.parts.last().is_none_or(|last| last.client > client);
        self.flows = self.in_order;
        self.parts.push(Part {
            client,
            rest: structs.clone(),
            held: None,
            begin,
            end: begin,
            depths: Depths::from(self.seen.last_depth(client)),
            deleted: Vec::new(),
            waiting: BinaryHeap::new(),
        });
    }

    fn item(&mut self, item: &Struct<'a>) {
        if !self.flows {
            return;
        }
        let index = self.parts.len() - 1;
        self.flows = matches!(self.step(index, item), Ok(Step::Done));
        if self.flows {
            self.parts[index].rest.pass(item);
        }
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        self.deletions.push((client, clock.get(), clock.get() + length));
    }
}
