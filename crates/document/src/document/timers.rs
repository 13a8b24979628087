//! What is due: after each input, and at the next deadline.

use std::time::{Duration, Instant};

use ringleaf_wire::Event;

use super::Document;
use super::answers::{Weight, weight_of_bytes};
use crate::Effect;

/// How often the tail is looked at while there are sessions (R9).
const TAIL_INTERVAL: Duration = Duration::from_secs(5);
/// After a compaction that failed, the next one waits.
pub(super) const COMPACT_AGAIN: Duration = Duration::from_secs(60);
/// Fewer slots than this are not worth a snapshot when a document is forgotten.
const WORTHWHILE_SLOTS: usize = 16;
/// Nor are fewer bytes.
const WORTHWHILE_BYTES: usize = 16 << 10;

/// A document's tail may have a slot for so many bytes of its state …
const STATE_BYTES_PER_TAIL_SLOT: usize = 1 << 10;
/// … and a byte for so many.
const STATE_BYTES_PER_TAIL_BYTE: usize = 4;

pub(super) struct Timers {
    tail_at: Option<Instant>,
    /// When the last session left, or the document was opened.
    idle_since: Instant,
    /// A snapshot was asked for since then.
    idle_compacted: bool,
    /// The last admitted update.
    changed_at: Instant,
    changed_version: u64,
    /// The next wake makes the structs compact. Said one wake ahead, so that the shell knows what that will cost.
    pub(super) compaction_due: bool,
    pub(super) compacting: bool,
    pub(super) compact_not_before: Option<Instant>,
    pub(super) save_again: bool,
    hold_until: Option<Instant>,
    /// The first session is to be asked again that has brought what is refused for good.
    pub(super) ask_again_at: Option<Instant>,
    /// When the document was last told something.
    pub(super) told_at: Instant,
}

/// What a turn may do beside what its input says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Nothing has happened but that a deadline has passed.
    pub(super) woken: bool,
    /// One answer that is not at hand.
    pub(super) computes: bool,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tail_at: None,
            idle_since: now,
            idle_compacted: false,
            changed_at: now,
            changed_version: 0,
            compaction_due: false,
            compacting: false,
            compact_not_before: None,
            save_again: false,
            hold_until: None,
            ask_again_at: None,
            told_at: now,
        }
    }
}

impl Document {
    /// When [`crate::Input::Wake`] is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let busy = self.log.busy();
        let held = self.timers.hold_until.filter(|_| !busy && self.has_work() && self.may_hold());
        let rest = self.shrinkable().then(|| self.timers.changed_at + self.limits.compaction_idle_timeout);
        let compaction = self.timers.compaction_due.then_some(self.timers.told_at);
        let remainders = self.remainders.due_at(self.limits.remainder_timeout);
        let ready = self.remainders.ready_at(self.timers.told_at);
        let answers = self.answers_due().then_some(self.timers.told_at);
        [
            self.awareness.due_at(&self.limits, busy),
            self.awareness.sweep_at(),
            self.awareness.missing_at(),
            self.timers.tail_at,
            self.idle_at(),
            held,
            rest,
            compaction,
            remainders,
            ready,
            answers,
            self.timers.ask_again_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next append does not begin before this moment; until then updates gather, unless somebody waits for an
    /// answer. For a shell whose fan-out needs time: what goes into a slot is taken when its append begins.
    pub fn hold_append_until(&mut self, at: Instant) {
        self.timers.hold_until = Some(at);
    }

    /// Updates wait for the next append.
    pub fn gathers(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Nobody waits for more than to see updates.
    fn may_hold(&self) -> bool {
        self.waiting.is_empty() && self.control.is_none() && !self.fence_owed
    }

    pub(super) fn has_work(&self) -> bool {
        !self.gathered.is_empty() || self.control.is_some() || self.fence_owed
    }

    /// Everything is durable, and nobody waits.
    fn settled(&self) -> bool {
        !self.has_work()
            && !self.log.busy()
            && self.recovering.is_none()
            && self.waiting.is_empty()
            && self.storing.is_empty()
    }

    /// It could be held in fewer bytes, and nobody needs the others.
    fn shrinkable(&self) -> bool {
        (!self.structs.is_compact() || !self.recent.is_empty()) && self.settled()
    }

    fn idle_at(&self) -> Option<Instant> {
        let idle = self.sessions.is_empty() && self.settled() && !self.timers.compacting;
        idle.then(|| self.timers.idle_since + self.limits.idle_timeout)
    }

    /// Does everything that is due. The tail of every [`Document::handle`].
    pub(super) fn settle(&mut self, now: Instant, turn: Turn) {
        if self.over {
            return;
        }
        self.timers.told_at = now;
        self.ask_those_due(now);
        self.admit_ready(now);
        self.write(now, turn.computes);
        if self.over {
            return;
        }
        self.publish_awareness(now);
        self.look_at_tail(now);
        self.expire_remainders(now);
        self.compact_if_long(now);
        self.compact_structs_if_due(now, turn.woken);
        self.rest(now);
    }

    fn write(&mut self, now: Instant, computes: bool) {
        if !self.may_answer() {
            return;
        }
        let held = self.timers.hold_until.is_some_and(|at| now < at);
        if self.has_work() && held && self.may_hold() {
            return;
        }
        self.answer(computes);
        // Slots and answers that must be computed take turns: the next wake is for an answer.
        if !self.over && self.has_work() && !self.answers_due() {
            self.begin();
            self.waiting.slot_first = false;
        }
    }

    fn publish_awareness(&mut self, now: Instant) {
        self.awareness.sweep(&self.limits, now);
        // Whatever is published takes the awareness along: both leave in one write.
        let joins = self
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Broadcast { event: Event::Publish { .. } }));
        let due = self.awareness.due_at(&self.limits, self.log.busy()).is_some_and(|at| at <= now);
        if (joins || due)
            && let Some(payload) = self.awareness.publish(now)
        {
            self.broadcast(Event::Awareness { only: None, payload });
        }
    }

