//! One resident document on a node: the real `Document`, fed one input at a time, and its effects carried out in order.
//!
//! It does what `node`'s document task does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringleaf_document::{AppendOutcome, Document, Gc, Input, Settings, compaction};
use ringleaf_store::Stored;
use ringleaf_types::{
    CloseReason, DocumentId, Epoch, Incarnation, NodeId, Record, RingVersion, RouterId, SessionId, Slot,
};
use ringleaf_wire::{Event, OpenError, Request};

use crate::contents::clocks_of;
use crate::handoff::Movers;
use crate::network::{Channel, Down};
use crate::node::Hosted;
use crate::world::{Place, World};

/// A router that opened a document is awaited for so long.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Resident {
    /// Tells it from earlier ones.
    pub(crate) number: u64,
    /// `None` while it loads.
    pub(crate) document: Option<Box<Document>>,
    /// Who waits until it has loaded.
    pub(crate) openers: Vec<(Channel, RouterId)>,
    pub(crate) stopping: bool,
    /// Somebody has wanted something of it since it was loaded.
    pub(crate) wanted: bool,
    /// What an operator says, once it has loaded: delete it, or bring it back.
    pub(crate) operator: Option<bool>,
    pub(crate) routers: BTreeMap<RouterId, (u64, Channel)>,
    attachments: u64,
    pub(crate) append: Option<(Slot, Record)>,
    pub(crate) compacting: bool,
    checking_tail: bool,
    check_tail_again: bool,
    pub(crate) awaited_until: Option<Instant>,
    wake_at: Option<Instant>,
    /// What a handoff waits for.
    pub(crate) movers: Movers,
    /// What sessions said that they had, when they asked for the rest.
    pub(crate) asked: BTreeMap<(RouterId, SessionId), Vec<BTreeMap<u64, u32>>>,
    /// Messages of each session since it was attached.
    pub(crate) messages: BTreeMap<(RouterId, SessionId), usize>,
}

/// How a resident ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Forgotten,
    Stopped,
    Moved { owner: NodeId, ring: RingVersion },
    Fenced(Option<NodeId>),
    Reload,
    Deleted,
}

impl Resident {
    pub(crate) fn epoch(&self) -> Epoch {
        self.document.as_ref().map_or(Epoch::ZERO, |document| document.epoch())
    }

    fn nothing_waits(&self) -> bool {
        self.append.is_none()
    }

    pub(crate) fn unneeded(&self, now: Instant) -> bool {
        self.nothing_waits() && self.awaited_until.is_none_or(|until| now >= until)
    }
}

impl World {
    /// The resident, if it is still this one.
    pub(crate) fn resident(
        &mut self,
        node: usize,
        document: &DocumentId,
        number: u64,
    ) -> Option<&mut Resident> {
        self.nodes[node].residents.get_mut(document).filter(|resident| resident.number == number)
    }

    pub(crate) fn start_resident(&mut self, node: usize, document: &DocumentId) {
        let of = &mut self.nodes[node];
        of.residents_made += 1;
        let number = of.residents_made;
        let resident = Resident {
            number,
            document: None,
            openers: Vec::new(),
            stopping: false,
            wanted: false,
            operator: None,
            routers: BTreeMap::new(),
            attachments: 0,
            append: None,
            compacting: false,
            checking_tail: false,
            check_tail_again: false,
            awaited_until: None,
            wake_at: None,
            movers: Movers::default(),
            asked: BTreeMap::new(),
            messages: BTreeMap::new(),
        };
        of.residents.insert(document.clone(), resident);
        self.load(node, document.clone(), number, Duration::from_millis(10));
    }

