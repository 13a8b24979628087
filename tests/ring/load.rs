//! Editors that type at a steady pace whatever breaks, and what is counted of them.
//!
//! An update counts as acknowledged when its own editor gets it back, or the server says in a state vector that it has it:
//! both are durable by then (I4).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::yjs::{self, Frame};
use harness::{Cluster, Event, Socket};

use crate::timeline::Timeline;

/// Who edits each document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Beside one who only reads.
    pub(crate) writers: usize,
    /// Between two updates of one editor.
    pub(crate) pace: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self { writers: 2, pace: Duration::from_millis(20) }
    }
}

/// For so long it is known of each update when it was acknowledged; of older ones only how many there were.
const REMEMBERED: Duration = Duration::from_secs(180);
/// After the last update everything is acknowledged within so long (I5, and a machine that is busy).
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// No two who type are the same Yjs client, whatever load they belong to.
static NEXT_CLIENT: AtomicU64 = AtomicU64::new(1);

/// One update on its way.
#[derive(Debug, Clone, Copy)]
struct Typed {
    sent_at: Instant,
    acknowledged_at: Instant,
}

#[derive(Debug)]
struct Counted {
    timeline: Timeline,
    /// Per document, in the order of their acknowledgement.
    typed: BTreeMap<String, VecDeque<Typed>>,
    /// Per document and Yjs client, the clock up to which somebody was shown or told that it is there.
    shown: BTreeMap<(String, u64), u64>,
    /// Per document, how much each of its editors was shown of it.
    held: BTreeMap<String, BTreeMap<usize, u64>>,
}

impl Counted {
    /// Whether all who have it open were shown all that anyone was shown.
    fn all_equal(&self, document: &str) -> bool {
        let shown = self.shown.iter().filter(|((name, _), _)| name == document);
        let shown: u64 = shown.map(|(_, clock)| clock).sum();
        self.held.get(document).is_some_and(|editors| editors.values().all(|held| *held == shown))
    }

    fn acknowledged(&mut self, document: &str, acknowledged: Vec<Typed>) {
        let typed = self.typed.entry(document.to_owned()).or_default();
        for one in acknowledged {
            self.timeline.add(one.acknowledged_at, one.acknowledged_at - one.sent_at);
            typed.push_back(one);
        }
        while typed.front().is_some_and(|oldest| oldest.acknowledged_at.elapsed() > REMEMBERED) {
            typed.pop_front();
        }
    }

    fn show(&mut self, document: &str, clocks: &BTreeMap<u64, u64>) {
        for (client, clock) in clocks {
            let known = self.shown.entry((document.to_owned(), *client)).or_default();
            *known = (*clock).max(*known);
        }
    }
}

/// A socket that ended though nobody here ended it. Milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) address: SocketAddr,
    /// Somebody began to open it.
    pub(crate) opened: u64,
    pub(crate) closed: u64,
}

/// A router was ended: from the order to do so until its process was gone. Milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct OwnEnd {
    pub(crate) router: String,
    pub(crate) address: SocketAddr,
    pub(crate) begun: u64,
    pub(crate) over: u64,
}

impl OwnEnd {
    /// Whether the socket ended with the process that had it.
    pub(crate) fn explains(&self, ended: &Ended) -> bool {
        self.address == ended.address && ended.opened <= self.over && ended.closed >= self.begun
    }
}

pub(crate) fn epoch_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    now.as_millis() as u64
}

#[derive(Debug)]
struct Shared {
    counted: Mutex<Counted>,
    stop: AtomicBool,
    /// Nobody types, but all are there.
    quiet: AtomicBool,
    /// How often editors were told to go where they were first.
    sent_home: AtomicUsize,
    /// Editors whose socket is open, and has told them something.
    attached: AtomicUsize,
    ended: Mutex<Vec<Ended>>,
    /// Updates that were typed.
    typed: AtomicU64,
}

/// Editors at work.
pub(crate) struct Load {
    documents: Vec<String>,
    clients: BTreeSet<u64>,
    shared: Arc<Shared>,
    editors: Vec<JoinHandle<()>>,
}

/// What all of it came to.
pub(crate) struct Outcome {
    pub(crate) documents: Vec<String>,
    pub(crate) acknowledged: u64,
    pub(crate) closed: usize,
    /// Each of them.
    pub(crate) ended: Vec<Ended>,
    clients: BTreeSet<u64>,
    counted: Counted,
}

impl Load {
    /// Two who type and one who reads for each document, spread over the addresses.
    pub(crate) fn start(addresses: &[SocketAddr], documents: &[&str]) -> Self {
        let documents = documents.iter().map(|document| (*document).to_owned()).collect();
        Self::start_with(addresses, documents, Shape::default())
    }

