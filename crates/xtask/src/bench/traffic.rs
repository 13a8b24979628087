//! What the editors write, and what is counted of what they read.

use std::cmp::Reverse;

use anyhow::Context as _;

use super::dialect::{awareness_message, update_message};
use super::histogram::Histogram;
use super::load::{Load, State};
use super::random::Random;
use super::yjs::{self, Id};

/// What a writer writes at each of its turns.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// One character behind its last one; the first goes between `left` and `right`.
    Type { left: Option<Id>, right: Option<Id>, with_cursor: bool },
    /// A value of this many bytes, over the one before.
    SetValue { bytes: usize },
    /// Awareness alone.
    Presence,
}

/// An editor that writes.
pub(crate) struct Writer {
    pub(crate) connection: usize,
    client: u64,
    action: Action,
    interval_us: u64,
    /// When each clock was sent.
    sent_at: Vec<u64>,
    awareness_sent_at: Vec<u64>,
}

impl Writer {
    /// How many clocks it has used.
    pub(crate) fn clock(&self) -> u64 {
        self.sent_at.len() as u64
    }
}

/// What has happened so far, or since the counts were reset.
#[derive(Default)]
pub(crate) struct Counts {
    /// Connections in sync right now; a reset leaves it alone.
    pub(crate) synced: usize,
    /// Connections that the server ended.
    pub(crate) lost: usize,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) updates: u64,
    /// Updates times the editors that they have reached.
    pub(crate) deliveries: u64,
    pub(crate) awareness_deliveries: u64,
    /// Clocks that a reader was never shown though later ones came.
    pub(crate) missing: u64,
    pub(crate) acknowledged: u64,
    /// From the writer's socket to each reader's.
    pub(crate) latency: Histogram,
    /// From the writer's socket back to the same socket.
    pub(crate) echo: Histogram,
    pub(crate) awareness_latency: Histogram,
    /// Latencies of what was sent earlier are not recorded.
    since: u64,
}

impl Load {
    /// Forgets what was counted, at the beginning of what is measured.
    pub(crate) fn reset_counts(&mut self) {
        let since = self.now();
        self.counts = Counts { synced: self.counts.synced, since, ..Counts::default() };
    }

    /// Makes an editor write `per_second` times, beginning at a random moment of its first interval.
    pub(crate) fn add_writer(
        &mut self,
        connection: usize,
        action: Action,
        per_second: f64,
        random: &mut Random,
    ) {
        let index = self.writers.len();
        let document = &mut self.documents[self.connections[connection].document];
        let client = document.first_client + document.writers.len() as u64;
        document.writers.push(index);
        let interval_us = (1e6 / per_second) as u64;
        self.due.push(Reverse((self.now() + random.below(interval_us), index)));
        self.writers.push(Writer {
            connection,
            client,
            action,
            interval_us,
            sent_at: Vec::new(),
            awareness_sent_at: Vec::new(),
        });
    }

    /// Nobody writes any more.
    pub(crate) fn stop_writing(&mut self) {
        self.due.clear();
    }

    /// Sends an update made elsewhere.
    pub(crate) fn send_update(&mut self, connection: usize, update: &[u8]) -> anyhow::Result<()> {
        self.send(connection, &update_message(update))
    }

    pub(crate) fn write_what_is_due(&mut self, now: u64) -> anyhow::Result<()> {
        while let Some(&Reverse((due, writer))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            self.due.push(Reverse((due + self.writers[writer].interval_us, writer)));
            if self.connections[self.writers[writer].connection].state == State::Synced {
                self.write_once(writer)?;
            }
        }
        Ok(())
    }

