//! What a process needs that is one of several: the agreed facts in etcd, the links to the others, a place on the ring.
//!
//! ```text
//! etcd ──ring──▶ route, node, links          self-test ─▶ on the ring ─▶ … ─▶ off the ring ─▶ documents let go ─▶ gone
//!      ◀─member─ (nodes only)                                └ somebody else has the name ─▶ stop
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_coordinator::{Coordinator, Etcd, EtcdConfig, EtcdTls, Prober, RegisterError, Ring};
use ringleaf_node::{Cluster, Node, NodeConfig};
use ringleaf_peer::{
    AdminAnswer, AdminRequest, AllowedNames, Answers, ClientTls, ClusterView, Links, LinksConfig, PeerConfig,
    PeerServer, Probed, RunningPeerServer, ServerTls, TargetTalk, TlsError,
};
use ringleaf_reader::Program;
use ringleaf_ring::{Member, MemberState, RingView};
use ringleaf_router::BindError;
use ringleaf_store::{OpenPostgresError, PostgresOptions, PostgresStore, Store};
use ringleaf_types::{Incarnation, Limits, NodeId, RingVersion};
use tokio::time::sleep;
use tower_service::Service;
use tracing::{info, info_span, warn};

use crate::admin::{Documents, HOP, Health, Others, Stage};
use crate::aside::{Advice, Aside};
use crate::config::{Config, Role};
use crate::exit::{Exit, Failure, chain};
use crate::history::{self, History};
use crate::self_test::SelfTest;
use crate::serve::{Parts, in_words};
use crate::tasks::Tasks;

/// How long a member may take to say that it lives.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody else has taken this node's name, and whether the store answers.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the store may take to answer that.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);
const STORE_AGAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// A node that leaves the ring hears of that within this time, unless it was the last.
const OFF_THE_RING_TIMEOUT: Duration = Duration::from_secs(1);
/// What is left of the links after so long is cut off.
const PEER_STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest answer that is passed on to another process.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// A node that starts waits for a store that does not answer for so long, and tries it so often.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
const STORE_TRY_INTERVAL: Duration = Duration::from_millis(500);

/// Takes the port for other processes, if this one hosts documents.
pub(crate) fn bind(config: &Config, limits: Arc<Limits>) -> Result<Option<PeerServer>, Failure> {
    if config.role != Role::Node {
        return Ok(None);
    }
    let allowed = AllowedNames::new(&config.peer_allowed_names);
    let tls = certificates(config)
        .map(|[certificate, key, authority]| ServerTls::from_files(certificate, key, authority, allowed))
        .transpose()
        .map_err(|error| in_other_words(&error))?;
    PeerServer::bind(PeerConfig { listen: config.peer, tls, limits })
        .map(Some)
        .map_err(|error| in_words(&BindError::from_io(error.listen, error.source), "peer"))
}

/// The certificate, its key, and the authority that others are checked against.
/// That there are all or none was checked with the configuration.
fn certificates(config: &Config) -> Option<[&Path; 3]> {
    Some([config.peer_cert.as_deref()?, config.peer_key.as_deref()?, config.peer_ca.as_deref()?])
}

fn in_other_words(error: &TlsError) -> Failure {
    Failure::new(Exit::Configuration, "certificates", chain(error))
        .advise("check --peer-ca, --peer-cert and --peer-key")
}

/// A node: it hosts what the ring gives it.
pub(crate) async fn node(config: &Config, incarnation: Incarnation) -> Result<Parts, Failure> {
    let limits = Arc::new(config.limits.clone());
    let store: Arc<dyn Store> = Arc::new(store(config, &limits).await?);
    let (coordinator, links) = others(config)?;
    let node = Node::start_in(
        Cluster { coordinator: coordinator.clone(), peers: links.clone(), handoffs: links.clone() },
        NodeConfig {
            node: config.node_id.clone(),
            incarnation,
            limits,
            reader: Program::default(),
            gc: config.gc.clone(),
        },
        Arc::clone(&store),
    );
    Ok(Parts {
        coordinator: coordinator.clone(),
        documents: Some(Documents { store, node }),
        backup: None,
        links: Some(links),
        etcd: Some(coordinator),
        history: History::default(),
    })
}

