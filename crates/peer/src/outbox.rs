//! What waits to be sent on a link: one queue per channel, emptied in turn.
//!
//! Large items go in chunks, and after each chunk it is the next channel's turn: neither a big document nor a busy one
//! holds up the others, and what belongs to one channel stays in order.
//!
//! What goes to everybody is dropped above a limit, and a note of the last slot stands for it. What answers a request is
//! never dropped; instead nothing more is asked while much of it waits ([`Outbox::room`]). So a link that stands still
//! costs a bounded amount of memory (I15).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use prost::Message;
use tokio::sync::Notify;

use crate::proto::item::Kind;
use crate::proto::{Chunk, Frame, Item, RingView};

/// The largest piece of an item.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// A frame that has so many bytes takes no more items, so that it has at most that, a chunk and a few heads.
const FRAME_BYTES: usize = 256 << 10;
/// The largest frame that is read. Ours are well below.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;
/// Limit: a ring view of some 5,000 members. A larger one is not told; its owner learns of it when etcd is back.
const VIEW_BYTES_MAX: usize = FRAME_BYTES_MAX - (1 << 10);
/// Limit: bytes that wait on a whole link. Above it no document of the link is asked anything more; what documents have
/// been asked already comes on top. Several large documents that are joined at once stay below it.
const LINK_BYTES_MAX: usize = 256 << 20;
/// The other side's ring view is not asked for more often.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// The outgoing half of a link.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Something was sent, or nothing will be any more.
    sent: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queues: BTreeMap<u32, Queue>,
    /// The channels that have something to send, in the order of their turns.
    turns: VecDeque<u32>,
    bytes: usize,
    /// What waits is still sent, then the link ends.
    closing: bool,
    /// The next frame asks for the other side's ring view.
    asks: bool,
    asked_at: Option<Instant>,
    /// Our own, which the other side has asked for.
    view: Option<RingView>,
    /// The hello has been taken: nothing comes before that.
    begun: bool,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Queued>,
    bytes: usize,
    /// The last item is a note that stands for dropped ones.
    noted: bool,
}

