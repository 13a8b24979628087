//! The node's end of one document on a link.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringleaf_types::{Limits, Slot};
use ringleaf_wire::{DocumentHost, Event, EventSink, Gone, Opening, Request, SessionHost, SubmitError};
use tokio::sync::mpsc;

use crate::convert::{Malformed, event_out, refused_out, request_bytes};
use crate::outbox::Outbox;
use crate::proto::item::Kind;
use crate::proto::{Closed, Credit, Opened};

/// Requests that are handed over between two credits.
const BATCH: usize = 64;

/// Where the link puts a document's requests. Dropping it lets go when they are carried out.
pub(crate) struct Channel {
    queue: mpsc::Sender<Request>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The other half.
pub(crate) struct Queue {
    requests: mpsc::Receiver<Request>,
    bytes: Arc<AtomicUsize>,
}

pub(crate) fn channel(limits: &Limits) -> (Channel, Queue) {
    let (queue, requests) = mpsc::channel(limits.mailbox_requests_max);
    let bytes = Arc::new(AtomicUsize::new(0));
    let bytes_max = limits.outstanding_bytes_max;
    (Channel { queue, bytes: Arc::clone(&bytes), bytes_max }, Queue { requests, bytes })
}

impl Channel {
    /// The router counts as we do: what does not fit was sent without credit.
    pub(crate) fn push(&self, request: Request) -> Result<(), Malformed> {
        const MORE: Malformed = Malformed("more requests than there was credit for");
        let bytes = request_bytes(&request);
        if self.bytes.fetch_add(bytes, Ordering::AcqRel) >= self.bytes_max {
            return Err(MORE);
        }
        match self.queue.try_send(request) {
            // After the document has gone its requests are of no use.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(MORE),
        }
    }
}

/// Opens the document and hands its requests over, until the router lets go or the document does.
pub(crate) async fn run(
    host: Arc<dyn SessionHost>,
    opening: Opening,
    mut queue: Queue,
    outbox: Arc<Outbox>,
    number: u32,
    publish_bytes_max: usize,
) {
    let sink = Arc::new(Sink { outbox: Arc::clone(&outbox), number, publish_bytes_max });
    let document = match host.open(opening, sink).await {
        Ok(document) => document,
        Err(error) => {
            outbox.push(number, Kind::Refused(refused_out(&error)));
            return;
        }
    };
    outbox.push(number, Kind::Opened(Opened {}));
    let mut batch = Vec::with_capacity(BATCH);
    // What this document answers is never dropped, so it is asked no more while much of that waits.
    while outbox.room(number, publish_bytes_max).await
        && queue.requests.recv_many(&mut batch, BATCH).await > 0
    {
        let (mut requests, mut bytes) = (0, 0);
        for request in batch.drain(..) {
            requests += 1;
            bytes += request_bytes(&request);
            if submit(&*document, request).await.is_err() {
                outbox.push(number, Kind::Closed(Closed {}));
                return;
            }
        }
        // Before the router can know of it.
        queue.bytes.fetch_sub(bytes, Ordering::AcqRel);
        outbox.push(number, Kind::Credit(Credit { requests, bytes: bytes as u64 }));
    }
}

async fn submit(document: &dyn DocumentHost, mut request: Request) -> Result<(), Gone> {
    loop {
        match document.try_submit(request) {
            Ok(()) => return Ok(()),
            Err(SubmitError::Gone(_)) => return Err(Gone),
            Err(SubmitError::Full(back)) => request = back,
        }
        document.ready().await?;
    }
}

/// Where the document delivers.
struct Sink {
    outbox: Arc<Outbox>,
    number: u32,
    publish_bytes_max: usize,
}

impl EventSink for Sink {
    fn deliver(&self, event: Event) -> Result<(), Gone> {
        // The slot of what is dropped must be told: whoever lacks it asks for it then, and not at the next edit.
        let last = if let Event::Publish { slot, .. } = &event { Some(*slot) } else { None };
        let note = || last.map(|slot| Kind::Event(event_out(nothing_but(slot))));
        let may_drop = matches!(event, Event::Publish { .. } | Event::Awareness { only: None, .. });
        let item = Kind::Event(event_out(event));
        let taken = match may_drop {
            true => self.outbox.push_below(self.number, item, self.publish_bytes_max, note),
            false => self.outbox.push(self.number, item),
        };
        if taken { Ok(()) } else { Err(Gone) }
    }
}

/// A publish that brings nothing and says how far the document is.
fn nothing_but(slot: Slot) -> Event {
    Event::Publish { previous: slot, slot, updates: Arc::new([]) }
}
