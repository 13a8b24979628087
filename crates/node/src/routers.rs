//! The routers that hear what one document says.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use ringleaf_types::RouterId;
use ringleaf_wire::{Event, EventSink};
use tokio::sync::oneshot;

use crate::command::Attached;

/// All attached routers. When it is dropped, each is told the farewell, however the document ends.
pub(crate) struct Routers {
    attached: BTreeMap<RouterId, Attachment>,
    next: u64,
    /// Completes for each router that let go of its host.
    pub(crate) departures: FuturesUnordered<Departure>,
    /// What is said last.
    pub(crate) farewell: Event,
}

struct Attachment {
    number: u64,
    sink: Arc<dyn EventSink>,
}

/// Completes when a router drops what it got for its attachment.
pub(crate) struct Departure {
    router: RouterId,
    attachment: u64,
    hold: oneshot::Receiver<()>,
}

impl Future for Departure {
    type Output = (RouterId, u64);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(RouterId, u64)> {
        Pin::new(&mut self.hold).poll(cx).map(|_| (self.router, self.attachment))
    }
}

impl Routers {
    pub(crate) fn new() -> Self {
        Self {
            attached: BTreeMap::new(),
            next: 1,
            departures: FuturesUnordered::new(),
            farewell: Event::LetGo,
        }
    }

    /// Attaches a router. `true`: it was attached before, and the sessions of that time are void.
    ///
    /// The last attachment is told so: an opening whose link has broken meanwhile may come after the one that the router
    /// made instead, and then it is the router's only one that is void.
    pub(crate) fn attach(&mut self, router: RouterId, sink: Arc<dyn EventSink>) -> (Attached, bool) {
        let attachment = self.next;
        self.next += 1;
        let (hold, receiver) = oneshot::channel();
        self.departures.push(Departure { router, attachment, hold: receiver });
        let before = self.attached.insert(router, Attachment { number: attachment, sink });
        if let Some(before) = &before {
            // One that has stopped needs no news.
            let _ = before.sink.deliver(Event::LetGo);
        }
        (Attached { attachment, _hold: hold }, before.is_some())
    }

    /// Whether this is what the router holds now, and not what it held before.
    pub(crate) fn holds(&self, router: RouterId, attachment: u64) -> bool {
        self.attached.get(&router).is_some_and(|attached| attached.number == attachment)
    }

    /// A router has let go. `true`: nothing of it is left.
    pub(crate) fn depart(&mut self, router: RouterId, attachment: u64) -> bool {
        self.holds(router, attachment) && self.attached.remove(&router).is_some()
    }

    /// No router hands on before this moment what it is told now, if that is known of all.
    pub(crate) fn busy_until(&self) -> Option<Instant> {
        let mut until = None;
        for attached in self.attached.values() {
            let busy = attached.sink.busy_until()?;
            until = Some(until.map_or(busy, |until: Instant| until.min(busy)));
        }
        until
    }

    /// Tells one router. `false`: it has stopped, and is no longer attached.
    pub(crate) fn deliver(&mut self, router: RouterId, event: Event) -> bool {
        let Some(attached) = self.attached.get(&router) else { return true };
        let taken = attached.sink.deliver(event).is_ok();
        if !taken {
            self.attached.remove(&router);
        }
        taken
    }

    /// Tells all routers. Answers which of them have stopped, and are no longer attached.
    pub(crate) fn broadcast(&mut self, event: Event) -> Vec<RouterId> {
        let mut gone = Vec::new();
        let mut attached = self.attached.iter().peekable();
        let mut event = Some(event);
        while let Some((router, attachment)) = attached.next() {
            // The last one, nearly always the only one, gets the event itself.
            let copy = if attached.peek().is_some() { event.clone() } else { event.take() };
            if copy.is_some_and(|event| attachment.sink.deliver(event).is_err()) {
                gone.push(*router);
            }
        }
        for router in &gone {
            self.attached.remove(router);
        }
        gone
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        for attached in self.attached.values() {
            // A router that has stopped needs no farewell. One that panics must not take the process along, when this is
            // a panic already.
            let _ = catch_unwind(AssertUnwindSafe(|| attached.sink.deliver(self.farewell.clone())));
        }
    }
}
