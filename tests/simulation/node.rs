//! A node: which documents are resident, who opens them, and what it lets go of.
//!
//! It does what `node`'s server, registry, membership and tail watch do, on the real `placement`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringleaf_node::placement::{HoldOffs, Verdict, verdict};
use ringleaf_ring::{Member, MemberState, Weight};
use ringleaf_types::{DocumentId, Epoch, Incarnation, NodeId, RouterId};
use ringleaf_wire::{OpenError, Opening};

use crate::etcd::RingClient;
use crate::handoff::{Coming, Leaving};
use crate::network::{Channel, Down, Up};
use crate::resident::{End, Resident};
use crate::world::{Life, Place, World};

const TAIL_INTERVAL: Duration = Duration::from_secs(5);
const RECONCILE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Node {
    pub(crate) life: Life,
    pub(crate) id: NodeId,
    pub(crate) ring: RingClient,
    /// What it wants to stand in etcd.
    pub(crate) wanted: Option<Member>,
    pub(crate) hold_offs: HoldOffs,
    pub(crate) residents: BTreeMap<DocumentId, Resident>,
    pub(crate) residents_made: u64,
    /// What each channel is attached to.
    pub(crate) channels: BTreeMap<Channel, Hosted>,
    /// Documents that want to know the end of their log at the next look.
    pub(crate) tails_wanted: Vec<(DocumentId, u64)>,
    /// What it passes on to other nodes: from its own routers' channels to channels of its own, and back.
    pub(crate) relayed: BTreeMap<Channel, Channel>,
    pub(crate) relays: BTreeMap<Channel, Relay>,
    /// Documents that are offered to others, the conversations about them, and those that others offer.
    pub(crate) leaving: BTreeMap<DocumentId, Leaving>,
    /// Their handoff has failed once.
    pub(crate) failed_moves: BTreeSet<DocumentId>,
    pub(crate) talks: BTreeMap<Channel, (DocumentId, u64)>,
    pub(crate) coming: BTreeMap<Channel, Coming>,
    /// Takes no more documents.
    pub(crate) stopping: bool,
}

/// A router's attachment to a resident document.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub(crate) document: DocumentId,
    pub(crate) resident: u64,
    pub(crate) router: RouterId,
    pub(crate) attachment: u64,
}

/// A document of another node that a router is brought to.
pub(crate) struct Relay {
    pub(crate) router: Channel,
    pub(crate) document: DocumentId,
    pub(crate) to: NodeId,
    pub(crate) opened: bool,
}

impl Node {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            life: Life::default(),
            id: format!("n{number}").parse().expect("a name"),
            ring: RingClient::new(None),
            wanted: None,
            hold_offs: HoldOffs::default(),
            residents: BTreeMap::new(),
            residents_made: 0,
            channels: BTreeMap::new(),
            tails_wanted: Vec::new(),
            relayed: BTreeMap::new(),
            relays: BTreeMap::new(),
            leaving: BTreeMap::new(),
            failed_moves: BTreeSet::new(),
            talks: BTreeMap::new(),
            coming: BTreeMap::new(),
            stopping: false,
        }
    }

    fn member(&self, state: MemberState) -> Member {
        Member {
            node: self.id.clone(),
            incarnation: Incarnation::new(u64::from(self.life.run)),
            state,
            weight: Weight::ONE,
            address: self.id.to_string(),
            zone: String::new(),
            version: String::new(),
        }
    }
}

impl World {
    pub(crate) fn node_named(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("a node of this world")
    }

    /// Whether a node says of itself that it serves.
    pub(crate) fn serves(&self, place: Place) -> bool {
        let Place::Node(node) = place else { return false };
        !self.nodes[node].stopping
    }

    // ---- life ----

    pub(crate) fn start_node(&mut self, node: usize) {
        let place = Place::Node(node);
        let cached = self.nodes[node].ring.view.clone().filter(|_| self.random.thousandths(500));
        let of = &mut self.nodes[node];
        if of.life.up {
            return;
        }
        (of.life.up, of.life.paused) = (true, false);
        of.life.run += 1;
        of.ring = RingClient::new(cached);
        of.wanted = Some(of.member(MemberState::Serving));
        of.stopping = false;
        self.say(format_args!("{place:?} starts"));
        self.etcd_begins(place);
        let first = self.random.millis(0, TAIL_INTERVAL.as_millis() as u64);
        self.after(place, first, move |world| world.look_at_tails(node));
        self.after(place, RECONCILE_INTERVAL, move |world| world.reconcile_often(node));
    }