/// Opens the store. Where everything starts at once, or the database just restarts, it comes a little later.
async fn store(config: &Config, limits: &Limits) -> Result<PostgresStore, Failure> {
    let begun_at = Instant::now();
    let mut said = false;
    loop {
        let error = match PostgresStore::open(&config.store, PostgresOptions::from_limits(limits)).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        if !error.may_pass() || begun_at.elapsed() >= STORE_PATIENCE {
            return Err(store_in_words(&error));
        }
        if !said {
            said = true;
            let seconds = STORE_PATIENCE.as_secs();
            warn!(error = chain(&error), seconds, "waiting for the store before anything is served");
        }
        sleep(STORE_TRY_INTERVAL).await;
    }
}

/// A router: it hosts nothing.
pub(crate) fn router(config: &Config) -> Result<Parts, Failure> {
    let (coordinator, links) = others(config)?;
    Ok(Parts {
        coordinator: coordinator.clone(),
        documents: None,
        backup: None,
        links: Some(links),
        etcd: Some(coordinator),
        history: History::default(),
    })
}

pub(crate) fn store_in_words(error: &OpenPostgresError) -> Failure {
    let (exit, code) = match error {
        OpenPostgresError::Address(_) | OpenPostgresError::Certificates(_) => {
            (Exit::Configuration, "store_address")
        }
        OpenPostgresError::Unsafe { .. } => (Exit::Refused, "unsafe_store"),
        OpenPostgresError::Newer { .. } => (Exit::Refused, "newer_store"),
        OpenPostgresError::Database(_) => (Exit::Unreachable, "store"),
    };
    Failure::new(exit, code, chain(error))
}

/// The agreed facts, and the way to whom they name.
fn others(config: &Config) -> Result<(Arc<Etcd>, Arc<Links>), Failure> {
    let tls = certificates(config)
        .map(|[certificate, key, authority]| ClientTls::from_files(certificate, key, authority))
        .transpose()
        .map_err(|error| in_other_words(&error))?;
    let limits = Arc::new(config.limits.clone());
    let links = Links::new(LinksConfig { this: config.node_id.to_string(), tls, limits });
    let etcd = Etcd::connect(etcd(config)?, Some(Arc::new(Asking(links.clone()))));
    Ok((etcd, links))
}

fn etcd(config: &Config) -> Result<EtcdConfig, Failure> {
    let cannot_read = |file: &Path, error: std::io::Error| {
        Failure::new(
            Exit::Configuration,
            "etcd_password",
            format!("{} cannot be read: {error}", file.display()),
        )
    };
    let password = match &config.etcd_password {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| cannot_read(file, error))?;
            Some((config.etcd_user.clone(), text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        None => None,
    };
    let identity = config.etcd_cert.clone().zip(config.etcd_key.clone());
    let https = config.etcd.iter().any(|endpoint| endpoint.starts_with("https://"));
    let tls = (https || config.etcd_ca.is_some() || identity.is_some())
        .then(|| EtcdTls { ca: config.etcd_ca.clone(), identity });
    std::fs::create_dir_all(&config.data).map_err(|error| {
        Failure::new(Exit::Failed, "data", format!("{} cannot be made: {error}", config.data.display()))
            .advise("name a folder that can, with --data")
    })?;
    let cache = config.data.join(format!("ring-{}-{}", config.cluster, config.node_id));
    Ok(EtcdConfig {
        user_password: password,
        tls,
        cache: Some(cache),
        ..EtcdConfig::new(&config.cluster, config.etcd.clone())
    })
}

/// Asks members over the links' own network.
struct Asking(Arc<Links>);

#[async_trait]
impl Prober for Asking {
    async fn alive(&self, member: &Member) -> bool {
        let probed = self.0.probe(&member.node, &member.address, PROBE_TIMEOUT).await;
        probed.is_ok_and(|probed| probed.incarnation == member.incarnation)
    }
}

/// What other processes ask of this one, apart from documents.
struct Answering {
    node: NodeId,
    incarnation: Incarnation,
    cluster: Arc<str>,
    coordinator: Arc<dyn Coordinator>,
    ring: Ring,
    documents: Arc<Node>,
    health: Health,
    admin: Router,
}

impl Answers for Answering {
    fn probed(&self) -> Probed {
        Probed {
            node: self.node.clone(),
            incarnation: self.incarnation,
            ring: version(&self.ring),
            serving: self.health.stage() == Stage::Serving,
        }
    }

    fn heard_ring(&self, version: RingVersion) {
        self.coordinator.heard(version);
    }

    fn lacks_ring(&self, version: RingVersion) -> bool {
        self.coordinator.lacks(version)
    }

    fn told_view(&self, told: ClusterView) {
        self.coordinator.told(&told.cluster, told.view);
    }

    fn view(&self) -> Option<ClusterView> {
        let view = self.ring.borrow().clone()?;
        Some(ClusterView { cluster: self.cluster.clone(), view })
    }

    fn offered(&self, talk: TargetTalk) {
        self.documents.offered(talk);
    }

    fn admin(&self, request: AdminRequest) -> BoxFuture<'_, AdminAnswer> {
        let router = self.admin.clone();
        async move { answer(router, request).await.unwrap_or_else(|problem| refusal(&problem)) }.boxed()
    }
}

