//! The coordinator of a cluster, on etcd.
//!
//! ```text
//! Etcd ──wanted (watch)──▶ supervisor ─▶ session ─ lease, list, watch ─▶ etcd
//!      ◀─ring, status────    (tasks)        └ picture: what the facts make of the view (pure)
//! ```

mod cache;
mod connect;
mod operator;
pub mod picture;
mod pins;
mod rebalance;
mod record;
mod session;
mod supervisor;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringleaf_ring::{Member, RingView};
use ringleaf_types::RingVersion;
use tokio::sync::watch;
use tracing::{info_span, warn};

use crate::tasks::Task;
use crate::{Coordinator, CoordinatorStatus, Pacing, Prober, RegisterError, Ring, tasks};

pub use operator::{AppliedConfig, Orders, WriteError};
pub use rebalance::Rebalance;
use record::Keys;
use supervisor::Supervisor;

/// Where etcd is, and how to deal with it.
#[derive(Clone)]
pub struct EtcdConfig {
    /// Addresses such as `http://10.0.0.1:2379`; one is used at a time.
    pub endpoints: Vec<String>,
    /// The name of the ringleaf cluster; several can share one etcd.
    pub cluster: String,
    pub user_password: Option<(String, String)>,
    pub tls: Option<EtcdTls>,
    /// The file that keeps the last view, for a start while etcd is away.
    pub cache: Option<PathBuf>,
    /// After so long without a sign of life a member is gone. Whole seconds, at least two. A ring configuration in
    /// etcd has the last word.
    pub lease: Duration,
    /// How often a member shows that it lives. As `lease`.
    pub renew: Duration,
    /// How often etcd must say something on a watch. Silence for twice as long means that it is away.
    pub progress: Duration,
    /// How often everything is listed again, whatever the watch said.
    pub list_again: Duration,
    /// How long one question to etcd may take. A registration waits twice as long for an etcd that is away, and then
    /// goes on in the background.
    pub timeout: Duration,
}

/// PEM files. They are read again at every connection, so that renewed certificates need no restart.
#[derive(Debug, Clone, Default)]
pub struct EtcdTls {
    pub ca: Option<PathBuf>,
    /// The certificate and the key that show etcd who we are.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EtcdConfig {
    /// The defaults.
    pub fn new(cluster: &str, endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            cluster: cluster.into(),
            user_password: None,
            tls: None,
            cache: None,
            lease: Duration::from_secs(10),
            renew: Duration::from_millis(2_500),
            progress: Duration::from_secs(5),
            list_again: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        }
    }
}

/// What the owner wants on record.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// Grows with each wish.
    wish: u64,
    member: Option<Member>,
}

/// How far the wishes are fulfilled.
#[derive(Debug, Clone, Default)]
struct Recorded {
    wish: u64,
    refused: Option<RegisterError>,
}

/// What [`Etcd`] and its supervisor share.
struct Shared {
    ring: watch::Sender<Option<Arc<RingView>>>,
    wanted: watch::Sender<Wanted>,
    recorded: watch::Sender<Recorded>,
    heard: watch::Sender<RingVersion>,
    /// The last view that another process told.
    told: watch::Sender<Option<Arc<RingView>>>,
    /// Everything through this version is in `ring`.
    known: AtomicU64,
    config: watch::Sender<Option<AppliedConfig>>,
    rebalance: watch::Sender<Rebalance>,
    /// The status, and since when it is so.
    status: Mutex<(CoordinatorStatus, Instant)>,
}

impl Shared {
    fn set_status(&self, connected: bool, problem: Option<String>) {
        let mut status = self.status.lock().expect("no holder of this lock panics");
        if status.0.connected != connected {
            status.1 = Instant::now();
        }
        status.0.connected = connected;
        status.0.problem = problem;
    }

    fn displaced(&self) {
        self.status.lock().expect("no holder of this lock panics").0.displaced = true;
    }
}

/// The agreed facts, in etcd. What it says while etcd is away is the last that was known.
pub struct Etcd {
    shared: Arc<Shared>,
    config: EtcdConfig,
    /// None: closed.
    supervisor: Mutex<Option<Task>>,
}

