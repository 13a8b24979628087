//! A model editor behind a socket that takes what it likes, and a model owner that may go away at any moment.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use ringleaf_types::{MessageNumber, Rights, SessionId, Subject};
use ringleaf_wire::{ClientMessage, Request};

use super::super::Framed;
use super::*;

/// Everything that is sent is made of these: from which slot, through which, of which log, and what else.
const FRAME: usize = 18;

fn frame(kind: u8, era: u8, from: u64, through: u64) -> Vec<u8> {
    [&[kind, era][..], &from.to_be_bytes(), &through.to_be_bytes()].concat()
}

/// A socket with a buffer.
#[derive(Default)]
struct Socket {
    room: Cell<usize>,
    taken: RefCell<Vec<u8>>,
}

impl Pipe for Socket {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wrote = 0;
        for slice in slices {
            let take = slice.len().min(self.room.get());
            self.taken.borrow_mut().extend(&slice[..take]);
            self.room.set(self.room.get() - take);
            wrote += take;
        }
        if wrote == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(wrote) }
    }
}

#[derive(Debug, Clone)]
enum Said {
    Attached(u64),
    Published(u64),
    Presence,
    Answer(u64),
    CaughtUp { from: u64, through: u64 },
    Acknowledged(MessageNumber),
}

struct World {
    state: State,
    socket: Socket,
    limits: Limits,
    now: Instant,
    /// The newest slot, for all owners there ever were.
    slots: u64,
    /// What was ever the log: its slots, each with what it alone holds. The store has lost the end of all but the last.
    logs: Vec<Vec<u64>>,
    contents: u64,
    attached: bool,
    /// What the owner has said and the session has not heard.
    said: VecDeque<Said>,
    /// What the editor has sent, and what an owner has made durable.
    sent: Vec<u32>,
    durable: BTreeSet<u32>,
    /// What the present owner has taken and not acknowledged.
    pending: Vec<(MessageNumber, u32)>,
    last_number: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Presence,
    Hear,
    /// What concerns this session alone overtakes what is for all.
    HearOwn,
    /// What is for all overtakes what concerns this session alone: it came between two looks into the inbox.
    HearPublished,
    Overrun,
    Bring,
    SocketTakes(usize),
    EditorSends,
    EditorAsks,
    Commit,
    OwnerLost,
    /// With the owner the store has lost so many slots: a replica was promoted, or a backup restored.
    SlotsLost(u64),
}

impl World {
    fn new(slots: u64) -> Self {
        let now = Instant::now();
        let session = Session::new(SessionId::new(1), Rights::ReadWrite, Subject::anyone());
        let limits = Limits { outbox_frames_max: 3, outbox_bytes_max: 6 * FRAME, ..Limits::default() };
        let mut world = Self {
            state: State::new(session, now),
            socket: Socket::default(),
            limits,
            now,
            slots,
            logs: vec![(1..=slots).collect()],
            contents: slots,
            attached: false,
            said: VecDeque::new(),
            sent: Vec::new(),
            durable: BTreeSet::new(),
            pending: Vec::new(),
            last_number: 0,
        };
        world.take(ClientMessage::SyncRequest { state_vector: Bytes::from_static(&[0]) });
        world
    }

    fn take(&mut self, message: ClientMessage) {
        self.state.session.take(message, &self.limits);
    }

    fn say(&mut self, said: Said) {
        if self.attached {
            self.said.push_back(said);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish => {
                self.slots += 1;
                self.contents += 1;
                self.logs.last_mut().unwrap().push(self.contents);
                self.say(Said::Published(self.slots));
            }
            Step::Presence => self.say(Said::Presence),
            Step::Hear => self.hear(),
            Step::HearOwn => self.hear_first(false),
            Step::HearPublished => self.hear_first(true),
            Step::Overrun => {
                self.said.retain(|said| !matches!(said, Said::Published(_) | Said::Presence));
                // The inbox hands on everything else before it says that something was dropped.
                while !self.said.is_empty() {
                    self.hear();
                }
                self.state.session.missed();
                self.state.session.missed_awareness();
            }
            Step::Bring => drop(self.bring()),
            Step::SocketTakes(bytes) => {
                self.socket.room.set(bytes);
                self.state.flush(&self.socket, self.now);
            }
            Step::EditorSends => {
                let update = self.sent.len() as u32;
                self.sent.push(update);
                self.take(ClientMessage::Update { update: update.to_be_bytes().to_vec().into() });
            }
            Step::EditorAsks => {
                if self.state.session.may_take(&self.limits) {
                    self.take(ClientMessage::SyncRequest { state_vector: Bytes::from_static(&[0]) });
                }
            }
            Step::Commit => self.commit(),
            Step::SlotsLost(lost) => {
                let mut log = self.logs.last().unwrap().clone();
                log.truncate(log.len().saturating_sub(lost as usize));
                self.slots = log.len() as u64;
                self.logs.push(log);
                self.step(Step::OwnerLost);
                // Before the next owner has written as many again: that it could not tell.
                self.bring();
                self.hear();
            }
            Step::OwnerLost => {
                self.attached = false;
                self.said.clear();
                self.pending.clear();
                self.state.session.lost();
            }
        }
    }

