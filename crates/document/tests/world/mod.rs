//! A small world: one fake log, two nodes that may each have the document, editors, and a network that loses replies.
//!
//! The store carries out an append at once, late (after the node that asked is dead), or not yet; its reply may be lost,
//! and then the append is tried again. Every output of a document is checked against the store at that instant.

mod editors;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_document::{
    AppendOutcome, Document, Effect, Gc, Input, Kept, LoadError, Settings, StructStore, compaction,
};
use ringleaf_types::{
    Body, Epoch, Incarnation, Limits, MessageNumber, Record, Rights, RouterId, SessionId, Slot, Snapshot,
    Subject,
};
use ringleaf_wire::scan;
use ringleaf_wire::{Event, Request};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

pub(crate) const NODES: usize = 2;
pub(crate) const EDITORS: usize = 3;

/// One thing that can happen. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Type {
        editor: usize,
        at: usize,
    },
    Delete {
        editor: usize,
        at: usize,
    },
    /// The editor sends its oldest message that it has not sent on this connection.
    Send {
        editor: usize,
    },
    SendAgain {
        editor: usize,
    },
    Sync {
        editor: usize,
        empty: bool,
    },
    CatchUp {
        editor: usize,
    },
    /// The editor reads what the document told it.
    Read {
        editor: usize,
    },
    Move {
        editor: usize,
        node: usize,
    },
    /// The store carries out the append in flight; `reply`: and says so.
    Store {
        node: usize,
        reply: bool,
    },
    /// A record that a dead node had on its way arrives.
    Late,
    Tail {
        node: usize,
    },
    Compact {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Wake {
        node: usize,
        ms: u64,
    },
    Delay {
        node: usize,
        ms: u64,
    },
}

#[derive(Default)]
struct Node {
    document: Option<Document>,
    in_flight: Option<(Slot, Record)>,
    tail_after: Option<Slot>,
    compact: Option<Slot>,
}

struct Editor {
    doc: Doc,
    node: usize,
    session: SessionId,
    attached: bool,
    /// Numbered messages that are not acknowledged, and how many of them were sent on this connection.
    outstanding: VecDeque<Outstanding>,
    sent: usize,
    number: MessageNumber,
    /// The last slot that it has, by what the document told.
    last: Option<Slot>,
    inbox: VecDeque<Event>,
}

#[derive(Debug, Clone)]
struct Outstanding {
    number: MessageNumber,
    /// It answers a request of the document that the editor is attached to now.
    answer: bool,
    update: Bytes,
}

pub(crate) struct World {
    now: Instant,
    slots: BTreeMap<Slot, Record>,
    snapshot: Option<Snapshot>,
    /// What the store holds, as it was seen slot by slot.
    durable: StructStore,
    /// What is kept beside the log.
    kept: Vec<Kept>,
    late: Vec<(Slot, Record)>,
    nodes: Vec<Node>,
    editors: Vec<Editor>,
    opened: u64,
    tokens: u32,
    deleted: BTreeSet<char>,
    /// Everything that an editor was told is safe.
    acknowledged: Vec<Bytes>,
    limits: Arc<Limits>,
    /// Epochs by slot, as they were written: I2 is checked over them.
    written: Vec<(Slot, Epoch, u64)>,
}