    pub(crate) fn crash_node(&mut self, node: usize, silent: bool) {
        let place = Place::Node(node);
        if !self.nodes[node].life.up {
            return;
        }
        self.counts.crashes += 1;
        self.say(format_args!("{place:?} crashes"));
        self.end_node(node, silent);
    }

    fn end_node(&mut self, node: usize, silent: bool) {
        let place = Place::Node(node);
        self.end_life(place);
        self.crashed(place, silent);
        let of = &mut self.nodes[node];
        of.hold_offs = HoldOffs::default();
        of.residents.clear();
        of.channels.clear();
        of.tails_wanted.clear();
        of.relayed.clear();
        of.relays.clear();
        of.leaving.clear();
        of.failed_moves.clear();
        of.talks.clear();
        of.coming.clear();
        of.wanted = None;
    }

    /// A node leaves in order: off the ring, everything flushed, then the end.
    pub(crate) fn drain_node(&mut self, node: usize) {
        let place = Place::Node(node);
        let of = &mut self.nodes[node];
        if !of.life.up || of.stopping {
            return;
        }
        of.wanted = Some(of.member(MemberState::Draining));
        self.say(format_args!("{place:?} drains"));
        self.registers(node);
        let wait = self.random.millis(500, 4_000);
        self.after(place, wait, move |world| {
            world.nodes[node].stopping = true;
            let residents: Vec<DocumentId> = world.nodes[node].residents.keys().cloned().collect();
            for document in residents {
                world.stop_resident(node, &document);
            }
            world.withdraws(node);
            world.nodes[node].wanted = None;
            let deadline = world.at + Duration::from_secs(10);
            world.exit_when_empty(node, deadline);
        });
    }

    fn exit_when_empty(&mut self, node: usize, deadline: Duration) {
        if self.nodes[node].residents.is_empty() || self.at > deadline {
            self.say(format_args!("{:?} exits", Place::Node(node)));
            self.end_node(node, false);
            let back = self.random.millis(100, 5_000);
            return self.after(Place::Etcd, back, move |world| world.start_node(node));
        }
        self.after(Place::Node(node), Duration::from_millis(50), move |world| {
            world.exit_when_empty(node, deadline);
        });
    }

    // ---- what routers say ----

    pub(crate) fn node_hears(&mut self, channel: Channel, up: Up) {
        let Some(Place::Node(node)) = self.network.node_of(channel) else { return };
        if let Some(relay) = self.nodes[node].relayed.get(&channel).copied() {
            return self.relay(node, channel, relay, up);
        }
        match up {
            Up::Open(opening) => self.node_opens(node, channel, opening),
            Up::Request(request) => self.node_asked(node, channel, request),
            Up::ToTarget(message) => self.target_hears(node, channel, message),
            Up::Close => self.channel_closed(channel),
        }
    }

    fn node_opens(&mut self, node: usize, channel: Channel, opening: Opening) {
        self.with_view(Place::Node(node), opening.ring, move |world, view| {
            let Some(view) = view else { return world.refuse(channel, OpenError::Busy) };
            let now = world.now();
            let of = &world.nodes[node];
            let resident = of.residents.get(&opening.document);
            let claimed =
                resident.is_some_and(|resident| resident.epoch() > Epoch::ZERO && !resident.stopping);
            let away = of.hold_offs.keeps_away(&opening.document, now);
            match verdict(&view, &of.id, &opening, claimed, away.as_ref()) {
                Verdict::Serve => world.node_serves(node, channel, opening.document, opening.router),
                Verdict::Moved(owner) => {
                    world.refuse(channel, OpenError::Moved { owner, ring: view.version() });
                }
                Verdict::Wait => world.refuse(channel, OpenError::Busy),
                Verdict::Probe(others) => {
                    let others = others.into_iter().map(|member| member.node).collect();
                    world.probe_first(node, others, None, move |world, alive| match alive {
                        Some(_) if opening.relayed => world.refuse(channel, OpenError::Busy),
                        Some(other) => world.relay_opens(node, channel, &other, opening),
                        None => world.node_serves(node, channel, opening.document, opening.router),
                    });
                }
            }
        });
    }

