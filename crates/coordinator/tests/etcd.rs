//! The coordinator against a real etcd.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringleaf_coordinator::contract::{self, wait_for};
use ringleaf_coordinator::{
    Coordinator, Etcd, EtcdConfig, EtcdTls, Pacing, Prober, RegisterError, WriteError,
};
use ringleaf_ring::{Member, MemberState, PINS_MAX, Weight};
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
        lease: Duration::from_secs(3),
        renew: Duration::from_millis(500),
        progress: Duration::from_secs(1),
        ..EtcdConfig::new("tests", vec![server.address()])
    }
}

/// With a lease that nobody waits for in a test.
fn long(server: &Server) -> EtcdConfig {
    EtcdConfig { lease: Duration::from_secs(30), ..config(server) }
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
    let [a, b] = [0, 1].map(|_| Etcd::connect(long(&server), None));
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

/// Answers for every member as it is told to.
#[derive(Default)]
struct Answers {
    alive: AtomicBool,
}

#[async_trait::async_trait]
impl Prober for Answers {
    async fn alive(&self, _member: &Member) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_member_that_starts_again_within_its_lease_leaves_the_ring_as_it_was() {
    let Some(server) = Server::start() else { return };
    let watcher = connect(&server);
    let first = Etcd::connect(long(&server), None);
    first.register(member("a", 1)).await.unwrap();
    let mut ring = watcher.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    drop(first);
    let again = Etcd::connect(long(&server), Some(Arc::new(Answers::default())));
    let started_at = std::time::Instant::now();
    again.register(member("a", 2)).await.unwrap();
    assert!(started_at.elapsed() < Duration::from_secs(15), "it did not wait for the lease");
    wait_for(&mut ring, "the new run is there", |members| members[0].incarnation.get() == 2).await;
}

#[tokio::test]
async fn whoever_loses_its_name_is_told_so() {
    let Some(server) = Server::start() else { return };
    let first = connect(&server);
    first.register(member("a", 1)).await.unwrap();
    // It cannot be reached, but it lives.
    let second = Etcd::connect(config(&server), Some(Arc::new(Answers::default())));
    second.register(member("a", 2)).await.unwrap();
    status(&first, "it is displaced", |status| status.displaced).await;
    assert!(!second.status().displaced);
}

#[tokio::test]
async fn a_member_whose_lease_is_lost_registers_again() {
    let Some(server) = Server::start() else { return };
    let (a, b) = (connect(&server), connect(&server));
    a.register(member("a", 1)).await.unwrap();
    b.register(member("b", 1)).await.unwrap();
    let mut ring = b.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    let mut client = server.client().await;
    let key = client.get("/ringleaf/tests/members/a", None).await.unwrap();
    client.lease_revoke(key.kvs()[0].lease()).await.unwrap();
    wait_for(&mut ring, "a has gone", |members| !has("a")(members)).await;
    wait_for(&mut ring, "a is back", has("a")).await;
    assert!(!a.status().displaced);
}

#[tokio::test]
async fn a_coordinator_that_is_closed_follows_nothing_and_keeps_its_view() {
    let Some(server) = Server::start() else { return };
    let [closed, other, late] = [0, 1, 2].map(|_| connect(&server));
    other.register(member("a", 1)).await.unwrap();
    let mut ring = closed.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    closed.close().await;
    let before = ring.borrow_and_update().clone();
    late.register(member("b", 2)).await.unwrap();
    wait_for(&mut other.ring(), "b is there", has("b")).await;
    assert_eq!(*closed.ring().borrow(), before);
    assert!(!ring.has_changed().unwrap());
}

#[tokio::test]
async fn an_etcd_that_hangs_is_noticed() {
    let Some(server) = Server::start() else { return };
    let a = connect(&server);
    status(&a, "it is connected", |status| status.connected).await;
    server.freeze(true);
    status(&a, "it is noticed", |status| !status.connected).await;
    server.freeze(false);
    status(&a, "it is back", |status| status.connected).await;
}

#[tokio::test]
async fn what_was_compacted_while_etcd_was_away_is_not_missed() {
    let Some(mut server) = Server::start() else { return };
    let (a, b) = (connect(&server), connect(&server));
    a.register(member("a", 1)).await.unwrap();
    let mut ring = b.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    server.stop();
    status(&b, "it is noticed", |status| !status.connected).await;
    server.again();
    let mut client = server.client().await;
    let value = client.get("/ringleaf/tests/members/a", None).await.unwrap().kvs()[0].value().to_vec();
    let put = client.put("/ringleaf/tests/members/c", value, None).await.unwrap();
    client.compact(put.header().unwrap().revision(), None).await.unwrap();
    wait_for(&mut ring, "c is there", has("c")).await;
}

#[tokio::test]
async fn the_last_view_is_there_at_a_start_without_etcd() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = EtcdConfig { cache: Some(folder.path().join("ring.json")), ..config(&server) };
    let a = Etcd::connect(config.clone(), None);
    a.register(member("a", 1)).await.unwrap();
    let mut ring = a.ring();
    wait_for(&mut ring, "a is there", has("a")).await;
    let before = ring.borrow().clone();
    // The view is kept after it is published: what is asked for next comes after that.
    a.register(member("a", 1)).await.unwrap();
    server.stop();
    let next = Etcd::connect(config, None);
    assert_eq!(*next.ring().borrow(), before);
    assert!(!next.status().connected);
}

#[tokio::test]
async fn members_that_vanish_together_stay_while_they_answer() {
    let Some(server) = Server::start() else { return };
    let answers = Arc::new(Answers { alive: AtomicBool::new(true) });
    let short = EtcdConfig { list_again: Duration::from_millis(200), ..config(&server) };
    let watcher = Etcd::connect(short, Some(answers.clone()));
    let mut client = server.client().await;
    let keys = ["a", "b", "c"].map(|node| format!("/ringleaf/tests/members/{node}"));
    let record = r#"{"incarnation":"1","state":"serving","weight":1,"address":"x","new":"passed over"}"#;
    for key in &keys {
        client.put(key.as_str(), record, None).await.unwrap();
    }
    let mut ring = watcher.ring();
    wait_for(&mut ring, "all are there", |members| members.len() == 3).await;
    let all = etcd_client::DeleteOptions::new().with_prefix();
    client.delete("/ringleaf/tests/members/", Some(all)).await.unwrap();
    client.put(keys[2].as_str(), record, None).await.unwrap();
    client.put("/ringleaf/tests/cordons/c", "", None).await.unwrap();
    let cordoned = |members: &[Member]| members.iter().any(|member| member.state == MemberState::Draining);
    wait_for(&mut ring, "the cordon, after which the others are still there", |members| {
        cordoned(members) && members.len() == 3
    })
    .await;
    client.delete("/ringleaf/tests/cordons/c", None).await.unwrap();
    answers.alive.store(false, Ordering::Relaxed);
    wait_for(&mut ring, "they are dropped", |members| members.len() == 1).await;
}

#[tokio::test]
async fn operators_cordon_weigh_and_forget_members() {
    let Some(server) = Server::start() else { return };
    let (etcd, other) = (connect(&server), connect(&server));
    let a = "a".parse().unwrap();
    assert!(matches!(
        other.cordon(&a, true).await,
        Err(WriteError::Away { .. } | WriteError::Unknown { .. })
    ));
    etcd.register(member("a", 1)).await.unwrap();
    etcd.register(member("a", 1)).await.unwrap();
    let b = connect(&server);
    b.register(member("b", 1)).await.unwrap();
    let mut ring = b.ring();
    other.cordon(&a, true).await.unwrap();
    wait_for(&mut ring, "a is off the ring", |members| members[0].state == MemberState::Draining).await;
    other.cordon(&a, false).await.unwrap();
    other.put_weight(&a, Some(Weight::new(3).unwrap())).await.unwrap();
    wait_for(&mut ring, "a has the weight", |members| {
        members[0].state == MemberState::Serving && members[0].weight.get() == 3
    })
    .await;
    assert!(matches!(other.forget(&a).await, Err(WriteError::Lives { .. })));
    other.cordon(&a, true).await.unwrap();
    etcd.withdraw().await;
    let orders = b.orders().await.unwrap();
    assert!(orders.cordoned.contains(&a) && orders.weights[&a].get() == 3, "what was said stays: {orders:?}");
    other.forget(&a).await.unwrap();
    assert_eq!(b.orders().await.unwrap(), ringleaf_coordinator::Orders::default());
    etcd.register(member("a", 2)).await.unwrap();
    wait_for(&mut ring, "a has its own weight", |members| {
        members[0].incarnation.get() == 2 && members[0].weight == Weight::ONE
    })
    .await;
}

#[tokio::test]
async fn a_ring_configuration_is_written_over_the_one_that_was_seen_only() {
    let Some(server) = Server::start() else { return };
    let etcd = connect(&server);
    status(&etcd, "it is connected", |status| status.connected).await;
    let text = |seconds: u32| format!("# why\ncluster = 'tests'\nlease.seconds = {seconds}\n");
    assert_eq!(etcd.read_config().await.unwrap(), None);
    let revision = etcd.apply(&text(20), 0).await.unwrap();
    assert_eq!(etcd.read_config().await.unwrap(), Some((text(20), revision)), "at once");
    let again = etcd.apply(&text(30), 0).await;
    assert!(matches!(again, Err(WriteError::Changed { revision: at }) if at == revision), "{again:?}");
    etcd.apply(&text(30), revision).await.unwrap();
    let next = connect(&server);
    for etcd in [&etcd, &next] {
        let mut config = etcd.config();
        let is_so = config.wait_for(|found| {
            found.as_ref().is_some_and(|found| found.config.lease == Duration::from_secs(30))
        });
        let found = tokio::time::timeout(Duration::from_secs(10), is_so).await.unwrap().unwrap();
        assert!(found.as_ref().unwrap().text.starts_with("# why"));
    }
    let other = etcd.apply("cluster = 'other'", revision).await;
    assert!(matches!(other, Err(WriteError::OtherCluster { .. })));
    assert!(matches!(etcd.apply("cluster = ''", revision).await, Err(WriteError::Config(_))));
}

#[tokio::test]
async fn everybody_hears_how_fast_documents_may_move() {
    let Some(server) = Server::start() else { return };
    let etcd = connect(&server);
    status(&etcd, "it is connected", |status| status.connected).await;
    assert_eq!(etcd.pacing(), Pacing::default());
    etcd.apply("cluster = 'tests'\npacing = { out_max = 3, out_per_second_max = 9, in_max = 4, debounce_milliseconds = 0 }\n", 0)
        .await
        .unwrap();
    let paused = etcd.pause_rebalance(true, 0).await.unwrap();
    let again = etcd.pause_rebalance(false, 0).await;
    assert!(matches!(again, Err(WriteError::Changed { revision }) if revision == paused), "{again:?}");
    let slow =
        Pacing { out_max: 3, out_per_second_max: 9, in_max: 4, debounce: Duration::ZERO, paused: true };
    let late = connect(&server);
    for etcd in [&etcd, &late] {
        pacing(etcd, slow).await;
    }
    assert_eq!(late.rebalance().await.unwrap(), late.known_rebalance());
    assert_eq!(late.known_rebalance().revision, paused);
    etcd.pause_rebalance(false, paused).await.unwrap();
    for etcd in [&etcd, &late] {
        pacing(etcd, Pacing { paused: false, ..slow }).await;
    }
}

/// Waits until it is known that documents may move as fast as that.
async fn pacing(etcd: &Etcd, wanted: Pacing) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while etcd.pacing() != wanted {
        assert!(std::time::Instant::now() < deadline, "did not come: {wanted:?}; {:?}", etcd.pacing());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn everybody_takes_the_virtual_nodes_from_the_ring_configuration() {
    let Some(server) = Server::start() else { return };
    let etcd = connect(&server);
    etcd.register(member("a", 1)).await.unwrap();
    let cached = EtcdConfig { cache: Some(server.file("view")), ..config(&server) };
    let old = Etcd::connect(cached.clone(), None);
    let text = |number: u32| format!("cluster = 'tests'\nvirtual_nodes_per_weight = {number}\n");
    wait_for(&mut old.ring(), "the member is there", has("a")).await;
    let before = old.ring().borrow().clone().unwrap();
    assert_eq!(before.virtual_nodes().get(), 128);
    let revision = etcd.apply(&text(32), 0).await.unwrap();
    let new = connect(&server);
    let mut views = Vec::new();
    for etcd in [&etcd, &old, &new] {
        let mut ring = etcd.ring();
        let is_so = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.tokens().len() == 32));
        views.push(tokio::time::timeout(Duration::from_secs(10), is_so).await.unwrap().unwrap().clone());
    }
    assert_eq!(views[0], views[1]);
    assert_eq!(views[0].as_ref().unwrap().version().get(), revision);
    // The view is kept after it is published: what is asked for next comes after that.
    old.withdraw().await;
    drop(old);
    let starts = Etcd::connect(EtcdConfig { endpoints: vec!["http://127.0.0.1:1".into()], ..cached }, None);
    assert_eq!(*starts.ring().borrow(), views[1], "the view on disk has them, too");
}

