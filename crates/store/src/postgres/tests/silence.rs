//! Connections whose other end still takes what is sent, and answers nothing.

use super::connections::PATIENCE;
use super::server::Frozen;
use super::*;

/// Far below the time after which a silent connection alone would be given up.
const SOON: Duration = Duration::from_secs(15);
const CONNECTIONS: usize = 8;

/// Opens as many connections as there may be. They rest when this returns.
async fn open_all(store: &PostgresStore) {
    let mut lent = Vec::new();
    for _ in 0..CONNECTIONS {
        lent.push(store.connections.get().await.unwrap());
    }
}

/// A store all of whose connections have just gone silent. New ones are as they should be.
async fn all_silent(server: &Server) -> (Arc<PostgresStore>, String, Frozen) {
    let address = server.address();
    let store = open(&address).await;
    store.create_slot(&id("notes"), Slot::new(1), record(1)).await.unwrap();
    open_all(&store).await;
    let frozen = server.freeze(application(&address));
    assert_eq!(frozen.0.len(), CONNECTIONS);
    (store, address, frozen)
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Connections of this application at the server, frozen ones included.
fn sessions(server: &Server, address: &str) -> usize {
    sessions_where(server, address, "true")
}

/// Those of them that wait for a lock.
fn waiting(server: &Server, address: &str) -> usize {
    sessions_where(server, address, "wait_event_type = 'Lock'")
}

fn sessions_where(server: &Server, address: &str, what: &str) -> usize {
    let name = application(address);
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND {what}");
    server.sql(&sql).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_went_silent_are_not_lent_out_again() {
    let Some(server) = shared() else { return };
    let (store, address, _frozen) = all_silent(server).await;
    let given_up = tokio::time::timeout(Duration::from_millis(500), store.tails(&[])).await;
    assert!(given_up.is_err(), "a frozen process answered");
    // One that was given up tells of all: none of the others has to be found out in its turn.
    for _ in 0..CONNECTIONS {
        in_time("a question", store.tails(&[])).await.unwrap();
    }
    assert!(sessions(server, &address) <= 2 * CONNECTIONS);
}

/// Nobody waits long enough to doubt the others, but what was given up is not lent out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_was_dropped_at_once_takes_its_connection_along() {
    let Some(server) = shared() else { return };
    let (store, _, _frozen) = all_silent(server).await;
    for _ in 0..CONNECTIONS {
        assert!(tokio::time::timeout(Duration::from_millis(20), store.tails(&[])).await.is_err());
    }
    in_time("a question", store.tails(&[])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_on_silent_connections_are_made_on_others() {
    let Some(server) = shared() else { return };
    let (store, address, frozen) = all_silent(server).await;
    let mut appends = JoinSet::new();
    for document in 0..30 {
        let store = store.clone();
        appends.spawn(async move {
            let document = id(&format!("d{document}"));
            for slot in 1..=3 {
                let created = store.create_slot(&document, Slot::new(slot), record(slot)).await.unwrap();
                assert!(created.by(&record(slot).writer), "{created:?}");
            }
        });
    }
    in_time("an append", appends.join_all()).await;
    assert!(sessions(server, &address) <= 2 * CONNECTIONS);
    // What was sent to them is carried out at last, and changes nothing.
    drop(frozen);
    in_time("an append", store.create_slot(&id("d0"), Slot::new(4), record(4))).await.unwrap();
    for document in 0..30 {
        let stored = store.read(&id(&format!("d{document}"))).await.unwrap();
        assert!(stored.slots.len() >= 3);
        assert!(stored.slots.iter().all(|(slot, found)| *found == record(slot.get())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_read_on_others_when_connections_went_silent() {
    let Some(server) = shared() else { return };
    let (store, _, _frozen) = all_silent(server).await;
    let mut reads = JoinSet::new();
    for _ in 0..2 * CONNECTIONS {
        let store = store.clone();
        reads.spawn(async move { store.read(&id("notes")).await.unwrap().slots.len() });
    }
    assert_eq!(in_time("a load", reads.join_all()).await, [1; 2 * CONNECTIONS]);
}

/// A lock that somebody holds, say. More connections would only wait as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_merely_slow_is_asked_once_more_and_not_again_and_again() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let store = open(&address).await;
    store.create_slot(&id("notes"), Slot::new(1), record(1)).await.unwrap();
    let other = open(&address).await;
    let mut stranger = other.connections.get().await.unwrap();
    stranger.begin("BEGIN").await.unwrap();
    stranger.batch("LOCK TABLE ringleaf_slots IN SHARE MODE").await.unwrap();
    let appending = store.clone();
    let mut append = JoinSet::new();
    append.spawn(async move { appending.create_slot(&id("notes"), Slot::new(2), record(2)).await });
    let deadline = Instant::now() + SOON;
    while waiting(server, &address) < 2 {
        assert!(append.try_join_next().is_none(), "it did not wait");
        assert!(Instant::now() < deadline, "it was not asked again");
    }
    // Else either of the two may answer first.
    let _frozen = server.freeze_last(application(&address));
    stranger.end().await.unwrap();
    let created = in_time("the append", append.join_next()).await.unwrap().unwrap().unwrap();
    assert!(created.by(&record(2).writer), "{created:?}");
    assert_eq!(store.connections.patience(), 2 * PATIENCE, "the next time it is waited for longer");
    store.create_slot(&id("notes"), Slot::new(3), record(3)).await.unwrap();
    assert_eq!(store.connections.patience(), PATIENCE);
}

/// The statement of a caller that has gone does not wait on for a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_ends_at_the_server() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let store = open(&address).await;
    let other = open(&address).await;
    let mut stranger = other.connections.get().await.unwrap();
    stranger.begin("BEGIN").await.unwrap();
    stranger.batch("LOCK TABLE ringleaf_documents IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), store.tails(&[])).await.is_err());
    let deadline = Instant::now() + SOON;
    while waiting(server, &address) > 0 {
        assert!(Instant::now() < deadline, "it still waits");
    }
    drop(stranger);
}
