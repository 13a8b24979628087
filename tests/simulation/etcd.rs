//! A fake etcd, and what each process makes of it through the real `Picture`.
//!
//! It counts revisions, lets leases run out, tells watchers in order, and may answer a list from the past, as a member that
//! lags behind does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringleaf_coordinator::picture::{Change, Facts, Picture, Verdict};
use ringleaf_ring::{ClusterId, Member, RingView, Weight};
use ringleaf_types::{NodeId, RingVersion};

use crate::world::{Place, World};

const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_millis(2_500);
/// Silence for so long ends a session.
const SILENCE: Duration = Duration::from_secs(10);
const NEWER_RING_TIMEOUT: Duration = Duration::from_millis(500);
const CLUSTER: ClusterId = ClusterId::new(7);

pub(crate) struct Etcd {
    pub(crate) away: bool,
    revision: u64,
    leases: BTreeMap<NodeId, (Member, Duration)>,
    pub(crate) cordons: BTreeSet<NodeId>,
    weights: BTreeMap<NodeId, Weight>,
    changes: Vec<(u64, Vec<Change>)>,
    watchers: BTreeMap<Place, (u32, u64)>,
}

/// One process's session with etcd.
pub(crate) struct RingClient {
    picture: Picture,
    pub(crate) view: Option<Arc<RingView>>,
    connected: bool,
    session: u64,
    /// What it is told arrives in order.
    ready_at: Duration,
    probing: bool,
}

impl RingClient {
    pub(crate) fn new(cached: Option<Arc<RingView>>) -> Self {
        Self {
            picture: Picture::new(LEASE, cached.clone()),
            view: cached,
            connected: false,
            session: 0,
            ready_at: Duration::ZERO,
            probing: false,
        }
    }

    /// Whether everything through this version is in the view.
    pub(crate) fn knows(&self, version: RingVersion) -> bool {
        self.view.is_some() && (self.picture.knows(version) || self.version() >= version)
    }

    pub(crate) fn version(&self) -> RingVersion {
        self.view.as_ref().map_or(RingVersion::default(), |view| view.version())
    }
}

impl Etcd {
    pub(crate) fn new() -> Self {
        Self {
            away: false,
            revision: 1,
            leases: BTreeMap::new(),
            cordons: BTreeSet::new(),
            weights: BTreeMap::new(),
            changes: Vec::new(),
            watchers: BTreeMap::new(),
        }
    }

    /// All facts at a revision.
    fn facts(&self, revision: u64) -> Facts {
        let mut facts = Facts::default();
        let changes = self.changes.iter().take_while(|(at, _)| *at <= revision);
        changes.flat_map(|(_, changes)| changes).for_each(|change| facts.take(change.clone()));
        facts
    }
}

impl World {
    fn ring(&mut self, place: Place) -> &mut RingClient {
        match place {
            Place::Node(node) => &mut self.nodes[node].ring,
            Place::Router(router) => &mut self.routers[router].ring,
            _ => unreachable!("only processes have a ring"),
        }
    }

    fn etcd_reached(&self, place: Place) -> bool {
        !self.etcd.away && self.network.reaches(place, Place::Etcd)
    }

    // ---- what changes in etcd ----

    pub(crate) fn etcd_writes(&mut self, changes: Vec<Change>) {
        self.etcd.revision += 1;
        let revision = self.etcd.revision;
        self.say(format_args!("etcd: revision {revision}, {} changes", changes.len()));
        self.etcd.changes.push((revision, changes.clone()));
        let watchers: Vec<(Place, (u32, u64))> =
            self.etcd.watchers.iter().map(|(place, of)| (*place, *of)).collect();
        for (place, (run, session)) in watchers {
            if !self.lives(place, run) || !self.network.reaches(place, Place::Etcd) {
                self.etcd.watchers.remove(&place);
                continue;
            }
            self.tell_watcher(place, run, session, vec![(revision, changes.clone())]);
        }
    }

    fn tell_watcher(&mut self, place: Place, run: u32, session: u64, told: Vec<(u64, Vec<Change>)>) {
        let delay = self.delay();
        let at = self.at;
        let ring = self.ring(place);
        ring.ready_at = ring.ready_at.max(at + delay);
        let wait = ring.ready_at - at;
        self.after_in(place, run, wait, move |world| {
            for (revision, changes) in told {
                if world.ring(place).session == session {
                    let now = world.now();
                    let verdict = world.ring(place).picture.changed(CLUSTER, revision, changes, now);
                    world.take_verdict(place, verdict);
                }
            }
        });
    }

