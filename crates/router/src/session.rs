//! One editor's attachment to one document, as a state machine that never waits.
//!
//! ```text
//! towards the owner    Detached ──attach──▶ Attaching ──attached──▶ Attached ──detach──▶ Left
//!                          ▲────────────────lost──────────────────────┴─────────────────┘
//! towards the editor   Following ──gap, dropped──▶ Behind ──asks──▶ Asking ──caught up──▶ Following
//! ```
//!
//! What a session remembers is what it takes to move it to another owner unseen: its rights, the last slot that its
//! editor has, its messages that are not yet acknowledged, its questions that are not yet answered, and its last
//! awareness. Invariant: between the last slot that is on its way to the editor and the newest published one there is
//! no gap, or the session is behind and will ask for what it lacks (I5).
//!
//! It is public for the simulation in `tests`, which drives it beside the core of documents.

use std::collections::VecDeque;

use bytes::Bytes;
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{Limits, MessageNumber, Rights, SessionId, Slot, Subject};
use ringleaf_wire::{ClientMessage, Request, lib0};

/// Limit: state vectors of one session that wait for their answer. An answer can be as large as the document, and a
/// stock client asks once per connection; above it the socket is not read.
const QUESTIONS_MAX: usize = 4;

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Session {
    id: SessionId,
    rights: Rights,
    subject: Subject,
    owner: Owner,
    /// The editor is gone. What it sent is still brought to the owner.
    ended: bool,
    /// Nothing reaches the editor any more, and something of what it sent may still come.
    unreachable: bool,

    /// Messages that are not yet acknowledged, in the order of their numbers.
    outstanding: VecDeque<Outstanding>,
    outstanding_bytes: usize,
    last_number: MessageNumber,
    /// How many of `outstanding`, from the front, the present owner was given.
    submitted: usize,
    /// Questions of the present owner, and of those before it, that the editor has not answered yet. It answers in order,
    /// and an answer to a question of the past is no more than a change.
    owner_asks: u32,
    past_owners_ask: u32,
    /// State vectors whose answers are owed to the editor.
    questions: VecDeque<Bytes>,
    /// How many of `questions`, from the front, the present owner was given.
    asked: usize,
    /// What the present owner has not been told of the editor's presence.
    awareness_owed: Option<Bytes>,
    /// The editor's own last presence, for the next owner.
    awareness: Option<Bytes>,
    /// The CRDT client that the editor itself is, as far as its presence tells.
    client: Option<u64>,
    /// The editor wants everybody's presence, or missed some of it.
    query_owed: bool,
    /// Presence of others was dropped on the way to the editor.
    awareness_missed: bool,

    /// The last slot that the socket took as a whole. None: it was never attached.
    delivered: Option<Slot>,
    /// The last slot that is on its way to the socket, or delivered.
    queued: Slot,
    /// The newest slot that is known to be published.
    newest: Slot,
    /// Where it was first attached. The answer to the editor's first question should hold everything up to there.
    base: Option<Slot>,
    /// What lies between this slot and `queued` is lacking.
    hole: Option<Slot>,
    /// The newest slot that was known when the last owner was lost.
    resumed: Slot,
    progress: Progress,
}

/// Where a session stands with its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It has none, or was not yet told of this one.
    Detached,
    /// The owner was asked.
    Attaching,
    /// The owner has confirmed.
    Attached,
    /// The owner was told that the editor is gone. It still acknowledges what that sent.
    Left,
}

/// Where a session stands with its editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Every published slot goes to the editor as it comes.
    Following,
    /// Something was dropped or missed. When the socket has taken all that waits, the owner is asked.
    Behind,
    /// The owner was asked for everything after `queued`.
    Asking,
}

#[derive(Debug, Clone)]
struct Outstanding {
    number: MessageNumber,
    answer: bool,
    update: Bytes,
}

/// What became of a message from the editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way to the owner.
    Kept,
    /// The editor may not write.
    Dropped,
    /// The editor would not hear the answer.
    Ignored,
}

