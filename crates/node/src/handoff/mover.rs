//! Moves away what others should own, for as long as the node lives.
//!
//! ```text
//! the ring changes, every second ──▶ look: who should own what is here, and does he live? ──▶ window ─▶ handoffs
//!                                                                                              ▲ one ends ─┘
//! ```
//!
//! A look replaces what waits and leaves alone what is on its way, so a target that hangs keeps nobody waiting but itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all, pending};
use futures_util::stream::FuturesUnordered;
use ringleaf_ring::handoff::SourceEnd;
use ringleaf_ring::{Member, MemberState};
use ringleaf_types::{DocumentId, NodeId};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::debounce::Debounce;
use super::pace::Pace;
use super::setbacks::{Setback, Setbacks};
use super::source;
use super::window::Window;
use crate::membership::Membership;
use crate::registry::Resident;
use crate::shared::Shared;

/// How often what is wanted is compared with what there is, also without news.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Limit: documents that wait to be moved to one owner. The rest is found by a later look.
const QUEUE_MAX: usize = 500;

/// What others should own, by whom, hot ones first.
type Misplaced = BTreeMap<NodeId, Vec<Arc<Resident>>>;

/// What a look has found.
#[derive(Default)]
struct Found {
    misplaced: Misplaced,
    /// These owners answer.
    alive: BTreeSet<NodeId>,
    /// This node leaves, and somebody is there for documents whose owner does not answer.
    refuge: bool,
}

/// A handoff has ended.
struct Ended {
    resident: Arc<Resident>,
    owner: NodeId,
    began_at: Instant,
    end: SourceEnd,
    /// For so long the document took no updates.
    pause: Duration,
}

/// What has become of the documents for one owner, until there are none left for now.
struct Tally {
    began_at: Instant,
    ends: Vec<SourceEnd>,
    forgotten: usize,
    let_go: usize,
    longest_pause: Duration,
}

/// One for each node.
struct Mover {
    window: Window<Arc<Resident>>,
    pace: Pace,
    /// When the next one may begin, if one waits for that.
    start_at: Option<Instant>,
    handoffs: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Documents on their way: one move of each at a time.
    moving: BTreeSet<DocumentId>,
    look: Option<BoxFuture<'static, Found>>,
    look_at: Instant,
    debounce: Debounce,
    setbacks: Setbacks,
    /// Owners that did not answer the last time: that is said once.
    silent: BTreeSet<NodeId>,
    tallies: BTreeMap<NodeId, Tally>,
}

