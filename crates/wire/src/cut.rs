//! Takes the part of an update that can be admitted, and leaves the rest with its editor.
//!
//! Structs are copied byte by byte, never encoded again; only counts, first clocks and the delete set are written anew.

use std::ops::Range;

use bytes::Bytes;
use ringleaf_types::{ClientId, Clock};

use crate::Refusal;
use crate::lib0::{var_uint_length, write_var_uint};
use crate::scan::{self, Kind, ScanLimits, Struct, Structs, Visit};

/// Says what to keep.
pub trait Keep {
    /// Of this client, structs that end after the first clock and at or before the last one. They must follow on each
    /// other without a hole. Deletions are kept below the last one.
    fn structs(&self, client: ClientId) -> Range<u32>;

    /// Whether to keep a deletion of these clocks.
    fn deletion(&self, client: ClientId, clocks: Range<u32>) -> bool;
}

/// The kept part of an update: nothing, or one or more complete updates, which bring it when they are applied in order.
/// They have no holes, no items of length zero, and sorted deletions that do not overlap.
///
/// # Errors
///
/// Those of [`scan::update`].
pub fn cut(update: &[u8], limits: &ScanLimits, keep: &impl Keep) -> Result<Vec<Bytes>, Refusal> {
    let mut cutter = Cutter {
        keep,
        range: 0..0,
        clients: 0,
        structs: Vec::with_capacity(update.len()),
        current: None,
        deletions: Vec::new(),
    };
    scan::update(update, limits, &mut cutter)?;
    Ok(cutter.finish().into_iter().collect())
}

struct Cutter<'k, K> {
    keep: &'k K,
    /// What is kept of the client whose structs are being walked over.
    range: Range<u32>,
    clients: u64,
    /// Everything behind the number of clients.
    structs: Vec<u8>,
    current: Option<Current>,
    deletions: Vec<(ClientId, u32, u32)>,
}

/// The client whose structs are being kept. Its line is written when their number is known.
struct Current {
    client: ClientId,
    clock: Clock,
    count: u64,
    bytes: Vec<u8>,
}

impl<'a, K: Keep> Visit<'a> for Cutter<'_, K> {
    fn client(&mut self, structs: &Structs<'a>) {
        self.end_client();
        self.range = self.keep.structs(structs.client());
    }

    fn item(&mut self, item: &Struct<'a>) {
        let kept = item.end() > self.range.start && item.end() <= self.range.end;
        if !kept || item.length == 0 || item.kind == Kind::Skip {
            return;
        }
        let current = self.current.get_or_insert_with(|| Current {
            client: item.client,
            clock: item.clock,
            count: 0,
            bytes: Vec::new(),
        });
        current.count += 1;
        current.bytes.extend_from_slice(item.bytes);
    }

    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32) {
        let clocks = clock.get()..(clock.get() + length).min(self.keep.structs(client).end);
        if !clocks.is_empty() && self.keep.deletion(client, clocks.clone()) {
            self.deletions.push((client, clocks.start, clocks.end));
        }
    }
}

impl<K: Keep> Cutter<'_, K> {
    fn end_client(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.clients += 1;
        write_var_uint(&mut self.structs, current.count);
        write_var_uint(&mut self.structs, current.client.get());
        write_var_uint(&mut self.structs, u64::from(current.clock.get()));
        self.structs.extend_from_slice(&current.bytes);
    }

    fn finish(mut self) -> Option<Bytes> {
        self.end_client();
        if self.clients == 0 && self.deletions.is_empty() {
            return None;
        }
        // Higher clients first, as Yjs writes them.
        self.deletions.sort_unstable_by_key(|&(client, start, end)| (std::cmp::Reverse(client), start, end));
        self.deletions.dedup_by(|next, previous| {
            let joined = next.0 == previous.0 && next.1 <= previous.2;
            if joined {
                previous.2 = previous.2.max(next.2);
            }
            joined
        });
        let mut out = Vec::with_capacity(
            var_uint_length(self.clients) + self.structs.len() + 1 + self.deletions.len() * 16,
        );
        write_var_uint(&mut out, self.clients);
        out.extend_from_slice(&self.structs);
        let of_client = self.deletions.chunk_by(|a, b| a.0 == b.0);
        write_var_uint(&mut out, of_client.clone().count() as u64);
        for ranges in of_client {
            write_var_uint(&mut out, ranges[0].0.get());
            write_var_uint(&mut out, ranges.len() as u64);
            for &(_, start, end) in ranges {
                write_var_uint(&mut out, u64::from(start));
                write_var_uint(&mut out, u64::from(end - start));
            }
        }
        Some(out.into())
    }
}