#[tokio::test]
async fn without_etcd_a_member_starts_all_the_same() {
    let Some(mut server) = Server::start() else { return };
    server.stop();
    let a = Etcd::connect(EtcdConfig { timeout: Duration::from_millis(500), ..config(&server) }, None);
    a.register(member("a", 1)).await.unwrap();
    assert!(!a.status().connected && a.status().problem.is_some());
    server.again();
    wait_for(&mut a.ring(), "it is put on record when etcd is there", has("a")).await;
}

#[tokio::test]
async fn the_next_endpoint_is_used_and_the_password_is_given() {
    let Some(server) = Server::start() else { return };
    let mut client = server.client().await;
    client.role_add("root").await.unwrap();
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
    let stranger = connect(&server);
    // Nobody listens on the port of the discard protocol.
    let endpoints = vec!["http://127.0.0.1:9".to_owned(), server.address()];
    let user_password = Some(("root".to_owned(), "secret".to_owned()));
    let known = Etcd::connect(EtcdConfig { endpoints, user_password, ..config(&server) }, None);
    known.register(member("a", 1)).await.unwrap();
    wait_for(&mut known.ring(), "a is there", has("a")).await;
    status(&stranger, "it is told why", |status| {
        !status.connected
            && status.problem.as_ref().is_some_and(|problem| problem.contains("user name is empty"))
    })
    .await;
}

