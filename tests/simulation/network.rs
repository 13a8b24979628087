//! Who reaches whom, and the links between routers and nodes.
//!
//! What belongs to one document on a link arrives in order; two documents may overtake each other. While its ends are cut
//! off from each other, what is on the way waits, as in a socket that is sent again and again; when the cut lasts, each end
//! finds out by itself, by its missing pings, and what was on the way is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ringleaf_ring::handoff::{ToSource, ToTarget};
use ringleaf_types::Slot;
use ringleaf_wire::{Event, OpenError, Opening, Request};

use crate::world::{Place, World};

/// One document on a link, as both ends call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Channel {
    pub(crate) link: u64,
    pub(crate) number: u32,
}

/// What a router says on a channel, or the source of a handoff.
#[derive(Debug)]
pub(crate) enum Up {
    Open(Opening),
    Request(Request),
    ToTarget(ToTarget),
    Close,
}

/// What a node says on a channel.
#[derive(Debug)]
pub(crate) enum Down {
    Opened,
    Refused(OpenError),
    Event(Event),
    ToSource(ToSource),
    Closed,
}

#[derive(Default)]
pub(crate) struct Network {
    cuts: BTreeMap<(Place, Place), u64>,
    cuts_made: u64,
    links: BTreeMap<u64, Link>,
    links_made: u64,
}

struct Link {
    client: End,
    node: End,
    channels: u32,
}

/// One end of a link.
struct End {
    place: Place,
    run: u32,
    open: bool,
    /// What is on its way to this end, by channel.
    coming: BTreeMap<u32, VecDeque<(Duration, Message)>>,
    /// The channels that this end takes part in.
    channels: BTreeSet<u32>,
}

enum Message {
    Up(Up),
    Down(Down),
}

impl Link {
    fn end(&mut self, client: bool) -> &mut End {
        if client { &mut self.client } else { &mut self.node }
    }
}

impl Network {
    fn pair(a: Place, b: Place) -> (Place, Place) {
        (a.min(b), a.max(b))
    }

    pub(crate) fn reaches(&self, a: Place, b: Place) -> bool {
        !self.cuts.contains_key(&Self::pair(a, b))
    }

    /// Cuts one off from the other. Answers a name for this cut.
    pub(crate) fn cut(&mut self, a: Place, b: Place) -> u64 {
        self.cuts_made += 1;
        self.cuts.insert(Self::pair(a, b), self.cuts_made);
        self.cuts_made
    }

    pub(crate) fn mend(&mut self, a: Place, b: Place) {
        self.cuts.remove(&Self::pair(a, b));
    }

    pub(crate) fn mend_all(&mut self) {
        self.cuts.clear();
    }

    fn is_cut(&self, a: Place, b: Place, cut: u64) -> bool {
        self.cuts.get(&Self::pair(a, b)) == Some(&cut)
    }

    fn links_of(&self, place: Place) -> Vec<u64> {
        let of = |link: &Link| link.client.place == place || link.node.place == place;
        self.links.iter().filter(|(_, link)| of(link)).map(|(&number, _)| number).collect()
    }

    /// The open link between them, as the client sees it.
    pub(crate) fn between(&self, client: Place, node: Place) -> Option<u64> {
        let fits = |link: &Link| link.client.place == client && link.node.place == node && link.client.open;
        self.links.iter().find(|(_, link)| fits(link)).map(|(&number, _)| number)
    }

    /// Some link, for a fault.
    pub(crate) fn some_link(&self, at: usize) -> Option<u64> {
        self.links.keys().nth(at % self.links.len().max(1)).copied()
    }

    /// The process at the other end of a channel.
    pub(crate) fn client_of(&self, channel: Channel) -> Option<Place> {
        self.links.get(&channel.link).map(|link| link.client.place)
    }

    pub(crate) fn node_of(&self, channel: Channel) -> Option<Place> {
        self.links.get(&channel.link).map(|link| link.node.place)
    }
}

impl World {
    /// How long a message is on its way.
    pub(crate) fn delay(&mut self) -> Duration {
        let late = if self.healed { 0 } else { self.scenario.late_messages };
        let high = if self.random.thousandths(late) { 500_000 } else { 2_000 };
        Duration::from_micros(self.random.between(100, high))
    }

    /// Finds or makes a link. Its channels break when either end goes.
    pub(crate) fn connect(
        &mut self,
        client: Place,
        node: Place,
        then: impl FnOnce(&mut World, Option<u64>) + 'static,
    ) {
        if let Some(link) = self.network.between(client, node) {
            return then(self, Some(link));
        }
        let reaches = self.network.reaches(client, node);
        let up = self.life(node).is_some_and(|life| life.up);
        if !reaches || !self.answers(node) {
            // Refused at once, or not answered at all.
            let wait = if reaches && !up { self.delay() } else { Duration::from_millis(500) };
            return self.after(client, wait, move |world| then(world, None));
        }
        let (wait, run) = (self.delay(), self.run_of(node));
        self.after(client, wait, move |world| {
            if let Some(link) = world.network.between(client, node) {
                return then(world, Some(link));
            }
            let there = world.lives(node, run) && world.network.reaches(client, node);
            let link = there.then(|| world.make_link(client, node));
            then(world, link);
        });
    }

