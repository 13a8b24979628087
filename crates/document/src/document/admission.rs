//! From a message to an admitted update: scan, gap gate, replica, what was seen.

use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::{Body, CloseReason, MessageNumber, Rights};
use ringleaf_wire::Event;

use super::{Document, Gathered, Source};
use crate::gate::Output;
use crate::replica::{Broken, Replica};
use crate::seen::{Seen, Verdict};
use crate::session::{Asked, SessionKey};
use crate::{Count, Effect};

/// Updates up to this size are copied when they are kept: a slice would keep the whole read buffer that it came in.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// What became of an update.
enum Admission {
    NothingNew,
    Admitted,
    /// Part of it: the rest lies behind a hole.
    Partly,
    Refused,
    /// The document would become too large.
    NoRoom,
    /// It broke the replica.
    Broke(Broken),
    /// The document cannot take it now, and says nothing.
    Over,
}

impl Document {
    pub(super) fn update(
        &mut self,
        key: SessionKey,
        number: MessageNumber,
        answer: bool,
        update: &Bytes,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get(&key).filter(|session| !session.ended) else { return };
        if self.closing() {
            return;
        }
        if session.rights == Rights::ReadOnly {
            self.read_only_update(key, number, answer, update);
            return;
        }
        let admission = self.admit(Source::Session(key), update);
        let hole = matches!(admission, Admission::Partly);
        match admission {
            Admission::Over => return,
            Admission::NothingNew => self.count(Count::NothingNew),
            Admission::Admitted => {}
            Admission::Partly => self.ask_once(key, answer),
            Admission::Refused => {
                self.refuse(key, number);
                self.ask_once(key, answer);
                self.refused(key, now);
            }
            // Its editor does nothing wrong: it is not asked again, and not sent away.
            Admission::NoRoom => self.refuse(key, number),
            Admission::Broke(broken) => {
                self.refuse(key, number);
                if matches!(broken, Broken::Undecodable { .. }) {
                    self.refused(key, now);
                } else {
                    self.close_session(key, CloseReason::Misbehaved);
                }
            }
        }
        if answer {
            self.answered(key, number, hole);
        } else if self.owes(key, number, update.len(), hole) {
            return;
        }
        self.acknowledge(key, number);
    }