impl World {
    pub(crate) fn new() -> Self {
        let limits = Limits {
            tail_slots_max: 4,
            compaction_idle_timeout: Duration::from_secs(8),
            ..Limits::default()
        };
        let editors = (0..EDITORS).map(|number| Editor {
            doc: editor_doc(number as u64 + 1),
            node: 0,
            session: SessionId::new(number as u64 + 1),
            attached: false,
            outstanding: VecDeque::new(),
            sent: 0,
            number: MessageNumber::new(0),
            last: None,
            inbox: VecDeque::new(),
        });
        Self {
            now: Instant::now(),
            slots: BTreeMap::new(),
            snapshot: None,
            durable: StructStore::new(),
            kept: Vec::new(),
            late: Vec::new(),
            nodes: (0..NODES).map(|_| Node::default()).collect(),
            editors: editors.collect(),
            opened: 0,
            tokens: 0,
            deleted: BTreeSet::new(),
            acknowledged: Vec::new(),
            limits: Arc::new(limits),
            written: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::Type { editor, at } => self.edit(editor % EDITORS, at, true),
            Step::Delete { editor, at } => self.edit(editor % EDITORS, at, false),
            Step::Send { editor } => self.send(editor % EDITORS),
            Step::SendAgain { editor } => self.editors[editor % EDITORS].sent = 0,
            Step::Sync { editor, empty } => self.sync(editor % EDITORS, empty),
            Step::CatchUp { editor } => {
                if let Some(from) = self.editors[editor % EDITORS].last {
                    self.ask(editor % EDITORS, Request::CatchUp { from });
                }
            }
            Step::Read { editor } => self.read(editor % EDITORS),
            Step::Move { editor, node } => self.attach(editor % EDITORS, node % NODES),
            Step::Store { node, reply } => self.store(node % NODES, reply),
            Step::Late => self.arrive_late(),
            Step::Tail { node } => self.tail(node % NODES),
            Step::Compact { node } => self.compact(node % NODES),
            Step::Crash { node } => self.crash(node % NODES),
            Step::Wake { node, ms } => {
                self.now += Duration::from_millis(ms);
                self.tell(node % NODES, Input::Wake);
            }
            Step::Delay { node, ms } => {
                let until = self.now + Duration::from_millis(ms);
                if let Some(document) = &mut self.nodes[node % NODES].document {
                    document.hold_append_until(until);
                }
            }
        }
    }

    // ---- nodes ----

    fn open(&mut self, node: usize) {
        if self.nodes[node].document.is_some() {
            return;
        }
        self.opened += 1;
        let settings = Settings {
            node: format!("n{node}").parse().unwrap(),
            incarnation: Incarnation::new(self.opened),
            seed: self.opened,
            limits: self.limits.clone(),
            gc: Gc::Collect,
        };
        let upto = self.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let slots = self.slots.range(upto.next()..).map(|(slot, record)| (*slot, record.clone())).collect();
        let id = "notes".parse().unwrap();
        let document: Result<Document, LoadError> =
            Document::open(id, self.snapshot.clone(), slots, self.kept.clone(), settings, self.now);
        self.nodes[node].document = Some(document.unwrap());
    }

    fn crash(&mut self, node: usize) {
        let of = std::mem::take(&mut self.nodes[node]);
        // What it had on its way may still arrive.
        self.late.extend(of.in_flight);
        for editor in self.editors.iter_mut().filter(|editor| editor.node == node) {
            editor.attached = false;
            editor.inbox.clear();
        }
    }