    fn make_link(&mut self, client: Place, node: Place) -> u64 {
        let network = &mut self.network;
        network.links_made += 1;
        let number = network.links_made;
        let end =
            |place, run| End { place, run, open: true, coming: BTreeMap::new(), channels: BTreeSet::new() };
        let (client, node) = (end(client, self.run_of(client)), end(node, self.run_of(node)));
        self.network.links.insert(number, Link { client, node, channels: 0 });
        number
    }

    /// Begins a channel on a link.
    pub(crate) fn open_channel(&mut self, link: u64, opening: Opening) -> Channel {
        self.begin_channel(link, Up::Open(opening))
    }

    pub(crate) fn begin_channel(&mut self, link: u64, first: Up) -> Channel {
        let of = self.network.links.get_mut(&link).expect("a link that was just found");
        of.channels += 1;
        let channel = Channel { link, number: of.channels };
        of.client.channels.insert(channel.number);
        of.node.channels.insert(channel.number);
        self.up(channel, first);
        channel
    }

    pub(crate) fn up(&mut self, channel: Channel, up: Up) {
        self.send(channel, false, Message::Up(up));
    }

    pub(crate) fn down(&mut self, channel: Channel, down: Down) {
        self.send(channel, true, Message::Down(down));
    }

    /// Whether the client's end still is what it was.
    pub(crate) fn client_open(&self, channel: Channel) -> bool {
        let link = self.network.links.get(&channel.link);
        link.is_some_and(|link| link.client.open && link.client.channels.contains(&channel.number))
    }

    /// The client's end of a channel is of no use any more.
    pub(crate) fn close_channel(&mut self, channel: Channel) {
        if !self.client_open(channel) {
            return;
        }
        self.up(channel, Up::Close);
        if let Some(link) = self.network.links.get_mut(&channel.link) {
            link.client.channels.remove(&channel.number);
        }
    }

    fn send(&mut self, channel: Channel, to_client: bool, message: Message) {
        let delay = self.delay();
        let at = self.at;
        let Some(link) = self.network.links.get_mut(&channel.link) else { return };
        if !link.end(!to_client).open {
            return;
        }
        let end = link.end(to_client);
        let (place, run) = (end.place, end.run);
        let lane = end.coming.entry(channel.number).or_default();
        let ready_at = lane.back().map_or(at, |(before, _)| *before).max(at + delay);
        lane.push_back((ready_at, message));
        self.after_in(place, run, ready_at - at, move |world| world.arrive(channel, to_client));
    }

    /// The next message of a channel arrives, if the network lets it.
    fn arrive(&mut self, channel: Channel, to_client: bool) {
        let at = self.at;
        let Some(link) = self.network.links.get_mut(&channel.link) else { return };
        let (client, node) = (link.client.place, link.node.place);
        let end = link.end(to_client);
        let (place, run, known) = (end.place, end.run, end.channels.contains(&channel.number));
        if !end.open {
            return;
        }
        let lane = end.coming.entry(channel.number).or_default();
        let Some(ready_at) = lane.front().map(|(ready_at, _)| *ready_at) else { return };
        let through = self.network.reaches(client, node);
        if ready_at > at || !through {
            let wait = if through { ready_at - at } else { Duration::from_millis(50) };
            return self.after_in(place, run, wait, move |world| world.arrive(channel, to_client));
        }
        let link = self.network.links.get_mut(&channel.link);
        let lane = link.and_then(|link| link.end(to_client).coming.get_mut(&channel.number));
        match lane.and_then(VecDeque::pop_front) {
            Some((_, Message::Up(up))) => self.node_hears(channel, up),
            Some((_, Message::Down(down))) if known => self.client_hears(channel, down),
            Some(_) | None => {}
        }
    }

    fn client_hears(&mut self, channel: Channel, down: Down) {
        match self.network.client_of(channel) {
            Some(Place::Router(router)) => self.router_hears(router, channel, down),
            Some(Place::Node(node)) => self.relay_hears(node, channel, down),
            _ => {}
        }
    }

    // ---- how links end ----

    /// One end finds that the link is of no use, and ends it. The other end hears of it, if anything gets through.
    pub(crate) fn break_end(&mut self, number: u64, client: bool) {
        let Some(link) = self.network.links.get_mut(&number) else { return };
        let end = link.end(client);
        if !std::mem::replace(&mut end.open, false) {
            return;
        }
        let (place, run) = (end.place, end.run);
        let channels = std::mem::take(&mut end.channels);
        end.coming.clear();
        if self.lives(place, run) {
            self.say(format_args!("{place:?} loses link {number}"));
            for channel in channels {
                let channel = Channel { link: number, number: channel };
                match place {
                    Place::Router(router) if client => self.router_lost(router, channel),
                    Place::Node(node) if client => self.relay_lost(node, channel),
                    _ => self.channel_closed(channel),
                }
            }
        }
        self.tell_other_end(number, !client);
    }

