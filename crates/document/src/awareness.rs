//! Presence: who is here, and where their cursors are. Never stored.
//!
//! The rules are those of y-protocols, so that the server and every editor agree on which of two states wins. Beyond
//! them, an id belongs to the subject that introduced it, and to the session that last raised its clock: only that
//! session's end removes it. A removal has the clock that the state had; a higher one would beat the editor when it
//! returns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{ClientId, Clock, Limits, Presence, RouterId, Subject};

use ringleaf_wire::lib0::{write_var_bytes, write_var_uint};
use ringleaf_wire::scan::AwarenessEntry;

use crate::session::SessionKey;

/// A session whose presence was inherited attaches within this time, or has ended. Routers attach within milliseconds,
/// unless they have to look for a way.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Up to so many states are published once per tick; of more the tick is longer in proportion …
const STATES_PER_TICK: f64 = 200.0;
/// … up to so many times.
const TICK_LONGER_MAX: f64 = 2.5;

/// One CRDT client's presence.
struct Entry {
    clock: Clock,
    /// `None`: removed. The clock stays for a while, so that a late echo does not bring the state back.
    state: Option<Bytes>,
    subject: Subject,
    /// The session that last raised the clock, if it is still there.
    raised_by: Option<SessionKey>,
    renewed_at: Instant,
}

impl Entry {
    /// The session with whose end the state goes.
    fn owner(&self) -> Option<SessionKey> {
        self.raised_by.filter(|_| self.state.is_some())
    }
}

/// The presence of everybody in one document.
pub(crate) struct Awareness {
    entries: BTreeMap<ClientId, Entry>,
    /// The ids of each session: those whose clock it raised last, unless their state is removed.
    raised: BTreeSet<(SessionKey, ClientId)>,
    states: usize,
    state_bytes: usize,
    changed: BTreeSet<ClientId>,
    /// The first change that was not published yet.
    changed_at: Option<Instant>,
    published_at: Option<Instant>,
    /// When entries are looked through for those that were not renewed.
    sweep_at: Option<Instant>,
    /// All states, encoded.
    all: Option<Bytes>,
    /// Sessions whose presence was inherited and that have not attached yet, and until when they may.
    missing: BTreeSet<SessionKey>,
    missing_at: Option<Instant>,
}

