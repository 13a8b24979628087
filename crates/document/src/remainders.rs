//! What lacks its ground, and waits for it.
//!
//! ```text
//! message with a hole ──▶ kept ──┬─ its ground comes, from whomever ──▶ admitted like any update, then forgotten
//!                                └─ too old ─────────────────────────▶ forgotten, and said so
//! ```
//!
//! In memory and in the store alike, as bytes; neither acknowledged nor published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};

use crate::session::SessionKey;
use crate::struct_store::Remainder;

/// No document keeps more than this many, however small.
const COUNT_MAX: usize = 10_000;

/// A remainder that the store has kept, with when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name among those of its document.
    pub id: u64,
    /// An update.
    pub update: Bytes,
    /// When it came.
    pub since: Instant,
}

/// One remainder.
#[derive(Debug)]
struct Waiting {
    update: Bytes,
    since: Instant,
    /// Who has sent it, if that session is still there.
    from: Option<SessionKey>,
    waits: BTreeMap<ClientId, Clock>,
    pieces: u64,
    stored: Stored,
}

/// Whether the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    OnItsWay,
    Yes,
}

/// What became of a remainder that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adding {
    /// It is kept under this name, and has to be stored.
    New(u64),
    /// The same bytes are kept already, under this name.
    Known(u64),
    /// There is no room.
    NoRoom,
}

/// All remainders of a document.
#[derive(Debug, Default)]
pub(crate) struct Remainders {
    waiting: BTreeMap<u64, Waiting>,
    /// Each with every unit that it waits for, the earliest of each client.
    by_unit: BTreeSet<(ClientId, Clock, u64)>,
    by_age: BTreeSet<(Instant, u64)>,
    bytes: usize,
    /// Admitted before the store said that it has them: to be removed from it when it does.
    dropped_early: BTreeSet<u64>,
}

impl Remainders {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether one of this name is kept.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes + self.waiting.len() * 200 + self.by_unit.len() * 40
    }

    /// Keeps one that came just now. `id`: its name, if it is new.
    pub(crate) fn add(
        &mut self,
        id: impl FnOnce() -> u64,
        remainder: Remainder,
        from: Option<SessionKey>,
        bytes_max: usize,
        now: Instant,
    ) -> Adding {
        if let Some((id, _)) = self.waiting.iter().find(|(_, waiting)| waiting.update == remainder.update) {
            return Adding::Known(*id);
        }
        if self.waiting.len() >= COUNT_MAX || self.bytes + remainder.update.len() > bytes_max {
            return Adding::NoRoom;
        }
        let id = id();
        self.insert(id, remainder, from, now, Stored::OnItsWay);
        Adding::New(id)
    }

    /// Takes up what the store has kept.
    pub(crate) fn restore(&mut self, id: u64, remainder: Remainder, since: Instant) {
        self.insert(id, remainder, None, since, Stored::Yes);
    }

    fn insert(
        &mut self,
        id: u64,
        remainder: Remainder,
        from: Option<SessionKey>,
        since: Instant,
        stored: Stored,
    ) {
        let Remainder { update, waits, pieces } = remainder;
        self.bytes += update.len();
        self.by_age.insert((since, id));
        self.by_unit.extend(waits.iter().map(|(client, clock)| (*client, *clock, id)));
        self.waiting.insert(id, Waiting { update, since, from, waits, pieces, stored });
    }

    /// One that waits for a unit that its client has now.
    pub(crate) fn woken(&self, client: ClientId, end: Clock) -> Option<u64> {
        let (of, clock, id) = self.by_unit.range((client, Clock::new(0), 0)..).next()?;
        (*of == client && *clock < end).then_some(*id)
    }

    /// Takes one out, to try it again.
    pub(crate) fn take(&mut self, id: u64) -> Option<Taken> {
        let waiting = self.waiting.remove(&id)?;
        self.bytes -= waiting.update.len();
        self.by_age.remove(&(waiting.since, id));
        for (client, clock) in &waiting.waits {
            self.by_unit.remove(&(*client, *clock, id));
        }
        let Waiting { update, since, from, stored, .. } = waiting;
        Some(Taken { id, update, since, from, stored })
    }

    /// What is left of one that was tried: it keeps its name and its age.
    pub(crate) fn put_back(&mut self, taken: &Taken, rest: Remainder) {
        self.insert(taken.id, rest, taken.from, taken.since, taken.stored);
    }

    /// Nothing is left of it. Answers whether it can be removed from the store now.
    pub(crate) fn done(&mut self, taken: &Taken) -> bool {
        let stored = taken.stored == Stored::Yes;
        if !stored {
            self.dropped_early.insert(taken.id);
        }
        stored
    }

    /// The store has it. `Some`: it is no longer wanted, and to be removed.
    pub(crate) fn stored(&mut self, id: u64) -> Option<u64> {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.stored = Stored::Yes;
        }
        self.dropped_early.take(&id)
    }

    /// When the oldest has become too old.
    pub(crate) fn due_at(&self, timeout: Duration) -> Option<Instant> {
        self.by_age.first().map(|(since, _)| *since + timeout)
    }

    /// Takes out those that have become too old.
    pub(crate) fn expire(&mut self, timeout: Duration, now: Instant) -> Vec<Taken> {
        let old = self.by_age.iter().take_while(|(since, _)| *since + timeout <= now);
        let old: Vec<u64> = old.map(|(_, id)| *id).collect();
        old.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// How much of a session's waits: structs and deleted ranges, and bytes.
    pub(crate) fn of(&self, session: SessionKey) -> (u64, usize) {
        let of = self.waiting.values().filter(|waiting| waiting.from == Some(session));
        of.fold((0, 0), |(pieces, bytes), waiting| (pieces + waiting.pieces, bytes + waiting.update.len()))
    }

    /// The session has ended; what it left behind stays.
    pub(crate) fn orphan(&mut self, gone: impl Fn(SessionKey) -> bool) {
        for waiting in self.waiting.values_mut() {
            waiting.from = waiting.from.filter(|from| !gone(*from));
        }
    }
}

/// A remainder that is being tried again.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) update: Bytes,
    since: Instant,
    pub(crate) from: Option<SessionKey>,
    stored: Stored,
}