#[tokio::test]
async fn both_sides_show_a_certificate() {
    let Some(server) = Server::start_with_tls() else { return };
    let tls = EtcdTls {
        ca: Some(server.file("ca.pem")),
        identity: Some((server.file("leaf.pem"), server.file("leaf.key"))),
    };
    let known = Etcd::connect(EtcdConfig { tls: Some(tls), ..config(&server) }, None);
    known.register(member("a", 1)).await.unwrap();
    wait_for(&mut known.ring(), "a is there", has("a")).await;
    let tls = Some(EtcdTls { ca: Some(server.file("ca.pem")), identity: None });
    let stranger = Etcd::connect(EtcdConfig { tls, ..config(&server) }, None);
    status(&stranger, "it is not let in", |status| !status.connected && status.problem.is_some()).await;
}

#[tokio::test]
async fn a_document_is_pinned_to_a_member_and_let_go_again_for_everybody() {
    let Some(server) = Server::start() else { return };
    let (etcd, other) = (connect(&server), connect(&server));
    for (etcd, node) in [(&etcd, "a"), (&other, "b")] {
        etcd.register(member(node, 1)).await.unwrap();
    }
    let notes = "notes/today".parse().unwrap();
    let mut ring = other.ring();
    wait_for(&mut ring, "both are there", |members| members.len() == 2).await;
    let by_ring = ring.borrow().as_ref().unwrap().owner(&notes).clone();
    for node in ["a", "b"] {
        let node = node.parse().unwrap();
        let version = etcd.pin(&notes, &node).await.unwrap();
        let pinned = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= version));
        let view = tokio::time::timeout(Duration::from_secs(10), pinned).await.unwrap().unwrap().clone();
        assert_eq!(view.unwrap().pin(&notes), Some(&node));
    }
    assert!(matches!(etcd.pin(&notes, &"c".parse().unwrap()).await, Err(WriteError::Unknown { .. })));
    let version = other.unpin(&notes).await.unwrap();
    let free = ring.wait_for(|view| view.as_ref().is_some_and(|view| view.version() >= version));
    let view = tokio::time::timeout(Duration::from_secs(10), free).await.unwrap().unwrap().clone().unwrap();
    assert_eq!((view.pins().len(), view.owner(&notes)), (0, &by_ring));
    assert!(matches!(etcd.unpin(&notes).await, Err(WriteError::NotPinned)));
}

