//! The servers that are compared, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use super::cluster;
use super::dialect::Dialect;
use super::process::{self, Process};
use crate::workspace;

/// A server that the same load is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Server {
    /// This repository's server, on SQLite
    Ringleaf,
    /// @y/websocket-server 0.1.1, which stores nothing: the baseline of every ratio
    Yws,
    /// The server of y-websocket 2 with LevelDB
    YWebsocket,
    /// @hocuspocus/server with SQLite
    Hocuspocus,
    /// The node of a cluster of one node, on PostgreSQL, with editors of its own
    Owner,
    /// A router before such a node
    Router,
}

impl Server {
    pub(crate) const ALL: [Self; 6] =
        [Self::Ringleaf, Self::Yws, Self::YWebsocket, Self::Hocuspocus, Self::Owner, Self::Router];
    pub(crate) const ALONE: [Self; 4] = [Self::Ringleaf, Self::Yws, Self::YWebsocket, Self::Hocuspocus];

    /// What the others are held against: the first of the peers, and without it this server on one machine.
    pub(crate) fn baseline(servers: &[Self]) -> Self {
        if servers.contains(&Self::Yws) { Self::Yws } else { Self::Ringleaf }
    }

    pub(crate) fn is_clustered(self) -> bool {
        matches!(self, Self::Owner | Self::Router)
    }

    pub(crate) fn is_ringleaf(self) -> bool {
        self == Self::Ringleaf || self.is_clustered()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ringleaf => "ringleaf",
            Self::Yws => "@y/websocket-server",
            Self::YWebsocket => "y-websocket + LevelDB",
            Self::Hocuspocus => "Hocuspocus + SQLite",
            Self::Owner => "a node of a cluster",
            Self::Router => "a router before it",
        }
    }

    pub(crate) fn stores(self) -> bool {
        self != Self::Yws
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Ringleaf | Self::Yws | Self::YWebsocket | Self::Owner | Self::Router => Dialect::YWebsocket,
            Self::Hocuspocus => Dialect::Hocuspocus,
        }
    }

    /// Starts it on `core`, with what it stores in `data`.
    pub(crate) fn start(self, data: &Path, core: usize) -> anyhow::Result<Process> {
        let port = process::free_port()?;
        let command = match self {
            Self::Ringleaf => ringleaf(data, port)?,
            Self::Yws => node("node_modules/@y/websocket-server/src/server.js", port),
            Self::YWebsocket => {
                let mut command = node("node_modules/y-websocket/bin/server.cjs", port);
                command.env("YPERSISTENCE", data.join("leveldb"));
                command
            }
            Self::Hocuspocus => {
                let mut command = node("hocuspocus.mjs", port);
                command.env("DATABASE", data.join("documents.sqlite"));
                command
            }
            Self::Owner => return cluster::owner(data, core),
            Self::Router => return cluster::router(data, core),
        };
        Process::start(&command, core, port, &data.join("log"))
    }
}

fn ringleaf(data: &Path, port: u16) -> anyhow::Result<Command> {
    let mut command = Command::new(ringleaf_program());
    command.arg("serve").arg(data.join("ringleaf"));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--admin", &format!("127.0.0.1:{}", process::free_port()?)]);
    Ok(command)
}

/// The release build.
pub(crate) fn ringleaf_program() -> PathBuf {
    workspace::target().join("release/ringleaf")
}

fn node(script: &str, port: u16) -> Command {
    let mut command = Command::new("node");
    command.arg(script).current_dir(workspace::peers());
    command.env("HOST", "127.0.0.1").env("PORT", port.to_string());
    command
}
