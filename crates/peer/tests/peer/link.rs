use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_peer::{AdminRequest, ProbeError};
use ringleaf_types::{CloseReason, Limits, MessageNumber, Rights, RingVersion, SessionId, Slot, Subject};
use ringleaf_wire::{Event, Gone, OpenError, Peers, Request, SubmitError};

use crate::fake::{Sink, node, opening, pair, pair_of, pair_with, until};

fn update(number: u64, bytes: usize) -> Request {
    let update = Bytes::from(vec![number as u8; bytes]);
    Request::Update { session: SessionId::new(1), number: MessageNumber::new(number), answer: false, update }
}

fn publish(slot: u64, bytes: usize) -> Event {
    let (previous, slot) = (Slot::new(slot - 1), Slot::new(slot));
    Event::Publish { previous, slot, updates: vec![Bytes::from(vec![3; bytes])].into() }
}

#[tokio::test]
async fn requests_and_events_cross_in_order() {
    let pair = pair();
    pair.links.set_ring(RingVersion::new(43));
    let (document, sink) = pair.open("notes").await;
    let attach = Request::Attach {
        session: SessionId::new(1),
        rights: Rights::ReadWrite,
        subject: Subject::new("ann"),
        resume: Some(Slot::new(4)),
    };
    let mut sent = vec![attach, update(1, 600_000)];
    sent.extend((2..50).map(|number| update(number, 10)));
    for request in sent.clone() {
        document.try_submit(request).unwrap();
    }
    let (events, owner) = pair.host.document(0);
    until(|| (*owner.requests.lock().unwrap() == sent).then_some(())).await;
    let told =
        [publish(1, 1_000_000), publish(2, 10), Event::Closed { reason: CloseReason::DocumentDeleted }];
    for event in told.clone() {
        events.deliver(event).unwrap();
    }
    until(|| (*sink.0.lock().unwrap() == told).then_some(())).await;
    assert_eq!(*pair.process.heard.lock().unwrap(), RingVersion::new(43));
    assert_eq!(*pair.links.heard_ring().borrow(), RingVersion::new(41));
    drop(document);
    until(|| owner.gone.lock().unwrap().then_some(())).await;
}

#[tokio::test]
async fn a_document_that_takes_nothing_fills_only_its_own_channel() {
    let pair = pair_with(Limits { mailbox_requests_max: 4, ..Limits::default() });
    let (slow, _sink) = pair.open("slow").await;
    let (quick, _sink) = pair.open("quick").await;
    let (_, slow_owner) = pair.host.document(0);
    let (_, quick_owner) = pair.host.document(1);
    *slow_owner.paused.lock().unwrap() = true;
    for number in 1..=4 {
        slow.try_submit(update(number, 10)).unwrap();
    }
    assert_eq!(slow.try_submit(update(5, 10)), Err(SubmitError::Full(update(5, 10))));
    for number in 1..=100 {
        while quick.try_submit(update(number, 10)).is_err() {
            quick.ready().await.unwrap();
        }
    }
    until(|| (quick_owner.requests.lock().unwrap().len() == 100).then_some(())).await;
    slow_owner.resume();
    slow.ready().await.unwrap();
    slow.try_submit(update(5, 10)).unwrap();
    until(|| (slow_owner.requests.lock().unwrap().len() == 5).then_some(())).await;
}

#[tokio::test]
async fn a_router_with_higher_limits_than_the_node_keeps_its_link() {
    let message_bytes_max = 1_000;
    let low = Limits {
        mailbox_requests_max: 2,
        outstanding_bytes_max: 100,
        message_bytes_max,
        ..Limits::default()
    };
    let pair = pair_of(low, Limits::default());
    let (slow, _sink) = pair.open("slow").await;
    let (_, owner) = pair.host.document(0);
    *owner.paused.lock().unwrap() = true;
    let taken = (1..=9).take_while(|number| slow.try_submit(update(*number, 10)).is_ok()).count();
    assert_eq!(taken, 2, "no more than the node lets wait");
    owner.resume();
    until(|| (owner.requests.lock().unwrap().len() == 2).then_some(())).await;
    slow.ready().await.unwrap();
    slow.try_submit(update(3, 3_000_000)).unwrap();
    until(|| (owner.requests.lock().unwrap().len() == 3).then_some(())).await;
}

#[tokio::test]
async fn a_node_with_higher_limits_than_the_router_keeps_its_link() {
    let low = Limits { document_bytes_max: 1_000, message_bytes_max: 1_000, ..Limits::default() };
    let pair = pair_of(Limits::default(), low);
    let (_document, sink) = pair.open("notes").await;
    let (events, _) = pair.host.document(0);
    let through = Slot::new(1);
    let update = Bytes::from(vec![7; 20_000_000]);
    events.deliver(Event::SyncAnswer { sessions: vec![SessionId::new(1)], through, update }).unwrap();
    events.deliver(publish(2, 10)).unwrap();
    until(|| (sink.0.lock().unwrap().len() == 2).then_some(())).await;
    assert!(matches!(sink.0.lock().unwrap()[0], Event::SyncAnswer { .. }));
}

