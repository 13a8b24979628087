//! Three nodes that answer as they are told.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_coordinator::{CoordinatorStatus, RegisterError, Ring};
use ringleaf_ring::{ClusterId, Member, MemberState, Weight};
use ringleaf_types::Incarnation;
use ringleaf_wire::{Event, Gone, Request, SubmitError};
use tokio::sync::watch;

use super::*;
use crate::search::{DEAD_FOR, MOVES_MAX};

/// What the nodes are told to answer, and what they were asked.
#[derive(Default)]
struct World {
    dead: BTreeSet<NodeId>,
    /// Whom a node names instead of serving.
    names: BTreeMap<NodeId, NodeId>,
    /// The ring version of who names another.
    ring: RingVersion,
    asked: Vec<(NodeId, Opening)>,
}

struct Nodes(Arc<Mutex<World>>);

struct Node {
    name: NodeId,
    world: Arc<Mutex<World>>,
}

struct Hosted;

impl DocumentHost for Hosted {
    fn try_submit(&self, _request: Request) -> Result<(), SubmitError> {
        Ok(())
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl EventSink for Hosted {
    fn deliver(&self, _event: Event) -> Result<(), Gone> {
        Ok(())
    }
}

impl SessionHost for Node {
    fn open(
        &self,
        opening: Opening,
        _sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        let mut world = self.world.lock().unwrap();
        let ring = opening.ring.max(world.ring);
        world.asked.push((self.name.clone(), opening));
        let answer = if world.dead.contains(&self.name) {
            Err(OpenError::Unreachable)
        } else if let Some(owner) = world.names.get(&self.name) {
            Err(OpenError::Moved { owner: owner.clone(), ring })
        } else {
            Ok(Arc::new(Hosted) as Arc<dyn DocumentHost>)
        };
        std::future::ready(answer).boxed()
    }
}

impl Peers for Nodes {
    fn host(&self, node: &NodeId, _address: &str) -> Arc<dyn SessionHost> {
        Arc::new(Node { name: node.clone(), world: Arc::clone(&self.0) })
    }

    fn alive<'a>(&'a self, node: &'a NodeId, _: &'a str, _: Duration) -> BoxFuture<'a, bool> {
        std::future::ready(!self.0.lock().unwrap().dead.contains(node)).boxed()
    }
}

/// Everything through version 9 is known, and the view is of version 7.
struct Fixed(watch::Sender<Option<Arc<RingView>>>);

#[async_trait]
impl Coordinator for Fixed {
    fn ring(&self) -> Ring {
        self.0.subscribe()
    }

    async fn register(&self, _member: Member) -> Result<(), RegisterError> {
        Ok(())
    }

    async fn withdraw(&self) {}

    fn heard(&self, _version: RingVersion) {}

    fn knows(&self, version: RingVersion) -> bool {
        version <= RingVersion::new(9)
    }

    fn status(&self) -> CoordinatorStatus {
        CoordinatorStatus::default()
    }
}

fn document() -> DocumentId {
    "notes".parse().unwrap()
}

fn three() -> RingView {
    let member = |node: &str| Member {
        node: node.parse().unwrap(),
        incarnation: Incarnation::new(1),
        state: MemberState::Serving,
        weight: Weight::ONE,
        address: format!("{node}:1236"),
        zone: String::new(),
        version: String::new(),
    };
    let members = ["a", "b", "c"].map(member).into();
    RingView::new(ClusterId::new(1), RingVersion::new(7), members).unwrap()
}

/// The nodes in ring order, and a route to them.
fn start() -> (Vec<NodeId>, Route, Arc<Mutex<World>>) {
    let view = three();
    let order = view.candidates(&document()).cloned().collect();
    let world = Arc::new(Mutex::new(World::default()));
    let coordinator = Arc::new(Fixed(watch::Sender::new(Some(Arc::new(view)))));
    let peers = Arc::new(Nodes(Arc::clone(&world)));
    (order, Route::new("router".parse().unwrap(), coordinator, None, Some(peers)), world)
}

async fn open(route: &Route) -> Result<(), OpenError> {
    route.open(document(), RouterId::new(1), None, true, Arc::new(Hosted)).await.map(|_| ())
}

fn asked(world: &Mutex<World>) -> Vec<NodeId> {
    std::mem::take(&mut world.lock().unwrap().asked).into_iter().map(|(node, _)| node).collect()
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_asked_first_and_told_the_ring_version() {
    let (order, route, world) = start();
    open(&route).await.unwrap();
    let (node, opening) = world.lock().unwrap().asked.remove(0);
    assert_eq!((node, opening.ring), (order[0].clone(), RingVersion::new(7)));
    assert!(opening.unreachable.is_empty() && !opening.relayed);
}

#[tokio::test(start_paused = true)]
async fn the_next_candidate_is_told_who_cannot_be_reached() {
    let (order, route, world) = start();
    world.lock().unwrap().dead.insert(order[0].clone());
    let began = Instant::now();
    open(&route).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "two tries within half a second");
    let last = world.lock().unwrap().asked.last().cloned().unwrap();
    assert_eq!((last.0, last.1.unreachable), (order[1].clone(), vec![order[0].clone()]));
    assert_eq!(asked(&world), [&order[0], &order[0], &order[1]].map(Clone::clone));
}

#[tokio::test(start_paused = true)]
async fn one_document_finds_a_dead_node_for_all_and_only_for_a_while() {
    let (order, route, world) = start();
    world.lock().unwrap().dead.insert(order[0].clone());
    open(&route).await.unwrap();
    asked(&world);
    open(&route).await.unwrap();
    assert_eq!(asked(&world), [order[1].clone()], "nobody waits for it again");
    world.lock().unwrap().dead.clear();
    tokio::time::advance(DEAD_FOR).await;
    open(&route).await.unwrap();
    assert_eq!(asked(&world), [order[0].clone()]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_named_is_asked_next_but_never_one_that_cannot_be_reached() {
    let (order, route, world) = start();
    world.lock().unwrap().names.insert(order[0].clone(), order[2].clone());
    open(&route).await.unwrap();
    assert_eq!(asked(&world), [&order[0], &order[2]].map(Clone::clone));
    world.lock().unwrap().dead.insert(order[0].clone());
    world.lock().unwrap().names.insert(order[1].clone(), order[0].clone());
    assert!(matches!(open(&route).await, Err(OpenError::Busy)), "it comes again later");
    assert_eq!(
        asked(&world),
        [&order[0], &order[0], &order[1]].map(Clone::clone),
        "what is void is not followed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_changed_nothing_here_is_not_waited_for() {
    let (order, route, world) = start();
    world.lock().unwrap().names.insert(order[0].clone(), order[1].clone());
    for (ring, waits) in [(9, false), (10, true)] {
        world.lock().unwrap().ring = RingVersion::new(ring);
        let began = Instant::now();
        open(&route).await.unwrap();
        assert_eq!(began.elapsed() >= NEWER_RING_TIMEOUT, waits, "version {ring}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_name_each_other_are_not_asked_for_ever() {
    let (order, route, world) = start();
    world.lock().unwrap().names.insert(order[0].clone(), order[1].clone());
    world.lock().unwrap().names.insert(order[1].clone(), order[0].clone());
    assert!(matches!(open(&route).await, Err(OpenError::Busy)));
    assert!(asked(&world).len() <= MOVES_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn without_anybody_to_be_reached_the_document_waits() {
    let (order, route, world) = start();
    world.lock().unwrap().dead.extend(order);
    assert!(matches!(open(&route).await, Err(OpenError::Unreachable)));
}
