//! What every coordinator keeps to. Each implementation runs this in its tests.
//!
//! It panics with the fact that does not hold.

use std::time::Duration;

use ringleaf_ring::{Member, MemberState};
use ringleaf_types::RingVersion;

use crate::{Coordinator, Ring};

/// Limit: a fact that takes longer than this does not come.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until the ring is as `wanted` says; panics with `fact` if it does not become so.
///
/// # Cancel safety
///
/// It only looks.
pub async fn wait_for(ring: &mut Ring, fact: &str, wanted: impl Fn(&[Member]) -> bool) {
    let is_so = ring.wait_for(|view| view.as_ref().is_some_and(|view| wanted(view.members())));
    let outcome = tokio::time::timeout(DEADLINE, is_so).await.map(|found| found.is_ok());
    match outcome {
        Ok(true) => {}
        Ok(false) => panic!("the coordinator is gone, and not: {fact}"),
        Err(_) => panic!("did not come: {fact}; the ring is {:?}", *ring.borrow()),
    }
}

/// Runs the whole suite. `member` serves, and no other member of its name lives.
pub async fn check(coordinator: &dyn Coordinator, member: Member) {
    let mut ring = coordinator.ring();
    let node = member.node.clone();

    coordinator.register(member.clone()).await.expect("nobody else has this name");
    wait_for(&mut ring, "a member that registered is on the ring", |members| {
        members.iter().any(|found| found.node == node && found.state == MemberState::Serving)
    })
    .await;
    assert!(coordinator.status().connected, "whoever registered is connected");
    assert!(!coordinator.status().displaced, "nobody took the name");

    let before = ring.borrow_and_update().clone();
    coordinator.register(member).await.expect("nobody else has this name");
    // A version that is known already asks for nothing.
    coordinator.heard(RingVersion::new(0));
    coordinator.heard(before.as_ref().expect("there is a view").version());
    assert_eq!(*ring.borrow(), before, "registering again changes nothing");
    assert!(coordinator.knows(before.as_ref().expect("there is a view").version()), "it is in the view");

    coordinator.withdraw().await;
    coordinator.withdraw().await;
    let after = ring.borrow().as_ref().expect("the last view stays").version();
    assert!(after >= before.expect("there is a view").version(), "versions only grow (I17)");
}
