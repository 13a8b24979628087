//! Looking at the ends of all logs in one query (R9).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ringleaf_store::StoreError;
use ringleaf_types::{DocumentId, Slot};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::shared::Shared;

/// How often the ends are looked at. Two would-be owners notice each other within this time.
pub(crate) const TAIL_INTERVAL: Duration = Duration::from_secs(5);
/// Documents in one query.
const DOCUMENTS_PER_QUERY: usize = 1_000;

/// The documents that want to know the end of their log at the next look.
#[derive(Debug, Default)]
pub(crate) struct TailWatch {
    wanted: Mutex<Vec<(DocumentId, oneshot::Sender<Slot>)>>,
}

impl TailWatch {
    /// Asks for the newest slot of the document at the next look. No answer (an error) means that the store is away.
    pub(crate) fn ask(&self, document: &DocumentId) -> oneshot::Receiver<Slot> {
        let (reply, answer) = oneshot::channel();
        self.wanted.lock().expect("no holder of this lock panics").push((document.clone(), reply));
        answer
    }
}

/// Answers all who asked, every [`TAIL_INTERVAL`].
pub(crate) async fn run(shared: Weak<Shared>) {
    let mut ticks = interval(TAIL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let wanted = std::mem::take(&mut *shared.tails.wanted.lock().expect("no holder of this lock panics"));
        let mut wanted: Vec<_> = wanted.into_iter().filter(|(_, reply)| !reply.is_closed()).collect();
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(DOCUMENTS_PER_QUERY));
            if let Err(error) = look(&shared, wanted).await {
                debug!(error = &error as &dyn std::error::Error, "could not look at the ends of the logs");
            }
            wanted = rest;
        }
    }
}

async fn look(
    shared: &Arc<Shared>,
    wanted: Vec<(DocumentId, oneshot::Sender<Slot>)>,
) -> Result<(), StoreError> {
    let documents: Vec<DocumentId> = wanted.iter().map(|(document, _)| document.clone()).collect();
    let tails: BTreeMap<DocumentId, Slot> = shared
        .store
        .tails(&documents)
        .await?
        .into_iter()
        .map(|(document, tail)| (document, tail.last))
        .collect();
    for (document, reply) in wanted {
        // A document that was never written has no end yet. One that no longer asks has ended meanwhile.
        let _ = reply.send(tails.get(&document).copied().unwrap_or(Slot::ZERO));
    }
    Ok(())
}