    /// Reads until that works (R8): a load that failed is never an empty document.
    fn load(&mut self, node: usize, document: DocumentId, number: u64, backoff: Duration) {
        let (id, at_least) = (document.clone(), self.facts(&document).last());
        self.call(
            node,
            move |world| world.read(&id),
            move |world, stored| {
                if world.resident(node, &document, number).is_none() {
                    return;
                }
                match stored {
                    Some(stored) => world.loaded(node, &document, number, stored, at_least),
                    None => {
                        let longer = (backoff * 2).min(Duration::from_secs(1));
                        world.after(Place::Node(node), backoff, move |world| {
                            if world.resident(node, &document, number).is_some() {
                                world.load(node, document, number, longer);
                            }
                        });
                    }
                }
            },
        );
    }

    fn loaded(&mut self, node: usize, document: &DocumentId, number: u64, stored: Stored, at_least: Slot) {
        let now = self.now();
        let seed = self.random.bits();
        let of = &self.nodes[node];
        let settings = Settings {
            node: of.id.clone(),
            incarnation: Incarnation::new(u64::from(of.life.run)),
            seed,
            limits: self.limits.clone(),
            gc: Gc::Collect,
        };
        let kept = self.remainders(document);
        let upto = stored.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let last = stored.slots.last().map_or(upto, |(slot, _)| *slot);
        let torn = stored.slots.len() > 2 && self.random.thousandths(50);
        if torn {
            self.tear(document, &stored, &settings);
        }
        let opened = Document::open(document.clone(), stored.snapshot, stored.slots, kept, settings, now);
        let opened = opened.expect("a log that is whole");
        assert_eq!(opened.last_slot(), last, "a load left slots out (I11)");
        assert!(last >= at_least, "a load through {last} is older than itself: {at_least} was there (I11)");
        self.say(format_args!("{:?}: {document} loaded through {last}", Place::Node(node)));
        let Some(resident) = self.resident(node, document, number) else { return };
        resident.document = Some(Box::new(opened));
        for channel in std::mem::take(&mut resident.movers.warming) {
            self.is_warm(node, document, number, channel);
        }
        let Some(resident) = self.resident(node, document, number) else { return };
        if let Some(delete) = resident.operator.take() {
            self.operator_is_heard(node, document, number, delete);
        }
        let Some(resident) = self.resident(node, document, number) else { return };
        for (channel, router) in std::mem::take(&mut resident.openers) {
            self.resident_opened(node, document, channel, router);
        }
        self.settle(node, document, number);
    }

    /// I11: what was read without one of its slots is no document.
    fn tear(&mut self, document: &DocumentId, stored: &Stored, settings: &Settings) {
        let mut slots = stored.slots.clone();
        slots.remove(slots.len() / 2);
        let (id, snapshot) = (document.clone(), stored.snapshot.clone());
        let opened = Document::open(id, snapshot, slots, Vec::new(), settings.clone(), self.now());
        assert!(opened.is_err(), "a log with a gap became a document (I11)");
    }

    // ---- what routers want ----

    pub(crate) fn resident_opened(
        &mut self,
        node: usize,
        document: &DocumentId,
        channel: Channel,
        router: RouterId,
    ) {
        let now = self.now();
        let Some(resident) = self.nodes[node].residents.get_mut(document) else {
            // It has ended over somebody who came before.
            return self.node_serves(node, channel, document.clone(), router);
        };
        if resident.document.is_none() || resident.stopping {
            resident.openers.push((channel, router));
            return;
        }
        resident.wanted = true;
        if resident.document.as_ref().is_some_and(|of| of.deleted()) {
            let (number, reason) = (resident.number, CloseReason::DocumentDeleted);
            self.refuse(channel, OpenError::Refused { reason });
            return self.settle(node, document, number);
        }
        resident.attachments += 1;
        let attachment = resident.attachments;
        let before = resident.routers.insert(router, (attachment, channel));
        resident.awaited_until = Some(now + ATTACH_TIMEOUT);
        let number = resident.number;
        let hosted = Hosted { document: document.clone(), resident: number, router, attachment };
        self.nodes[node].channels.insert(channel, hosted);
        if let Some((_, before)) = before {
            self.down(before, Down::Event(Event::LetGo));
        }
        self.check_tail(node, document, number);
        self.down(channel, Down::Opened);
        if before.is_some() {
            self.tell(node, document, number, Input::RouterGone { router });
        } else {
            self.settle(node, document, number);
        }
    }