    fn tell(&mut self, node: usize, input: Input) {
        let Some(document) = &mut self.nodes[node].document else { return };
        document.weight(&input);
        document.handle(input, self.now);
        while let Some(effect) = self.nodes[node].document.as_mut().and_then(Document::next_effect) {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Append { slot, record } => {
                let before = self.nodes[node].in_flight.replace((slot, record));
                assert!(before.is_none(), "two appends of one document in flight (R2)");
            }
            Effect::Broadcast { event } => {
                self.check(&event);
                for editor in self.editors.iter_mut().filter(|of| of.attached && of.node == node) {
                    editor.inbox.push_back(event.clone());
                }
            }
            Effect::Deliver { router, event } => {
                self.check(&event);
                let editor = &mut self.editors[router.get() as usize];
                if editor.attached && editor.node == node {
                    if let Event::Acknowledge { through, .. } = &event {
                        let told = editor.outstanding.iter().filter(|message| message.number <= *through);
                        let told: Vec<Bytes> = told.map(|message| message.update.clone()).collect();
                        told.iter().for_each(|update| self.is_durable(update, "an acknowledged update (I1)"));
                    }
                    self.editors[router.get() as usize].inbox.push_back(event);
                }
            }
            Effect::ReadTail { after } => self.nodes[node].tail_after = Some(after),
            Effect::Compact { through } => self.nodes[node].compact = Some(through),
            Effect::Fenced { .. } => {
                self.crash(node);
            }
            Effect::Exported { state, .. } => self.is_durable(&state, "an export (I4)"),
            Effect::Count(_) | Effect::Imported { .. } => {}
            Effect::Forget => {
                assert!(self.nodes[node].in_flight.is_none(), "forgotten with an append in flight");
                self.nodes[node].document = None;
            }
            Effect::KeepRemainder { id, update } => {
                self.kept.push(Kept { id, update, since: self.now });
                self.tell(node, Input::RemainderKept { id });
            }
            Effect::DropRemainder { id } => self.kept.retain(|kept| kept.id != id),
            Effect::LeftBehind { .. } => {}
            Effect::Reload => panic!("nobody deletes the document"),
            Effect::RemainderExpired { .. } => panic!("nobody waits for a week here"),
            Effect::StoreWentBackwards { .. } => panic!("this store does not lose slots"),
        }
    }

    // ---- the store ----

    fn store(&mut self, node: usize, reply: bool) {
        let Some((slot, record)) = self.nodes[node].in_flight.clone() else { return };
        let outcome = self.create(slot, record);
        if reply {
            self.nodes[node].in_flight = None;
            self.tell(node, Input::Appended { slot, outcome });
        }
    }

    fn create(&mut self, slot: Slot, record: Record) -> AppendOutcome {
        if self.snapshot.as_ref().is_some_and(|snapshot| slot <= snapshot.upto) {
            return AppendOutcome::Covered;
        }
        if let Some(taken) = self.slots.get(&slot) {
            return AppendOutcome::Taken(taken.clone());
        }
        if let Body::Updates(updates) = &record.body {
            for update in updates {
                let admission = self.durable.admit(update).unwrap();
                assert!(
                    admission.remainder.is_none(),
                    "a hole was written in slot {slot} of epoch {}",
                    record.epoch
                );
            }
        }
        self.written.push((slot, record.epoch, record.writer.nonce));
        self.slots.insert(slot, record);
        AppendOutcome::Created
    }

    fn arrive_late(&mut self) {
        if let Some((slot, record)) = self.late.pop() {
            // A hole can only be written by who is no longer the owner, and then the slot is taken.
            self.create(slot, record);
        }
    }

    fn tail(&mut self, node: usize) {
        let Some(after) = self.nodes[node].tail_after.take() else { return };
        let upto = self.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let last = self.slots.keys().next_back().copied().unwrap_or(Slot::ZERO).max(upto);
        let slots = self.slots.range(after.next()..).map(|(slot, record)| (*slot, record.clone())).collect();
        self.tell(node, Input::Tail { slots, last });
    }

