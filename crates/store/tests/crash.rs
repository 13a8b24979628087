//! The process ends at any moment: everything that was reported as created is there afterwards (I1).
//!
//! The tests start this very executable again as a child that appends in a loop and prints what was created.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "everything in here is a test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use ringleaf_store::{Advice, Created, SqliteOptions, SqliteStore, Store};
use ringleaf_types::{Body, DocumentId, Epoch, Incarnation, Record, Remainder, Slot, Snapshot, Writer};
use tokio::task::JoinSet;

/// Tells the child where its store is.
const FOLDER: &str = "RINGLEAF_STORE_CRASH_FOLDER";
/// Tells the child to try again when the store says so.
const PATIENT: &str = "RINGLEAF_STORE_CRASH_PATIENT";
/// Where the child's standard error goes, beside its store.
const ERRORS: &str = "errors";
const DOCUMENTS: u64 = 8;

fn document(number: u64) -> DocumentId {
    format!("document {number}").parse().unwrap()
}

fn record(slot: u64) -> Record {
    let writer = Writer { node: "n1".parse().unwrap(), incarnation: Incarnation::new(7), nonce: slot };
    // Now and then one that is written in pieces.
    let times = if slot % 60 == 30 { 300_000 } else { 20 };
    let update = Bytes::from(slot.to_string().repeat(times));
    Record { epoch: Epoch::new(1), writer, body: Body::Updates(vec![update]) }
}

/// One for each slot, kept before it and dropped when there are so many younger ones.
const REMAINDERS: u64 = 20;

fn remainder(slot: u64) -> Remainder {
    // Now and then one that is written in pieces.
    let times = if slot % 30 == 10 { 300_000 } else { 20 };
    let bytes = Bytes::from(slot.to_string().repeat(times));
    Remainder { id: slot, since: UNIX_EPOCH + Duration::from_secs(slot), bytes }
}

async fn keep_remainder(store: &SqliteStore, document: &DocumentId, slot: u64) {
    store.keep_remainder(document, remainder(slot)).await.unwrap();
    if slot > REMAINDERS {
        store.drop_remainders(document, &[slot - REMAINDERS]).await.unwrap();
    }
}

fn open(folder: &Path) -> SqliteStore {
    let options = SqliteOptions { retention: Duration::ZERO, ..SqliteOptions::default() };
    SqliteStore::open(folder, options).unwrap()
}

/// Appends for ever, makes snapshots, trims, and prints each slot after it was created.
async fn append_for_ever(store: &SqliteStore, number: u64) {
    let document = document(number);
    let stored = store.read(&document).await.unwrap();
    let upto = stored.snapshot.map_or(0, |snapshot| snapshot.upto.get());
    let first = stored.slots.last().map_or(upto, |(slot, _)| slot.get()) + 1;
    for slot in first.. {
        keep_remainder(store, &document, slot).await;
        let created = store.create_slot(&document, Slot::new(slot), record(slot)).await.unwrap();
        assert_eq!(created, Created::Created);
        // One write, so that a line is there whole or not at all.
        std::io::stdout().write_all(format!("\ncreated {number} {slot}\n").as_bytes()).unwrap();
        if slot % 25 == 0 {
            let state = Bytes::from(vec![7; 20_000]);
            let snapshot = Snapshot { upto: Slot::new(slot), epoch: Epoch::new(1), deleted: false, state };
            store.create_snapshot(&document, snapshot).await.unwrap();
            store.trim(&document).await.unwrap();
        }
    }
}

/// The same on a disk that often fails: what is refused is tried again, as the advice says.
async fn append_patiently(store: &SqliteStore, number: u64) {
    let document = document(number);
    for slot in 1.. {
        loop {
            match store.create_slot(&document, Slot::new(slot), record(slot)).await {
                Ok(created) => break assert!(created.by(&record(slot).writer), "{created:?}"),
                Err(error) => assert_eq!(error.advice(), Advice::RetryLater, "{error}"),
            }
        }
        std::io::stdout().write_all(format!("\ncreated {number} {slot}\n").as_bytes()).unwrap();
    }
}

/// The child's whole life. When the tests run normally, it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = std::sync::Arc::new(open(Path::new(&folder)));
        let mut appends = JoinSet::new();
        for number in 0..DOCUMENTS {
            let store = store.clone();
            appends.spawn(async move {
                match std::env::var_os(PATIENT) {
                    Some(_) => append_patiently(&store, number).await,
                    None => append_for_ever(&store, number).await,
                }
            });
        }
        // It ends only by panic.
        appends.join_next().await.unwrap().unwrap();
    });
}

fn start(mut command: Command, folder: &Path) -> Child {
    command
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        // Not a pipe: nobody reads it while the child runs, and a full one would stop it.
        .stderr(File::create(folder.join(ERRORS)).unwrap())
        .spawn()
        .unwrap()
}

/// What the child said on its standard error.
fn errors_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(ERRORS)).unwrap()
}

/// Reads what the child created, until it ends; after `lines` it is asked to end with `kill`.
fn created_by(child: &mut Child, lines: usize, kill: impl Fn(&mut Child)) -> BTreeMap<u64, u64> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (read, reading) = sync_channel(1_000);
    let reader = std::thread::spawn(move || output.lines().try_for_each(|line| read.send(line.unwrap())));
    let mut last = BTreeMap::new();
    let mut seen = 0;
    loop {
        let line = match reading.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                kill(child);
                panic!("the child created nothing for a minute");
            }
        };
        let Some(numbers) = line.strip_prefix("created ") else { continue };
        let (number, slot) = numbers.split_once(' ').unwrap();
        last.insert(number.parse().unwrap(), slot.parse().unwrap());
        seen += 1;
        if seen == lines {
            kill(child);
        }
    }
    reader.join().unwrap().unwrap();
    last
}

