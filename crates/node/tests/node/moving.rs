//! Two nodes over one store, and documents that move from one to the other, also when the conversation about it is cut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_coordinator::{Coordinator, CoordinatorStatus, Pacing, RegisterError, Ring};
use ringleaf_node::{Cluster, Moves, Node, NodeConfig};
use ringleaf_peer::{Handoffs, SourceTalk, TargetTalk, in_process};
use ringleaf_ring::{ClusterId, Member, MemberState, RingView, Weight};
use ringleaf_store::MemoryStore;
use ringleaf_types::{GcRules, Incarnation, NodeId, RingVersion, RouterId};
use ringleaf_wire::{Event, OpenError, Opening, Peers, Request, SessionHost};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::editor::{Editor, PATIENCE, SESSION, limits, reader};
use crate::faulty_store::{Fault, FaultyStore};

/// Everybody sees what the test says.
pub(crate) struct Told(pub(crate) watch::Sender<Option<Arc<RingView>>>, pub(crate) Mutex<Pacing>);

#[async_trait::async_trait]
impl Coordinator for Told {
    fn ring(&self) -> Ring {
        self.0.subscribe()
    }

    async fn register(&self, _: Member) -> Result<(), RegisterError> {
        Ok(())
    }

    async fn withdraw(&self) {}

    fn heard(&self, _: RingVersion) {}

    fn pacing(&self) -> Pacing {
        *self.1.lock().unwrap()
    }

    fn status(&self) -> CoordinatorStatus {
        CoordinatorStatus::default()
    }
}

/// The way to the other node. The first conversations end after so many messages.
struct Way {
    to: OnceLock<Weak<Node>>,
    messages_max: usize,
    cuts: usize,
    begun: AtomicUsize,
    /// These do not answer.
    silent: Mutex<Vec<NodeId>>,
}

impl Way {
    fn node(&self) -> Arc<Node> {
        self.to.get().and_then(Weak::upgrade).expect("the other node")
    }
}

impl Peers for Way {
    fn host(&self, _: &NodeId, _: &str) -> Arc<dyn SessionHost> {
        self.node()
    }

    fn alive<'a>(&'a self, node: &'a NodeId, _: &'a str, _: Duration) -> BoxFuture<'a, bool> {
        async { !self.silent.lock().unwrap().contains(node) }.boxed()
    }
}

impl Handoffs for Way {
    fn begin(&self, _: &NodeId, _: &str) -> SourceTalk {
        let ((source, near), (far, target)) = (in_process(), in_process());
        self.node().offered(target);
        let cut = self.begun.fetch_add(1, Ordering::Relaxed) < self.cuts;
        tokio::spawn(pass_on(near, far, if cut { self.messages_max } else { usize::MAX }));
        source
    }
}

async fn pass_on(mut near: TargetTalk, mut far: SourceTalk, messages_max: usize) {
    for _ in 0..messages_max {
        tokio::select! {
            message = near.hear() => match message {
                Some(message) => drop(far.say(message).await),
                None => return,
            },
            message = far.hear() => match message {
                Some(message) => drop(near.say(message).await),
                None => return,
            },
        }
    }
}

pub(crate) struct Pair {
    pub(crate) ring: Arc<Told>,
    pub(crate) from: Arc<Node>,
    pub(crate) to: Arc<Node>,
    /// From the source to the target.
    there: Arc<Way>,
    /// What both write to, and can be slow.
    store: Arc<FaultyStore>,
}

pub(crate) fn view(version: u64, serving: &[&str]) -> Option<Arc<RingView>> {
    view_of(&["from", "to"], version, serving)
}

fn view_of(names: &[&str], version: u64, serving: &[&str]) -> Option<Arc<RingView>> {
    let member = |name: &&str| Member {
        node: name.parse().unwrap(),
        incarnation: Incarnation::new(1),
        state: if serving.contains(name) { MemberState::Serving } else { MemberState::Draining },
        weight: Weight::ONE,
        address: String::new(),
        zone: String::new(),
        version: String::new(),
    };
    let members = names.iter().map(member).collect();
    Some(Arc::new(RingView::new(ClusterId::new(1), RingVersion::new(version), members).unwrap()))
}