async fn answer(mut router: Router, request: AdminRequest) -> Result<AdminAnswer, String> {
    let request = axum::http::Request::builder()
        .method(request.method.as_str())
        .uri(request.path_and_query)
        .header("host", "localhost")
        .header(HOP, "1")
        .body(Body::from(request.body))
        .map_err(|error| error.to_string())?;
    let response = router.call(request).await.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    Ok(AdminAnswer { status, content_type, body: body.map_err(|error| error.to_string())? })
}

fn refusal(problem: &str) -> AdminAnswer {
    let body = serde_json::json!({ "error": { "code": "passed_on", "message": problem, "advice": "" } });
    AdminAnswer { status: 502, content_type: "application/json".into(), body: body.to_string().into() }
}

fn version(ring: &Ring) -> RingVersion {
    ring.borrow().as_ref().map_or_else(RingVersion::default, |view| view.version())
}

/// This process's place among the others. One that stands alone has none, and nothing to do here.
pub(crate) struct Membership {
    coordinator: Arc<dyn Coordinator>,
    /// A node answers others and is on the ring; a router only looks.
    answering: Option<(RunningPeerServer, Member)>,
    /// Whether this node was ever on the ring. One whose name somebody else has never was, and has nothing to leave.
    joined: AtomicBool,
    health: Health,
    others: Others,
    self_test: Option<SelfTest>,
}

impl Membership {
    /// Answers other processes from now on, and follows the ring.
    pub(crate) fn begin(
        config: &Config,
        incarnation: Incarnation,
        parts: &Parts,
        peer_server: Option<PeerServer>,
        admin: Router,
        health: &Health,
        tasks: &Tasks,
    ) -> Self {
        let coordinator = parts.coordinator.clone();
        tasks.beside(info_span!("history"), history::keep(coordinator.ring(), parts.history.clone()));
        if let Some(links) = &parts.links {
            tasks.beside(
                info_span!("ring"),
                follow(config.cluster.as_str().into(), coordinator.clone(), Arc::clone(links)),
            );
        }
        let answering = peer_server.zip(parts.documents.as_ref()).map(|(server, documents)| {
            let member = member(config, incarnation, &server);
            let answers = Arc::new(Answering {
                node: config.node_id.clone(),
                incarnation,
                cluster: config.cluster.as_str().into(),
                coordinator: coordinator.clone(),
                ring: coordinator.ring(),
                documents: documents.node.clone(),
                health: health.clone(),
                admin,
            });
            (server.start(documents.node.clone(), answers), member)
        });
        let self_test = parts.documents.as_ref().zip(parts.links.as_ref()).map(|(documents, links)| {
            SelfTest { store: Arc::clone(&documents.store), links: Arc::clone(links) }
        });
        let joined = AtomicBool::new(false);
        Self {
            coordinator,
            answering,
            joined,
            health: health.clone(),
            others: parts.others(config),
            self_test,
        }
    }

    /// Puts a node on the ring, once it has tested itself, and returns when it may not stay there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the node where it is.
    pub(crate) async fn serve(&self) -> Failure {
        let Some((_, member)) = &self.answering else { return std::future::pending().await };
        if let Some(self_test) = &self.self_test
            && let Err(failure) = self_test.pass(member).await
        {
            return failure;
        }
        if let Err(error) = self.coordinator.register(member.clone()).await {
            return refused(&error);
        }
        self.joined.store(true, Ordering::Relaxed);
        info!(node = %member.node, address = member.address, "on the ring");
        let mut aside = Aside::default();
        while !self.coordinator.status().displaced {
            sleep(LOOK_INTERVAL).await;
            if let Err(error) = self.look(member, &mut aside).await {
                return refused(&error);
            }
        }
        Failure::new(Exit::InUse, "displaced", format!("another process has taken the name {}", member.node))
            .advise("give each process its own --node-id")
    }

