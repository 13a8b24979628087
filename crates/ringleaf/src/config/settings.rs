//! The table of all settings: their names, how they are read, and where they go.

use std::net::SocketAddr;
use std::path::PathBuf;

use ringleaf_ring::Weight;
use ringleaf_types::{GcRules, Limits, NodeId};

use super::value::{
    Address, Collecting, Count, Database, Endpoints, Filter, Flag, Folder, Format, Kind, Names, Node,
    OptionalFile, Origins, Pause, Raw, Reachable, Share, Size, Span, Word,
};
use crate::log::LogFormat;

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything on one machine.
    Alone,
    /// Documents, and editors too.
    Node,
    /// Editors only.
    Router,
}

/// Everything that a server can be told.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Not a setting: the command says it.
    pub(crate) role: Role,
    /// Where the documents are kept.
    pub(crate) data: PathBuf,
    /// Where editors connect.
    pub(crate) listen: SocketAddr,
    /// Health, metrics and the admin commands.
    pub(crate) admin: SocketAddr,
    /// Keep nothing.
    pub(crate) memory: bool,
    /// Serve the demo page; loopback only.
    pub(crate) dev: bool,
    /// Serve addresses other than loopback though nobody is asked who they are.
    pub(crate) open_to_anyone: bool,
    /// Origins, besides the host's own, whose pages may connect.
    pub(crate) allow_origin: Vec<String>,
    pub(crate) node_id: NodeId,
    pub(crate) log: LogFormat,
    pub(crate) log_filter: String,
    /// Where to write the ports that were bound, for whoever started the server on port 0.
    pub(crate) ports_file: Option<PathBuf>,
    /// Where etcd is. Empty: this process is in no cluster.
    pub(crate) etcd: Vec<String>,
    pub(crate) etcd_user: String,
    /// The file that holds the user's password.
    pub(crate) etcd_password: Option<PathBuf>,
    pub(crate) etcd_ca: Option<PathBuf>,
    pub(crate) etcd_cert: Option<PathBuf>,
    pub(crate) etcd_key: Option<PathBuf>,
    /// The name of the cluster in etcd.
    pub(crate) cluster: String,
    /// The database that the nodes of a cluster share. Empty: documents are kept in `data`.
    pub(crate) store: String,
    /// Where other processes of the cluster connect.
    pub(crate) peer: SocketAddr,
    /// What others are told of `peer`. Empty: what it is.
    pub(crate) advertise: String,
    pub(crate) peer_ca: Option<PathBuf>,
    pub(crate) peer_cert: Option<PathBuf>,
    pub(crate) peer_key: Option<PathBuf>,
    /// Names of which the certificate of whoever connects to `peer` must have one. Empty: the authority is enough.
    pub(crate) peer_allowed_names: Vec<String>,
    /// In which documents deleted content is forgotten.
    pub(crate) gc: GcRules,
    pub(crate) weight: Weight,
    pub(crate) zone: String,
    pub(crate) limits: Limits,
}

/// One setting. Its name is the same everywhere: `log_filter` in the file is `--log-filter` and `RINGLEAF_LOG_FILTER`.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) wanted: &'static str,
    /// `None`: the value is of the wrong type or out of range.
    pub(crate) set: fn(&mut Config, &Raw) -> Option<()>,
    /// What was probably meant by a value that cannot be read.
    pub(crate) nearest: fn(&Raw) -> Option<String>,
    /// The value as it would stand in the file.
    pub(crate) show: fn(&Config) -> String,
}

