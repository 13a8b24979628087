//! Puts chunks together again.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::convert::Malformed;
use crate::proto::item::Kind;
use crate::proto::{Frame, Item};

/// The incoming half of a link.
#[derive(Debug)]
pub(crate) struct Inbox {
    partial: BTreeMap<u32, BytesMut>,
    item_bytes_max: usize,
}

impl Inbox {
    pub(crate) fn new(item_bytes_max: usize) -> Self {
        Self { partial: BTreeMap::new(), item_bytes_max }
    }

    /// Takes items of so many bytes from now on.
    pub(crate) fn take_up_to(&mut self, item_bytes_max: usize) {
        self.item_bytes_max = item_bytes_max;
    }

    /// The whole items that a frame brings, in order.
    pub(crate) fn items(&mut self, frame: Frame) -> Result<Vec<(u32, Kind)>, Malformed> {
        let mut items = Vec::with_capacity(frame.items.len());
        for item in frame.items {
            let channel = item.channel;
            let kind = item.kind.ok_or(Malformed("an item of an unknown kind"))?;
            if let Kind::Chunk(chunk) = kind {
                if let Some(whole) = self.add(channel, &chunk.part, chunk.last)? {
                    items.push((channel, decode(channel, whole)?));
                }
            } else if self.partial.contains_key(&channel) {
                return Err(Malformed("an item between the chunks of its own channel"));
            } else {
                items.push((channel, kind));
            }
        }
        Ok(items)
    }

    fn add(&mut self, channel: u32, part: &Bytes, last: bool) -> Result<Option<Bytes>, Malformed> {
        let partial = self.partial.entry(channel).or_default();
        if partial.len() + part.len() > self.item_bytes_max {
            return Err(Malformed("an item above the limit"));
        }
        if part.is_empty() {
            return Err(Malformed("an empty chunk"));
        }
        partial.extend_from_slice(part);
        let whole = last.then(|| self.partial.remove(&channel).unwrap_or_default().freeze());
        Ok(whole)
    }
}

fn decode(channel: u32, whole: Bytes) -> Result<Kind, Malformed> {
    let item = Item::decode(whole).map_err(|_| Malformed("an item that does not decode"))?;
    match item.kind {
        Some(Kind::Chunk(_)) | None => Err(Malformed("chunks of something else than an item")),
        Some(_) if item.channel != channel => Err(Malformed("chunks of another channel's item")),
        Some(kind) => Ok(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Chunk, Close};

    fn frame(items: Vec<(u32, Kind)>) -> Frame {
        let items = items.into_iter().map(|(channel, kind)| Item { channel, kind: Some(kind) }).collect();
        Frame { items, ..Frame::default() }
    }

    #[test]
    fn what_breaks_the_rules_of_chunks_is_malformed() {
        let chunk = |bytes: usize, last| Kind::Chunk(Chunk { part: vec![0; bytes].into(), last });
        let bad = [
            vec![(1, chunk(60, false)), (1, chunk(60, false))],
            vec![(1, chunk(1, false)), (1, Kind::Close(Close {}))],
            vec![(1, chunk(0, false))],
            vec![(1, chunk(9, true))],
        ];
        for items in bad {
            assert!(Inbox::new(100).items(frame(items)).is_err());
        }
        let items = vec![Item { channel: 1, kind: None }];
        assert!(Inbox::new(100).items(Frame { items, ..Frame::default() }).is_err());
    }
}
