//! Rules about slots.

use std::sync::Arc;

use bytes::Bytes;
use ringleaf_types::{Body, Epoch, Incarnation, Record, Slot, Writer};
use tokio::task::JoinSet;

use super::{add_snapshot, fill, fill_torn, id, numbers, record, record_of, writer};
use crate::{Created, Store, StoreError};

pub async fn an_unwritten_document_is_empty(store: Arc<dyn Store>) {
    let document = id("never");
    let stored = store.read(&document).await.expect("read");
    assert_eq!((stored.snapshot, stored.slots), (None, Vec::new()));
    assert_eq!(store.read_after(&document, Slot::ZERO).await.expect("read on"), []);
    assert_eq!(store.read_after(&document, Slot::new(9)).await.expect("read on"), []);
    assert_eq!(store.trim(&document).await.expect("trim"), 0);
    assert_eq!(store.tails(&[document]).await.expect("tails"), []);
    assert_eq!(store.list("", None, 10).await.expect("list"), []);
}

/// I2, I11.
pub async fn a_slot_is_created_once_and_keeps_its_record(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, [1, 2]).await;
    for nonce in 10..15 {
        let taken = store.create_slot(&document, Slot::new(1), record(nonce)).await.expect("create");
        assert_eq!(taken, Created::Taken(record(1)));
    }
    assert_eq!(numbers(&store.read(&document).await.expect("read").slots), [1, 2]);
}

/// R2: a retry whose first reply was lost.
pub async fn a_writer_recognizes_its_own_record(store: Arc<dyn Store>) {
    let document = id("notes");
    let first = store.create_slot(&document, Slot::new(1), record(1)).await.expect("create");
    let again = store.create_slot(&document, Slot::new(1), record(1)).await.expect("create");
    assert_eq!(again, Created::Taken(record(1)));
    assert!(first.by(&writer(1)) && again.by(&writer(1)));
    assert!(!again.by(&writer(2)));
    let other_run = Writer { incarnation: Incarnation::new(8), ..writer(1) };
    assert!(!again.by(&other_run), "the same nonce of another run is another writer");
}

pub async fn the_slot_before_the_first_cannot_be_created(store: Arc<dyn Store>) {
    let created = store.create_slot(&id("notes"), Slot::ZERO, record(1)).await.expect("create");
    assert_eq!(created, Created::Covered);
}

/// I2.
pub async fn of_many_who_want_one_slot_one_gets_it(store: Arc<dyn Store>) {
    let document = id("notes");
    let mut racers = JoinSet::new();
    for nonce in 0..100 {
        let (store, document) = (store.clone(), document.clone());
        racers.spawn(async move {
            (nonce, store.create_slot(&document, Slot::new(1), record(nonce)).await.expect("create"))
        });
    }
    let outcomes = racers.join_all().await;
    let winners: Vec<u64> = outcomes
        .iter()
        .filter(|(_, created)| *created == Created::Created)
        .map(|(nonce, _)| *nonce)
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for (nonce, created) in outcomes {
        assert!(nonce == winners[0] || created == Created::Taken(record(winners[0])), "{created:?}");
    }
    let stored = store.read(&document).await.expect("read").slots;
    assert_eq!(stored, [(Slot::new(1), record(winners[0]))]);
}

pub async fn documents_do_not_share_slots(store: Arc<dyn Store>) {
    for name in ["a", "A", "a/", "ä", "a b"] {
        fill(&*store, &id(name), 1..=3).await;
    }
    assert_eq!(numbers(&store.read(&id("a")).await.expect("read").slots), [1, 2, 3]);
}

pub async fn any_record_comes_back_as_it_went(store: Arc<dyn Store>) {
    let document = id("notes");
    let update = |bytes: &'static [u8]| Bytes::from_static(bytes);
    let bodies = [
        Body::Updates(vec![]),
        Body::Updates(vec![Bytes::new(), update(b"\0\xff"), update(b"two")]),
        Body::Deletion,
        Body::Undeletion,
        Body::Updates((0..300_u16).map(|i| Bytes::copy_from_slice(&i.to_le_bytes())).collect()),
    ];
    let mut expected = Vec::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let record = Record {
            epoch: Epoch::new(u64::MAX - index as u64),
            writer: Writer {
                node: "N-1.x_".parse().expect("a valid node id"),
                incarnation: Incarnation::new(u64::MAX),
                nonce: u64::MAX,
            },
            body,
        };
        let slot = Slot::new(index as u64 + 1);
        assert_eq!(
            store.create_slot(&document, slot, record.clone()).await.expect("create"),
            Created::Created
        );
        expected.push((slot, record));
    }
    assert_eq!(store.read(&document).await.expect("read").slots, expected);
}

pub async fn a_large_record_comes_back_as_it_went(store: Arc<dyn Store>) {
    let document = id("notes");
    let large: Bytes = (0..20_u32 << 20).map(|i| (i / 3) as u8).collect();
    let record = record_of(Body::Updates(vec![large]));
    let created = store.create_slot(&document, Slot::new(1), record.clone()).await.expect("create");
    assert_eq!(created, Created::Created);
    assert!(store.read(&document).await.expect("read").slots == [(Slot::new(1), record)]);
}

