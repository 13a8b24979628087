//! What waits to be sent on a link: one queue per channel, emptied in turn.
//!
//! Large items go in chunks, and after each chunk it is the next channel's turn: neither a big document nor a busy one
//! holds up the others, and what belongs to one channel stays in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, Bytes};
use prost::Message;
use tokio::sync::Notify;

use crate::proto::item::Kind;
use crate::proto::{Chunk, Item};

/// The largest piece of an item.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// A frame that has so many bytes takes no more items, so that it has at most that, a chunk and a few heads.
const FRAME_BYTES: usize = 256 << 10;
/// The largest frame that is read. Ours are well below.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;

/// The outgoing half of a link.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queues: BTreeMap<u32, Queue>,
    /// The channels that have something to send, in the order of their turns.
    turns: VecDeque<u32>,
    /// What waits is still sent, then the link ends.
    closing: bool,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Queued>,
    bytes: usize,
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
        self.push_below(channel, kind, usize::MAX)
    }

    /// The same, unless so many bytes of this channel wait already: then it is dropped.
    pub(crate) fn push_below(&self, channel: u32, kind: Kind, waiting_bytes_max: usize) -> bool {
        let item = Item { channel, kind: Some(kind) };
        let bytes = item.encoded_len();
        let mut waiting = self.waiting();
        if waiting.closing {
            return false;
        }
        waiting.push(item, bytes, waiting_bytes_max);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// Ends the link: nothing is sent any more.
    pub(crate) fn close(&self) {
        *self.waiting() = Waiting { closing: true, ..Waiting::default() };
        self.wake.notify_one();
    }

    /// Ends the link when what waits has been sent.
    pub(crate) fn finish(&self) {
        self.waiting().closing = true;
        self.wake.notify_one();
    }

    /// Waits for something to send and takes all that fits into a frame. `None`: the link has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(crate) async fn items(&self) -> Option<Vec<Item>> {
        loop {
            {
                let mut waiting = self.waiting();
                let items = waiting.take();
                if !items.is_empty() {
                    return Some(items);
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
    fn push(&mut self, item: Item, bytes: usize, waiting_bytes_max: usize) {
        let channel = item.channel;
        let queue = self.queues.entry(channel).or_default();
        if queue.bytes > 0 && queue.bytes.saturating_add(bytes) > waiting_bytes_max {
            return;
        }
        if queue.items.is_empty() {
            self.turns.push_back(channel);
        }
        queue.bytes += bytes;
        queue.items.push_back(Queued::Whole(item, bytes));
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
            if queue.items.is_empty() {
                self.queues.remove(&channel);
            } else {
                self.turns.push_back(channel);
            }
        }
        items
    }
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
    use super::*;
    use crate::proto::{Awareness, Event, Frame, event};

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
            assert!(Frame { ring: 0, items: items.clone() }.encoded_len() < FRAME_BYTES_MAX);
            order.extend(items.iter().map(|item| (item.channel, matches!(item.kind, Some(Kind::Chunk(_))))));
        }
        let (chunk, whole) = ((1, true), (1, false));
        assert_eq!(order, [chunk, (2, false), chunk, chunk, chunk, whole]);
        assert!(outbox.waiting().queues.is_empty());
    }

    #[test]
    fn above_the_limit_of_its_channel_an_item_is_dropped() {
        let outbox = Outbox::default();
        assert!(outbox.push_below(1, event(1_000), 500), "one may always wait");
        outbox.push_below(1, event(1_000), 500);
        outbox.push_below(2, event(10), 500);
        outbox.push(1, event(1_000));
        let channels: Vec<_> = outbox.waiting().take().iter().map(|item| item.channel).collect();
        assert_eq!(channels, [1, 2, 1]);
    }
}