    /// The first of these that lives.
    fn probe_first(
        &mut self,
        node: usize,
        mut others: Vec<NodeId>,
        found: Option<NodeId>,
        then: impl FnOnce(&mut World, Option<NodeId>) + 'static,
    ) {
        let Some(other) = others.pop() else { return then(self, found) };
        let target = Place::Node(self.node_named(&other));
        self.probe(Place::Node(node), target, move |world, alive| {
            let found = if alive { Some(other) } else { found };
            world.probe_first(node, others, found, then);
        });
    }

    pub(crate) fn refuse(&mut self, channel: Channel, error: OpenError) {
        self.down(channel, Down::Refused(error));
    }

    /// Makes the document resident, if it is not, and attaches the router.
    pub(crate) fn node_serves(
        &mut self,
        node: usize,
        channel: Channel,
        document: DocumentId,
        router: RouterId,
    ) {
        if self.nodes[node].stopping {
            return self.refuse(channel, OpenError::Busy);
        }
        if !self.nodes[node].residents.contains_key(&document) {
            self.start_resident(node, &document);
        }
        self.resident_opened(node, &document, channel, router);
    }

    /// A router has let go of a document, or its link is gone.
    pub(crate) fn channel_closed(&mut self, channel: Channel) {
        let Some(Place::Node(node)) = self.network.node_of(channel) else { return };
        self.target_lost(node, channel);
        if let Some(relay) = self.nodes[node].relayed.remove(&channel) {
            self.nodes[node].relays.remove(&relay);
            return self.close_channel(relay);
        }
        if let Some(hosted) = self.nodes[node].channels.remove(&channel) {
            self.resident_departed(node, &hosted);
        }
    }

    // ---- regular work ----

    fn look_at_tails(&mut self, node: usize) {
        self.after(Place::Node(node), TAIL_INTERVAL, move |world| world.look_at_tails(node));
        let wanted = std::mem::take(&mut self.nodes[node].tails_wanted);
        if wanted.is_empty() {
            return;
        }
        let documents: Vec<DocumentId> = wanted.iter().map(|(document, _)| document.clone()).collect();
        self.call(
            node,
            move |world| world.tails(&documents),
            move |world, tails| {
                let tails: Option<BTreeMap<_, _>> = tails.map(|tails| tails.into_iter().collect());
                for (document, resident) in wanted {
                    let last = tails.as_ref().map(|tails| tails.get(&document).copied().unwrap_or_default());
                    world.tail_looked_at(node, &document, resident, last);
                }
            },
        );
    }

    fn reconcile_often(&mut self, node: usize) {
        self.after(Place::Node(node), RECONCILE_INTERVAL, move |world| world.reconcile_often(node));
        self.reconcile(node);
    }

    /// Moves what others should own, and who live.
    pub(crate) fn reconcile(&mut self, node: usize) {
        let now = self.now();
        self.nodes[node].hold_offs.forget_old_duels(now);
        let of = &self.nodes[node];
        let Some(view) = of.ring.view.clone() else { return };
        let misplaced = of.residents.iter().filter(|(_, resident)| !resident.stopping);
        let owners: BTreeSet<NodeId> = misplaced
            .map(|(document, _)| view.owner(document).clone())
            .filter(|owner| *owner != of.id)
            .collect();
        for owner in owners {
            let (view, target) = (view.clone(), Place::Node(self.node_named(&owner)));
            self.probe(Place::Node(node), target, move |world, alive| {
                let residents = world.nodes[node].residents.keys();
                let go: Vec<DocumentId> =
                    residents.filter(|document| *view.owner(document) == owner).cloned().collect();
                for document in go.into_iter().filter(|_| alive) {
                    world.moves_out(node, &document, &owner);
                }
            });
        }
    }

    /// A document is no longer resident. Whoever still waits for it starts over.
    pub(crate) fn resident_ended(&mut self, node: usize, document: &DocumentId, end: &End) {
        let Some(resident) = self.nodes[node].residents.remove(document) else { return };
        self.movers_ended(node, document, resident.number);
        self.say(format_args!("{:?}: {document} ends: {end:?}", Place::Node(node)));
        if let End::Fenced(by) = end {
            self.counts.fenced += 1;
            let (now, part) = (self.now(), 0.5 + self.random.part() / 2.0);
            self.nodes[node].hold_offs.lost_claim(document, by.clone(), now, part);
        }
        for (channel, router) in resident.openers {
            self.node_serves(node, channel, document.clone(), router);
        }
    }
}
