//! The task of one document.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringleaf_types::{CloseReason, NodeId, RingVersion, SessionId, Slot};
use ringleaf_wire::{DocumentHost, Event, OpenError, ServerMessage};
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};
use tracing::debug;

use super::inbox::{Published, Told};
use super::round::{frame, rounds};
use super::sweeps::Sweeps;
use super::window::Window;
use super::{FanOut, Opened, Sink};
use crate::connection::Connection;
use crate::session::Session;
use crate::shared::{Shared, random_part};

/// The runtime gets its turn after so many sockets.
const SOCKETS_PER_TURN: usize = 256;

/// A sign of life comes within one such part of its interval.
const SWEEPS_PER_KEEPALIVE: u32 = 4;

/// Waits between two tries to open a document again.
const REOPEN_FIRST: Duration = Duration::from_millis(50);
const REOPEN_LAST: Duration = Duration::from_secs(2);

struct Task {
    fan_out: Arc<FanOut>,
    shared: Arc<Shared>,
    members: Vec<Arc<Connection>>,
    places: HashMap<SessionId, usize>,
    window: Window,
    opening: Option<BoxFuture<'static, Result<Arc<dyn DocumentHost>, OpenError>>>,
    /// Tries to open it since it was last open.
    tries: u32,
    /// Connections to be closed, the last one first.
    closings: Vec<(Instant, Arc<Connection>)>,
    /// Whoever still comes is closed too.
    closed: Option<CloseReason>,
    cut: bool,
}

/// What woke the task.
enum Woken {
    Told,
    Opened(Result<Arc<dyn DocumentHost>, OpenError>),
    Sweep,
}

