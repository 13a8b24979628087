//! The side that has the document.

use std::time::{Duration, Instant};

use ringleaf_types::Epoch;

use super::{Offer, Seal, ToSource, ToTarget};

const OFFER_TIMEOUT: Duration = Duration::from_secs(2);
const WARM_TIMEOUT: Duration = Duration::from_secs(30);
const SEAL_TIMEOUT: Duration = Duration::from_secs(1);
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// A document that is offered to another node.
///
/// ```text
///   begin                Accept            Warm             sealed            Claimed, a higher epoch
/// ─────────▶ Offered ─────────▶ Warming ────────▶ Sealing ─────────▶ Sealed ─────────────────────────▶ over: Moved
///              │                  │                 │                  │
///              ├ Busy ─▶ over: Busy                 │ late, lost,      │ late, lost, Failed,
///              ├ Behind ─▶ over: Behind             │ out of turn:     │ Claimed with a low epoch,
///              ├ Refuse ─▶ over: Refused            │ unseal,          │ out of turn: claim again
///              └─ late, lost,     │                 ▼ over: Aborted    ▼
///                 out of turn ────┴─▶ over: Aborted                 Claiming ── own fence is in ─▶ over: TakenBack
///                                                                      └────── fenced ──────────▶ over: Ended
///
/// in every state: the document's task has ended (fenced, stopped, broken) ─▶ over: Ended
/// ```
///
/// Until it is *sealed* nothing has changed for anybody, so giving up needs no look at the log. From then on the target
/// may have claimed the document, and only the log can tell. Claiming has no timer: the store may be away for as long as
/// it likes, and until it answers nobody could serve anyway.
///
/// Timers: offer 2 s, warm 30 s, seal 1 s, claim 2 s. After *Moved* the shell tells routers whom to ask, and the ring
/// does from then on.
#[derive(Debug)]
pub struct Source {
    pub(super) state: State,
    /// The epoch that the target must exceed.
    epoch: Epoch,
    due_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Offered,
    Warming,
    Sealing,
    Sealed,
    Claiming,
    Over(SourceEnd),
}

/// How it ended, for the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceEnd {
    /// The target has it.
    Moved,
    /// The target takes it later.
    Busy,
    /// The target may take it later: it does not know the ring yet. If that lasts, it is as good as dead.
    Behind,
    /// The target does not take it.
    Refused,
    /// Nothing has changed: it was given up before the document was sealed.
    Aborted,
    /// The document was sealed, and its node owns it again.
    TakenBack,
    /// The document is no longer resident here, and its routers were told.
    Ended,
}

/// What the source is told.
#[derive(Debug)]
pub enum SourceInput {
    /// The target has said something.
    Heard(ToSource),
    /// The target says no more.
    Lost,
    /// The time of [`Source::due_at`] has come.
    Late,
    /// The document is sealed, as [`SourceStep::Seal`] wanted.
    Sealed(Seal),
    /// The document's fence is in, as [`SourceStep::Claim`] wanted.
    Claimed,
    /// The document's task has ended.
    Ended,
}

/// What the source wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum SourceStep {
    /// Tell the target.
    Say(ToTarget),
    /// Let the document take no new slot. Answered by [`SourceInput::Sealed`] when the slot in flight is durable.
    Seal,
    /// Let it take slots again: nobody else can have claimed it because of this conversation.
    Unseal,
    /// Let it claim the log again, and take slots if that succeeds. Answered by [`SourceInput::Claimed`], or
    /// [`SourceInput::Ended`] if it was fenced.
    Claim,
    /// End the document, and tell its routers that the target has it.
    Forward,
}

impl Source {
    /// Offers the document.
    pub fn begin(offer: Offer, now: Instant) -> (Self, SourceStep) {
        let source = Self { state: State::Offered, epoch: offer.epoch, due_at: Some(now + OFFER_TIMEOUT) };
        (source, SourceStep::Say(ToTarget::Offer(offer)))
    }

    /// Takes in one thing that happened; says what is to be done, if anything.
    pub fn handle(&mut self, input: SourceInput, now: Instant) -> Option<SourceStep> {
        match (self.state, input) {
            (State::Over(_), _) => None,
            (_, SourceInput::Ended) => self.over(SourceEnd::Ended, None),
            (State::Offered, SourceInput::Heard(ToSource::Accept)) => {
                self.enter(State::Warming, Some(now + WARM_TIMEOUT), None)
            }
            (State::Offered, SourceInput::Heard(ToSource::Busy)) => self.over(SourceEnd::Busy, None),
            (State::Offered, SourceInput::Heard(ToSource::Behind)) => self.over(SourceEnd::Behind, None),
            (State::Offered, SourceInput::Heard(ToSource::Refuse)) => self.over(SourceEnd::Refused, None),
            (State::Warming, SourceInput::Heard(ToSource::Warm { .. })) => {
                self.enter(State::Sealing, Some(now + SEAL_TIMEOUT), Some(SourceStep::Seal))
            }
            (State::Offered | State::Warming, _) => self.over(SourceEnd::Aborted, None),
            (State::Sealing, SourceInput::Sealed(seal)) => {
                self.epoch = seal.epoch;
                let say = SourceStep::Say(ToTarget::Seal(seal));
                self.enter(State::Sealed, Some(now + CLAIM_TIMEOUT), Some(say))
            }
            (State::Sealing, _) => self.over(SourceEnd::Aborted, Some(SourceStep::Unseal)),
            (State::Sealed, SourceInput::Heard(ToSource::Claimed { epoch })) if epoch > self.epoch => {
                self.over(SourceEnd::Moved, Some(SourceStep::Forward))
            }
            (State::Sealed, _) => self.enter(State::Claiming, None, Some(SourceStep::Claim)),
            (State::Claiming, SourceInput::Claimed) => self.over(SourceEnd::TakenBack, None),
            // Whatever the target says now, the log knows better.
            (State::Claiming, _) => None,
        }
    }

    fn enter(
        &mut self,
        state: State,
        due_at: Option<Instant>,
        step: Option<SourceStep>,
    ) -> Option<SourceStep> {
        (self.state, self.due_at) = (state, due_at);
        step
    }

    fn over(&mut self, end: SourceEnd, step: Option<SourceStep>) -> Option<SourceStep> {
        self.enter(State::Over(end), None, step)
    }

    /// When [`SourceInput::Late`] is due.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether the target's words still matter.
    pub fn listens(&self) -> bool {
        !matches!(self.state, State::Claiming | State::Over(_))
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<SourceEnd> {
        match self.state {
            State::Over(end) => Some(end),
            State::Offered | State::Warming | State::Sealing | State::Sealed | State::Claiming => None,
        }
    }
}
