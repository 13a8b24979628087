//! From a message to what is admitted of it.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ringleaf_types::{Body, ClientId, Clock, CloseReason, MessageNumber, Rights};
use ringleaf_wire::{Event, Refusal};

use super::Document;
use crate::gate::Output;
use crate::session::{LeftWhy, Session, SessionKey, WAITS_MAX};
use crate::struct_store::Admission;
use crate::{Count, Effect};

/// Updates up to this size are copied when they are kept: a slice would keep the whole read buffer that it came in.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// From which unit of a client on there has to be something.
type Waits = BTreeMap<ClientId, Clock>;

/// What became of a message, beside what was admitted of it.
#[derive(Debug, Default)]
struct Verdict {
    /// Something lacks its ground.
    hole: bool,
    /// Something will never be admitted.
    refused: Option<LeftWhy>,
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
        let verdict = self.admit(key, answer, update, now);
        if verdict.refused.is_some() {
            self.refuse(key, number);
        }
        if !answer && (verdict.hole || verdict.refused.is_some()) {
            self.ask_about_the_rest(key, now);
        }
        if answer {
            self.answered(key, number, &verdict, now);
        } else if self.owes(key, number, update.len(), verdict.hole) {
            return;
        }
        self.acknowledge(key, number);
        // What is no update at all. Who brings something harmful beside healthy edits is asked, and told.
        if verdict.refused.is_some_and(LeftWhy::is_no_update) {
            self.refused(key, now);
        }
    }

    /// Takes in what can be, keeps what lacks its ground, and notes what is left behind.
    fn admit(&mut self, key: SessionKey, answer: bool, update: &Bytes, now: Instant) -> Verdict {
        if self.is_full_for(update) {
            self.leave_behind(key, answer, LeftWhy::Full, Waits::new(), now);
            return Verdict { hole: false, refused: Some(LeftWhy::Full) };
        }
        let admission = match self.structs.admit(update) {
            Ok(admission) => admission,
            Err(refusal) => {
                let why = LeftWhy::Refused(refusal);
                self.leave_behind(key, answer, why, Waits::new(), now);
                return Verdict { hole: false, refused: Some(why) };
            }
        };
        let mut verdict = Verdict::default();
        if let Some(refusal) = admission.barred {
            let why = LeftWhy::Refused(refusal);
            let waits = admission.remainder.as_ref().map(|remainder| some_of(&remainder.waits));
            self.leave_behind(key, answer, why, waits.unwrap_or_default(), now);
            verdict.refused = Some(why);
        }
        match &admission.news {
            Some(news) => self.gather(news),
            None if admission.remainder.is_none() => self.count(Count::NothingNew),
            None => {}
        }
        if let Some(remainder) = admission.remainder {
            let waits = some_of(&remainder.waits);
            let kept = self.keep(Some(key), remainder, now);
            let why = if kept { LeftWhy::Ground } else { LeftWhy::GroundNoRoom };
            self.leave_behind(key, answer, why, waits, now);
            verdict.hole = true;
        }
        self.ground_came(&admission.grown);
        verdict
    }

    /// Whether the document has reached its size, and the update would make it larger.
    fn is_full_for(&self, update: &Bytes) -> bool {
        let max = self.limits.document_bytes_max;
        self.structs.encoded_bytes() + update.len() > max && !self.structs.holds(update).unwrap_or(false)
    }

    pub(super) fn leave_behind(
        &mut self,
        key: SessionKey,
        answer: bool,
        why: LeftWhy,
        waits: Waits,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.leaves(why, waits, answer, now) {
            self.effects.push_back(Effect::LeftBehind { router: key.0, session: key.1, why });
        }
        self.someone_leaves = true;
    }

    /// The editor has said all that it has. What is still left behind is not acknowledged to it.
    fn answered(&mut self, key: SessionKey, number: MessageNumber, verdict: &Verdict, now: Instant) {
        let whole = !verdict.hole && verdict.refused.is_none();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let last = session.answered(whole, verdict.refused.is_some(), now);
        let again_at = session.again_at();
        let mut left = session.settle();
        if whole {
            left.clear();
        } else if verdict.hole {
            left.push(number);
        }
        self.tell_left(key, &left);
        if last {
            let full = verdict.refused == Some(LeftWhy::Full);
            self.close_session(key, if full { CloseReason::DocumentFull } else { CloseReason::NotTaken });
        } else {
            self.timers.ask_again_at = [self.timers.ask_again_at, again_at].into_iter().flatten().min();
        }
    }

    /// Asks those again that have brought what is refused for good, and have sent nothing since.
    pub(super) fn ask_those_due(&mut self, now: Instant) {
        if self.timers.ask_again_at.is_none_or(|at| now < at) {
            return;
        }
        let due = self.sessions.iter().filter(|(_, session)| session.again_at().is_some_and(|at| at <= now));
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.ask_about_the_rest(key, now);
        }
        self.timers.ask_again_at = self.sessions.values().filter_map(Session::again_at).min();
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
        self.tell_left(key, &left);
        false
    }

    fn tell_left(&mut self, (router, session): SessionKey, left: &[MessageNumber]) {
        for &number in left {
            self.count(Count::LeftBehind);
            self.deliver(router, Event::Refused { session, number });
        }
    }

    /// Nothing of it is taken in. Only an answer is looked at: its editor wants to know whether it held anything new.
    fn read_only_update(&mut self, key: SessionKey, number: MessageNumber, answer: bool, update: &Bytes) {
        let nothing_new = answer && self.structs.holds(update).unwrap_or(false);
        if !nothing_new {
            self.refuse(key, number);
        }
        self.acknowledge(key, number);
    }

    /// Asks for everything that the editor has and the document lacks, unless that was asked already.
    fn ask_about_the_rest(&mut self, key: SessionKey, now: Instant) {
        if self.sessions.get_mut(&key).is_some_and(|session| session.wants_question(now)) {
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
        let imported = if self.closing() {
            Err("the document is deleted".to_owned())
        } else if self.is_full_for(update) {
            Err(format!("the document would exceed document_bytes_max ({})", self.limits.document_bytes_max))
        } else {
            // On a copy, since an import is taken whole or not at all. The bytes of the base are shared.
            let mut structs = self.structs.clone();
            whole(structs.admit(update)).inspect(|_| self.structs = structs)
        };
        match imported {
            Ok(admission) => {
                if let Some(news) = &admission.news {
                    self.gather(news);
                }
                self.ground_came(&admission.grown);
                self.leave(Output::Imported { ticket });
            }
            Err(why) => self.effects.push_back(Effect::Imported { ticket, outcome: Err(why) }),
        }
    }

    /// Closed to everybody, or about to be.
    pub(super) fn closing(&self) -> bool {
        let in_flight = self.log.in_flight().is_some_and(|(_, record)| record.body == Body::Deletion);
        self.deleted || in_flight || matches!(self.control, Some(Body::Deletion))
    }

    /// What was admitted waits for the next slot.
    pub(super) fn gather(&mut self, news: &Bytes) {
        let news = if news.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(news) } else { news.clone() };
        self.admitted.updates = self.admitted.updates.saturating_add(1);
        let bytes = u32::try_from(news.len()).unwrap_or(u32::MAX);
        self.admitted.bytes = self.admitted.bytes.saturating_add(bytes);
        self.gathered_bytes += news.len();
        self.gathered.push(news);
        self.version += 1;
    }

    pub(super) fn count(&mut self, count: Count) {
        self.effects.push_back(Effect::Count(count));
    }
}

fn some_of(waits: &Waits) -> Waits {
    waits.iter().take(WAITS_MAX).map(|(client, clock)| (*client, *clock)).collect()
}

/// Says why an update was not taken whole.
fn whole(admission: Result<Admission, Refusal>) -> Result<Admission, String> {
    let admission = admission.map_err(|refusal| refusal.to_string())?;
    if let Some(refusal) = admission.barred {
        return Err(refusal.to_string());
    }
    match &admission.remainder {
        Some(remainder) => Err(format!(
            "the update lacks something that it builds on; {} structs or deletions lie behind the hole",
            remainder.pieces
        )),
        None => Ok(admission),
    }
}
