//! Whoever asks for more than can be copied at once waits; the others do not (I14).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringleaf_node::{Node, Stopped};
use ringleaf_types::Limits;
use ringleaf_wire::{Event, Request};
use yrs::updates::encoder::Encode;
use yrs::{ClientID, StateVector};

use crate::editor::{Editor, SESSION, limits, start_with};
use crate::faulty_store::FaultyStore;

/// Each answer is a copy of some megabytes.
const QUESTIONS: u32 = 30;

/// An editor of a document that is too large for a difference on the thread of whoever asks, and one that has asked so many
/// questions, each another one.
async fn asked(node: &Arc<Node>, questions: u32) -> (Editor, Editor) {
    let mut typist = Editor::join(node, "large", 1).await;
    typist.type_in(&"large ".repeat(500_000)).await;
    typist.all_acknowledged().await;
    let mut asker = Editor::join(node, "large", 2).await;
    asker.take_all();
    for has in 1..=questions {
        let mut state_vector = StateVector::default();
        state_vector.set_max(ClientID::new(1_001), has);
        let state_vector = Bytes::from(state_vector.encode_v1());
        asker.submit(Request::SyncRequest { session: SESSION, state_vector }).await;
    }
    (typist, asker)
}

/// A snapshot in the making would be waited for at the end.
fn start_without_snapshots() -> Arc<Node> {
    start_with(FaultyStore::new(), Limits { tail_bytes_max: 64 << 20, ..limits() })
}

/// So many answers have come since this was last asked.
fn answers(editor: &mut Editor) -> usize {
    let events = std::iter::from_fn(|| editor.take());
    events.filter(|event| matches!(event, Event::SyncAnswer { .. })).count()
}

#[tokio::test]
async fn an_edit_does_not_wait_for_all_answers_that_are_owed_to_somebody_else() {
    let node = start_without_snapshots();
    let (mut typist, mut asker) = asked(&node, QUESTIONS).await;
    typist.type_in("!").await;
    typist.all_acknowledged().await;
    let mut answered = answers(&mut asker);
    assert!(answered <= 3, "{answered} answers were made before the edit was taken");
    while answered < QUESTIONS as usize {
        asker.until("another answer", |event, _| matches!(event, Event::SyncAnswer { .. })).await;
        answered += 1;
    }
}

#[tokio::test]
async fn answers_that_are_owed_do_not_hold_up_the_end() {
    let node = start_without_snapshots();
    let (mut typist, mut asker) = asked(&node, QUESTIONS).await;
    typist.type_in("!").await;
    assert_eq!(node.stop(Duration::from_secs(20)).await, Stopped { flushed: 1, forced: 0 });
    typist.all_acknowledged().await;
    let answered = answers(&mut asker);
    assert!(answered <= 3, "{answered} answers were made for nobody");
}

#[tokio::test]
async fn who_has_left_is_not_answered() {
    let node = start_without_snapshots();
    let (mut typist, mut asker) = asked(&node, QUESTIONS).await;
    asker.submit(Request::Detach { session: SESSION }).await;
    // Whoever asks after that gets his answer when the document is done with those before.
    typist.sync().await;
    typist.type_in("!").await;
    typist.all_acknowledged().await;
    let answered = answers(&mut asker);
    assert!(answered <= 3, "{answered} answers were made for nobody");
}
