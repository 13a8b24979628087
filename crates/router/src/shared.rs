//! What every task of one server sees.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use ringleaf_types::{Limits, RouterId, SessionId};
use ringleaf_wire::websocket_frame;

use crate::access::Access;
use crate::addresses::Addresses;
use crate::connection;
use crate::documents::Documents;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::page::Page;
use crate::received::Received;
use crate::route::Route;
use crate::tasks::Tasks;

pub(crate) struct Shared {
    pub(crate) router: RouterId,
    pub(crate) limits: Arc<Limits>,
    pub(crate) access: Access,
    pub(crate) page: Option<Arc<dyn Page>>,
    pub(crate) route: Route,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    pub(crate) addresses: Addresses,
    pub(crate) pace: Pace,
    pub(crate) received: Arc<Received>,
    /// A sign of life, framed; and the same with a ping behind it.
    pub(crate) keepalive: Bytes,
    pub(crate) keepalive_and_ping: Bytes,
    sessions: AtomicU64,
    behind: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(
        limits: Arc<Limits>,
        access: Access,
        page: Option<Arc<dyn Page>>,
        route: Route,
        tasks: Tasks,
    ) -> Self {
        let keepalive = connection::keepalive();
        let keepalive_and_ping = [&keepalive[..], &websocket_frame::ping()[..]].concat().into();
        Self {
            router: RouterId::new(random()),
            addresses: Addresses::new(Arc::clone(&limits)),
            pace: Pace::new(&limits),
            received: Arc::new(Received::new(&limits)),
            limits,
            access,
            page,
            route,
            tasks,
            metrics: Metrics::new(),
            documents: Documents::default(),
            keepalive,
            keepalive_and_ping,
            sessions: AtomicU64::new(0),
            behind: AtomicUsize::new(0),
        }
    }

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId::new(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn count_behind(&self, more: bool) {
        if more {
            self.behind.fetch_add(1, Ordering::Relaxed);
            self.metrics.fell_behind.increment(1);
        } else {
            self.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn behind(&self) -> usize {
        self.behind.load(Ordering::Relaxed)
    }
}

/// A number that differs from process to process and from call to call. The standard library seeds its hash maps from
/// the system's source of randomness; nothing here needs better.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A point between 0 and 1.
pub(crate) fn random_part() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}
