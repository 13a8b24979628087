//! One connection to etcd, from its first question to the first thing that goes wrong.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, Error, Event, EventType, GetOptions, KeyValue, LeaseKeepAliveStream,
    LeaseKeeper, PutOptions, ResponseHeader, Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use ringleaf_ring::{ClusterId, Member};
use ringleaf_types::{NodeId, RingVersion};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::record::{self, encode};
use super::supervisor::Supervisor;
use super::{Recorded, Wanted};
use crate::{Prober, RegisterError};

/// How often a name that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Etcd looks for leases that have run out every half second, and later when it is busy.
pub(crate) const LEASE_SLACK: Duration = Duration::from_secs(2);
/// Limit: a probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Somebody else may write our key between our look and our write; so often in a row, nobody does by chance.
const WRITES_MAX: usize = 5;

/// Why a session is over.
pub(crate) struct Ended {
    pub(crate) problem: String,
    /// It had got as far as a list.
    pub(crate) connected: bool,
}

pub(crate) type Probes = Pin<Box<dyn Future<Output = Vec<NodeId>> + Send>>;

/// The lease and what keeps it.
struct Kept {
    id: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    answered_at: Instant,
}

/// Somebody else holds our name, since when this wish looks.
struct Foreign {
    wish: u64,
    since: Instant,
    /// It was asked twice and did not answer.
    dead: bool,
    member: Member,
}

struct Session<'a> {
    supervisor: &'a mut Supervisor,
    client: Client,
    cluster: ClusterId,
    watch: WatchStream,
    /// When etcd last said something on the watch.
    told_at: Instant,
    kept: Option<Kept>,
    foreign: Option<Foreign>,
    probes: Option<Probes>,
    /// Who was asked the last time: it is said once.
    asked: Vec<NodeId>,
}

/// Runs until something goes wrong.
pub(crate) async fn run(supervisor: &mut Supervisor, client: Client) -> Ended {
    let mut connected = false;
    let problem = match Box::pin(lead(supervisor, client, &mut connected)).await {
        Err(problem) => problem,
        Ok(never) => match never {},
    };
    Ended { problem, connected }
}

async fn lead(
    supervisor: &mut Supervisor,
    mut client: Client,
    connected: &mut bool,
) -> Result<std::convert::Infallible, String> {
    let (cluster, revision) = list(supervisor, &mut client).await?;
    let applied = supervisor.shared.config.borrow().as_ref().map(|applied| applied.config.clone());
    if let Some(applied) = applied {
        (supervisor.config.lease, supervisor.config.renew) = (applied.lease, applied.renew);
        supervisor.picture.set_window(applied.lease);
    }
    let from = i64::try_from(revision + 1).expect("etcd counts revisions in an i64");
    let options = WatchOptions::new().with_prefix().with_start_revision(from).with_progress_notify();
    let watch = client.watch(supervisor.keys.prefix(), Some(options));
    let watch = within(supervisor.config.timeout, watch).await?;
    supervisor.shared.set_status(true, None);
    info!(ring_version = revision, "connected to etcd");
    *connected = true;
    let told_at = Instant::now();
    let mut session = Session {
        supervisor,
        client,
        cluster,
        watch,
        told_at,
        kept: None,
        foreign: None,
        probes: None,
        asked: Vec::new(),
    };
    session.serve().await
}

