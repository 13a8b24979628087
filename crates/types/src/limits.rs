//! Every number that bounds something.

use std::time::Duration;

/// All bounds of one process. Each says why it has that size and what happens when it is reached.
///
/// Times that only pace work (how often, how long to wait) are here too, so that a test can shorten them.
#[derive(Debug, Clone)]
pub struct Limits {
    // ---- what an editor may send ----
    /// One message. As large as the JavaScript servers take, because a stock client answers a refusal by reconnecting
    /// and sending the same bytes again. Above it: closed with 4413.
    pub message_bytes_max: usize,
    /// The request that becomes a socket. Above it: 431.
    pub handshake_bytes_max: usize,
    /// How long that request may take. Above it: the connection is dropped.
    pub handshake_timeout: Duration,
    /// Messages per second and session, as a rate with a burst of the same size. Above it: the socket is read later.
    pub session_messages_per_second_max: u32,
    /// Bytes per second and session, likewise. A single larger message is taken and paid off afterwards.
    pub session_bytes_per_second_max: u32,
    /// Messages of one session that are not yet durable. Above it: the socket is not read. One may always be taken.
    pub outstanding_messages_max: usize,
    /// Bytes of those messages, likewise.
    pub outstanding_bytes_max: usize,
    /// Bytes that all editors together have sent and that are not durable yet, parts of messages included, beyond what is
    /// free for each. Anybody may send ninety of a hundred megabytes and stop: a few hundred of those must not fill the
    /// memory. Above it: who holds more than is free is not read until there is room, but for one at a time, so that
    /// everybody gets there in the end. At the worst there is twice as much.
    pub received_bytes_max: usize,
    /// Bytes of one session that do not count there: typing never waits for somebody's picture.
    pub received_bytes_free: usize,
    /// How long a message that counts there may take to arrive while others wait for room. Above it: closed with 1013,
    /// to try again. While nobody waits it may take as long as it likes, as on a bad line.
    pub partial_message_timeout: Duration,
    /// Refused messages of one session within a minute. Above it: closed with 1008.
    pub refusals_per_minute_max: u32,

    // ---- how many may come ----
    /// Open connections of one address. Above it: 503 before the upgrade. Generous, because a proxy is one address.
    pub connections_per_address_max: usize,
    /// Open connections of this process. Above it: 503 before the upgrade.
    pub connections_max: usize,
    /// Editors that come in per second, whoever they are. A tenth of this at once, the others wait for their turn. Low
    /// enough that thousands who come back together do not stall those who are here: on two busy cores 2,000 at once held
    /// up some of these for a second, and at this rate for less than a tenth of one.
    pub connections_per_second_max: u32,
    /// The longest that a request waits for its turn to become a socket. Whoever would wait longer: 503 before the
    /// upgrade. Longer than the 2.5 s after which stock clients that were sent away try again, all at the same time, so
    /// that there is always somebody whose turn it is.
    pub connection_turn_timeout: Duration,
    /// Sessions of one document. Above it: 503 before the upgrade. Sessions whose editor has left and whose last words
    /// are not durable yet count apart, as many again, so that a crowd that comes back is not kept out by what it left
    /// behind. Above that, last words are not waited for: their editor still has them, and sends them when it is back.
    pub sessions_per_document_max: usize,
    /// Documents that one address may open (make resident) within a minute. Above it: 503 before the upgrade.
    pub documents_opened_per_minute_max: u32,

    // ---- what a document may be ----
    /// The encoded state of one document. Above it: updates are refused, everything else goes on.
    pub document_bytes_max: usize,
    /// Requests that wait in one document's mailbox. Above it: whoever asks waits, and reads nothing meanwhile.
    pub mailbox_requests_max: usize,
    /// Bytes that are admitted but not yet durable. Above it: the document's mailbox is not read.
    pub gathered_bytes_max: usize,
    /// Bytes of one document's remainders: parts of messages that are kept until what they build on has come. Enough for
    /// what an editor typed in a day without a network. Above it: a new one is not kept, and stays with its editor.
    pub remainder_bytes_max: usize,
    /// A remainder is kept for so long, so that an editor that comes back after a week finds it. After it: it is dropped.
    pub remainder_timeout: Duration,
    /// Awareness states of one document. Above it: new client ids are ignored.
    pub awareness_clients_max: usize,
    /// One awareness state. Above it: it is ignored.
    pub awareness_state_bytes_max: usize,
    /// All awareness states of one document. Above it: what would make it more is ignored. Ten thousand editors with a
    /// kilobyte each are well below.
    pub awareness_bytes_max: usize,
    /// Awareness that was not renewed for so long is removed: what every Yjs client does too.
    pub awareness_timeout: Duration,
    /// Awareness changes are published together, once per tick. With more than two hundred states in a document a tick
    /// is longer in proportion, up to two and a half times: each costs a write to everybody.
    pub awareness_tick: Duration,

    // ---- what an editor may leave unread ----
    /// Frames that wait for one socket behind the one being written. Above it: the session is *behind*.
    pub outbox_frames_max: usize,
    /// Bytes of those frames, likewise. One frame may always wait.
    pub outbox_bytes_max: usize,
    /// A socket that took nothing for so long is closed as a slow consumer.
    pub stalled_timeout: Duration,
    /// Something is sent at least so often: stock clients drop a server that is silent for 30 s.
    pub keepalive_interval: Duration,
    /// A socket whose peer is silent and answers no ping for so long is closed.
    pub dead_timeout: Duration,
    /// The longest time from the beginning of a fan-out to that of the next one; while they come without pause, from its
    /// end, and at most half as long again.
    pub fan_out_window_max: Duration,
    /// Fan-out may use about one in so many parts of a core per document before it begins to wait.
    pub fan_out_duty: u32,
    /// Bytes that wait to be fanned out in one document. Above it: they are dropped and its sessions are behind. Only a
    /// machine that is overloaded gets there, since a fan-out never waits for an editor.
    pub fan_out_waiting_bytes_max: usize,

