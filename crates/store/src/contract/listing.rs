//! Rules about listings and tails.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ringleaf_types::{Body, DocumentId, Slot, Snapshot};

use super::{add_snapshot, fill, id, record, record_of, snapshot};
use crate::{Created, Listed, Store, Tail};

async fn names(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after: Option<DocumentId> = after.map(id);
    let listed = store.list(prefix, after.as_ref(), limit).await.expect("list");
    listed.iter().map(|listed| listed.document.as_str().to_owned()).collect()
}

async fn only(store: &dyn Store, name: &str) -> Listed {
    let mut listed = store.list(name, None, 10).await.expect("list");
    assert_eq!(listed.len(), 1, "{name}");
    listed.remove(0)
}

pub async fn tails_are_the_ends_of_logs(store: Arc<dyn Store>) {
    fill(&*store, &id("a"), 1..=3).await;
    fill(&*store, &id("b"), 1..=2).await;
    add_snapshot(&*store, &id("b"), 5).await;
    fill(&*store, &id("c"), 1..=4).await;
    add_snapshot(&*store, &id("c"), 2).await;
    let asked = ["c", "never", "a", "b"].map(id);
    let tails = store.tails(&asked).await.expect("tails");
    let expected =
        [("c", 4), ("a", 3), ("b", 5)].map(|(name, last)| (id(name), Tail { last: Slot::new(last) }));
    assert_eq!(tails, expected);
    assert_eq!(store.tails(&[]).await.expect("tails"), []);
}

pub async fn a_listing_is_ordered_and_goes_on_after_a_name(store: Arc<dyn Store>) {
    let sorted = ["A", "a", "a b", "a/1", "a/10", "a/2", "b", "é", "\u{10ffff}"];
    for name in ["b", "a/10", "é", "A", "a/2", "a", "\u{10ffff}", "a/1", "a b"] {
        fill(&*store, &id(name), [1]).await;
    }
    assert_eq!(names(&*store, "", None, 100).await, sorted);
    assert_eq!(names(&*store, "", None, 0).await, [""; 0]);
    assert_eq!(names(&*store, "a", None, 100).await, ["a", "a b", "a/1", "a/10", "a/2"]);
    assert_eq!(names(&*store, "a", Some("a/1"), 2).await, ["a/10", "a/2"]);
    assert_eq!(names(&*store, "a", Some("a/15"), 2).await, ["a/2"], "the name need not exist");
    assert_eq!(names(&*store, "a/", Some("A"), 1).await, ["a/1"], "a name before the prefix");
    assert_eq!(names(&*store, "a", Some("b"), 9).await, [""; 0], "a name behind the prefix");
    assert_eq!(names(&*store, "\u{10ffff}", None, 9).await, ["\u{10ffff}"]);
    let mut paged = names(&*store, "", None, 1).await;
    while let [next] = &names(&*store, "", paged.last().map(String::as_str), 1).await[..] {
        paged.push(next.clone());
    }
    assert_eq!(paged, sorted);
}

pub async fn a_prefix_is_a_text_and_not_a_pattern(store: Arc<dyn Store>) {
    for name in ["100%", "100x", "a_b", "axb", "[a]", "*", "'quoted'"] {
        fill(&*store, &id(name), [1]).await;
    }
    for prefix in ["100%", "a_", "[a", "*", "'q"] {
        assert_eq!(names(&*store, prefix, None, 9).await.len(), 1, "{prefix}");
    }
}

pub async fn a_listing_says_how_much_there_is(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, 1..=3).await;
    let before = only(&*store, "notes").await;
    assert_eq!((before.last, before.tail_slots), (Slot::new(3), 3));
    assert!(before.bytes >= 3 * b"update 1".len() as u64, "{}", before.bytes);
    let large = Snapshot { state: Bytes::from(vec![7; 10_000]), ..snapshot(2) };
    assert!(store.create_snapshot(&document, large).await.expect("create"));
    let after = only(&*store, "notes").await;
    assert_eq!((after.last, after.tail_slots), (Slot::new(3), 1));
    assert!((10_000..10_100).contains(&(after.bytes - before.bytes)), "{} {}", before.bytes, after.bytes);
    add_snapshot(&*store, &document, 5).await;
    let covered = only(&*store, "notes").await;
    assert_eq!((covered.last, covered.tail_slots), (Slot::new(5), 0));
}

/// R10.
pub async fn a_listing_knows_what_is_deleted(store: Arc<dyn Store>) {
    let document = id("notes");
    let append = async |slot, body| {
        let created = store.create_slot(&document, Slot::new(slot), record_of(body)).await.expect("create");
        assert_eq!(created, Created::Created);
        only(&*store, "notes").await.deleted
    };
    let text = || Body::Updates(vec![Bytes::from_static(b"text")]);
    assert!(!append(1, text()).await);
    assert!(append(2, Body::Deletion).await);
    assert!(append(3, text()).await, "an update does not undelete");
    assert!(!append(4, Body::Undeletion).await);
    assert!(append(5, Body::Deletion).await);
    let deleted = Snapshot { deleted: true, ..snapshot(5) };
    assert!(store.create_snapshot(&document, deleted).await.expect("create"));
    assert!(only(&*store, "notes").await.deleted, "the snapshot says so");
    assert!(!append(6, Body::Undeletion).await);
    assert!(store.create_snapshot(&document, snapshot(6)).await.expect("create"));
    assert!(!only(&*store, "notes").await.deleted);
}

pub async fn a_listing_knows_what_is_in_quarantine(store: Arc<dyn Store>) {
    fill(&*store, &id("notes"), [1]).await;
    fill(&*store, &id("other"), [1]).await;
    store.quarantine(&id("notes"), "it broke".into()).await.expect("quarantine");
    assert!(only(&*store, "notes").await.quarantined);
    assert!(!only(&*store, "other").await.quarantined);
    store.release(&id("notes")).await.expect("release");
    assert!(!only(&*store, "notes").await.quarantined);
}

pub async fn times_in_a_listing_are_those_of_the_changes(store: Arc<dyn Store>) {
    // Times are kept in milliseconds.
    let floor = |time: SystemTime| time - Duration::from_millis(1);
    let document = id("notes");
    let started = floor(SystemTime::now());
    fill(&*store, &document, [1]).await;
    let created = only(&*store, "notes").await;
    assert!(started <= created.created_at && created.created_at <= SystemTime::now());
    assert!(created.created_at <= created.changed_at && created.changed_at <= SystemTime::now());
    let before_second = floor(SystemTime::now());
    let second = store.create_slot(&document, Slot::new(2), record(2)).await.expect("create");
    assert_eq!(second, Created::Created);
    let changed = only(&*store, "notes").await;
    assert_eq!(changed.created_at, created.created_at);
    assert!(changed.changed_at >= before_second);
    add_snapshot(&*store, &document, 2).await;
    assert_eq!(only(&*store, "notes").await.changed_at, changed.changed_at, "a snapshot is no change");
}