    fn compact(&mut self, node: usize) {
        let Some(through) = self.nodes[node].compact.take() else { return };
        let id = "notes".parse().unwrap();
        let upto = self.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let slots = self
            .slots
            .range(upto.next()..through.next().max(upto.next()))
            .map(|(slot, record)| (*slot, record.clone()))
            .collect();
        match compaction::compact(&id, self.snapshot.clone(), slots, Gc::Collect) {
            Ok(snapshot) => {
                // R7: slots go up to the previous snapshot's `upto` only.
                self.slots.retain(|slot, _| *slot > upto);
                let upto = snapshot.upto;
                self.snapshot = Some(snapshot);
                self.tell(node, Input::Compacted { upto });
            }
            Err(compaction::CompactError::Nothing { .. }) => self.tell(node, Input::CompactionFailed),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }

    // ---- what must always hold ----

    /// I4: what leaves is durable at that instant.
    fn check(&self, event: &Event) {
        match event {
            Event::Publish { updates, .. } => {
                updates.iter().for_each(|update| self.is_durable(update, "a published update (I4)"));
            }
            Event::SyncAnswer { update, .. } => self.is_durable(update, "an answer (I4)"),
            Event::CaughtUp { update, .. } => self.is_durable(update, "what somebody caught up with (I4)"),
            Event::SyncRequest { state_vector, .. } => {
                for (client, clock) in scan::state_vector(state_vector).unwrap() {
                    assert!(
                        clock <= self.durable.clock_of(client),
                        "a state vector that is not durable (I4)"
                    );
                }
            }
            _ => {}
        }
    }

    fn is_durable(&self, update: &[u8], what: &str) {
        assert!(self.durable.holds(update).unwrap(), "{what} is not durable");
    }

    // ---- the end ----

    /// No more faults: everybody meets at one node, and then all must be equal (I5), with each piece once (I9).
    pub(crate) fn settle(&mut self) {
        while !self.late.is_empty() {
            self.arrive_late();
        }
        for round in 0..60 {
            for editor in 0..EDITORS {
                let of = &self.editors[editor];
                if !of.attached || of.node != 0 {
                    self.attach(editor, 0);
                }
                self.read(editor);
                while self.editors[editor].sent < self.editors[editor].outstanding.len() {
                    self.send(editor);
                    if !self.editors[editor].attached {
                        break;
                    }
                }
                if round % 10 == 5 {
                    self.sync(editor, false);
                }
            }
            for node in 0..NODES {
                self.store(node, true);
                self.tail(node);
                self.compact(node);
            }
            self.now += Duration::from_millis(1_000);
            self.tell(0, Input::Wake);
        }
        self.compare();
    }

    fn compare(&self) {
        let loaded = self.load();
        let expected = text(&loaded);
        for (number, editor) in self.editors.iter().enumerate() {
            assert!(
                editor.outstanding.is_empty(),
                "editor {number} was left waiting: {:?}",
                editor.outstanding
            );
            assert_eq!(text(&editor.doc), expected, "editor {number} differs from a cold load (I5)");
        }
        for update in &self.acknowledged {
            self.is_durable(update, "an acknowledged update (I1)");
        }
        let once: BTreeSet<char> = expected.chars().collect();
        assert_eq!(once.len(), expected.chars().count(), "a piece twice in {expected} (I9)");
        assert!(once.is_disjoint(&self.deleted), "a deleted piece is back in {expected} (I9)");
        let mut slots: Vec<Slot> = self.written.iter().map(|(slot, ..)| *slot).collect();
        slots.dedup();
        assert_eq!(slots.len(), self.written.len(), "a slot was written twice (I2)");
    }

    /// What a cold load finds, decoded by yrs.
    fn load(&self) -> Doc {
        let doc = Doc::new();
        let mut transaction = doc.transact_mut();
        let upto = self.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let records = self.slots.range(upto.next()..).map(|(_, record)| &record.body);
        let updates = records.flat_map(|body| match body {
            Body::Updates(updates) => updates.as_slice(),
            Body::Deletion | Body::Undeletion => &[],
        });
        for update in self.snapshot.iter().map(|snapshot| &snapshot.state).chain(updates) {
            transaction.apply_update(Update::decode_v1(update).unwrap()).unwrap();
        }
        assert!(!transaction.has_missing_updates(), "a cold load finds a hole");
        drop(transaction);
        doc
    }
}

/// Counts as Yjs does.
fn editor_doc(client: u64) -> Doc {
    let offset_kind = yrs::OffsetKind::Utf16;
    let options = yrs::Options::with_client_id(yrs::ClientID::new(client));
    Doc::with_options(yrs::Options { offset_kind, ..options })
}

fn text(doc: &Doc) -> String {
    let root = doc.get_or_insert_text("t");
    let transaction = doc.transact();
    root.get_string(&transaction)
}