    /// So many who type and one who reads for each document, spread over the addresses.
    pub(crate) fn start_with(addresses: &[SocketAddr], documents: Vec<String>, shape: Shape) -> Self {
        let shared = Arc::new(Shared {
            counted: Mutex::new(Counted {
                timeline: Timeline::new(Instant::now()),
                typed: BTreeMap::new(),
                shown: BTreeMap::new(),
                held: BTreeMap::new(),
            }),
            stop: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            sent_home: AtomicUsize::new(0),
            attached: AtomicUsize::new(0),
            ended: Mutex::new(Vec::new()),
            typed: AtomicU64::new(0),
        });
        let (mut editors, mut clients) = (Vec::new(), BTreeSet::new());
        for (number, document) in documents.iter().enumerate() {
            for place in 0..=shape.writers {
                let shared = Arc::clone(&shared);
                let mut addresses = addresses.to_vec();
                let first = (number + place) % addresses.len();
                addresses.rotate_left(first);
                let document = document.clone();
                let held = BTreeMap::new();
                let mut editor = Editor {
                    document,
                    place,
                    addresses,
                    shared,
                    pace: shape.pace,
                    opened: 0,
                    sent_home: 0,
                    line: None,
                    held,
                };
                if place < shape.writers {
                    let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
                    clients.insert(client);
                    editors.push(thread::spawn(move || editor.write(client)));
                } else {
                    editors.push(thread::spawn(move || editor.read()));
                }
            }
        }
        Self { documents, clients, shared, editors }
    }

    pub(crate) fn documents(&self) -> &[String] {
        &self.documents
    }

    /// Sockets that ended so far.
    pub(crate) fn closed(&self) -> usize {
        self.shared.ended.lock().unwrap().len()
    }

    /// Each of them.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.shared.ended.lock().unwrap().clone()
    }

    /// Everybody goes back to the address where they were first, as when a balancer spreads them again.
    pub(crate) fn send_home(&self) {
        self.shared.sent_home.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until every editor has a socket on which the server has said something.
    pub(crate) fn wait_attached(&self, within: Duration) {
        harness::wait_for("all editors have come back", within, || {
            (self.shared.attached.load(Ordering::Relaxed) == self.editors.len()).then_some(())
        });
    }

    /// Updates that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.counted.lock().unwrap().timeline.count()
    }

    /// How long acknowledgements took so far.
    pub(crate) fn timeline(&self) -> Timeline {
        self.shared.counted.lock().unwrap().timeline.clone()
    }

    pub(crate) fn begun_at(&self) -> Instant {
        self.shared.counted.lock().unwrap().timeline.begun_at()
    }

    /// Nobody types, until they are told to go on. What they have typed may still be on its way.
    pub(crate) fn keep_quiet(&self, quiet: bool) {
        self.shared.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Waits until every document has acknowledged something that was typed from now on.
    pub(crate) fn wait_acknowledging(&self, within: Duration) {
        let since = Instant::now();
        for document in &self.documents {
            harness::wait_for(&format!("{document} acknowledges"), within, || self.pause(document, since));
        }
    }

    /// How long after that moment something was acknowledged that was typed after it.
    pub(crate) fn pause(&self, document: &str, since: Instant) -> Option<Duration> {
        let counted = self.shared.counted.lock().unwrap();
        // The newest are at the end, and few of them are younger than what one asks for.
        let typed = counted.typed.get(document)?;
        let young = typed.iter().rev().take_while(|typed| typed.acknowledged_at >= since);
        let first = young.filter(|typed| typed.sent_at >= since).map(|typed| typed.acknowledged_at).min()?;
        Some(first - since)
    }

    /// Waits until all editors of each document hold the same. Nobody may type meanwhile.
    pub(crate) fn wait_equal(&self, within: Duration) {
        harness::wait_for("all that was typed is acknowledged", within, || {
            (self.acknowledged() == self.shared.typed.load(Ordering::Relaxed)).then_some(())
        });
        for document in &self.documents {
            harness::wait_for(&format!("all editors of {document} hold the same"), within, || {
                self.shared.counted.lock().unwrap().all_equal(document).then_some(())
            });
        }
    }

    /// Nobody types any more; returns when everything is acknowledged.
    pub(crate) fn finish(mut self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        for editor in self.editors.drain(..) {
            // What an editor has to say it has said.
            assert!(editor.join().is_ok(), "an editor gave up");
        }
        let shared = Arc::into_inner(self.shared).expect("all editors have ended");
        let counted = shared.counted.into_inner().unwrap();
        let Self { documents, clients, .. } = self;
        let own = counted.shown.iter().filter(|((_, client), _)| clients.contains(client));
        let acknowledged = own.map(|(_, clock)| clock).sum();
        let ended = shared.ended.into_inner().unwrap();
        Outcome { documents, acknowledged, closed: ended.len(), ended, clients, counted }
    }
}