/// R1.
pub async fn a_gap_between_slots_is_an_error(store: Arc<dyn Store>) {
    let document = id("notes");
    if !fill_torn(&*store, &document, [1, 2, 4, 5]).await {
        return;
    }
    let error = store.read(&document).await.expect_err("a gap");
    assert!(matches!(error, StoreError::Gap { after, .. } if after == Slot::new(2)), "{error}");
    fill(&*store, &document, [3]).await;
    assert_eq!(numbers(&store.read(&document).await.expect("read").slots), [1, 2, 3, 4, 5]);
}

/// R1.
pub async fn a_gap_after_the_snapshot_is_an_error(store: Arc<dyn Store>) {
    let document = id("notes");
    if !fill_torn(&*store, &document, [1, 2, 4]).await {
        return;
    }
    add_snapshot(&*store, &document, 2).await;
    let error = store.read(&document).await.expect_err("a gap");
    assert!(matches!(error, StoreError::Gap { after, .. } if after == Slot::new(2)), "{error}");
}

pub async fn reading_on_stops_at_a_gap(store: Arc<dyn Store>) {
    let document = id("notes");
    if !fill_torn(&*store, &document, [1, 2, 3, 5]).await {
        return;
    }
    let after = async |slot| store.read_after(&document, Slot::new(slot)).await;
    assert_eq!(numbers(&after(0).await.expect("read on")), [1, 2, 3]);
    assert_eq!(numbers(&after(2).await.expect("read on")), [3]);
    assert!(matches!(after(3).await, Err(StoreError::Gap { .. })));
    assert_eq!(numbers(&after(4).await.expect("read on")), [5]);
    assert_eq!(numbers(&after(5).await.expect("read on")), []);
    assert_eq!(numbers(&after(6).await.expect("read on")), []);
}

/// I4: whoever was told can prove it.
pub async fn a_created_slot_can_be_read_at_once(store: Arc<dyn Store>) {
    let document = id("notes");
    for slot in 1..=50 {
        fill(&*store, &document, [slot]).await;
        let found = store.read_after(&document, Slot::new(slot - 1)).await.expect("read on");
        assert_eq!(numbers(&found), [slot]);
    }
}

/// The order in which slots become durable is the order in which they were created, whatever shares their commits.
pub async fn a_reader_never_sees_a_slot_without_those_before(store: Arc<dyn Store>) {
    const SLOTS: u64 = 60;
    let mut writers = JoinSet::new();
    for document in ["a", "b", "c", "d"].map(id) {
        let store = store.clone();
        writers.spawn(async move { fill(&*store, &document, 1..=SLOTS).await });
    }
    let mut seen = 0;
    while seen < SLOTS {
        if let Some(ended) = writers.try_join_next() {
            ended.expect("no writer panics");
        }
        let now = numbers(&store.read(&id("a")).await.expect("no gap at any time").slots);
        assert!(now.len() as u64 >= seen, "what was seen once stays");
        seen = now.len() as u64;
        tokio::task::yield_now().await;
    }
    writers.join_all().await;
}

pub async fn what_was_handed_over_and_forgotten_does_no_harm(store: Arc<dyn Store>) {
    let document = id("notes");
    let mut forgetful = JoinSet::new();
    for slot in 1..=20 {
        let (store, document) = (store.clone(), document.clone());
        forgetful.spawn(async move { store.create_slot(&document, Slot::new(slot), record(slot)).await });
    }
    forgetful.abort_all();
    while forgetful.join_next().await.is_some() {}
    for slot in 1..=20 {
        let created = store.create_slot(&document, Slot::new(slot), record(slot)).await.expect("create");
        assert!(created.by(&writer(slot)), "{created:?}");
    }
    assert_eq!(store.read(&document).await.expect("read").slots.len(), 20);
}

pub async fn a_closed_store_has_decided_everything_and_takes_nothing(store: Arc<dyn Store>) {
    let document = id("notes");
    let mut appends = JoinSet::new();
    for slot in 1..=50 {
        let (store, document) = (store.clone(), document.clone());
        appends.spawn(async move { store.create_slot(&document, Slot::new(slot), record(slot)).await });
    }
    let first = appends.join_next().await.expect("there are fifty").expect("no panic");
    assert!(matches!(first, Ok(Created::Created | Created::Gap)), "{first:?}");
    let closing = store.clone();
    let other = JoinSet::from_iter([async move { closing.close().await }]);
    store.close().await;
    for outcome in appends.join_all().await {
        // They come in no order, so some may have come before the slot that they follow.
        let decided = matches!(outcome, Ok(Created::Created | Created::Gap) | Err(StoreError::Closed));
        assert!(decided, "{outcome:?}");
    }
    assert!(matches!(store.read(&document).await, Err(StoreError::Closed)));
    assert!(matches!(store.list("", None, 1).await, Err(StoreError::Closed)));
    let late = store.create_slot(&document, Slot::new(51), record(51)).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    other.join_all().await;
    store.close().await;
}