impl Awareness {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            raised: BTreeSet::new(),
            states: 0,
            state_bytes: 0,
            changed: BTreeSet::new(),
            changed_at: None,
            published_at: None,
            sweep_at: None,
            all: None,
            missing: BTreeSet::new(),
            missing_at: None,
        }
    }

    /// A session speaks. Ids of another subject are ignored, and so is what is not newer than what is known.
    pub(crate) fn hear(
        &mut self,
        heard: &AwarenessEntry<'_>,
        from: SessionKey,
        subject: &Subject,
        limits: &Limits,
        now: Instant,
    ) {
        if heard.state.is_some_and(|state| state.len() > limits.awareness_state_bytes_max) {
            return;
        }
        let known = self.entries.get(&heard.client);
        if known.is_some_and(|entry| entry.subject != *subject) {
            return;
        }
        let clock = known.map_or(Clock::new(0), |entry| entry.clock);
        let held = known.filter(|entry| entry.state.is_some());
        let newer = clock < heard.clock;
        // An editor that leaves raises its clock. With the same clock others remove it, of whom they have not heard for
        // a while; they may be the ones who are cut off, so nobody speaks for a session that is still there.
        let gone = held.is_some_and(|entry| entry.raised_by.is_none_or(|by| by == from));
        let removes = clock == heard.clock && heard.state.is_none() && gone;
        if !newer && !removes {
            return;
        }
        if known.is_none() && self.entries.len() >= limits.awareness_clients_max {
            return;
        }
        let bytes = |state: Option<usize>| state.unwrap_or(0);
        let held = bytes(known.and_then(|entry| entry.state.as_ref()).map(Bytes::len));
        let spoken = bytes(heard.state.map(str::len));
        if spoken > held && self.state_bytes - held + spoken > limits.awareness_bytes_max {
            return;
        }
        let raised_by = if newer { Some(from) } else { known.and_then(|entry| entry.raised_by) };
        let entry = Entry {
            clock: heard.clock,
            state: heard.state.map(|state| Bytes::copy_from_slice(state.as_bytes())),
            subject: subject.clone(),
            raised_by,
            renewed_at: now,
        };
        self.put(heard.client, entry, limits, now);
    }

    fn put(&mut self, client: ClientId, entry: Entry, limits: &Limits, now: Instant) {
        let bytes = |entry: &Entry| entry.state.as_ref().map(Bytes::len);
        if let Some(bytes) = bytes(&entry) {
            self.states += 1;
            self.state_bytes += bytes;
        }
        let owner = entry.owner();
        let old = self.entries.insert(client, entry);
        let owner_before = old.as_ref().and_then(Entry::owner);
        if owner != owner_before {
            owner_before.map(|session| self.raised.remove(&(session, client)));
            owner.map(|session| self.raised.insert((session, client)));
        }
        if let Some(bytes) = old.as_ref().and_then(bytes) {
            self.states -= 1;
            self.state_bytes -= bytes;
        }
        self.all = None;
        self.changed.insert(client);
        self.changed_at.get_or_insert(now);
        self.sweep_at.get_or_insert(now + limits.awareness_timeout / 8);
    }

    /// A session has ended: what it raised last is removed. Looks at nobody else's entries, since thousands may end at
    /// once.
    pub(crate) fn ended(&mut self, session: SessionKey, limits: &Limits, now: Instant) {
        while let Some(client) = self.first_raised_by(session) {
            self.remove(client, limits, now);
        }
    }

    fn first_raised_by(&self, session: SessionKey) -> Option<ClientId> {
        let of_session = (session, ClientId::new(0))..;
        self.raised.range(of_session).next().filter(|(by, _)| *by == session).map(|(_, client)| *client)
    }

    fn remove(&mut self, client: ClientId, limits: &Limits, now: Instant) {
        if let Some(entry) = self.entries.get(&client) {
            let removed = Entry {
                clock: entry.clock,
                state: None,
                subject: entry.subject.clone(),
                raised_by: None,
                renewed_at: now,
            };
            self.put(client, removed, limits, now);
        }
    }

    /// Takes over what the last owner knew. What was heard here since is newer, or the same.
    pub(crate) fn inherit(&mut self, presence: Vec<Presence>, limits: &Limits, now: Instant) {
        for Presence { client, clock, state, subject, raised_by, age } in presence {
            let known = self.entries.get(&client).is_some_and(|entry| entry.clock >= clock);
            let too_many = self.entries.len() >= limits.awareness_clients_max;
            if known || too_many || age >= limits.awareness_timeout {
                continue;
            }
            self.missing.extend(raised_by.filter(|_| state.is_some()));
            let renewed_at = now.checked_sub(age).unwrap_or(now);
            self.put(client, Entry { clock, state, subject, raised_by, renewed_at }, limits, now);
        }
        let timeout = if faults::active(Fault::AwarenessRemoved) { Duration::ZERO } else { ATTACH_TIMEOUT };
        self.missing_at = (!self.missing.is_empty()).then(|| now + timeout);
    }

    /// A session is here.
    pub(crate) fn attached(&mut self, session: SessionKey) {
        if self.missing.remove(&session) && self.missing.is_empty() {
            self.missing_at = None;
        }
    }

    /// When those who have not attached are taken for gone.
    pub(crate) fn missing_at(&self) -> Option<Instant> {
        self.missing_at
    }

    fn remove_missing(&mut self, limits: &Limits, now: Instant) {
        if self.missing_at.is_some_and(|at| at <= now) {
            self.missing_at = None;
            for session in std::mem::take(&mut self.missing) {
                self.ended(session, limits, now);
            }
        }
    }

    /// Everything, for the next owner.
    pub(crate) fn presence(&self, now: Instant) -> Vec<Presence> {
        let presence = self.entries.iter().map(|(client, entry)| Presence {
            client: *client,
            clock: entry.clock,
            state: entry.state.clone(),
            subject: entry.subject.clone(),
            raised_by: entry.raised_by,
            age: now.saturating_duration_since(entry.renewed_at),
        });
        presence.collect()
    }

    /// A router is gone, but its editors may not be: their ids live out their time.
    pub(crate) fn orphan(&mut self, router: RouterId) {
        for entry in self.entries.values_mut() {
            if entry.raised_by.is_some_and(|(by, _)| by == router) {
                entry.raised_by = None;
            }
        }
        self.raised.retain(|((by, _), _)| *by != router);
    }

    /// Removes what was not renewed in time, and forgets what was removed long ago.
    pub(crate) fn sweep(&mut self, limits: &Limits, now: Instant) {
        self.remove_missing(limits, now);
        if self.sweep_at.is_none_or(|at| now < at) {
            return;
        }
        let silent =
            |entry: &Entry| now.saturating_duration_since(entry.renewed_at) >= limits.awareness_timeout;
        let changed = &self.changed;
        self.entries.retain(|id, entry| entry.state.is_some() || !silent(entry) || changed.contains(id));
        let expired: Vec<ClientId> =
            self.entries.iter().filter(|(_, e)| e.state.is_some() && silent(e)).map(|(id, _)| *id).collect();
        for id in expired {
            self.remove(id, limits, now);
        }
        self.sweep_at = (!self.entries.is_empty()).then(|| now + limits.awareness_timeout / 8);
    }

    /// When the changes should be published. `busy`: a slot is being written, whose publication they may join.
    pub(crate) fn due_at(&self, limits: &Limits, busy: bool) -> Option<Instant> {
        let changed_at = self.changed_at?;
        let tick = self.tick(limits);
        let latest = changed_at + tick;
        if busy {
            return Some(latest);
        }
        // A moment, because an edit mostly comes together with its cursor; and not more often than once per tick.
        let moment = changed_at + tick / 8;
        let rested = self.published_at.map_or(moment, |at| at + tick);
        Some(moment.max(rested).min(latest))
    }

    /// In a crowd a tick is longer: what all of them say costs a write to each of them.
    fn tick(&self, limits: &Limits) -> Duration {
        let longer = (self.states as f64 / STATES_PER_TICK).clamp(1.0, TICK_LONGER_MAX);
        limits.awareness_tick.mul_f64(longer)
    }

    pub(crate) fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// The latest state of everything that has changed, as one payload.
    pub(crate) fn publish(&mut self, now: Instant) -> Option<Bytes> {
        self.changed_at.take()?;
        self.published_at = Some(now);
        let changed = std::mem::take(&mut self.changed);
        let entries: Vec<_> = changed.iter().filter_map(|id| Some((*id, self.entries.get(id)?))).collect();
        Some(encode(entries.len(), entries.into_iter()))
    }

    /// Everybody's state as one payload. `None`: nobody has one.
    pub(crate) fn all(&mut self) -> Option<Bytes> {
        if self.states == 0 {
            return None;
        }
        if self.all.is_none() {
            let states =
                self.entries.iter().filter(|(_, e)| e.state.is_some()).map(|(id, entry)| (*id, entry));
            self.all = Some(encode(self.states, states));
        }
        self.all.clone()
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        self.entries.len() * 160
            + self.raised.len() * 32
            + self.state_bytes
            + self.all.as_ref().map_or(0, Bytes::len)
    }
}