impl Etcd {
    /// Starts in the background; the last view of an earlier run is there at once.
    ///
    /// Without a prober a doubted member is given one lease time to come back.
    pub fn connect(config: EtcdConfig, prober: Option<Arc<dyn Prober>>) -> Arc<Self> {
        let cached = config.cache.as_deref().and_then(|file| match cache::load(file) {
            Ok(view) => view.map(Arc::new),
            Err(error) => {
                warn!(%error, "the last ring view on disk cannot be used");
                None
            }
        });
        let status = CoordinatorStatus { place: config.endpoints.join(","), ..CoordinatorStatus::default() };
        let shared = Arc::new(Shared {
            ring: watch::Sender::new(cached.clone()),
            wanted: watch::Sender::default(),
            recorded: watch::Sender::default(),
            heard: watch::Sender::default(),
            told: watch::Sender::default(),
            known: AtomicU64::default(),
            config: watch::Sender::default(),
            rebalance: watch::Sender::default(),
            status: Mutex::new((status, Instant::now())),
        });
        let keys = Keys::of(&config.cluster);
        let supervisor = Supervisor::new(config.clone(), keys, shared.clone(), prober, cached);
        let supervisor = tasks::start(info_span!("etcd"), supervisor.run());
        Arc::new(Self { shared, config, supervisor: Mutex::new(Some(supervisor)) })
    }

    fn lease(&self) -> Duration {
        self.shared.config.borrow().as_ref().map_or(self.config.lease, |applied| applied.config.lease)
    }

    /// Says what is wanted, and waits until it is so: with etcd for as long as a lease lasts, without it not for long.
    async fn want(&self, member: Option<Member>) -> Result<(), RegisterError> {
        let mut wish = 0;
        self.shared.wanted.send_modify(|wanted| {
            wanted.wish += 1;
            wanted.member = member;
            wish = wanted.wish;
        });
        let mut recorded = self.shared.recorded.subscribe();
        for timeout in [self.config.timeout * 2, self.lease() + session::LEASE_SLACK] {
            let answered = recorded.wait_for(|recorded| recorded.wish >= wish);
            match tokio::time::timeout(timeout, answered).await {
                Ok(Ok(recorded)) => return recorded.refused.clone().map_or(Ok(()), Err),
                // We are being dropped.
                Ok(Err(_)) => break,
                // The supervisor goes on with it when etcd is back.
                Err(_) if !self.status().connected => break,
                Err(_) => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Coordinator for Etcd {
    fn ring(&self) -> Ring {
        self.shared.ring.subscribe()
    }

    /// Waits for another process of this name to be gone for as long as a lease lasts. Does not wait for an etcd that is
    /// away: the member is put on record when it is back.
    async fn register(&self, member: Member) -> Result<(), RegisterError> {
        self.want(Some(member)).await
    }

    async fn withdraw(&self) {
        // Nobody has refused a withdrawal yet.
        drop(self.want(None).await);
    }

    fn heard(&self, version: RingVersion) {
        self.shared.heard.send_if_modified(|heard| {
            let newer = *heard < version;
            *heard = (*heard).max(version);
            newer
        });
    }

    fn knows(&self, version: RingVersion) -> bool {
        version.get() <= self.shared.known.load(Ordering::Acquire)
    }

    fn pacing(&self) -> Pacing {
        let applied = self.shared.config.borrow();
        let config = applied.as_ref().map_or_else(Pacing::default, |applied| Pacing::of(&applied.config));
        Pacing { paused: self.shared.rebalance.borrow().paused, ..config }
    }

    /// Only views of the ringleaf cluster and the etcd that are known here already.
    fn told(&self, cluster: &str, view: Arc<RingView>) {
        if *cluster == self.config.cluster {
            self.shared.told.send_replace(Some(view));
        }
    }

    async fn close(&self) {
        let supervisor = self.supervisor.lock().expect("no holder of this lock panics").take();
        if let Some(supervisor) = supervisor {
            supervisor.stop().await;
        }
    }

    fn status(&self) -> CoordinatorStatus {
        let status = self.shared.status.lock().expect("no holder of this lock panics");
        CoordinatorStatus { since_seconds: status.1.elapsed().as_secs(), ..status.0.clone() }
    }
}