    pub(crate) fn node_asked(&mut self, node: usize, channel: Channel, request: Request) {
        let Some(hosted) = self.nodes[node].channels.get(&channel).cloned() else {
            return self.down(channel, Down::Closed);
        };
        let Hosted { document, resident: number, router, attachment } = hosted;
        let Some(resident) = self.resident(node, &document, number) else {
            return self.down(channel, Down::Closed);
        };
        if resident.routers.get(&router).is_none_or(|(of, _)| *of != attachment) {
            return;
        }
        resident.awaited_until = None;
        match &request {
            Request::SyncRequest { session, state_vector } => {
                let clocks = clocks_of(state_vector);
                resident.asked.entry((router, *session)).or_default().push(clocks);
            }
            Request::Attach { session, .. } => drop(resident.messages.remove(&(router, *session))),
            Request::Update { session, .. } => {
                *resident.messages.entry((router, *session)).or_default() += 1;
            }
            Request::Detach { .. }
            | Request::Awareness { .. }
            | Request::QueryAwareness { .. }
            | Request::CatchUp { .. } => {}
        }
        self.tell(node, &document, number, Input::Request { router, request });
    }

    /// A router let go of its attachment.
    pub(crate) fn resident_departed(&mut self, node: usize, hosted: &Hosted) {
        let Hosted { document, resident: number, router, attachment } = hosted;
        let Some(resident) = self.resident(node, document, *number) else { return };
        if resident.routers.get(router).is_some_and(|(of, _)| of == attachment) {
            resident.routers.remove(router);
            self.tell(node, document, *number, Input::RouterGone { router: *router });
        }
    }

    // ---- turns ----

    /// Hands the document one input, and carries out all that follows.
    pub(crate) fn tell(&mut self, node: usize, document: &DocumentId, number: u64, input: Input) {
        let now = self.now();
        let Some(resident) = self.resident(node, document, number) else { return };
        let Some(of) = &mut resident.document else { return };
        of.handle(input, now);
        let effects: Vec<_> = std::iter::from_fn(|| of.next_effect()).collect();
        for effect in effects {
            if let Some(end) = self.carry_out(node, document, number, effect) {
                return self.end_resident(node, document, end);
            }
        }
        self.settle(node, document, number);
    }

    /// After all effects of a turn.
    fn settle(&mut self, node: usize, document: &DocumentId, number: u64) {
        self.answers_movers(node, document, number);
        let now = self.now();
        let Some(resident) = self.resident(node, document, number) else { return };
        let Some(of) = &resident.document else { return };
        if resident.check_tail_again && !resident.checking_tail {
            resident.check_tail_again = false;
            resident.checking_tail = true;
            self.nodes[node].tails_wanted.push((document.clone(), number));
        } else if resident.stopping && resident.nothing_waits() && !resident.compacting {
            self.end_resident(node, document, End::Stopped);
        } else if of.deleted() && resident.wanted && resident.nothing_waits() {
            self.tell_closed(node, document);
            self.end_resident(node, document, End::Deleted);
        } else if let Some(due) = of.next_deadline().map(|due| due.max(now))
            && resident.wake_at.is_none_or(|at| at > due)
        {
            resident.wake_at = Some(due);
            let document = document.clone();
            // A timer is never early.
            let wait = due - now + Duration::from_micros(1);
            self.after(Place::Node(node), wait, move |world| world.wake(node, &document, number, due));
        }
    }

