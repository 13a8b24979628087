//! Odd bytes end their link, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleaf_types::{RouterId, SessionId};
use ringleaf_wire::{DocumentHost, EventSink, OpenError, Opening, SessionHost};

use super::*;
use crate::convert::{opening_out, request_out};
use crate::proto::{Chunk, Close, Item};

/// Has no time for anybody.
#[derive(Default)]
struct Busy {
    asked: AtomicUsize,
}

impl SessionHost for Busy {
    fn open(
        &self,
        _opening: Opening,
        _sink: Arc<dyn EventSink>,
    ) -> BoxFuture<'_, Result<Arc<dyn DocumentHost>, OpenError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        async { Err(OpenError::Busy) }.boxed()
    }
}

struct Deaf;

impl Answers for Deaf {
    fn probed(&self) -> Probed {
        let (node, incarnation) = ("node-1".parse().unwrap(), Incarnation::new(1));
        Probed { node, incarnation, ring: RingVersion::default(), serving: true }
    }

    fn heard_ring(&self, _version: RingVersion) {}

    fn admin(&self, _request: AdminRequest) -> BoxFuture<'_, AdminAnswer> {
        async { AdminAnswer { status: 200, content_type: String::new(), body: Bytes::new() } }.boxed()
    }
}

fn service(host: &Arc<Busy>) -> Service {
    Service {
        host: Arc::clone(host) as _,
        answers: Arc::new(Deaf),
        limits: Arc::default(),
        tasks: Tasks::default(),
        stop: CancellationToken::new(),
    }
}

fn incoming(service: &Service) -> (Incoming, Inbox) {
    let incoming = Incoming {
        service: service.clone(),
        outbox: Arc::default(),
        channels: BTreeMap::new(),
        last: 0,
        greeted: false,
    };
    (incoming, Inbox::new(1 << 20))
}

fn frame(items: Vec<(u32, Kind)>) -> Frame {
    let items = items.into_iter().map(|(channel, kind)| Item { channel, kind: Some(kind) }).collect();
    Frame { ring: 3, items, ..Frame::default() }
}

fn router() -> Kind {
    hello("r", &Limits::default(), 1 << 20)
}

fn open() -> Kind {
    Kind::Open(opening_out(Opening::new("notes".parse().unwrap(), RouterId::new(1))))
}

fn ask() -> Kind {
    let update = Bytes::from_static(b"not looked at here");
    let session = SessionId::new(9);
    Kind::Request(request_out(ringleaf_wire::Request::Awareness { session, payload: update }))
}

#[tokio::test]
async fn what_breaks_the_rules_of_a_link_is_malformed() {
    let bad = [
        vec![(0, Kind::Close(Close {}))],
        vec![(0, Kind::Hello(Hello { protocol_min: 7, protocol_max: 9, ..Hello::default() }))],
        vec![(0, router()), (0, open())],
        vec![(0, router()), (5, open()), (5, open())],
        vec![(0, router()), (5, open()), (4, open())],
        vec![(0, router()), (1, ask())],
        vec![(0, router()), (1, open()), (1, router())],
        vec![(0, router()), (1, open()), (1, Kind::Closed(proto::Closed {}))],
        vec![(0, router()), (1, Kind::Chunk(Chunk { part: vec![0xff; 9].into(), last: true }))],
    ];
    let host = Arc::new(Busy::default());
    let service = service(&host);
    for items in bad {
        let shown = format!("{items:?}");
        let (mut incoming, mut inbox) = incoming(&service);
        assert!(incoming.take(&mut inbox, frame(items)).is_err(), "{shown}");
    }
    let (mut incoming, mut inbox) = incoming(&service);
    let good = vec![(0, router()), (1, open()), (1, ask()), (3, open()), (1, Kind::Close(Close {}))];
    assert_eq!(incoming.take(&mut inbox, frame(good)), Ok(()));
}

#[tokio::test]
async fn bytes_that_were_changed_at_random_do_no_harm() {
    const FRAMES: usize = 20_000;
    let host = Arc::new(Busy::default());
    let service = service(&host);
    let whole = frame(vec![(0, router()), (1, open()), (1, ask()), (2, open()), (2, Kind::Close(Close {}))]);
    let whole = whole.encode_to_vec();
    let mut random = StdRng::seed_from_u64(7);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..FRAMES {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.random()),
            }
        }
        // What is no frame at all never comes this far.
        let Ok(frame) = Frame::decode(&bytes[..]) else { continue };
        let (mut incoming, mut inbox) = incoming(&service);
        match incoming.take(&mut inbox, frame) {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
    service.tasks.finished().await;
    assert!(host.asked.load(Ordering::Relaxed) >= accepted);
}