    /// The editor has said all that it has. What still lies behind a hole stays with it, and it is told so.
    fn answered(&mut self, key: SessionKey, number: MessageNumber, hole: bool) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.answered(hole);
        let mut left = session.settle();
        if hole {
            left.push(number);
            self.leave_with_editor(key, &left);
        }
    }

    /// Whether the acknowledgement of a message has to wait for an answer.
    fn owes(&mut self, key: SessionKey, number: MessageNumber, bytes: usize, hole: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        if session.owes(number, bytes, hole) {
            return true;
        }
        let mut left = session.settle();
        if hole && left.last() != Some(&number) {
            left.push(number);
        }
        self.leave_with_editor(key, &left);
        false
    }

    fn leave_with_editor(&mut self, (router, session): SessionKey, left: &[MessageNumber]) {
        for &number in left {
            self.count(Count::LeftWithEditor);
            self.deliver(router, Event::Refused { session, number });
        }
    }

    /// Nothing of it is taken in. Only an answer is looked at: its editor wants to know whether it held anything new.
    fn read_only_update(&mut self, key: SessionKey, number: MessageNumber, answer: bool, update: &Bytes) {
        let nothing_new = answer && matches!(self.seen.judge(update), Ok(Verdict::NothingNew));
        if !nothing_new {
            self.refuse(key, number);
        }
        self.acknowledge(key, number);
    }

    /// Asks for what lies behind a hole, once.
    fn ask_once(&mut self, key: SessionKey, answer: bool) {
        if let Some(session) = self.sessions.get_mut(&key)
            && session.asked == Asked::No
            && !answer
        {
            session.asked = Asked::Waiting;
            self.count(Count::AskedForRest);
            self.ask(key);
        }
    }

    fn refuse(&mut self, (router, session): SessionKey, number: MessageNumber) {
        self.count(Count::Refused);
        self.deliver(router, Event::Refused { session, number });
    }

    /// Counts against the session, and ends it when there were too many.
    pub(super) fn refused(&mut self, key: SessionKey, now: Instant) {
        let max = self.limits.refusals_per_minute_max;
        if self.sessions.get_mut(&key).is_some_and(|session| session.refused(now, max)) {
            self.close_session(key, CloseReason::Misbehaved);
        }
    }

    pub(super) fn import(&mut self, ticket: u64, update: &Bytes, _now: Instant) {
        let refusal = if self.closing() {
            "the document is deleted".to_owned()
        } else {
            match self.seen.judge(update) {
                Err(refusal) => refusal.to_string(),
                Ok(Verdict::Partial { left, .. }) if left > 0 => {
                    format!(
                        "the update lacks something that it builds on; {left} structs lie behind the hole"
                    )
                }
                Ok(_) => match self.admit(Source::Import { ticket }, update) {
                    Admission::NothingNew | Admission::Admitted => {
                        self.leave(Output::Imported { ticket });
                        return;
                    }
                    Admission::Partly | Admission::Refused | Admission::NoRoom => {
                        "the document has no room for it".to_owned()
                    }
                    Admission::Broke(broken) => broken.to_string(),
                    Admission::Over => "the document is closed".to_owned(),
                },
            }
        };
        self.effects.push_back(Effect::Imported { ticket, outcome: Err(refusal) });
    }

    /// Closed to everybody, or about to be.
    pub(super) fn closing(&self) -> bool {
        let in_flight = self.log.in_flight().is_some_and(|(_, record)| record.body == Body::Deletion);
        self.deleted || in_flight || matches!(self.control, Some(Body::Deletion))
    }

    fn admit(&mut self, from: Source, update: &Bytes) -> Admission {
        let verdict = match self.seen.judge(update) {
            Ok(verdict) => verdict,
            Err(_) => return Admission::Refused,
        };
        let (parts, left): (&[Bytes], u64) = match &verdict {
            Verdict::NothingNew => return Admission::NothingNew,
            Verdict::Complete => (std::slice::from_ref(update), 0),
            Verdict::Partial { complete, left } => (complete, *left),
        };
        let size: usize = parts.iter().map(Bytes::len).sum();
        if self.stored.state_bytes() + self.gathered_bytes + size > self.limits.document_bytes_max {
            return Admission::NoRoom;
        }
        for part in parts {
            match self.apply(part) {
                Ok(true) => self.gather(from, part),
                Ok(false) => return Admission::Over,
                Err(broken) => return Admission::Broke(broken),
            }
        }
        if !parts.is_empty() {
            self.admitted.updates = self.admitted.updates.saturating_add(1);
            let bytes = u32::try_from(size).unwrap_or(u32::MAX);
            self.admitted.bytes = self.admitted.bytes.saturating_add(bytes);
        }
        if left > 0 { Admission::Partly } else { Admission::Admitted }
    }

    /// Applies an update that is not admitted yet. `false`: the document is over.
    ///
    /// When it breaks the replica, that is thrown away; the next one is made of the durable bytes and of what waits.
    fn apply(&mut self, update: &Bytes) -> Result<bool, Broken> {
        if !self.ensure_replica() {
            return Ok(false);
        }
        let Some(replica) = &mut self.replica else { return Ok(false) };
        let Err(broken) = replica.apply(update) else { return Ok(true) };
        self.replica = None;
        self.count(Count::Panicked);
        if broken == Broken::Pending {
            // yrs sometimes keeps a block although everything that it builds on is there; a fresh replica does not.
            let fresh = Replica::build(self.admitted().chain(std::iter::once(update)))?;
            self.replica = Some(fresh);
            return Ok(true);
        }
        Err(broken)
    }

    fn gather(&mut self, from: Source, update: &Bytes) {
        self.seen.take_in(update).expect("what was judged complete passes the scan");
        let update =
            if update.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(update) } else { update.clone() };
        self.gathered_bytes += update.len();
        self.gathered.push(Gathered { from, update });
        self.version += 1;
    }

    /// Everything admitted, durable or not.
    fn admitted(&self) -> impl Iterator<Item = &Bytes> + Clone {
        let in_flight = match self.log.in_flight().map(|(_, record)| &record.body) {
            Some(Body::Updates(updates)) => updates.as_slice(),
            Some(Body::Deletion | Body::Undeletion) | None => &[],
        };
        self.stored.updates().chain(in_flight).chain(self.gathered.iter().map(|gathered| &gathered.update))
    }

    /// Makes sure that there is a replica. `false`: there cannot be one, and the document is over.
    pub(super) fn ensure_replica(&mut self) -> bool {
        if self.replica.is_some() {
            return true;
        }
        match Replica::build(self.admitted()) {
            Ok(replica) => self.replica = Some(replica),
            Err(broken) => self.broke_down(&broken),
        }
        !self.over
    }

    /// The replica broke, and no sender is known. Once: it is made again, and whoever waits is tried one by one.
    /// Twice: a person has to look.
    pub(super) fn broke_down(&mut self, broken: &Broken) {
        self.replica = None;
        self.answers.clear();
        self.count(Count::Panicked);
        self.breakdowns += 1;
        if self.breakdowns > 1 {
            self.quarantine(broken);
            return;
        }
        loop {
            match self.rebuild() {
                Ok(replica) => {
                    self.replica = Some(replica);
                    return;
                }
                Err((Some(from), broken)) => self.take_back(from, &broken),
                Err((None, broken)) => {
                    self.quarantine(&broken);
                    return;
                }
            }
        }
    }

    /// Builds a replica step by step, and says who breaks it. What is durable or on its way cannot be taken back.
    fn rebuild(&self) -> Result<Replica, (Option<Source>, Broken)> {
        let firm = self.admitted().take(self.admitted().count() - self.gathered.len());
        let mut replica = Replica::build(firm).map_err(|broken| (None, broken))?;
        replica.full().map_err(|broken| (None, broken))?;
        for gathered in &self.gathered {
            replica
                .apply(&gathered.update)
                .and_then(|()| replica.full())
                .map_err(|broken| (Some(gathered.from), broken))?;
        }
        Ok(replica)
    }

    /// Takes back what somebody sent and what is not on its way to the store yet. Nobody else can have built on it: it has
    /// not left.
    fn take_back(&mut self, from: Source, broken: &Broken) {
        self.gathered.retain(|gathered| gathered.from != from);
        self.gathered_bytes = self.gathered.iter().map(|gathered| gathered.update.len()).sum();
        self.see_again();
        match from {
            Source::Session(key) => {
                self.gate.forget(key);
                self.waiting.forget(key);
                self.close_session(key, CloseReason::Misbehaved);
            }
            Source::Import { ticket } => {
                self.gate.forget_import(ticket);
                self.effects.push_back(Effect::Imported { ticket, outcome: Err(broken.to_string()) });
            }
        }
    }

    /// Nothing that has gathered will be stored.
    pub(super) fn give_up_gathered(&mut self) {
        self.replica = None;
        self.answers.clear();
        if !self.gathered.is_empty() {
            self.gathered.clear();
            self.gathered_bytes = 0;
            self.see_again();
        }
    }

    /// What was seen, made again: what was taken back must not be taken for something that is stored.
    fn see_again(&mut self) {
        let mut seen = Seen::new();
        for update in self.admitted() {
            seen.take_in(update).expect("what was admitted passes the scan");
        }
        self.seen = seen;
        self.version += 1;
    }

    fn quarantine(&mut self, broken: &Broken) {
        self.over = true;
        self.gate.clear();
        self.effects.push_back(Effect::Quarantine { reason: broken.to_string() });
    }

    pub(super) fn count(&mut self, count: Count) {
        self.effects.push_back(Effect::Count(count));
    }
}