impl Session {
    pub fn new(id: SessionId, rights: Rights, subject: Subject) -> Self {
        Self {
            id,
            rights,
            subject,
            owner: Owner::Detached,
            ended: false,
            unreachable: false,
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            last_number: MessageNumber::default(),
            submitted: 0,
            owner_asks: 0,
            past_owners_ask: 0,
            questions: VecDeque::new(),
            asked: 0,
            awareness_owed: None,
            awareness: None,
            client: None,
            query_owed: false,
            awareness_missed: false,
            delivered: None,
            queued: Slot::ZERO,
            newest: Slot::ZERO,
            base: None,
            hole: None,
            resumed: Slot::ZERO,
            progress: Progress::Following,
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    // ---- from the editor ----

    /// Whether another message may be taken. One always may when nothing is outstanding, however large it is.
    pub fn may_take(&self, limits: &Limits) -> bool {
        // Without an owner there is nobody to bring it to, yet the editor's last words may be among it.
        let owed = matches!(self.owner, Owner::Attaching | Owner::Attached) && self.owes();
        !owed
            && self.outstanding.len() < limits.outstanding_messages_max
            && self.outstanding_bytes < limits.outstanding_bytes_max
            && self.questions.len() < QUESTIONS_MAX
    }

    /// Bytes of the editor that are kept until an owner has dealt with them.
    pub fn held_bytes(&self) -> usize {
        let questions: usize = self.questions.iter().map(Bytes::len).sum();
        self.outstanding_bytes + questions + self.awareness_owed.as_ref().map_or(0, Bytes::len)
    }

    /// Takes a message from the editor. [`Session::next_request`] brings it to the owner.
    pub fn take(&mut self, message: ClientMessage, limits: &Limits) -> Taken {
        match message {
            ClientMessage::Update { .. } if self.rights == Rights::ReadOnly => return Taken::Dropped,
            // Nobody would hear the answer, and it may be dear.
            ClientMessage::SyncRequest { .. } | ClientMessage::QueryAwareness if self.unreachable => {
                return Taken::Ignored;
            }
            ClientMessage::Update { update } => self.number(update, false),
            ClientMessage::SyncAnswer { update } => {
                let answer = self.answers_owner();
                self.number(update, answer);
            }
            ClientMessage::SyncRequest { state_vector } => self.questions.push_back(state_vector),
            ClientMessage::Awareness { payload } => self.keep_awareness(payload, limits),
            ClientMessage::QueryAwareness => self.query_owed = true,
        }
        Taken::Kept
    }

    /// Whether the answer that came is one to a question of the present owner.
    fn answers_owner(&mut self) -> bool {
        if self.past_owners_ask > 0 {
            self.past_owners_ask -= 1;
            return false;
        }
        let asked = self.owner_asks > 0;
        self.owner_asks = self.owner_asks.saturating_sub(1);
        asked
    }

    fn number(&mut self, update: Bytes, answer: bool) {
        self.last_number = self.last_number.next();
        self.outstanding_bytes += update.len();
        self.outstanding.push_back(Outstanding { number: self.last_number, answer, update });
    }

    /// Tabs of one browser relay each other's presence, so only what speaks for the editor alone is kept for the next
    /// owner: a relayed state could be of somebody who has left.
    fn keep_awareness(&mut self, payload: Bytes, limits: &Limits) {
        let of_one = lone_client(&payload);
        self.client = self.client.or(of_one);
        if of_one == self.client && payload.len() <= limits.awareness_state_bytes_max {
            self.awareness = Some(payload.clone());
        }
        self.awareness_owed = Some(payload);
    }

    /// The editor's socket takes nothing any more: only what the editor says is still of use, not what it asks.
    pub fn cut(&mut self) {
        self.unreachable = true;
        self.questions = VecDeque::new();
        self.asked = 0;
        self.query_owed = false;
    }

    /// The editor is gone: its presence goes with it, its messages stay.
    pub fn end(&mut self) {
        self.cut();
        self.ended = true;
        self.awareness = None;
        self.awareness_owed = None;
    }

    /// What the editor sent has nowhere to go any more.
    pub fn forget_messages(&mut self) {
        self.outstanding = VecDeque::new();
        self.outstanding_bytes = 0;
        self.submitted = 0;
    }

    /// Nothing is left to be done for a session that has ended.
    pub fn finished(&self) -> bool {
        self.ended && self.outstanding.is_empty() && matches!(self.owner, Owner::Detached | Owner::Left)
    }

    // ---- to the owner ----

    /// Whether an owner that it is attached to was not told everything.
    fn owes(&self) -> bool {
        self.submitted < self.outstanding.len()
            || self.asked < self.questions.len()
            || self.awareness_owed.is_some()
            || self.query_owed
    }

    /// What the owner must be told next. The same until [`Session::submitted`].
    pub fn next_request(&self) -> Option<Request> {
        let session = self.id;
        if self.owner == Owner::Left {
            return None;
        }
        if self.owner == Owner::Detached {
            return (!self.ended || !self.outstanding.is_empty()).then(|| Request::Attach {
                session,
                rights: self.rights,
                subject: self.subject.clone(),
                resume: self.delivered.map(|_| self.resumed),
            });
        }
        if let Some(Outstanding { number, answer, update }) = self.outstanding.get(self.submitted) {
            return Some(Request::Update {
                session,
                number: *number,
                answer: *answer,
                update: update.clone(),
            });
        }
        if self.ended {
            return Some(Request::Detach { session });
        }
        if let Some(state_vector) = self.questions.get(self.asked) {
            return Some(Request::SyncRequest { session, state_vector: state_vector.clone() });
        }
        if let Some(payload) = &self.awareness_owed {
            return Some(Request::Awareness { session, payload: payload.clone() });
        }
        self.query_owed.then_some(Request::QueryAwareness { session })
    }

    /// The owner has taken what [`Session::next_request`] said.
    pub fn submitted(&mut self) {
        if self.owner == Owner::Detached {
            self.owner = Owner::Attaching;
        } else if self.submitted < self.outstanding.len() {
            self.submitted += 1;
        } else if self.ended {
            self.owner = Owner::Left;
        } else if self.asked < self.questions.len() {
            self.asked += 1;
        } else if self.awareness_owed.take().is_none() {
            self.query_owed = false;
        }
    }

    /// The owner is gone. Everything that it may not have stored or answered goes to the next one.
    pub fn lost(&mut self) {
        self.owner = Owner::Detached;
        self.submitted = 0;
        if faults::active(Fault::UnacknowledgedDropped) {
            self.forget_messages();
        }
        self.asked = 0;
        // What answered this owner answers no question of the next one: there it is a change like any other.
        self.past_owners_ask += std::mem::take(&mut self.owner_asks);
        self.outstanding.iter_mut().for_each(|message| message.answer = false);
        if self.awareness_owed.is_none() {
            self.awareness_owed.clone_from(&self.awareness);
        }
        self.resumed = self.newest.max(self.queued);
        if self.progress == Progress::Asking {
            self.progress = Progress::Behind;
        }
    }

    /// A session that is behind asks for everything after this slot, once its socket has taken all that waits.
    pub fn lacks_after(&self) -> Option<Slot> {
        (self.progress == Progress::Behind && self.owner == Owner::Attached && !self.ended)
            .then_some(self.complete())
    }

    /// The owner was asked for what [`Session::lacks_after`] said.
    pub fn asked_to_catch_up(&mut self) {
        self.progress = Progress::Asking;
    }

    // ---- from the owner ----

    /// The owner has attached the session: every slot after this one will be published to it.
    pub fn attached(&mut self, slot: Slot) {
        if self.owner != Owner::Attaching {
            return;
        }
        self.owner = Owner::Attached;
        let less = slot < self.resumed;
        self.newest = if less { slot } else { self.newest.max(slot) };
        if self.delivered.is_none() {
            // What came before is in the answer to the editor's own question.
            self.delivered = Some(slot);
            self.queued = slot;
            self.base = Some(slot);
        } else if less {
            self.begin_anew(slot);
        }
        if self.newest > self.queued {
            self.progress = Progress::Behind;
        }
    }

    /// The owner's log ends before what was published: the store has lost slots (an older backup, a replica that was
    /// behind), or this owner is not the newest. Slots with these numbers come again and hold something else, and some may
    /// have come already: the editor needs everything.
    fn begin_anew(&mut self, slot: Slot) {
        self.delivered = Some(Slot::ZERO);
        self.queued = slot;
        (self.base, self.hole) = (None, Some(Slot::ZERO));
        self.progress = Progress::Behind;
    }

    /// Whether the slots after `previous` through `through` go to the editor now.
    pub fn published(&mut self, previous: Slot, through: Slot) -> bool {
        // Noted also before the owner's word that the session is attached has come: the two may overtake each other.
        self.newest = self.newest.max(through);
        if self.delivered.is_none() || self.ended {
            return false;
        }
        if through <= self.queued || self.progress != Progress::Following {
            return false;
        }
        if previous > self.queued {
            self.progress = Progress::Behind;
            return false;
        }
        self.queued = through;
        true
    }

    /// Whether an answer to somebody who lacked everything after `from` goes to this editor too.
    pub fn caught_up(&mut self, from: Slot, through: Slot) -> bool {
        if self.progress != Progress::Asking || from > self.complete() || self.ended {
            return false;
        }
        let lacked = through > self.complete();
        self.hole = self.hole.filter(|_| through < self.queued).map(|hole| hole.max(through));
        self.reaches(through);
        if self.progress == Progress::Asking {
            // The answer was made before the newest slot was published.
            self.progress = Progress::Behind;
        }
        lacked
    }

    /// Whether an answer to a question of the editor is due, that holds everything through this slot.
    ///
    /// It does so but for what the editor said it has, its own edits among that. Clients take
    /// those for durable when they come back, so slots are published to it all the same, though it may have them.
    ///
    /// The owner that answers may be another one than the one that attached the session, and know less: one that was
    /// cut off for a while, and is not fenced yet.
    pub fn answered(&mut self, through: Slot) -> bool {
        if self.asked == 0 {
            return false;
        }
        if self.base.take().is_some_and(|base| through < base) {
            self.hole = Some(through);
            self.progress = Progress::Behind;
        }
        self.questions.pop_front();
        self.asked -= 1;
        true
    }

    /// Everything through this slot is on its way to the editor, or there.
    fn complete(&self) -> Slot {
        self.hole.unwrap_or(self.queued)
    }

    /// Everything through this slot is on its way to the editor, in a message that is never dropped.
    fn reaches(&mut self, through: Slot) {
        self.queued = self.queued.max(through);
        if self.queued >= self.newest && self.hole.is_none() {
            self.progress = Progress::Following;
        }
    }

    /// All messages through this number are durable. Returns whether that made room.
    pub fn acknowledged(&mut self, through: MessageNumber) -> bool {
        let before = self.outstanding.len();
        while let Some(first) = self.outstanding.front().filter(|first| first.number <= through) {
            self.outstanding_bytes -= first.update.len();
            self.outstanding.pop_front();
            self.submitted = self.submitted.saturating_sub(1);
        }
        if self.outstanding.is_empty() {
            self.outstanding = VecDeque::new();
        }
        before != self.outstanding.len()
    }

    // ---- what becomes of it on the way to the editor ----

    /// The socket has taken everything through this slot.
    pub fn delivered(&mut self, through: Slot) {
        // What waited since before a loss of slots may have a higher number than there is.
        let through = through.min(self.newest.max(self.queued));
        let delivered = self.delivered.unwrap_or_default().max(through);
        self.delivered = Some(delivered);
        self.queued = self.queued.max(delivered);
    }

    /// Updates that waited for the socket were dropped; what it has taken or begun to take goes through `kept`.
    pub fn dropped(&mut self, kept: Option<Slot>) {
        let delivered = self.delivered.unwrap_or_default();
        let kept = kept.unwrap_or_default().min(self.newest.max(self.queued));
        self.queued = delivered.max(kept);
        self.progress = Progress::Behind;
    }

    /// Something was published that never came this far.
    pub fn missed(&mut self) {
        if self.delivered.is_some() && self.progress == Progress::Following {
            self.progress = Progress::Behind;
        }
    }

    /// Presence of others was dropped.
    pub fn missed_awareness(&mut self) {
        self.awareness_missed = true;
    }

    /// The socket has taken all that waited: now the editor can be brought up to date.
    pub fn drained(&mut self) {
        if std::mem::take(&mut self.awareness_missed) && !self.unreachable {
            self.query_owed = true;
        }
    }

    /// Whether something was published that the editor has not been sent.
    pub fn behind(&self) -> bool {
        self.progress != Progress::Following
    }

    /// Whether the owner was asked for what the editor lacks.
    pub fn waits_to_catch_up(&self) -> bool {
        self.progress == Progress::Asking
    }

    /// Whether the editor is still there to be told something.
    pub fn here(&mut self) -> bool {
        !self.ended
    }

    /// The owner asks the editor what it has. Whether the editor is still there to be asked.
    pub fn questioned(&mut self) -> bool {
        if !self.ended {
            self.owner_asks += 1;
        }
        !self.ended
    }

    /// Whether the editor is told what others do.
    pub fn listens(&self) -> bool {
        self.delivered.is_some() && !self.ended
    }
}

/// The client that a presence message speaks for, if it is only one.
fn lone_client(payload: &[u8]) -> Option<u64> {
    let mut reader = lib0::Reader::new(payload);
    match reader.var_uint() {
        Ok(1) => reader.var_uint().ok(),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