#[tokio::test]
async fn a_publish_above_the_limit_is_dropped_and_the_rest_is_kept() {
    let pair = pair_with(Limits { fan_out_waiting_bytes_max: 100_000, ..Limits::default() });
    let (_document, sink) = pair.open("notes").await;
    let (events, _) = pair.host.document(0);
    // Without waiting in between: the link sends nothing meanwhile.
    for slot in 1..=50 {
        events.deliver(publish(slot, 10_000)).unwrap();
        let through = MessageNumber::new(slot);
        events.deliver(Event::Acknowledge { session: SessionId::new(1), through }).unwrap();
    }
    let last = Event::Acknowledge { session: SessionId::new(1), through: MessageNumber::new(50) };
    until(|| (sink.0.lock().unwrap().last() == Some(&last)).then_some(())).await;
    let got = sink.0.lock().unwrap();
    let published: Vec<_> = got.iter().filter(|event| matches!(event, Event::Publish { .. })).collect();
    let whole = |event: &&&Event| matches!(event, Event::Publish { updates, .. } if !updates.is_empty());
    let count = published.iter().filter(whole).count();
    assert!((1..20).contains(&count), "{count}");
    let note = Event::Publish { previous: Slot::new(50), slot: Slot::new(50), updates: Arc::new([]) };
    assert_eq!(published.last(), Some(&&note), "whoever lacks the last slot learns of it");
    assert_eq!(got.len() - published.len(), 50);
}

#[tokio::test]
async fn a_broken_link_is_told_to_everybody_and_made_again_by_the_next_opening() {
    let pair = pair();
    let (document, sink) = pair.open("notes").await;
    let listen = pair.server.local_addr();
    pair.server.stop(Duration::from_secs(5)).await;
    until(|| (sink.0.lock().unwrap().last() == Some(&Event::LetGo)).then_some(())).await;
    assert_eq!(document.ready().await, Err(Gone));
    assert_eq!(document.try_submit(update(1, 1)), Err(SubmitError::Gone(update(1, 1))));
    let remote = pair.links.host(&node(), &pair.address);
    let failed = remote.open(opening("notes"), Arc::new(Sink::default())).await;
    assert!(matches!(failed, Err(OpenError::Unreachable)));
    let probed = pair.links.probe(&node(), &pair.address, Duration::from_millis(200)).await;
    assert_eq!(probed, Err(ProbeError::Unreachable));

    let limits = Arc::new(Limits::default());
    let config = ringleaf_peer::PeerConfig { listen, tls: None, limits };
    let server = ringleaf_peer::PeerServer::bind(config).unwrap();
    let _server = server.start(Arc::clone(&pair.host) as _, Arc::clone(&pair.process) as _);
    assert!(remote.open(opening("notes"), Arc::new(Sink::default())).await.is_ok());
}

#[tokio::test]
async fn a_refused_opening_says_why() {
    let pair = pair();
    let remote = pair.links.host(&node(), &pair.address);
    let owner = "node-2".parse().unwrap();
    let errors = || {
        [
            OpenError::Refused { reason: CloseReason::DocumentQuarantined },
            OpenError::Busy,
            OpenError::Moved { owner: node(), ring: RingVersion::new(9) },
        ]
    };
    pair.host.refuse.lock().unwrap().extend(errors());
    let mut asked = opening("notes");
    asked.unreachable = vec![owner];
    asked.relayed = true;
    for expected in errors() {
        let error = remote.open(asked.clone(), Arc::new(Sink::default())).await.err().unwrap();
        assert_eq!(format!("{error:?}"), format!("{expected:?}"));
    }
    let _document = remote.open(asked.clone(), Arc::new(Sink::default())).await.unwrap();
    assert_eq!(pair.host.openings.lock().unwrap()[0].0, asked);
}

#[tokio::test]
async fn those_who_ask_at_once_whether_a_node_lives_share_a_probe() {
    let pair = pair();
    let (links, id, within) = (&pair.links, node(), Duration::from_secs(5));
    let all = async || {
        let asked = (0..50).map(|_| links.alive(&id, &pair.address, within));
        futures_util::future::join_all(asked).await
    };
    for times in 1..=2 {
        assert!(all().await.into_iter().all(|alive| alive));
        assert_eq!(
            pair.process.asked.load(Ordering::SeqCst),
            times,
            "asked anew when the last one has answered"
        );
    }
    // Whoever asks and does not wait for the answer leaves nothing behind.
    let nobody = links.alive(&id, &pair.address, within);
    drop(nobody);
    assert!(all().await.into_iter().all(|alive| alive));
    assert!(!links.alive(&"node-2".parse().unwrap(), &pair.address, within).await, "another node answers");
}

#[tokio::test]
async fn probes_and_admin_requests_are_answered() {
    let pair = pair();
    let probed = pair.links.probe(&node(), &pair.address, Duration::from_secs(5)).await.unwrap();
    assert!(probed.serving && probed.node == node());
    let other = "node-2".parse().unwrap();
    let probed = pair.links.probe(&other, &pair.address, Duration::from_secs(5)).await;
    assert_eq!(probed, Err(ProbeError::OtherNode { node: node() }));
    let body = Bytes::from(vec![9; 3_000_000]);
    let request = AdminRequest { method: "PUT".into(), path_and_query: "/a?b=c".into(), body: body.clone() };
    let answer = pair.links.admin(&node(), &pair.address, request).await.unwrap();
    assert_eq!((answer.status, answer.content_type.as_str(), answer.body), (201, "PUT /a?b=c", body));
}
