//! The store under test, kept as a document keeps it: remainders lie beside it until their ground comes.

use std::mem;

use bytes::Bytes;
use ringleaf_document::{Gc, Remainder, StructStore, merge};

/// A store with its remainders, and a second store that is told only what the first relays.
pub(crate) struct Harbor {
    store: StructStore,
    remainders: Vec<Remainder>,
    /// Invariant: it never lacks anything, and holds the same clocks.
    relayed: StructStore,
    /// What was relayed, until it is asked for as one update.
    recent: Vec<Bytes>,
}

impl Harbor {
    pub(crate) fn new() -> Self {
        Self {
            store: StructStore::new(),
            remainders: Vec::new(),
            relayed: StructStore::new(),
            recent: Vec::new(),
        }
    }

    /// Takes in an update, and whatever waited for it. Returns what is new, in the order in which it is relayed.
    pub(crate) fn admit(&mut self, update: &Bytes) -> Result<Vec<Bytes>, String> {
        let mut news = Vec::new();
        self.take(update, &mut news)?;
        let mut tried = 0;
        while tried < news.len() {
            tried = news.len();
            for remainder in mem::take(&mut self.remainders) {
                self.retry(&remainder, &mut news)?;
            }
        }
        self.recent.extend(news.iter().cloned());
        Ok(news)
    }

    /// What was relayed since this was last asked for, as one update.
    pub(crate) fn merged(&mut self) -> Result<Bytes, String> {
        let recent = mem::take(&mut self.recent);
        merge(recent.iter()).ok_or_else(|| "news that follow on one another have a hole".into())
    }

    /// A document tries a remainder only when something that it says it waits for has come: that must be enough.
    fn retry(&mut self, remainder: &Remainder, news: &mut Vec<Bytes>) -> Result<(), String> {
        let waits = &remainder.waits;
        let worth_it = waits.iter().any(|(&client, &clock)| self.store.clock_of(client) > clock);
        let before = news.len();
        self.take(&remainder.update, news)?;
        if news.len() > before && !worth_it {
            return Err(format!("a remainder brings something, and nothing of {waits:?} has come"));
        }
        Ok(())
    }

    fn take(&mut self, update: &Bytes, news: &mut Vec<Bytes>) -> Result<(), String> {
        let before = self.store.state_vector();
        let admission = self.store.admit(update).map_err(|why| format!("refused: {why}"))?;
        if let Some(why) = admission.barred {
            return Err(format!("refused: {why}"));
        }
        let holds = self.store.holds(update).map_err(|why| format!("refused: {why}"))?;
        if holds == admission.remainder.is_some() {
            return Err(format!("whether it holds what it was told: {holds}"));
        }
        self.remainders.extend(admission.remainder);
        match admission.news {
            None if self.store.state_vector() != before => Err("clocks moved, and nothing is relayed".into()),
            None => Ok(()),
            Some(bytes) => {
                self.relay(&bytes)?;
                news.push(bytes);
                Ok(())
            }
        }
    }

    fn relay(&mut self, news: &Bytes) -> Result<(), String> {
        let admission = self.relayed.admit(news).map_err(|why| format!("news are refused: {why}"))?;
        if admission.remainder.is_some() {
            return Err("news are not complete".into());
        }
        if admission.news.is_none() {
            return Err("news bring nothing new".into());
        }
        if self.relayed.state_vector() != self.store.state_vector() {
            return Err("news are not all that was admitted".into());
        }
        Ok(())
    }

    pub(crate) fn state_vector(&self) -> Vec<u8> {
        self.store.state_vector()
    }

    pub(crate) fn diff(&self, state_vector: &[u8]) -> Result<Bytes, String> {
        let refused = |why| format!("refused: {why}");
        let answer = self.store.diff(state_vector).map_err(refused)?.concat();
        let lacks_nothing = self.store.lacks_nothing(state_vector).map_err(refused)?;
        if lacks_nothing != (answer[0] == 0) {
            return Err(format!("whether an answer brings structs: {}", !lacks_nothing));
        }
        Ok(answer)
    }

    pub(crate) fn encode(&self) -> Bytes {
        self.store.encode().concat()
    }

    pub(crate) fn compact(&mut self, gc: Gc) -> Result<(), String> {
        let before = self.store.state_vector();
        self.store.compact(gc);
        if self.store.state_vector() != before {
            return Err("compaction moved clocks".into());
        }
        Ok(())
    }

    /// Whatever is encoded loads to the same bytes, holds the same, and is complete.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        let state = self.encode();
        let mut folded = self.store.clone();
        folded.fold();
        if folded.encode().concat() != state {
            return Err("folding changed something".into());
        }
        let mut loaded = StructStore::load(state.clone()).map_err(|why| format!("refused: {why}"))?;
        if loaded.encode().concat() != state {
            return Err("what was loaded encodes to other bytes".into());
        }
        if loaded.state_vector() != self.store.state_vector() {
            return Err("what was loaded has other clocks".into());
        }
        let again = loaded.admit(&state).map_err(|why| format!("refused: {why}"))?;
        if again.news.is_some() || again.remainder.is_some() {
            return Err("what was loaded lacks some of the bytes that it was loaded from".into());
        }
        let mut anew = StructStore::new();
        let admission = anew.admit(&state).map_err(|why| format!("refused: {why}"))?;
        if admission.remainder.is_some() || anew.state_vector() != self.store.state_vector() {
            return Err("the encoded state is not complete".into());
        }
        self.store = loaded;
        Ok(())
    }

    pub(crate) fn left(&self) -> usize {
        self.remainders.len()
    }

    /// Everything that this one holds, remainders too, as updates.
    pub(crate) fn contents(&self) -> Vec<Bytes> {
        let mut contents = vec![self.encode()];
        contents.extend(self.remainders.iter().map(|remainder| remainder.update.clone()));
        contents
    }
}