/// The payload that says nothing.
pub(crate) const EMPTY_PAYLOAD: &[u8] = &[0];

fn encode<'a>(count: usize, entries: impl Iterator<Item = (ClientId, &'a Entry)>) -> Bytes {
    let mut payload = Vec::with_capacity(16 + count * 64);
    write_var_uint(&mut payload, count as u64);
    for (id, entry) in entries {
        write_var_uint(&mut payload, id.get());
        write_var_uint(&mut payload, u64::from(entry.clock.get()));
        let state = entry.state.as_ref().map_or(&b"null"[..], |state| state);
        write_var_bytes(&mut payload, state);
    }
    payload.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringleaf_types::SessionId;
    use ringleaf_wire::scan::{self, ScanLimits};

    use super::*;

    const A: SessionKey = (RouterId::new(1), SessionId::new(1));
    const B: SessionKey = (RouterId::new(2), SessionId::new(1));

    struct World {
        awareness: Awareness,
        limits: Limits,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
            let now = Instant::now();
            Self { awareness: Awareness::new(), limits: Limits::default(), now }
        }

        fn hear(&mut self, from: SessionKey, client: u64, clock: u32, state: Option<&str>) {
            let entry = AwarenessEntry { client: ClientId::new(client), clock: Clock::new(clock), state };
            self.awareness.hear(&entry, from, &Subject::anyone(), &self.limits, self.now);
        }

        fn passes(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
            self.awareness.sweep(&self.limits, self.now);
        }

        /// What is published now: client, clock and state.
        fn published(&mut self) -> Vec<(u64, u32, Option<String>)> {
            let Some(payload) = self.awareness.publish(self.now) else { return Vec::new() };
            entries(&payload)
        }

        fn all(&mut self) -> Vec<(u64, u32, Option<String>)> {
            self.awareness.all().map(|payload| entries(&payload)).unwrap_or_default()
        }
    }

    fn entries(payload: &[u8]) -> Vec<(u64, u32, Option<String>)> {
        let entries = scan::awareness(payload, &ScanLimits::default()).unwrap();
        entries.map(|e| (e.client.get(), e.clock.get(), e.state.map(str::to_owned))).collect()
    }

    fn here(client: u64, clock: u32) -> (u64, u32, Option<String>) {
        (client, clock, Some("{}".to_owned()))
    }

    #[test]
    fn a_higher_clock_wins_and_the_same_clock_changes_nothing() {
        let mut world = World::new();
        world.hear(A, 7, 3, Some("{}"));
        assert_eq!(world.published(), [here(7, 3)]);
        // The echoes that old clients send of everything that they hear.
        world.hear(B, 7, 3, Some("{}"));
        world.hear(B, 7, 2, Some("{}"));
        assert!(world.published().is_empty());
        world.hear(A, 7, 4, Some("{}"));
        assert_eq!(world.published(), [here(7, 4)]);
    }

    /// Client ids cost nothing, so a bound for each state alone is none for all together.
    #[test]
    fn all_states_together_are_bounded_and_may_still_change() {
        let mut world = World::new();
        world.limits.awareness_bytes_max = 10;
        world.hear(A, 1, 1, Some("{\"a\":12}"));
        world.hear(A, 2, 1, Some("{}"));
        world.hear(A, 3, 1, Some("{}"));
        assert_eq!(world.published().len(), 2, "the third finds no room");
        world.hear(A, 1, 2, Some("{\"a\":34}"));
        world.hear(A, 2, 2, Some("{\"b\":1}"));
        assert_eq!(world.published(), [(1, 2, Some("{\"a\":34}".to_owned()))], "one may not grow");
        world.hear(A, 1, 3, None);
        world.hear(A, 3, 2, Some("{}"));
        assert_eq!(world.published(), [(1, 3, None), here(3, 2)]);
    }

    #[test]
    fn only_the_latest_of_each_client_is_published() {
        let mut world = World::new();
        for clock in 1..=50 {
            world.hear(A, 7, clock, Some("{}"));
            world.hear(B, 5, clock, Some("{}"));
        }
        assert_eq!(world.published(), [here(5, 50), here(7, 50)]);
        assert!(world.published().is_empty());
    }

    #[test]
    fn who_raised_the_clock_last_takes_the_id_along() {
        let mut world = World::new();
        world.hear(A, 7, 1, Some("{}"));
        world.hear(B, 7, 2, Some("{}"));
        world.published();
        world.awareness.ended(A, &world.limits, world.now);
        assert!(world.published().is_empty());
        world.awareness.ended(B, &world.limits, world.now);
        assert_eq!(world.published(), [(7, 2, None)], "with the same clock");
        assert!(world.all().is_empty());
    }

    /// Whatever was said, the index names exactly the states that a look at every entry would find.
    #[test]
    fn a_session_takes_along_what_a_look_at_every_entry_would_find() {
        let sessions: Vec<SessionKey> =
            (0..6).map(|at| (RouterId::new(at % 2 + 1), SessionId::new(at / 2))).collect();
        let mut world = World::new();
        let mut random = 0x9e37_79b9_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        for _ in 0..5_000 {
            let session = sessions[below(6) as usize];
            match below(100) {
                0 => world.awareness.orphan(session.0),
                1 => world.passes(below(40)),
                2..=9 => world.awareness.ended(session, &world.limits, world.now),
                said => world.hear(session, below(12), below(60) as u32, (said > 30).then_some("{}")),
            }
            if below(4) == 0 {
                world.published();
            }
            let entries = world.awareness.entries.iter();
            let found: BTreeSet<_> = entries.filter_map(|(id, entry)| Some((entry.owner()?, *id))).collect();
            assert_eq!(world.awareness.raised, found);
        }
    }

    #[test]
    fn a_late_echo_does_not_bring_back_who_has_left() {
        let mut world = World::new();
        world.hear(A, 7, 1, Some("{}"));
        world.awareness.ended(A, &world.limits, world.now);
        world.published();
        world.passes(20);
        world.hear(B, 7, 1, Some("{}"));
        assert!(world.published().is_empty());
        world.hear(B, 7, 2, Some("{}"));
        assert_eq!(world.published(), [here(7, 2)]);
    }

    #[test]
    fn nobody_removes_who_is_still_there_with_the_clock_that_is_known() {
        let mut world = World::new();
        world.hear(A, 7, 1, Some("{}"));
        world.hear(B, 7, 1, None);
        assert_eq!(world.all(), [here(7, 1)]);
        world.hear(A, 7, 1, None);
        assert!(world.all().is_empty());
        world.hear(A, 8, 1, Some("{}"));
        world.awareness.orphan(A.0);
        world.hear(B, 8, 1, None);
        assert!(world.all().is_empty(), "whose session is gone can be removed by all");
    }

    #[test]
    fn silence_ends_after_its_time_and_renewal_prolongs_it() {
        let mut world = World::new();
        world.hear(A, 7, 1, Some("{}"));
        world.hear(A, 8, 1, Some("{}"));
        world.published();
        for clock in 2..6 {
            world.passes(15);
            world.hear(A, 8, clock, Some("{}"));
        }
        assert_eq!(world.published(), [(7, 1, None), here(8, 5)]);
    }

    #[test]
    fn what_was_removed_is_forgotten_in_the_end() {
        let mut world = World::new();
        world.hear(A, 7, 1, Some("{}"));
        world.awareness.ended(A, &world.limits, world.now);
        world.passes(31);
        assert_eq!(world.published(), [(7, 1, None)], "not before it was told");
        world.passes(31);
        assert_eq!(world.awareness.resident_bytes(), 0);
        assert_eq!(world.awareness.sweep_at(), None);
    }

    #[test]
    fn a_crowd_is_published_less_often_but_often_enough() {
        let mut world = World::new();
        let tick = world.limits.awareness_tick;
        let ticks = [(200, 1.0), (300, 1.5), (500, 2.5), (2_000, 2.5)];
        let mut there = 0;
        for (states, longer) in ticks {
            for client in there..states {
                world.hear(A, client, 1, Some("{}"));
            }
            there = states;
            let longest = tick.mul_f64(longer);
            assert_eq!(
                world.awareness.due_at(&world.limits, true),
                Some(world.now + longest),
                "{states} states"
            );
        }
    }

    #[test]
    fn publication_waits_a_moment_and_never_longer_than_a_tick() {
        let mut world = World::new();
        let tick = world.limits.awareness_tick;
        world.hear(A, 7, 1, Some("{}"));
        let first = world.now;
        assert_eq!(world.awareness.due_at(&world.limits, false), Some(first + tick / 8));
        assert_eq!(world.awareness.due_at(&world.limits, true), Some(first + tick));
        world.published();
        assert_eq!(world.awareness.due_at(&world.limits, false), None);
        world.now += tick / 4;
        world.hear(A, 7, 2, Some("{}"));
        assert_eq!(world.awareness.due_at(&world.limits, false), Some(first + tick));
    }
}
