//! The coordinator against a real etcd.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod server;

use std::sync::Arc;
use std::time::Duration;

use ringleaf_coordinator::contract::{self, wait_for};
use ringleaf_coordinator::{Coordinator, Etcd, EtcdConfig, RegisterError};
use ringleaf_ring::{Member, MemberState, Weight};
use ringleaf_types::Incarnation;
use server::Server;

fn member(node: &str, incarnation: u64) -> Member {
    Member {
        node: node.parse().unwrap(),
        incarnation: Incarnation::new(incarnation),
        state: MemberState::Serving,
        weight: Weight::ONE,
        address: format!("{node}:1236"),
        zone: "z".into(),
        version: "1".into(),
    }
}

fn config(server: &Server) -> EtcdConfig {
    EtcdConfig {
        lease: Duration::from_secs(2),
        renew: Duration::from_millis(500),
        progress: Duration::from_secs(1),
        ..EtcdConfig::new("tests", vec![server.address()])
    }
}

fn connect(server: &Server) -> Arc<Etcd> {
    Etcd::connect(config(server), None)
}

fn has(node: &'static str) -> impl Fn(&[Member]) -> bool {
    move |members| members.iter().any(|member| member.node.as_str() == node)
}

/// Waits until the status is as wanted.
async fn status(etcd: &Etcd, fact: &str, wanted: impl Fn(&ringleaf_coordinator::CoordinatorStatus) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !wanted(&etcd.status()) {
        assert!(std::time::Instant::now() < deadline, "did not come: {fact}; {:?}", etcd.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let Some(server) = Server::start() else { return };
    contract::check(&*connect(&server), member("a", 1)).await;
}

#[tokio::test]
async fn members_see_each_other_come_and_go() {
    let Some(server) = Server::start() else { return };
    let (a, b) = (connect(&server), connect(&server));
    a.register(member("a", 1)).await.unwrap();
    b.register(member("b", 2)).await.unwrap();
    let mut ring = a.ring();
    wait_for(&mut ring, "b is there", has("b")).await;
    assert_eq!(*ring.borrow().as_ref().unwrap().member(&"b".parse().unwrap()).unwrap(), member("b", 2));
    b.withdraw().await;
    wait_for(&mut ring, "b has gone", |members| !has("b")(members)).await;
    let c = connect(&server);
    c.register(member("c", 3)).await.unwrap();
    wait_for(&mut ring, "c is there", has("c")).await;
    drop(c);
    wait_for(&mut ring, "the lease of c ran out", |members| !has("c")(members)).await;
}

#[tokio::test]
async fn an_etcd_that_restarts_changes_nothing_and_is_used_again() {
    let Some(mut server) = Server::start() else { return };
    let (a, b) = (connect(&server), connect(&server));
    a.register(member("a", 1)).await.unwrap();
    let mut ring = b.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    let before = ring.borrow_and_update().clone();
    server.stop();
    status(&b, "it is noticed", |status| !status.connected && status.problem.is_some()).await;
    server.again();
    status(&a, "a is back", |status| status.connected).await;
    status(&b, "b is back", |status| status.connected).await;
    assert_eq!(*ring.borrow(), before);
    b.register(member("b", 2)).await.unwrap();
    wait_for(&mut ring, "b is there", |members| has("a")(members) && has("b")(members)).await;
}

#[tokio::test]
async fn a_name_that_another_process_holds_is_refused() {
    let Some(server) = Server::start() else { return };
    let (first, second) = (connect(&server), connect(&server));
    first.register(member("a", 1)).await.unwrap();
    let refused = second.register(member("a", 2)).await;
    assert!(matches!(refused, Err(RegisterError::Foreign { .. })), "{refused:?}");
    assert!(!first.status().displaced);
    drop(first);
    second.register(member("a", 2)).await.unwrap();
}
