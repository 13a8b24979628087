//! Editors on one document.

use std::sync::Arc;

use ringleaf_store::MemoryStore;

use crate::editor::{Editor, start};

#[tokio::test]
async fn what_one_types_the_other_sees_and_a_late_joiner_gets_all() {
    let node = start(Arc::new(MemoryStore::new()));
    let mut first = Editor::join(&node, "notes", 1).await;
    let mut second = Editor::join(&node, "notes", 2).await;
    first.type_in("hello").await;
    first.all_acknowledged().await;
    second.until_text("hello").await;
    second.type_in(" world").await;
    first.until_text("hello world").await;
    let late = Editor::join(&node, "notes", 3).await;
    assert_eq!(late.text(), "hello world");
}
