//! The router's end of a link, and of each document on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_types::{Limits, RingVersion};
use ringleaf_wire::{DocumentHost, Event, EventSink, Gone, OpenError, Opening, Request, SubmitError};
use tokio::sync::{Notify, oneshot};
use tonic::Streaming;
use tracing::info;

use crate::bounds::{Room, event_bytes_max, taken_bytes_max};
use crate::convert::{Malformed, event_in, opening_out, refused_in, request_bytes, request_out};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::proto::item::Kind;
use crate::proto::{Close, Credit, Frame, Hello};
use crate::rings;
use crate::rings::Rings;

/// One link to one node.
pub(crate) struct Link {
    pub(crate) outbox: Arc<Outbox>,
    channels: Mutex<Channels>,
    room: Room,
    item_bytes_max: usize,
    rings: Arc<Rings>,
    /// The highest ring version that this node has told.
    told: AtomicU64,
}

#[derive(Default)]
struct Channels {
    last: u32,
    open: BTreeMap<u32, Arc<Channel>>,
    broken: bool,
}

/// One document on a link.
struct Channel {
    sink: Arc<dyn EventSink>,
    flow: Mutex<Flow>,
    room: Notify,
}

struct Flow {
    /// On their way or in the node's queue.
    requests: usize,
    bytes: usize,
    gone: bool,
    /// Who waits to hear whether the document was opened.
    opening: Option<oneshot::Sender<Result<(), OpenError>>>,
}

impl Link {
    /// To the node that says this hello.
    pub(crate) fn new(outbox: Arc<Outbox>, limits: &Limits, rings: Arc<Rings>, node: &Hello) -> Self {
        let room = Room::agreed(limits, node);
        let item_bytes_max = taken_bytes_max(event_bytes_max(limits), node);
        let (channels, told) = (Mutex::default(), AtomicU64::default());
        Self { outbox, channels, room, item_bytes_max, rings, told }
    }

    /// Whether this node's ring is newer than what is known here.
    pub(crate) fn knows_newer(&self) -> bool {
        self.told.load(Ordering::Acquire) > self.rings.known().get()
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().expect("no holder of this lock panics")
    }

    /// It carries no other document. One that has no number left serves those that it carries.
    pub(crate) fn broken(&self) -> bool {
        let channels = self.channels();
        channels.broken || channels.last == u32::MAX
    }

    /// # Cancel safety
    ///
    /// Dropping the future closes the document again.
    pub(crate) async fn open(
        self: &Arc<Self>,
        opening: Opening,
        sink: Arc<dyn EventSink>,
    ) -> Result<Arc<dyn DocumentHost>, OpenError> {
        let (tell, told) = oneshot::channel();
        let flow = Mutex::new(Flow { requests: 0, bytes: 0, gone: false, opening: Some(tell) });
        let channel = Arc::new(Channel { sink, flow, room: Notify::new() });
        let number = {
            let mut channels = self.channels();
            let number = channels.last.checked_add(1).ok_or(OpenError::Unreachable)?;
            if channels.broken {
                return Err(OpenError::Unreachable);
            }
            channels.last = number;
            channels.open.insert(number, Arc::clone(&channel));
            // Under the lock: the node wants numbers to rise.
            self.outbox.push(number, Kind::Open(opening_out(opening)));
            number
        };
        let document = RemoteDocument { link: Arc::clone(self), number, channel };
        told.await.unwrap_or(Err(OpenError::Unreachable))?;
        Ok(Arc::new(document))
    }

    /// Reads until the link breaks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the link at the other end only.
    pub(crate) async fn run(self: Arc<Self>, mut frames: Streaming<Frame>) {
        let mut inbox = Inbox::new(self.item_bytes_max);
        let why = loop {
            match frames.message().await {
                Ok(Some(mut frame)) => {
                    self.heard(&mut frame);
                    if let Err(malformed) = self.take(&mut inbox, frame) {
                        break malformed.to_string();
                    }
                }
                Ok(None) => break "the node has ended it".to_owned(),
                Err(status) => break status.message().to_owned(),
            }
        };
        info!(reason = why, "a link has ended");
        self.broke();
    }

    /// What the frame says of the ring.
    fn heard(&self, frame: &mut Frame) {
        let ring = RingVersion::new(frame.ring);
        self.told.fetch_max(ring.get(), Ordering::AcqRel);
        self.rings.hear(ring);
        if frame.wants_view
            && let Some(news) = rings::news(self.rings.view(), ring)
        {
            self.outbox.tell_view(news);
        }
        if let Some(view) = frame.view.take() {
            self.rings.tell(view);
        }
    }

