//! Plays a script against one document and writes down what it does.
//!
//! Lines that begin with `>` are what happens, the lines after them are what the document wants done. A test is a
//! script; it holds when playing it writes down the same text.
//!
//! ```text
//! > attach 1 [read-only] [as alice]      session 1 of router 1; `b1` is session 1 of router 2
//! > resume 1 5                           it has delivered slot 5 of another owner
//! > type 1 abc                           its editor appends to the text and sends the update
//! > lose 1 abc · again 1 · rubbish 1     … does not send it · sends the last one again · sends no update at all
//! > erase 1 2 3                          its editor deletes three letters behind the second and sends the update
//! > raw 1 00 00                          sends these bytes
//! > copy 2 1 abc                         sends what the editor of session 1 typed so
//! > full 1 · answer 1 · answer-again 1     sends its whole state as an update · as an answer · the last one as an answer
//! > sync 1 [empty]                       it asks for what it lacks · for everything
//! > kept                                 the store has the first remainder that it was given
//! > early 9 ab                           the last owner has kept what client 9 typed last of this
//! > take-over                             the document takes over, and what is kept with it
//! > durable · mine · covered             the append in flight: created · found to be ours · below a snapshot
//! > taken 1 abc · taken 1 abc …          the slot holds a foreign record of epoch 1 that types abc
//! > tail 3 [1 abc]                       the store's newest slot, and what is there beyond ours (epoch and text)
//! > cursor 1 9 4 {"x":1}                 session 1 says: client 9 has clock 4 and this state
//! > seal · unseal · claim                 what a handoff wants
//! > inherit 1 9 5                        the last owner knew session 1 of router 1 as client 9, five seconds ago
//! > wait 5000                            so many milliseconds pass, deadlines included
//! ```

mod words;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_document::{AppendOutcome, Document, Effect, Gc, Input, Kept, Settings, compaction};
use ringleaf_types::{
    Incarnation, Limits, MessageNumber, Record, Rights, RouterId, SessionId, Slot, Snapshot, Subject,
};
use ringleaf_wire::{Event, Request};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, Update};

use words::{body, bytes, content, foreign, import, inherit, payload, presence, text, text_of, typed_last};

/// Plays a script and compares.
pub(crate) fn plays(script: &str) {
    plays_with(Limits::default(), script);
}

pub(crate) fn plays_with(limits: Limits, script: &str) {
    let script: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut stage = Stage::new(limits);
    let mut transcript = String::new();
    for step in script.iter().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(transcript, "> {step}").unwrap();
        stage.step(step);
        stage.write_down(&mut transcript);
    }
    let expected = script.join("\n") + "\n";
    assert!(transcript == expected, "\n--- the script says\n{expected}\n--- it happened\n{transcript}");
}

pub(crate) fn settings(limits: Limits) -> Settings {
    Settings {
        node: "a".parse().unwrap(),
        incarnation: Incarnation::new(1),
        seed: 1,
        limits: Arc::new(limits),
        gc: Gc::Collect,
    }
}

struct Editor {
    key: (RouterId, SessionId),
    doc: Doc,
    number: MessageNumber,
    last: Bytes,
    /// What was typed, sent or not.
    typed: Vec<(String, Bytes)>,
}

