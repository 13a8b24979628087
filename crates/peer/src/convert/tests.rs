//! Whatever one side can say, the other understands.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<u64>().prop_map(SessionId::new)
}

fn number() -> impl Strategy<Value = MessageNumber> {
    any::<u64>().prop_map(MessageNumber::new)
}

fn slot() -> impl Strategy<Value = Slot> {
    any::<u64>().prop_map(Slot::new)
}

fn node() -> impl Strategy<Value = NodeId> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|name| name.parse().unwrap())
}

fn reason() -> impl Strategy<Value = CloseReason> {
    use CloseReason as Reason;
    prop::sample::select(vec![
        Reason::ServiceRestart,
        Reason::TryAgainLater,
        Reason::SlowConsumer,
        Reason::Dead,
        Reason::Misbehaved,
        Reason::MessageTooLarge,
        Reason::DocumentDeleted,
        Reason::DocumentQuarantined,
        Reason::ProtocolError,
    ])
}

fn requests() -> impl Strategy<Value = Request> {
    let attach = (session(), any::<bool>(), "\\PC{0,10}", prop::option::of(slot())).prop_map(
        |(session, writes, subject, resume)| Request::Attach {
            session,
            rights: if writes { Rights::ReadWrite } else { Rights::ReadOnly },
            subject: Subject::new(&subject),
            resume,
        },
    );
    let update = (session(), number(), any::<bool>(), payload())
        .prop_map(|(session, number, answer, update)| Request::Update { session, number, answer, update });
    prop_oneof![
        attach,
        update,
        session().prop_map(|session| Request::Detach { session }),
        session().prop_map(|session| Request::QueryAwareness { session }),
        slot().prop_map(|from| Request::CatchUp { from }),
        (session(), payload())
            .prop_map(|(session, state_vector)| Request::SyncRequest { session, state_vector }),
        (session(), payload()).prop_map(|(session, payload)| Request::Awareness { session, payload }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let publish = (slot(), slot(), vec(payload(), 0..4))
        .prop_map(|(previous, slot, updates)| Event::Publish { previous, slot, updates: Arc::from(updates) });
    let answer = (vec(session(), 0..4), slot(), payload())
        .prop_map(|(sessions, through, update)| Event::SyncAnswer { sessions, through, update });
    prop_oneof![
        publish,
        answer,
        (session(), slot()).prop_map(|(session, slot)| Event::Attached { session, slot }),
        (prop::option::of(session()), payload())
            .prop_map(|(only, payload)| Event::Awareness { only, payload }),
        (session(), payload())
            .prop_map(|(session, state_vector)| Event::SyncRequest { session, state_vector }),
        (session(), number()).prop_map(|(session, through)| Event::Acknowledge { session, through }),
        (session(), number()).prop_map(|(session, number)| Event::Refused { session, number }),
        (slot(), slot(), payload()).prop_map(|(from, through, update)| Event::CaughtUp {
            from,
            through,
            update
        }),
        (session(), reason()).prop_map(|(session, reason)| Event::CloseSession { session, reason }),
        reason().prop_map(|reason| Event::Closed { reason }),
        Just(Event::LetGo),
        (node(), any::<u64>()).prop_map(|(owner, ring)| Event::Moved { owner, ring: RingVersion::new(ring) }),
    ]
}

fn openings() -> impl Strategy<Value = Opening> {
    let flags = (any::<bool>(), any::<bool>());
    ("\\PC{1,20}", any::<u64>(), any::<u64>(), vec(node(), 0..3), vec(node(), 0..3), flags).prop_map(
        |(document, router, ring, unreachable, denied, (relayed, refusable))| Opening {
            document: document.parse().unwrap(),
            router: RouterId::new(router),
            ring: RingVersion::new(ring),
            unreachable,
            denied,
            relayed,
            refusable,
        },
    )
}

fn refusals() -> impl Strategy<Value = OpenError> {
    prop_oneof![
        reason().prop_map(|reason| OpenError::Refused { reason }),
        Just(OpenError::Busy),
        (node(), any::<u64>())
            .prop_map(|(owner, ring)| OpenError::Moved { owner, ring: RingVersion::new(ring) }),
        Just(OpenError::Unreachable),
    ]
}

/// Over the wire.
fn across<M: Message + Default>(message: &M) -> M {
    M::decode(&message.encode_to_vec()[..]).unwrap()
}

proptest! {
    #[test]
    fn requests_arrive_as_they_were_sent(request in requests()) {
        prop_assert_eq!(request_in(across(&request_out(request.clone()))), Ok(request));
    }

    #[test]
    fn events_arrive_as_they_were_sent(event in events()) {
        prop_assert_eq!(event_in(across(&event_out(event.clone()))), Ok(event));
    }

    #[test]
    fn openings_and_refusals_arrive_as_they_were_sent(opening in openings(), refusal in refusals()) {
        prop_assert_eq!(opening_in(&across(&opening_out(opening.clone()))), Ok(opening));
        prop_assert_eq!(refused_in(across(&refused_out(&refusal))), Ok(refusal));
    }
}

#[test]
fn what_says_nothing_is_malformed() {
    assert!(request_in(proto::Request::default()).is_err());
    assert!(event_in(proto::Event::default()).is_err());
    assert!(refused_in(proto::Refused::default()).is_err());
    assert!(opening_in(&proto::Open::default()).is_err(), "a document has a name");
    let unreachable = vec!["a".to_owned(); NODES_MAX + 1];
    let open = proto::Open { document: "notes".into(), unreachable, ..proto::Open::default() };
    assert!(opening_in(&open).is_err());
}