/// Moves away what others should own, for as long as the node lives.
///
/// # Cancel safety
///
/// Dropping the future leaves documents that were just being moved to the timers of their targets, and sealed ones
/// sealed. Only the end of the node does.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(mut ring) = shared.membership.as_ref().map(Membership::ring) else { return };
    let mut mover = Mover::new();
    let mut late = interval(LOOK_INTERVAL);
    late.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        mover.start(&shared);
        tokio::select! {
            biased;
            changed = ring.changed() => match changed {
                Ok(()) => mover.ring_changed(&shared),
                Err(_stopped) => return,
            },
            Some(ended) = mover.handoffs.next(), if !mover.handoffs.is_empty() => mover.ended(&shared, ended),
            found = looked(&mut mover.look) => mover.found(&shared, found),
            _ = late.tick() => {
                shared.handoffs.abandon_late_ones();
                // Also while nothing may move: they would pile up.
                if let Some(membership) = &shared.membership {
                    membership.forget_old_duels();
                }
            }
            () = until(mover.start_at), if mover.start_at.is_some() => {}
            () = shared.handoffs.look.notified() => mover.look_at = Instant::now(),
            () = sleep_until(mover.look_at), if mover.look.is_none() => mover.look(&shared),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

async fn looked(look: &mut Option<BoxFuture<'static, Found>>) -> Found {
    let Some(looking) = look else { return pending().await };
    let found = looking.await;
    *look = None;
    found
}

impl Mover {
    fn new() -> Self {
        Self {
            window: Window::default(),
            pace: Pace::default(),
            start_at: None,
            handoffs: FuturesUnordered::new(),
            moving: BTreeSet::new(),
            look: None,
            look_at: Instant::now() + LOOK_INTERVAL,
            debounce: Debounce::default(),
            setbacks: Setbacks::default(),
            silent: BTreeSet::new(),
            tallies: BTreeMap::new(),
        }
    }

    fn ring_changed(&mut self, shared: &Shared) {
        let now = Instant::now();
        self.debounce.changed(now.into_std());
        let rest =
            shared.membership.as_ref().map_or(Duration::ZERO, |membership| membership.pacing().debounce);
        // A node that leaves does not wait; otherwise this look finds that it is early, and the next is in time.
        self.look_at =
            if leaves(shared) { now } else { self.debounce.until(rest).map_or(now, Instant::from_std) };
    }

    /// How many documents may be on their way now.
    fn going_max(&mut self, shared: &Shared) -> usize {
        let Some(membership) = &shared.membership else { return 0 };
        let pacing = membership.pacing();
        let may = leaves(shared)
            || (!pacing.paused && self.debounce.is_over(pacing.debounce, Instant::now().into_std()));
        if may { pacing.out_max } else { 0 }
    }

    fn look(&mut self, shared: &Arc<Shared>) {
        let now = Instant::now();
        let rested = self.setbacks.next(now.into_std()).map(Instant::from_std);
        self.look_at = rested.map_or(now + LOOK_INTERVAL, |rested| rested.min(now + LOOK_INTERVAL));
        if self.going_max(shared) > 0 {
            let shared = Arc::clone(shared);
            self.look = Some(async move { look(&shared).await }.boxed());
        }
    }

    fn found(&mut self, shared: &Arc<Shared>, found: Found) {
        let Found { misplaced, alive, refuge } = found;
        self.silent.retain(|owner| misplaced.contains_key(owner) && !alive.contains(owner));
        self.setbacks.keep(|owner| misplaced.contains_key(owner));
        let mut queues = BTreeMap::new();
        for (owner, residents) in misplaced {
            if !alive.contains(&owner) {
                if refuge {
                    self.leave(shared, &owner, &residents);
                } else if self.silent.insert(owner.clone()) {
                    warn!(target = %owner, documents = residents.len(), "keep documents whose owner does not answer");
                }
                continue;
            }
            let there = residents.into_iter().filter(|resident| !self.moving.contains(&resident.document));
            let (idle, busy): (Vec<_>, Vec<_>) = there.partition(|resident| resident.facts.sessions() == 0);
            if idle.is_empty() && busy.is_empty() {
                continue;
            }
            for resident in &idle {
                shared.handoffs.let_go(resident);
            }
            shared.handoffs.forgotten.fetch_add(idle.len() as u64, Ordering::Relaxed);
            self.tally(&owner).forgotten += idle.len();
            queues.insert(owner, busy.into_iter().take(QUEUE_MAX).collect());
        }
        self.window.refill(queues);
        self.say_what_is_done();
    }

    /// Lets go of documents whose owner does not answer, instead of keeping them: this node may be of no use to them
    /// either. Their routers find whoever comes next on the ring.
    fn leave(&mut self, shared: &Shared, owner: &NodeId, residents: &[Arc<Resident>]) {
        let there = || residents.iter().filter(|resident| !self.moving.contains(&resident.document));
        there().for_each(|resident| shared.handoffs.let_go_instead(resident));
        let count = there().count();
        self.tally(owner).let_go += count;
    }

    /// Begins as many handoffs as there is room for, at the pace that it is time for. A node that leaves has none.
    fn start(&mut self, shared: &Arc<Shared>) {
        let max = self.going_max(shared);
        let now = Instant::now().into_std();
        self.pace.look(shared.latencies.all(), self.window.moving() > 0, now);
        let per_second_max =
            shared.membership.as_ref().map_or(1, |membership| membership.pacing().out_per_second_max);
        let paced = !leaves(shared);
        while !paced || self.pace.next_at(now).is_none() {
            let next = self.window.next(max, |owner| self.setbacks.rests(owner, now));
            let Some((owner, resident)) = next else { break };
            let member = shared.ring_view().and_then(|view| view.member(&owner).cloned());
            let member = member.filter(|_| shared.should_own(&owner, &resident.document));
            let stays = resident.stop.is_cancelled() || resident.ended.is_cancelled();
            match member {
                Some(member) if !stays => {
                    self.pace.began(per_second_max, now);
                    self.hand_off(shared, resident, member);
                }
                _ => self.window.ended(&owner),
            }
        }
        let waits = paced && self.window.waits() && self.window.moving() < max;
        self.start_at = self.pace.next_at(now).filter(|_| waits).map(Instant::from_std);
        shared.handoffs.going.store(self.window.moving(), Ordering::Relaxed);
    }

    fn hand_off(&mut self, shared: &Arc<Shared>, resident: Arc<Resident>, owner: Member) {
        self.moving.insert(resident.document.clone());
        let shared = Arc::clone(shared);
        let handoff = async move {
            let began_at = Instant::now();
            let (end, pause) = source::hand_off(&shared, &resident, &owner).await;
            Ended { resident, owner: owner.node, began_at, end, pause }
        };
        self.handoffs.push(handoff.boxed());
    }

    fn ended(&mut self, shared: &Arc<Shared>, ended: Ended) {
        let Ended { resident, owner, began_at, end, pause } = ended;
        self.moving.remove(&resident.document);
        self.window.ended(&owner);
        shared.metrics.handed_off(end, pause);
        let mut let_go = 0;
        match end {
            SourceEnd::Moved => {
                self.setbacks.moved(&owner, &resident.document);
                shared.handoffs.moved.fetch_add(1, Ordering::Relaxed);
            }
            SourceEnd::Refused | SourceEnd::Aborted | SourceEnd::TakenBack => {
                let_go = self.failed(shared, &owner, &resident, began_at);
            }
            SourceEnd::Behind => let_go = self.behind(shared, &owner, &resident),
            SourceEnd::Busy | SourceEnd::Ended => {}
        }
        let tally = self.tally(&owner);
        tally.let_go += let_go;
        tally.longest_pause = tally.longest_pause.max(pause);
        tally.ends.push(end);
        self.say_what_is_done();
    }

    /// A handoff has come to nothing. Answers how many documents are let go of because of it.
    fn failed(
        &mut self,
        shared: &Shared,
        owner: &NodeId,
        resident: &Arc<Resident>,
        began_at: Instant,
    ) -> usize {
        let now = Instant::now();
        let (began, std_now) = (began_at.into_std(), now.into_std());
        let setback = if shared.handoffs.store_lost() {
            // What is in flight stays so: no try will be better.
            Setback::LetAllGo
        } else {
            self.setbacks.failed(owner, &resident.document, began, std_now, leaves(shared))
        };
        let others = match setback {
            Setback::Rest => {
                let rested = self.setbacks.next(std_now).map_or(now, Instant::from_std);
                self.look_at = self.look_at.min(rested);
                return 0;
            }
            Setback::LetGo => Default::default(),
            // The others do not wait for the same failure.
            Setback::LetAllGo => self.window.give_up(owner),
        };
        let_go(shared, resident, &others)
    }

    /// The owner does not know yet that the document is to be its own. Answers how many documents are let go of because that
    /// has lasted for too long: the log decides who has them.
    fn behind(&mut self, shared: &Shared, owner: &NodeId, resident: &Arc<Resident>) -> usize {
        let now = Instant::now().into_std();
        if !self.setbacks.behind(owner, now, leaves(shared)) {
            return 0;
        }
        let others = self.window.give_up(owner);
        let documents = 1 + others.len();
        warn!(target = %owner, documents, "let go of documents whose owner does not hear of the ring");
        let_go(shared, resident, &others)
    }

    fn tally(&mut self, owner: &NodeId) -> &mut Tally {
        self.tallies.entry(owner.clone()).or_insert_with(|| Tally {
            began_at: Instant::now(),
            ends: Vec::new(),
            forgotten: 0,
            let_go: 0,
            longest_pause: Duration::ZERO,
        })
    }

    fn say_what_is_done(&mut self) {
        let window = &self.window;
        for (owner, tally) in self.tallies.extract_if(.., |owner, _| window.is_done_with(owner)) {
            let count = |end| tally.ends.iter().filter(|found| **found == end).count();
            info!(
                target = %owner,
                moved = count(SourceEnd::Moved),
                forgotten = tally.forgotten,
                let_go = tally.let_go,
                later = count(SourceEnd::Busy) + count(SourceEnd::Behind),
                longest_pause_ms = tally.longest_pause.as_millis(),
                elapsed_ms = tally.began_at.elapsed().as_millis(),
                "documents moved to their owner"
            );
        }
    }
}

/// The document goes without a handoff, and so do others that wait for the same owner. Answers how many.
fn let_go(shared: &Shared, resident: &Arc<Resident>, others: &VecDeque<Arc<Resident>>) -> usize {
    shared.handoffs.let_go_instead(resident);
    for other in others {
        shared.metrics.handed_off(SourceEnd::Aborted, Duration::ZERO);
        shared.handoffs.let_go_instead(other);
    }
    1 + others.len()
}

/// Whether this node leaves the ring: it drains, is cordoned, or steps aside. That is not held up by anything.
fn leaves(shared: &Shared) -> bool {
    let Some(membership) = &shared.membership else { return false };
    membership.view().is_some_and(|view| !membership.serves(&view))
}

/// What is here that others should own, and which of them live.
async fn look(shared: &Shared) -> Found {
    let Some(membership) = &shared.membership else { return Found::default() };
    let Some(view) = membership.view() else { return Found::default() };
    let mut misplaced = Misplaced::new();
    for resident in shared.registry.all() {
        let owner = view.owner(&resident.document);
        if *owner != shared.config.node && !resident.stop.is_cancelled() {
            misplaced.entry(owner.clone()).or_default().push(resident);
        }
    }
    for residents in misplaced.values_mut() {
        // Hot ones first: the sooner they are away, the shorter this node carries what others should.
        residents.sort_by_cached_key(|resident| {
            std::cmp::Reverse((resident.facts.sessions(), resident.facts.used_at()))
        });
    }
    let owners: Vec<&Member> = misplaced.keys().filter_map(|owner| view.member(owner)).collect();
    let alive = who_lives(membership, &owners).await;
    let refuge = leaves(shared) && alive.len() < owners.len() && {
        let others = view.members().iter().filter(|member| {
            let known = owners.iter().any(|owner| owner.node == member.node);
            member.state == MemberState::Serving && member.node != shared.config.node && !known
        });
        !alive.is_empty() || !who_lives(membership, &others.collect::<Vec<_>>()).await.is_empty()
    };
    Found { misplaced, alive, refuge }
}

async fn who_lives(membership: &Membership, members: &[&Member]) -> BTreeSet<NodeId> {
    let asked = members
        .iter()
        .map(|member| async move { membership.alive(member).await.then(|| member.node.clone()) });
    join_all(asked).await.into_iter().flatten().collect()
}
