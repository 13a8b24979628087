//! What must hold for a store of structs, whatever it is given. Shared by the fuzz target and the test that runs the corpus.

#![allow(clippy::unwrap_used, reason = "a check that cannot be made has failed")]

use bytes::Bytes;
use ringleaf_document::{Gc, Remainder, StructStore, merge};
use ringleaf_types::ClientId;
use ringleaf_wire::lib0::{Reader, write_var_uint};
use ringleaf_wire::scan;

use super::choices::Choices;
use super::generate::{CLIENTS, Said};
use super::units::{AllUnits, Complete};

/// One case: what the first byte says.
pub(crate) fn case(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    match first % 3 {
        0 => honest(&mut Choices::new(rest)),
        1 => liars(&mut Choices::new(rest)),
        _ => updates(rest),
    }
}

/// Updates, each behind its length.
fn updates(bytes: &[u8]) {
    let (mut stage, mut reader) = (Stage::new(false), Reader::new(bytes));
    while let Ok(update) = reader.var_bytes() {
        stage.send(Bytes::copy_from_slice(update));
    }
    stage.finish();
}

/// Each unit is said to be many things, and refers to whatever there is, or is not.
fn liars(choices: &mut Choices<'_>) {
    let (mut stage, mut said) = (Stage::new(false), Said::default());
    while !choices.is_done() {
        match choices.below(12) {
            0..6 => {
                let message = said.lies(choices).into();
                stage.send(message);
            }
            other => stage.step(other - 6, choices),
        }
    }
    stage.finish();
}

/// Each unit is one thing, and refers to what was there when it was written. Messages overlap, overtake, and leave out.
fn honest(choices: &mut Choices<'_>) {
    let (mut stage, mut said) = (Stage::new(true), Said::default());
    while !choices.is_done() {
        match choices.below(16) {
            0..6 => said.write(choices),
            6..10 => stage.send(said.tell(choices).into()),
            other => stage.step(other - 10, choices),
        }
    }
    // In the end somebody brings everything: then nothing is left but what waits for itself, and all who have heard the
    // same hold the same.
    stage.send(said.everything().into());
    let mut at_once = StructStore::new();
    at_once.admit(&said.everything().into()).unwrap();
    assert_eq!(stage.store.state_vector(), at_once.state_vector(), "in parts and at once");
    let truth = AllUnits::of(&said.everything());
    for store in [&stage.store, &stage.plain, &at_once] {
        AllUnits::of(&store.encode().concat()).all_are_in(&truth);
    }
    stage.finish();
}

struct Stage {
    honest: bool,
    store: StructStore,
    /// Gets what the store gets, and is never made compact.
    plain: StructStore,
    /// Gets what was new in what that one got.
    mirror: StructStore,
    news: Vec<Bytes>,
    sent: Vec<Bytes>,
    /// What was taken in whole.
    whole: Vec<Bytes>,
    left: Vec<Remainder>,
    /// What the store was, sometimes.
    past: Vec<(Vec<u8>, Bytes)>,
}

impl Stage {
    fn new(honest: bool) -> Self {
        Self {
            honest,
            store: StructStore::new(),
            plain: StructStore::new(),
            mirror: StructStore::new(),
            news: Vec::new(),
            sent: Vec::new(),
            whole: Vec::new(),
            left: Vec::new(),
            past: Vec::new(),
        }
    }

    fn step(&mut self, step: usize, choices: &mut Choices<'_>) {
        match step {
            0 => self.store.compact(if choices.once_in(4) { Gc::Keep } else { Gc::Collect }),
            1 => self.store.fold(),
            2 => self.store = loaded(&self.store),
            3 => {
                if let Some(again) = choices.pick(&self.sent) {
                    self.send(again.clone());
                }
            }
            4 => self.remember(),
            _ => self.ask(choices),
        }
        self.check();
    }

    fn send(&mut self, message: Bytes) {
        let held = self.store.holds(&message);
        let Ok(admission) = self.store.admit(&message) else {
            assert!(self.plain.admit(&message).is_err() && held.is_err(), "the bytes alone decide");
            self.check();
            return;
        };
        if held == Ok(true) {
            assert_eq!(admission.news, None, "it was there");
        }
        if admission.remainder.is_none() && admission.barred.is_none() {
            assert_eq!(self.store.holds(&message), Ok(true));
            self.whole.push(message.clone());
        }
        let before: Vec<_> = self.store.clocks().collect();
        let again = self.store.admit(&message).unwrap();
        assert_eq!(again.news, None, "new twice");
        assert_eq!(before, self.store.clocks().collect::<Vec<_>>());
        self.sent.push(message.clone());
        let plain = self.plain.admit(&message).unwrap();
        assert_eq!(plain.barred.is_some(), admission.barred.is_some());
        self.hand_on(plain.news);
        self.left.extend(admission.remainder);
        self.try_again();
        self.check();
    }

