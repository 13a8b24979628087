//! What editors have sent and a document has not admitted: for operators and metrics.

use std::sync::{Arc, Mutex};

use ringleaf_document::{Document, LeftBehind, LeftWhy};

use crate::metrics::Metrics;

/// Limit: so many sessions are shown of one document. All are counted.
const SHOWN_MAX: usize = 100;

/// Of one document, as its task last said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unadmitted {
    /// The first sessions of which something was left behind.
    pub(crate) shown: Vec<LeftBehind>,
    /// All of them, by the kind of their reason.
    pub(crate) sessions: [usize; LeftWhy::WORDS.len()],
    /// Remainders that are kept, those of sessions that are gone as well.
    pub(crate) remainders: usize,
    pub(crate) remainder_bytes: usize,
}

impl Unadmitted {
    fn of(document: &Document) -> Self {
        let mut shown = document.left_behind();
        let mut sessions = [0; LeftWhy::WORDS.len()];
        for left in &shown {
            sessions[left.why.kind()] += 1;
        }
        shown.truncate(SHOWN_MAX);
        let (remainders, remainder_bytes) = document.remainders();
        Self { shown, sessions, remainders, remainder_bytes }
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.iter().sum()
    }
}

/// Where it is published. Nearly always there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Option<Arc<Unadmitted>>>);

impl Published {
    pub(crate) fn read(&self) -> Option<Arc<Unadmitted>> {
        self.0.lock().expect("no holder of this lock panics").clone()
    }

    /// Takes down how it is now, here and in the gauges. Only the document's task calls this.
    pub(crate) fn measure(&self, document: &Document, metrics: &Metrics) {
        self.replace(Unadmitted::of(document), metrics);
    }

    /// The document is no longer in memory.
    pub(crate) fn clear(&self, metrics: &Metrics) {
        self.replace(Unadmitted::default(), metrics);
    }

    fn replace(&self, now: Unadmitted, metrics: &Metrics) {
        let before = self.read();
        let nothing = Unadmitted::default();
        let known = before.as_deref().unwrap_or(&nothing);
        if *known == now {
            return;
        }
        metrics.unadmitted(known, &now);
        let now = (now != nothing).then(|| Arc::new(now));
        *self.0.lock().expect("no holder of this lock panics") = now;
    }
}
