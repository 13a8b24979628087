//! The documents that have sessions here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use ringleaf_types::{DocumentId, Limits};

use crate::addresses::Limit;
use crate::fan_out::{self, FanOut};
use crate::shared::Shared;

/// One fan-out per document. It is here for as long as somebody has a seat in it.
#[derive(Default)]
pub(crate) struct Documents {
    open: Mutex<HashMap<DocumentId, Arc<FanOut>>>,
}

/// The right to one session of a document.
pub(crate) struct Seat {
    pub(crate) fan_out: Arc<FanOut>,
    /// Its editor has left.
    left: bool,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    SessionsOfDocument,
    Address(Limit),
}

impl Documents {
    fn lock(&self) -> MutexGuard<'_, HashMap<DocumentId, Arc<FanOut>>> {
        self.open.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Seats that are taken, those of editors included that are not yet or no longer there.
    pub(crate) fn seats(&self) -> usize {
        self.lock().values().map(|fan_out| fan_out.seats()).sum()
    }

    pub(crate) fn all(&self) -> Vec<Arc<FanOut>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets all documents, whoever has a seat: their tasks were cut off.
    pub(crate) fn clear(&self) {
        let open = std::mem::take(&mut *self.lock());
        for fan_out in open.values() {
            fan_out.drop_host();
        }
    }

    /// The document can no longer be entered here: whoever comes next opens it anew.
    ///
    /// Order: its host is dropped before, so that the next one is not taken for it.
    pub(crate) fn forget(&self, fan_out: &Arc<FanOut>) {
        let mut open = self.lock();
        fan_out.drop_host();
        if open.get(fan_out.document()).is_some_and(|open| Arc::ptr_eq(open, fan_out)) {
            open.remove(fan_out.document());
        }
    }

    /// Forgets the document if nobody has a seat. Returns whether that is so.
    pub(crate) fn forget_if_deserted(&self, fan_out: &Arc<FanOut>) -> bool {
        let mut open = self.lock();
        if fan_out.seats() > 0 {
            return false;
        }
        fan_out.drop_host();
        if open.get(fan_out.document()).is_some_and(|open| Arc::ptr_eq(open, fan_out)) {
            open.remove(fan_out.document());
        }
        true
    }
}

impl Seat {
    /// Takes a seat in a document, and begins to open it if nobody has one.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        document: &DocumentId,
        address: IpAddr,
        now: Instant,
    ) -> Result<Self, NoSeat> {
        // Seats are only taken under this lock: a fan-out that is found in the map does not end meanwhile.
        let mut open = shared.documents.lock();
        if let Some(fan_out) = open.get(document) {
            if fan_out.editors() >= shared.limits.sessions_per_document_max {
                return Err(NoSeat::SessionsOfDocument);
            }
            fan_out.seat();
            return Ok(Self { fan_out: Arc::clone(fan_out), left: false });
        }
        shared.addresses.opens(address, now).map_err(NoSeat::Address)?;
        let fan_out = Arc::new(FanOut::new(document.clone()));
        fan_out.seat();
        open.insert(document.clone(), Arc::clone(&fan_out));
        fan_out::start(Arc::clone(&fan_out), shared);
        Ok(Self { fan_out, left: false })
    }

    /// The editor has left, and somebody else may come in its place. False: too many have left already and are still
    /// waited for.
    pub(crate) fn leave(&mut self, limits: &Limits) -> bool {
        self.left = self.fan_out.leaves_seat(limits.sessions_per_document_max);
        self.left
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.left {
            self.fan_out.frees_left_seat();
        } else {
            self.fan_out.unseat();
        }
    }
}