/// Every slot that was reported is there, readable, with its own record, and nothing has a gap.
async fn check(folder: &Path, created: &BTreeMap<u64, u64>) {
    let store = open(folder);
    check_slots(&store, created).await;
    store.close().await;
}

async fn check_slots(store: &SqliteStore, created: &BTreeMap<u64, u64>) {
    for (&number, &last) in created {
        let stored = store.read(&document(number)).await.unwrap();
        let upto = stored.snapshot.map_or(0, |snapshot| snapshot.upto.get());
        let end = stored.slots.last().map_or(upto, |(slot, _)| slot.get());
        assert!(end >= last, "slot {last} of document {number} was reported, the log ends at {end}");
        for (slot, found) in stored.slots {
            assert_eq!(found, record(slot.get()));
        }
    }
}

/// Every remainder that was kept and not dropped is there, whole, and at most the next one.
async fn check_remainders(store: &SqliteStore, created: &BTreeMap<u64, u64>) {
    for (&number, &last) in created {
        let found = store.remainders(&document(number)).await.unwrap();
        let ids: Vec<u64> = found.iter().map(|remainder| remainder.id).collect();
        let first = (last + 1).saturating_sub(REMAINDERS).max(1);
        // It ended before the next one was kept, before another was dropped for that, or before the next slot was reported.
        let ends = [(first, last), (first, last + 1), (first + 1, last + 1)];
        assert!(ends.iter().any(|&(first, last)| ids.iter().copied().eq(first..=last)), "{last}: {ids:?}");
        assert!(found.iter().all(|found| *found == remainder(found.id)), "document {number}");
    }
}

#[tokio::test]
async fn what_was_created_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=10 {
        let mut child = start(Command::new(std::env::current_exe().unwrap()), folder.path());
        let created = created_by(&mut child, 40 * round, |child| child.kill().unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!created.is_empty());
        // Opened once: a process that another test starts holds what is open here, the lock too, until it is another program.
        let store = open(folder.path());
        check_slots(&store, &created).await;
        check_remainders(&store, &created).await;
        store.close().await;
    }
}

fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = traced.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: strace is not installed or may not trace");
    }
    works
}

fn traced(arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(arguments).arg(std::env::current_exe().unwrap());
    command
}

/// Killing strace would leave the child alone, so that one is killed.
fn kill_traced(strace: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let children = std::fs::read_to_string(children).unwrap();
    for pid in children.split_whitespace() {
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    }
}

/// Writes that fail are not lost writes: the commit is rolled back, and everybody tries again.
#[tokio::test]
async fn writes_that_fail_now_and_then_lose_nothing() {
    if !can_trace() {
        return;
    }
    for error in ["ENOSPC", "EIO", "EDQUOT"] {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).close().await;
        // A commit takes some twenty writes, a piece of a large record three hundred: rare enough for all to succeed.
        let inject = format!("inject=pwrite64:error={error}:when=30+701");
        let mut command = traced(&["-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject]);
        command.env(PATIENT, "1");
        let mut child = start(command, folder.path());
        let created = created_by(&mut child, 400, kill_traced);
        child.wait().unwrap();
        let errors = errors_of(folder.path());
        let told = if error == "ENOSPC" { "the disk is full" } else { "a commit was rolled back" };
        assert!(errors.contains(told), "{errors}");
        assert_eq!(created.len() as u64, DOCUMENTS);
        check(folder.path(), &created).await;
    }
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_and_nothing_that_was_created_is_lost() {
    if !can_trace() {
        return;
    }
    for when in [3, 20, 60] {
        let folder = tempfile::tempdir().unwrap();
        // Not while the store is made: that is an error of opening it.
        open(folder.path()).close().await;
        let inject = format!("inject=fdatasync:error=EIO:when={when}");
        let trace = ["-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        let mut child = start(traced(&trace), folder.path());
        let created = created_by(&mut child, usize::MAX, kill_traced);
        let ended = child.wait().unwrap();
        let errors = errors_of(folder.path());
        assert_eq!(ended.signal(), Some(6), "it aborts: {errors}");
        let told = errors.matches("the disk did not keep what was written to it").count();
        assert_eq!(told, 1, "{errors}");
        assert!(errors.contains("ERROR"), "{errors}");
        check(folder.path(), &created).await;
    }
}

/// The bundled SQLite would sync more than it needs to, unless it is told that fdatasync is there.
#[tokio::test]
async fn commits_sync_data_only() {
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close().await;
    let log = folder.path().join("trace");
    let mut child =
        start(traced(&["-o", log.to_str().unwrap(), "-e", "trace=fsync,fdatasync"]), folder.path());
    created_by(&mut child, 400, kill_traced);
    child.wait().unwrap();
    let trace = std::fs::read_to_string(log).unwrap();
    let data_syncs = trace.matches("fdatasync(").count();
    let full_syncs = trace.matches("fsync(").count();
    assert!(data_syncs > 20, "{data_syncs}");
    assert!(full_syncs < data_syncs / 4, "{full_syncs} of {data_syncs}: folders, when a file is new");
}
