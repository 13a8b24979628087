//! The output gate (R4): what reflects admitted state waits here until the batch that covers it is durable.

use std::collections::VecDeque;

use bytes::Bytes;
use ringleaf_types::faults::{self, Fault};
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
    Acknowledge {
        router: RouterId,
        session: SessionId,
        through: MessageNumber,
    },
    SyncRequest {
        router: RouterId,
        session: SessionId,
        state_vector: Bytes,
    },
    SyncAnswer {
        router: RouterId,
        sessions: Vec<SessionId>,
        update: Bytes,
    },
    CaughtUp {
        router: RouterId,
        from: Slot,
        update: Bytes,
    },
    Imported {
        ticket: u64,
    },
    Exported {
        ticket: u64,
        state: Bytes,
    },
    /// What this remainder held is in the document: the store need not keep it.
    Unwanted {
        id: u64,
    },
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
        if self.held.front()?.batch >= self.gathering && !faults::active(Fault::AcknowledgeOutOfOrder) {
            return None;
        }
        let held = self.held.pop_front()?;
        Some(held.output.into_effect(slot, held.through.unwrap_or(slot)))
    }

    /// Nothing leaves to this router any more. It attaches its sessions anew and sends again what it was not told of; what was
    /// held for it before would be told to sessions that know nothing of the rest, such as what was refused (I1).
    pub(crate) fn router_gone(&mut self, of: RouterId) {
        self.held.retain(|held| match &held.output {
            Output::Acknowledge { router, .. }
            | Output::SyncRequest { router, .. }
            | Output::SyncAnswer { router, .. }
            | Output::CaughtUp { router, .. } => *router != of,
            Output::Imported { .. } | Output::Exported { .. } | Output::Unwanted { .. } => true,
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
            | Output::Exported { .. }
            | Output::Unwanted { .. } => None,
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
            Self::Unwanted { id } => Effect::DropRemainder { id },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::new(5);

    fn acknowledge(session: u64, through: u64) -> Output {
        Output::Acknowledge {
            router: RouterId::new(1),
            session: SessionId::new(session),
            through: MessageNumber::new(through),
        }
    }

    fn left(gate: &mut Gate) -> Vec<(u64, u64)> {
        let effects = std::iter::from_fn(|| gate.release(SLOT));
        let acknowledged = effects.map(|effect| {
            let Effect::Deliver { event: Event::Acknowledge { session, through }, .. } = effect else {
                panic!("{effect:?}")
            };
            (session.get(), through.get())
        });
        acknowledged.collect()
    }

    #[test]
    fn what_is_gathered_leaves_one_batch_after_what_is_in_flight() {
        let mut gate = Gate::new();
        let first = gate.cover(true, false).unwrap();
        gate.hold(first, acknowledge(1, 1));
        assert!(left(&mut gate).is_empty());
        gate.advance();
        // The first batch is in flight; the second gathers.
        gate.hold(gate.cover(false, true).unwrap(), acknowledge(2, 1));
        gate.hold(gate.cover(true, true).unwrap(), acknowledge(1, 2));
        assert_eq!(left(&mut gate), [(1, 1), (2, 1)]);
        gate.advance();
        assert_eq!(left(&mut gate), [(1, 2)]);
    }

    #[test]
    fn nothing_gathered_and_nothing_in_flight_covers_nothing() {
        let mut gate = Gate::new();
        assert_eq!(gate.cover(false, false), None);
        gate.advance();
        assert_eq!(gate.cover(false, false), None);
    }

    #[test]
    fn acknowledgements_of_one_session_and_batch_become_one() {
        let mut gate = Gate::new();
        let batch = gate.cover(true, false).unwrap();
        for through in 1..=3 {
            gate.hold(batch, acknowledge(1, through));
            gate.hold(batch, acknowledge(2, through));
        }
        gate.advance();
        gate.hold(gate.cover(true, true).unwrap(), acknowledge(1, 4));
        assert_eq!(left(&mut gate), [(1, 3), (2, 3)]);
    }

    #[test]
    fn a_router_that_went_hears_nothing_of_what_was_held_for_it() {
        let mut gate = Gate::new();
        let batch = gate.cover(true, false).unwrap();
        gate.hold(batch, acknowledge(1, 1));
        gate.hold(batch, Output::CaughtUp { router: RouterId::new(1), from: SLOT, update: Bytes::new() });
        gate.hold(batch, Output::Imported { ticket: 9 });
        gate.router_gone(RouterId::new(2));
        assert_eq!(gate.held.len(), 3);
        gate.router_gone(RouterId::new(1));
        assert_eq!(gate.clear(), [9]);
    }

    #[test]
    fn an_answer_is_complete_through_the_slot_before_a_late_record() {
        let mut gate = Gate::new();
        let router = RouterId::new(1);
        let batch = gate.cover(true, false).unwrap();
        gate.hold(batch, Output::CaughtUp { router, from: Slot::new(1), update: Bytes::new() });
        gate.hold(batch, Output::Imported { ticket: 9 });
        gate.advance();
        gate.intrude(Slot::new(3));
        gate.intrude(Slot::new(4));
        let effects: Vec<Effect> = std::iter::from_fn(|| gate.release(SLOT)).collect();
        let event = Event::CaughtUp { from: Slot::new(1), through: Slot::new(2), update: Bytes::new() };
        let imported = Effect::Imported { ticket: 9, outcome: Ok(SLOT) };
        assert_eq!(effects, [Effect::Deliver { router, event }, imported]);
    }

    #[test]
    fn imports_among_what_is_given_up_are_told() {
        let mut gate = Gate::new();
        let batch = gate.cover(true, false).unwrap();
        gate.hold(batch, acknowledge(1, 1));
        gate.hold(batch, Output::Imported { ticket: 9 });
        assert_eq!(gate.clear(), [9]);
        gate.advance();
        assert!(left(&mut gate).is_empty());
    }
}
