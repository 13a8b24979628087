//! Who waits for an answer, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use ringleaf_types::{RouterId, SessionId, Slot};

use crate::session::SessionKey;

/// Who waits for the next moment at which nothing is being written.
#[derive(Default)]
pub(super) struct Waiting {
    /// Not looked at yet.
    pub(super) syncs: Vec<(SessionKey, Bytes)>,
    /// Their answers have to be computed. Sessions take turns, and each is answered in the order in which it asked.
    pub(super) in_turn: BTreeMap<SessionKey, VecDeque<Bytes>>,
    /// Whose turn it was last.
    last: Option<SessionKey>,
    pub(super) catch_ups: Vec<(RouterId, Slot)>,
    /// The last answer that was computed was for one of these: next come those in turn.
    caught_up: bool,
    pub(super) exports: Vec<u64>,
    /// An answer was computed: what has gathered goes before the next one. Else the next one goes before that.
    pub(super) slot_first: bool,
}

/// Whose answer is computed next.
pub(super) enum Next {
    Exports,
    CatchUp(Slot),
    Sync(Bytes),
}

impl Waiting {
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.syncs.retain(|(of, _)| *of != key);
        self.in_turn.remove(&key);
    }

    pub(super) fn router_gone(&mut self, router: RouterId) {
        self.syncs.retain(|((of, _), _)| *of != router);
        self.in_turn.retain(|(of, _), _| *of != router);
        self.catch_ups.retain(|(of, _)| *of != router);
    }

    pub(super) fn clear_sessions(&mut self) {
        self.syncs.clear();
        self.in_turn.clear();
        self.catch_ups.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.syncs.is_empty() && !self.owes()
    }

    /// Somebody waits who was looked at, or need not be.
    pub(super) fn owes(&self) -> bool {
        !(self.in_turn.is_empty() && self.catch_ups.is_empty() && self.exports.is_empty())
    }

    /// The longest state vector of those that are answered next.
    pub(super) fn state_vector_bytes_max(&self) -> usize {
        let first = self.in_turn.values().filter_map(|state_vectors| state_vectors.front());
        first.map(Bytes::len).max().unwrap_or(0)
    }

    pub(super) fn next(&mut self) -> Option<Next> {
        if !self.exports.is_empty() {
            return Some(Next::Exports);
        }
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = self.in_turn.range((after, Bound::Unbounded)).next().or(self.in_turn.iter().next());
        if let Some((_, from)) = self.catch_ups.first().filter(|_| in_turn.is_none() || !self.caught_up) {
            self.caught_up = true;
            return Some(Next::CatchUp(*from));
        }
        let (key, state_vectors) = in_turn?;
        (self.caught_up, self.last) = (false, Some(*key));
        state_vectors.front().cloned().map(Next::Sync)
    }

    /// Takes everybody whose turn it is to be told what this state vector lacks.
    pub(super) fn take_all(&mut self, state_vector: &Bytes) -> BTreeMap<RouterId, Vec<SessionId>> {
        let mut sessions: BTreeMap<RouterId, Vec<SessionId>> = BTreeMap::new();
        self.in_turn.retain(|(router, session), state_vectors| {
            if state_vectors.front() == Some(state_vector) {
                state_vectors.pop_front();
                sessions.entry(*router).or_default().push(*session);
            }
            !state_vectors.is_empty()
        });
        sessions
    }
}
