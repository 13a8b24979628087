//! What a document knows of one session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringleaf_types::{ClientId, Clock, MessageNumber, Rights, RouterId, SessionId, Subject};
use ringleaf_wire::Refusal;

/// A session, among those of all routers.
pub(crate) type SessionKey = (RouterId, SessionId);

pub(crate) struct Session {
    pub(crate) rights: Rights,
    pub(crate) subject: Subject,
    asked: Asked,
    /// Messages with a hole whose rest the answer will bring: until then neither they nor what came after them is
    /// acknowledged (I1).
    owed: Option<Owed>,
    /// Remainders of its messages that the store does not have yet, and what is acknowledged when it does.
    storing: u32,
    held: Option<MessageNumber>,
    left: Option<Left>,
    /// Reasons that were told to the operator: once for each session.
    told: BTreeSet<&'static str>,
    refusals: u32,
    refusals_since: Option<Instant>,
    /// It was told to end; what it still sends is not looked at.
    pub(crate) ended: bool,
}

/// Whether the editor was asked for what it has and the document lacks.
///
/// ```text
///          asked                  an answer that was taken whole
///  No ───────────────▶ Waiting ────────────────────────────────▶ No
///                       │   ▲ ground has come that it waits for; or something is refused for good, and a while has
///                       │   │ passed
///                       └──▶ Stuck: even of its answer something was left behind
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    No,
    Waiting,
    Stuck,
}

/// Why something that an editor has is not in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftWhy {
    /// It builds on something that is not there. It is kept, and comes in when that does.
    Ground,
    /// Likewise, and there was no room to keep it: its editor has it.
    GroundNoRoom,
    /// The document has reached its size.
    Full,
    /// It would harm editors, or is no update.
    Refused(Refusal),
}

impl LeftWhy {
    /// Nothing that comes later will bring it in.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Full | Self::Refused(_))
    }

    /// A word for each kind of reason.
    pub const WORDS: [&'static str; 4] = ["ground", "no-room", "full", "refused"];

    /// Which of the [words](Self::WORDS) it is.
    pub fn kind(self) -> usize {
        match self {
            Self::Ground => 0,
            Self::GroundNoRoom => 1,
            Self::Full => 2,
            Self::Refused(_) => 3,
        }
    }

    /// It could not be read.
    pub(crate) fn is_no_update(self) -> bool {
        matches!(self, Self::Refused(refusal) if !matches!(refusal, Refusal::Harmful { .. }))
    }

    /// A word for metrics and for telling reasons apart.
    pub fn word(self) -> &'static str {
        Self::WORDS[self.kind()]
    }
}

impl std::fmt::Display for LeftWhy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ground => f.write_str("it builds on something that is not there yet, and is kept until that comes"),
            Self::GroundNoRoom => f.write_str(
                "it builds on something that is not there yet, and remainder_bytes_max leaves no room to keep it",
            ),
            Self::Full => f.write_str("the document has reached document_bytes_max"),
            Self::Refused(refusal) if self.is_no_update() => write!(f, "it is no update: {refusal}"),
            Self::Refused(refusal) => write!(f, "it would harm other editors: {refusal}"),
        }
    }
}

/// What of a session's is not in the document.
#[derive(Debug)]
struct Left {
    since: Instant,
    why: LeftWhy,
    /// It is worth asking again when one of these clients has the unit. No more than [`WAITS_MAX`].
    waits: BTreeMap<ClientId, Clock>,
    /// Answers of which something was refused for good, and when it is asked for the next one.
    final_answers: u32,
    again_at: Option<Instant>,
}

#[derive(Default)]
struct Owed {
    with_hole: Vec<MessageNumber>,
    messages: usize,
    bytes: usize,
}

/// An editor that sends so many messages before its answer gets them acknowledged without it. It must be well below what
/// a router keeps of one session: above that it reads no more, not even the answer.
const OWED_MESSAGES_MAX: usize = 128;
/// Likewise, so many bytes.
const OWED_BYTES_MAX: usize = 1 << 20;

/// Of a session it is remembered which ground it waits for, up to so many clients: one message can name half a million. When
/// one of them comes, it is asked for everything.
pub(crate) const WAITS_MAX: usize = 100;

/// An editor whose answers bring so often what is refused for good is told so, and sent away.
const FINAL_ANSWERS_MAX: u32 = 2;
/// It is asked again after so long, whether it sends more or not. Not at once: stock clients before y-websocket 3.1 connect again
/// whatever they are told, and would go round as fast as they can, bringing everything each time.
const FINAL_QUESTION_PAUSE: Duration = Duration::from_secs(5);

pub(crate) type Sessions = BTreeMap<SessionKey, Session>;

impl Session {
    /// Every session is asked when it begins.
    pub(crate) fn new(rights: Rights, subject: Subject) -> Self {
        Self {
            rights,
            subject,
            asked: Asked::Waiting,
            owed: None,
            storing: 0,
            held: None,
            left: None,
            told: BTreeSet::new(),
            refusals: 0,
            refusals_since: None,
            ended: false,
        }
    }