pub(super) async fn run(fan_out: Arc<FanOut>, shared: Arc<Shared>) {
    let mut sweeps = Sweeps::new(shared.limits.keepalive_interval / SWEEPS_PER_KEEPALIVE, Instant::now());
    let mut sweep = interval_at(tokio::time::Instant::now() + sweeps.interval, sweeps.interval);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    shared.metrics.documents.increment(1.0);
    let mut task = Task::new(fan_out, shared);
    task.open(Duration::ZERO, None);
    loop {
        let due = task.due(Instant::now());
        let woken = tokio::select! {
            biased;
            () = task.fan_out.wake.notified() => Woken::Told,
            () = at(due) => Woken::Told,
            opened = found(&mut task.opening) => Woken::Opened(opened),
            _ = sweep.tick() => Woken::Sweep,
        };
        let now = Instant::now();
        match woken {
            Woken::Told => {}
            Woken::Opened(opened) => task.opened(opened),
            Woken::Sweep => task.sweep(&mut sweeps, now),
        }
        task.hear(now);
        task.close_due(now);
        if task.round_due(now) {
            task.round().await;
        }
        if task.fan_out.seats() == 0 && task.shared.documents.forget_if_deserted(&task.fan_out) {
            break;
        }
    }
    task.shared.metrics.documents.decrement(1.0);
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

async fn found(
    opening: &mut Option<BoxFuture<'static, Result<Arc<dyn DocumentHost>, OpenError>>>,
) -> Result<Arc<dyn DocumentHost>, OpenError> {
    let Some(future) = opening else { return pending().await };
    let opened = future.await;
    *opening = None;
    opened
}

impl Task {
    fn new(fan_out: Arc<FanOut>, shared: Arc<Shared>) -> Self {
        Self {
            fan_out,
            shared,
            members: Vec::new(),
            places: HashMap::new(),
            window: Window::default(),
            opening: None,
            tries: 0,
            closings: Vec::new(),
            closed: None,
            cut: false,
        }
    }

    /// When there is something to do by itself.
    fn due(&self, now: Instant) -> Option<Instant> {
        let round = self.fan_out.inbox().has_published().then(|| self.window.opens_at(now).unwrap_or(now));
        let closing = self.closings.last().map(|(at, _)| *at);
        [round, closing].into_iter().flatten().min()
    }

    // ---- the host ----

    /// Begins to open the document after a while; at this node first, if it is named.
    fn open(&mut self, after: Duration, at: Option<(NodeId, RingVersion)>) {
        self.tries += 1;
        let generation = self.fan_out.hosted().generation + 1;
        self.fan_out.inbox().change_host(generation);
        let sink = Arc::new(Sink {
            fan_out: Arc::clone(&self.fan_out),
            generation,
            bytes_max: self.shared.limits.fan_out_waiting_bytes_max,
        });
        let (shared, document) = (Arc::clone(&self.shared), self.fan_out.document().clone());
        let refusable = self.members.is_empty();
        self.opening = Some(Box::pin(async move {
            tokio::time::sleep(after).await;
            shared.route.open(document, shared.router, at, refusable, sink).await
        }));
    }

    fn opened(&mut self, opened: Result<Arc<dyn DocumentHost>, OpenError>) {
        match opened {
            Ok(host) => {
                self.tries = 0;
                drop(self.fan_out.change_host(Some(host)));
                self.fan_out.opened.send_replace(Opened::Yes);
                self.nudge_all();
            }
            Err(OpenError::Refused { reason }) => self.end(Opened::Refused(reason), reason),
            // Nobody waits for it but those who come, and they can be told so.
            Err(_) if self.members.is_empty() => {
                self.end(Opened::Busy, CloseReason::TryAgainLater);
            }
            Err(OpenError::Busy | OpenError::Moved { .. } | OpenError::Unreachable) => {
                self.open(self.pause(), None);
            }
        }
    }

    /// How long to wait before the next try: doubling, and not in step with other documents.
    fn pause(&self) -> Duration {
        let doubled = REOPEN_FIRST * 2_u32.pow(self.tries.min(6));
        doubled.min(REOPEN_LAST).mul_f64(0.5 + random_part() / 2.0)
    }

    /// The host is gone: everybody waits for the next one.
    fn lost(&mut self, generation: u64, to: Option<(NodeId, RingVersion)>) {
        if self.fan_out.hosted().generation != generation || self.closed.is_some() {
            return;
        }
        debug!(document = %self.fan_out.document(), sessions = self.members.len(), "host let go of a document");
        self.shared.metrics.reattached.increment(1);
        self.fan_out.drop_host();
        self.fan_out.opened.send_replace(Opened::NotYet);
        self.nudge_all();
        let after = if self.tries == 0 { Duration::ZERO } else { self.pause() };
        self.open(after, to);
    }

    /// The document is closed to everybody who is here. Whoever comes later asks its host anew.
    fn end(&mut self, opened: Opened, reason: CloseReason) {
        self.closed = Some(reason);
        self.shared.documents.forget(&self.fan_out);
        self.fan_out.opened.send_replace(opened);
        let now = Instant::now();
        for member in &self.members {
            member.close(reason, now);
        }
    }

    // ---- single sessions ----

    /// Carries out what concerns single sessions, in order.
    fn hear(&mut self, now: Instant) {
        let told = self.fan_out.inbox().take_told();
        self.carry_out(told, now);
    }

    fn carry_out(&mut self, told: VecDeque<Told>, now: Instant) {
        for told in told {
            match told {
                Told::Joined(connection) => self.join(connection, now),
                Told::Left(session) => self.leave(session),
                Told::Lost { generation, to } => self.lost(generation, to),
                Told::CloseAll { reason, spread } => self.close_all(reason, spread, now),
                Told::CutAll => self.cut_all(),
                Told::Event(event) => self.event(event, now),
            }
        }
    }

    fn join(&mut self, connection: Arc<Connection>, now: Instant) {
        self.shared.metrics.sessions.increment(1.0);
        if let Some(reason) = self.closed {
            connection.close(reason, now);
        }
        if self.cut {
            connection.cut();
        }
        self.places.insert(connection.session(), self.members.len());
        self.members.push(connection);
    }

    fn leave(&mut self, session: SessionId) {
        let Some(place) = self.places.remove(&session) else { return };
        self.shared.metrics.sessions.decrement(1.0);
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.session(), place);
        }
        if self.members.len() * 4 < self.members.capacity() {
            self.members.shrink_to(self.members.len() * 2);
            self.places.shrink_to(self.members.len() * 2);
        }
    }

    fn member(&self, session: SessionId) -> Option<&Arc<Connection>> {
        self.places.get(&session).map(|&place| &self.members[place])
    }

    fn nudge_all(&self) {
        for member in &self.members {
            member.nudge();
        }
    }

    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Attached { session, slot } => self.tell(session, |member| {
                member.tell(|session| session.attached(slot));
            }),
            Event::Awareness { only: Some(session), payload } => {
                let frame = frame(&ServerMessage::Awareness { payload });
                self.tell(session, |member| member.reply(&frame, None, Session::here, now));
            }
            Event::SyncAnswer { sessions, through, update } => {
                let frame = frame(&ServerMessage::SyncAnswer { update });
                for session in sessions {
                    self.tell(session, |member| {
                        member.reply(&frame, None, |session| session.answered(through), now)
                    });
                }
            }
            Event::SyncRequest { session, state_vector } => {
                let frame = frame(&ServerMessage::SyncRequest { state_vector });
                self.tell(session, |member| member.reply(&frame, None, Session::questioned, now));
            }
            Event::Acknowledge { session, through } => self.tell(session, |member| {
                member.tell(|session| session.acknowledged(through));
            }),
            // The document says which of these are the editor's fault, and when there were too many.
            Event::Refused { .. } => self.shared.metrics.refused.increment(1),
            Event::CaughtUp { from, through, update } => self.caught_up(from, through, update, now),
            Event::CloseSession { session, reason } => self.tell(session, |member| member.close(reason, now)),
            Event::Closed { reason } => self.end(Opened::Refused(reason), reason),
            // The inbox keeps these apart.
            Event::Publish { .. }
            | Event::Awareness { only: None, .. }
            | Event::LetGo
            | Event::Moved { .. } => {}
        }
    }

    /// A session that has left is told nothing.
    fn tell(&self, session: SessionId, tell: impl FnOnce(&Connection)) {
        if let Some(member) = self.member(session) {
            tell(member);
        }
    }

    fn caught_up(&self, from: Slot, through: Slot, update: Bytes, now: Instant) {
        // Order: whoever finds this answer gone asks by himself, so it goes before anybody is told.
        self.fan_out.hosted().catching_up.remove(&from);
        let frame = frame(&ServerMessage::Update { update });
        for member in &self.members {
            member.catch_up(&frame, from, through, now);
        }
    }

    // ---- everybody ----

    fn round_due(&self, now: Instant) -> bool {
        let inbox = self.fan_out.inbox();
        // Limit: what does not fit into a socket's buffer at once would have to wait there.
        let full = inbox.bytes() >= self.shared.limits.outbox_bytes_max / 2;
        inbox.has_published() && (full || self.window.opens_at(now).is_none())
    }

    /// Hands on everything that waits, to everybody.
    async fn round(&mut self) {
        let (told, published) = self.fan_out.inbox().take_all();
        let began = Instant::now();
        self.carry_out(told, began);
        if self.members.is_empty() {
            return;
        }
        self.missed(&published);
        let (mut turn_began, mut cost) = (began, Duration::ZERO);
        for round in rounds(published) {
            let mut handed = 0;
            for (at, member) in self.members.iter().enumerate() {
                handed += u64::from(member.publish(&round, began));
                if at % SOCKETS_PER_TURN == SOCKETS_PER_TURN - 1 {
                    cost += turn_began.elapsed();
                    tokio::task::yield_now().await;
                    turn_began = Instant::now();
                }
            }
            self.shared.metrics.deliveries.increment(handed * u64::from(round.updates.frames));
        }
        cost += turn_began.elapsed();
        self.shared.metrics.fan_out_seconds.record(cost);
        self.window.ran(began, cost, &self.shared.limits);
        self.fan_out.inbox().opens_at = self.window.opens_at(began);
    }

    fn missed(&self, published: &Published) {
        if !published.overrun {
            return;
        }
        self.shared.metrics.overruns.increment(1);
        for member in &self.members {
            member.missed();
        }
    }

    fn sweep(&self, sweeps: &mut Sweeps, now: Instant) {
        let slept = sweeps.slept(now);
        for member in &self.members {
            member.sweep(now, slept, sweeps.interval);
        }
    }

    fn close_all(&mut self, reason: CloseReason, spread: Duration, now: Instant) {
        self.closed = Some(reason);
        let at = |member: &Arc<Connection>| (now + spread.mul_f64(random_part()), Arc::clone(member));
        self.closings = self.members.iter().map(at).collect();
        self.closings.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    fn cut_all(&mut self) {
        self.cut = true;
        for member in &self.members {
            member.cut();
        }
    }

    fn close_due(&mut self, now: Instant) {
        let Some(reason) = self.closed else { return };
        while let Some((_, member)) = self.closings.pop_if(|(at, _)| *at <= now) {
            member.close(reason, now);
        }
    }
}

impl Drop for Task {
    /// A panic here would leave the editors of this document with sockets on which nothing comes any more: they are cut
    /// off, and come back to a task that works.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.documents.forget(&self.fan_out);
            for member in &self.members {
                member.cut_after_panic();
            }
        }
    }
}
