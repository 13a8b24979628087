//! The world: virtual time, what is going to happen, and who is in it.
//!
//! Everything that happens is an entry of one queue, ordered by its time. An entry for a process is dropped when that has
//! crashed since, and waits while it is paused, as bytes in its sockets would.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringleaf_store::MemoryStore;
use ringleaf_types::{DocumentId, Limits};

use crate::editor::{Editor, LastWords};
use crate::etcd::Etcd;
use crate::facts::Facts;
use crate::network::Network;
use crate::node::Node;
use crate::random::Random;
use crate::router::Router;
use crate::scenario::Scenario;
use crate::strike::{Armed, Step};
use crate::trace::Trace;

/// Something that can be cut off from something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Node(usize),
    Router(usize),
    Editor(usize),
    Etcd,
    Log,
}

type Act = Box<dyn FnOnce(&mut World)>;

pub(crate) struct Entry {
    at: Duration,
    /// Entries of one moment happen in the order in which they were made.
    number: u64,
    place: Place,
    run: u32,
    act: Act,
}

/// How a process is.
#[derive(Default)]
pub(crate) struct Life {
    /// Counts its runs.
    pub(crate) run: u32,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    /// What waits for the end of the pause.
    waiting: Vec<Entry>,
}

pub(crate) struct World {
    pub(crate) base: Instant,
    pub(crate) at: Duration,
    entries: BinaryHeap<Reverse<Entry>>,
    numbers: u64,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) scenario: Scenario,
    pub(crate) limits: Arc<Limits>,
    pub(crate) documents: Vec<DocumentId>,
    pub(crate) network: Network,
    pub(crate) store: MemoryStore,
    pub(crate) etcd: Etcd,
    pub(crate) nodes: Vec<Node>,
    pub(crate) routers: Vec<Router>,
    pub(crate) editors: Vec<Editor>,
    /// What must always hold, and what is needed to tell.
    pub(crate) facts: BTreeMap<DocumentId, Facts>,
    pub(crate) counts: Counts,
    /// No faults any more.
    pub(crate) healed: bool,
    /// What editors typed last before they left for good.
    pub(crate) last_words: Vec<LastWords>,
    /// And all that follows from them is over.
    pub(crate) healthy: bool,
    /// How far the last handoff of each document came.
    pub(crate) stepped: BTreeMap<DocumentId, Step>,
    /// Nothing goes wrong: nobody may be seen to leave.
    pub(crate) nobody_leaves: bool,
    /// Editors write nothing of themselves …
    pub(crate) quiet: bool,
    /// … until a handoff is so far.
    pub(crate) edits_at: Option<Step>,
    /// What is to hit the next one.
    pub(crate) armed: Option<Armed>,
}

/// What a run had in it, so that one knows that it was worth something.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) edits: u64,
    pub(crate) acknowledged: u64,
    pub(crate) claims: u64,
    pub(crate) fenced: u64,
    pub(crate) late: u64,
    pub(crate) crashes: u64,
    pub(crate) pauses: u64,
    pub(crate) cuts: u64,
    pub(crate) resent: u64,
    pub(crate) caught_up: u64,
    pub(crate) behind: u64,
    pub(crate) snapshots: u64,
    pub(crate) views: u64,
    pub(crate) converged_after: Duration,
    // Handoffs: begun, and what became of them; steps that were reached, at which one failed, and what hit them there.
    pub(crate) offered: u64,
    pub(crate) moved: u64,
    pub(crate) busy: u64,
    pub(crate) let_go: u64,
    pub(crate) steps: [u64; 8],
    pub(crate) failed: [u64; 8],
    pub(crate) killed: [u64; 8],
    pub(crate) severed: [u64; 8],
}

impl World {
    pub(crate) fn new(seed: u64, loud: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::draw(&mut random);
        Self::with(scenario, random, loud)
    }

