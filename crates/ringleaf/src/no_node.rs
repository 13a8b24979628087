//! Stands in for the node until that has landed: it hosts no documents.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ringleaf_store::Store;
use ringleaf_types::{DocumentId, Incarnation, Limits, NodeId, RouterId};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, SessionHost};

pub(crate) struct NodeConfig {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) limits: Arc<Limits>,
}

pub(crate) struct Node;

impl Node {
    pub(crate) fn start(config: NodeConfig, _store: Arc<dyn Store>) -> Arc<Self> {
        tracing::debug!(node = %config.node, incarnation = %config.incarnation, limits = ?config.limits, "no documents");
        Arc::new(Self)
    }

    pub(crate) async fn stop(&self, _deadline: Duration) {
        std::future::ready(()).await;
    }

    pub(crate) fn admin(&self) -> axum::Router {
        axum::Router::new()
    }
}

impl SessionHost for Node {
    fn open(
        &self,
        _document: DocumentId,
        _router: RouterId,
        _sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        Box::pin(std::future::ready(Err(OpenError::Busy)))
    }
}
