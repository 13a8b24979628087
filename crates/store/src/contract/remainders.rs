//! Rules about what is kept beside a document until its ground comes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_types::{DocumentId, Remainder, Slot};

use super::{add_snapshot, fill, id, snapshot};
use crate::{Store, StoreError};

/// The first day of 2024, in milliseconds.
const LONG_AGO: u64 = 1_704_067_200_000;

/// Its bytes say which one it is.
fn remainder(number: u64, age: u64) -> Remainder {
    let since = UNIX_EPOCH + Duration::from_millis(LONG_AGO - age);
    Remainder { id: number, since, bytes: Bytes::from(format!("remainder {number}")) }
}

async fn keep(store: &dyn Store, document: &DocumentId, remainder: Remainder) {
    store.keep_remainder(document, remainder).await.expect("keep a remainder");
}

async fn kept(store: &dyn Store, document: &DocumentId) -> Vec<u64> {
    let found = store.remainders(document).await.expect("remainders");
    found.iter().map(|remainder| remainder.id).collect()
}

async fn documents(store: &dyn Store, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(id);
    let found = store.with_remainders(after.as_ref(), limit).await.expect("with remainders");
    found.iter().map(|document| document.as_str().to_owned()).collect()
}

pub async fn remainders_come_back_by_age_as_they_went(store: Arc<dyn Store>) {
    let document = id("notes");
    assert_eq!(store.remainders(&document).await.expect("remainders"), []);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let youngest = Remainder { since: UNIX_EPOCH + Duration::from_millis(now), ..remainder(0, 0) };
    let empty = Remainder { bytes: Bytes::new(), ..remainder(u64::MAX, 2) };
    let expected = [remainder(1 << 63, 3), remainder(7, 2), empty, remainder(9, 1), youngest];
    for index in [1, 4, 2, 0, 3] {
        keep(&*store, &document, expected[index].clone()).await;
    }
    assert_eq!(store.remainders(&document).await.expect("remainders"), expected);
    assert_eq!(store.remainders(&id("other")).await.expect("remainders"), []);
}

/// A try whose reply was lost is repeated; and nothing is ever overwritten.
pub async fn a_remainder_is_kept_once(store: Arc<dyn Store>) {
    let document = id("notes");
    for _ in 0..3 {
        keep(&*store, &document, remainder(1, 0)).await;
    }
    for length in [0, 3, 2 << 20] {
        let other = Remainder { bytes: Bytes::from(vec![7; length]), ..remainder(1, 5) };
        keep(&*store, &document, other).await;
        assert_eq!(store.remainders(&document).await.expect("remainders"), [remainder(1, 0)], "{length}");
    }
}

pub async fn a_large_remainder_comes_back_as_it_went(store: Arc<dyn Store>) {
    let document = id("notes");
    let bytes: Vec<u8> = (0_u64..700_000).flat_map(u64::to_le_bytes).collect();
    let large = |number, length| Remainder {
        bytes: Bytes::copy_from_slice(&bytes[..length]),
        ..remainder(number, 0)
    };
    let expected: Vec<Remainder> = [4 << 20, (512 << 10) - 14, (512 << 10) - 13, 1 << 20, 5_600_000]
        .into_iter()
        .zip(1..)
        .map(|(length, number)| large(number, length))
        .collect();
    for remainder in &expected {
        keep(&*store, &document, remainder.clone()).await;
    }
    assert!(store.remainders(&document).await.expect("remainders") == expected);
    store.drop_remainders(&document, &[1, 3]).await.expect("drop");
    assert_eq!(kept(&*store, &document).await, [2, 4, 5]);
    keep(&*store, &document, remainder(3, 0)).await;
    let found = store.remainders(&document).await.expect("remainders");
    assert!(found[1] == remainder(3, 0), "nothing of the large one is left");
}

pub async fn dropped_remainders_are_gone_and_no_others(store: Arc<dyn Store>) {
    let (document, other) = (id("notes"), id("other"));
    for number in 0..1_200 {
        keep(&*store, &document, remainder(number, 0)).await;
    }
    keep(&*store, &other, remainder(5, 0)).await;
    let most: Vec<u64> = (0..1_200).filter(|number| number % 400 != 399).chain([5_000]).collect();
    for _ in 0..2 {
        store.drop_remainders(&document, &most).await.expect("drop");
        assert_eq!(kept(&*store, &document).await, [399, 799, 1_199]);
    }
    store.drop_remainders(&id("never"), &[1]).await.expect("drop");
    store.drop_remainders(&document, &[]).await.expect("drop");
    store.drop_remainders(&document, &[1_199, 399, 799]).await.expect("drop");
    assert_eq!(kept(&*store, &document).await, [0; 0]);
    assert_eq!(kept(&*store, &other).await, [5]);
    assert_eq!(documents(&*store, None, 9).await, ["other"]);
}