impl Session<'_> {
    async fn serve(&mut self) -> Result<std::convert::Infallible, String> {
        let config = &self.supervisor.config;
        let [mut renew, mut progress, mut again] =
            [config.renew, config.progress, config.list_again].map(every);
        let mut retry = every(TRY_AGAIN);
        let mut wanted = self.supervisor.shared.wanted.subscribe();
        let mut heard = self.supervisor.shared.heard.subscribe();
        heard.mark_changed();
        self.fulfill(&mut wanted).await?;
        self.probe();
        loop {
            tokio::select! {
                told = self.watch.message() => {
                    let told = told.map_err(text)?.ok_or("the watch has ended")?;
                    self.told(&told, &mut wanted).await?;
                }
                answer = answer(&mut self.kept) => self.renewed(answer, &mut wanted).await?,
                dead = finished(&mut self.probes) => self.probed(dead, &mut wanted).await?,
                changed = wanted.changed() => {
                    changed.map_err(|_| "nobody wants anything any more")?;
                    self.fulfill(&mut wanted).await?;
                }
                changed = heard.changed() => {
                    changed.map_err(|_| "nobody listens any more")?;
                    let version: RingVersion = *heard.borrow_and_update();
                    if !self.supervisor.picture.knows(version) {
                        self.list_again().await?;
                    }
                }
                _ = renew.tick() => self.renew().await?,
                _ = progress.tick() => self.ask_for_progress().await?,
                _ = again.tick() => self.list_again().await?,
                _ = retry.tick(), if self.foreign.is_some() => {
                    self.fulfill(&mut wanted).await?;
                    self.probe();
                }
            }
        }
    }

    async fn list_again(&mut self) -> Result<(), String> {
        let (cluster, _) = list(self.supervisor, &mut self.client).await?;
        if cluster != self.cluster {
            return Err("it is another etcd than before".into());
        }
        self.probe();
        Ok(())
    }

    /// News from the watch.
    async fn told(
        &mut self,
        told: &WatchResponse,
        wanted: &mut watch::Receiver<Wanted>,
    ) -> Result<(), String> {
        self.told_at = Instant::now();
        // A compacted start is not an error to etcd: the watch would stay open and silent for ever.
        if told.canceled() || told.compact_revision() > 0 {
            return Err(format!("the watch was canceled (compacted at {})", told.compact_revision()));
        }
        let Some(newest) =
            told.events().iter().filter_map(|event| event.kv()).map(KeyValue::mod_revision).max()
        else {
            return Ok(());
        };
        let keys = &self.supervisor.keys;
        let changes = told.events().iter().filter_map(|event| {
            let there = event.event_type() == EventType::Put;
            event.kv().and_then(|kv| keys.change(kv.key(), there.then(|| kv.value())))
        });
        let changes = changes.collect();
        let newest = u64::try_from(newest).map_err(|_| "a negative revision")?;
        // Told again, as after a list that was later than this: what that said stays.
        let known = self.supervisor.picture.knows(RingVersion::new(newest));
        let verdict = self.supervisor.picture.changed(self.cluster, newest, changes, now());
        self.supervisor.take(&mut self.client, verdict).await?;
        let config = last_of(told, &self.supervisor.keys.config()).filter(|_| !known);
        if let Some(event) = config {
            self.supervisor.configured(event.kv().filter(|_| event.event_type() == EventType::Put));
        }
        if let Some(event) = last_of(told, &self.supervisor.keys.rebalance()).filter(|_| !known) {
            self.supervisor.paced(event.kv().filter(|_| event.event_type() == EventType::Put));
        }
        self.probe();
        // Our own key may be among them.
        let ours = wanted.borrow().member.as_ref().map(|member| self.supervisor.keys.member(&member.node));
        let touched = |key: &String| {
            told.events().iter().any(|event| event.kv().is_some_and(|kv| kv.key() == key.as_bytes()))
        };
        if ours.as_ref().is_some_and(touched) { self.fulfill(wanted).await } else { Ok(()) }
    }

    async fn ask_for_progress(&mut self) -> Result<(), String> {
        if self.told_at.elapsed() > self.supervisor.config.progress * 2 {
            // Some versions of etcd do not answer for a watch that has had no event yet. If etcd answers otherwise, and
            // with nothing that the watch should have told, it is as good as an answer.
            let before = self.supervisor.shared.ring.borrow().clone();
            self.list_again().await?;
            if *self.supervisor.shared.ring.borrow() != before {
                return Err("the watch is silent".into());
            }
            self.told_at = Instant::now();
        }
        within(self.supervisor.config.timeout, self.watch.request_progress()).await
    }

    async fn renew(&mut self) -> Result<(), String> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        if kept.answered_at.elapsed() > self.supervisor.config.renew * 2 + self.supervisor.config.timeout {
            return Err("the lease is not renewed".into());
        }
        within(self.supervisor.config.timeout, kept.keeper.keep_alive()).await
    }

    /// An answer to a renewal; `None` means that the lease is gone.
    async fn renewed(
        &mut self,
        answer: Result<bool, String>,
        wanted: &mut watch::Receiver<Wanted>,
    ) -> Result<(), String> {
        if answer? {
            return Ok(());
        }
        warn!("the lease was lost, this member registers again");
        self.kept = None;
        self.supervisor.lease = None;
        self.fulfill(wanted).await
    }

    /// Makes etcd say what is wanted.
    async fn fulfill(&mut self, wanted: &mut watch::Receiver<Wanted>) -> Result<(), String> {
        let Wanted { wish, member } = wanted.borrow_and_update().clone();
        let refused = match member {
            None => {
                self.withdraw().await?;
                None
            }
            Some(member) => match self.put_on_record(&member).await? {
                None => {
                    self.foreign = None;
                    self.supervisor.on_record = true;
                    None
                }
                Some(holder) => match self.wait_for(wish, holder) {
                    None => return Ok(()),
                    refused => refused,
                },
            },
        };
        self.supervisor.shared.recorded.send_replace(Recorded { wish, refused });
        Ok(())
    }

    async fn withdraw(&mut self) -> Result<(), String> {
        self.foreign = None;
        self.kept = None;
        self.supervisor.on_record = false;
        let Some(lease) = self.supervisor.lease else { return Ok(()) };
        match within_raw(self.supervisor.config.timeout, self.client.lease_revoke(lease)).await {
            Ok(_) => {}
            Err(problem) if not_found(&problem) => {}
            Err(problem) => return Err(problem.0),
        }
        self.supervisor.lease = None;
        Ok(())
    }

    /// Another process holds our name: waits for its end, or gives up with the reason.
    fn wait_for(&mut self, wish: u64, holder: Member) -> Option<RegisterError> {
        let refused = RegisterError::Foreign { node: holder.node.clone(), incarnation: holder.incarnation };
        if self.supervisor.on_record {
            self.supervisor.shared.displaced();
            self.foreign = None;
            return Some(refused);
        }
        // A wish has its own patience: what an earlier one waited for in vain may end now.
        let same = self
            .foreign
            .as_ref()
            .is_some_and(|foreign| foreign.wish == wish && foreign.member.incarnation == holder.incarnation);
        if !same {
            let patience = self.supervisor.config.lease + LEASE_SLACK;
            info!(
                node = %holder.node,
                elapsed_max_ms = patience.as_millis(),
                "another process has this name on record, waiting for the end of its lease"
            );
            self.foreign = Some(Foreign { wish, since: Instant::now(), dead: false, member: holder });
            self.probe();
        }
        let since = self.foreign.as_ref().map(|foreign| foreign.since)?;
        if since.elapsed() <= self.supervisor.config.lease + LEASE_SLACK {
            return None;
        }
        self.foreign = None;
        Some(refused)
    }

    /// Writes our key, unless it says so already. Returns who holds the name instead, if anyone does.
    async fn put_on_record(&mut self, member: &Member) -> Result<Option<Member>, String> {
        let (key, value) = (self.supervisor.keys.member(&member.node), encode(member));
        let timeout = self.supervisor.config.timeout;
        for _ in 0..WRITES_MAX {
            let lease = self.lease().await?;
            let found = within(timeout, self.client.get(key.as_str(), None)).await?;
            let found = found.kvs().first();
            if found.is_some_and(|kv| kv.value() == value.as_bytes() && kv.lease() == lease) {
                return Ok(None);
            }
            let holder = found.and_then(|kv| record::member(member.node.clone(), kv.value()));
            if let Some(holder) = holder.filter(|holder| holder.incarnation != member.incarnation) {
                let dead = self
                    .foreign
                    .as_ref()
                    .is_some_and(|foreign| foreign.dead && foreign.member.incarnation == holder.incarnation);
                if !dead {
                    return Ok(Some(holder));
                }
            }
            let revision = found.map_or(0, KeyValue::mod_revision);
            let put = TxnOp::put(key.as_str(), value.as_str(), Some(PutOptions::new().with_lease(lease)));
            let unchanged = Compare::mod_revision(key.as_str(), CompareOp::Equal, revision);
            let txn = Txn::new().when([unchanged]).and_then([put]);
            match within_raw(timeout, self.client.txn(txn)).await {
                Ok(done) if done.succeeded() => return Ok(None),
                Ok(_) => {}
                Err(problem) if not_found(&problem) => self.lose_lease(),
                Err(problem) => return Err(problem.0),
            }
        }
        Err("somebody else keeps writing this member's key".into())
    }

    fn lose_lease(&mut self) {
        self.kept = None;
        self.supervisor.lease = None;
    }

    /// Our lease, which is kept from now on.
    async fn lease(&mut self) -> Result<i64, String> {
        let timeout = self.supervisor.config.timeout;
        if let Some(kept) = &self.kept {
            return Ok(kept.id);
        }
        if let Some(id) = self.supervisor.lease {
            match within_raw(timeout, self.client.lease_keep_alive(id)).await {
                Ok((keeper, answers)) => {
                    self.kept = Some(Kept { id, keeper, answers, answered_at: Instant::now() });
                    return Ok(id);
                }
                Err(problem) if not_found(&problem) => self.supervisor.lease = None,
                Err(problem) => return Err(problem.0),
            }
        }
        let seconds = i64::try_from(self.supervisor.config.lease.as_secs().max(2)).unwrap_or(i64::MAX);
        let granted = within(timeout, self.client.lease_grant(seconds, None)).await?;
        self.supervisor.lease = Some(granted.id());
        let (keeper, answers) = within(timeout, self.client.lease_keep_alive(granted.id())).await?;
        self.kept = Some(Kept { id: granted.id(), keeper, answers, answered_at: Instant::now() });
        Ok(granted.id())
    }

    /// Asks those whose end, or whose life, is in doubt. One round at a time.
    fn probe(&mut self) {
        if self.probes.is_some() {
            return;
        }
        let mut asked = self.supervisor.picture.doubted();
        if self.supervisor.prober.is_some() {
            asked.extend(
                self.foreign.iter().filter(|foreign| !foreign.dead).map(|foreign| foreign.member.clone()),
            );
        }
        let names: Vec<NodeId> = asked.iter().map(|member| member.node.clone()).collect();
        if names.iter().any(|name| !self.asked.contains(name)) {
            warn!(members = asked.len(), "members are asked whether they live");
        }
        self.asked = names;
        if !asked.is_empty() {
            self.probes =
                Some(Box::pin(dead(self.supervisor.prober.clone(), asked, self.supervisor.config.lease)));
        }
    }

    async fn probed(
        &mut self,
        dead: Vec<NodeId>,
        wanted: &mut watch::Receiver<Wanted>,
    ) -> Result<(), String> {
        self.probes = None;
        let verdict = self.supervisor.picture.probed(self.cluster, &dead);
        self.supervisor.take(&mut self.client, verdict).await?;
        if let Some(foreign) = &mut self.foreign {
            foreign.dead = dead.contains(&foreign.member.node);
            self.fulfill(wanted).await?;
        }
        Ok(())
    }
}