    fn wake(&mut self, node: usize, document: &DocumentId, number: u64, due: Instant) {
        let now = self.now();
        let Some(resident) = self.resident(node, document, number) else { return };
        if resident.wake_at != Some(due) {
            return;
        }
        resident.wake_at = None;
        let due = resident.document.as_ref().and_then(|document| document.next_deadline());
        if due.is_some_and(|due| due <= now) {
            self.tell(node, document, number, Input::Wake);
        } else {
            self.settle(node, document, number);
        }
    }

    /// The node lets go of the document, when everything is flushed.
    pub(crate) fn stop_resident(&mut self, node: usize, document: &DocumentId) {
        let Some(resident) = self.nodes[node].residents.get_mut(document) else { return };
        resident.stopping = true;
        let (number, epoch) = (resident.number, resident.epoch());
        let Some(of) = &resident.document else {
            return self.end_resident(node, document, End::Stopped);
        };
        if of.takes_no_slot() {
            // What gathered while it was sealed is this node's to store, unless somebody else has claimed it.
            let input = if epoch > Epoch::ZERO { Input::Claim } else { Input::Unseal };
            self.tell(node, document, number, input);
        } else {
            self.settle(node, document, number);
        }
    }

    pub(crate) fn end_resident(&mut self, node: usize, document: &DocumentId, end: End) {
        let Some(resident) = self.nodes[node].residents.get_mut(document) else { return };
        let channels: Vec<Channel> = resident.routers.values().map(|(_, channel)| *channel).collect();
        let ring = self.nodes[node].ring.version();
        let farewell = match &end {
            End::Moved { owner, ring } => Event::Moved { owner: owner.clone(), ring: *ring },
            End::Fenced(Some(by)) if *by != self.nodes[node].id => Event::Moved { owner: by.clone(), ring },
            _ => Event::LetGo,
        };
        for channel in channels.into_iter().filter(|_| end != End::Deleted) {
            self.down(channel, Down::Event(farewell.clone()));
        }
        self.resident_ended(node, document, &end);
    }

    // ---- what runs beside the document ----

    /// Creates the slot, trying for as long as that takes. Every try carries the same record.
    pub(crate) fn append(&mut self, node: usize, document: DocumentId, number: u64, backoff: Duration) {
        let Some(resident) = self.resident(node, &document, number) else { return };
        let (slot, record) = resident.append.clone().expect("there is one");
        let (id, written) = (document.clone(), record.clone());
        self.call(
            node,
            move |world| world.create_slot(&id, slot, &written),
            move |world, outcome| {
                let Some(outcome) = outcome else {
                    let longer = (backoff * 2).min(Duration::from_secs(1));
                    return world.after(Place::Node(node), backoff, move |world| {
                        world.append(node, document, number, longer);
                    });
                };
                let Some(resident) = world.resident(node, &document, number) else { return };
                resident.append = None;
                let ours = world.facts(&document).decided(slot, &record, &outcome);
                let fenced = world.counts.fenced;
                let late = matches!(&outcome, AppendOutcome::Taken(found) if found.epoch < record.epoch);
                world.counts.late += u64::from(late);
                world.tell(node, &document, number, Input::Appended { slot, outcome });
                assert!(!ours || world.counts.fenced == fenced, "a writer does not know its own record (R2)");
            },
        );
    }

    pub(crate) fn check_tail(&mut self, node: usize, document: &DocumentId, number: u64) {
        self.say(format_args!("{:?}: {document} wants its tail", Place::Node(node)));
        let Some(resident) = self.resident(node, document, number) else { return };
        if std::mem::replace(&mut resident.checking_tail, true) {
            resident.check_tail_again = true;
        } else {
            self.nodes[node].tails_wanted.push((document.clone(), number));
        }
    }

