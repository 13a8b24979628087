//! The admin routes in this process, on the folder of a stopped server: the same code path without a port.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use ringleaf_node::{Node, NodeConfig};
use ringleaf_reader::Program;
use ringleaf_store::{OpenStoreError, SqliteOptions, SqliteStore, Store};
use ringleaf_types::{GcRules, Incarnation, Limits};
use tokio::runtime::Runtime;
use tower_service::Service;

use crate::admin::{Admin, Documents, Facts, Faults, Health, Metrics, Stage};
use crate::client::Ask;
use crate::config::{Config, node_id_of_a_command};
use crate::exit::{Exit, Failure};
use crate::serve;

/// How long a document's last changes may take to become durable when the command ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A node on a locked folder, without a port.
pub(crate) struct Local {
    folder: PathBuf,
    runtime: Runtime,
    node: Arc<Node>,
    store: Arc<SqliteStore>,
    router: Router,
}

impl Local {
    /// Locks the folder and opens it. A folder that is not there is not made.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let runtime = serve::runtime()?;
        let limits = Arc::new(Limits::default());
        let inside = runtime.enter();
        let store = Arc::new(
            SqliteStore::open_existing(folder, SqliteOptions::from_limits(&limits))
                .map_err(|error| match &error {
                    OpenStoreError::InUse { holder, .. } => {
                        let holder = holder.as_deref().unwrap_or("another process");
                        let text = format!("the data folder {} is in use by {holder}", folder.display());
                        Failure::new(Exit::InUse, "folder_in_use", text)
                            .advise("leave out --data to ask that server itself (with --admin, if its port is not 1235)")
                    }
                    _ => serve::store_in_words(&error),
                })?,
        );
        let shared: Arc<dyn Store> = store.clone();
        let node_id = node_id_of_a_command();
        let incarnation = Incarnation::new(serve::random());
        // A command does not know what the server is told, so it forgets nothing.
        let gc = GcRules::new("false".parse().into_iter().collect());
        let node = Node::start(
            NodeConfig { node: node_id.clone(), incarnation, limits, reader: Program::default(), gc },
            shared.clone(),
        );
        drop(inside);
        let mut config = Config::standard("");
        config.data = folder.to_path_buf();
        config.node_id = node_id;
        let admin = Admin {
            drain: crate::admin::Drain::new(),
            health: Health::new(
                Stage::Stopped,
                Some(Documents { store: shared, node: Arc::clone(&node) }),
                None,
            ),
            metrics: Metrics::install(),
            faults: Faults::default(),
            facts: Facts {
                config: Arc::new(config),
                incarnation: incarnation.get(),
                started_at: SystemTime::now(),
                started: Instant::now(),
            },
            serving: None,
            backup: Some(store.clone()),
        };
        let router = admin.router(Some(node.admin()));
        Ok(Self { folder: folder.to_path_buf(), runtime, node, store, router })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn send(&self, ask: Ask<'_>) -> Result<(u16, Box<dyn Read + '_>), Failure> {
        // No request of ours can be malformed, so this is a bug rather than a failure with a name of its own.
        let request =
            axum::http::Request::builder().method(ask.method).uri(ask.path).header("host", "localhost");
        let request = match ask.body {
            Some((content_type, bytes)) => {
                request.header("content-type", content_type).body(Body::from(bytes))
            }
            None => request.body(Body::empty()),
        }
        .map_err(|error| Failure::new(Exit::Failed, "request", error.to_string()))?;
        let answer = self.runtime.block_on(self.router.clone().call(request));
        let response = answer.unwrap_or_else(|never| match never {});
        let status = response.status().as_u16();
        let stream = response.into_body().into_data_stream();
        Ok((status, Box::new(Reader { runtime: &self.runtime, stream, chunk: Bytes::new() })))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            self.node.stop(STOP_TIMEOUT).await;
            self.store.close().await;
        });
    }
}

/// An answer's body, read as it comes.
struct Reader<'a> {
    runtime: &'a Runtime,
    stream: BodyDataStream,
    chunk: Bytes,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let bytes = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..bytes]);
        Ok(bytes)
    }
}
