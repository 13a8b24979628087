//! Going through the structs of many clients in an order in which each comes after what it refers to.
//!
//! Each client is taken as far as it goes; where it refers to another one's structs further ahead, it waits for those. Each
//! struct is looked at once, and once more for each of its three references that it had to wait for, so the work is linear in
//! their number (times the logarithm of the number of clients). Structs that wait for each other in a circle wait for ever.
//!
//! Little is remembered of each client: eight bytes can name one, and a message can name millions.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::Refusal;
use ringleaf_wire::scan::{Struct, Structs};

/// The structs of one client.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) client: ClientId,
    /// What is not taken yet begins here.
    bytes: &'a [u8],
    left: u32,
    clock: u32,
    /// Where it began, and what is taken of it. Both are what was there before, to begin with.
    pub(super) begin: u32,
    pub(super) end: u32,
}

/// What became of one struct.
pub(super) enum Step {
    /// It is taken, or need not be.
    Done,
    /// Nothing more of its client can be taken.
    Stuck,
    /// It refers to a clock of another part that is not taken yet.
    WaitFor(usize, u32),
}

/// All clients, sorted from high to low.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// Who waits: for which part, until which clock of it is taken.
    waiting: BTreeSet<(u32, u32, u32)>,
}

impl<'a> Part<'a> {
    /// Structs of a client that has so many units already.
    pub(super) fn new(structs: &Structs<'a>, end: u32) -> Self {
        let mut part = Self { client: structs.client(), bytes: &[], left: 0, clock: 0, begin: end, end };
        part.stand_before(structs);
        part
    }

    /// What is not taken, in order.
    pub(super) fn rest(&self) -> Structs<'a> {
        Structs::resume(self.bytes, 0, self.client, Clock::new(self.clock), u64::from(self.left))
    }

    /// Whether something is not taken.
    pub(super) fn is_stuck(&self) -> bool {
        self.left > 0
    }

    fn stand_before(&mut self, rest: &Structs<'a>) {
        self.bytes = rest.bytes();
        // A struct has two bytes or more, and an update less than 2^32.
        self.left = u32::try_from(rest.left()).unwrap_or(u32::MAX);
        self.clock = rest.clock().get();
    }
}

impl<'a> Order<'a> {
    pub(super) fn new(mut parts: Vec<Part<'a>>) -> Self {
        if !parts.is_sorted_by(|a, b| a.client > b.client) {
            parts.sort_unstable_by_key(|part| Reverse(part.client));
        }
        Self { parts, waiting: BTreeSet::new() }
    }

    /// Where a client stands.
    pub(super) fn find(&self, client: ClientId) -> Option<usize> {
        self.parts.binary_search_by(|part| client.cmp(&part.client)).ok()
    }

    /// Hands over every struct that can be taken.
    ///
    /// # Errors
    ///
    /// Structs that cannot be read: none that was scanned.
    pub(super) fn run(
        &mut self,
        mut take: impl FnMut(&mut Self, usize, &Struct<'a>) -> Step,
    ) -> Result<(), Refusal> {
        let mut ready = Vec::new();
        for index in (0..self.parts.len()).rev() {
            ready.push(index);
            while let Some(index) = ready.pop() {
                self.run_part(index, &mut take)?;
                let (of, end) = (index as u32, self.parts[index].end);
                while let Some(&woken) = self.waiting.range((of, 0, 0)..(of, end, 0)).next() {
                    self.waiting.remove(&woken);
                    ready.push(woken.2 as usize);
                }
            }
        }
        self.waiting.clear();
        Ok(())
    }

    fn run_part(
        &mut self,
        index: usize,
        take: &mut impl FnMut(&mut Self, usize, &Struct<'a>) -> Step,
    ) -> Result<(), Refusal> {
        let mut rest = self.parts[index].rest();
        let mut before = rest.clone();
        while let Some(item) = rest.next_struct()? {
            match take(self, index, &item) {
                Step::Done => before.clone_from(&rest),
                Step::Stuck => break,
                Step::WaitFor(other, clock) => {
                    self.waiting.insert((other as u32, clock, index as u32));
                    break;
                }
            }
        }
        self.parts[index].stand_before(&before);
        Ok(())
    }
}
