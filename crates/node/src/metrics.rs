//! What the node counts. The handles are made once; labels never come from ids.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use ringleaf_document::{Count, LeftWhy};
use ringleaf_ring::handoff::SourceEnd;

use crate::document_task::turns::TurnSeconds;
use crate::unadmitted::Unadmitted;

/// One handle per number.
pub(crate) struct Metrics {
    pub(crate) documents_resident: Gauge,
    pub(crate) resident_bytes: Gauge,
    pub(crate) held_bytes: Gauge,
    pub(crate) refused_for_memory: Counter,
    pub(crate) documents_quarantined: Gauge,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) load_seconds: Histogram,
    pub(crate) forgotten: Counter,
    pub(crate) appends: Counter,
    pub(crate) append_retries: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) acknowledgement_seconds: Histogram,
    pub(crate) turn_seconds: TurnSeconds,
    pub(crate) snapshots: Counter,
    pub(crate) snapshot_failures: Counter,
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) fenced: Counter,
    pub(crate) taken_over: Counter,
    moved: Counter,
    moves_failed: Counter,
    handoff_pause_seconds: Histogram,
    pub(crate) rebuilds: Counter,
    pub(crate) store_went_backwards: Counter,
    nothing_new: Counter,
    refused: Counter,
    asked_for_rest: Counter,
    left_behind: Counter,
    remainders_kept: Counter,
    remainders_expired: Counter,
    sessions_left_behind: [Gauge; LeftWhy::WORDS.len()],
    remainder_bytes: Gauge,
}

impl Metrics {
    /// Takes the handles from the recorder that is installed now.
    pub(crate) fn new() -> Self {
        describe();
        Self {
            documents_resident: gauge!("ringleaf_documents_resident"),
            resident_bytes: gauge!("ringleaf_documents_resident_bytes"),
            held_bytes: gauge!("ringleaf_documents_held_bytes"),
            refused_for_memory: counter!("ringleaf_openings_refused_for_memory_total"),
            documents_quarantined: gauge!("ringleaf_documents_quarantined"),
            loads: counter!("ringleaf_document_loads_total"),
            load_failures: counter!("ringleaf_document_load_failures_total"),
            load_seconds: histogram!("ringleaf_document_load_seconds"),
            forgotten: counter!("ringleaf_documents_forgotten_total"),
            appends: counter!("ringleaf_appends_total"),
            append_retries: counter!("ringleaf_append_retries_total"),
            append_seconds: histogram!("ringleaf_append_seconds"),
            acknowledgement_seconds: histogram!("ringleaf_acknowledgement_seconds"),
            turn_seconds: TurnSeconds::new(),
            snapshots: counter!("ringleaf_snapshots_total"),
            snapshot_failures: counter!("ringleaf_snapshot_failures_total"),
            snapshot_seconds: histogram!("ringleaf_snapshot_seconds"),
            fenced: counter!("ringleaf_documents_fenced_total"),
            taken_over: counter!("ringleaf_documents_taken_over_total"),
            moved: counter!("ringleaf_documents_moved_total"),
            moves_failed: counter!("ringleaf_handoff_failures_total"),
            handoff_pause_seconds: histogram!("ringleaf_handoff_pause_seconds"),
            rebuilds: counter!("ringleaf_document_rebuilds_total"),
            store_went_backwards: counter!("ringleaf_store_went_backwards_total"),
            nothing_new: counter!("ringleaf_messages_nothing_new_total"),
            refused: counter!("ringleaf_messages_refused_total"),
            asked_for_rest: counter!("ringleaf_messages_asked_for_rest_total"),
            left_behind: counter!("ringleaf_messages_left_behind_total"),
            remainders_kept: counter!("ringleaf_remainders_kept_total"),
            remainders_expired: counter!("ringleaf_remainders_expired_total"),
            sessions_left_behind: LeftWhy::WORDS
                .map(|reason| gauge!("ringleaf_sessions_left_behind", "reason" => reason)),
            remainder_bytes: gauge!("ringleaf_remainder_bytes"),
        }
    }

    /// Counts how a handoff from here has ended. `pause`: from the seal to the end.
    pub(crate) fn handed_off(&self, end: SourceEnd, pause: Duration) {
        match end {
            SourceEnd::Moved => {
                self.moved.increment(1);
                self.handoff_pause_seconds.record(pause);
            }
            SourceEnd::Refused | SourceEnd::Aborted | SourceEnd::TakenBack => self.moves_failed.increment(1),
            SourceEnd::Busy | SourceEnd::Behind | SourceEnd::Ended => {}
        }
    }

