//! Keeps a session with etcd going: whatever goes wrong in one, the next starts over, with the last view kept meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{Client, KeyValue};
use ringleaf_ring::RingView;
use ringleaf_types::NodeId;
use tokio::time::Instant;
use tracing::{info, warn};

use super::picture::{Picture, Verdict};
use super::record::Keys;
use super::session::{self, Ended, Probes, dead, finished};
use super::{EtcdConfig, Shared, cache, connect, operator, rebalance};
use crate::Prober;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Limit: an etcd that comes back is noticed within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(3);

/// What outlives a session.
pub(crate) struct Supervisor {
    pub(crate) config: EtcdConfig,
    pub(crate) keys: Keys,
    pub(crate) shared: Arc<Shared>,
    pub(crate) prober: Option<Arc<dyn Prober>>,
    pub(crate) picture: Picture,
    /// Our lease, as far as we know.
    pub(crate) lease: Option<i64>,
    /// Who was asked the last time: it is said once.
    asked: Vec<NodeId>,
    /// The wish that is on record. Whoever holds our name after that is not waited for: we are displaced.
    pub(crate) on_record: bool,
}

impl Supervisor {
    pub(crate) fn new(
        config: EtcdConfig,
        keys: Keys,
        shared: Arc<Shared>,
        prober: Option<Arc<dyn Prober>>,
        cached: Option<Arc<RingView>>,
    ) -> Self {
        let picture = Picture::new(config.lease, cached);
        Self { config, keys, shared, prober, picture, lease: None, asked: Vec::new(), on_record: false }
    }

