//! A router: its fan-outs, and how it finds who hosts a document.
//!
//! It does what `router`'s route does, on the real `search`.

use std::collections::BTreeMap;

use ringleaf_router::search::{Dead, SECOND_TRY, Search};
use ringleaf_types::{DocumentId, NodeId, RouterId, SessionId};
use ringleaf_wire::{ClientMessage, OpenError};

use crate::etcd::RingClient;
use crate::fan_out::FanOut;
use crate::network::{Channel, Down};
use crate::world::{Life, Place, World};

pub(crate) struct Router {
    pub(crate) life: Life,
    pub(crate) ring: RingClient,
    dead: Dead,
    pub(crate) fan_outs: BTreeMap<DocumentId, FanOut>,
    /// What each of its channels is for.
    pub(crate) channels: BTreeMap<Channel, Purpose>,
    pub(crate) sessions_made: u64,
    pub(crate) tries_made: u64,
}

/// What a channel is for.
pub(crate) enum Purpose {
    /// Nobody has answered yet.
    Opening(Box<Try>),
    /// It brings the events of this generation.
    Open { document: DocumentId, generation: u64 },
}

/// One try to open a document at one node.
pub(crate) struct Try {
    pub(crate) document: DocumentId,
    /// Names the opening: a later one makes it void.
    pub(crate) number: u64,
    pub(crate) generation: u64,
    search: Search,
    target: NodeId,
    second: bool,
}

impl Router {
    pub(crate) fn new(_number: usize) -> Self {
        Self {
            life: Life::default(),
            ring: RingClient::new(None),
            dead: Dead::default(),
            fan_outs: BTreeMap::new(),
            channels: BTreeMap::new(),
            sessions_made: 0,
            tries_made: 0,
        }
    }
}

impl World {
    /// Drawn at random when a router starts; here a name of its run.
    pub(crate) fn router_id(&self, router: usize) -> RouterId {
        RouterId::new((router as u64 + 1) * 1_000 + u64::from(self.routers[router].life.run))
    }

    pub(crate) fn start_router(&mut self, router: usize) {
        let place = Place::Router(router);
        let of = &mut self.routers[router];
        if of.life.up {
            return;
        }
        (of.life.up, of.life.paused) = (true, false);
        of.life.run += 1;
        of.ring = RingClient::new(None);
        of.dead = Dead::default();
        self.say(format_args!("{place:?} starts"));
        self.etcd_begins(place);
    }

    pub(crate) fn crash_router(&mut self, router: usize, silent: bool) {
        let place = Place::Router(router);
        if !self.routers[router].life.up {
            return;
        }
        self.counts.crashes += 1;
        self.say(format_args!("{place:?} crashes"));
        self.end_life(place);
        self.crashed(place, silent);
        self.routers[router].fan_outs.clear();
        self.routers[router].channels.clear();
        self.sockets_of_router_break(router);
    }

    // ---- finding the host ----

    /// Asks the next node in turn.
    pub(crate) fn seek(
        &mut self,
        router: usize,
        document: DocumentId,
        number: u64,
        generation: u64,
        mut search: Search,
    ) {
        let place = Place::Router(router);
        self.with_view(place, search.opening().ring, move |world, view| {
            let Some(view) = view else {
                return world.sought(router, &document, number, Err(OpenError::Busy));
            };
            let Some(target) = search.target(&view) else {
                return world.sought(router, &document, number, Err(OpenError::Unreachable));
            };
            let now = world.now();
            let passed_over =
                view.member(&target).is_none() || world.routers[router].dead.holds(&target, now);
            let tried = Try { document, number, generation, search, target, second: false };
            if passed_over {
                world.unreachable(router, tried);
            } else {
                world.try_open(router, tried);
            }
        });
    }

    fn try_open(&mut self, router: usize, tried: Try) {
        let place = Place::Router(router);
        let target = Place::Node(self.node_named(&tried.target));
        self.connect(place, target, move |world, link| {
            let Some(link) = link else { return world.no_way(router, tried) };
            let channel = world.open_channel(link, tried.search.opening().clone());
            world.routers[router].channels.insert(channel, Purpose::Opening(Box::new(tried)));
        });
    }

