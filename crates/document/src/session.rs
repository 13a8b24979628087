//! What a document knows of one session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringleaf_types::{MessageNumber, Rights, RouterId, SessionId, Subject};

/// A session, among those of all routers.
pub(crate) type SessionKey = (RouterId, SessionId);

pub(crate) struct Session {
    pub(crate) rights: Rights,
    pub(crate) subject: Subject,
    pub(crate) asked: Asked,
    /// Messages with a hole whose rest the answer will bring: until then neither they nor what came after them is
    /// acknowledged (I1).
    owed: Option<Owed>,
    refusals: u32,
    refusals_since: Option<Instant>,
    /// It was told to end; what it still sends is not looked at.
    pub(crate) ended: bool,
}

/// Whether the editor was asked for what it has and the document lacks.
///
/// ```text
///          asked                  an answer without a hole
///  No ───────────────▶ Waiting ───────────────────────────▶ No
///                         └──▶ Stuck: even its answer has a hole. Nothing is asked twice.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    No,
    Waiting,
    Stuck,
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

pub(crate) type Sessions = BTreeMap<SessionKey, Session>;

impl Session {
    /// Every session is asked when it begins.
    pub(crate) fn new(rights: Rights, subject: Subject) -> Self {
        Self {
            rights,
            subject,
            asked: Asked::Waiting,
            owed: None,
            refusals: 0,
            refusals_since: None,
            ended: false,
        }
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

    /// An answer has come in; `hole`: part of it cannot be admitted.
    pub(crate) fn answered(&mut self, hole: bool) {
        self.asked = match (self.asked, hole) {
            (Asked::Waiting | Asked::Stuck, true) => Asked::Stuck,
            (Asked::No, true) => Asked::No,
            (Asked::No | Asked::Waiting | Asked::Stuck, false) => Asked::No,
        };
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

    #[test]
    fn an_answer_with_a_hole_ends_the_questions() {
        let mut session = session();
        assert_eq!(session.asked, Asked::Waiting);
        session.answered(true);
        assert_eq!(session.asked, Asked::Stuck);
        session.answered(true);
        assert_eq!(session.asked, Asked::Stuck);
        session.answered(false);
        assert_eq!(session.asked, Asked::No);
        session.answered(true);
        assert_eq!(session.asked, Asked::No);
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
    fn nobody_waits_for_an_answer_that_was_not_asked_for() {
        let mut session = session();
        session.answered(true);
        assert!(!session.owes(number(2), 9, true));
        assert!(session.settle().is_empty());
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
        #[expect(clippy::disallowed_methods, reason = "a test is its own shell")]
        let now = Instant::now();
        assert!(!session.refused(now, 2));
        assert!(!session.refused(now, 2));
        assert!(session.refused(now, 2));
        assert!(!session.refused(now + Duration::from_secs(60), 2));
    }
}