    /// What one document has not admitted is no longer `before`, but `now`.
    pub(crate) fn unadmitted(&self, before: &Unadmitted, now: &Unadmitted) {
        let counts = before.sessions.iter().zip(&now.sessions);
        for (gauge, (before, now)) in self.sessions_left_behind.iter().zip(counts) {
            gauge.increment(*now as f64 - *before as f64);
        }
        self.remainder_bytes.increment(now.remainder_bytes as f64 - before.remainder_bytes as f64);
    }

    /// Counts what a document wants counted.
    pub(crate) fn count(&self, count: Count) {
        match count {
            Count::NothingNew => self.nothing_new.increment(1),
            Count::Refused => self.refused.increment(1),
            Count::AskedForRest => self.asked_for_rest.increment(1),
            Count::LeftBehind => self.left_behind.increment(1),
            Count::Kept => self.remainders_kept.increment(1),
            Count::Expired => self.remainders_expired.increment(1),
        }
    }
}

fn describe() {
    describe_gauge!("ringleaf_documents_resident", "Documents that a task holds in memory");
    describe_gauge!("ringleaf_documents_resident_bytes", "Memory of all resident documents, estimated");
    describe_gauge!("ringleaf_documents_held_bytes", "The part of it that is in use and cannot be let go");
    describe_counter!(
        "ringleaf_openings_refused_for_memory_total",
        "Documents that were not opened because those in use fill resident_bytes_max"
    );
    describe_gauge!("ringleaf_documents_quarantined", "Documents that wait for a person");
    describe_counter!("ringleaf_document_loads_total", "Documents that were loaded");
    describe_counter!("ringleaf_document_load_failures_total", "Loads whose bytes could not be used");
    describe_histogram!(
        "ringleaf_document_load_seconds",
        "From the first wish for a document to its being there"
    );
    describe_counter!(
        "ringleaf_documents_forgotten_total",
        "Documents that were forgotten because nobody needed them"
    );
    describe_counter!("ringleaf_appends_total", "Slots that became durable");
    describe_counter!("ringleaf_append_retries_total", "Tries to append that the store did not answer well");
    describe_histogram!("ringleaf_append_seconds", "From handing a slot to the store to its being durable");
    describe_histogram!(
        "ringleaf_acknowledgement_seconds",
        "From taking a slot's oldest update to its acknowledgement"
    );
    describe_counter!("ringleaf_snapshots_total", "Snapshots that were made");
    describe_counter!("ringleaf_snapshot_failures_total", "Snapshots that did not come about");
    describe_histogram!("ringleaf_snapshot_seconds", "Time to make a snapshot");
    describe_counter!("ringleaf_documents_fenced_total", "Documents that another node claimed");
    describe_counter!("ringleaf_documents_taken_over_total", "Documents that other nodes have handed over");
    describe_counter!("ringleaf_documents_moved_total", "Documents that were handed off to their owner");
    describe_counter!(
        "ringleaf_handoff_failures_total",
        "Handoffs that came to nothing, or were not tried any more"
    );
    describe_histogram!(
        "ringleaf_handoff_pause_seconds",
        "From a document's seal to its new owner's word that it has it"
    );
    describe_counter!(
        "ringleaf_document_rebuilds_total",
        "Documents that were thrown away and loaded again after a panic"
    );
    describe_counter!(
        "ringleaf_store_went_backwards_total",
        "Times the store had lost slots that were durable"
    );
    describe_counter!("ringleaf_messages_nothing_new_total", "Messages that held nothing new");
    describe_counter!("ringleaf_messages_refused_total", "Messages that were dropped");
    describe_counter!(
        "ringleaf_messages_asked_for_rest_total",
        "Messages with a hole, whose editor was asked for the rest"
    );
    describe_counter!(
        "ringleaf_messages_left_behind_total",
        "Messages of which something lacked its ground when they were acknowledged"
    );
    describe_counter!(
        "ringleaf_remainders_kept_total",
        "Parts of messages that were kept until their ground comes"
    );
    describe_counter!("ringleaf_remainders_expired_total", "Those whose ground has not come in time");
    describe_gauge!(
        "ringleaf_sessions_left_behind",
        "Sessions whose editor has sent something that is not in the document, by reason"
    );
    describe_gauge!("ringleaf_remainder_bytes", "Remainders of the documents in memory");
}