    /// R9. What is not above the document's own last slot it has decided itself; what is may be its own append.
    pub(crate) fn tail_looked_at(
        &mut self,
        node: usize,
        document: &DocumentId,
        number: u64,
        last: Option<Slot>,
    ) {
        self.say(format_args!("{:?}: {document} ends at {last:?}", Place::Node(node)));
        let Some(resident) = self.resident(node, document, number) else { return };
        let Some(of) = &resident.document else { return };
        let known = of.last_slot();
        match last {
            Some(last) if last > known && resident.append.is_none() => {
                self.read_tail(node, document, number, known, last);
            }
            Some(last) if last > known => {
                resident.checking_tail = false;
                self.settle(node, document, number);
            }
            // The store never loses a slot here: a look that is older than our newest slots found less.
            Some(_) => {
                resident.checking_tail = false;
                self.tell(node, document, number, Input::Tail { slots: Vec::new(), last: known });
            }
            None => {
                resident.checking_tail = false;
                self.settle(node, document, number);
            }
        }
    }

    fn read_tail(&mut self, node: usize, document: &DocumentId, number: u64, after: Slot, last: Slot) {
        let (id, document) = (document.clone(), document.clone());
        self.call(
            node,
            move |world| world.read_after(&id, after),
            move |world, slots| {
                let Some(resident) = world.resident(node, &document, number) else { return };
                resident.checking_tail = false;
                match slots {
                    Some(Some(slots)) => {
                        // The look was before our newest slots: it has not lost them.
                        let last = resident.document.as_ref().map_or(last, |of| last.max(of.last_slot()));
                        world.tell(node, &document, number, Input::Tail { slots, last });
                    }
                    // Somebody has made a snapshot of slots that it has not seen.
                    Some(None) => world.end_resident(node, &document, End::Reload),
                    None => world.settle(node, &document, number),
                }
            },
        );
    }

    /// Makes a snapshot of what the store holds (R6), then trims.
    pub(crate) fn compact(&mut self, node: usize, document: &DocumentId, number: u64, through: Slot) {
        let (id, document) = (document.clone(), document.clone());
        self.call(
            node,
            move |world| world.read(&id),
            move |world, stored| {
                let Some(Stored { snapshot, mut slots }) = stored else {
                    return world.compacted(node, &document, number, Input::CompactionFailed);
                };
                slots.retain(|(slot, _)| *slot <= through);
                if slots.len() > 2 {
                    let mut torn = slots.clone();
                    torn.remove(slots.len() / 2);
                    let made = compaction::compact(&document, snapshot.clone(), torn, Gc::Collect);
                    assert!(made.is_err(), "a log with a gap became a snapshot (R6)");
                }
                match compaction::compact(&document, snapshot, slots, Gc::Collect) {
                    Ok(snapshot) => world.keep_snapshot(node, document, number, snapshot),
                    Err(compaction::CompactError::Nothing { .. }) => {
                        world.compacted(node, &document, number, Input::CompactionFailed);
                    }
                    Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
                }
            },
        );
    }

    fn keep_snapshot(
        &mut self,
        node: usize,
        document: DocumentId,
        number: u64,
        snapshot: ringleaf_types::Snapshot,
    ) {
        let (id, made) = (document.clone(), snapshot.clone());
        self.call(
            node,
            move |world| {
                let created = world.create_snapshot(&id, &made);
                if created {
                    world.trim(&id);
                }
                created || world.read(&id).snapshot.as_ref() == Some(&made)
            },
            move |world, kept| {
                let upto = snapshot.upto;
                let input =
                    if kept == Some(true) { Input::Compacted { upto } } else { Input::CompactionFailed };
                world.compacted(node, &document, number, input);
            },
        );
    }

    fn compacted(&mut self, node: usize, document: &DocumentId, number: u64, input: Input) {
        if let Some(resident) = self.resident(node, document, number) {
            resident.compacting = false;
            self.tell(node, document, number, input);
        }
    }

    /// Nobody needs it any more, unless somebody has come meanwhile.
    pub(crate) fn may_be_forgotten(&mut self, node: usize, document: &DocumentId, number: u64) -> bool {
        let now = self.now();
        self.resident(node, document, number).is_some_and(|resident| resident.unneeded(now))
    }
}
