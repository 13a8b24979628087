//! What is counted. The handles are made once.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use ringleaf_types::CloseReason;

use crate::handshake::Refusal;

pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) documents: Gauge,
    /// Messages from editors.
    pub(crate) messages: Counter,
    pub(crate) message_bytes: Counter,
    /// Bytes of frames that no message could be made of.
    pub(crate) ignored_bytes: Counter,
    /// Messages that were dropped because their editor may not write.
    pub(crate) forbidden: Counter,
    /// Messages that the document refused.
    pub(crate) refused: Counter,
    /// Times that a published update was handed to a socket.
    pub(crate) deliveries: Counter,
    writes: Counter,
    written_bytes: Counter,
    pub(crate) fell_behind: Counter,
    pub(crate) catch_ups: Counter,
    /// Fan-outs whose events came faster than they could be handed on.
    pub(crate) overruns: Counter,
    pub(crate) reattached: Counter,
    pub(crate) fan_out_seconds: Histogram,
    closed: [Counter; CLOSED.len()],
    /// Requests that waited for their turn to become sockets.
    pub(crate) handshakes_paced: Counter,
    handshakes_refused: [Counter; Refusal::ALL.len()],
}

const CLOSED: [(CloseReason, &str); 11] = [
    (CloseReason::ServiceRestart, "service_restart"),
    (CloseReason::TryAgainLater, "try_again_later"),
    (CloseReason::SlowConsumer, "slow_consumer"),
    (CloseReason::Dead, "dead"),
    (CloseReason::Misbehaved, "misbehaved"),
    (CloseReason::MessageTooLarge, "message_too_large"),
    (CloseReason::DocumentDeleted, "document_deleted"),
    (CloseReason::DocumentQuarantined, "document_quarantined"),
    (CloseReason::NotTaken, "not_taken"),
    (CloseReason::DocumentFull, "document_full"),
    (CloseReason::ProtocolError, "protocol_error"),
];

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            connections: gauge!("ringleaf_editor_connections"),
            sessions: gauge!("ringleaf_editor_sessions"),
            documents: gauge!("ringleaf_router_documents"),
            messages: counter!("ringleaf_editor_messages_total"),
            message_bytes: counter!("ringleaf_editor_message_bytes_total"),
            ignored_bytes: counter!("ringleaf_editor_ignored_bytes_total"),
            forbidden: counter!("ringleaf_editor_messages_forbidden_total"),
            refused: counter!("ringleaf_editor_messages_refused_total"),
            deliveries: counter!("ringleaf_fan_out_deliveries_total"),
            writes: counter!("ringleaf_socket_writes_total"),
            written_bytes: counter!("ringleaf_socket_written_bytes_total"),
            fell_behind: counter!("ringleaf_sessions_behind_total"),
            catch_ups: counter!("ringleaf_catch_ups_total"),
            overruns: counter!("ringleaf_fan_out_overruns_total"),
            reattached: counter!("ringleaf_document_reattachments_total"),
            fan_out_seconds: histogram!("ringleaf_fan_out_seconds"),
            closed: CLOSED.map(|(_, reason)| counter!("ringleaf_editor_closes_total", "reason" => reason)),
            handshakes_paced: counter!("ringleaf_handshakes_paced_total"),
            handshakes_refused: Refusal::ALL
                .map(|refusal| counter!("ringleaf_handshakes_refused_total", "reason" => refusal.label())),
        }
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.writes.increment(1);
        self.written_bytes.increment(bytes as u64);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        if let Some(at) = CLOSED.iter().position(|&(of, _)| of == reason) {
            self.closed[at].increment(1);
        }
    }

    pub(crate) fn handshake_refused(&self, refusal: Refusal) {
        if let Some(at) = Refusal::ALL.iter().position(|&of| of == refusal) {
            self.handshakes_refused[at].increment(1);
        }
    }
}

/// Says what each number means.
fn describe() {
    describe_gauge!(
        "ringleaf_editor_connections",
        "Open connections, those that are not yet sockets included"
    );
    describe_gauge!("ringleaf_editor_sessions", "Editors that are attached to a document");
    describe_gauge!("ringleaf_router_documents", "Documents that have sessions here");
    describe_counter!("ringleaf_editor_messages_total", "Messages from editors");
    describe_counter!("ringleaf_editor_message_bytes_total", "Bytes of those messages");
    describe_counter!(
        "ringleaf_editor_ignored_bytes_total",
        "Bytes from editors that no message could be made of"
    );
    describe_counter!(
        "ringleaf_editor_messages_forbidden_total",
        "Messages dropped because their editor may not write"
    );
    describe_counter!("ringleaf_editor_messages_refused_total", "Messages that the document refused");
    describe_counter!(
        "ringleaf_fan_out_deliveries_total",
        "Times that a published update was handed to a socket"
    );
    describe_counter!("ringleaf_socket_writes_total", "Writes to sockets");
    describe_counter!("ringleaf_socket_written_bytes_total", "Bytes that sockets took");
    describe_counter!("ringleaf_sessions_behind_total", "Times that a session did not keep up");
    describe_counter!("ringleaf_catch_ups_total", "Updates that caught up whoever was behind");
    describe_counter!(
        "ringleaf_fan_out_overruns_total",
        "Times that events came faster than a fan-out handed them on"
    );
    describe_counter!(
        "ringleaf_document_reattachments_total",
        "Times that a document's sessions were attached again"
    );
    describe_histogram!("ringleaf_fan_out_seconds", "Time to hand one published update to all its sockets");
    describe_counter!("ringleaf_editor_closes_total", "Sockets that this server closed, by reason");
    describe_counter!(
        "ringleaf_handshakes_paced_total",
        "Requests that waited for their turn to become sockets"
    );
    describe_counter!("ringleaf_handshakes_refused_total", "Requests that did not become sockets, by reason");
}
