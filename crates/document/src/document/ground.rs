//! What lacks its ground: keeping it, and admitting it when the ground comes.

use std::collections::BTreeMap;
use std::time::Instant;

use ringleaf_types::{ClientId, RouterId, SessionId};

use super::Document;
use crate::gate::Output;
use crate::remainders::{Adding, Kept, Taken};
use crate::session::{LeftWhy, SessionKey};
use crate::struct_store::Remainder;
use crate::{Count, Effect};

/// What of one session's is not in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Through which router it is attached.
    pub router: RouterId,
    /// Which one it is there.
    pub session: SessionId,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub why: LeftWhy,
    /// Structs and deleted ranges that are kept until their ground comes.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: usize,
}

impl Document {
    /// Takes up what the store has kept. What is known already is passed over.
    pub(super) fn restore(&mut self, kept: Vec<Kept>) {
        for Kept { id, update, since } in kept {
            if self.remainders.has(id) {
                continue;
            }
            let pieces = 1;
            let waits = BTreeMap::new();
            self.remainders.restore(id, Remainder { update, waits, pieces }, since);
            if let Some(taken) = self.remainders.take(id) {
                let grown = self.try_again(taken);
                self.ground_came(&grown);
            }
        }
    }

    /// Keeps a remainder. `false`: there is no room for it.
    pub(super) fn keep(&mut self, from: Option<SessionKey>, remainder: Remainder, now: Instant) -> bool {
        let (log, update) = (&mut self.log, remainder.update.clone());
        let max = self.limits.remainder_bytes_max;
        match self.remainders.add(|| log.next_nonce(), remainder, from, max, now) {
            Adding::New(id) => {
                self.storing.insert(id, Vec::new());
                self.waits_for_store(id, from);
                self.count(Count::Kept);
                self.effects.push_back(Effect::KeepRemainder { id, update });
                true
            }
            Adding::Known(id) => {
                self.waits_for_store(id, from);
                true
            }
            Adding::NoRoom => false,
        }
    }

    /// Nothing that the session sends is acknowledged before the store has this remainder, if it does not have it yet.
    fn waits_for_store(&mut self, id: u64, from: Option<SessionKey>) {
        let Some(keys) = self.storing.get_mut(&id) else { return };
        let Some(key) = from else { return };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.stores();
            keys.push(key);
        }
    }

    /// These sessions have ended. One that comes back under the same name waits for what it sends then.
    pub(super) fn waits_no_longer(&mut self, gone: impl Fn(SessionKey) -> bool) {
        for keys in self.storing.values_mut() {
            keys.retain(|key| !gone(*key));
        }
    }

    /// The store has a remainder.
    pub(super) fn remainder_kept(&mut self, id: u64) {
        if let Some(unwanted) = self.remainders.stored(id) {
            self.leave(Output::Unwanted { id: unwanted });
        }
        for key in self.storing.remove(&id).unwrap_or_default() {
            let held = self.sessions.get_mut(&key).and_then(crate::session::Session::stored);
            if let Some(number) = held {
                self.acknowledge(key, number);
            }
        }
    }

    /// These clients have grown: what waited for that is admitted, and whoever waits for it is asked again.
    pub(super) fn ground_came(&mut self, grown: &[ClientId]) {
        if grown.is_empty() || (!self.someone_leaves && self.remainders.is_empty()) {
            return;
        }
        let mut grown = grown.to_vec();
        self.note_ground(&grown);
        self.try_ready(&mut grown);
        self.ask_again(grown);
    }

    /// Tries again what had to wait for its turn.
    pub(super) fn admit_ready(&mut self, now: Instant) {
        if self.remainders.ready_at(now).is_some_and(|at| at <= now) {
            let mut grown = Vec::new();
            self.try_ready(&mut grown);
            self.ask_again(grown);
        }
    }

    fn note_ground(&mut self, grown: &[ClientId]) {
        if self.remainders.is_empty() {
            return;
        }
        for &client in grown {
            self.remainders.ground_came(client, self.structs.clock_of(client));
        }
    }

    fn try_ready(&mut self, grown: &mut Vec<ClientId>) {
        while let Some(taken) = self.remainders.next_ready(self.timers.told_at) {
            let more = self.try_again(taken);
            self.note_ground(&more);
            grown.extend(more);
        }
    }

    /// Tries to admit a remainder. Answers which clients have grown by it.
    fn try_again(&mut self, taken: Taken) -> Vec<ClientId> {
        // What was scanned once is an update; only what the store has could be none.
        let admission = self.structs.admit(&taken.update).unwrap_or_default();
        if let Some(news) = &admission.news {
            self.gather(news);
        }
        if let (Some(refusal), Some(key)) = (admission.barred, taken.from) {
            let why = LeftWhy::Refused(refusal);
            self.leave_behind(key, true, why, BTreeMap::new(), self.timers.told_at);
        }
        match admission.remainder {
            Some(rest) => self.remainders.put_back(&taken, rest),
            None => {
                if self.remainders.done(&taken) {
                    self.leave(Output::Unwanted { id: taken.id });
                }
                self.nothing_left(taken.from);
            }
        }
        admission.grown
    }

    /// A session may have nothing left behind any more.
    fn nothing_left(&mut self, key: Option<SessionKey>) {
        let Some(key) = key else { return };
        let kept = self.remainders.of(key).0;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if kept == 0 && session.left().is_some_and(|(_, why)| why == LeftWhy::Ground) {
            session.leaves_nothing();
        }
    }

    fn ask_again(&mut self, mut grown: Vec<ClientId>) {
        if !self.someone_leaves {
            return;
        }
        grown.sort_unstable();
        let structs = &self.structs;
        let asked: Vec<_> = self
            .sessions
            .iter_mut()
            .filter_map(|(key, session)| {
                session.ground_came(&grown, |client| structs.clock_of(client)).then_some(*key)
            })
            .collect();
        for key in asked {
            self.count(Count::AskedForRest);
            self.ask(key);
        }
        self.someone_leaves = self.sessions.values().any(|session| session.left().is_some());
    }

    /// Forgets what has waited too long.
    pub(super) fn expire_remainders(&mut self, now: Instant) {
        for taken in self.remainders.expire(self.limits.remainder_timeout, now) {
            self.count(Count::Expired);
            self.effects.push_back(Effect::RemainderExpired { bytes: taken.update.len() });
            if self.remainders.done(&taken) {
                self.leave(Output::Unwanted { id: taken.id });
            }
        }
    }

    /// The sessions of which something is not in the document.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        if !self.someone_leaves {
            return Vec::new();
        }
        let open = self.sessions.iter().filter(|(_, session)| !session.ended);
        let left = open.filter_map(|(key, of)| {
            let (since, why) = of.left()?;
            let (pieces, bytes) = self.remainders.of(*key);
            Some(LeftBehind { router: key.0, session: key.1, since, why, pieces, bytes })
        });
        left.collect()
    }

    /// How many remainders are kept, and their bytes.
    pub fn remainders(&self) -> (usize, usize) {
        (self.remainders.len(), self.remainders.bytes())
    }
}
