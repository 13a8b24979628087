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

/// Trying a remainder again costs as much as admitting it, and a few bytes of ground are enough to have one tried that is as
/// large as all may be together. So many bytes are tried in a second …
const TRIED_BYTES_PER_SECOND: usize = 1 << 20;
/// … and so long a pause is made up for: usually everything is tried at once.
const TRIED_BURST: Duration = Duration::from_secs(8);
/// However small it is, it counts for so much.
const TRIED_BYTES_MIN: usize = 4 << 10;

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
    /// Those of which some ground has come since they were tried.
    ready: BTreeSet<u64>,
    /// What was tried is paid for until then.
    tried_until: Option<Instant>,
    /// How much each session has here: structs and deleted ranges, and bytes.
    by_session: BTreeMap<SessionKey, (u64, usize)>,
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
        self.bytes + self.waiting.len() * 200 + self.by_unit.len() * 80
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
        if let Some(from) = from {
            let of = self.by_session.entry(from).or_default();
            *of = (of.0 + pieces, of.1 + update.len());
        }
        self.waiting.insert(id, Waiting { update, since, from, waits, pieces, stored });
    }

    /// A client has grown so far: what waited for that can be tried again.
    pub(crate) fn ground_came(&mut self, client: ClientId, end: Clock) {
        let first = (client, Clock::new(0), 0);
        while let Some(&woken) = self.by_unit.range(first..(client, end, 0)).next() {
            self.by_unit.remove(&woken);
            self.ready.insert(woken.2);
        }
    }

    /// The next one to be tried, if it is time.
    pub(crate) fn next_ready(&mut self, now: Instant) -> Option<Taken> {
        if self.tried_until.is_some_and(|until| until > now) {
            return None;
        }
        let taken = self.take(*self.ready.first()?)?;
        let bytes = taken.update.len().max(TRIED_BYTES_MIN);
        let micros = bytes as u64 * 1_000_000 / TRIED_BYTES_PER_SECOND as u64;
        let begins = now.checked_sub(TRIED_BURST).unwrap_or(now);
        let begins = self.tried_until.map_or(begins, |until| until.max(begins));
        self.tried_until = Some(begins + Duration::from_micros(micros));
        Some(taken)
    }

    /// When the next one can be tried.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        (!self.ready.is_empty()).then(|| self.tried_until.unwrap_or(now))
    }

    /// Takes one out, to try it again.
    pub(crate) fn take(&mut self, id: u64) -> Option<Taken> {
        let waiting = self.waiting.remove(&id)?;
        self.bytes -= waiting.update.len();
        self.by_age.remove(&(waiting.since, id));
        self.ready.remove(&id);
        for (client, clock) in &waiting.waits {
            self.by_unit.remove(&(*client, *clock, id));
        }
        let Waiting { update, since, from, pieces, stored, .. } = waiting;
        if let Some(of) = from.and_then(|from| self.by_session.get_mut(&from)) {
            *of = (of.0 - pieces, of.1 - update.len());
        }
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
        self.by_session.get(&session).copied().unwrap_or_default()
    }

    /// The session has ended; what it left behind stays.
    pub(crate) fn orphan(&mut self, gone: impl Fn(SessionKey) -> bool) {
        let before = self.by_session.len();
        self.by_session.retain(|session, _| !gone(*session));
        if self.by_session.len() == before {
            return;
        }
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
