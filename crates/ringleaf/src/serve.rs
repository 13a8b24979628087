//! What every server process does: everything is checked, then bound, then started, and stopped in the opposite order.
//!
//! ```text
//! configuration ─▶ log ─▶ ports ─▶ store ─▶ node ─▶ router ─▶ … ─▶ signal ─▶ router ─▶ node ─▶ store ─▶ exit
//! ```
//!
//! What only a cluster needs is in [`cluster`](crate::cluster).

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringleaf_coordinator::{Coordinator, Embedded, Etcd};
use ringleaf_node::{Node, NodeConfig};
use ringleaf_peer::{Links, PeerServer};
use ringleaf_reader::Program;
use ringleaf_router::{BindError, Page, Route, RunningServer, Server};
use ringleaf_store::{MemoryStore, OpenStoreError, SqliteOptions, SqliteStore, Store};
use ringleaf_types::faults::{self, Fault};
use ringleaf_types::{Incarnation, Limits};
use ringleaf_wire::{Peers, SessionHost};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tracing::{info, warn};
use tracing_appender::non_blocking::WorkerGuard;

use crate::admin::{Admin, Documents, Drain, Facts, Faults, Health, Metrics, Others, Serving, Stage};
use crate::cli::{Clustered, Hosting, Serve, VERSION};
use crate::cluster::{self, Membership};
use crate::config::{Config, Resolved, Role};
use crate::exit::{Exit, Failure};
use crate::history::History;
use crate::log::{self, LogFormat};
use crate::page::DemoPage;
use crate::signals::Signals;
use crate::tasks::Tasks;
use crate::{banner, commands, output};

/// What is left of the admin port's connections after so long is cut off.
const ADMIN_STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Each part of the process has so long to stop at least, also when those before it have used up the time.
const PART_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Work on a document that takes longer is not waited for at the end: nobody hears what comes of it.
const WORK_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// `ringleaf serve`.
pub(crate) fn alone(serve: &Serve) -> Result<(), Failure> {
    run(commands::config::load(serve)?, serve.process.print_config)
}

/// `ringleaf node`.
pub(crate) fn node(flags: &Hosting) -> Result<(), Failure> {
    run(commands::config::load_node(flags)?, flags.clustered.process.print_config)
}

/// `ringleaf router`.
pub(crate) fn router(flags: &Clustered) -> Result<(), Failure> {
    run(commands::config::load_router(flags)?, flags.process.print_config)
}

fn run(resolved: Resolved, print_config: bool) -> Result<(), Failure> {
    if print_config {
        return output::print(&resolved.show(false));
    }
    let config = Arc::new(resolved.config);
    let faults = Faults::default();
    // Dropped after the runtime, so that what its tasks say last is written, too.
    let mut writes_the_rest = Some(log::start(config.log, &config.log_filter, faults.clone()));
    log::panics();
    let metrics = Metrics::install();
    raise_open_files();
    let runtime = runtime()?;
    let ended =
        runtime.block_on(Box::pin(serve_until_stopped(config, faults, metrics, &mut writes_the_rest)));
    runtime.shutdown_timeout(WORK_STOP_TIMEOUT);
    ended
}

/// Every socket is an open file, and the usual soft limit of 1,024 is for programs that are older than that.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _as_it_was = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("ringleaf")
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "threads", format!("threads cannot be started: {error}")))
}

/// What a process is made of: one that stands alone, a node, or a router.
pub(crate) struct Parts {
    pub(crate) coordinator: Arc<dyn Coordinator>,
    /// A router has none.
    pub(crate) documents: Option<Documents>,
    pub(crate) backup: Backup,
    /// The way to other nodes. None: there are no others.
    pub(crate) links: Option<Arc<Links>>,
    /// Where operators write. None: there is no cluster.
    pub(crate) etcd: Option<Arc<Etcd>>,
    pub(crate) history: History,
}

impl Parts {
    fn alone(config: &Config, incarnation: Incarnation) -> Result<Self, Failure> {
        let limits = Arc::new(config.limits.clone());
        let (store, backup) = store(config, &limits)?;
        let node = NodeConfig {
            node: config.node_id.clone(),
            incarnation,
            limits,
            reader: Program::default(),
            gc: config.gc.clone(),
        };
        let node = Node::start(node, Arc::clone(&store));
        let coordinator = Arc::new(Embedded::new(config.node_id.clone()));
        Ok(Self {
            coordinator,
            documents: Some(Documents { store, node }),
            backup,
            links: None,
            etcd: None,
            history: History::default(),
        })
    }

