//! Documents on their way from node to node: the real `Source` and `Target`, and what `node::handoff` does around them.

use std::time::Duration;

use ringleaf_document::Input;
use ringleaf_ring::handoff::{
    Answer, Offer, Seal, Source, SourceEnd, SourceInput, SourceStep, Target, TargetInput, TargetStep,
    ToSource, ToTarget,
};
use ringleaf_types::{DocumentId, Epoch, NodeId, RingVersion, Slot};

use crate::network::{Channel, Down, Up};
use crate::resident::End;
use crate::strike::Step;
use crate::world::{Place, World};

const WARM_TIMEOUT: Duration = Duration::from_secs(40);
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);

/// A document that is offered to another node.
pub(crate) struct Leaving {
    source: Source,
    /// Tells it from earlier handoffs of this document.
    talk: u64,
    resident: u64,
    owner: NodeId,
    ring: RingVersion,
    channel: Option<Channel>,
}

/// A document that another node offers.
pub(crate) struct Coming {
    /// `None` while it is considered.
    target: Option<Target>,
    document: DocumentId,
    resident: Option<u64>,
    /// The resident was asked for something.
    asked: bool,
    /// The source says no more.
    gone: bool,
    from: NodeId,
}

/// Who waits for a fence.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claimer {
    Source(u64),
    Target(Channel),
}

/// What a resident is to answer, when it is so far.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    pub(crate) warming: Vec<Channel>,
    sealing: Option<u64>,
    claiming: Option<Claimer>,
}

impl World {
    // ---- the source ----

    /// What others should own is moved there, or let go of when nobody has it open.
    pub(crate) fn moves_out(&mut self, node: usize, document: &DocumentId, owner: &NodeId) {
        let of = &self.nodes[node];
        let Some(view) = of.ring.view.clone().filter(|view| view.owner(document) == owner) else { return };
        let Some(resident) = of.residents.get(document) else { return };
        if resident.stopping || of.leaving.contains_key(document) {
            return;
        }
        if resident.document.as_ref().is_none_or(|of| of.session_count() == 0) {
            return self.lets_go(node, document);
        }
        self.offers(node, document, owner, view.version());
    }

    /// One that does not flush is abandoned.
    fn lets_go(&mut self, node: usize, document: &DocumentId) {
        let Some(number) = self.nodes[node].residents.get(document).map(|of| of.number) else { return };
        self.stop_resident(node, document);
        let document = document.clone();
        self.after(Place::Node(node), LET_GO_TIMEOUT, move |world| {
            if world.resident(node, &document, number).is_some() {
                world.end_resident(node, &document, End::Stopped);
            }
        });
    }

    fn offers(&mut self, node: usize, document: &DocumentId, owner: &NodeId, ring: RingVersion) {
        let now = self.now();
        self.counts.offered += 1;
        let talk = self.counts.offered;
        let of = &mut self.nodes[node];
        let Some(resident) = of.residents.get(document) else { return };
        let (number, epoch) = (resident.number, resident.epoch());
        let offer = Offer { document: document.clone(), from: of.id.clone(), ring, epoch };
        let (source, first) = Source::begin(offer, now);
        let leaving = Leaving { source, talk, resident: number, owner: owner.clone(), ring, channel: None };
        of.leaving.insert(document.clone(), leaving);
        let target = self.node_named(owner);
        self.say(format_args!("{:?} offers {document} to {owner}", Place::Node(node)));
        self.steps(Step::Offered, node, target, document);
        let SourceStep::Say(offer) = first else { panic!("a handoff begins with an offer") };
        let of_talk = document.clone();
        self.connect(Place::Node(node), Place::Node(target), move |world, link| {
            let document = of_talk;
            if world.leaving(node, &document, talk).is_none() {
                return;
            }
            let Some(link) = link else {
                return world.source_told(node, &document, talk, SourceInput::Lost);
            };
            let channel = world.begin_channel(link, Up::ToTarget(offer));
            world.nodes[node].talks.insert(channel, (document.clone(), talk));
            if let Some(leaving) = world.leaving(node, &document, talk) {
                leaving.channel = Some(channel);
            }
        });
        self.source_waits(node, document, talk);
    }

    fn leaving(&mut self, node: usize, document: &DocumentId, talk: u64) -> Option<&mut Leaving> {
        self.nodes[node].leaving.get_mut(document).filter(|leaving| leaving.talk == talk)
    }

    fn source_waits(&mut self, node: usize, document: &DocumentId, talk: u64) {
        let now = self.now();
        let Some(due) = self.leaving(node, document, talk).and_then(|of| of.source.due_at()) else { return };
        let document = document.clone();
        let wait = due.saturating_duration_since(now) + Duration::from_micros(1);
        self.after(Place::Node(node), wait, move |world| {
            let leaving = world.leaving(node, &document, talk);
            if leaving.is_some_and(|of| of.source.due_at() == Some(due)) {
                world.source_told(node, &document, talk, SourceInput::Late);
            }
        });
    }