/// All conversations end after so many messages.
pub(crate) fn pair(messages_max: usize) -> Pair {
    let ring = told();
    pair_over(&ring, &ring, messages_max, usize::MAX)
}

fn told() -> Arc<Told> {
    Arc::new(Told(watch::Sender::new(view(1, &["from"])), Mutex::default()))
}

/// The source and the target hear of the ring from these. Of the conversations the first `cuts` end after so many messages.
fn pair_over(ring: &Arc<Told>, ring_of_target: &Arc<Told>, messages_max: usize, cuts: usize) -> Pair {
    let store = FaultyStore::over(Arc::new(MemoryStore::new()));
    let way = || {
        let (begun, silent) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Way { to: OnceLock::new(), messages_max, cuts, begun, silent })
    };
    let (there, back) = (way(), way());
    let start = |name: &str, way: &Arc<Way>, ring: &Arc<Told>| {
        let cluster = Cluster { coordinator: ring.clone(), peers: way.clone(), handoffs: way.clone() };
        let limits = Arc::new(limits());
        let (node, incarnation) = (name.parse().unwrap(), Incarnation::new(1));
        let config = NodeConfig { node, incarnation, limits, reader: reader(), gc: GcRules::default() };
        Node::start_in(cluster, config, store.clone())
    };
    let (from, to) = (start("from", &there, ring), start("to", &back, ring_of_target));
    let _ = (there.to.set(Arc::downgrade(&to)), back.to.set(Arc::downgrade(&from)));
    Pair { ring: Arc::clone(ring), from, to, there, store }
}

impl Pair {
    /// An editor of the source has typed, then the ring names the other node. How the editor hears of it.
    async fn moves(&self) -> (Editor, Event) {
        let mut editor = Editor::join(&self.from, "notes", 1).await;
        editor.type_in("before").await;
        editor.all_acknowledged().await;
        let payload = bytes::Bytes::from_static(&[1, 7, 3, 2, b'{', b'}']);
        editor.submit(Request::Awareness { session: SESSION, payload }).await;
        editor.until("its own presence", |event, _| matches!(event, Event::Awareness { .. })).await;
        self.ring.0.send_replace(view(2, &["to"]));
        editor.until("to hear of the move", |_, editor| editor.closed.is_some()).await;
        let event = editor.closed.take().unwrap();
        (editor, event)
    }

    /// Whoever comes to the new owner finds everything, and can write.
    async fn goes_on(&self) {
        // A target that has lost its claim keeps away for the source, unless that has said that it has let go.
        let denied = vec!["from".parse().unwrap()];
        let opening = Opening { denied, ..Opening::new("notes".parse().unwrap(), RouterId::new(2)) };
        let mut other = Editor::open_as(&self.to, opening).await.unwrap();
        other.attach().await;
        other.sync().await;
        other.until_text("before").await;
        other.type_in(" and after").await;
        other.all_acknowledged().await;
        let moves = self.from.drain(PATIENCE).await;
        assert_eq!(moves.left, 0, "the source has nothing left");
    }
}

#[tokio::test]
async fn a_document_moves_with_the_presence_of_its_sessions() {
    let pair = pair(usize::MAX);
    let (_, event) = pair.moves().await;
    let to: NodeId = "to".parse().unwrap();
    assert_eq!(event, Event::Moved { owner: to, ring: RingVersion::new(2) });
    let mut other = Editor::open(&pair.to, "notes", 2).await.unwrap();
    other.attach().await;
    let presence = |event: &Event, _: &Editor| matches!(event, Event::Awareness { only: Some(_), payload } if payload[1] == 7);
    other.until("the presence of who was there before", presence).await;
    drop(other);
    pair.goes_on().await;
    assert_eq!(pair.from.moves(), Moves { moved: 1, forgotten: 0, let_go: 0 });
}

/// Offer, Accept, Warm, Seal, Claimed: wherever it breaks, the document is served again at once, by one node.
#[tokio::test]
async fn a_conversation_that_is_cut_at_any_message_costs_nothing_that_was_acknowledged() {
    for messages_max in 0..5 {
        let pair = pair(messages_max);
        let (_, event) = pair.moves().await;
        assert!(matches!(event, Event::Moved { .. } | Event::LetGo), "{messages_max}: {event:?}");
        timeout(PATIENCE, pair.goes_on()).await.unwrap_or_else(|_| panic!("cut after {messages_max}"));
    }
}

