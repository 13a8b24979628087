use std::future::Future;
use std::sync::mpsc;

use ringleaf_store::MemoryStore;
use ringleaf_types::{Incarnation, Limits};
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::{Node, NodeConfig};

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

async fn start(store: &Arc<MemoryStore>) -> Arc<Node> {
    let limits = Arc::new(Limits::default());
    let config = NodeConfig {
        node: "here".parse().unwrap(),
        incarnation: Incarnation::new(1),
        limits,
        reader: ringleaf_reader::Program::default(),
        gc: ringleaf_types::GcRules::default(),
    };
    let node = Node::start(config, Arc::clone(store) as Arc<dyn Store>);
    assert!(!holds(&node.shared, &id("any")).await.unwrap());
    node
}

/// Decodes until it is told to end.
struct Decoding {
    task: JoinHandle<()>,
    began: mpsc::Receiver<()>,
    end: mpsc::SyncSender<()>,
}

fn decode_slowly(node: &Node, name: &str) -> Decoding {
    let (begins, began) = mpsc::sync_channel(1);
    let (end, ended) = mpsc::sync_channel(1);
    let (shared, document) = (Arc::clone(&node.shared), id(name));
    let work = move || {
        begins.send(()).unwrap();
        let _ = ended.recv();
    };
    #[expect(clippy::disallowed_methods, reason = "a test waits for it")]
    let task = tokio::spawn(async move {
        decode(&shared, &document, Urgency::Background, None, work).await.unwrap().unwrap();
    });
    Decoding { task, began, end }
}

impl Decoding {
    async fn until_it_began(&self) {
        until(async || self.began.try_recv().is_ok()).await;
    }
}

async fn until<F: Future<Output = bool>>(fact: impl Fn() -> F) {
    let patience = Duration::from_secs(20);
    let waited = tokio::time::timeout(patience, async {
        while !fact().await {
            yield_now().await;
        }
    });
    waited.await.expect("it becomes true in time");
}

async fn noted(store: &MemoryStore) -> Vec<(String, u32)> {
    let noted = store.noted().await.unwrap();
    noted.into_iter().map(|(document, attempts)| (document.as_str().to_owned(), attempts)).collect()
}

fn notes<const N: usize>(notes: [(&str, u32); N]) -> Vec<(String, u32)> {
    notes.map(|(name, attempts)| (name.to_owned(), attempts)).to_vec()
}

/// Whoever asked for a document's content may lose patience; and what was not decoded says nothing against it.
#[tokio::test]
async fn a_decoding_that_nobody_waits_for_leaves_its_note_only_while_it_lasts() {
    let store = Arc::new(MemoryStore::new());
    let node = start(&store).await;
    let (first, second) = (decode_slowly(&node, "first"), decode_slowly(&node, "second"));
    first.until_it_began().await;
    until(async || noted(&store).await == notes([("first", 1), ("second", 1)])).await;
    first.task.abort();
    second.task.abort();
    until(async || noted(&store).await == notes([("first", 1)])).await;
    first.end.send(()).unwrap();
    until(async || noted(&store).await.is_empty()).await;
}

#[tokio::test]
async fn a_node_that_stops_in_order_leaves_no_notes() {
    let store = Arc::new(MemoryStore::new());
    let node = start(&store).await;
    let decoding = decode_slowly(&node, "notes");
    decoding.until_it_began().await;
    node.stop(Duration::from_secs(1)).await;
    assert_eq!(noted(&store).await, []);
    drop(decoding.end);
}

/// Many documents are decoded at the same time when all editors come back. The process dies of one of them, and the same
/// happens again: the others are well.
#[tokio::test]
async fn a_document_that_ends_the_process_takes_no_others_into_quarantine() {
    let store = Arc::new(MemoryStore::new());
    for name in ["healthy", "poisonous"] {
        store.mark_attempt(&id(name)).await.unwrap();
    }
    let node = start(&store).await;
    let poisonous = decode_slowly(&node, "poisonous");
    poisonous.until_it_began().await;
    let (healthy, new) = (decode_slowly(&node, "healthy"), decode_slowly(&node, "new"));
    until(async || noted(&store).await.len() == 3).await;
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(noted(&store).await, notes([("healthy", 1), ("new", 1), ("poisonous", 2)]));
    assert!(new.began.try_recv().is_err(), "nothing else is decoded meanwhile");
    poisonous.end.send(()).unwrap();
    for other in [&new, &healthy] {
        other.end.send(()).unwrap();
    }
    until(async || noted(&store).await.is_empty()).await;
    let again = decode_slowly(&node, "healthy");
    again.until_it_began().await;
    assert_eq!(noted(&store).await, notes([("healthy", 1)]));
    again.end.send(()).unwrap();
}

/// Others close documents and open them again, on the store that all share.
#[tokio::test(start_paused = true)]
async fn what_another_node_has_closed_is_closed_here_and_what_it_releases_is_open() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (here, notes) = (Quarantine::default(), id("notes"));
    let in_a_cluster = async || here.holds(&notes, &store, true).await.unwrap();
    assert!(!in_a_cluster().await);
    store.quarantine(&notes, "it broke".into()).await.unwrap();
    assert!(!here.holds(&notes, &store, false).await.unwrap(), "alone, nobody else closes anything");
    tokio::time::advance(FRESH_FOR).await;
    assert!(in_a_cluster().await);
    store.release(&notes).await.unwrap();
    assert!(in_a_cluster().await, "the store is not asked for every document");
    tokio::time::advance(FRESH_FOR).await;
    assert!(!in_a_cluster().await);
    here.insert(&notes);
    tokio::time::advance(FRESH_FOR).await;
    assert!(in_a_cluster().await, "the store does not have it yet");
    here.saved(&notes);
    tokio::time::advance(FRESH_FOR).await;
    assert!(!in_a_cluster().await, "somebody else has released it");
}