    fn look_at_tail(&mut self, now: Instant) {
        if self.sessions.is_empty() && self.recovering.is_none() {
            self.timers.tail_at = None;
            return;
        }
        let at = *self.timers.tail_at.get_or_insert(now + TAIL_INTERVAL);
        if at <= now {
            self.timers.tail_at = Some(now + TAIL_INTERVAL);
            if std::mem::take(&mut self.timers.save_again) {
                self.save_again();
            } else if self.recovering.is_none() {
                self.read_tail(now);
            }
        }
    }

    pub(super) fn read_tail(&mut self, now: Instant) {
        self.timers.tail_at = Some(now + TAIL_INTERVAL);
        self.effects.push_back(Effect::ReadTail { after: self.log.last() });
    }

    /// A snapshot costs as much as the state is large, so a large document may have a longer tail: what snapshots
    /// cost per byte written stays the same however large it grows.
    fn compact_if_long(&mut self, now: Instant) {
        let state = self.structs.encoded_bytes();
        let slots_max = self.limits.tail_slots_max.max(state / STATE_BYTES_PER_TAIL_SLOT);
        let bytes_max = self.limits.tail_bytes_max.max(state / STATE_BYTES_PER_TAIL_BYTE);
        if self.recent.tail_slots() > slots_max || self.recent.tail_bytes() > bytes_max {
            self.compact(now);
        }
    }

    fn compact(&mut self, now: Instant) -> bool {
        let later = self.timers.compact_not_before.is_some_and(|at| now < at);
        if self.timers.compacting || later || self.recovering.is_some() {
            return false;
        }
        self.timers.compacting = true;
        self.recent.snapshot_asked_for();
        self.effects.push_back(Effect::Compact { through: self.log.last() });
        true
    }

    /// Makes the structs compact when much was added, or when nobody has written for a while: a small document at once, a
    /// larger one in a wake of its own.
    fn compact_structs_if_due(&mut self, now: Instant, woken: bool) {
        if self.timers.changed_version != self.version {
            self.timers.changed_version = self.version;
            self.timers.changed_at = now;
        }
        let unchanged = self.timers.changed_at + self.limits.compaction_idle_timeout <= now && self.settled();
        if unchanged {
            self.recent.shrink();
        }
        let due = self.structs.wants_compaction() || (unchanged && !self.structs.is_compact());
        let was_due = std::mem::replace(&mut self.timers.compaction_due, due);
        let light = weight_of_bytes(self.structs.encoded_bytes()) == Weight::Light;
        if due && (light || (woken && was_due)) {
            self.timers.compaction_due = false;
            self.structs.compact(self.gc);
            // Not what they say is different, but their bytes are.
            self.answers.clear();
        }
    }

    /// Lets go of what nobody needs any more.
    fn rest(&mut self, now: Instant) {
        if !self.sessions.is_empty() {
            self.timers.idle_since = now;
            self.timers.idle_compacted = false;
            return;
        }
        if self.idle_at().is_some_and(|at| at <= now) {
            self.timers.idle_since = now;
            let worthwhile =
                self.recent.tail_slots() >= WORTHWHILE_SLOTS || self.recent.tail_bytes() >= WORTHWHILE_BYTES;
            if worthwhile && !std::mem::replace(&mut self.timers.idle_compacted, true) && self.compact(now) {
                return;
            }
            self.effects.push_back(Effect::Forget);
        }
    }
}