    /// What the source is told in its next turn.
    fn source_answered(&mut self, node: usize, document: &DocumentId, talk: u64, input: SourceInput) {
        let document = document.clone();
        self.after(Place::Node(node), Duration::ZERO, move |world| {
            world.source_told(node, &document, talk, input);
        });
    }

    fn source_told(&mut self, node: usize, document: &DocumentId, talk: u64, input: SourceInput) {
        let now = self.now();
        let Some(leaving) = self.leaving(node, document, talk) else { return };
        let step = leaving.source.handle(input, now);
        let end = leaving.source.end();
        if let Some(step) = step {
            self.source_does(node, document, talk, step);
        }
        match end {
            Some(end) => self.source_ended(node, document, talk, end),
            None => self.source_waits(node, document, talk),
        }
    }

    fn source_does(&mut self, node: usize, document: &DocumentId, talk: u64, step: SourceStep) {
        let Some(leaving) = self.leaving(node, document, talk) else { return };
        let (number, owner, ring, channel) =
            (leaving.resident, leaving.owner.clone(), leaving.ring, leaving.channel);
        let target = self.node_named(&owner);
        match step {
            SourceStep::Say(message) => {
                if let Some(channel) = channel.filter(|channel| self.client_open(*channel)) {
                    self.up(channel, Up::ToTarget(message));
                }
                self.steps(Step::Sealed, node, target, document);
            }
            SourceStep::Seal => {
                self.steps(Step::Sealing, node, target, document);
                if let Some(resident) = self.resident(node, document, number) {
                    resident.movers.sealing = Some(talk);
                    self.tell(node, document, number, Input::Seal);
                }
            }
            SourceStep::Unseal => {
                if let Some(resident) = self.resident(node, document, number) {
                    resident.movers.sealing = None;
                    self.tell(node, document, number, Input::Unseal);
                }
            }
            SourceStep::Claim => {
                let Some(resident) = self.resident(node, document, number) else { return };
                if resident.epoch() == Epoch::ZERO {
                    self.source_answered(node, document, talk, SourceInput::Claimed);
                    return self.tell(node, document, number, Input::Unseal);
                }
                resident.movers.claiming = Some(Claimer::Source(talk));
                self.tell(node, document, number, Input::Claim);
            }
            SourceStep::Forward => {
                if self.resident(node, document, number).is_some() {
                    self.end_resident(node, document, End::Moved { owner, ring });
                }
                self.steps(Step::Moved, node, target, document);
            }
        }
    }

    fn source_ended(&mut self, node: usize, document: &DocumentId, talk: u64, end: SourceEnd) {
        if self.leaving(node, document, talk).is_none() {
            return;
        }
        let Some(leaving) = self.nodes[node].leaving.remove(document) else { return };
        self.say(format_args!("{:?}: the handoff of {document} ends: {end:?}", Place::Node(node)));
        if let Some(channel) = leaving.channel {
            self.nodes[node].talks.remove(&channel);
            self.close_channel(channel);
        }
        self.counts.handoff_ended(end, self.stepped.get(document).copied());
        let failed = matches!(end, SourceEnd::Refused | SourceEnd::Aborted | SourceEnd::TakenBack);
        // It is tried once more, at the next look.
        if failed && self.nodes[node].failed_moves.insert(document.clone()) {
            return;
        }
        self.nodes[node].failed_moves.remove(document);
        if failed && self.resident(node, document, leaving.resident).is_some() {
            self.counts.let_go += 1;
            self.lets_go(node, document);
        }
    }

    /// The target says something, or no more.
    pub(crate) fn source_hears(&mut self, node: usize, channel: Channel, down: Option<Down>) {
        let Some((document, talk)) = self.nodes[node].talks.get(&channel).cloned() else { return };
        let input = match down {
            Some(Down::ToSource(message)) => SourceInput::Heard(message),
            _ => SourceInput::Lost,
        };
        if self.leaving(node, &document, talk).is_some_and(|of| of.source.listens()) {
            self.source_told(node, &document, talk, input);
        }
    }

    // ---- the target ----