    fn hear_first(&mut self, published: bool) {
        let wanted = |said: &Said| matches!(said, Said::Published(_) | Said::Presence) == published;
        if let Some(said) = self.said.iter().position(wanted).and_then(|at| self.said.remove(at)) {
            self.said.push_front(said);
            self.hear();
        }
    }

    /// The owner makes durable what it has taken.
    fn commit(&mut self) {
        for (number, update) in std::mem::take(&mut self.pending) {
            if self.durable.insert(update) {
                self.step(Step::Publish);
            }
            self.say(Said::Acknowledged(number));
        }
    }

    fn hear(&mut self) {
        let Some(said) = self.said.pop_front() else { return };
        let Self { state, socket, limits, now, logs, .. } = self;
        let (slot, era) = (Slot::new, logs.len() as u8 - 1);
        let reply = |state: &mut State, kind, from, through| {
            let bytes = Bytes::from(frame(kind, era, from, through));
            // Now in one piece, now in two.
            let at = if through % 2 == 0 { FRAME } else { 5 };
            let frame = Frame { head: bytes.slice(..at), body: bytes.slice(at..) };
            state.reply(socket, &frame, (kind == b'c').then(|| slot(through)), limits, *now);
        };
        match said {
            Said::Attached(through) => state.session.attached(slot(through)),
            Said::Published(through) => {
                let all = Bytes::from(frame(b'u', era, through - 1, through));
                let round = Round {
                    slots: Some((slot(through - 1), slot(through))),
                    updates: Framed { bytes: all.clone(), frames: 1 },
                    awareness: Framed { bytes: Bytes::new(), frames: 0 },
                    all,
                };
                state.publish(socket, &round, limits, *now);
            }
            Said::Presence => {
                let all = Bytes::from(frame(b'p', era, 0, 0));
                let round = Round {
                    slots: None,
                    updates: Framed { bytes: Bytes::new(), frames: 0 },
                    awareness: Framed { bytes: all.clone(), frames: 1 },
                    all,
                };
                state.publish(socket, &round, limits, *now);
            }
            Said::Answer(through) => {
                if state.session.answered(slot(through)) {
                    reply(state, b'a', 0, through);
                }
            }
            Said::CaughtUp { from, through } => {
                if state.session.caught_up(slot(from), slot(through)) {
                    reply(state, b'c', from, through);
                }
            }
            Said::Acknowledged(through) => drop(state.session.acknowledged(through)),
        }
    }

    /// Brings one request to the owner. False: there is none.
    fn bring(&mut self) -> bool {
        if let Some(request) = self.state.session.next_request() {
            self.state.session.submitted();
            match request {
                Request::Attach { .. } => {
                    self.attached = true;
                    self.last_number = 0;
                    self.say(Said::Attached(self.slots));
                }
                Request::Update { number, update, .. } => {
                    let in_order = self.last_number == 0 || number.get() == self.last_number + 1;
                    assert!(in_order, "numbers of one session rise by one");
                    self.last_number = number.get();
                    let update = u32::from_be_bytes(update[..].try_into().unwrap());
                    self.pending.push((number, update));
                }
                Request::SyncRequest { .. } => self.say(Said::Answer(self.slots)),
                Request::QueryAwareness { .. } => self.say(Said::Presence),
                other => panic!("{other:?}"),
            }
            return true;
        }
        let Some(from) = self.state.session.lacks_after().filter(|_| self.state.drained()) else {
            return false;
        };
        self.state.session.asked_to_catch_up();
        self.say(Said::CaughtUp { from: from.get(), through: self.slots });
        true
    }

