//! The way to the slot log: the store's own rules (`MemoryStore` passes the contract), behind a network that delays, loses
//! and repeats.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use ringleaf_document::{AppendOutcome, Input, Kept};
use ringleaf_store::{Store, StoreError, Stored};
use ringleaf_types::{DocumentId, Record, Remainder, Slot, Snapshot};

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

    /// What is kept beside the log.
    pub(crate) fn remainders(&mut self, document: &DocumentId) -> Vec<Kept> {
        let since = self.now();
        let kept = now(self.store.remainders(document)).expect("it is open");
        kept.into_iter().map(|kept| Kept { id: kept.id, update: kept.bytes, since }).collect()
    }

    /// Keeps what lacks its ground, until the log takes it.
    pub(crate) fn keep_remainder(
        &mut self,
        node: usize,
        document: DocumentId,
        number: u64,
        id: u64,
        update: Bytes,
        backoff: Duration,
    ) {
        let (of, bytes) = (document.clone(), update.clone());
        self.call(
            node,
            move |world| {
                let remainder = Remainder { id, since: SystemTime::UNIX_EPOCH, bytes: bytes.clone() };
                now(world.store.keep_remainder(&of, remainder)).expect("it is open");
            },
            move |world, kept| match kept {
                Some(()) => {
                    if world.resident(node, &document, number).is_some() {
                        world.tell(node, &document, number, Input::RemainderKept { id });
                    }
                }
                None => {
                    let longer = (backoff * 2).min(Duration::from_secs(1));
                    world.after(Place::Node(node), backoff, move |world| {
                        world.keep_remainder(node, document, number, id, update, longer);
                    });
                }
            },
        );
    }

    pub(crate) fn drop_remainder(&mut self, node: usize, document: DocumentId, id: u64) {
        let drop =
            move |world: &mut Self| now(world.store.drop_remainders(&document, &[id])).expect("it is open");
        self.call(node, drop, |_, _| {});
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