    fn write_once(&mut self, index: usize) -> anyhow::Result<()> {
        let now = self.now();
        let writer = &mut self.writers[index];
        let connection = writer.connection;
        let id = (writer.client, writer.clock());
        let (update, with_awareness) = match writer.action {
            Action::Type { left, right, with_cursor } => {
                let left = if id.1 == 0 { left } else { Some((id.0, id.1 - 1)) };
                let letter = char::from(b'a' + (id.1 % 26) as u8);
                (Some(yjs::typed(id, left, right, letter.encode_utf8(&mut [0; 4]))), with_cursor)
            }
            Action::SetValue { bytes } => (Some(yjs::map_value(id, &vec![id.1 as u8; bytes])), false),
            Action::Presence => (None, true),
        };
        if let Some(update) = update {
            writer.sent_at.push(now);
            self.counts.updates += 1;
            self.send_update(connection, &update)?;
        }
        if with_awareness {
            let writer = &mut self.writers[index];
            writer.awareness_sent_at.push(now);
            let state = cursor_state(id);
            let payload = yjs::awareness(id.0, writer.awareness_sent_at.len() as u64, &state);
            self.send(connection, &awareness_message(&payload))?;
        }
        Ok(())
    }

    /// Whether every editor has been shown everything that was written.
    pub(crate) fn all_delivered(&self) -> bool {
        let (shown, due) = self.shown_and_due();
        shown == due
    }

    /// How many clocks the editors in sync have been shown, and how many there are.
    pub(crate) fn shown_and_due(&self) -> (u64, u64) {
        let in_sync = self.connections.iter().filter(|connection| connection.state == State::Synced);
        in_sync.fold((0, 0), |(shown, due), connection| {
            let writers = &self.documents[connection.document].writers;
            let written: u64 = writers.iter().map(|writer| self.writers[*writer].clock()).sum();
            (shown + connection.seen.iter().sum::<u64>(), due + written)
        })
    }

    /// Counts the clocks that `connection` had not been shown; `live` if it is told of them as they are written.
    pub(crate) fn count_update(
        &mut self,
        connection: usize,
        update: &[u8],
        live: bool,
    ) -> anyhow::Result<()> {
        let now = self.now();
        let Self { connections, documents, writers, counts, .. } = self;
        let reader = &mut connections[connection];
        let document = &documents[reader.document];
        reader.seen.resize(document.writers.len(), 0);
        let found = |client: u64, first: u64, length: u64| {
            let at = client.wrapping_sub(document.first_client) as usize;
            let Some(writer) = document.writers.get(at).map(|writer| &writers[*writer]) else { return };
            let (seen, end) = (&mut reader.seen[at], first + length);
            counts.missing += first.saturating_sub(*seen);
            for clock in first.max(*seen)..end {
                counts.deliveries += 1;
                let sent_at = writer.sent_at.get(clock as usize).copied().unwrap_or_default();
                if live && sent_at >= counts.since {
                    counts.latency.record(now - sent_at);
                    if writer.connection == connection {
                        counts.echo.record(now - sent_at);
                    }
                }
            }
            *seen = end.max(*seen);
        };
        yjs::clock_ranges(update, found).context("an update that we cannot read")
    }

    /// Counts the awareness that is news to `connection`.
    pub(crate) fn count_awareness(&mut self, connection: usize, payload: &[u8]) -> anyhow::Result<()> {
        let now = self.now();
        let Self { connections, documents, writers, counts, .. } = self;
        let reader = &mut connections[connection];
        let document = &documents[reader.document];
        reader.seen_awareness.resize(document.writers.len(), 0);
        let found = |client: u64, clock: u64| {
            let at = client.wrapping_sub(document.first_client) as usize;
            let Some(writer) = document.writers.get(at).map(|writer| &writers[*writer]) else { return };
            if clock > reader.seen_awareness[at] {
                reader.seen_awareness[at] = clock;
                counts.awareness_deliveries += 1;
                let sent_at = writer.awareness_sent_at.get(clock as usize - 1).copied().unwrap_or_default();
                if sent_at >= counts.since {
                    counts.awareness_latency.record(now - sent_at);
                }
            }
        };
        yjs::awareness_entries(payload, found).context("an awareness message that we cannot read")
    }
}

/// About what an editor binding writes when its cursor moves.
fn cursor_state((client, clock): Id) -> String {
    let position =
        format!(r#"{{"type":null,"tname":"t","item":{{"client":{client},"clock":{clock}}},"assoc":0}}"#);
    format!(
        r##"{{"user":{{"name":"Editor {client}","color":"#30bced"}},"cursor":{{"anchor":{position},"head":{position}}}}}"##
    )
}