    fn route(&self, config: &Config) -> Route {
        let local = self.documents.as_ref().map(|documents| documents.node.clone() as Arc<dyn SessionHost>);
        let peers = self.links.clone().map(|links| links as Arc<dyn Peers>);
        Route::new(config.node_id.clone(), self.coordinator.clone(), local, peers)
    }

    pub(crate) fn others(&self, config: &Config) -> Others {
        Others {
            node: self.documents.as_ref().map(|_| config.node_id.clone()),
            ring: self.coordinator.ring(),
            links: self.links.clone(),
            etcd: self.etcd.clone(),
            history: self.history.clone(),
        }
    }

    /// Who else keeps facts about this process.
    fn cluster(&self) -> Option<Arc<dyn Coordinator>> {
        self.links.as_ref().map(|_| self.coordinator.clone())
    }
}

async fn serve_until_stopped(
    config: Arc<Config>,
    faults: Faults,
    metrics: Metrics,
    writes_the_rest: &mut Option<WorkerGuard>,
) -> Result<(), Failure> {
    // Order: signals first, so that one that comes during the start is not lost; all ports before any work.
    let mut signals = Signals::listen()?;
    let Bound { admin: admin_listener, editors: server, peer: peer_server, page, addresses } =
        Bound::all(&config)?;
    let incarnation = Incarnation::new(random());
    let parts = tokio::select! {
        biased;
        _ = signals.next() => return Ok(()),
        parts = parts(&config, incarnation) => parts?,
    };
    let health = Health::new(Stage::Starting, parts.documents.clone(), parts.cluster());
    let drain = Drain::new();
    let running = Arc::new(server.start(parts.route(&config)));
    let facts = Facts {
        config: Arc::clone(&config),
        incarnation: incarnation.get(),
        started_at: SystemTime::now(),
        started: Instant::now(),
    };
    let admin = Admin {
        health: health.clone(),
        metrics: metrics.clone(),
        faults,
        facts,
        serving: Some(Serving { editors: Arc::clone(&running), others: parts.others(&config) }),
        drain: Arc::clone(&drain),
        backup: parts.backup.clone(),
    };
    let admin = admin.router(parts.documents.as_ref().map(|documents| documents.node.admin()));
    if let Some(page) = page {
        page.ask(admin.clone());
    }
    let tasks = Tasks::default();
    tasks.serve_admin(admin_listener, admin.clone())?;
    tasks.tidy_metrics(metrics);
    let membership = Membership::begin(&config, incarnation, &parts, peer_server, admin, &health, &tasks);
    if let Some(file) = &config.ports_file {
        write_ports(file, addresses)?;
    }
    health.enter(Stage::Serving);
    announce(&config, addresses);

    let mut drain_timeout = config.limits.stop_timeout;
    let ended = tokio::select! {
        biased;
        signal = signals.next() => {
            info!(signal, "stopping");
            Ok(())
        }
        within = drain.wanted() => {
            info!(elapsed_max_ms = within.as_millis(), "stopping, as an operator wants");
            drain_timeout = within;
            Ok(())
        }
        failure = membership.serve() => {
            warn!(%failure, "stopping");
            Err(failure)
        }
    };
    health.enter(Stage::Stopping);
    let stopping = Stopping { running: &running, parts: &parts, tasks: &tasks, drain: &drain, drain_timeout };
    tokio::select! {
        biased;
        signal = signals.next() => interrupted(signal, writes_the_rest.take()),
        () = stopping.stop(membership, &config.limits) => info!("stopped"),
    }
    ended
}

fn interrupted(signal: &str, writes_the_rest: Option<WorkerGuard>) -> ! {
    warn!(signal, "interrupted while stopping; whatever was acknowledged is durable");
    // Order: the line above is still in the log's queue, and an exit writes nothing.
    drop(writes_the_rest);
    // At once: a disk that hangs must not keep anyone waiting for a destructor.
    std::process::exit(Exit::Interrupted as i32);
}