    /// Something of a message was left behind. Answers whether that is news for the operator: what may come with the answer
    /// that is awaited is not.
    pub(crate) fn leaves(
        &mut self,
        why: LeftWhy,
        waits: BTreeMap<ClientId, Clock>,
        answer: bool,
        now: Instant,
    ) -> bool {
        let passing = why == LeftWhy::Ground && self.asked != Asked::Stuck && !answer;
        let left = self.left.get_or_insert_with(|| Left {
            since: now,
            why,
            waits: BTreeMap::new(),
            final_answers: 0,
            again_at: None,
        });
        // What is final stays the reason, whatever else is left behind meanwhile.
        if !left.why.is_final() {
            left.why = why;
        }
        if !waits.is_empty() {
            left.waits = waits.into_iter().take(WAITS_MAX).collect();
        }
        let shadowed = left.why.is_final() && !why.is_final();
        !passing && !shadowed && self.told.insert(why.word())
    }

    /// Nothing of it is left behind any more.
    pub(crate) fn leaves_nothing(&mut self) {
        self.left = None;
        if self.asked == Asked::Stuck {
            self.asked = Asked::No;
        }
    }

    /// Since when and why something of it is not in the document.
    pub(crate) fn left(&self) -> Option<(Instant, LeftWhy)> {
        self.left.as_ref().map(|left| (left.since, left.why))
    }

    /// Whether it is to be asked for everything, after a message of which something was left behind, or after a while.
    pub(crate) fn wants_question(&mut self, now: Instant) -> bool {
        let due = |left: &Left| left.why.is_final() && left.again_at.is_none_or(|at| at <= now);
        let again = self.left.as_ref().is_some_and(due);
        let wants = self.asked == Asked::No || (self.asked == Asked::Stuck && again);
        if wants {
            self.asked = Asked::Waiting;
        }
        wants
    }

    /// Whether it is to be asked because these clients (in order) have grown.
    pub(crate) fn ground_came(&mut self, grown: &[ClientId], end: impl Fn(ClientId) -> Clock) -> bool {
        let Some(left) = self.left.as_mut().filter(|_| self.asked == Asked::Stuck) else { return false };
        let came = match grown.len() < left.waits.len() {
            true => {
                grown.iter().any(|client| left.waits.get(client).is_some_and(|clock| *clock < end(*client)))
            }
            false => left
                .waits
                .iter()
                .any(|(client, clock)| grown.binary_search(client).is_ok() && *clock < end(*client)),
        };
        if came {
            left.waits.clear();
            self.asked = Asked::Waiting;
        }
        came
    }

    /// A message was taken in. `true`: its acknowledgement has to wait for the answer.
    pub(crate) fn owes(&mut self, number: MessageNumber, bytes: usize, hole: bool) -> bool {
        if hole && self.asked == Asked::Waiting {
            self.owed.get_or_insert_default().with_hole.push(number);
        }
        let Some(owed) = &mut self.owed else { return false };
        owed.messages += 1;
        owed.bytes += bytes;
        owed.messages <= OWED_MESSAGES_MAX && owed.bytes <= OWED_BYTES_MAX
    }

    /// The answer has come, or is no longer waited for: these had a hole.
    pub(crate) fn settle(&mut self) -> Vec<MessageNumber> {
        self.owed.take().map(|owed| owed.with_hole).unwrap_or_default()
    }

    /// An answer has come in. `whole`: nothing of it was left behind. Answers whether it was the last that brings
    /// something which is refused for good.
    pub(crate) fn answered(&mut self, whole: bool, refused: bool, now: Instant) -> bool {
        if whole {
            self.asked = Asked::No;
            self.left = None;
            return false;
        }
        if self.asked == Asked::Waiting {
            self.asked = Asked::Stuck;
        }
        let Some(left) = self.left.as_mut().filter(|_| refused) else { return false };
        left.final_answers += 1;
        left.again_at = Some(now + FINAL_QUESTION_PAUSE);
        left.final_answers >= FINAL_ANSWERS_MAX
    }

    /// When it is asked again, because it brought what is refused for good.
    pub(crate) fn again_at(&self) -> Option<Instant> {
        let left = self.left.as_ref().filter(|_| self.asked == Asked::Stuck && !self.ended);
        left.and_then(|left| left.again_at)
    }

    /// A remainder of its is on its way to the store: nothing is acknowledged meanwhile.
    pub(crate) fn stores(&mut self) {
        self.storing += 1;
    }

    /// The store has it. Answers what can be acknowledged now.
    pub(crate) fn stored(&mut self) -> Option<MessageNumber> {
        self.storing = self.storing.saturating_sub(1);
        if self.storing == 0 { self.held.take() } else { None }
    }

    /// Whether this acknowledgement has to wait for the store.
    pub(crate) fn holds(&mut self, number: MessageNumber) -> bool {
        if self.storing > 0 {
            self.held = Some(number);
        }
        self.storing > 0
    }