    fn take(&self, inbox: &mut Inbox, frame: Frame) -> Result<(), Malformed> {
        for (number, kind) in inbox.items(frame)? {
            let channel = {
                let channels = self.channels();
                if number == 0 || number > channels.last {
                    return Err(Malformed("an unknown channel"));
                }
                channels.open.get(&number).cloned()
            };
            // What still arrives for a document that was let go of is of no use.
            if let Some(channel) = channel {
                channel.take(kind)?;
            }
        }
        Ok(())
    }

    fn broke(&self) {
        self.outbox.close();
        let open = {
            let mut channels = self.channels();
            channels.broken = true;
            std::mem::take(&mut channels.open)
        };
        for channel in open.into_values() {
            channel.end(true);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl Channel {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().expect("no holder of this lock panics")
    }

    fn take(&self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Opened(_) => self.opened(Ok(())),
            Kind::Refused(refused) => self.opened(Err(refused_in(refused)?)),
            Kind::Event(event) => {
                let event = event_in(event)?;
                if self.sink.deliver(event).is_err() {
                    self.end(false);
                }
                Ok(())
            }
            Kind::Credit(credit) => self.credited(&credit),
            Kind::Closed(_) => {
                self.end(true);
                Ok(())
            }
            Kind::Hello(_) | Kind::Chunk(_) | Kind::Open(_) | Kind::Close(_) | Kind::Request(_) => {
                Err(Malformed("an item that only a router sends"))
            }
        }
    }

    fn opened(&self, result: Result<(), OpenError>) -> Result<(), Malformed> {
        let opening = self.flow().opening.take().ok_or(Malformed("opened twice"))?;
        // Nobody listens if the future was dropped: then the document is being closed.
        let _ = opening.send(result);
        Ok(())
    }

    fn credited(&self, credit: &Credit) -> Result<(), Malformed> {
        const MORE: Malformed = Malformed("more credit than was used");
        let mut flow = self.flow();
        flow.requests = flow.requests.checked_sub(credit.requests as usize).ok_or(MORE)?;
        let bytes = usize::try_from(credit.bytes).map_err(|_| MORE)?;
        flow.bytes = flow.bytes.checked_sub(bytes).ok_or(MORE)?;
        drop(flow);
        self.room.notify_waiters();
        Ok(())
    }

    /// The document is gone; if it was open and the sink does not know, it is told.
    fn end(&self, tell: bool) {
        let (was_gone, opening) = {
            let mut flow = self.flow();
            (std::mem::replace(&mut flow.gone, true), flow.opening.take())
        };
        self.room.notify_waiters();
        if tell && !was_gone && opening.is_none() {
            // A sink that has stopped needs no news.
            let _ = self.sink.deliver(Event::LetGo);
        }
    }
}

/// A document at another process. Dropping it lets go.
struct RemoteDocument {
    link: Arc<Link>,
    number: u32,
    channel: Arc<Channel>,
}

impl RemoteDocument {
    fn room(&self, flow: &Flow) -> bool {
        self.link.room.has(flow.requests, flow.bytes)
    }
}

impl DocumentHost for RemoteDocument {
    fn try_submit(&self, request: Request) -> Result<(), SubmitError> {
        let mut flow = self.channel.flow();
        if flow.gone {
            return Err(SubmitError::Gone(request));
        }
        if !self.room(&flow) {
            return Err(SubmitError::Full(request));
        }
        flow.requests += 1;
        flow.bytes += request_bytes(&request);
        // Under the lock, so that two callers' requests leave in the order in which they were taken.
        self.link.outbox.push(self.number, Kind::Request(request_out(request)));
        Ok(())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        async {
            loop {
                let mut changed = std::pin::pin!(self.channel.room.notified());
                changed.as_mut().enable();
                {
                    let flow = self.channel.flow();
                    if flow.gone {
                        return Err(Gone);
                    }
                    if self.room(&flow) {
                        return Ok(());
                    }
                }
                changed.await;
            }
        }
        .boxed()
    }
}

impl Drop for RemoteDocument {
    fn drop(&mut self) {
        self.link.channels().open.remove(&self.number);
        self.link.outbox.push(self.number, Kind::Close(Close {}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_numbers_gives_way_to_another() {
        let link = Link::new(Arc::default(), &Limits::default(), Arc::new(Rings::new()), &Hello::default());
        link.channels().last = u32::MAX - 1;
        assert!(!link.broken());
        link.channels().last = u32::MAX;
        assert!(link.broken());
    }
}