    // ---- what is kept in memory and on disk ----
    /// A document without sessions is forgotten after so long.
    pub idle_timeout: Duration,
    /// Bytes of all resident documents, estimated. Above it: the least recently used without sessions are forgotten at
    /// once. When those with sessions alone fill it: no others are opened (503 before the upgrade) until there is room;
    /// what is open goes on. Small enough for a small machine, and for some hundred thousand idle documents.
    pub resident_bytes_max: usize,
    /// A document that nobody wrote to for so long is made compact in memory: what was typed is joined, what was deleted goes.
    pub compaction_idle_timeout: Duration,
    /// Slots above the newest snapshot. Above it: a snapshot is made. Documents over 1 MiB may have one per KiB.
    pub tail_slots_max: usize,
    /// Bytes of those slots, likewise. Documents over four times as large may have a quarter of their size.
    pub tail_bytes_max: usize,
    /// Slots that a snapshot covers stay for so long, for whoever resumes from one.
    pub retention: Duration,
    /// The longest gap that a group commit may wait for company.
    pub commit_gap_max: Duration,
    /// Appends that wait for the store's writer. Above it: documents wait.
    pub appends_waiting_max: usize,

    // ---- what reading a document for people may take ----
    /// Processes in which the CRDT library reads documents, at the same time. Above it: whoever asks waits for a turn.
    pub reader_processes_max: usize,
    /// Address space of one. Enough for a document of a hundred megabytes as editors make them. Above it: that request fails.
    pub reader_memory_bytes_max: usize,
    /// CPU time of one request, in whole seconds. Above it: that request fails, and its process is killed.
    pub reader_cpu_timeout: Duration,
    /// The same by the clock, so that a process that waits for something does not wait for ever.
    pub reader_timeout: Duration,
    /// One document that is handed over, or what it holds when it is written out. Above it: that request fails.
    pub reader_message_bytes_max: usize,
    /// Requests that wait for a turn. Above it: 503.
    pub reader_waiting_max: usize,
    /// How long one waits for it. Above it: 503.
    pub reader_turn_timeout: Duration,
    /// A process that has read nothing for so long is ended.
    pub reader_idle_timeout: Duration,

    // ---- stopping ----
    /// Sockets are closed spread over so long, so that the editors do not come back all at once. Over a longer time when
    /// there are so many that they would come back faster than `connections_per_second_max`.
    pub close_spread: Duration,
    /// Everything that is left after so long is cut off. Sockets and documents share it; whoever comes second has a few
    /// seconds in any case.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            message_bytes_max: 100 * MIB,
            handshake_bytes_max: 16 << 10,
            handshake_timeout: Duration::from_secs(5),
            session_messages_per_second_max: 2_000,
            session_bytes_per_second_max: (32 * MIB) as u32,
            outstanding_messages_max: 1_024,
            outstanding_bytes_max: 4 * MIB,
            received_bytes_max: 256 * MIB,
            received_bytes_free: 64 << 10,
            partial_message_timeout: Duration::from_secs(30),
            refusals_per_minute_max: 20,
            connections_per_address_max: 20_000,
            connections_max: 100_000,
            connections_per_second_max: 1_000,
            connection_turn_timeout: Duration::from_secs(3),
            sessions_per_document_max: 10_000,
            documents_opened_per_minute_max: 30_000,
            document_bytes_max: 256 * MIB,
            mailbox_requests_max: 256,
            gathered_bytes_max: 16 * MIB,
            remainder_bytes_max: 4 * MIB,
            remainder_timeout: Duration::from_secs(7 * 24 * 3_600),
            awareness_clients_max: 20_000,
            awareness_state_bytes_max: 64 << 10,
            awareness_bytes_max: 32 * MIB,
            awareness_timeout: Duration::from_secs(30),
            awareness_tick: Duration::from_millis(40),
            outbox_frames_max: 256,
            outbox_bytes_max: 256 << 10,
            stalled_timeout: Duration::from_secs(45),
            keepalive_interval: Duration::from_secs(20),
            dead_timeout: Duration::from_secs(45),
            fan_out_window_max: Duration::from_millis(17),
            fan_out_duty: 36,
            fan_out_waiting_bytes_max: 16 * MIB,
            idle_timeout: Duration::from_secs(60),
            resident_bytes_max: 2 << 30,
            compaction_idle_timeout: Duration::from_secs(30),
            tail_slots_max: 1_000,
            tail_bytes_max: MIB,
            retention: Duration::from_secs(600),
            commit_gap_max: Duration::from_millis(4),
            appends_waiting_max: 4_096,
            reader_processes_max: 1,
            reader_memory_bytes_max: 1 << 30,
            reader_cpu_timeout: Duration::from_secs(30),
            reader_timeout: Duration::from_secs(60),
            reader_message_bytes_max: 512 * MIB,
            reader_waiting_max: 64,
            reader_turn_timeout: Duration::from_secs(20),
            reader_idle_timeout: Duration::from_secs(60),
            close_spread: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(20),
        }
    }
}