impl Setting {
    pub(crate) fn variable(&self) -> String {
        format!("RINGLEAF_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

macro_rules! setting {
    ($key:expr, $kind:ident, $($field:ident).+) => {
        Setting {
            key: $key,
            // The unit struct's constant does not depend on the type that it is read into.
            wanted: wanted(|config: &Config| &config.$($field).+, $kind),
            set: |config, raw| {
                config.$($field).+ = $kind::parse(raw)?;
                Some(())
            },
            nearest: nearest(|config: &Config| &config.$($field).+, $kind),
            show: |config| $kind::show(&config.$($field).+),
        }
    };
}

/// `K::WANTED` with the field's type inferred from how it is reached.
const fn wanted<T, K: Kind<T> + Copy>(_field: fn(&Config) -> &T, _kind: K) -> &'static str {
    K::WANTED
}

/// `K::nearest`, likewise.
const fn nearest<T, K: Kind<T> + Copy>(_field: fn(&Config) -> &T, _kind: K) -> fn(&Raw) -> Option<String> {
    K::nearest
}

macro_rules! limits {
    ($($field:ident: $kind:ident),+ $(,)?) => {
        const LIMITS: &[Setting] = &[$(setting!(concat!("limits.", stringify!($field)), $kind, limits.$field)),+];

        /// A limit that is missing from the list above is an error here.
        const fn every_limit_can_be_set(limits: &Limits) {
            let Limits { $($field: _),+ } = limits;
        }
    };
}

const SERVER: &[Setting] = &[
    setting!("data", Folder, data),
    setting!("listen", Address, listen),
    setting!("admin", Address, admin),
    setting!("memory", Flag, memory),
    setting!("dev", Flag, dev),
    setting!("open_to_anyone", Flag, open_to_anyone),
    setting!("allow_origin", Origins, allow_origin),
    setting!("node_id", Node, node_id),
    setting!("log", Format, log),
    setting!("log_filter", Filter, log_filter),
    setting!("ports_file", OptionalFile, ports_file),
    setting!("etcd", Endpoints, etcd),
    setting!("etcd_user", Word, etcd_user),
    setting!("etcd_password", OptionalFile, etcd_password),
    setting!("etcd_ca", OptionalFile, etcd_ca),
    setting!("etcd_cert", OptionalFile, etcd_cert),
    setting!("etcd_key", OptionalFile, etcd_key),
    setting!("cluster", Word, cluster),
    setting!("store", Database, store),
    setting!("peer", Address, peer),
    setting!("advertise", Reachable, advertise),
    setting!("peer_ca", OptionalFile, peer_ca),
    setting!("peer_cert", OptionalFile, peer_cert),
    setting!("peer_key", OptionalFile, peer_key),
    setting!("peer_allowed_names", Names, peer_allowed_names),
    setting!("gc", Collecting, gc),
    setting!("weight", Share, weight),
    setting!("zone", Word, zone),
];

// Add a new limit here: `Count` for things, `Size` for bytes, `Span` for times, `Pause` for times that may be zero.
limits! {
    message_bytes_max: Size,
    handshake_bytes_max: Size,
    handshake_timeout: Span,
    session_messages_per_second_max: Count,
    session_bytes_per_second_max: Size,
    outstanding_messages_max: Count,
    outstanding_bytes_max: Size,
    received_bytes_max: Size,
    received_bytes_free: Size,
    partial_message_timeout: Span,
    refusals_per_minute_max: Count,
    connections_per_address_max: Count,
    connections_max: Count,
    connections_per_second_max: Count,
    connection_turn_timeout: Pause,
    sessions_per_document_max: Count,
    documents_opened_per_minute_max: Count,
    document_bytes_max: Size,
    mailbox_requests_max: Count,
    gathered_bytes_max: Size,
    remainder_bytes_max: Size,
    remainder_timeout: Span,
    awareness_clients_max: Count,
    awareness_state_bytes_max: Size,
    awareness_bytes_max: Size,
    awareness_timeout: Span,
    awareness_tick: Pause,
    outbox_frames_max: Count,
    outbox_bytes_max: Size,
    stalled_timeout: Span,
    keepalive_interval: Span,
    dead_timeout: Span,
    fan_out_window_max: Pause,
    fan_out_duty: Count,
    fan_out_waiting_bytes_max: Size,
    idle_timeout: Span,
    resident_bytes_max: Size,
    compaction_idle_timeout: Span,
    tail_slots_max: Count,
    tail_bytes_max: Size,
    retention: Pause,
    commit_gap_max: Pause,
    appends_waiting_max: Count,
    reader_processes_max: Count,
    reader_memory_bytes_max: Size,
    reader_cpu_timeout: Span,
    reader_timeout: Span,
    reader_message_bytes_max: Size,
    reader_waiting_max: Count,
    reader_turn_timeout: Pause,
    reader_idle_timeout: Span,
    close_spread: Pause,
    stop_timeout: Span,
}

/// All settings, in the order in which they are shown.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    SERVER.iter().chain(LIMITS)
}

pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

impl Config {
    /// What holds when nobody says anything. The node is called like its host.
    pub(crate) fn standard(host: &str) -> Self {
        let limits = Limits::default();
        every_limit_can_be_set(&limits);
        let allowed =
            |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        let host: String = host.chars().map(allowed).take(64).collect();
        Self {
            role: Role::Alone,
            data: PathBuf::from("./ringleaf-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 1234)),
            admin: SocketAddr::from(([127, 0, 0, 1], 1235)),
            memory: false,
            dev: false,
            open_to_anyone: false,
            allow_origin: Vec::new(),
            node_id: host
                .parse()
                .unwrap_or_else(|_| "ringleaf".parse().expect("this name is a valid node id")),
            log: LogFormat::Text,
            log_filter: "info".into(),
            ports_file: None,
            etcd: Vec::new(),
            etcd_user: String::new(),
            etcd_password: None,
            etcd_ca: None,
            etcd_cert: None,
            etcd_key: None,
            cluster: "ringleaf".into(),
            store: String::new(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1236)),
            advertise: String::new(),
            peer_ca: None,
            peer_cert: None,
            peer_key: None,
            peer_allowed_names: Vec::new(),
            gc: GcRules::default(),
            weight: Weight::ONE,
            zone: String::new(),
            limits,
        }
    }
}