    /// Counts a refusal; `true` when there were too many within a minute.
    pub(crate) fn refused(&mut self, now: Instant, max: u32) -> bool {
        let minute = Duration::from_secs(60);
        if self.refusals_since.is_none_or(|since| now.saturating_duration_since(since) >= minute) {
            self.refusals_since = Some(now);
            self.refusals = 0;
        }
        self.refusals += 1;
        self.refusals > max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Rights::ReadWrite, Subject::anyone())
    }

    fn number(number: u64) -> MessageNumber {
        MessageNumber::new(number)
    }

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
        Instant::now()
    }

    fn ground(client: u64, clock: u32) -> BTreeMap<ClientId, Clock> {
        BTreeMap::from([(ClientId::new(client), Clock::new(clock))])
    }

    #[test]
    fn an_answer_with_a_hole_ends_the_questions_until_its_ground_comes() {
        let mut session = session();
        assert!(session.leaves(LeftWhy::Ground, ground(7, 3), true, now()));
        assert!(!session.answered(false, false, now()));
        assert!(!session.wants_question(now()), "it was asked, and answered");
        let mut came = |clients: &[u64], end| {
            let grown: Vec<_> = clients.iter().copied().map(ClientId::new).collect();
            session.ground_came(&grown, |_| Clock::new(end))
        };
        assert!(!came(&[7], 3), "not yet");
        assert!(!came(&[8], 9), "not that one");
        assert!(!came(&[], 9));
        assert!(came(&[5, 7], 4));
        assert!(!came(&[7], 5), "one question for it");
        session.answered(true, false, now());
        assert!(session.left().is_none());
        assert!(session.wants_question(now()));
    }

    #[test]
    fn the_reason_says_whether_it_is_harmful_or_no_update_at_all() {
        let client = ClientId::new(5);
        let link = LeftWhy::Refused(Refusal::Harmful { client, harm: ringleaf_wire::scan::Harm::WeakLink });
        let text = "it would harm other editors: a struct of client 5 is a weak link, which stock editors cannot read";
        assert_eq!(link.to_string(), text);
        let rest = LeftWhy::Refused(Refusal::BytesLeftOver { bytes: 9 });
        assert_eq!(rest.to_string(), "it is no update: 9 bytes are left over");
    }

    #[test]
    fn who_brings_again_and_again_what_is_refused_is_told() {
        let mut session = session();
        assert!(session.leaves(LeftWhy::Full, BTreeMap::new(), false, now()));
        let now = now();
        assert!(!session.answered(false, true, now));
        assert!(session.again_at().is_some_and(|at| at > now), "it may never send anything again");
        assert!(!session.leaves(LeftWhy::Full, BTreeMap::new(), false, now), "no news");
        assert!(!session.wants_question(now), "nor is it asked at once");
        let now = now + FINAL_QUESTION_PAUSE;
        assert!(session.wants_question(now));
        assert_eq!(session.again_at(), None, "it is being asked");
        assert!(session.answered(false, true, now));
        session.answered(true, false, now);
        assert!(!session.leaves(LeftWhy::Full, BTreeMap::new(), false, now), "nor when it comes again later");
        assert!(!session.leaves(LeftWhy::Ground, ground(1, 1), true, now), "nor is what builds on that");
    }

    #[test]
    fn what_comes_after_a_message_with_a_hole_waits_with_it() {
        let mut session = session();
        assert!(!session.owes(number(1), 9, false));
        assert!(session.owes(number(2), 9, true));
        assert!(session.owes(number(3), 9, false));
        assert!(session.owes(number(4), 9, true));
        assert_eq!(session.settle(), [number(2), number(4)]);
        assert!(!session.owes(number(5), 9, false));
    }

    #[test]
    fn nothing_is_acknowledged_while_a_remainder_is_on_its_way_to_the_store() {
        let mut session = session();
        assert!(!session.holds(number(1)));
        session.stores();
        session.stores();
        assert!(session.holds(number(2)) && session.holds(number(3)));
        assert_eq!(session.stored(), None);
        assert_eq!(session.stored(), Some(number(3)));
        assert!(!session.holds(number(4)));
    }

    /// A router reads no more when too much of a session is not acknowledged, and then the answer never comes.
    #[test]
    fn what_waits_for_an_answer_is_bounded() {
        let limits = ringleaf_types::Limits::default();
        let mut session = session();
        let waiting = (1..).take_while(|n| session.owes(number(*n), 9, *n == 1)).count();
        assert!(waiting < limits.outstanding_messages_max / 2);
        session.settle();
        assert!(session.owes(number(1), 9, true));
        assert!(!session.owes(number(2), limits.outstanding_bytes_max / 2, false));
    }

    #[test]
    fn refusals_are_forgotten_after_a_minute() {
        let mut session = session();
        let now = now();
        assert!(!session.refused(now, 2));
        assert!(!session.refused(now, 2));
        assert!(session.refused(now, 2));
        assert!(!session.refused(now + Duration::from_secs(60), 2));
    }
}
