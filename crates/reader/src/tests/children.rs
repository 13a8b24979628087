//! What a child does wrong is an error of one request, and nothing is left of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use ringleaf_types::Limits;

use super::{
    ABORT, ALLOCATE, BURN, CHATTER, EXIT, HANG, LONG_ANSWER, MEMORY_BYTES, OVERFLOW, PANIC, PATIENCE, PID,
    WORK, ask, exists, limits, pid, program, reader, until,
};
use crate::{Ended, Program, ReadError, Reader, TimeLimit};

/// Asks a child for trouble, and sees that it is gone and the next request is served. The error.
async fn trouble(reader: &Reader, kind: crate::protocol::Kind) -> ReadError {
    let before = pid(reader).await;
    let error = ask(reader, kind).await.expect_err("it was asked for trouble");
    assert!(!exists(before), "{error}: the child is still there, or nobody has waited for it");
    assert_ne!(pid(reader).await, before, "{error}");
    error
}

#[tokio::test]
async fn a_crash_is_the_error_of_one_request() {
    let reader = reader(&limits());
    let aborted = trouble(&reader, ABORT).await;
    assert!(matches!(aborted, ReadError::Crashed { ended: Ended::Signal(6), .. }), "{aborted}");
    let overflowed = trouble(&reader, OVERFLOW).await.to_string();
    assert!(
        overflowed.contains("by signal 6") && overflowed.contains("overflowed its stack"),
        "{overflowed}"
    );
    let exited = trouble(&reader, EXIT).await;
    assert!(matches!(exited, ReadError::Crashed { ended: Ended::Exit(3), .. }), "{exited}");
    let chattered = trouble(&reader, CHATTER).await;
    assert!(matches!(chattered, ReadError::Crashed { ended: Ended::Nonsense, .. }), "{chattered}");
}

#[tokio::test]
async fn a_child_gets_no_more_memory_than_it_may_have() {
    let reader = reader(&limits());
    let error = trouble(&reader, ALLOCATE).await;
    assert!(matches!(error, ReadError::OutOfMemory { max } if max == MEMORY_BYTES as u64), "{error}");
}

#[tokio::test]
async fn a_child_is_the_first_to_go_when_the_machine_runs_out_of_memory() {
    let reader = reader(&limits());
    let process = pid(&reader).await;
    assert_eq!(std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap(), "1000\n");
}

/// Secrets of the server are in its environment.
#[tokio::test]
async fn a_child_gets_nothing_of_its_parents_environment() {
    let reader = reader(&limits());
    let process = pid(&reader).await;
    assert_eq!(std::fs::read_to_string(format!("/proc/{process}/environ")).unwrap(), "");
}

#[tokio::test]
async fn each_request_has_cpu_time_of_its_own() {
    let reader = reader(&Limits { reader_cpu_timeout: Duration::from_secs(1), ..limits() });
    let process = pid(&reader).await;
    for _ in 0..4 {
        ask(&reader, WORK).await.unwrap();
    }
    assert_eq!(pid(&reader).await, process);
}

#[tokio::test]
async fn a_child_gets_no_more_cpu_time_than_it_may_have() {
    let seconds = Duration::from_secs(1);
    let reader = reader(&Limits { reader_cpu_timeout: seconds, reader_timeout: PATIENCE, ..limits() });
    let error = trouble(&reader, BURN).await;
    let cpu = matches!(error, ReadError::TooLong { after, limit: TimeLimit::Cpu } if after == seconds);
    assert!(cpu, "{error}");
}

#[tokio::test]
async fn a_child_that_hangs_is_killed() {
    let wall = Duration::from_secs(2);
    let reader = reader(&Limits { reader_timeout: wall, ..limits() });
    let error = trouble(&reader, HANG).await;
    assert!(
        matches!(error, ReadError::TooLong { after, limit: TimeLimit::Wall } if after == wall),
        "{error}"
    );
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_child_goes_on() {
    let reader = reader(&limits());
    let before = pid(&reader).await;
    let refused = ask(&reader, PANIC).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the CRDT library cannot read the document: it gives up in the middle (on purpose)"
    );
    assert_eq!(pid(&reader).await, before);
}

#[tokio::test]
async fn requests_and_answers_have_a_largest_size() {
    let reader = reader(&Limits { reader_message_bytes_max: 1_000, ..limits() });
    let error = ask(&reader, LONG_ANSWER).await.unwrap_err();
    assert!(matches!(error, ReadError::AnswerTooLarge { max: 1_000 }), "{error}");
    let turn = reader.turn().await.unwrap();
    let error = turn.text(vec![0; 1_001].into()).await.unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { bytes: 1_001, max: 1_000 }), "{error}");
    pid(&reader).await;
}

#[tokio::test]
async fn a_child_is_used_again_and_ends_when_nobody_needs_it() {
    let reader = reader(&Limits { reader_idle_timeout: Duration::from_secs(1), ..limits() });
    let first = pid(&reader).await;
    assert_eq!(pid(&reader).await, first);
    until("an idle child is ended", || !exists(first)).await;
    assert_ne!(pid(&reader).await, first);
}

