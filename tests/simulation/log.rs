//! The way to the slot log: the store's own rules (`MemoryStore` passes the contract), behind a network that delays, loses
//! and repeats.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use ringleaf_document::AppendOutcome;
use ringleaf_store::{Store, StoreError, Stored};
use ringleaf_types::{DocumentId, Record, Slot, Snapshot};

use crate::facts::outcome;
use crate::world::{Place, World};

/// A call that was not answered after so long has failed, as far as its caller knows.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The memory store never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store that never waits")
}

impl World {
    /// Has the store do something. `None`: it is not known whether it did.
    pub(crate) fn call<T: 'static>(
        &mut self,
        node: usize,
        operation: impl Fn(&mut World) -> T + 'static,
        answer: impl FnOnce(&mut World, Option<T>) + 'static,
    ) {
        let node = Place::Node(node);
        let (operation, decided) = (Rc::new(operation), Rc::new(Cell::new(false)));
        let answer = Rc::new(Cell::new(Some(answer)));
        let run = self.run_of(node);
        let faults = if self.healed { Default::default() } else { self.scenario.store };
        let reply = {
            let answer = Rc::clone(&answer);
            move |world: &mut World, wait, result: Option<T>| {
                let (answer, decided) = (Rc::clone(&answer), Rc::clone(&decided));
                world.after_in(node, run, wait, move |world| {
                    if !decided.replace(true)
                        && let Some(answer) = answer.take()
                    {
                        answer(world, result);
                    }
                });
            }
        };
        let reply = Rc::new(reply);
        let cut = !self.network.reaches(node, Place::Log);
        if cut || self.random.thousandths(faults.errors) {
            // Nobody knows whether it got through. Sometimes it does, much later.
            let wait = self.random.millis(1, if cut { 1_500 } else { 300 });
            reply(self, wait, None);
            if self.random.thousandths(500) {
                let late = self.random.millis(0, 15_000);
                self.after(Place::Log, late, move |world| drop(operation(world)));
            }
            return;
        }
        reply(self, TIMEOUT, None);
        let late = self.random.thousandths(faults.late);
        let arrives = if late { self.random.millis(500, 10_000) } else { self.random.millis(1, 5) };
        self.after(Place::Log, arrives, move |world| {
            let result = operation(world);
            if world.random.thousandths(faults.repeated) {
                let again = world.random.millis(0, 10_000);
                let operation = Rc::clone(&operation);
                world.after(Place::Log, again, move |world| drop(operation(world)));
            }
            if !world.random.thousandths(faults.lost_replies) && world.network.reaches(node, Place::Log) {
                let wait = world.delay();
                reply(world, wait, Some(result));
            }
        });
    }

    /// What a load reads. Whatever was acknowledged is in it (I1).
    pub(crate) fn read(&mut self, document: &DocumentId) -> Stored {
        let stored = now(self.store.read(document)).expect("a log without a gap");
        self.facts(document).loaded(&stored);
        stored
    }

    pub(crate) fn create_slot(
        &mut self,
        document: &DocumentId,
        slot: Slot,
        record: &Record,
    ) -> AppendOutcome {
        let created = now(self.store.create_slot(document, slot, record.clone())).expect("it is open");
        let outcome = outcome(created);
        if outcome == AppendOutcome::Created {
            self.say(format_args!(
                "log: slot {slot} epoch {} by {} of {document}",
                record.epoch, record.writer.node
            ));
            self.facts(document).created(slot, record);
        }
        outcome
    }

    pub(crate) fn create_snapshot(&mut self, document: &DocumentId, snapshot: &Snapshot) -> bool {
        let created = now(self.store.create_snapshot(document, snapshot.clone())).expect("it is open");
        if created {
            self.counts.snapshots += 1;
            self.say(format_args!("log: snapshot through {} of {document}", snapshot.upto));
            self.facts(document).snapshot(snapshot);
        }
        created
    }

    pub(crate) fn trim(&mut self, document: &DocumentId) -> u64 {
        now(self.store.trim(document)).expect("it is open")
    }

    pub(crate) fn tails(&mut self, documents: &[DocumentId]) -> Vec<(DocumentId, Slot)> {
        let tails = now(self.store.tails(documents)).expect("it is open");
        tails.into_iter().map(|(document, tail)| (document, tail.last)).collect()
    }

    /// `None`: slots are missing that lie below a snapshot by now.
    pub(crate) fn read_after(&mut self, document: &DocumentId, after: Slot) -> Option<Vec<(Slot, Record)>> {
        match now(self.store.read_after(document, after)) {
            Ok(slots) => Some(slots),
            Err(StoreError::Gap { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