    /// There is no way to the target, at the first try or at the second.
    fn no_way(&mut self, router: usize, mut tried: Try) {
        if !std::mem::replace(&mut tried.second, true) {
            return self.after(Place::Router(router), SECOND_TRY, move |world| world.try_open(router, tried));
        }
        let now = self.now();
        let _ = self.routers[router].dead.found(tried.target.clone(), now);
        self.unreachable(router, tried);
    }

    fn unreachable(&mut self, router: usize, tried: Try) {
        let Try { document, number, generation, mut search, target, .. } = tried;
        self.say(format_args!("{:?}: no way to {target} for {document}", Place::Router(router)));
        search.unreachable(target);
        self.seek(router, document, number, generation, search);
    }

    /// The end of a link, or a word on it.
    pub(crate) fn router_hears(&mut self, router: usize, channel: Channel, down: Down) {
        let Some(purpose) = self.routers[router].channels.remove(&channel) else { return };
        match (purpose, down) {
            (Purpose::Opening(tried), Down::Opened) => {
                let Try { document, number, generation, .. } = *tried;
                let open = Purpose::Open { document: document.clone(), generation };
                self.routers[router].channels.insert(channel, open);
                self.sought(router, &document, number, Ok(channel));
            }
            (Purpose::Opening(tried), Down::Refused(error)) => {
                self.close_channel(channel);
                self.refused(router, *tried, error);
            }
            (Purpose::Opening(tried), Down::Closed) => self.no_way(router, *tried),
            // Events may come before the word that it is open; their fan-out waits for them already.
            (Purpose::Opening(tried), Down::Event(event)) => {
                let (document, generation) = (tried.document.clone(), tried.generation);
                self.routers[router].channels.insert(channel, Purpose::Opening(tried));
                self.deliver(router, &document, generation, event);
            }
            (Purpose::Open { document, generation }, Down::Event(event)) => {
                let open = Purpose::Open { document: document.clone(), generation };
                self.routers[router].channels.insert(channel, open);
                if !self.deliver(router, &document, generation, event) {
                    self.close_channel(channel);
                    self.routers[router].channels.remove(&channel);
                }
            }
            (Purpose::Open { document, generation }, Down::Closed) => {
                self.lost(router, &document, generation, None);
            }
            (Purpose::Open { .. }, Down::Opened | Down::Refused(_)) => panic!("opened twice"),
            (_, Down::ToSource(_)) => panic!("no router hands a document off"),
        }
    }

    fn refused(&mut self, router: usize, tried: Try, error: OpenError) {
        let Try { document, number, generation, mut search, target, second } = tried;
        match error {
            OpenError::Unreachable => {
                self.no_way(router, Try { document, number, generation, search, target, second });
            }
            OpenError::Moved { owner, ring } => match search.moved(target, owner, ring) {
                Ok(()) => self.seek(router, document, number, generation, search),
                Err(error) => self.sought(router, &document, number, Err(error)),
            },
            OpenError::Busy | OpenError::Refused { .. } => {
                self.sought(router, &document, number, Err(error));
            }
        }
    }

    /// The link of this channel is gone.
    pub(crate) fn router_lost(&mut self, router: usize, channel: Channel) {
        match self.routers[router].channels.remove(&channel) {
            Some(Purpose::Opening(tried)) => self.no_way(router, *tried),
            Some(Purpose::Open { document, generation }) => self.lost(router, &document, generation, None),
            None => {}
        }
    }

    /// An editor's words arrive.
    pub(crate) fn router_reads(
        &mut self,
        router: usize,
        document: &DocumentId,
        session: SessionId,
        message: ClientMessage,
    ) {
        let fan_out = self.routers[router].fan_outs.get_mut(document);
        let Some(member) = fan_out.and_then(|fan_out| fan_out.members.get_mut(&session)) else { return };
        member.unread.push_back(message);
        self.turn(router, document, session);
    }
}