pub async fn a_document_with_remainders_alone_is_not_a_written_one(store: Arc<dyn Store>) {
    let document = id("notes");
    keep(&*store, &document, remainder(1, 0)).await;
    assert_eq!(store.list("", None, 9).await.expect("list"), []);
    assert_eq!(store.tails(std::slice::from_ref(&document)).await.expect("tails"), []);
    let stored = store.read(&document).await.expect("read");
    assert_eq!((stored.snapshot, stored.slots), (None, vec![]));
    fill(&*store, &document, [1]).await;
    let listed = store.list("", None, 9).await.expect("list");
    assert_eq!((listed[0].last, listed[0].tail_slots), (Slot::new(1), 1));
    assert_eq!(kept(&*store, &document).await, [1]);
}

pub async fn who_has_remainders_can_be_asked(store: Arc<dyn Store>) {
    let sorted = ["A", "a", "a b", "a/1", "é", "\u{10ffff}"];
    assert_eq!(documents(&*store, None, 9).await, [""; 0]);
    for name in ["é", "a", "\u{10ffff}", "a/1", "A", "a b"] {
        keep(&*store, &id(name), remainder(1, 0)).await;
        keep(&*store, &id(name), remainder(2, 0)).await;
    }
    fill(&*store, &id("written"), [1]).await;
    assert_eq!(documents(&*store, None, 100).await, sorted);
    assert_eq!(documents(&*store, None, 0).await, [""; 0]);
    assert_eq!(documents(&*store, Some("a"), 2).await, ["a b", "a/1"]);
    assert_eq!(documents(&*store, Some("a/"), 1).await, ["a/1"], "the name need not exist");
    assert_eq!(documents(&*store, Some("\u{10ffff}"), 9).await, [""; 0]);
}

pub async fn snapshots_and_trims_leave_remainders_alone(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=3).await;
    keep(&*store, &document, remainder(1, 0)).await;
    fill(&*store, &document, 4..=6).await;
    for upto in [2, 4, 6] {
        add_snapshot(&*store, &document, upto).await;
    }
    store.trim(&document).await.expect("trim");
    assert_eq!(store.remainders(&document).await.expect("remainders"), [remainder(1, 0)]);
}

pub async fn a_purge_takes_the_remainders_and_nobody_elses(store: Arc<dyn Store>) {
    let (document, other, alone) = (id("notes"), id("other"), id("alone"));
    fill(&*store, &document, 1..=2).await;
    let large = Remainder { bytes: Bytes::from(vec![7; 2 << 20]), ..remainder(2, 0) };
    for document in [&document, &other, &alone] {
        keep(&*store, document, remainder(1, 0)).await;
        keep(&*store, document, large.clone()).await;
    }
    assert!(!store.purge(&document, snapshot(2)).await.expect("purge"), "there is a slot as high");
    assert_eq!(kept(&*store, &document).await, [1, 2]);
    assert!(store.purge(&document, snapshot(3)).await.expect("purge"));
    assert_eq!(kept(&*store, &document).await, [0; 0]);
    assert!(store.purge(&alone, snapshot(1)).await.expect("purge"), "though it was never written");
    assert_eq!(kept(&*store, &alone).await, [0; 0]);
    assert!(!store.purge(&id("never"), snapshot(1)).await.expect("purge"));
    assert_eq!(documents(&*store, None, 9).await, ["other"]);
    assert_eq!(kept(&*store, &other).await, [1, 2]);
    keep(&*store, &document, remainder(1, 0)).await;
    assert_eq!(kept(&*store, &document).await, [1], "of what the document holds from then on");
}

pub async fn a_closed_store_takes_no_remainders(store: Arc<dyn Store>) {
    let document = id("notes");
    keep(&*store, &document, remainder(1, 0)).await;
    store.close().await;
    let closed = |error: StoreError| assert!(matches!(error, StoreError::Closed), "{error}");
    closed(store.keep_remainder(&document, remainder(2, 0)).await.expect_err("it is closed"));
    closed(store.drop_remainders(&document, &[1]).await.expect_err("it is closed"));
    closed(store.remainders(&document).await.expect_err("it is closed"));
    closed(store.with_remainders(None, 9).await.expect_err("it is closed"));
}