#[tokio::test]
async fn nothing_is_pinned_while_a_member_is_of_before_pins() {
    let Some(server) = Server::start() else { return };
    let etcd = connect(&server);
    etcd.register(member("a", 1)).await.unwrap();
    let older = r#"{"incarnation":"0000000000000007","state":"serving","weight":1,"address":"b:1236"}"#;
    let mut client = server.client().await;
    client.put("/ringleaf/tests/members/b", older, None).await.unwrap();
    let (notes, node) = ("notes".parse().unwrap(), "a".parse().unwrap());
    let problem = etcd.pin(&notes, &node).await.unwrap_err();
    assert!(matches!(&problem, WriteError::KnowsNoPins { node } if node == "b"), "{problem}");
    client.delete("/ringleaf/tests/members/b", None).await.unwrap();
    etcd.pin(&notes, &node).await.expect("all know what that is");
}

#[tokio::test]
async fn there_are_never_more_pins_than_may_be_even_when_operators_pin_at_once() {
    let Some(server) = Server::start() else { return };
    let etcd = connect(&server);
    etcd.register(member("a", 1)).await.unwrap();
    wait_for(&mut etcd.ring(), "it is there", has("a")).await;
    let (mut client, node) = (server.client().await, "a".parse().unwrap());
    let room = 2;
    for index in 0..PINS_MAX - room {
        client.put(format!("/ringleaf/tests/pins/old/{index}"), "a", None).await.unwrap();
    }
    let names: Vec<_> = (0..room + 2).map(|index| format!("new/{index}").parse().unwrap()).collect();
    let pinned = futures_util::future::join_all(names.iter().map(|name| etcd.pin(name, &node))).await;
    let count = |wanted: fn(&WriteError) -> bool| {
        pinned.iter().filter(|pinned| pinned.as_ref().is_err_and(wanted)).count()
    };
    assert_eq!(count(|problem| matches!(problem, WriteError::TooManyPins)), 2, "{pinned:?}");
    assert_eq!(pinned.iter().filter(|pinned| pinned.is_ok()).count(), room, "{pinned:?}");
    let again = pinned.iter().position(Result::is_ok).unwrap();
    etcd.pin(&names[again], &node).await.expect("one that is pinned may be pinned elsewhere");
    etcd.unpin(&names[again]).await.unwrap();
    etcd.pin(&"after".parse().unwrap(), &node).await.expect("there is room again");
}