/// The slot in flight stays undecided for longer than a seal may wait: the document is let go of, as without a handoff.
#[tokio::test]
async fn a_slot_in_flight_that_stays_undecided_means_no_seal_and_nothing_is_lost() {
    let pair = pair(usize::MAX);
    let mut editor = Editor::join(&pair.from, "notes", 1).await;
    pair.store.appends(Fault::Hold);
    editor.type_in("before").await;
    pair.ring.0.send_replace(view(2, &["to"]));
    let let_go = async {
        while pair.from.moves().let_go == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, let_go).await.unwrap();
    pair.store.appends(Fault::None);
    editor.all_acknowledged().await;
    editor.until("to hear of the move", |_, editor| editor.closed.is_some()).await;
    assert_eq!(editor.closed, Some(Event::LetGo));
    pair.goes_on().await;
    assert_eq!(pair.from.moves(), Moves { moved: 0, forgotten: 0, let_go: 1 });
}

/// One failure is no reason to have editors look for the new owner by themselves.
#[tokio::test]
async fn a_handoff_that_fails_once_is_tried_again_wherever_it_broke() {
    for messages_max in 0..5 {
        let ring = told();
        let pair = pair_over(&ring, &ring, messages_max, 1);
        let (_, event) = pair.moves().await;
        assert!(matches!(event, Event::Moved { .. }), "{messages_max}: {event:?}");
        timeout(PATIENCE, pair.goes_on()).await.unwrap_or_else(|_| panic!("cut after {messages_max}"));
        assert_eq!(pair.from.moves().let_go, 0, "{messages_max}");
    }
}

/// The target hears of the ring later than the source: nothing is let go of, and the document moves when it has heard.
#[tokio::test]
async fn a_target_that_has_not_heard_of_the_ring_yet_is_asked_again() {
    let (ring, late) = (told(), told());
    let pair = pair_over(&ring, &late, usize::MAX, 0);
    let mut editor = Editor::join(&pair.from, "notes", 1).await;
    editor.type_in("before").await;
    editor.all_acknowledged().await;
    ring.0.send_replace(view(2, &["to"]));
    let asked_again = async {
        while pair.there.begun.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked_again).await.unwrap();
    assert_eq!(pair.from.moves(), Moves::default(), "it is served where it is");
    late.0.send_replace(view(2, &["to"]));
    editor.until("to hear of the move", |_, editor| editor.closed.is_some()).await;
    assert!(matches!(editor.closed, Some(Event::Moved { .. })), "{:?}", editor.closed);
    pair.goes_on().await;
    assert_eq!(pair.from.moves(), Moves { moved: 1, forgotten: 0, let_go: 0 });
}

/// A node that leaves the ring, as one does that alone cannot reach the store, holds nothing that it can no longer store: not
/// even if the owner does not answer, as long as there is anybody else.
#[tokio::test(start_paused = true)]
async fn what_a_node_that_leaves_has_for_a_silent_owner_is_let_go_of_if_another_one_answers() {
    let pair = pair(usize::MAX);
    let ring = view_of(&["from", "to", "third"], 2, &["to", "third"]);
    let names = (0..).map(|number| format!("notes-{number}"));
    let owned = |name: &String| ring.as_ref().unwrap().owner(&name.parse().unwrap()).as_str() == "to";
    let name = names.into_iter().find(owned).unwrap();
    let mut editor = Editor::join(&pair.from, &name, 1).await;
    editor.type_in("before").await;
    editor.all_acknowledged().await;
    *pair.there.silent.lock().unwrap() = ["to", "third"].map(|name| name.parse().unwrap()).to_vec();
    pair.ring.0.send_replace(ring);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(pair.from.moves(), Moves::default(), "nobody else is there");
    pair.there.silent.lock().unwrap().retain(|node| node.as_str() == "to");
    editor.until("to hear of it", |_, editor| editor.closed.is_some()).await;
    assert_eq!(editor.closed, Some(Event::LetGo));
    assert_eq!(pair.from.moves(), Moves { moved: 0, forgotten: 0, let_go: 1 });
}

