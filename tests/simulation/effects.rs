//! Carrying out what a document wants done, and looking at everything that leaves it.

use std::time::Duration;

use ringleaf_document::Effect;
use ringleaf_types::{DocumentId, Epoch, RouterId};
use ringleaf_wire::Event;

use crate::network::{Down, short};
use crate::resident::End;
use crate::world::{Place, World};

/// A session that sends more before its answer gets to hear that what builds on that answer was left out.
const OWED_MESSAGES_MAX: usize = 128;

impl World {
    pub(crate) fn carry_out(
        &mut self,
        node: usize,
        document: &DocumentId,
        number: u64,
        effect: Effect,
    ) -> Option<End> {
        match effect {
            Effect::Append { slot, record } => {
                let resident = self.resident(node, document, number)?;
                let claims = resident.epoch() == Epoch::ZERO;
                let before = resident.append.replace((slot, record.clone()));
                assert!(before.is_none(), "two appends of one document in flight (R2)");
                self.counts.claims += u64::from(claims);
                self.facts(document).appends(slot, &record, claims);
                self.append(node, document.clone(), number, Duration::from_millis(10));
            }
            Effect::Broadcast { event } => {
                self.look(node, document, number, None, &event);
                let resident = self.resident(node, document, number)?;
                let channels: Vec<_> = resident.routers.values().map(|(_, channel)| *channel).collect();
                for channel in channels {
                    self.down(channel, Down::Event(event.clone()));
                }
            }
            Effect::Deliver { router, event } => {
                self.look(node, document, number, Some(router), &event);
                let resident = self.resident(node, document, number)?;
                if let Some((_, channel)) = resident.routers.get(&router).copied() {
                    self.down(channel, Down::Event(event));
                }
            }
            Effect::ReadTail { .. } => self.check_tail(node, document, number),
            Effect::Compact { through } => {
                self.resident(node, document, number)?.compacting = true;
                self.compact(node, document, number, through);
            }
            Effect::Forget => {
                return self.may_be_forgotten(node, document, number).then_some(End::Forgotten);
            }
            Effect::Fenced { by } => return Some(End::Fenced(by)),
            Effect::Reload => return Some(End::Reload),
            Effect::KeepRemainder { id, update } => {
                self.keep_remainder(node, document.clone(), number, id, update, Duration::from_millis(10));
            }
            Effect::DropRemainder { id } => self.drop_remainder(node, document.clone(), id),
            Effect::RemainderExpired { .. } => panic!("nobody waits for a week here"),
            Effect::LeftBehind { .. } => {}
            Effect::StoreWentBackwards { .. } => panic!("this store does not lose slots"),
            Effect::Count(_) | Effect::Imported { .. } | Effect::Exported { .. } => {}
        }
        None
    }

    /// Whatever leaves a node is durable at that instant (I4), and is what it says it is.
    fn look(
        &mut self,
        node: usize,
        document: &DocumentId,
        number: u64,
        router: Option<RouterId>,
        event: &Event,
    ) {
        self.say(format_args!("{:?}: {document} says {}", Place::Node(node), short(event)));
        let facts = &self.facts[document];
        match event {
            Event::Publish { previous, slot, updates } => {
                updates.iter().for_each(|update| facts.leaves(update, "a publication"));
                facts.holds_slots(updates.iter(), *previous, *slot, "a publication");
            }
            Event::CaughtUp { from, through, update } => {
                facts.leaves(update, "what somebody catches up with");
                facts.holds_slots([update], *from, *through, "what somebody catches up with");
            }
            Event::SyncRequest { state_vector, .. } => facts.asks(state_vector),
            Event::SyncAnswer { sessions, through, update } => {
                facts.leaves(update, "an answer");
                let router = router.expect("answers go to one router");
                for session in sessions {
                    let resident = self.resident(node, document, number).expect("it has just answered");
                    let had = resident.asked.get(&(router, *session)).expect("it has asked").clone();
                    self.facts[document].completes(&had, update, *through);
                }
            }
            Event::Attached { slot, .. } => {
                assert!(*slot <= facts.last(), "attached at a slot that is not there (I4)");
            }
            Event::Refused { session, .. } => {
                let key = (router.expect("one router is told"), *session);
                let resident = self.resident(node, document, number).expect("it has just spoken");
                let messages = resident.messages.get(&key).copied().unwrap_or(0);
                assert!(messages > OWED_MESSAGES_MAX, "an honest message was refused");
            }
            Event::CloseSession { reason, .. } => panic!("an honest editor was sent away: {reason:?}"),
            Event::Closed { .. } => {
                assert!(facts.deleted_once, "a document was closed before its deletion was durable (R10)")
            }
            Event::Acknowledge { .. } | Event::Awareness { .. } | Event::LetGo | Event::Moved { .. } => {}
        }
    }
}
