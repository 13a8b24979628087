//! Against a real server. Without one installed these say so and prove nothing.

mod server;
mod silence;

use std::time::Instant;

use ringleaf_types::{Body, Epoch, Incarnation, Writer};
use tokio::task::JoinSet;

use self::server::{Server, shared};
use super::*;
use crate::Advice;
use crate::contract::Fresh;

crate::contract_tests!(|retention| {
    shared().map(|server| {
        let options = PostgresOptions { retention, ..PostgresOptions::default() };
        let address = server.address();
        let opening = PostgresStore::open(&address, options);
        let runtime = tokio::runtime::Handle::current();
        Fresh::new(tokio::task::block_in_place(|| runtime.block_on(opening)).unwrap())
    })
});

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

fn record(nonce: u64) -> Record {
    let writer = Writer { node: "n1".parse().unwrap(), incarnation: Incarnation::new(7), nonce };
    let body = Body::Updates(vec![Bytes::from(format!("update {nonce}"))]);
    Record { epoch: Epoch::new(1), writer, body }
}

fn snapshot(upto: u64) -> Snapshot {
    Snapshot { upto: Slot::new(upto), epoch: Epoch::new(1), deleted: false, state: Bytes::from_static(b"s") }
}

async fn open(address: &str) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::open(address, PostgresOptions::default()).await.unwrap())
}

/// The `application_name` of an address of the fixture.
fn application(address: &str) -> &str {
    address.split("application_name=").nth(1).unwrap().split(' ').next().unwrap()
}

/// How often the server was told to create slots, by its own log.
fn creating(server: &Server, address: &str) -> usize {
    let log = server.log(application(address));
    // The statement's text begins with a line break, so its first line holds nothing but the statement's name.
    log.iter().filter(|line| line.contains("execute") && line.trim_end().ends_with(':')).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slot_is_one_statement_and_many_share_few() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let store = open(&address).await;
    store.create_slot(&id("first"), Slot::new(1), record(1)).await.unwrap();
    let before = creating(server, &address);
    for slot in 2..=6 {
        store.create_slot(&id("first"), Slot::new(slot), record(slot)).await.unwrap();
    }
    let lone = creating(server, &address) - before;
    assert_eq!(lone, 5);
    let before = creating(server, &address);
    let mut appends = JoinSet::new();
    for document in 0..500 {
        let store = store.clone();
        appends.spawn(async move {
            store.create_slot(&id(&format!("d{document}")), Slot::new(1), record(1)).await
        });
    }
    for outcome in appends.join_all().await {
        assert_eq!(outcome.unwrap(), Created::Created);
    }
    let shared = creating(server, &address) - before;
    assert!((1..=60).contains(&shared), "{shared} statements for 500 slots");
}

/// Two processes that both believe to own the same documents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_stores_that_want_the_same_slots_one_gets_each() {
    const DOCUMENTS: u64 = 20;
    const SLOTS: u64 = 20;
    let Some(server) = shared() else { return };
    let address = server.address();
    let stores = [open(&address).await, open(&address).await];
    let mut appends = JoinSet::new();
    for (index, store) in stores.iter().enumerate() {
        for document in 0..DOCUMENTS {
            let store = store.clone();
            appends.spawn(async move {
                let mut won = 0;
                for slot in 1..=SLOTS {
                    let mine = record(index as u64);
                    match store
                        .create_slot(&id(&format!("d{document}")), Slot::new(slot), mine)
                        .await
                        .unwrap()
                    {
                        Created::Created => won += 1,
                        Created::Taken(other) => assert_eq!(other, record(1 - index as u64)),
                        Created::Covered | Created::Gap => panic!("there is no snapshot, and no gap"),
                    }
                }
                won
            });
        }
    }
    let won: u64 = appends.join_all().await.into_iter().sum();
    assert_eq!(won, DOCUMENTS * SLOTS, "each slot was won exactly once");
}