async fn parts(config: &Config, incarnation: Incarnation) -> Result<Parts, Failure> {
    match config.role {
        Role::Alone => Parts::alone(config, incarnation),
        Role::Node => cluster::node(config, incarnation).await,
        Role::Router => cluster::router(config),
    }
}

/// What has to end, in the order in which it ends.
struct Stopping<'a> {
    running: &'a RunningServer,
    parts: &'a Parts,
    tasks: &'a Tasks,
    drain: &'a Drain,
    /// For handing documents off; what is left then is let go of.
    drain_timeout: Duration,
}

impl Stopping<'_> {
    /// The admin port answers until the end, so that one can watch.
    async fn stop(&self, membership: Membership, limits: &Limits) {
        let time = Time::new(self.drain_timeout, limits, Instant::now());
        if self.parts.links.is_some() {
            // Order: documents first, because the others can take them over while this process still holds its editors.
            membership.leave_ring().await;
            self.drain_node(&time).await;
            self.running.stop(time.left(Instant::now())).await;
        } else {
            // Order: editors first, so that nothing new comes; then what they sent is made durable.
            self.running.stop(time.left(Instant::now())).await;
            self.stop_node(&time).await;
        }
        membership.end().await;
        if let Some(documents) = &self.parts.documents {
            documents.store.close().await;
        }
        self.tasks.stop(ADMIN_STOP_TIMEOUT).await;
    }

    async fn drain_node(&self, time: &Time) {
        if let Some(documents) = &self.parts.documents {
            let drained = documents.node.drain(self.drain_timeout).await;
            let stopped = documents.node.stop(time.left(Instant::now())).await;
            self.drain.end(drained, stopped).await;
        }
    }

    async fn stop_node(&self, time: &Time) {
        if let Some(documents) = &self.parts.documents {
            documents.node.stop(time.left(Instant::now())).await;
        }
    }
}

/// How long stopping may take, all parts together.
struct Time {
    deadline: Instant,
    stop_timeout: Duration,
}

impl Time {
    fn new(all: Duration, limits: &Limits, now: Instant) -> Self {
        Self { deadline: now + all, stop_timeout: limits.stop_timeout }
    }

    /// What the next part may take.
    fn left(&self, now: Instant) -> Duration {
        let least = self.stop_timeout.min(PART_STOP_TIMEOUT);
        self.deadline.saturating_duration_since(now).clamp(least, self.stop_timeout)
    }
}

/// All ports, and nobody who answers yet.
struct Bound {
    admin: TcpListener,
    editors: Server,
    /// Only nodes have one.
    peer: Option<PeerServer>,
    page: Option<DemoPage>,
    addresses: Addresses,
}

impl Bound {
    fn all(config: &Config) -> Result<Self, Failure> {
        let limits = Arc::new(config.limits.clone());
        let admin = bind_admin(config.admin)?;
        let page = config.dev.then(DemoPage::default);
        let editors = bind_editors(config, Arc::clone(&limits), page.clone())?;
        let peer = cluster::bind(config, limits)?;
        let addresses = Addresses {
            editors: editors.local_addr(),
            admin: admin
                .local_addr()
                .map_err(|error| in_words(&BindError::from_io(config.admin, error), "admin"))?,
            peer: peer.as_ref().map(PeerServer::local_addr),
        };
        Ok(Self { admin, editors, peer, page, addresses })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) editors: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Only nodes have one.
    pub(crate) peer: Option<SocketAddr>,
}

fn bind_admin(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| in_words(&BindError::from_io(address, error), "admin"))
}

fn bind_editors(config: &Config, limits: Arc<Limits>, page: Option<DemoPage>) -> Result<Server, Failure> {
    let page = page.map(|page| Arc::new(page) as Arc<dyn Page>);
    Server::bind(ringleaf_router::Config {
        listen: config.listen,
        open_to_anyone: config.open_to_anyone,
        allowed_origins: config.allow_origin.clone(),
        limits,
        page,
    })
    .map_err(|error| in_words(&error, "listen"))
}