struct Stage {
    document: Document,
    now: Instant,
    editors: Vec<Editor>,
    in_flight: Option<(Slot, Record)>,
    /// What a store would hold.
    store: Vec<(Slot, Record)>,
    snapshot: Option<Snapshot>,
    /// What is kept beside the log, and what is on its way there.
    kept: Vec<Kept>,
    keeping: Vec<u64>,
    /// Everything that was published.
    published: Doc,
    sealed: bool,
    limits: Limits,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let document =
            Document::open("notes".parse().unwrap(), None, vec![], vec![], settings(limits.clone()), now)
                .unwrap();
        Self {
            document,
            now,
            editors: Vec::new(),
            in_flight: None,
            store: Vec::new(),
            snapshot: None,
            kept: Vec::new(),
            keeping: Vec::new(),
            published: Doc::new(),
            sealed: false,
            limits,
        }
    }

    fn step(&mut self, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "wait" => self.wait(Duration::from_millis(rest.parse().unwrap())),
            "reopen" => self.reopen(),
            "hold" => {
                let held = Duration::from_millis(rest.parse().unwrap());
                self.document.hold_append_until(self.now + held);
            }
            _ => {
                let input = self.input(verb, rest);
                self.document.handle(input, self.now);
            }
        }
    }

    fn input(&mut self, verb: &str, rest: &str) -> Input {
        match verb {
            "durable" | "mine" | "covered" | "gap" | "taken" => self.appended(verb, rest),
            "tail" => {
                let (last, record) = rest.split_once(' ').unwrap_or((rest, ""));
                let next = self.document.last_slot().next();
                let slots = if record.is_empty() { Vec::new() } else { vec![(next, foreign(record))] };
                Input::Tail { slots, last: Slot::new(last.parse().unwrap()) }
            }
            "compacted" => {
                let id = self.document.id().clone();
                let snapshot = compaction::compact(
                    &id,
                    self.snapshot.take(),
                    std::mem::take(&mut self.store),
                    Gc::Collect,
                )
                .unwrap();
                let upto = snapshot.upto;
                self.snapshot = Some(snapshot);
                Input::Compacted { upto }
            }
            "compaction-failed" => Input::CompactionFailed,
            "saved" => Input::Saved,
            "save-failed" => Input::SaveFailed,
            "kept" => Input::RemainderKept { id: self.keeping.remove(0) },
            "delete" => Input::Delete,
            "undelete" => Input::Undelete,
            "seal" => Input::Seal,
            "unseal" => Input::Unseal,
            "claim" => Input::Claim,
            "early" => {
                let (client, text) = rest.split_once(' ').unwrap();
                let id = 1_000 + self.kept.len() as u64;
                let update = typed_last(client.parse().unwrap(), text);
                self.kept.push(Kept { id, update, since: self.now });
                Input::Wake
            }
            "take-over" => Input::TakeOver { slots: Vec::new(), kept: self.kept.clone() },
            "inherit" => inherit(rest),
            "import" => import(rest),
            "export" => Input::Export { ticket: rest.parse().unwrap() },
            "gone" => Input::RouterGone { router: RouterId::new(rest.parse().unwrap()) },
            "catch-up" => Input::Request {
                router: RouterId::new(1),
                request: Request::CatchUp { from: Slot::new(rest.parse().unwrap()) },
            },
            _ => self.request(verb, rest),
        }
    }

    /// What became of the append in flight.
    fn appended(&mut self, verb: &str, rest: &str) -> Input {
        let (slot, record) = self.in_flight.take().unwrap();
        let (stored, outcome) = match verb {
            "durable" => (Some(record), AppendOutcome::Created),
            "mine" => (Some(record.clone()), AppendOutcome::Taken(record)),
            "taken" => (Some(foreign(rest)), AppendOutcome::Taken(foreign(rest))),
            "covered" => (None, AppendOutcome::Covered),
            _ => (None, AppendOutcome::Gap),
        };
        self.store.extend(stored.map(|record| (slot, record)));
        Input::Appended { slot, outcome }
    }

    fn request(&mut self, verb: &str, rest: &str) -> Input {
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if let ("copy", Some((of, what))) = (verb, rest.split_once(' ')) {
            let typed = &self.editor(of).typed;
            let copy = typed.iter().find(|(typed, _)| typed == what).unwrap().1.clone();
            self.editor(name).last = copy;
        }
        let editor = self.editor(name);
        let (router, session) = editor.key;
        let request = match verb {
            "attach" => {
                let rights = if rest.contains("read-only") { Rights::ReadOnly } else { Rights::ReadWrite };
                let subject = match rest.split_once("as ") {
                    Some((_, name)) => Subject::new(name),
                    None => Subject::anyone(),
                };
                Request::Attach { session, rights, subject, resume: None }
            }
            "resume" => Request::Attach {
                session,
                rights: Rights::ReadWrite,
                subject: Subject::anyone(),
                resume: Some(Slot::new(rest.parse().unwrap())),
            },
            "detach" => Request::Detach { session },
            "type" => {
                editor.last = editor.types(rest);
                editor.update(false)
            }
            "erase" => {
                let (at, length) = rest.split_once(' ').unwrap();
                editor.last = editor.erases(at.parse().unwrap(), length.parse().unwrap());
                editor.update(false)
            }
            "lose" => {
                editor.types(rest);
                return Input::Wake;
            }
            "again" | "copy" => editor.update(false),
            "answer-again" => editor.update(true),
            "rubbish" => {
                editor.last = Bytes::from_static(&[1, 1, 1]);
                editor.update(false)
            }
            "raw" => {
                editor.last = bytes(rest);
                editor.update(false)
            }
            "full" | "answer" => {
                editor.last = editor.state();
                editor.update(verb == "answer")
            }
            "sync" => {
                let state_vector = if rest == "empty" {
                    Bytes::from_static(&[0])
                } else {
                    editor.doc.transact().state_vector().encode_v1().into()
                };
                Request::SyncRequest { session, state_vector }
            }
            "cursor" => Request::Awareness { session, payload: payload(rest) },
            "who" => Request::QueryAwareness { session },
            other => panic!("no such step: {other}"),
        };
        Input::Request { router, request }
    }

    fn editor(&mut self, name: &str) -> &mut Editor {
        let (router, number) = name.strip_prefix('b').map_or((1, name), |number| (2, number));
        let number: u64 = number.parse().unwrap();
        let key = (RouterId::new(router), SessionId::new(number));
        let at = self.editors.iter().position(|editor| editor.key == key).unwrap_or_else(|| {
            let doc = Doc::with_client_id(router * 100 + number);
            let last = Bytes::new();
            let (number, typed) = (MessageNumber::new(0), Vec::new());
            self.editors.push(Editor { key, doc, number, last, typed });
            self.editors.len() - 1
        });
        &mut self.editors[at]
    }

    /// Time passes; the document is woken at each of its deadlines.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..2_000 {
            match self.document.next_deadline().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.document.handle(Input::Wake, self.now);
        }
        assert!(self.document.next_deadline().is_none_or(|at| at > end), "a deadline that stays where it is");
        self.now = end;
    }

    /// The document is loaded again from what is durable.
    fn reopen(&mut self) {
        let id = self.document.id().clone();
        let settings = settings(self.limits.clone());
        let (snapshot, slots) = (self.snapshot.clone(), self.store.clone());
        self.document = Document::open(id, snapshot, slots, self.kept.clone(), settings, self.now).unwrap();
    }

    fn write_down(&mut self, transcript: &mut String) {
        let mut lines = Vec::new();
        while let Some(effect) = self.document.next_effect() {
            lines.push(self.describe(effect));
        }
        if self.document.sealed() != std::mem::replace(&mut self.sealed, self.document.sealed()) {
            lines.push(if self.sealed { "sealed" } else { "unsealed" }.to_owned());
        }
        for same in lines.chunk_by(|a, b| a == b) {
            let times = if same.len() > 1 { format!(" ×{}", same.len()) } else { String::new() };
            writeln!(transcript, "{}{times}", same[0]).unwrap();
        }
    }

    fn describe(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Append { slot, record } => {
                let line = format!("append {slot} in epoch {}: {}", record.epoch, body(&record.body));
                assert!(self.in_flight.replace((slot, record)).is_none(), "two appends in flight");
                line
            }
            Effect::Broadcast { event } => self.describe_event("all", event),
            Effect::Deliver { router, event } => self.describe_event(&format!("router {router}"), event),
            Effect::Compact { through } => format!("compact through {through}"),
            Effect::ReadTail { after } => format!("read the tail after {after}"),
            Effect::StoreWentBackwards { found, snapshot } => {
                let text = text_of(&snapshot.state);
                format!("store went back to {found}: snapshot through {} {text:?}", snapshot.upto)
            }
            Effect::Imported { ticket, outcome: Ok(slot) } => format!("imported {ticket} in {slot}"),
            Effect::Imported { ticket, outcome: Err(why) } => format!("not imported {ticket}: {why}"),
            Effect::Exported { ticket, through, state } => {
                format!("exported {ticket} through {through}: {:?}", text_of(&state))
            }
            Effect::Count(count) => format!("count {count:?}"),
            Effect::Forget => "forget".to_owned(),
            Effect::Fenced { .. } => "fenced".to_owned(),
            Effect::Reload => "reload".to_owned(),
            Effect::KeepRemainder { id, update } => {
                let line = format!("keep {} bytes", update.len());
                self.kept.push(Kept { id, update, since: self.now });
                self.keeping.push(id);
                line
            }
            Effect::DropRemainder { id } => {
                self.kept.retain(|kept| kept.id != id);
                "keep it no longer".to_owned()
            }
            Effect::RemainderExpired { bytes } => format!("{bytes} bytes were kept for too long"),
            Effect::LeftBehind { session, why, .. } => format!("left behind by {session}: {}", why.word()),
        }
    }

    fn describe_event(&mut self, to: &str, event: Event) -> String {
        let what = match event {
            Event::Attached { session, slot } => format!("attached {session} at {slot}"),
            Event::Publish { previous, slot, updates } => {
                let mut transaction = self.published.transact_mut();
                for update in updates.iter() {
                    transaction.apply_update(Update::decode_v1(update).unwrap()).unwrap();
                }
                drop(transaction);
                let count = updates.len();
                format!("publish {slot} after {previous}: {count} → {:?}", text(&self.published))
            }
            Event::Awareness { only, payload } => {
                let only = only.map_or(String::new(), |session| format!(" only {session}"));
                format!("awareness{only}: {}", presence(&payload))
            }
            Event::SyncAnswer { sessions, through, update } => {
                let sessions: Vec<u64> = sessions.iter().map(|session| session.get()).collect();
                format!("answer to {sessions:?} through {through}: {}", content(&update))
            }
            Event::SyncRequest { session, .. } => format!("ask {session}"),
            Event::Acknowledge { session, through } => format!("acknowledge {session} through {through}"),
            Event::Refused { session, number } => format!("refused {session} number {number}"),
            Event::CaughtUp { from, through, update } => {
                format!("caught up from {from} through {through}: {}", content(&update))
            }
            Event::CloseSession { session, reason } => format!("close {session}: {}", reason.text()),
            Event::Closed { reason } => format!("closed: {}", reason.text()),
            Event::LetGo => "let go".to_owned(),
            Event::Moved { owner, .. } => format!("moved to {owner}"),
        };
        format!("{to}: {what}")
    }
}

impl Editor {
    fn types(&mut self, what: &str) -> Bytes {
        let root = self.doc.get_or_insert_text("t");
        let mut transaction = self.doc.transact_mut();
        root.push(&mut transaction, what);
        let update: Bytes = transaction.encode_update_v1().into();
        self.typed.push((what.to_owned(), update.clone()));
        update
    }

    fn erases(&mut self, at: u32, length: u32) -> Bytes {
        let root = self.doc.get_or_insert_text("t");
        let mut transaction = self.doc.transact_mut();
        root.remove_range(&mut transaction, at, length);
        transaction.encode_update_v1().into()
    }

    fn update(&mut self, answer: bool) -> Request {
        self.number = self.number.next();
        Request::Update { session: self.key.1, number: self.number, answer, update: self.last.clone() }
    }

    fn state(&self) -> Bytes {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default()).into()
    }
}