    /// What is new is complete for whoever has what was there before.
    fn hand_on(&mut self, news: Option<Bytes>) {
        let Some(news) = news else { return };
        let admission = self.mirror.admit(&news).unwrap();
        assert_eq!((admission.remainder, admission.barred), (None, None), "news is complete");
        assert_eq!(self.plain.holds(&news), Ok(true));
        self.news.push(news);
    }

    /// Remainders are admitted when their ground is there, and not before.
    fn try_again(&mut self) {
        let mut grew = true;
        while std::mem::take(&mut grew) {
            for remainder in std::mem::take(&mut self.left) {
                assert_eq!(scan::update(&remainder.update, &mut ()), Ok(()), "a remainder is an update");
                let woken =
                    remainder.waits.iter().any(|(client, clock)| self.store.clock_of(*client) > *clock);
                if !woken && self.honest {
                    let mut copy = self.store.clone();
                    let admission = copy.admit(&remainder.update).unwrap();
                    assert_eq!(admission.news, None, "it was not to be tried, and has news");
                    self.left.push(remainder);
                    continue;
                }
                let admission = self.store.admit(&remainder.update).unwrap();
                grew |= admission.news.is_some();
                let plain = self.plain.admit(&remainder.update).unwrap();
                self.hand_on(plain.news);
                self.left.extend(admission.remainder);
            }
            // Of liars, what is left can be in the way of itself for ever.
            self.left.dedup_by(|a, b| a.update == b.update);
            self.left.truncate(40);
        }
    }

    fn check(&self) {
        assert_eq!(self.store.state_vector(), self.plain.state_vector(), "compact or not");
        assert_eq!(self.mirror.state_vector(), self.plain.state_vector(), "news is everything that is new");
        assert_eq!(self.mirror.delete_set(), self.plain.delete_set());
        let lost = self.whole.iter().find(|message| self.store.holds(message) != Ok(true));
        assert_eq!(lost, None, "nothing is lost");
        let count = self.store.clocks().filter(|(_, clock)| clock.get() > 0).count();
        assert_eq!(self.store.client_count(), count);
        drop(loaded(&self.store));
        drop(loaded(&self.plain));
    }

    fn remember(&mut self) {
        let state = (self.store.state_vector(), self.store.encode().concat());
        self.past.push(state);
        self.past.truncate(8);
    }

    /// Whoever has what was there once gets everything that came since; whoever asks nonsense gets an update.
    fn ask(&self, choices: &mut Choices<'_>) {
        if let Some((state_vector, state)) = choices.pick(&self.past) {
            let mut receiver = StructStore::load(state.clone()).unwrap();
            let diff = self.store.diff(state_vector).unwrap().concat();
            let admission = receiver.admit_stored(&diff).unwrap();
            assert_eq!((admission.remainder, admission.barred), (None, None), "a diff is complete");
            assert_eq!(receiver.state_vector(), self.store.state_vector());
            let deleted = [&[0][..], &self.store.delete_set()].concat();
            assert_eq!(receiver.holds(&deleted), Ok(true), "a diff has all deletions");
            assert_eq!(self.store.lacks_nothing(&receiver.state_vector()), Ok(true));
        }
        let mut state_vector = vec![CLIENTS.len() as u8];
        for client in CLIENTS {
            write_var_uint(&mut state_vector, client);
            write_var_uint(&mut state_vector, choices.below(30) as u64);
        }
        let diff = self.store.diff(&state_vector).unwrap().concat();
        assert!(scan::update(&diff, &mut ()).is_ok(), "a diff is an update");
        assert_eq!(self.store.holds(&diff), Ok(true), "and holds nothing else");
    }

    fn finish(mut self) {
        self.check();
        let merged = merge(self.news.iter()).expect("nothing is missing between news");
        let mut receiver = StructStore::new();
        let admission = receiver.admit_stored(&merged).unwrap();
        assert_eq!((admission.remainder, admission.barred), (None, None), "merged news is complete");
        assert_eq!(receiver.state_vector(), self.plain.state_vector());
        assert_eq!(receiver.delete_set(), self.plain.delete_set());
        for gc in [Gc::Keep, Gc::Collect] {
            self.store.compact(gc);
            let once = self.store.encode().concat();
            self.store.compact(gc);
            assert_eq!(self.store.encode().concat(), once, "compact is compact");
            self.check();
        }
        for client in CLIENTS {
            assert_eq!(
                self.store.clock_of(ClientId::new(client)),
                self.plain.clock_of(ClientId::new(client))
            );
        }
    }
}

/// What is encoded is an update, and loads to the same.
fn loaded(store: &StructStore) -> StructStore {
    let encoded = store.encode().concat();
    scan::update(&encoded, &mut Complete(store)).unwrap();
    let loaded = StructStore::load(encoded.clone()).unwrap();
    assert_eq!(loaded.state_vector(), store.state_vector());
    assert_eq!(loaded.delete_set(), store.delete_set());
    assert_eq!(loaded.encode().concat(), encoded, "encode(load(x)) = x");
    loaded
}
