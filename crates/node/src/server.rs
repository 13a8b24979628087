//! The node: starts, hosts documents, stops in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use ringleaf_peer::TargetTalk;
use ringleaf_reader::Program;
use ringleaf_store::Store;
use ringleaf_types::{DocumentId, Epoch, GcRules, Incarnation, Limits, NodeId};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, Opening, SessionHost};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{info, info_span, warn};

use crate::command::{Command, Operator, Refused};
use crate::handoff::{self, Moves};
use crate::host::Host;
use crate::latency::Latency;
use crate::membership::{Cluster, Membership};
use crate::registry::{Resident, Stopping};
use crate::shared::Shared;
use crate::{document_task, memory, quarantine, tail_watch};

/// Who this node is, and within which bounds it works.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub limits: Arc<Limits>,
    /// What is started to read documents for people.
    pub reader: Program,
    /// In which documents deleted content is forgotten.
    pub gc: GcRules,
}

/// Hosts documents, each in a task of its own. Dropping it ends them all without flushing; see [`Node::stop`].
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

/// What became of the documents when the node stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// These ended in order: everything they had taken is durable.
    pub flushed: usize,
    /// These were cut off at the deadline. What they had not acknowledged may be lost.
    pub forced: usize,
}

/// How the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    pub documents: usize,
    pub resident_bytes: usize,
    pub quarantined: usize,
    pub stopping: bool,
    pub moves: Moves,
    /// Appends that the store does not take at the moment: nothing of their documents is acknowledged meanwhile.
    pub failing_appends: usize,
    /// It has left its documents to others, because it alone cannot reach the store.
    pub store_lost: bool,
    /// How long it took lately to make updates durable and to acknowledge them. None: there were none.
    pub acknowledged_in: Option<Latency>,
}

/// How far a node is with moving documents to whom the ring names. A moment later it may be otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebalanceStatus {
    /// In memory here, and others should own them.
    pub to_move: usize,
    /// On their way to others now.
    pub going: usize,
    /// On their way from others now.
    pub coming: usize,
    /// What became of others, since the node started.
    pub moves: Moves,
}

impl Node {
    /// Starts a node on this store. Needs a tokio runtime.
    pub fn start(config: NodeConfig, store: Arc<dyn Store>) -> Arc<Self> {
        Self::begin(Shared::new(config, store, None))
    }

    /// Starts a node that is one of several, on the store that they share.
    pub fn start_in(cluster: Cluster, config: NodeConfig, store: Arc<dyn Store>) -> Arc<Self> {
        let membership = Membership::new(config.node.clone(), cluster);
        let node = Self::begin(Shared::new(config, store, Some(membership)));
        let moves = handoff::move_out(Arc::clone(&node.shared));
        node.shared.tasks.start_vital(info_span!("membership"), moves);
        node
    }