    pub(crate) fn with(scenario: Scenario, random: Random, loud: bool) -> Self {
        let limits = Limits {
            tail_slots_max: scenario.tail_slots_max,
            idle_timeout: Duration::from_secs(8),
            compaction_idle_timeout: Duration::from_secs(5),
            ..Limits::default()
        };
        let documents: Vec<DocumentId> = (0..scenario.documents)
            .map(|number| format!("document {number}").parse().expect("a name"))
            .collect();
        Self {
            base: Instant::now(),
            at: Duration::ZERO,
            entries: BinaryHeap::new(),
            numbers: 0,
            random,
            trace: Trace::new(loud),
            limits: Arc::new(limits),
            network: Network::default(),
            // Nothing is kept for those who resume: the harder case.
            store: MemoryStore::with_retention(Duration::ZERO),
            etcd: Etcd::new(),
            nodes: (0..scenario.nodes).map(Node::new).collect(),
            routers: (0..scenario.routers).map(Router::new).collect(),
            editors: Vec::new(),
            facts: documents.iter().map(|document| (document.clone(), Facts::default())).collect(),
            documents,
            scenario,
            counts: Counts::default(),
            healed: false,
            last_words: Vec::new(),
            healthy: false,
            stepped: BTreeMap::new(),
            nobody_leaves: false,
            quiet: false,
            edits_at: None,
            armed: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.base + self.at
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.at, what);
    }

    /// Something happens at a place after a while, in the run that the place is in now.
    pub(crate) fn after(&mut self, place: Place, wait: Duration, act: impl FnOnce(&mut World) + 'static) {
        let run = self.run_of(place);
        self.after_in(place, run, wait, act);
    }

    /// The same, in a run that may be over by now.
    pub(crate) fn after_in(
        &mut self,
        place: Place,
        run: u32,
        wait: Duration,
        act: impl FnOnce(&mut World) + 'static,
    ) {
        self.numbers += 1;
        let entry = Entry { at: self.at + wait, number: self.numbers, place, run, act: Box::new(act) };
        self.entries.push(Reverse(entry));
    }

    pub(crate) fn life(&self, place: Place) -> Option<&Life> {
        match place {
            Place::Node(node) => Some(&self.nodes[node].life),
            Place::Router(router) => Some(&self.routers[router].life),
            Place::Editor(_) | Place::Etcd | Place::Log => None,
        }
    }

    pub(crate) fn life_mut(&mut self, place: Place) -> Option<&mut Life> {
        match place {
            Place::Node(node) => Some(&mut self.nodes[node].life),
            Place::Router(router) => Some(&mut self.routers[router].life),
            Place::Editor(_) | Place::Etcd | Place::Log => None,
        }
    }

    pub(crate) fn run_of(&self, place: Place) -> u32 {
        self.life(place).map_or(0, |life| life.run)
    }

    /// Whether this run of the process is still going on.
    pub(crate) fn lives(&self, place: Place, run: u32) -> bool {
        self.life(place).is_none_or(|life| life.up && life.run == run)
    }

    /// Whether a process would answer at once.
    pub(crate) fn answers(&self, place: Place) -> bool {
        self.life(place).is_none_or(|life| life.up && !life.paused)
    }

    /// Lets everything happen until then.
    pub(crate) fn run_until(&mut self, until: Duration) {
        while self.entries.peek().is_some_and(|Reverse(entry)| entry.at <= until) {
            let Some(Reverse(entry)) = self.entries.pop() else { break };
            self.at = entry.at;
            self.happen(entry);
        }
        self.at = until;
    }

    fn happen(&mut self, entry: Entry) {
        if !self.lives(entry.place, entry.run) {
            return;
        }
        if let Some(life) = self.life_mut(entry.place)
            && life.paused
        {
            life.waiting.push(entry);
            return;
        }
        (entry.act)(self);
    }

    /// A process goes on. What has come for it meanwhile happens now, in order.
    pub(crate) fn resume(&mut self, place: Place) {
        let Some(life) = self.life_mut(place) else { return };
        life.paused = false;
        for entry in std::mem::take(&mut life.waiting) {
            self.happen(entry);
        }
    }

    /// A process loses everything that it had in memory.
    pub(crate) fn end_life(&mut self, place: Place) {
        if let Some(life) = self.life_mut(place) {
            (life.up, life.paused) = (false, false);
            life.waiting.clear();
        }
    }

    pub(crate) fn facts(&mut self, document: &DocumentId) -> &mut Facts {
        self.facts.get_mut(document).expect("every document has its facts")
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
