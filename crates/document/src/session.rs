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