/// R7: a statement that was held up while the slot was covered, and its row trimmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_beyond_the_log_waits_for_slots_under_way() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let (store, other) = (open(&address).await, open(&address).await);
    store.create_slot(&id("notes"), Slot::new(1), record(1)).await.unwrap();
    let mut stranger = other.connections.get().await.unwrap();
    stranger.begin("BEGIN").await.unwrap();
    let sql = "INSERT INTO ringleaf_slots VALUES ('notes', 2, 0, 0, '')";
    stranger.batch(sql).await.unwrap();
    let mut covering = JoinSet::new();
    let covered = store.clone();
    covering.spawn(async move { covered.create_snapshot(&id("notes"), snapshot(5)).await });
    let locks = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql(locks) == "0" {
        assert!(covering.try_join_next().is_none(), "it did not wait");
        assert!(Instant::now() < deadline);
    }
    stranger.end().await.unwrap();
    assert!(covering.join_next().await.unwrap().unwrap().unwrap());
    let late = store.create_slot(&id("notes"), Slot::new(5), record(5)).await.unwrap();
    assert_eq!(late, Created::Covered);
}

/// What a replica lacks that lagged behind when it was promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_behind_slots_that_were_lost_until_a_snapshot_covers_them() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let store = open(&address).await;
    let create = async |slot| store.create_slot(&id("notes"), Slot::new(slot), record(slot)).await.unwrap();
    for slot in 1..=5 {
        assert_eq!(create(slot).await, Created::Created);
    }
    let mut stranger = store.connections.get().await.unwrap();
    stranger.batch("DELETE FROM ringleaf_slots WHERE slot > 3").await.unwrap();
    drop(stranger);
    assert_eq!(create(6).await, Created::Gap);
    assert_eq!(create(6).await, Created::Gap, "nor at the second try");
    assert_eq!(store.read(&id("notes")).await.unwrap().slots.len(), 3, "the log is whole, though shorter");
    assert!(store.create_snapshot(&id("notes"), snapshot(5)).await.unwrap());
    assert_eq!(create(6).await, Created::Created);
    assert_eq!(create(7).await, Created::Created);
    assert_eq!(create(5).await, Created::Covered);
    assert_eq!(store.read(&id("notes")).await.unwrap().slots.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_middle_was_lost_is_an_error() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let store = open(&address).await;
    for slot in 1..=5 {
        store.create_slot(&id("notes"), Slot::new(slot), record(slot)).await.unwrap();
    }
    let mut stranger = store.connections.get().await.unwrap();
    stranger.batch("DELETE FROM ringleaf_slots WHERE slot = 3").await.unwrap();
    drop(stranger);
    let after = async |slot| store.read_after(&id("notes"), Slot::new(slot)).await;
    assert!(
        matches!(store.read(&id("notes")).await, Err(StoreError::Gap { after, .. }) if after == Slot::new(2))
    );
    assert_eq!(after(0).await.unwrap().len(), 2);
    assert!(matches!(after(2).await, Err(StoreError::Gap { .. })));
    assert_eq!(after(3).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn young_cover_is_not_trimmed_under() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let options = PostgresOptions { retention: Duration::from_secs(1), ..PostgresOptions::default() };
    let store = PostgresStore::open(&address, options).await.unwrap();
    let schema = application(&address);
    for slot in 1..=4 {
        store.create_slot(&id("notes"), Slot::new(slot), record(slot)).await.unwrap();
    }
    for upto in [2, 3] {
        assert!(store.create_snapshot(&id("notes"), snapshot(upto)).await.unwrap());
    }
    server.sql(&format!("UPDATE {schema}.ringleaf_slots SET at = 0"));
    server.sql(&format!("UPDATE {schema}.ringleaf_snapshots SET at = at + 600000"));
    assert_eq!(store.trim(&id("notes")).await.unwrap(), 0);
    server.sql(&format!("UPDATE {schema}.ringleaf_snapshots SET at = 0"));
    assert_eq!(store.trim(&id("notes")).await.unwrap(), 2);
}

/// I1: what was answered is there, and what was not is retried until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing_and_is_only_ever_waited_for() {
    const DOCUMENTS: u64 = 8;
    const SLOTS: u64 = 150;
    let Some(server) = Server::start("") else { return };
    let address = server.address();
    let store = open(&address).await;
    let (at_half, mut halves) = mpsc::channel(DOCUMENTS as usize);
    let mut appends = JoinSet::new();
    for document in 0..DOCUMENTS {
        let (store, at_half) = (store.clone(), at_half.clone());
        appends.spawn(async move {
            let document = id(&format!("d{document}"));
            let (mut slot, mut refused) = (1, 0);
            while slot <= SLOTS {
                match store.create_slot(&document, Slot::new(slot), record(slot)).await {
                    Ok(created) => {
                        assert!(created.by(&record(slot).writer), "{created:?}");
                        slot += 1;
                        if slot == SLOTS / 3 {
                            at_half.send(()).await.unwrap();
                        }
                    }
                    Err(error) => {
                        assert_eq!(error.advice(), Advice::RetryLater, "{}", with_sources(&error));
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            refused
        });
    }
    halves.recv().await.unwrap();
    tokio::task::block_in_place(|| server.restart());
    let refused: u64 = appends.join_all().await.into_iter().sum();
    assert!(refused > 0, "nobody noticed the restart");
    for document in 0..DOCUMENTS {
        let stored = store.read(&id(&format!("d{document}"))).await.unwrap();
        assert_eq!(stored.slots.len() as u64, SLOTS);
        assert!(stored.slots.iter().all(|(slot, found)| *found == record(slot.get())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsafe_settings_are_refused_and_named() {
    let Some(server) = Server::start("fsync = off") else { return };
    let error = PostgresStore::open(&server.address(), PostgresOptions::default()).await.err().unwrap();
    assert!(error.to_string().contains("fsync = off"), "{error}");
    assert!(!error.may_pass());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_server_that_is_not_there_yet_is_worth_waiting_for() {
    let Some(server) = shared() else { return };
    let opened =
        async |address: &str| PostgresStore::open(address, PostgresOptions::default()).await.err().unwrap();
    let nobody = opened("host=127.0.0.1 port=1 user=ringleaf dbname=postgres sslmode=disable").await;
    assert!(nobody.may_pass(), "{nobody:?}");
    let stranger = opened(&format!("{} dbname=nowhere", server.address())).await;
    assert!(matches!(stranger, OpenPostgresError::Database(_)) && !stranger.may_pass(), "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_in_one_line() {
    let Some(server) = shared() else { return };
    let address = server.address();
    open(&address).await.close().await;
    open(&address).await.close().await;
    server.sql(&format!("UPDATE {}.ringleaf_format SET format = 9", application(&address)));
    let error = PostgresStore::open(&address, PostgresOptions::default()).await.err().unwrap();
    assert!(matches!(error, OpenPostgresError::Newer { found: 9, known: 1 }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

fn remainder(number: u64) -> Remainder {
    Remainder { id: number, since: std::time::UNIX_EPOCH, bytes: Bytes::from_static(b"remainder") }
}

/// The version before this one looks at the number of the format, and reads and writes the other tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remainders_are_beside_format_1() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let schema = application(&address);
    server.sql(&format!(
        "SET search_path = {schema}; CREATE TABLE ringleaf_format (format INT8 PRIMARY KEY);
         INSERT INTO ringleaf_format VALUES (1); {}",
        include_str!("../schema_1.sql")
    ));
    let columns = format!(
        "SELECT table_name, column_name, data_type FROM information_schema.columns
         WHERE table_schema = '{schema}' AND table_name <> 'ringleaf_remainders' ORDER BY 1, ordinal_position"
    );
    let before = server.sql(&columns);
    let store = open(&address).await;
    store.keep_remainder(&id("notes"), remainder(1)).await.unwrap();
    store.close().await;
    assert_eq!(server.sql(&columns), before);
    assert_eq!(server.sql(&format!("SELECT format FROM {schema}.ringleaf_format")), "1");
    let store = open(&address).await;
    assert_eq!(store.remainders(&id("notes")).await.unwrap(), [remainder(1)]);
}

/// Where an administrator has taken that right away again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_tables_are_there_opens_without_the_right_to_create_any() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let schema = application(&address);
    open(&address).await.close().await;
    let user = format!("user_{schema}");
    server.sql(&format!(
        "CREATE USER {user}; GRANT USAGE ON SCHEMA {schema} TO {user};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}"
    ));
    let store = open(&address.replace("user=ringleaf", &format!("user={user}"))).await;
    store.keep_remainder(&id("notes"), remainder(1)).await.unwrap();
    assert_eq!(store.remainders(&id("notes")).await.unwrap(), [remainder(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_remainder_is_left_out() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let table = format!("{}.ringleaf_remainders", application(&address));
    let store = open(&address).await;
    for number in 1..=4 {
        store.keep_remainder(&id("notes"), remainder(number)).await.unwrap();
    }
    server.sql(&format!("UPDATE {table} SET record = record || '\\x00' WHERE id = 2"));
    server.sql(&format!("UPDATE {table} SET id = 9 WHERE id = 3"));
    assert_eq!(store.remainders(&id("notes")).await.unwrap(), [remainder(1), remainder(4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_start_at_once_migrate_once() {
    let Some(server) = shared() else { return };
    let address = server.address();
    let mut opening = JoinSet::new();
    for _ in 0..6 {
        let address = address.clone();
        opening.spawn(async move { open(&address).await });
    }
    assert_eq!(opening.join_all().await.len(), 6);
    assert_eq!(server.sql(&format!("SELECT format FROM {}.ringleaf_format", application(&address))), "1");
}

/// Each session says for itself what a commit must promise, so neither the server's settings nor a reload of them count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_durable_whatever_the_server_is_set_to() {
    let Some(server) = Server::start("") else { return };
    for (setting, kept) in [
        ("", "on"),
        ("-c synchronous_commit=local ", "on"),
        ("-c synchronous_commit=remote_write ", "on"),
        ("-c synchronous_commit=remote_apply ", "remote_apply"),
    ] {
        let address = server.address().replace("options='", &format!("options='{setting}"));
        let store = open(&address).await;
        let mut connection = store.connections.get().await.unwrap();
        assert_eq!(show(&mut connection, "synchronous_commit").await, kept, "{setting}");
    }
    let off = server.address().replace("options='", "options='-c synchronous_commit=off ");
    let refused = PostgresStore::open(&off, PostgresOptions::default()).await.err().unwrap();
    let OpenPostgresError::Unsafe { setting, value } = refused else { panic!("{refused}") };
    assert_eq!((setting, value.as_str()), ("synchronous_commit", "off"));
    let store = open(&server.address()).await;
    let mut connection = store.connections.get().await.unwrap();
    server.sql("ALTER SYSTEM SET synchronous_commit = off");
    server.sql("ALTER SYSTEM SET work_mem = '7MB'");
    server.sql("SELECT pg_reload_conf()");
    let deadline = Instant::now() + Duration::from_secs(20);
    while show(&mut connection, "work_mem").await != "7MB" {
        assert!(Instant::now() < deadline, "the session has not heard of it");
    }
    assert_eq!(show(&mut connection, "synchronous_commit").await, "on");
}

async fn show(connection: &mut connections::Lent, setting: &str) -> String {
    connection.query("SELECT current_setting($1)", &[&setting]).await.unwrap()[0].get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_syncing_while_it_runs_is_found_out() {
    let Some(server) = Server::start("") else { return };
    let store = open(&server.address()).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    for (fsync, alarmed) in [("off", true), ("on", false)] {
        assert_eq!(store.alarm().is_some(), !alarmed);
        server.sql(&format!("ALTER SYSTEM SET fsync = {fsync}"));
        server.sql("SELECT pg_reload_conf()");
        while store.alarm().is_some() != alarmed {
            store.tails(&[]).await.unwrap();
            assert!(Instant::now() < deadline, "nobody looks");
        }
    }
}

/// A process that is stopped in the middle must not hold up the others for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_have_time_limits() {
    let Some(server) = shared() else { return };
    let store = open(&server.address()).await;
    let mut connection = store.connections.get().await.unwrap();
    for sql in ["SHOW statement_timeout", "SHOW idle_in_transaction_session_timeout"] {
        let rows = connection.query(sql, &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, String>(0), "30s");
    }
}