    fn tell_other_end(&mut self, number: u64, client: bool) {
        let delay = self.delay();
        let Some(link) = self.network.links.get_mut(&number) else { return };
        let end = link.end(client);
        if !end.open {
            self.network.links.remove(&number);
            return;
        }
        let (place, run) = (end.place, end.run);
        if !self.lives(place, run) {
            self.network.links.remove(&number);
            return;
        }
        self.after_in(place, run, delay, move |world| {
            let Some(link) = world.network.links.get(&number) else { return };
            if world.network.reaches(link.client.place, link.node.place) {
                world.break_end(number, client);
            } else {
                // Its own pings tell it, or it hears of it later.
                world.after_in(place, run, Duration::from_millis(400), move |world| {
                    world.tell_other_end(number, client);
                });
            }
        });
    }

    /// From now on they do not reach each other. When that lasts, both ends of each link find out.
    pub(crate) fn cut(&mut self, a: Place, b: Place) {
        self.say(format_args!("cut {a:?} from {b:?}"));
        let cut = self.network.cut(a, b);
        for link in self.network.links_of(a) {
            let ends = self.network.links.get(&link).map(|link| (link.client.place, link.node.place));
            if ends.is_some_and(|ends| ends == (a, b) || ends == (b, a)) {
                for client in [true, false] {
                    self.silence(link, client, move |world| world.network.is_cut(a, b, cut));
                }
            }
        }
    }

    /// Later an end of a link breaks it, if the other one still is silent.
    fn silence(&mut self, link: u64, client: bool, still: impl FnOnce(&World) -> bool + 'static) {
        let wait = self.random.millis(2_000, 2_500);
        let Some(of) = self.network.links.get_mut(&link) else { return };
        let end = of.end(client);
        let (place, run) = (end.place, end.run);
        self.after_in(place, run, wait, move |world| {
            if still(world) {
                world.break_end(link, client);
            }
        });
    }

    /// A process is paused: whoever has a link to it notices when that lasts.
    pub(crate) fn paused(&mut self, place: Place) {
        let run = self.run_of(place);
        for link in self.network.links_of(place) {
            let client = self.network.links.get(&link).is_some_and(|link| link.node.place == place);
            self.silence(link, client, move |world| {
                world.lives(place, run) && world.life(place).is_some_and(|life| life.paused)
            });
        }
    }

    /// A process is gone: its links are reset at once, or go silent with their host.
    pub(crate) fn crashed(&mut self, place: Place, silent: bool) {
        for link in self.network.links_of(place) {
            let Some(of) = self.network.links.get_mut(&link) else { continue };
            let client = of.node.place == place;
            of.end(!client).open = false;
            let end = of.end(client);
            let (other, run, open) = (end.place, end.run, end.open);
            if !open || !self.lives(other, run) {
                self.network.links.remove(&link);
                continue;
            }
            if silent {
                self.silence(link, client, |_| true);
            } else {
                let delay = self.delay();
                self.after_in(other, run, delay, move |world| world.break_end(link, client));
            }
        }
    }

    /// Whether a node answers, asked twice by another process.
    pub(crate) fn probe(&mut self, from: Place, node: Place, then: impl FnOnce(&mut World, bool) + 'static) {
        self.probe_once(from, node, move |world, alive| {
            if alive {
                return then(world, true);
            }
            world.probe_once(from, node, then);
        });
    }

    fn probe_once(&mut self, from: Place, node: Place, then: impl FnOnce(&mut World, bool) + 'static) {
        let refused = self.life(node).is_some_and(|life| !life.up);
        let reaches = self.network.reaches(from, node);
        let alive = reaches && self.answers(node) && self.serves(node);
        let wait = if alive || (refused && reaches) { self.delay() } else { Duration::from_millis(500) };
        self.after(from, wait, move |world| then(world, alive));
    }
}

/// In short, for the trace.
pub(crate) fn short(event: &Event) -> String {
    let at = |slot: &Slot| slot.get();
    match event {
        Event::Attached { session, slot } => format!("attached {session} at {}", at(slot)),
        Event::Publish { previous, slot, .. } => format!("publish {} after {}", at(slot), at(previous)),
        Event::Awareness { .. } => "awareness".into(),
        Event::SyncAnswer { sessions, through, update } => {
            format!("answer {sessions:?} through {}, {} bytes", at(through), update.len())
        }
        Event::SyncRequest { session, .. } => format!("ask {session}"),
        Event::Acknowledge { session, through } => format!("acknowledge {session} through {through}"),
        Event::Refused { session, number } => format!("refuse {number} of {session}"),
        Event::CaughtUp { from, through, .. } => format!("caught up from {} to {}", at(from), at(through)),
        Event::CloseSession { session, reason } => format!("close {session}: {reason:?}"),
        Event::Closed { reason } => format!("closed: {reason:?}"),
        Event::LetGo => "let go".into(),
        Event::Moved { owner, .. } => format!("moved to {owner}"),
    }
}
