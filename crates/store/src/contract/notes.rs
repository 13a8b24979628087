//! Rules about load attempts and quarantine.

use std::sync::Arc;

use super::{fill, id};
use crate::{Mark, Store};

fn mark(attempts: u32, reason: Option<&str>) -> Mark {
    Mark { attempts, reason: reason.map(str::to_owned) }
}

/// R8.
pub async fn attempts_are_counted_until_one_ends_well(store: Arc<dyn Store>) {
    let (document, other) = (id("notes"), id("other"));
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(1, None));
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(2, None));
    assert_eq!(store.mark_attempt(&other).await.expect("mark"), mark(1, None));
    store.mark_outcome(&document, None).await.expect("outcome");
    store.mark_outcome(&document, None).await.expect("outcome");
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(1, None));
    assert_eq!(store.mark_attempt(&other).await.expect("mark"), mark(2, None));
}

pub async fn who_has_notes_can_be_asked(store: Arc<dyn Store>) {
    assert_eq!(store.noted().await.expect("noted"), []);
    for name in ["notes", "other", "notes"] {
        store.mark_attempt(&id(name)).await.expect("mark");
    }
    store.mark_outcome(&id("third"), Some("it never began".into())).await.expect("outcome");
    assert_eq!(store.noted().await.expect("noted"), [(id("notes"), 2), (id("other"), 1)]);
    store.mark_outcome(&id("notes"), None).await.expect("outcome");
    store.mark_outcome(&id("other"), Some("it panicked".into())).await.expect("outcome");
    assert_eq!(store.noted().await.expect("noted"), [(id("other"), 1)]);
}

/// R8.
pub async fn the_reason_of_a_failed_attempt_is_kept(store: Arc<dyn Store>) {
    let document = id("notes");
    store.mark_attempt(&document).await.expect("mark");
    store.mark_outcome(&document, Some("it panicked".into())).await.expect("outcome");
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(2, Some("it panicked")));
    store.mark_outcome(&document, Some("again".into())).await.expect("outcome");
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(3, Some("again")));
    store.mark_outcome(&document, None).await.expect("outcome");
    assert_eq!(store.mark_attempt(&document).await.expect("mark"), mark(1, None));
}

pub async fn a_noted_document_is_not_a_written_one(store: Arc<dyn Store>) {
    let document = id("notes");
    store.mark_attempt(&document).await.expect("mark");
    store.quarantine(&document, "it broke".into()).await.expect("quarantine");
    assert_eq!(store.list("", None, 9).await.expect("list"), []);
    assert_eq!(store.tails(&[document]).await.expect("tails"), []);
    assert_eq!(store.quarantined().await.expect("quarantined").len(), 1);
}

/// R8.
pub async fn quarantine_keeps_the_first_reason_until_released(store: Arc<dyn Store>) {
    let document = id("notes");
    fill(&*store, &document, [1]).await;
    store.mark_attempt(&document).await.expect("mark");
    store.quarantine(&document, "first".into()).await.expect("quarantine");
    let since = store.quarantined().await.expect("quarantined")[0].since;
    store.quarantine(&document, "second".into()).await.expect("quarantine");
    store.quarantine(&id("a"), "other".into()).await.expect("quarantine");
    let all = store.quarantined().await.expect("quarantined");
    let found: Vec<_> = all.iter().map(|found| (found.document.as_str(), found.reason.as_str())).collect();
    assert_eq!(found, [("a", "other"), ("notes", "first")]);
    assert_eq!(all[1].since, since);
    assert!(store.release(&document).await.expect("release"));
    assert!(!store.release(&document).await.expect("release"), "it was released");
    assert_eq!(store.quarantined().await.expect("quarantined").len(), 1);
    assert_eq!(store.mark_attempt(&document).await.expect("mark").attempts, 1, "the notes went with it");
}