    pub(crate) fn target_hears(&mut self, node: usize, channel: Channel, message: ToTarget) {
        let offer = match message {
            ToTarget::Offer(offer) => offer,
            ToTarget::Seal(seal) => return self.target_listens(node, channel, TargetInput::Seal(seal)),
        };
        let (document, from) = (offer.document.clone(), offer.from.clone());
        let coming =
            Coming { target: None, document, resident: None, asked: false, gone: false, from: from.clone() };
        self.nodes[node].coming.insert(channel, coming);
        self.with_view(Place::Node(node), offer.ring, move |world, view| {
            let id = &world.nodes[node].id;
            let known = world.nodes[node].ring.knows(offer.ring);
            let wished = offer.answer(view.as_deref(), known, id);
            let busy = !world.healed && world.random.thousandths(world.scenario.busy);
            let answer = match wished {
                _ if world.nodes[node].stopping => Answer::No,
                Answer::Yes if busy => Answer::Later,
                Answer::Yes | Answer::Later | Answer::Behind | Answer::No => wished,
            };
            let (target, steps) = Target::begin(answer, world.now());
            let Some(coming) = world.nodes[node].coming.get_mut(&channel) else { return };
            let gone = coming.gone;
            let due = target.due_at();
            coming.target = Some(target);
            for step in steps {
                world.target_does(node, channel, step);
            }
            if let Some(due) = due {
                let wait = due.saturating_duration_since(world.now());
                world.after(Place::Node(node), wait, move |world| {
                    world.target_listens(node, channel, TargetInput::Late);
                });
            }
            world.target_over(node, channel);
            if gone {
                world.target_listens(node, channel, TargetInput::Lost);
            }
        });
    }

    /// The source says no more.
    pub(crate) fn target_lost(&mut self, node: usize, channel: Channel) {
        if let Some(coming) = self.nodes[node].coming.get_mut(&channel) {
            coming.gone = true;
            self.target_listens(node, channel, TargetInput::Lost);
        }
    }

    fn target_listens(&mut self, node: usize, channel: Channel, input: TargetInput) {
        let target = self.nodes[node].coming.get(&channel).and_then(|coming| coming.target.as_ref());
        if target.is_some_and(Target::listens) {
            self.target_told(node, channel, input);
        }
    }

    fn target_answered(&mut self, node: usize, channel: Channel, input: TargetInput) {
        self.after(Place::Node(node), Duration::ZERO, move |world| world.target_told(node, channel, input));
    }

    fn target_told(&mut self, node: usize, channel: Channel, input: TargetInput) {
        let Some(coming) = self.nodes[node].coming.get_mut(&channel) else { return };
        if matches!(input, TargetInput::Loaded(_) | TargetInput::Claimed(_) | TargetInput::Ended)
            && !std::mem::take(&mut coming.asked)
        {
            return;
        }
        let step = coming.target.as_mut().and_then(|target| target.handle(input));
        if let Some(step) = step {
            self.target_does(node, channel, step);
        }
        self.target_over(node, channel);
    }

    fn target_over(&mut self, node: usize, channel: Channel) {
        let target = self.nodes[node].coming.get(&channel).and_then(|coming| coming.target.as_ref());
        if let Some(end) = target.and_then(Target::end)
            && let Some(coming) = self.nodes[node].coming.remove(&channel)
        {
            self.say(format_args!("{:?}: {} comes: {end:?}", Place::Node(node), coming.document));
            self.down(channel, Down::Closed);
        }
    }

    fn target_does(&mut self, node: usize, channel: Channel, step: TargetStep) {
        let Some(coming) = self.nodes[node].coming.get(&channel) else { return };
        let (document, number, from) = (coming.document.clone(), coming.resident, coming.from.clone());
        let source = self.node_named(&from);
        match step {
            TargetStep::Say(message) => {
                self.down(channel, Down::ToSource(message));
                match message {
                    ToSource::Warm { .. } => self.steps(Step::Warm, source, node, &document),
                    ToSource::Claimed { .. } => self.steps(Step::Claimed, source, node, &document),
                    ToSource::Accept
                    | ToSource::Busy
                    | ToSource::Behind
                    | ToSource::Refuse
                    | ToSource::Failed => {}
                }
            }
            TargetStep::Warm => self.target_warms(node, channel, &document, source),
            TargetStep::Claim(seal) => {
                self.steps(Step::Claiming, source, node, &document);
                self.nodes[node].hold_offs.welcome(&document);
                self.takes_over(node, channel, &document, number, seal);
            }
            TargetStep::Abandon => {
                let now = self.now();
                let Some(number) = number else { return };
                let Some(resident) = self.resident(node, &document, number) else { return };
                resident.awaited_until = None;
                let sessions = resident.document.as_ref().map_or(0, |of| of.session_count());
                let used = sessions > 0 || resident.epoch() > Epoch::ZERO;
                if !used && resident.unneeded(now) {
                    self.end_resident(node, &document, End::Forgotten);
                }
            }
        }
    }