/// Those that fail two probes. Without a prober all of them, after one lease time in which they may come back.
pub(crate) async fn dead(
    prober: Option<Arc<dyn Prober>>,
    members: Vec<Member>,
    lease: Duration,
) -> Vec<NodeId> {
    let Some(prober) = prober else {
        tokio::time::sleep(lease).await;
        return members.into_iter().map(|member| member.node).collect();
    };
    let probes = members.iter().map(async |member| {
        for _ in 0..2 {
            let answered_at = tokio::time::timeout(PROBE_TIMEOUT, prober.alive(member)).await;
            if answered_at.is_ok_and(|alive| alive) {
                return None;
            }
        }
        Some(member.node.clone())
    });
    futures_util::future::join_all(probes).await.into_iter().flatten().collect()
}

/// The last thing that happened to what stands under a key.
fn last_of<'a>(told: &'a WatchResponse, key: &str) -> Option<&'a Event> {
    told.events().iter().rev().find(|event| event.kv().is_some_and(|kv| kv.key() == key.as_bytes()))
}

/// All facts, taken into the picture. Returns which etcd that was, and at which revision.
async fn list(supervisor: &mut Supervisor, client: &mut Client) -> Result<(ClusterId, u64), String> {
    let get = client.get(supervisor.keys.prefix(), Some(GetOptions::new().with_prefix()));
    let listed = within(supervisor.config.timeout, get).await?;
    let header: &ResponseHeader = listed.header().ok_or("a list without a header")?;
    let cluster = ClusterId::new(header.cluster_id());
    let revision = u64::try_from(header.revision()).map_err(|_| "a negative revision")?;
    let facts = supervisor.keys.facts(listed.kvs().iter().map(|kv| (kv.key(), kv.value())));
    let config = supervisor.keys.config();
    supervisor.configured(listed.kvs().iter().find(|kv| kv.key() == config.as_bytes()));
    let rebalance = supervisor.keys.rebalance();
    supervisor.paced(listed.kvs().iter().find(|kv| kv.key() == rebalance.as_bytes()));
    let verdict = supervisor.picture.listed(cluster, revision, facts, now());
    supervisor.take(client, verdict).await?;
    Ok((cluster, revision))
}

/// Whether the lease is renewed; waits for ever while there is none.
async fn answer(kept: &mut Option<Kept>) -> Result<bool, String> {
    let Some(kept) = kept else { return pending().await };
    let answer = kept.answers.message().await.map_err(text)?.ok_or("the renewals have ended")?;
    kept.answered_at = Instant::now();
    // A lease that is gone is not an error to etcd.
    Ok(answer.ttl() > 0)
}

pub(crate) async fn finished(probes: &mut Option<Probes>) -> Vec<NodeId> {
    match probes {
        Some(probes) => probes.await,
        None => pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn text(error: Error) -> String {
    error.to_string()
}

/// What went wrong, and whether it is that a lease does not exist.
struct Problem(String, bool);

fn not_found(problem: &Problem) -> bool {
    problem.1
}

async fn within_raw<T>(
    timeout: Duration,
    question: impl Future<Output = Result<T, Error>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(timeout, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let text = error.to_string();
            let lost = text.contains("lease not found");
            Err(Problem(text, lost))
        }
        Err(_) => Err(Problem("no answer".into(), false)),
    }
}

async fn within<T>(timeout: Duration, question: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    within_raw(timeout, question).await.map_err(|problem| problem.0)
}
