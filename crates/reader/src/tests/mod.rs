//! Reader processes that are asked to misbehave.
//!
//! The tests start this very program again as the child, which then answers some requests that only tests send.

mod children;
mod documents;
mod hostile;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringleaf_types::Limits;
use rustix::time::{ClockId, clock_gettime};

use crate::bounds::Bounds;
use crate::child;
use crate::crdt::Unreadable;
use crate::protocol::Kind;
use crate::{Program, ReadError, Reader};

/// How long a fact may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What only tests ask.
const PID: Kind = Kind::Test(200);
const PANIC: Kind = Kind::Test(201);
const ABORT: Kind = Kind::Test(202);
const OVERFLOW: Kind = Kind::Test(203);
const ALLOCATE: Kind = Kind::Test(204);
const BURN: Kind = Kind::Test(205);
const HANG: Kind = Kind::Test(206);
const CHATTER: Kind = Kind::Test(207);
const LONG_ANSWER: Kind = Kind::Test(208);
const EXIT: Kind = Kind::Test(209);
/// Takes 0.7 s of CPU time.
const WORK: Kind = Kind::Test(211);
/// Takes in updates one after the other, each behind its length, and encodes the whole.
const REPLAY: Kind = Kind::Test(210);

/// Memory that a test's child may have: enough for this program and a small document.
const MEMORY_BYTES: usize = 512 << 20;

#[test]
#[ignore = "it is the reader process of the other tests"]
fn reader_process() {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if let Ok(numbers) = <[u64; 3]>::try_from(numbers) {
        let ended = child::run_with(Bounds::from_arguments(numbers), misbehave);
        std::process::exit(i32::from(ended.is_err()));
    }
}

fn misbehave(kind: u8, state: &[u8]) -> Result<Vec<u8>, Unreadable> {
    match Kind::Test(kind) {
        PID => Ok(std::process::id().to_string().into_bytes()),
        PANIC => panic!("on purpose"),
        ABORT => std::process::abort(),
        OVERFLOW => Ok(vec![deeper(1)]),
        ALLOCATE => Ok(black_box(vec![7_u8; 4 << 30])[..1].to_vec()),
        BURN => loop {
            black_box(0);
        },
        WORK => {
            let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
            let end = used() + Duration::from_millis(700);
            while used() < end {}
            Ok(Vec::new())
        }
        HANG => loop {
            std::thread::park();
        },
        CHATTER => {
            use std::io::Write;
            std::io::stdout().write_all(&[0xff; 4_096]).map(|()| Vec::new()).map_err(|_| Unreadable::Pending)
        }
        LONG_ANSWER => Ok(vec![7; 1 << 20]),
        EXIT => std::process::exit(3),
        REPLAY => hostile::replay(state),
        _ => child::answer(kind, state),
    }
}

/// The compiler must not make a loop of it.
fn deeper(level: u64) -> u8 {
    let frame = black_box([level; 64]);
    if frame[0] == 0 { 0 } else { deeper(black_box(level + 1)).wrapping_add(frame[1] as u8) }
}

fn program() -> Program {
    let words =
        ["--exact", "tests::reader_process", "--ignored", "--nocapture", "--test-threads=1"].map(Into::into);
    Program { arguments: words.into(), ..Program::default() }
}

fn limits() -> Limits {
    Limits {
        reader_memory_bytes_max: MEMORY_BYTES,
        reader_cpu_timeout: Duration::from_secs(20),
        reader_turn_timeout: PATIENCE,
        // What is to end must not end for being idle.
        reader_idle_timeout: 10 * PATIENCE,
        ..Limits::default()
    }
}

fn reader(limits: &Limits) -> Reader {
    Reader::new(&program(), limits)
}

async fn ask(reader: &Reader, kind: Kind) -> Result<Bytes, ReadError> {
    reader.turn().await?.read(kind, Bytes::new()).await
}

/// The process that answers now.
async fn pid(reader: &Reader) -> u32 {
    let answer = ask(reader, PID).await.unwrap();
    std::str::from_utf8(&answer).unwrap().parse().unwrap()
}

/// Whether there is such a process; one that has ended and that its parent has not waited for counts.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Looks again and again.
async fn until(what: &str, fact: impl Fn() -> bool) {
    let began_at = Instant::now();
    while !fact() {
        assert!(began_at.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