    /// Lets everything that is under way come to its end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.step(Step::SocketTakes(usize::MAX));
            if !self.bring() && self.said.is_empty() && self.pending.is_empty() && self.state.drained() {
                return;
            }
            self.commit();
            self.hear();
        }
        panic!("it never settles");
    }

    /// What the editor has, from what its socket took.
    fn editor_has(&self) -> BTreeSet<u64> {
        let taken = self.socket.taken.borrow();
        assert_eq!(taken.len() % FRAME, 0, "only whole frames");
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap()) as usize;
        let contents = |frame: &[u8]| {
            let log = &self.logs[usize::from(frame[1])];
            log[number(&frame[2..10])..number(&frame[10..])].to_vec()
        };
        taken.chunks(FRAME).flat_map(contents).collect()
    }

    fn check(&mut self) {
        self.settle();
        let (has, log) = (self.editor_has(), self.logs.last().unwrap());
        let lacks: Vec<&u64> = log.iter().filter(|content| !has.contains(content)).collect();
        assert!(lacks.is_empty(), "every published slot reached the editor, but for {lacks:?} of {log:?}");
        assert_eq!(self.durable, self.sent.iter().copied().collect(), "everything that it sent is durable");
        assert!(!self.state.session.behind());
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Publish),
        2 => Just(Step::Presence),
        8 => Just(Step::Hear),
        4 => Just(Step::HearOwn),
        2 => Just(Step::HearPublished),
        1 => Just(Step::Overrun),
        6 => Just(Step::Bring),
        4 => (0..80_usize).prop_map(Step::SocketTakes),
        2 => Just(Step::EditorSends),
        1 => Just(Step::EditorAsks),
        3 => Just(Step::Commit),
        1 => Just(Step::OwnerLost),
        1 => (0..6_u64).prop_map(Step::SlotsLost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_loses_an_update(
        slots in 0..5_u64,
        steps in prop_oneof![
            proptest::collection::vec(any_step(), 0..12),
            proptest::collection::vec(any_step(), 0..120),
        ],
    ) {
        let mut world = World::new(slots);
        for step in steps {
            world.step(step);
        }
        world.check();
    }
}

fn run(slots: u64, steps: &[Step]) -> World {
    let mut world = World::new(slots);
    world.settle();
    for &step in steps {
        world.step(step);
    }
    world
}

#[test]
fn a_slow_reader_holds_a_bounded_amount_and_is_caught_up_with_one_message() {
    let mut world = run(3, &[Step::SocketTakes(5)]);
    let before = world.socket.taken.borrow().len();
    for _ in 0..1_000 {
        world.step(Step::Publish);
        world.step(Step::Hear);
        assert!(!world.state.outbox.over(&world.limits));
    }
    assert!(world.state.session.behind());
    world.check();
    let frames = (world.socket.taken.borrow().len() - before) / FRAME;
    assert!(frames < 6, "{frames} frames for a thousand slots");
}

#[test]
fn what_is_partly_written_is_never_dropped() {
    let mut world = run(0, &[Step::SocketTakes(FRAME + 3)]);
    for _ in 0..50 {
        world.step(Step::Publish);
        world.step(Step::Hear);
    }
    world.check();
}

#[test]
fn a_slot_that_overtakes_the_word_that_the_session_is_attached_is_not_lost() {
    let mut world = World::new(3);
    // The owner attaches it, and answers its question, before the slot.
    for step in [Step::Bring, Step::Bring, Step::Publish, Step::HearPublished] {
        world.step(step);
    }
    world.check();
}

#[test]
fn an_owner_that_is_lost_while_it_is_asked_is_asked_again() {
    let mut world = run(3, &[Step::Publish, Step::Overrun, Step::Bring, Step::OwnerLost]);
    assert!(world.state.session.behind());
    world.check();
}

#[test]
fn what_follows_when_the_store_has_lost_slots_with_their_owner_reaches_the_editor() {
    let mut world = run(9, &[Step::SocketTakes(usize::MAX), Step::SlotsLost(4)]);
    for _ in 0..3 {
        world.step(Step::Publish);
    }
    world.check();
    assert_eq!(world.editor_has().last(), Some(&12));
}

#[test]
fn a_slow_reader_does_not_wait_for_slots_that_the_store_has_lost() {
    let mut world = run(3, &[Step::SocketTakes(5)]);
    for _ in 0..9 {
        world.step(Step::Publish);
        world.step(Step::Hear);
    }
    world.step(Step::SlotsLost(8));
    world.check();
}

#[test]
fn what_the_editor_sent_goes_to_the_next_owner_in_order() {
    let steps = [Step::EditorSends, Step::EditorSends, Step::Bring, Step::OwnerLost, Step::EditorSends];
    run(0, &steps).check();
}

#[test]
fn presence_that_was_dropped_is_asked_for_when_the_socket_has_drained() {
    let mut world = run(0, &[Step::SocketTakes(3)]);
    for _ in 0..20 {
        world.step(Step::Presence);
        world.step(Step::Hear);
    }
    let presence =
        |world: &World| world.socket.taken.borrow().chunks(FRAME).filter(|frame| frame[0] == b'p').count();
    assert!(world.state.session.next_request().is_none(), "not before it has drained");
    world.step(Step::SocketTakes(usize::MAX));
    let written = presence(&world);
    assert!(written < 10);
    assert!(matches!(world.state.session.next_request(), Some(Request::QueryAwareness { .. })));
    world.check();
    assert_eq!(presence(&world), written + 1);
}

