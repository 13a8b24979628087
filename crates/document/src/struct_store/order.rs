//! Going through the structs of many clients in an order in which each comes after what it refers to.
//!
//! Each client is taken as far as it goes; where it refers to another one's structs further ahead, it waits for those. Each
//! struct is looked at once, and once more for each of its three references that it had to wait for, so the work is linear in
//! their number (times the logarithm of the number of clients). Structs that wait for each other in a circle wait for ever.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringleaf_types::ClientId;
use ringleaf_wire::Refusal;
use ringleaf_wire::scan::{Struct, Structs};

/// The structs of one client.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) client: ClientId,
    /// Read one after the other: from the base, then from the run.
    pub(super) rest: Structs<'a>,
    then: Option<Structs<'a>>,
    /// Read, but not taken yet.
    pub(super) held: Option<Struct<'a>>,
    /// What is taken of it, or was there before.
    pub(super) end: u32,
    /// Who waits until which clock of this client is taken.
    waiting: BinaryHeap<Reverse<(u32, usize)>>,
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
}

impl<'a> Part<'a> {
    pub(super) fn new(structs: Structs<'a>, end: u32) -> Self {
        let client = structs.client();
        Self { client, rest: structs, then: None, held: None, end, waiting: BinaryHeap::new() }
    }

    /// These come after.
    pub(super) fn then(self, then: Option<Structs<'a>>) -> Self {
        Self { then, ..self }
    }

    fn next(&mut self) -> Result<Option<Struct<'a>>, Refusal> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        if let Some(item) = self.rest.next_struct()? {
            return Ok(Some(item));
        }
        match self.then.take() {
            Some(then) => {
                self.rest = then;
                self.rest.next_struct()
            }
            None => Ok(None),
        }
    }
}

impl<'a> Order<'a> {
    pub(super) fn new(mut parts: Vec<Part<'a>>) -> Self {
        if !parts.is_sorted_by(|a, b| a.client > b.client) {
            parts.sort_by_key(|part| Reverse(part.client));
        }
        Self { parts }
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
        let mut ready: Vec<usize> = (0..self.parts.len()).collect();
        while let Some(index) = ready.pop() {
            self.run_part(index, &mut take)?;
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

    fn run_part(
        &mut self,
        index: usize,
        take: &mut impl FnMut(&mut Self, usize, &Struct<'a>) -> Step,
    ) -> Result<(), Refusal> {
        while let Some(item) = self.parts[index].next()? {
            match take(self, index, &item) {
                Step::Done => {}
                Step::Stuck => {
                    self.parts[index].held = Some(item);
                    break;
                }
                Step::WaitFor(other, clock) => {
                    self.parts[index].held = Some(item);
                    self.parts[other].waiting.push(Reverse((clock, index)));
                    break;
                }
            }
        }
        Ok(())
    }
}
