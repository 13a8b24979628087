//! The servers that are compared, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

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
}

impl Server {
    pub(crate) const ALL: [Self; 4] = [Self::Ringleaf, Self::Yws, Self::YWebsocket, Self::Hocuspocus];
    pub(crate) const BASELINE: Self = Self::Yws;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ringleaf => "ringleaf",
            Self::Yws => "@y/websocket-server",
            Self::YWebsocket => "y-websocket + LevelDB",
            Self::Hocuspocus => "Hocuspocus + SQLite",
        }
    }

    pub(crate) fn stores(self) -> bool {
        self != Self::Yws
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Ringleaf | Self::Yws | Self::YWebsocket => Dialect::YWebsocket,
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