/// The target never hears of the ring: a node that leaves does not wait for that until its time is up.
#[tokio::test(start_paused = true)]
async fn a_target_that_stays_behind_the_ring_does_not_hold_up_a_drain() {
    let (ring, late) = (told(), told());
    let pair = pair_over(&ring, &late, usize::MAX, 0);
    let mut editor = Editor::join(&pair.from, "notes", 1).await;
    editor.type_in("before").await;
    editor.all_acknowledged().await;
    let asked_at = Instant::now();
    ring.0.send_replace(view(2, &["to"]));
    let let_go = async {
        while pair.from.moves().let_go == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(15), let_go).await.unwrap();
    assert!(
        asked_at.elapsed() >= Duration::from_secs(5),
        "it was asked for a while: {:?}",
        asked_at.elapsed()
    );
    assert!(pair.there.begun.load(Ordering::Relaxed) > 2, "and more than once");
    editor.until("to hear of it", |_, editor| editor.closed.is_some()).await;
    assert_eq!(editor.closed, Some(Event::LetGo));
    late.0.send_replace(view(2, &["to"]));
    pair.goes_on().await;
}

/// From the ring's change, with a slot in flight that the store never decides, to the editor's hearing of it.
async fn leaves_with_a_silent_store(store_lost: bool) -> Duration {
    let pair = pair(usize::MAX);
    let mut editor = Editor::join(&pair.from, "notes", 1).await;
    editor.type_in("before").await;
    editor.all_acknowledged().await;
    pair.store.appends(Fault::Hold);
    editor.type_in(", and never stored").await;
    let acknowledged = editor.acknowledged;
    pair.from.set_store_lost(store_lost);
    let left_at = Instant::now();
    pair.ring.0.send_replace(view(2, &["to"]));
    editor.until("to hear of it", |_, editor| editor.closed.is_some()).await;
    let took = left_at.elapsed();
    assert_eq!(editor.closed, Some(Event::LetGo));
    assert_eq!(editor.acknowledged, acknowledged, "what is abandoned stays with its router");
    pair.store.appends(Fault::None);
    // It never reached the log: the new owner finds what was acknowledged.
    pair.goes_on().await;
    took
}

#[tokio::test(start_paused = true)]
async fn a_node_that_alone_lost_the_store_does_not_wait_for_its_documents_to_flush() {
    let waits = leaves_with_a_silent_store(false).await;
    let lost = leaves_with_a_silent_store(true).await;
    let flush = Duration::from_secs(2);
    assert!(flush <= waits, "a store that is only slow is waited for: {waits:?}");
    assert!(lost < flush, "one that is lost is not: {lost:?}");
}

/// The router does not reach the winner, whose answer therefore comes through the node that has lost to it.
#[tokio::test(start_paused = true)]
async fn a_node_that_keeps_away_serves_again_when_the_winner_says_through_it_that_it_has_let_go() {
    let (ring, ring_of_target) = (told(), told());
    ring_of_target.0.send_replace(view(1, &["to"]));
    let pair = pair_over(&ring, &ring_of_target, usize::MAX, 0);
    let mut loser = Editor::join(&pair.from, "notes", 1).await;
    loser.type_in("before").await;
    loser.all_acknowledged().await;
    let mut winner = Editor::join(&pair.to, "notes", 2).await;
    winner.type_in(" and").await;
    winner.all_acknowledged().await;
    loser.type_in(" too late").await;
    loser.until("to hear of the other claim", |_, editor| editor.closed.is_some()).await;

    drop(winner);
    ring_of_target.0.send_replace(view(2, &["from"]));
    let let_go = async {
        while pair.to.moves().forgotten == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, let_go).await.unwrap();
    let unreachable = vec!["to".parse().unwrap()];
    let opening = Opening { unreachable, ..Opening::new("notes".parse().unwrap(), RouterId::new(1)) };
    let first = Editor::open_as(&pair.from, opening.clone()).await.err();
    let from: NodeId = "from".parse().unwrap();
    assert_eq!(first, Some(OpenError::Moved { owner: from, ring: RingVersion::new(2) }));
    ring.0.send_replace(view(2, &["from"]));
    assert!(Editor::open_as(&pair.from, opening).await.is_ok(), "it keeps away for nobody");
}