struct Editor {
    document: String,
    /// Among the editors of the document.
    place: usize,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    pace: Duration,
    opened: usize,
    /// So often it did.
    sent_home: usize,
    line: Option<Line>,
    /// What it was shown.
    held: BTreeMap<u64, u64>,
}

/// What is known of an editor's socket.
#[derive(Debug, Clone, Copy)]
struct Line {
    address: SocketAddr,
    opened: u64,
    attached: bool,
}

impl Editor {
    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Takes down what it was shown or told.
    fn show(&mut self, counted: &mut Counted, clocks: &BTreeMap<u64, u64>, content: bool) {
        counted.show(&self.document, clocks);
        if content {
            for (client, clock) in clocks {
                let known = self.held.entry(*client).or_default();
                *known = (*clock).max(*known);
            }
        }
        let held = self.held.values().sum();
        counted.held.entry(self.document.clone()).or_default().insert(self.place, held);
    }

    /// The next address that answers. Asks there for what it does not hold yet.
    fn connect(&mut self) -> Socket {
        let path = format!("/{}", self.document);
        let mut socket = self.reach(&path);
        // Whoever waits for something hears from the socket itself that it has ended.
        let _ = socket.send(&yjs::step1_frame(&self.held));
        socket
    }

    fn reach(&mut self, path: &str) -> Socket {
        harness::wait_for("somebody takes editors", SETTLE_TIMEOUT, || {
            let address = self.addresses[self.opened % self.addresses.len()];
            self.opened += 1;
            self.line = Some(Line { address, opened: epoch_millis(), attached: false });
            Socket::reach(address, path)
        })
    }

    /// Once for each socket that the server has said something on.
    fn attached(&mut self) {
        if let Some(line) = &mut self.line
            && !std::mem::replace(&mut line.attached, true)
        {
            self.shared.attached.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lost(&mut self, by_itself: bool) {
        let Some(Line { address, opened, attached }) = self.line.take() else { return };
        if attached {
            self.shared.attached.fetch_sub(1, Ordering::Relaxed);
        }
        if by_itself {
            let ended = Ended { address, opened, closed: epoch_millis() };
            self.shared.ended.lock().unwrap().push(ended);
        }
    }

    /// Whether it was told to go to another address than where it is; then it has left.
    fn goes_home(&mut self) -> bool {
        let sent_home = self.shared.sent_home.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.sent_home, sent_home) == sent_home {
            return false;
        }
        let away = self.line.is_some_and(|line| line.address != self.addresses[0]);
        if away {
            self.opened = 0;
            self.lost(false);
        }
        away
    }

    /// Types, and after a lost connection sends again what was not acknowledged, as every client does.
    fn write(&mut self, client: u64) {
        let mut pen = Pen { client, typed: 0, acknowledged: 0, waiting: VecDeque::new() };
        let mut stopped_at = None;
        'connections: loop {
            let mut socket = self.connect();
            let mut alive = pen.send_again(&mut socket);
            while alive {
                if self.stopped() {
                    if pen.acknowledged == pen.typed {
                        return;
                    }
                    let waits_since = *stopped_at.get_or_insert_with(Instant::now);
                    assert!(waits_since.elapsed() < SETTLE_TIMEOUT, "{}: {pen:?}", self.document);
                } else if !self.shared.quiet.load(Ordering::Relaxed) {
                    self.shared.typed.fetch_add(1, Ordering::Relaxed);
                    alive = pen.type_one(&mut socket);
                }
                alive &= self.listen(&mut socket, &mut pen) && !self.goes_home();
            }
            if self.stopped() && pen.acknowledged == pen.typed {
                break 'connections;
            }
        }
    }

