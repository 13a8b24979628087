//! One hop: a node that a router reaches brings it to one that it does not reach.

use std::time::Duration;

use ringleaf_types::NodeId;
use ringleaf_wire::{Event, OpenError, Opening};

use crate::network::{Channel, Down, Up};
use crate::node::Relay;
use crate::world::{Place, World};

impl World {
    pub(crate) fn relay_opens(&mut self, node: usize, router: Channel, other: &NodeId, opening: Opening) {
        let denied = [opening.denied, vec![self.nodes[node].id.clone()]].concat();
        let opening = Opening { relayed: true, unreachable: Vec::new(), denied, ..opening };
        let (target, to) = (Place::Node(self.node_named(other)), other.clone());
        self.say(format_args!("{:?} relays {} to {target:?}", Place::Node(node), opening.document));
        self.connect(Place::Node(node), target, move |world, link| {
            let Some(link) = link else { return world.refuse(router, OpenError::Unreachable) };
            let document = opening.document.clone();
            let channel = world.open_channel(link, opening);
            world.nodes[node].relayed.insert(router, channel);
            world.nodes[node].relays.insert(channel, Relay { router, document, to, opened: false });
        });
    }

    pub(crate) fn relay(&mut self, _node: usize, router: Channel, channel: Channel, up: Up) {
        match up {
            Up::Open(_) | Up::ToTarget(_) => {}
            Up::Request(request) if self.client_open(channel) => self.up(channel, Up::Request(request)),
            Up::Request(_) => self.down(router, Down::Closed),
            Up::Close => self.channel_closed(router),
        }
    }

    pub(crate) fn relay_hears(&mut self, node: usize, channel: Channel, down: Down) {
        if self.nodes[node].talks.contains_key(&channel) {
            return self.source_hears(node, channel, Some(down));
        }
        let Some(relay) = self.nodes[node].relays.get_mut(&channel) else { return };
        let router = relay.router;
        relay.opened |= matches!(down, Down::Opened);
        if let Down::Refused(error) = &down {
            let now = self.now();
            let of = &mut self.nodes[node];
            if let Some(relay) = of.relays.remove(&channel)
                && matches!(error, OpenError::Moved { .. })
            {
                of.hold_offs.denied(&relay.document, &relay.to, now);
            }
            of.relayed.remove(&router);
            self.close_channel(channel);
        }
        self.down(router, down);
    }

    /// The link to the other node is gone.
    pub(crate) fn relay_lost(&mut self, node: usize, channel: Channel) {
        self.source_hears(node, channel, None);
        let Some(relay) = self.nodes[node].relays.remove(&channel) else { return };
        if relay.opened {
            self.down(relay.router, Down::Event(Event::LetGo));
            // What the router still says is answered by nothing but this.
            self.after(Place::Node(node), Duration::ZERO, move |world| {
                world.nodes[node].relayed.remove(&relay.router);
            });
        } else {
            self.nodes[node].relayed.remove(&relay.router);
            self.refuse(relay.router, OpenError::Unreachable);
        }
    }
}