    /// Leases that run out.
    pub(crate) fn etcd_ticks(&mut self) {
        self.after(Place::Etcd, Duration::from_millis(500), Self::etcd_ticks);
        if self.etcd.away {
            return;
        }
        let at = self.at;
        let gone: Vec<NodeId> = self
            .etcd
            .leases
            .iter()
            .filter(|(_, (_, until))| *until < at)
            .map(|(node, _)| node.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        gone.iter().for_each(|node| drop(self.etcd.leases.remove(node)));
        self.etcd_writes(gone.into_iter().map(|node| Change::Member(node, None)).collect());
    }

    pub(crate) fn etcd_goes(&mut self) {
        self.say(format_args!("etcd goes away"));
        self.etcd.away = true;
        self.etcd.watchers.clear();
    }

    pub(crate) fn etcd_comes_back(&mut self) {
        if std::mem::take(&mut self.etcd.away) {
            self.say(format_args!("etcd comes back"));
            // A new leader gives every lease its whole time again.
            let until = self.at + LEASE;
            self.etcd.leases.values_mut().for_each(|(_, lease)| *lease = until);
        }
    }

    /// An operator changes a weight, or a cordon.
    pub(crate) fn operator(&mut self) {
        if self.etcd.away {
            return;
        }
        let node = self.nodes[self.random.index(self.scenario.nodes)].id.clone();
        let change = if self.random.thousandths(500) {
            let weight = Weight::new(self.random.between(1, 5) as u32).ok();
            match weight {
                Some(weight) => drop(self.etcd.weights.insert(node.clone(), weight)),
                None => drop(self.etcd.weights.remove(&node)),
            }
            Change::Weight(node, weight)
        } else {
            let cordoned = !self.etcd.cordons.remove(&node);
            if cordoned {
                self.etcd.cordons.insert(node.clone());
            }
            Change::Cordon(node, cordoned)
        };
        self.etcd_writes(vec![change]);
    }

    pub(crate) fn uncordon_all(&mut self) {
        let cordons = std::mem::take(&mut self.etcd.cordons);
        if !cordons.is_empty() {
            self.etcd_writes(cordons.into_iter().map(|node| Change::Cordon(node, false)).collect());
        }
    }

    // ---- what a process does ----

    /// Begins a process's session, and renews what it has there, for as long as it runs.
    pub(crate) fn etcd_begins(&mut self, place: Place) {
        self.etcd_connects(place);
        self.etcd_watchdog(place);
        if let Place::Node(node) = place {
            self.renews(node);
        }
    }

    fn etcd_watchdog(&mut self, place: Place) {
        let wait = self.random.millis(500, 3_000);
        self.after(place, wait, move |world| {
            if !world.ring(place).connected {
                world.etcd_connects(place);
            } else if !world.etcd.watchers.contains_key(&place) {
                // Nothing comes any more. That is noticed after a while.
                let session = world.ring(place).session;
                let silence = world.random.millis(0, SILENCE.as_millis() as u64);
                world.after(place, silence, move |world| {
                    let ring = world.ring(place);
                    if ring.session == session {
                        ring.connected = false;
                    }
                });
            }
            world.etcd_watchdog(place);
        });
    }

    /// Lists, then watches from there.
    fn etcd_connects(&mut self, place: Place) {
        let ring = self.ring(place);
        ring.session += 1;
        ring.connected = false;
        let (session, run, wait) = (ring.session, self.run_of(place), self.delay());
        self.etcd.watchers.remove(&place);
        self.after(Place::Etcd, wait, move |world| {
            if !world.etcd_reached(place) || !world.lives(place, run) {
                return;
            }
            let revision = world.listed_revision();
            let facts = world.etcd.facts(revision);
            let wait = world.delay();
            world.after_in(place, run, wait, move |world| {
                if world.ring(place).session != session || !world.etcd_reached(place) {
                    return;
                }
                let now = world.now();
                let verdict = world.ring(place).picture.listed(CLUSTER, revision, facts, now);
                let older = verdict == Verdict::Older;
                world.take_verdict(place, verdict);
                if older {
                    return;
                }
                world.ring(place).connected = true;
                world.etcd.watchers.insert(place, (run, session));
                let missed = world.etcd.changes.iter().filter(|(at, _)| *at > revision).cloned().collect();
                world.tell_watcher(place, run, session, missed);
            });
        });
    }

    /// Mostly the newest. Sometimes an etcd member answers that lags behind.
    fn listed_revision(&mut self) -> u64 {
        let newest = self.etcd.revision;
        let behind = !self.healed && self.random.thousandths(self.scenario.etcd_lags);
        if behind { newest.saturating_sub(self.random.between(0, 4)).max(1) } else { newest }
    }

    fn take_verdict(&mut self, place: Place, verdict: Verdict) {
        match verdict {
            Verdict::Same => {}
            Verdict::Older => self.ring(place).connected = false,
            Verdict::Touch => {
                let wait = self.delay();
                self.after(Place::Etcd, wait, move |world| {
                    if world.etcd_reached(place) {
                        world.etcd_writes(Vec::new());
                    }
                });
            }
            Verdict::View(view) => {
                self.counts.views += 1;
                self.say(format_args!(
                    "{place:?} has ring {} of {}",
                    view.version(),
                    view.members().iter().map(|member| format!("{} ", member.node)).collect::<String>()
                ));
                let ring = self.ring(place);
                assert!(view.version() > ring.version(), "{place:?} acts on an older ring (I17)");
                ring.view = Some(view);
                if let Place::Node(node) = place {
                    self.reconcile(node);
                }
            }
        }
        self.probe_doubted(place);
    }

    fn probe_doubted(&mut self, place: Place) {
        let ring = self.ring(place);
        let doubted = ring.picture.doubted();
        if doubted.is_empty() || std::mem::replace(&mut ring.probing, true) {
            return;
        }
        let asked = doubted.into_iter().map(|member| member.node).collect();
        self.probe_all(place, asked, Vec::new());
    }

    fn probe_all(&mut self, place: Place, mut asked: Vec<NodeId>, mut dead: Vec<NodeId>) {
        let Some(next) = asked.pop() else {
            self.ring(place).probing = false;
            let verdict = self.ring(place).picture.probed(CLUSTER, &dead);
            return self.take_probed(place, verdict);
        };
        let node = self.node_named(&next);
        self.probe(place, Place::Node(node), move |world, alive| {
            if !alive {
                dead.push(next);
            }
            world.probe_all(place, asked, dead);
        });
    }

    /// Those that answer are asked again later, not at once.
    fn take_probed(&mut self, place: Place, verdict: Verdict) {
        self.ring(place).probing = true;
        self.take_verdict(place, verdict);
        self.ring(place).probing = false;
        self.after(place, Duration::from_secs(2), move |world| world.probe_doubted(place));
    }

    /// Somebody has seen this version.
    fn heard(&mut self, place: Place, version: RingVersion) {
        let ring = self.ring(place);
        if ring.connected && !ring.picture.knows(version) {
            self.etcd_connects(place);
        }
    }

    /// The newest view, and at least this version if it can be had soon.
    pub(crate) fn with_view(
        &mut self,
        place: Place,
        version: RingVersion,
        then: impl FnOnce(&mut World, Option<Arc<RingView>>) + 'static,
    ) {
        if self.ring(place).knows(version) {
            let view = self.ring(place).view.clone();
            return then(self, view);
        }
        self.heard(place, version);
        let until = self.at + NEWER_RING_TIMEOUT;
        self.wait_for_view(place, version, until, then);
    }

    fn wait_for_view(
        &mut self,
        place: Place,
        version: RingVersion,
        until: Duration,
        then: impl FnOnce(&mut World, Option<Arc<RingView>>) + 'static,
    ) {
        let in_time = self.ring(place).knows(version);
        if in_time || self.at >= until {
            assert!(in_time || !self.healthy, "{place:?} waits for ring {version} in vain");
            let view = self.ring(place).view.clone();
            return then(self, view);
        }
        self.after(place, Duration::from_millis(20), move |world| {
            world.wait_for_view(place, version, until, then);
        });
    }

    // ---- members ----

    fn renews(&mut self, node: usize) {
        let place = Place::Node(node);
        self.registers(node);
        self.after(place, RENEW, move |world| world.renews(node));
    }

    /// Puts the member on record, or keeps it there.
    pub(crate) fn registers(&mut self, node: usize) {
        let (place, wait) = (Place::Node(node), self.delay());
        let Some(member) = self.nodes[node].wanted.clone() else { return };
        if !self.etcd_reached(place) {
            return;
        }
        let run = self.run_of(place);
        self.after(Place::Etcd, wait, move |world| {
            if !world.etcd_reached(place) || !world.lives(place, run) {
                return;
            }
            let until = world.at + LEASE;
            let before = world.etcd.leases.insert(member.node.clone(), (member.clone(), until));
            if before.is_none_or(|(before, _)| before != member) {
                world.etcd_writes(vec![Change::Member(member.node.clone(), Some(member))]);
            }
        });
    }

    /// Takes the member off the record.
    pub(crate) fn withdraws(&mut self, node: usize) {
        let (id, wait) = (self.nodes[node].id.clone(), self.delay());
        let place = Place::Node(node);
        if self.etcd_reached(place) {
            self.after(Place::Etcd, wait, move |world| {
                if !world.etcd.away && world.etcd.leases.remove(&id).is_some() {
                    world.etcd_writes(vec![Change::Member(id, None)]);
                }
            });
        }
    }
}