/// What the library leaves behind in the allocator would be missing for the next document.
#[tokio::test]
async fn a_child_that_has_read_a_large_document_is_not_used_again() {
    let reader = reader(&limits());
    let first = pid(&reader).await;
    reader.turn().await.unwrap().read(PID, vec![0; 2 << 20].into()).await.unwrap();
    assert!(!exists(first));
    pid(&reader).await;
}

#[tokio::test]
async fn a_child_that_is_killed_while_it_rests_is_replaced() {
    let reader = reader(&limits());
    let first = pid(&reader).await;
    assert!(Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap().success());
    until("it is gone", || !exists(first)).await;
    pid(&reader).await;
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_is_killed() {
    let reader = reader(&limits());
    let before = pid(&reader).await;
    let hanging = ask(&reader, HANG);
    // Once is enough to hand it over.
    assert!(hanging.now_or_never().is_none());
    until("its child is gone", || !exists(before)).await;
    assert_ne!(pid(&reader).await, before);
}

#[tokio::test]
async fn only_so_many_wait_and_not_for_ever() {
    let turn_timeout = Duration::from_millis(50);
    let reader = reader(&Limits { reader_waiting_max: 1, reader_turn_timeout: turn_timeout, ..limits() });
    let turn = reader.turn().await.unwrap();
    let waiting = reader.turn();
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    let no_place = reader.turn().now_or_never().expect("it is refused at once");
    assert!(matches!(no_place, Err(ReadError::Busy)));
    assert!(matches!(waiting.await, Err(ReadError::Busy)), "it waits no longer");
    drop(turn);
    pid(&reader).await;
}

#[tokio::test]
async fn turns_come_in_the_order_in_which_they_are_asked_for() {
    let reader = reader(&limits());
    let turn = reader.turn().await.unwrap();
    let (first, second) = (reader.turn(), reader.turn());
    tokio::pin!(first, second);
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    drop(turn);
    assert!(second.as_mut().now_or_never().is_none(), "the first one comes first");
    drop(first.now_or_never().expect("it has the turn").unwrap());
    drop(second.now_or_never().expect("it has the turn").unwrap());
}

#[tokio::test]
async fn as_many_children_as_allowed_read_at_the_same_time() {
    let reader = reader(&Limits { reader_processes_max: 2, ..limits() });
    let hanging = ask(&reader, HANG);
    tokio::pin!(hanging);
    assert!(hanging.as_mut().now_or_never().is_none());
    let beside = pid(&reader).await;
    assert_eq!(pid(&reader).await, beside);
    assert!(hanging.now_or_never().is_none());
}

#[tokio::test]
async fn a_program_that_is_none_is_said_to_be() {
    for (path, words) in [("/no/such/program", ""), ("/bin/true", "before it was ready"), ("/bin/echo", "")] {
        let reader = Reader::new(&Program { path: path.into(), arguments: Vec::new() }, &limits());
        let error = ask(&reader, PID).await.unwrap_err();
        let ReadError::NotStarted { source } = &error else { panic!("{path}: {error}") };
        assert!(source.to_string().contains(words), "{path}: {source}");
    }
}

#[tokio::test]
async fn nothing_is_left_after_a_stop_and_nothing_is_read() {
    let reader = reader(&limits());
    let process = pid(&reader).await;
    let hanging = ask(&reader, HANG);
    tokio::pin!(hanging);
    assert!(hanging.as_mut().now_or_never().is_none());
    reader.stop().await;
    assert!(!exists(process));
    assert!(matches!(hanging.await, Err(ReadError::Stopped)));
    assert!(matches!(ask(&reader, PID).await, Err(ReadError::Stopped)));
}

/// The parent of the next test: says which child it has, and gives that something to do for ever.
#[tokio::test]
#[ignore = "it is a process that another test kills"]
async fn parent_process() {
    let Ok(kind) = std::env::var("RINGLEAF_READER_TEST_KIND") else { return };
    let reader = reader(&Limits { reader_timeout: Duration::from_hours(1), ..limits() });
    let process = pid(&reader).await;
    std::io::Write::write_all(&mut std::io::stdout(), format!("\nchild {process}\n").as_bytes()).unwrap();
    let kind = if kind == "burn" { BURN } else { HANG };
    let _never = ask(&reader, kind).await;
}

#[tokio::test]
async fn no_child_outlives_its_parent() {
    for kind in ["burn", "hang"] {
        let mut parent = Command::new(&program().path)
            .args(["--exact", "tests::children::parent_process", "--ignored", "--nocapture"])
            .env("RINGLEAF_READER_TEST_KIND", kind)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix("child ")?.parse().ok());
        let process: u32 = said.next().expect("it says which child it has");
        assert!(exists(process));
        parent.kill().unwrap();
        parent.wait().unwrap();
        // It is somebody else's child now, who may take a while to wait for it.
        let state = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        until("the child has ended", || state().is_empty() || state().contains(") Z ")).await;
    }
}