/// A port that cannot be had, with the flag that chooses another.
pub(crate) fn in_words(error: &BindError, flag: &str) -> Failure {
    let (exit, code) = match error {
        BindError::InUse { .. } => (Exit::InUse, "port_in_use"),
        BindError::NotLoopback { .. } => (Exit::Configuration, "not_loopback"),
        BindError::NotPermitted { .. } | BindError::NotAvailable { .. } | BindError::Io { .. } => {
            (Exit::Failed, "cannot_listen")
        }
    };
    Failure::new(exit, code, crate::exit::chain(error)).advise(format!("{} with --{flag}", error.advice()))
}

pub(crate) type Backup = Option<Arc<SqliteStore>>;

fn store(config: &Config, limits: &Limits) -> Result<(Arc<dyn Store>, Backup), Failure> {
    if config.memory {
        return Ok((Arc::new(MemoryStore::new()), None));
    }
    let store = Arc::new(open_store(&config.data, limits)?);
    Ok((store.clone(), Some(store)))
}

pub(crate) fn open_store(folder: &Path, limits: &Limits) -> Result<SqliteStore, Failure> {
    SqliteStore::open(folder, SqliteOptions::from_limits(limits)).map_err(|error| store_in_words(&error))
}

/// The store's own words say what to do.
pub(crate) fn store_in_words(error: &OpenStoreError) -> Failure {
    let (exit, code) = match error {
        OpenStoreError::InUse { .. } => (Exit::InUse, "folder_in_use"),
        OpenStoreError::NoStore { .. } => (Exit::NotFound, "no_store"),
        OpenStoreError::Newer { .. } => (Exit::Refused, "newer_store"),
        OpenStoreError::Foreign { .. } => (Exit::Refused, "foreign_database"),
        OpenStoreError::NotAFolder { .. }
        | OpenStoreError::Folder { .. }
        | OpenStoreError::Unsuitable { .. }
        | OpenStoreError::Database { .. } => (Exit::Failed, "store"),
    };
    Failure::new(exit, code, crate::exit::chain(error))
}

/// Names for this run of the process, from the operating system.
pub(crate) fn random() -> u64 {
    rand::random()
}

fn write_ports(file: &Path, addresses: Addresses) -> Result<(), Failure> {
    let json = serde_json::json!({
        "listen": addresses.editors.to_string(),
        "admin": addresses.admin.to_string(),
        "peer": addresses.peer.map(|address| address.to_string()),
        "pid": std::process::id(),
    });
    // Whoever waits for the file must never see half of it.
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, format!("{json}\n"))
        .and_then(|()| std::fs::rename(&unfinished, file))
        .map_err(|error| {
            Failure::new(Exit::Failed, "ports_file", format!("{} cannot be written: {error}", file.display()))
        })
}

/// Says what was started: a banner for a person, log lines for everyone else.
fn announce(config: &Config, addresses: Addresses) {
    if cfg!(feature = "faults") {
        let fault = faults::chosen().map_or("none", Fault::name);
        warn!(fault, "this program was built to be wrong on purpose: it is for tests only");
    }
    if config.log == LogFormat::Text && std::io::stderr().is_terminal() {
        banner::print(config, addresses);
        return;
    }
    info!(
        version = VERSION,
        node = %config.node_id,
        editors = %addresses.editors,
        admin = %addresses.admin,
        peer = addresses.peer.map(tracing::field::display),
        documents = banner::documents(config),
        "listening"
    );
    let connections_max = config.limits.connections_max as u64;
    if let Some(open_files_max) = getrlimit(Resource::Nofile).current.filter(|files| *files < connections_max)
    {
        info!(open_files_max, connections_max, "the system allows fewer open files than connections");
    }
    for warning in banner::warnings(config, addresses) {
        warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_together_stop_in_the_time_that_there_is_and_each_has_some() {
        let (now, seconds) = (Instant::now(), Duration::from_secs);
        let limits = Limits { stop_timeout: seconds(20), ..Limits::default() };
        let time = Time::new(seconds(20), &limits, now);
        assert_eq!(time.left(now), seconds(20));
        assert_eq!(time.left(now + seconds(12)), seconds(8));
        assert_eq!(time.left(now + seconds(20)), seconds(5));
        // An operator gives a drain an hour: that is not for those who do not go afterwards.
        assert_eq!(Time::new(seconds(3_600), &limits, now).left(now), seconds(20));
        let limits = Limits { stop_timeout: seconds(1), ..limits };
        assert_eq!(Time::new(seconds(1), &limits, now).left(now + seconds(9)), seconds(1));
    }
}
