//! The output gate (R4): what reflects admitted state waits here until the batch that covers it is durable.

use std::collections::VecDeque;

use bytes::Bytes;
use ringleaf_types::{MessageNumber, RouterId, SessionId, Slot};
use ringleaf_wire::Event;

use crate::Effect;

/// Numbers the groups of admitted updates that become a slot each. A batch keeps its number when a late record takes
/// the slot that it was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Batch(u64);

/// Something that leaves when everything that it reflects is durable. Slots are filled in then.
#[derive(Debug)]
pub(crate) enum Output {
    Acknowledge { router: RouterId, session: SessionId, through: MessageNumber },
    SyncRequest { router: RouterId, session: SessionId, state_vector: Bytes },
    SyncAnswer { router: RouterId, sessions: Vec<SessionId>, update: Bytes },
    CaughtUp { router: RouterId, from: Slot, update: Bytes },
    Imported { ticket: u64 },
    Exported { ticket: u64, state: Bytes },
}

/// Outputs in the order in which they were held, which is also the order of their batches.
pub(crate) struct Gate {
    /// The number that the gathered updates have, or will have.
    gathering: Batch,
    held: VecDeque<Held>,
}

struct Held {
    batch: Batch,
    /// What it is complete through, if that is not the slot of its batch.
    through: Option<Slot>,
    output: Output,
}

/// How far back an acknowledgement is looked for that it can be folded into.
const FOLD: usize = 8;

impl Gate {
    pub(crate) fn new() -> Self {
        Self { gathering: Batch(1), held: VecDeque::new() }
    }

    /// The gathered updates are on their way; what comes next belongs to the next batch.
    pub(crate) fn advance(&mut self) {
        self.gathering = Batch(self.gathering.0 + 1);
    }

    /// The batch that covers everything admitted so far. `None`: all of it is durable.
    pub(crate) fn cover(&self, gathered: bool, in_flight: bool) -> Option<Batch> {
        match (gathered, in_flight) {
            (true, _) => Some(self.gathering),
            (false, true) => Some(Batch(self.gathering.0 - 1)),
            (false, false) => None,
        }
    }

    pub(crate) fn hold(&mut self, batch: Batch, output: Output) {
        if let Output::Acknowledge { router, session, through } = output {
            for held in self.held.iter_mut().rev().take(FOLD) {
                if let Output::Acknowledge { router: r, session: s, through: t } = &mut held.output
                    && held.batch == batch
                    && (*r, *s) == (router, session)
                {
                    *t = through;
                    return;
                }
            }
        }
        self.held.push_back(Held { batch, through: None, output });
    }

    /// A slot that somebody else wrote comes between what the held answers are made of and the slot of their batch. It
    /// is not in them.
    pub(crate) fn intrude(&mut self, slot: Slot) {
        for held in &mut self.held {
            held.through.get_or_insert(slot.previous());
        }
    }

    /// What the shell is told next, now that everything through `slot` is durable. Called while the gathered updates
    /// are still to be written: all earlier batches are durable.
    pub(crate) fn release(&mut self, slot: Slot) -> Option<Effect> {
        if self.held.front()?.batch >= self.gathering {
            return None;
        }
        let held = self.held.pop_front()?;
        Some(held.output.into_effect(slot, held.through.unwrap_or(slot)))
    }

    /// Nothing of this session leaves any more: its updates were taken back.
    pub(crate) fn forget(&mut self, of: (RouterId, SessionId)) {
        self.held.retain_mut(|held| match &mut held.output {
            Output::Acknowledge { router, session, .. } | Output::SyncRequest { router, session, .. } => {
                (*router, *session) != of
            }
            Output::SyncAnswer { router, sessions, .. } => {
                if *router == of.0 {
                    sessions.retain(|session| *session != of.1);
                }
                !sessions.is_empty()
            }
            Output::CaughtUp { .. } | Output::Imported { .. } | Output::Exported { .. } => true,
        });
    }

    /// Nothing of what is held leaves any more. Answers the imports among it, whose operators want to know.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        let tickets = self.held.drain(..).filter_map(|held| match held.output {
            Output::Imported { ticket } => Some(ticket),
            Output::Acknowledge { .. }
            | Output::SyncRequest { .. }
            | Output::SyncAnswer { .. }
            | Output::CaughtUp { .. }
            | Output::Exported { .. } => None,
        });
        tickets.collect()
    }
}

impl Output {
    /// What the shell is told, now that it is durable in `slot`; it is complete through `through`.
    pub(crate) fn into_effect(self, slot: Slot, through: Slot) -> Effect {
        match self {
            Self::Acknowledge { router, session, through } => {
                Effect::Deliver { router, event: Event::Acknowledge { session, through } }
            }
            Self::SyncRequest { router, session, state_vector } => {
                Effect::Deliver { router, event: Event::SyncRequest { session, state_vector } }
            }
            Self::SyncAnswer { router, sessions, update } => {
                Effect::Deliver { router, event: Event::SyncAnswer { sessions, through, update } }
            }
            Self::CaughtUp { router, from, update } => {
                Effect::Deliver { router, event: Event::CaughtUp { from, through, update } }
            }
            Self::Imported { ticket } => Effect::Imported { ticket, outcome: Ok(slot) },
            Self::Exported { ticket, state } => Effect::Exported { ticket, through, state },
        }
    }
}