    /// Takes what comes until the next update is due; false when the socket has ended.
    fn listen(&mut self, socket: &mut Socket, pen: &mut Pen) -> bool {
        let until = Instant::now() + self.pace;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match socket.receive(left) {
                Event::Message(message) => {
                    self.attached();
                    let clocks = clocks(&message);
                    let told = clocks.get(&pen.client).copied().unwrap_or_default();
                    let acknowledged = pen.acknowledge(told);
                    if asks(&message) && pen.answer(told, socket).is_err() {
                        continue;
                    }
                    let shared = Arc::clone(&self.shared);
                    let mut counted = shared.counted.lock().unwrap();
                    self.show(&mut counted, &clocks, !asks(&message));
                    counted.acknowledged(&self.document, acknowledged);
                }
                Event::Silence => return true,
                Event::Closed { .. } | Event::Ended => {
                    self.lost(true);
                    return false;
                }
            }
        }
    }

    fn read(&mut self) {
        loop {
            let mut socket = self.connect();
            loop {
                match socket.receive(Duration::from_millis(100)) {
                    Event::Message(message) => {
                        self.attached();
                        let shared = Arc::clone(&self.shared);
                        let mut counted = shared.counted.lock().unwrap();
                        self.show(&mut counted, &clocks(&message), !asks(&message));
                    }
                    Event::Silence if self.stopped() => return,
                    Event::Silence => {}
                    Event::Closed { .. } | Event::Ended => {
                        self.lost(true);
                        break;
                    }
                }
                if self.goes_home() {
                    break;
                }
            }
        }
    }
}

fn clocks(message: &[u8]) -> BTreeMap<u64, u64> {
    match yjs::frame(message) {
        Frame::Step2(update) | Frame::Update(update) => yjs::contents(&update).clocks,
        // A promise too: the client will not send that again.
        Frame::Step1(clocks) => clocks,
        Frame::Awareness(_) | Frame::Other(_) => BTreeMap::new(),
    }
}

/// Whether the server says what it has, and wants the rest.
fn asks(message: &[u8]) -> bool {
    matches!(yjs::frame(message), Frame::Step1(_))
}

/// One Yjs client that appends characters.
#[derive(Debug)]
struct Pen {
    client: u64,
    typed: u64,
    acknowledged: u64,
    waiting: VecDeque<Instant>,
}

impl Pen {
    fn type_one(&mut self, socket: &mut Socket) -> bool {
        let update = yjs::typed(self.client, self.typed, "x");
        self.typed += 1;
        self.waiting.push_back(Instant::now());
        socket.send(&yjs::update_frame(&update)).is_ok()
    }

    fn send_again(&self, socket: &mut Socket) -> bool {
        let left = (self.typed - self.acknowledged) as usize;
        if left == 0 {
            return true;
        }
        let update = yjs::typed(self.client, self.acknowledged, &"x".repeat(left));
        socket.send(&yjs::update_frame(&update)).is_ok()
    }

    /// Everything after what the server has, as every client answers: an owner that lacks what another one had taken needs
    /// it for what follows.
    fn answer(&self, told: u64, socket: &mut Socket) -> io::Result<()> {
        if told >= self.typed {
            return Ok(());
        }
        let rest = yjs::typed(self.client, told, &"x".repeat((self.typed - told) as usize));
        socket.send(&yjs::step2_frame(&rest))
    }

    fn acknowledge(&mut self, through: u64) -> Vec<Typed> {
        let count = through.saturating_sub(self.acknowledged);
        assert!(through <= self.typed, "{self:?} is told of more than it typed: {through}");
        self.acknowledged += count;
        let acknowledged_at = Instant::now();
        self.waiting.drain(..count as usize).map(|sent_at| Typed { sent_at, acknowledged_at }).collect()
    }
}

impl Outcome {
    /// The longest that any update waited for its acknowledgement.
    pub(crate) fn slowest(&self) -> Duration {
        self.counted.timeline.slowest()
    }

    /// Compares what was shown with what the store has, for which all nodes have to forget what they know (I1, I5);
    /// returns how many updates are stored.
    pub(crate) fn lost_nothing(&self, cluster: &mut Cluster) -> u64 {
        cluster.forget_everything();
        let audit = self.audit(cluster);
        assert!(audit.problems.is_empty(), "{}", audit.problems.join("\n"));
        audit.kept
    }

    /// Compares what was shown with what the nodes have in memory, or in the store if they have just been started.
    pub(crate) fn audit(&self, cluster: &Cluster) -> Audit {
        let mut audit = Audit::default();
        for document in &self.documents {
            let stored = yjs::contents(&cluster.export(document)).clocks;
            let shown = self.counted.shown.iter().filter(|((name, _), _)| name == document);
            for ((_, client), clock) in shown {
                let stored = stored.get(client).copied().unwrap_or_default();
                if stored < *clock {
                    audit.lost += clock - stored;
                    audit.problems.push(format!(
                        "lost: {document}: {client} was shown up to {clock}, stored is {stored}"
                    ));
                }
                audit.kept += if self.clients.contains(client) { stored } else { 0 };
            }
        }
        audit
    }
}

/// What was shown, beside what is there.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Updates by those who typed.
    pub(crate) kept: u64,
    pub(crate) lost: u64,
    pub(crate) problems: Vec<String>,
}