#[derive(Debug)]
enum Queued {
    Whole(Item, usize),
    /// What is left of an encoded item.
    Rest(Bytes),
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    /// Sends it when it is its channel's turn. False: the link has ended.
    pub(crate) fn push(&self, channel: u32, kind: Kind) -> bool {
        let (item, bytes) = item(channel, kind);
        let mut waiting = self.waiting();
        if waiting.closing {
            return false;
        }
        waiting.push(item, bytes);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The same, unless so many bytes of this channel wait already. Then it is dropped, and `note` takes its place and
    /// that of the note before it, if there is one.
    pub(crate) fn push_below(
        &self,
        channel: u32,
        kind: Kind,
        waiting_bytes_max: usize,
        note: impl FnOnce() -> Option<Kind>,
    ) -> bool {
        let (whole, bytes) = item(channel, kind);
        let mut waiting = self.waiting();
        if waiting.closing {
            return false;
        }
        if waiting.has_room(channel, bytes, waiting_bytes_max) {
            waiting.push(whole, bytes);
        } else if let Some(note) = note() {
            waiting.note(item(channel, note));
        }
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// Waits until little of this channel waits, and not too much of the link. False: the link has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn room(&self, channel: u32, waiting_bytes_max: usize) -> bool {
        loop {
            let mut sent = std::pin::pin!(self.sent.notified());
            // Order: before the look, so that what is sent in between is not missed.
            sent.as_mut().enable();
            {
                let waiting = self.waiting();
                let bytes = waiting.queues.get(&channel).map_or(0, |queue| queue.bytes);
                if waiting.closing {
                    return false;
                }
                if bytes < waiting_bytes_max && waiting.bytes < LINK_BYTES_MAX {
                    return true;
                }
            }
            sent.await;
        }
    }

    /// Ends the link: nothing is sent any more.
    pub(crate) fn close(&self) {
        *self.waiting() = Waiting { closing: true, ..Waiting::default() };
        self.wake.notify_one();
        self.sent.notify_waiters();
    }

    /// Ends the link when what waits has been sent.
    pub(crate) fn finish(&self) {
        self.waiting().closing = true;
        self.wake.notify_one();
        self.sent.notify_waiters();
    }

    /// Asks for the other side's ring view, if that was not done just now.
    pub(crate) fn ask_for_view(&self, now: Instant) {
        let mut waiting = self.waiting();
        let lately = |at: Instant| now.saturating_duration_since(at) < ASK_INTERVAL;
        if waiting.closing || waiting.asked_at.is_some_and(lately) {
            return;
        }
        (waiting.asks, waiting.asked_at) = (true, Some(now));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Tells our ring view, as the other side wants. One that is too large for a frame stays here.
    pub(crate) fn tell_view(&self, view: RingView) {
        if view.encoded_len() > VIEW_BYTES_MAX {
            return;
        }
        let mut waiting = self.waiting();
        if !waiting.closing {
            waiting.view = Some(view);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits for something to send and takes all that fits into a frame, whose ring version is left to the caller.
    /// `None`: the link has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn frame(&self) -> Option<Frame> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(frame) = waiting.frame() {
                    drop(waiting);
                    self.sent.notify_waiters();
                    return Some(frame);
                }
                if waiting.closing {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }
}

impl Waiting {
    /// One may always wait.
    fn has_room(&self, channel: u32, bytes: usize, waiting_bytes_max: usize) -> bool {
        let waiting = self.queues.get(&channel).map_or(0, |queue| queue.bytes);
        waiting == 0 || waiting.saturating_add(bytes) <= waiting_bytes_max
    }

    fn push(&mut self, item: Item, bytes: usize) {
        let channel = item.channel;
        let queue = self.queues.entry(channel).or_default();
        if queue.items.is_empty() {
            self.turns.push_back(channel);
        }
        queue.noted = false;
        queue.bytes += bytes;
        self.bytes += bytes;
        queue.items.push_back(Queued::Whole(item, bytes));
    }

    /// Takes the place of the channel's last note, if nothing came after that.
    fn note(&mut self, (item, bytes): (Item, usize)) {
        let channel = item.channel;
        let queue = self.queues.entry(channel).or_default();
        if queue.noted
            && let Some(Queued::Whole(last, last_bytes)) = queue.items.back_mut()
        {
            queue.bytes = queue.bytes - *last_bytes + bytes;
            self.bytes = self.bytes - *last_bytes + bytes;
            (*last, *last_bytes) = (item, bytes);
            return;
        }
        self.push(item, bytes);
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.noted = true;
        }
    }

    fn frame(&mut self) -> Option<Frame> {
        // A frame of its own, because it may be as large as a frame can be.
        if let Some(view) = self.view.take_if(|_| self.begun) {
            return Some(Frame { view: Some(view), ..Frame::default() });
        }
        let items = self.take();
        if items.is_empty() && !(self.asks && self.begun) {
            return None;
        }
        let wants_view = std::mem::take(&mut self.asks);
        self.begun = true;
        Some(Frame { items, wants_view, ..Frame::default() })
    }

    fn take(&mut self) -> Vec<Item> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes < FRAME_BYTES
            && let Some(channel) = self.turns.pop_front()
        {
            let queue = self.queues.get_mut(&channel).expect("a channel whose turn it is has a queue");
            let (item, took) = queue.take(channel);
            items.push(item);
            bytes += took;
            self.bytes -= took;
            if queue.items.is_empty() {
                self.queues.remove(&channel);
            } else {
                self.turns.push_back(channel);
            }
        }
        items
    }
}

fn item(channel: u32, kind: Kind) -> (Item, usize) {
    let item = Item { channel, kind: Some(kind) };
    let bytes = item.encoded_len();
    (item, bytes)
}

impl Queue {
    /// The next item, or the next chunk of it, and its bytes.
    fn take(&mut self, channel: u32) -> (Item, usize) {
        let mut rest = match self.items.pop_front().expect("a queue in turn is not empty") {
            Queued::Whole(item, bytes) if bytes <= CHUNK_BYTES => {
                self.bytes -= bytes;
                return (item, bytes);
            }
            Queued::Whole(item, _) => Bytes::from(item.encode_to_vec()),
            Queued::Rest(rest) => rest,
        };
        let part = rest.split_to(rest.len().min(CHUNK_BYTES));
        let (took, last) = (part.len(), !rest.has_remaining());
        self.bytes -= took;
        if !last {
            self.items.push_front(Queued::Rest(rest));
        }
        (Item { channel, kind: Some(Kind::Chunk(Chunk { part, last })) }, took)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::proto::{Awareness, Event, event};

    fn event(bytes: usize) -> Kind {
        let payload = vec![7; bytes].into();
        Kind::Event(Event { kind: Some(event::Kind::Awareness(Awareness { only: None, payload })) })
    }

    #[test]
    fn others_pass_between_the_chunks_of_a_large_item() {
        let outbox = Outbox::default();
        outbox.push(1, event(3 * CHUNK_BYTES));
        outbox.push(1, event(1));
        outbox.push(2, event(1));
        let mut order = Vec::new();
        loop {
            let items = outbox.waiting().take();
            if items.is_empty() {
                break;
            }
            assert!(Frame { items: items.clone(), ..Frame::default() }.encoded_len() < FRAME_BYTES_MAX);
            order.extend(items.iter().map(|item| (item.channel, matches!(item.kind, Some(Kind::Chunk(_))))));
        }
        let (chunk, whole) = ((1, true), (1, false));
        assert_eq!(order, [chunk, (2, false), chunk, chunk, chunk, whole]);
        assert!(outbox.waiting().queues.is_empty());
    }

    #[test]
    fn above_the_limit_of_its_channel_an_item_is_dropped() {
        let outbox = Outbox::default();
        assert!(outbox.push_below(1, event(1_000), 500, || None), "one may always wait");
        outbox.push_below(1, event(1_000), 500, || None);
        outbox.push_below(2, event(10), 500, || None);
        outbox.push(1, event(1_000));
        let channels: Vec<_> = outbox.waiting().take().iter().map(|item| item.channel).collect();
        assert_eq!(channels, [1, 2, 1]);
    }

    #[test]
    fn one_note_stands_for_all_that_was_dropped() {
        let outbox = Outbox::default();
        for bytes in [1_000, 600, 700, 800] {
            outbox.push_below(1, event(bytes), 500, || Some(event(bytes / 100)));
        }
        outbox.push(1, event(20));
        outbox.push_below(1, event(900), 500, || Some(event(9)));
        let payload = |item: Item| match item.kind {
            Some(Kind::Event(Event { kind: Some(event::Kind::Awareness(awareness)) })) => {
                awareness.payload.len()
            }
            other => panic!("{other:?}"),
        };
        let mut lengths = Vec::new();
        loop {
            let items = outbox.waiting().take();
            if items.is_empty() {
                break;
            }
            lengths.extend(items.into_iter().map(payload));
        }
        assert_eq!(lengths, [1_000, 8, 20, 9]);
        assert_eq!(outbox.waiting().bytes, 0);
    }

    #[test]
    fn a_ring_view_goes_after_the_hello_and_is_asked_for_once_at_a_time() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        let frame = || outbox.waiting().frame();
        outbox.tell_view(RingView::default());
        outbox.ask_for_view(now);
        assert_eq!(frame(), None, "nothing comes before the hello");
        outbox.push(0, event(1));
        let first = frame().unwrap();
        assert!(first.items.len() == 1 && first.wants_view && first.view.is_none());
        assert!(frame().unwrap().view.is_some());
        outbox.ask_for_view(now + ASK_INTERVAL / 2);
        assert_eq!(frame(), None);
        outbox.ask_for_view(now + ASK_INTERVAL);
        assert!(frame().unwrap().wants_view);
        let members = vec![crate::proto::Member { zone: "z".repeat(1_000), ..Default::default() }; 1_100];
        outbox.tell_view(RingView { members, ..RingView::default() });
        assert_eq!(frame(), None, "it would not go through");
    }

    #[tokio::test]
    async fn room_is_there_when_what_waits_has_been_sent() {
        let outbox = Outbox::default();
        outbox.push(1, event(1_000));
        let waits = |channel| outbox.room(channel, 500).now_or_never();
        assert_eq!((waits(1), waits(2)), (None, Some(true)));
        let room = outbox.room(1, 500);
        let (room, frame) = tokio::join!(room, outbox.frame());
        assert!(room && frame.is_some());
        outbox.push(1, event(LINK_BYTES_MAX));
        assert_eq!(waits(2), None, "the whole link has a limit too");
        let (room, ()) = tokio::join!(outbox.room(2, 500), async { outbox.close() });
        assert!(!room);
    }
}