#[test]
fn neither_a_pong_nor_a_ping_is_a_sign_of_life() {
    let limits = Limits::default();
    let tick = limits.keepalive_interval / 4;
    let mut world = run(0, &[Step::SocketTakes(usize::MAX)]);
    let start = world.now;
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    world.state.heard(at(14));
    let pong = Bytes::from_static(&[0x8a, 0]);
    assert_eq!(world.state.send(&world.socket, &pong, 1, Contents::Control, &limits, at(14)), Sent::Fine);
    assert_eq!(world.state.due(tick, &limits, at(15)), Due::SignOfLife, "nothing that a page sees was sent");
    let keepalive = Bytes::from_static(&[0x82, 3, 1, 1, 0]);
    let reply = Contents::Reply { through: None };
    assert_eq!(world.state.send(&world.socket, &keepalive, 1, reply, &limits, at(15)), Sent::Fine);
    assert_eq!(world.state.due(tick, &limits, at(25)), Due::Nothing);
    // Whoever must be asked whether it lives is told something, too: a ping alone would put off what a page sees.
    assert_eq!(world.state.due(tick, &limits, at(29)), Due::SignOfLifeAndPing);
}

#[test]
fn time_asks_for_signs_of_life_pings_and_in_the_end_a_close() {
    let limits = Limits::default();
    let tick = limits.keepalive_interval / 4;
    let mut world = run(0, &[Step::SocketTakes(usize::MAX)]);
    let start = world.now;
    let due = |state: &State, seconds: u64| state.due(tick, &limits, start + Duration::from_secs(seconds));
    assert_eq!(due(&world.state, 10), Due::Nothing);
    assert_eq!(due(&world.state, 15), Due::SignOfLifeAndPing, "the next look comes at 20 s");
    world.state.heard(start + Duration::from_secs(14));
    assert_eq!(due(&world.state, 15), Due::SignOfLife);
    world.state.heard(start);
    assert_eq!(due(&world.state, 40), Due::SignOfLifeAndPing);
    assert_eq!(due(&world.state, 41), Due::Close(CloseReason::Dead), "the next look comes at 46 s");
    world.state.reads(false, start);
    assert_eq!(due(&world.state, 45), Due::SignOfLife, "whoever is not read cannot be heard");
    world.state.reads(true, start + Duration::from_secs(40));
    assert_eq!(due(&world.state, 45), Due::SignOfLife);
    world.socket.room.set(0);
    world.step(Step::Publish);
    world.step(Step::Hear);
    assert_eq!(due(&world.state, 44), Due::Nothing, "something waits already");
    assert_eq!(due(&world.state, 45), Due::Close(CloseReason::SlowConsumer));
}

#[test]
fn the_sleep_of_this_process_is_nobodys_silence() {
    let limits = Limits::default();
    let tick = limits.keepalive_interval / 4;
    let mut world = run(0, &[Step::SocketTakes(usize::MAX)]);
    let start = world.now;
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    world.state.heard(at(10));
    world.state.slept(Duration::from_secs(60), at(75));
    assert_eq!(world.state.due(tick, &limits, at(75)), Due::SignOfLife, "it has heard nothing for long");
    assert_eq!(world.state.due(tick, &limits, at(85)), Due::SignOfLifeAndPing);
    assert_eq!(
        world.state.due(tick, &limits, at(111)),
        Due::Close(CloseReason::Dead),
        "it has its full time"
    );
    // What was heard after the process woke is not in the future.
    world.state.heard(at(115));
    world.state.slept(Duration::from_secs(60), at(116));
    assert_eq!(world.state.due(tick, &limits, at(131)), Due::SignOfLifeAndPing);
    // The socket may have room again, and nobody has looked yet.
    world.socket.room.set(0);
    world.now = at(116);
    world.step(Step::Publish);
    world.step(Step::Hear);
    world.state.slept(Duration::from_secs(60), at(180));
    assert_eq!(world.state.due(tick, &limits, at(180)), Due::Nothing);
    assert_eq!(world.state.due(tick, &limits, at(221)), Due::Close(CloseReason::SlowConsumer));
}

#[test]
fn after_a_close_nothing_is_sent() {
    let mut world = run(0, &[Step::SocketTakes(usize::MAX)]);
    assert!(world.state.close(&world.socket, CloseReason::ServiceRestart, &world.limits, world.now));
    assert!(!world.state.close(&world.socket, CloseReason::Dead, &world.limits, world.now));
    let before = world.socket.taken.borrow().len();
    world.step(Step::Publish);
    world.step(Step::Hear);
    assert_eq!(world.socket.taken.borrow().len(), before);
}
