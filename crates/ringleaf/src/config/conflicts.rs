//! What is wrong with settings that are fine each by itself.

use std::net::SocketAddr;

use super::settings::{Config, Role};

/// The setting to blame, and what to say about it.
pub(super) type Conflict = (&'static str, String);

pub(super) fn of(config: &Config) -> Vec<Conflict> {
    let mut conflicts = reachable(config);
    if config.listen.port() != 0 && config.listen == config.admin {
        conflicts
            .push(("admin", format!("listen and admin are both {}; give each its own port", config.admin)));
    }
    if config.limits.keepalive_interval.as_secs() >= 30 {
        conflicts.push(("limits.keepalive_interval", String::from(
            "limits.keepalive_interval must be below 30s: stock clients drop a server that is silent for so long",
        )));
    }
    match config.role {
        Role::Alone => conflicts.extend(alone(config)),
        Role::Node | Role::Router => conflicts.extend(in_a_cluster(config)),
    }
    if config.role == Role::Node {
        conflicts.extend(node(config));
    }
    conflicts
}

/// Who can reach this process, and who it asks.
fn reachable(config: &Config) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (key, address) in [("listen", config.listen), ("admin", config.admin)] {
        if address.ip().is_loopback() {
            continue;
        }
        if config.dev {
            conflicts.push((
                key,
                format!(
                    "{key} is {address}, but --dev is for this machine only; use 127.0.0.1 or leave --dev out"
                ),
            ));
        } else if !config.open_to_anyone {
            conflicts.push((key, format!(
                "{key} is {address}, which other machines can reach, and ringleaf does not ask who they are; \
                 put a proxy that does in front, and say --open-to-anyone"
            )));
        }
    }
    conflicts
}

fn alone(config: &Config) -> Option<Conflict> {
    let clustered = [("etcd", !config.etcd.is_empty()), ("store", !config.store.is_empty())];
    let (key, _) = clustered.into_iter().find(|(_, set)| *set)?;
    Some((
        key,
        format!(
            "{key} is for a cluster, but `ringleaf serve` stands alone; say `ringleaf node` or `ringleaf router`"
        ),
    ))
}

fn in_a_cluster(config: &Config) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    if config.etcd.is_empty() {
        conflicts.push(("etcd", String::from(
            "a cluster needs etcd; say where it is with --etcd http://HOST:2379, or run `ringleaf serve` on one machine",
        )));
    }
    let files = [(
        "peer_ca",
        "peer_cert",
        "peer_key",
        [&config.peer_ca, &config.peer_cert, &config.peer_key].map(Option::is_some),
    )];
    for (ca, certificate, key, [has_ca, has_certificate, has_key]) in files {
        if (has_ca, has_certificate) != (has_certificate, has_key) {
            let found = if has_ca {
                ca
            } else if has_certificate {
                certificate
            } else {
                key
            };
            conflicts
                .push((found, format!("{ca}, {certificate} and {key} go together; give all three or none")));
        }
    }
    if !config.peer_allowed_names.is_empty() && config.peer_ca.is_none() {
        conflicts.push(("peer_allowed_names", String::from(
            "peer_allowed_names says whose certificates are let in, and nobody is asked for one; give --peer-ca, --peer-cert and --peer-key, too",
        )));
    }
    if config.etcd_cert.is_some() != config.etcd_key.is_some() {
        let found = if config.etcd_cert.is_some() { "etcd_cert" } else { "etcd_key" };
        conflicts.push((found, String::from("etcd_cert and etcd_key go together; give both or none")));
    }
    if config.etcd_user.is_empty() == config.etcd_password.is_some() {
        let found = if config.etcd_password.is_some() { "etcd_password" } else { "etcd_user" };
        conflicts.push((
            found,
            String::from("etcd_user and etcd_password (a file that holds it) go together; give both or none"),
        ));
    }
    if config.cluster.is_empty() {
        conflicts.push(("cluster", String::from("cluster must not be empty")));
    }
    conflicts
}

fn node(config: &Config) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    if config.memory {
        conflicts.push(("memory", String::from(
            "a node cannot keep its documents in memory: when it ends another one takes them over from the store",
        )));
    }
    if config.store.is_empty() {
        conflicts.push(("store", String::from(
            "the nodes of a cluster share a PostgreSQL database; say --store postgres://USER@HOST/DATABASE \
             (a folder belongs to one process: `ringleaf serve`)",
        )));
    }
    let taken = [config.listen, config.admin].contains(&config.peer);
    if config.peer.port() != 0 && taken {
        conflicts.push((
            "peer",
            format!("peer is {}, which is in use already; give it its own port", config.peer),
        ));
    }
    if config.peer.ip().is_unspecified() && config.advertise.is_empty() {
        conflicts.push(("peer", format!(
            "peer is {}, which says nothing to other machines; say where they reach it with --advertise HOST:PORT",
            config.peer
        )));
    }
    if !local(config) && config.peer_ca.is_none() {
        conflicts.push(("peer", String::from(
            "processes on other machines must show certificates; give --peer-ca, --peer-cert and --peer-key",
        )));
    }
    conflicts
}

/// Nobody but this machine can reach the peer port.
fn local(config: &Config) -> bool {
    let named = config.advertise.is_empty()
        || config.advertise.starts_with("localhost:")
        || config.advertise.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    config.peer.ip().is_loopback() && named
}
