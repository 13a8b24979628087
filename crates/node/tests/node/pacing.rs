//! When documents move to whom the ring names, and when they stay.

use std::time::Duration;

use ringleaf_coordinator::Pacing;
use ringleaf_node::Moves;
use tokio::time::{sleep, timeout};

use crate::editor::{Editor, PATIENCE};
use crate::moving::{Pair, pair, view};

/// Longer than it takes a node to look.
const LONG: Duration = Duration::from_secs(10);

/// An editor of a document that belongs to the other node when both serve.
async fn edit(pair: &Pair) -> Editor {
    let both = view(2, &["from", "to"]).unwrap();
    let names = (0..).map(|number| format!("notes-{number}"));
    let mut theirs = names.filter(|name| both.owner(&name.parse().unwrap()).as_str() == "to");
    let mut editor = Editor::join(&pair.from, &theirs.next().unwrap(), 1).await;
    editor.type_in("kept").await;
    editor.all_acknowledged().await;
    editor
}

async fn moved(pair: &Pair) {
    let moved = async {
        while pair.from.moves().moved == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, moved).await.expect("the document moves");
}

fn pause(pair: &Pair, paused: bool) {
    *pair.ring.1.lock().unwrap() = Pacing { paused, ..Pacing::default() };
}

#[tokio::test(start_paused = true)]
async fn while_moves_are_paused_documents_stay_and_then_they_move() {
    let pair = pair(usize::MAX);
    let mut editor = edit(&pair).await;
    pause(&pair, true);
    pair.ring.0.send_replace(view(2, &["from", "to"]));
    sleep(LONG).await;
    editor.type_in("!").await;
    editor.all_acknowledged().await;
    let rebalance = pair.from.rebalance();
    assert_eq!((rebalance.to_move, rebalance.going, rebalance.moves), (1, 0, Moves::default()));
    pause(&pair, false);
    moved(&pair).await;
    assert_eq!(pair.from.rebalance().to_move, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_the_ring_is_emptied_though_moves_are_paused() {
    let pair = pair(usize::MAX);
    let _editor = edit(&pair).await;
    pause(&pair, true);
    pair.ring.0.send_replace(view(2, &["to"]));
    moved(&pair).await;
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_is_soon_as_it_was_moves_nothing() {
    let pair = pair(usize::MAX);
    let _editor = edit(&pair).await;
    pair.ring.0.send_replace(view(2, &["from", "to"]));
    sleep(Pacing::default().debounce * 4 / 5).await;
    assert_eq!(pair.from.rebalance().to_move, 1);
    pair.ring.0.send_replace(view(3, &["from"]));
    sleep(LONG).await;
    assert_eq!(pair.from.moves(), Moves::default());
    pair.ring.0.send_replace(view(4, &["from", "to"]));
    moved(&pair).await;
}

/// Limit: `in_max`. Sources come again; a greater one holds at once.
#[tokio::test(start_paused = true)]
async fn a_target_that_takes_nothing_gets_nothing_until_it_does() {
    let pair = pair(usize::MAX);
    let _editor = edit(&pair).await;
    *pair.ring.1.lock().unwrap() = Pacing { in_max: 0, ..Pacing::default() };
    pair.ring.0.send_replace(view(2, &["from", "to"]));
    sleep(LONG).await;
    assert_eq!(pair.from.moves(), Moves::default());
    *pair.ring.1.lock().unwrap() = Pacing::default();
    moved(&pair).await;
}
