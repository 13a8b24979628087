//! What lacks its ground: keeping it, and admitting it when the ground comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use ringleaf_types::{ClientId, RouterId, SessionId};

use super::Document;
use crate::gate::Output;
use crate::remainders::{Adding, Kept};
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
            self.try_again(id, &mut VecDeque::new());
        }
    }

    /// Keeps a remainder. `false`: there is no room for it.
    pub(super) fn keep(&mut self, from: Option<SessionKey>, remainder: Remainder, now: Instant) -> bool {
        let (log, update) = (&mut self.log, remainder.update.clone());
        let max = self.limits.remainder_bytes_max;
        match self.remainders.add(|| log.next_nonce(), remainder, from, max, now) {
            Adding::New(id) => {
                if let Some(session) = from.and_then(|from| self.sessions.get_mut(&from)) {
                    session.stores();
                }
                self.storing.insert(id, from);
                self.count(Count::Kept);
                self.effects.push_back(Effect::KeepRemainder { id, update });
                true
            }
            Adding::Known => true,
            Adding::NoRoom => false,
        }
    }

    /// The store has a remainder.
    pub(super) fn remainder_kept(&mut self, id: u64) {
        if let Some(unwanted) = self.remainders.stored(id) {
            self.leave(Output::Unwanted { id: unwanted });
        }
        let Some(key) = self.storing.remove(&id).flatten() else { return };
        let held = self.sessions.get_mut(&key).and_then(crate::session::Session::stored);
        if let Some(number) = held {
            self.acknowledge(key, number);
        }
    }

    /// These clients have grown: what waited for that is admitted, and whoever waits for it is asked again.
    pub(super) fn ground_came(&mut self, grown: &[ClientId]) {
        if grown.is_empty() || (!self.someone_leaves && self.remainders.is_empty()) {
            return;
        }
        let mut grown: VecDeque<ClientId> = grown.iter().copied().collect();
        let mut done = BTreeSet::new();
        while let Some(client) = grown.pop_front() {
            while let Some(id) = self.remainders.woken(client, self.structs.clock_of(client)) {
                done.extend(self.try_again(id, &mut grown));
            }
        }
        for key in done {
            self.leaves_nothing(key);
        }
        self.ask_again();
    }

    /// Tries to admit a remainder. Answers whose it was, if nothing is left of it.
    fn try_again(&mut self, id: u64, grown: &mut VecDeque<ClientId>) -> Option<SessionKey> {
        let taken = self.remainders.take(id)?;
        // What was scanned once is an update; only what the store has could be none.
        let admission = self.structs.admit(&taken.update).unwrap_or_default();
        if let Some(news) = &admission.news {
            self.gather(news);
        }
        grown.extend(admission.grown);
        if let Some(rest) = admission.remainder {
            self.remainders.put_back(&taken, rest);
            return None;
        }
        if self.remainders.done(&taken) {
            self.leave(Output::Unwanted { id });
        }
        taken.from
    }

    /// A session may have nothing left behind any more.
    fn leaves_nothing(&mut self, key: SessionKey) {
        let kept = self.remainders.any_of(key);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !kept && session.left().is_some_and(|(_, why)| why == LeftWhy::Ground) {
            session.leaves_nothing();
        }
    }

    fn ask_again(&mut self) {
        if !self.someone_leaves {
            return;
        }
        let structs = &self.structs;
        let mut asked = Vec::new();
        for (key, session) in &mut self.sessions {
            if session.ground_came(|client| structs.clock_of(client)) {
                asked.push(*key);
            }
        }
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
        let kept = self.remainders.by_session();
        let open = self.sessions.iter().filter(|(_, session)| !session.ended);
        let left = open.filter_map(|(key, of)| {
            let (since, why) = of.left()?;
            let (pieces, bytes) = kept.get(key).copied().unwrap_or_default();
            Some(LeftBehind { router: key.0, session: key.1, since, why, pieces, bytes })
        });
        left.collect()
    }

    /// How many remainders are kept, and their bytes.
    pub fn remainders(&self) -> (usize, usize) {
        (self.remainders.len(), self.remainders.bytes())
    }
}
