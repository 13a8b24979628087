//! Keeps a session with etcd going: whatever goes wrong in one, the next starts over, with the last view kept meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{Client, KeyValue};
use ringleaf_ring::RingView;
use tokio::time::Instant;
use tracing::{info, warn};

use super::picture::{Picture, Verdict};
use super::record::Keys;
use super::session::{self, Ended};
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
        Self { config, keys, shared, prober, picture, lease: None, on_record: false }
    }

    pub(crate) async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        // Said once, and not at every try.
        let mut said_away = false;
        for turn in 0_usize.. {
            let Some(endpoint) =
                self.config.endpoints.get(turn % self.config.endpoints.len().max(1)).cloned()
            else {
                self.shared.set_status(false, Some("no address of etcd is given".into()));
                return;
            };
            let started_at = Instant::now();
            let config = self.config.clone();
            let client = self.meanwhile(connect::connect(&config, &endpoint)).await;
            let Ended { problem, connected } = match client {
                Ok(client) => session::run(&mut self, client).await,
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
            self.meanwhile(tokio::time::sleep(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Etcd is away: takes what other processes tell, until this is done.
    async fn meanwhile<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        let mut told = self.shared.told.subscribe();
        // What came while a session ended. It does no harm to be told twice.
        told.mark_changed();
        loop {
            let changed = tokio::select! {
                biased;
                done = &mut done => return done,
                changed = told.changed() => changed,
            };
            let view = told.borrow_and_update().clone();
            match view.filter(|_| changed.is_ok()) {
                Some(view) => self.told(&view).await,
                None if changed.is_err() => return done.await,
                None => {}
            }
        }
    }

    async fn told(&mut self, told: &RingView) {
        match self.picture.told(told, Instant::now().into_std()) {
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
