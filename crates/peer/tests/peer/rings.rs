use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringleaf_peer::ClusterView;
use ringleaf_ring::{ClusterId, Member, MemberState, RingView, Weight};
use ringleaf_types::{Incarnation, RingVersion};

use crate::fake::{node, pair, until};

fn view(version: u64) -> ClusterView {
    let member = |name: &str, state| Member {
        node: name.parse().unwrap(),
        incarnation: Incarnation::new(u64::MAX),
        state,
        weight: Weight::new(3).unwrap(),
        address: format!("{name}:1236"),
        zone: "z".into(),
        version: "1".into(),
    };
    let members = vec![member("node-1", MemberState::Serving), member("node-2", MemberState::Draining)];
    let view = RingView::new(ClusterId::new(7), RingVersion::new(version), members).unwrap();
    let pins = [("notes".parse().unwrap(), "node-2".parse().unwrap())].into_iter().collect();
    let view = view.pinned(RingVersion::new(version), pins);
    ClusterView { cluster: "tests".into(), view: Arc::new(view) }
}

#[tokio::test]
async fn a_router_that_cannot_ask_the_coordinator_takes_the_view_of_the_node() {
    let pair = pair();
    *pair.process.view.lock().unwrap() = Some(view(50));
    pair.links.set_view(view(49));
    let _document = pair.open("notes").await;
    let mut told = pair.links.told_view();
    // The node's version comes with what it says; before that there is nothing to ask for.
    until(|| (pair.links.heard_ring().borrow().get() == 50).then_some(())).await;
    assert_eq!(*told.borrow_and_update(), None, "it was not asked");
    pair.links.ask_for_view();
    until(|| (*told.borrow_and_update() == Some(view(50))).then_some(())).await;
    pair.links.set_view(view(50));
    assert_eq!(pair.process.view.lock().unwrap().as_ref(), Some(&view(50)));
}

#[tokio::test]
async fn a_node_that_cannot_ask_the_coordinator_takes_the_view_of_a_router() {
    let pair = pair();
    *pair.process.view.lock().unwrap() = Some(view(50));
    pair.links.set_view(view(51));
    let _first = pair.open("notes").await;
    until(|| (pair.process.heard.lock().unwrap().get() == 51).then_some(())).await;
    assert_eq!(pair.process.view.lock().unwrap().as_ref(), Some(&view(50)), "it can ask the coordinator");
    pair.process.alone.store(true, Ordering::SeqCst);
    let host = pair.links.host(&node(), &pair.address);
    let _second =
        host.open(crate::fake::opening("more"), Arc::new(crate::fake::Sink::default())).await.unwrap();
    until(|| (pair.process.view.lock().unwrap().as_ref() == Some(&view(51))).then_some(())).await;
}