    fn begin(shared: Shared) -> Arc<Self> {
        let shared = Arc::new(shared);
        shared.tasks.start_vital(info_span!("tail_watch"), tail_watch::run(Arc::downgrade(&shared)));
        shared.tasks.start_vital(info_span!("memory"), memory::run(Arc::downgrade(&shared)));
        Arc::new(Self { shared })
    }

    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            documents: self.shared.registry.count(),
            resident_bytes: self.shared.memory.all(),
            quarantined: self.shared.quarantine.count(),
            stopping: self.shared.registry.stopping().is_cancelled(),
            moves: self.moves(),
            failing_appends: self.shared.failing_appends(),
            store_lost: self.shared.handoffs.store_lost(),
            acknowledged_in: self.shared.latencies.read(Instant::now()),
        }
    }

    /// Says that this node alone cannot reach the store, or that it can again. While it cannot, documents that others should
    /// own are not waited for to flush: what is not stored stays with their routers, as after a crash.
    pub fn set_store_lost(&self, lost: bool) {
        self.shared.handoffs.set_store_lost(lost);
    }

    /// Takes no more documents, lets each flush what it has taken, and ends all tasks (I18). What has not flushed
    /// within this time, because the store is away, is cut off.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the documents flushing; calling it again waits for them again.
    pub async fn stop(&self, within: Duration) -> Stopped {
        let begun_at = Instant::now();
        let residents = self.shared.registry.stop();
        let documents = residents.len();
        let ended = join_all(residents.iter().map(|resident| resident.ended.cancelled()));
        let (half_way, deadline) = (begun_at + within / 2, begun_at + within);
        let mut ended = std::pin::pin!(ended);
        if timeout_at(half_way, ended.as_mut()).await.is_err() {
            self.shared.set_hurry();
            for resident in &residents {
                // Wakes it; a document whose mailbox is full is awake.
                let _ = resident.mailbox.try_send(Box::new(Command::MakeRoom));
            }
            let _ = timeout_at(deadline, ended).await;
        }
        let flushed = residents.iter().filter(|resident| resident.ended.is_cancelled()).count();
        let forced = documents - flushed;
        self.shared.tasks.end().await;
        self.shared.reader.stop().await;
        quarantine::take_back_notes(&self.shared);
        let _store_is_away = timeout_at(deadline, self.shared.outcomes.finished()).await;
        self.shared.outcomes.end().await;
        if forced > 0 {
            warn!(flushed, forced, "some documents did not flush in time");
        } else {
            info!(flushed, "all documents are flushed");
        }
        Stopped { flushed, forced }
    }

    /// Another node has a document for this one. It is taken over beside everything else.
    pub fn offered(&self, talk: TargetTalk) {
        let span = info_span!(parent: None, "handoff");
        self.shared.tasks.start(span, handoff::take_over(Arc::clone(&self.shared), talk));
    }

    /// What became of documents that others should own, since the node started.
    pub fn moves(&self) -> Moves {
        self.shared.handoffs.moves()
    }

    /// How far this node is with moving documents to whom the ring names.
    pub fn rebalance(&self) -> RebalanceStatus {
        let handoffs = &self.shared.handoffs;
        let going = handoffs.going();
        RebalanceStatus {
            to_move: self.misplaced().saturating_sub(going),
            going,
            coming: handoffs.coming(),
            moves: handoffs.moves(),
        }
    }

    /// Sends a document what `ask` makes, and waits for the answer. `None`: the document has ended meanwhile.
    /// `refusable`: it need not be loaded when there is no room.
    async fn ask<T>(
        &self,
        document: &DocumentId,
        refusable: bool,
        ask: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<Option<(T, Arc<Resident>)>, Stopping> {
        let resident = resident(&self.shared, document)?;
        if !refusable {
            resident.facts.set_must_load();
        }
        let (reply, mut answer) = oneshot::channel();
        if resident.mailbox.send(Box::new(ask(reply))).await.is_ok() {
            // A command that slips in while the mailbox shuts lies there unread, so its answer is not all that is
            // waited for.
            let answer = tokio::select! {
                biased;
                answer = &mut answer => answer.ok(),
                () = resident.ended.cancelled() => answer.try_recv().ok(),
            };
            if let Some(answer) = answer {
                return Ok(Some((answer, resident)));
            }
        }
        resident.ended.cancelled().await;
        Ok(None)
    }

    /// Asks what an operator wants of a document, which is made resident for it.
    pub(crate) async fn operate<T>(
        &self,
        document: &DocumentId,
        mut ask: impl FnMut(oneshot::Sender<Result<T, Refused>>) -> Operator,
    ) -> Result<Result<T, Refused>, Stopping> {
        loop {
            if let Some((answer, _)) =
                self.ask(document, false, |reply| Command::Operator(ask(reply))).await?
            {
                return Ok(answer);
            }
        }
    }

    /// The document is not in memory, and what is there is in use and all that may be.
    fn no_room_for(&self, document: &DocumentId) -> bool {
        self.shared.memory.full() && self.shared.registry.find(document).is_none()
    }

    /// The host that this document is to be opened at instead, if it is another one.
    async fn elsewhere(
        &self,
        opening: &Opening,
    ) -> Result<Option<(NodeId, Arc<dyn SessionHost>)>, OpenError> {
        let Some(membership) = &self.shared.membership else { return Ok(None) };
        let resident = self.shared.registry.find(&opening.document);
        // One that is being let go is not held on to, though its claim is still the newest.
        let claimed = resident
            .is_some_and(|resident| resident.facts.epoch() > Epoch::ZERO && !resident.stop.is_cancelled());
        membership.elsewhere(opening, claimed).await
    }

    /// Brings a router to a node that it cannot reach.
    async fn relay(
        &self,
        (node, host): (NodeId, Arc<dyn SessionHost>),
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> Result<Arc<dyn DocumentHost>, OpenError> {
        let document = opening.document.clone();
        let denied = [opening.denied, vec![self.shared.config.node.clone()]].concat();
        let relayed = Opening { relayed: true, unreachable: Vec::new(), denied, ..opening };
        let opened = host.open(relayed, sink).await;
        if let (Err(OpenError::Moved { .. }), Some(membership)) = (&opened, &self.shared.membership) {
            // Order: before the router hears it, which takes it for this node's word and comes back at once.
            membership.denied(&document, &node);
        }
        opened
    }
}

/// The document's task, which is started if there is none.
pub(crate) fn resident(shared: &Arc<Shared>, document: &DocumentId) -> Result<Arc<Resident>, Stopping> {
    let mailbox = shared.config.limits.mailbox_requests_max;
    shared.registry.find_or_start(document, mailbox, |resident, mailbox, steps| {
        document_task::start(shared, resident, mailbox, steps);
    })
}

impl SessionHost for Node {
    fn open(
        &self,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        async move {
            // Whoever finds that the document has ended looks anew where it is: it may have moved.
            loop {
                if let Some(owner) = self.elsewhere(&opening).await? {
                    return self.relay(owner, opening, sink).await;
                }
                let (router, refusable) = (opening.router, opening.refusable);
                if refusable && self.no_room_for(&opening.document) {
                    memory::refused(&self.shared);
                    return Err(OpenError::Busy);
                }
                let open = |reply| Command::Open { router, sink: Arc::clone(&sink), reply };
                let asked = self.ask(&opening.document, refusable, open).await;
                let asked = asked.map_err(|Stopping| OpenError::Busy)?;
                if let Some((answer, resident)) = asked {
                    let attached = answer.map_err(|reason| OpenError::Refused { reason })?;
                    return Ok(Arc::new(Host { router, resident, attached }) as Arc<dyn DocumentHost>);
                }
            }
        }
        .boxed()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.registry.stop();
        self.shared.tasks.abort();
        self.shared.outcomes.abort();
    }
}