    fn target_warms(&mut self, node: usize, channel: Channel, document: &DocumentId, source: usize) {
        if let Some(coming) = self.nodes[node].coming.get_mut(&channel) {
            coming.asked = true;
        }
        self.steps(Step::Accepted, source, node, document);
        if self.nodes[node].stopping {
            return self.target_answered(node, channel, TargetInput::Ended);
        }
        if !self.nodes[node].residents.contains_key(document) {
            self.start_resident(node, document);
        }
        let Some(resident) = self.nodes[node].residents.get_mut(document) else { return };
        let (number, loaded) = (resident.number, resident.document.is_some());
        if let Some(coming) = self.nodes[node].coming.get_mut(&channel) {
            coming.resident = Some(number);
        }
        if let Some(resident) = self.resident(node, document, number).filter(|_| !loaded) {
            resident.movers.warming.push(channel);
        } else {
            self.is_warm(node, document, number, channel);
        }
    }

    /// It is loaded, and kept for a while.
    pub(crate) fn is_warm(&mut self, node: usize, document: &DocumentId, number: u64, channel: Channel) {
        let now = self.now();
        let Some(resident) = self.resident(node, document, number) else { return };
        resident.awaited_until = Some(now + WARM_TIMEOUT);
        let last = resident.document.as_ref().map_or(Slot::ZERO, |of| of.last_slot());
        self.target_answered(node, channel, TargetInput::Loaded(last));
    }

    fn takes_over(
        &mut self,
        node: usize,
        channel: Channel,
        document: &DocumentId,
        number: Option<u64>,
        seal: Seal,
    ) {
        if let Some(coming) = self.nodes[node].coming.get_mut(&channel) {
            coming.asked = true;
        }
        let number = number.unwrap_or_default();
        let Some(resident) = self.resident(node, document, number) else {
            return self.target_answered(node, channel, TargetInput::Ended);
        };
        resident.movers.claiming = Some(Claimer::Target(channel));
        self.tell(node, document, number, Input::Inherit { presence: seal.presence });
        let Some(resident) = self.resident(node, document, number) else { return };
        let Some(of) = &resident.document else { return };
        let (known, claimed) = (of.last_slot(), of.claimed());
        if known >= seal.last {
            if !claimed {
                self.tell(node, document, number, Input::Claim);
            }
            return;
        }
        let (id, document) = (document.clone(), document.clone());
        self.call(
            node,
            move |world| world.read_after(&id, known),
            move |world, slots| {
                let resident = world.resident(node, &document, number);
                let Some(of) = resident.and_then(|of| of.document.as_ref()) else { return };
                if !of.claimed() {
                    let slots = slots.flatten().unwrap_or_default();
                    let kept = world.remainders(&document);
                    world.tell(node, &document, number, Input::TakeOver { slots, kept });
                }
            },
        );
    }

    // ---- what residents answer ----

    /// After all effects of a turn.
    pub(crate) fn answers_movers(&mut self, node: usize, document: &DocumentId, number: u64) {
        let now = self.now();
        let Some(resident) = self.resident(node, document, number) else { return };
        let Some(of) = &resident.document else { return };
        let (sealed, claimed, epoch) = (of.sealed(), of.claimed(), of.epoch());
        let writing = resident.append.is_some();
        let seal = sealed.then(|| Seal { last: of.last_slot(), epoch, presence: of.presence(now) });
        let sealing = seal.and_then(|seal| Some((resident.movers.sealing.take()?, seal)));
        let claiming = claimed.then(|| resident.movers.claiming.take()).flatten();
        if let Some((talk, seal)) = sealing {
            assert!(!writing, "{document} was given away with a slot in flight (I3)");
            self.source_answered(node, document, talk, SourceInput::Sealed(seal));
        }
        match claiming {
            Some(Claimer::Source(talk)) => {
                self.source_answered(node, document, talk, SourceInput::Claimed);
            }
            Some(Claimer::Target(channel)) => {
                self.target_answered(node, channel, TargetInput::Claimed(epoch));
            }
            None => {}
        }
    }

    /// A resident has ended: whoever waits for it hears so.
    pub(crate) fn movers_ended(&mut self, node: usize, document: &DocumentId, number: u64) {
        if let Some(leaving) = self.nodes[node].leaving.get(document).filter(|of| of.resident == number) {
            let talk = leaving.talk;
            self.source_answered(node, document, talk, SourceInput::Ended);
        }
        let comes = |coming: &Coming| coming.document == *document && coming.resident == Some(number);
        let coming = self.nodes[node].coming.iter().filter(|(_, coming)| comes(coming) && coming.asked);
        let channels: Vec<Channel> = coming.map(|(channel, _)| *channel).collect();
        for channel in channels {
            self.target_answered(node, channel, TargetInput::Ended);
        }
    }
}