    /// Looks whether the store can be reached, and steps aside for those who reach it.
    async fn look(&self, member: &Member, aside: &mut Aside) -> Result<(), RegisterError> {
        let asked_at = Instant::now();
        let answers = self.health.reaches_store(STORE_TIMEOUT).await;
        let stuck = self.health.node().is_some_and(|node| node.failing_appends > 0);
        match aside.looked(answers, stuck, asked_at, Instant::now()) {
            Advice::Stay => {}
            Advice::AskOthers => {
                // Order: this node is asked once more after the others, so that a store that comes back comes back for all.
                let alone = self.others.reach_the_store().await
                    && !self.health.reaches_store(STORE_AGAIN_TIMEOUT).await;
                if alone {
                    warn!("the store cannot be reached from here: others take the documents");
                    let draining = Member { state: MemberState::Draining, ..member.clone() };
                    // Order: before the ring changes, which is what moves the documents.
                    self.tell_documents(true);
                    let registered = self.coordinator.register(draining).await;
                    self.tell_documents(registered.is_ok());
                    registered?;
                    aside.set(true);
                }
            }
            Advice::ComeBack => {
                info!("the store can be reached again: back on the ring");
                self.tell_documents(false);
                self.coordinator.register(member.clone()).await?;
                aside.set(false);
            }
        }
        Ok(())
    }

    /// What leaves need not wait for a store that this node alone has lost.
    fn tell_documents(&self, store_lost: bool) {
        if let Some(node) = self.health.host() {
            node.set_store_lost(store_lost);
        }
    }

    /// Others own this node's documents from now on.
    pub(crate) async fn leave_ring(&self) {
        let Some((_, member)) = &self.answering else { return };
        let status = self.coordinator.status();
        if self.joined.load(Ordering::Relaxed) && status.connected && !status.displaced {
            // Whoever refuses it has the name: then this node is off the ring already.
            let draining = Member { state: MemberState::Draining, ..member.clone() };
            let _off_the_ring = self.coordinator.register(draining).await;
            let mut ring = self.coordinator.ring();
            let serves = |view: &RingView| {
                view.member(&member.node).is_some_and(|this| this.state == MemberState::Serving)
            };
            let left = ring.wait_for(|view| view.as_ref().is_none_or(|view| !serves(view)));
            // The last node of a cluster stays on its ring; and etcd may go away just now.
            let _seen = tokio::time::timeout(OFF_THE_RING_TIMEOUT, left).await;
        }
    }

    /// Nobody is answered any more, and nothing is left in etcd.
    pub(crate) async fn end(self) {
        if let Some((server, _)) = self.answering {
            server.stop(PEER_STOP_TIMEOUT).await;
            self.coordinator.withdraw().await;
        }
        // Order: before the runtime ends, whose end would look like that of etcd.
        self.coordinator.close().await;
    }
}

fn member(config: &Config, incarnation: Incarnation, server: &PeerServer) -> Member {
    let address = match config.advertise.as_str() {
        "" => server.local_addr().to_string(),
        advertised => advertised.to_owned(),
    };
    Member {
        node: config.node_id.clone(),
        incarnation,
        state: MemberState::Serving,
        weight: config.weight,
        address,
        zone: config.zone.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn refused(error: &RegisterError) -> Failure {
    let exit = match error {
        RegisterError::Foreign { .. } => Exit::InUse,
        RegisterError::Refused { .. } => Exit::Refused,
    };
    Failure::new(exit, "register", error.to_string())
}

/// Tells the links which ring is known here, and the coordinator which one others know. While that cannot be asked, those
/// others are.
async fn follow(cluster: Arc<str>, coordinator: Arc<dyn Coordinator>, links: Arc<Links>) {
    let (mut ring, mut heard, mut told) = (coordinator.ring(), links.heard_ring(), links.told_view());
    loop {
        if let Some(view) = ring.borrow_and_update().clone() {
            links.set_view(ClusterView { cluster: cluster.clone(), view });
        }
        let version = *heard.borrow_and_update();
        if coordinator.lacks(version) {
            links.ask_for_view();
        }
        tokio::select! {
            changed = ring.changed() => if changed.is_err() { return },
            changed = heard.changed() => {
                if changed.is_err() {
                    return;
                }
                coordinator.heard(*heard.borrow());
            }
            changed = told.changed() => {
                let view = told.borrow_and_update().clone();
                if changed.is_err() {
                    return;
                }
                if let Some(ClusterView { cluster, view }) = view {
                    coordinator.told(&cluster, view);
                }
            }
            // That the coordinator is away may be found only after a version was heard.
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}
