//! What a document's fan-out has been told and not yet handed on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::{CloseReason, NodeId, RingVersion, SessionId, Slot};
use ringleaf_wire::{Event, Gone};

use crate::connection::Connection;

/// What a waiting frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

/// Events in the order in which they came, those for everybody apart: these may wait for one another and may be
/// dropped, the others go on at once. A session that is told of its own affairs before it gets an older slot loses
/// nothing by that: it takes slots from its own position on, and over-delivery is harmless.
#[derive(Default)]
pub(super) struct Inbox {
    /// The host whose events count.
    pub(super) generation: u64,
    told: VecDeque<Told>,
    published: Published,
    bytes: usize,
    /// When the next round may begin.
    pub(super) opens_at: Option<Instant>,
}

/// What goes to all sessions.
#[derive(Default)]
pub(super) struct Published {
    pub(super) slots: Vec<PublishedSlot>,
    pub(super) awareness: Vec<Bytes>,
    /// Something was dropped because the task did not keep up.
    pub(super) overrun: bool,
}

pub(super) struct PublishedSlot {
    pub(super) previous: Slot,
    pub(super) slot: Slot,
    pub(super) updates: Arc<[Bytes]>,
}

/// What concerns single sessions, or the fan-out itself. Never dropped.
pub(super) enum Told {
    Joined(Arc<Connection>),
    Left(SessionId),
    /// Its host is gone. If another one is known to have the document, with the ring version that says so.
    Lost {
        generation: u64,
        to: Option<(NodeId, RingVersion)>,
    },
    CloseAll {
        reason: CloseReason,
        spread: Duration,
    },
    CutAll,
    Event(Event),
}

impl Published {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.awareness.is_empty() && !self.overrun
    }
}

impl Inbox {
    pub(super) fn tell(&mut self, told: Told) {
        self.told.push_back(told);
    }

    /// Takes an event from the host of this generation.
    pub(super) fn deliver(&mut self, generation: u64, event: Event, bytes_max: usize) -> Result<(), Gone> {
        if generation != self.generation {
            return Err(Gone);
        }
        match event {
            Event::Publish { previous, slot, updates } => {
                self.charge(updates.iter(), bytes_max);
                self.published.slots.push(PublishedSlot { previous, slot, updates });
            }
            Event::Awareness { only: None, payload } => {
                self.charge(std::iter::once(&payload), bytes_max);
                self.published.awareness.push(payload);
            }
            Event::LetGo => self.told.push_back(Told::Lost { generation, to: None }),
            Event::Moved { owner, ring } => {
                self.told.push_back(Told::Lost { generation, to: Some((owner, ring)) });
            }
            event => self.told.push_back(Told::Event(event)),
        }
        Ok(())
    }

    /// Limit: what is over it was not taken by a task that only ever writes without waiting, so the machine is
    /// overloaded. Everybody is behind then, and catches up with one answer.
    fn charge<'a>(&mut self, frames: impl Iterator<Item = &'a Bytes>, bytes_max: usize) {
        if self.bytes > bytes_max {
            self.published = Published { overrun: true, ..Published::default() };
            self.bytes = 0;
        }
        self.bytes += frames.map(|frame| frame.len() + FRAME_OVERHEAD).sum::<usize>();
    }

    /// Everything that does not wait for a round.
    pub(super) fn take_told(&mut self) -> VecDeque<Told> {
        std::mem::take(&mut self.told)
    }

    /// Whether there is something for a round.
    pub(super) fn has_published(&self) -> bool {
        !self.published.is_empty()
    }

    /// Bytes that wait for a round.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything for a round, and what came before it for single sessions: they are told first.
    pub(super) fn take_all(&mut self) -> (VecDeque<Told>, Published) {
        self.bytes = 0;
        (self.take_told(), std::mem::take(&mut self.published))
    }

    /// From now on another host's events count. What the last one said and was not handed on is forgotten: whoever
    /// lacks something will find out from the next.
    pub(super) fn change_host(&mut self, generation: u64) {
        self.generation = generation;
        self.told.retain(|told| !matches!(told, Told::Event(_)));
        self.published = Published::default();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(slot: u64, bytes: usize) -> Event {
        Event::Publish {
            previous: Slot::new(slot - 1),
            slot: Slot::new(slot),
            updates: [Bytes::from(vec![0; bytes])].into(),
        }
    }

    #[test]
    fn an_overrun_drops_what_is_for_all_and_nothing_else() {
        let mut inbox = Inbox::default();
        let acknowledge = Event::Acknowledge { session: SessionId::new(1), through: Default::default() };
        inbox.deliver(0, acknowledge, 1_000).unwrap();
        for slot in 1..=3 {
            inbox.deliver(0, publish(slot, 600), 1_000).unwrap();
        }
        let (told, published) = inbox.take_all();
        assert_eq!(told.len(), 1);
        assert!(published.overrun);
        assert_eq!(published.slots.iter().map(|p| p.slot.get()).collect::<Vec<_>>(), [3]);
        inbox.deliver(0, publish(4, 600), 1_000).unwrap();
        assert!(!inbox.take_all().1.overrun, "what was taken no longer counts");
    }

    #[test]
    fn a_host_that_was_lost_is_not_listened_to() {
        let mut inbox = Inbox::default();
        inbox.deliver(0, publish(1, 1), 1_000).unwrap();
        inbox.deliver(0, Event::LetGo, 1_000).unwrap();
        inbox.change_host(1);
        assert_eq!(inbox.deliver(0, publish(2, 1), 1_000), Err(Gone));
        assert!(!inbox.has_published());
        assert!(matches!(inbox.take_told().pop_front(), Some(Told::Lost { generation: 0, to: None })));
        inbox.deliver(1, publish(3, 1), 1_000).unwrap();
        assert!(inbox.has_published());
    }
}