    pub(crate) async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        // Said once, and not at every try.
        let mut said_away = false;
        // Of members that vanished while etcd is away, as another process says.
        let mut probes = None;
        for turn in 0_usize.. {
            let Some(endpoint) =
                self.config.endpoints.get(turn % self.config.endpoints.len().max(1)).cloned()
            else {
                self.shared.set_status(false, Some("no address of etcd is given".into()));
                return;
            };
            let started_at = Instant::now();
            let config = self.config.clone();
            let connecting = Box::pin(connect::connect(&config, &endpoint));
            let client = self.meanwhile(&mut probes, connecting).await;
            let Ended { problem, connected } = match client {
                Ok(client) => {
                    // It asks for itself.
                    probes = None;
                    session::run(&mut self, client).await
                }
                Err(problem) => Ended { problem, connected: false },
            };
            if connected || !said_away {
                said_away = true;
                warn!(endpoint, error = problem, "etcd is away, the ring stays as it is");
            }
            self.shared.set_status(false, Some(problem));
            if connected && started_at.elapsed() > BACKOFF_MAX {
                backoff = BACKOFF_MIN;
            }
            self.meanwhile(&mut probes, tokio::time::sleep(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Etcd is away: takes what other processes tell, until this is done.
    async fn meanwhile<T>(&mut self, probes: &mut Option<Probes>, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        let mut told = self.shared.told.subscribe();
        // What came while a session ended. It does no harm to be told twice.
        told.mark_changed();
        self.probe(probes);
        loop {
            let changed = tokio::select! {
                biased;
                done = &mut done => return done,
                dead = finished(probes) => {
                    *probes = None;
                    self.probed(&dead).await;
                    continue;
                }
                changed = told.changed() => changed,
            };
            let view = told.borrow_and_update().clone();
            match view.filter(|_| changed.is_ok()) {
                Some(view) => {
                    self.told(&view).await;
                    self.probe(probes);
                }
                None if changed.is_err() => return done.await,
                None => {}
            }
        }
    }

    async fn told(&mut self, told: &RingView) {
        let verdict = self.picture.told(told, Instant::now().into_std());
        self.take_alone(verdict).await;
    }

    /// Asks those whose end is in doubt, one round at a time. Whoever lives stays in doubt, and is asked again when somebody
    /// has news or etcd is tried the next time.
    fn probe(&mut self, probes: &mut Option<Probes>) {
        let doubted = self.picture.doubted();
        if probes.is_some() || doubted.is_empty() {
            return;
        }
        let names: Vec<NodeId> = doubted.iter().map(|member| member.node.clone()).collect();
        if names.iter().any(|name| !self.asked.contains(name)) {
            warn!(members = doubted.len(), "members are asked whether they live");
        }
        self.asked = names;
        *probes = Some(Box::pin(dead(self.prober.clone(), doubted, self.config.lease)));
    }

    async fn probed(&mut self, dead: &[NodeId]) {
        let cluster = self.shared.ring.borrow().as_ref().map(|view| view.cluster());
        if let Some(cluster) = cluster {
            let verdict = self.picture.probed(cluster, dead);
            self.take_alone(verdict).await;
        }
    }

    /// Carries out what follows from others' news, without etcd.
    async fn take_alone(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::View(view) => {
                info!(ring_version = %view.version(), "the ring has changed, as another process says");
                self.publish(view).await;
            }
            // Nothing is written without etcd; that it knows better is found when it is back.
            Verdict::Same | Verdict::Older | Verdict::Touch => self.note_known(),
        }
    }

    /// Carries out what follows from news.
    pub(crate) async fn take(&self, client: &mut Client, verdict: Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Touch => {
                let touch = client.put(self.keys.touched(), "", None).await;
                touch.map(drop).map_err(|error| error.to_string())
            }
            Verdict::Same => {
                self.note_known();
                Ok(())
            }
            Verdict::Older => Err("it is older than what is known already".into()),
            Verdict::View(view) => {
                info!(ring_version = %view.version(), members = view.members().len(), "the ring has changed");
                self.publish(view).await;
                Ok(())
            }
        }
    }

    async fn publish(&self, view: Arc<RingView>) {
        self.shared.ring.send_replace(Some(view.clone()));
        self.note_known();
        self.keep(view).await;
    }

    /// Order: after the view was published.
    fn note_known(&self) {
        self.shared.known.store(self.picture.seen().get(), Ordering::Release);
    }

    /// What stands under the key of the ring configuration now.
    pub(crate) fn configured(&self, found: Option<&KeyValue>) {
        let applied = match found.map(|kv| operator::applied(kv.value(), kv.mod_revision())).transpose() {
            Ok(applied) => applied,
            Err(error) => {
                warn!(error, "the ring configuration in etcd cannot be used, the last one stays");
                return;
            }
        };
        self.shared.config.send_if_modified(|known| {
            let changed = *known != applied;
            *known = applied;
            changed
        });
    }

    /// What stands under the key that says whether documents may move.
    pub(crate) fn paced(&self, found: Option<&KeyValue>) {
        let rebalance = rebalance::found(found);
        self.shared.rebalance.send_if_modified(|known| {
            if known.paused != rebalance.paused {
                info!(paused = rebalance.paused, "operators say whether documents move to other nodes");
            }
            let changed = *known != rebalance;
            *known = rebalance;
            changed
        });
    }

    async fn keep(&self, view: Arc<RingView>) {
        let Some(file) = self.config.cache.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || cache::keep(&file, &view)).await;
        if let Err(error) = kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            warn!(%error, "the ring view could not be kept on disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use ringleaf_ring::{ClusterId, Member, MemberState, Weight};
    use ringleaf_types::{Incarnation, RingVersion};

    use super::*;
    use crate::{Coordinator, Etcd};

    /// Nobody but this one answers.
    struct Only(NodeId);

    #[async_trait::async_trait]
    impl Prober for Only {
        async fn alive(&self, member: &Member) -> bool {
            member.node == self.0
        }
    }

    fn view(version: u64, nodes: &[&str]) -> RingView {
        let member = |node: &&str| Member {
            node: node.parse().unwrap(),
            incarnation: Incarnation::new(1),
            state: MemberState::Serving,
            weight: Weight::ONE,
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        };
        let members = nodes.iter().map(member).collect();
        RingView::new(ClusterId::new(7), RingVersion::new(version), members).unwrap()
    }

    /// The shrink guard, of what others say: whoever is dead leaves the ring also while etcd is away.
    #[tokio::test]
    async fn members_that_vanished_are_asked_whether_they_live_also_without_etcd() {
        // Nobody listens there.
        let mut config = EtcdConfig::new("tests", vec!["http://127.0.0.1:1".into()]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ring");
        cache::keep(&file, &view(10, &["a", "b", "c", "d"])).unwrap();
        config.cache = Some(file);
        let etcd = Etcd::connect(config, Some(Arc::new(Only("b".parse().unwrap()))));
        let mut ring = etcd.ring();
        etcd.told("tests", Arc::new(view(12, &["a"])));
        let known = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version().get() == 12));
        let known = tokio::time::timeout(Duration::from_secs(30), known).await.unwrap().unwrap().clone();
        let names: Vec<&str> =
            known.iter().flat_map(|view| view.members()).map(|member| member.node.as_str()).collect();
        assert_eq!(names, ["a", "b"], "c and d are dead, b lives whatever others say");
        Coordinator::close(&*etcd).await;
    }
}
