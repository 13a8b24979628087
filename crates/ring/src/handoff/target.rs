//! The side that gets the document.

use std::time::{Duration, Instant};

use ringleaf_types::{Epoch, Slot};

use super::{Seal, ToSource};

/// From the offer to the seal, loading included. A little more than the source allows, so that it is the source who gives up.
const SEAL_TIMEOUT: Duration = Duration::from_secs(35);

/// A document that is offered by another node.
///
/// ```text
///   begin: yes           loaded           Seal               the fence is in
/// ─────────────▶ Warming ───────▶ Warm ─────────▶ Claiming ─────────────────────▶ over: Owned
///      │            │               │                 │ lost, out of turn: the log decides, as without
///      │ not now    │ late, lost, out of turn:        │
///      ▼            └───────────────┤ forget it       │
///   over: Declined                  ▼                 │
///                              over: Abandoned        │
/// in every state: the document's task has ended (fenced, stopped, broken) ─▶ over: Ended
/// ```
///
/// A target that was told to claim does so, even when the source is gone by then: if the source has claimed again
/// meanwhile, the log says so.
///
/// Timers: 35 s from the offer to the seal.
#[derive(Debug)]
pub struct Target {
    pub(super) state: State,
    due_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Warming,
    Warm,
    Claiming,
    Over(TargetEnd),
}

/// What the target says to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It takes the document.
    Yes,
    /// It takes too many at the moment.
    Later,
    /// It does not know the ring of the offer yet.
    Behind,
    /// It should not own this document, as far as it knows, or takes none any more.
    No,
}

/// How it ended, for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetEnd {
    /// Its fence is in.
    Owned,
    /// It did not take the document.
    Declined,
    /// It was to forget what it had loaded.
    Abandoned,
    /// The document's task has ended, fenced for example.
    Ended,
}

/// What the target is told.
#[derive(Debug)]
pub enum TargetInput {
    /// The source has sealed the document.
    Seal(Seal),
    /// The source says no more, or something that is not its turn.
    Lost,
    /// The time of [`Target::due_at`] has come.
    Late,
    /// The document is resident, through this slot.
    Loaded(Slot),
    /// The document's fence is in.
    Claimed(Epoch),
    /// The document's task has ended.
    Ended,
}

/// What the target wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum TargetStep {
    /// Tell the source.
    Say(ToSource),
    /// Make the document resident. Answered by [`TargetInput::Loaded`].
    Warm,
    /// Read the log through the seal's slot, take over the presence, claim. Answered by [`TargetInput::Claimed`].
    Claim(Seal),
    /// Forget the document, unless somebody has begun to use it.
    Abandon,
}

impl Target {
    /// Takes the document, or does not.
    pub fn begin(answer: Answer, now: Instant) -> (Self, Vec<TargetStep>) {
        let declined = |say| (State::Over(TargetEnd::Declined), None, vec![TargetStep::Say(say)]);
        let (state, due_at, steps) = match answer {
            Answer::Yes => {
                let steps = vec![TargetStep::Say(ToSource::Accept), TargetStep::Warm];
                (State::Warming, Some(now + SEAL_TIMEOUT), steps)
            }
            Answer::Later => declined(ToSource::Busy),
            Answer::Behind => declined(ToSource::Behind),
            Answer::No => declined(ToSource::Refuse),
        };
        (Self { state, due_at }, steps)
    }

    /// Takes in one thing that happened; says what is to be done, if anything.
    pub fn handle(&mut self, input: TargetInput) -> Option<TargetStep> {
        match (self.state, input) {
            (State::Over(_), _) => None,
            (_, TargetInput::Ended) => {
                self.enter(State::Over(TargetEnd::Ended), TargetStep::Say(ToSource::Failed))
            }
            (State::Warming, TargetInput::Loaded(slot)) => {
                self.state = State::Warm;
                Some(TargetStep::Say(ToSource::Warm { slot }))
            }
            (State::Warm, TargetInput::Seal(seal)) => self.enter(State::Claiming, TargetStep::Claim(seal)),
            (State::Warming | State::Warm, _) => {
                self.enter(State::Over(TargetEnd::Abandoned), TargetStep::Abandon)
            }
            (State::Claiming, TargetInput::Claimed(epoch)) => {
                self.enter(State::Over(TargetEnd::Owned), TargetStep::Say(ToSource::Claimed { epoch }))
            }
            (State::Claiming, _) => None,
        }
    }

    fn enter(&mut self, state: State, step: TargetStep) -> Option<TargetStep> {
        (self.state, self.due_at) = (state, None);
        Some(step)
    }

    /// When [`TargetInput::Late`] is due.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether the source's words still matter.
    pub fn listens(&self) -> bool {
        matches!(self.state, State::Warming | State::Warm)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<TargetEnd> {
        match self.state {
            State::Over(end) => Some(end),
            State::Warming | State::Warm | State::Claiming => None,
        }
    }
}
