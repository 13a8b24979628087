//! Runs sessions in as many Node processes as there are processors.

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use crate::half::{self, Half};
use crate::pipe;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Session,
    Lost,
    /// Plain Yjs stands in the place of the store: then, too, everybody must read the same, or the comparison asks too much.
    PlainSession,
    PlainLost,
}

impl Kind {
    /// What `main.mjs` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Lost => "lost",
            Self::PlainSession => "plainSession",
            Self::PlainLost => "plainLost",
        }
    }
}

/// A long run ends after so many minutes, however many sessions it has had. One in CI is shorter than that.
const MINUTES_MAX: u64 = 55;

/// With so many failures there is enough to look at.
const FAILURES_MAX: usize = 3;

/// Sessions that say nothing about the store, or not all they could, and one in how many may be such a one.
const SAYS_NOTHING: [(&str, u64); 3] =
    [("plain Yjs differs", 100), ("themselves", 100), ("yrs cannot read", 10)];

struct Run {
    kind: Kind,
    seed: u32,
    first: u64,
    began: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    next: u64,
    end: u64,
    passed: u64,
    failures: Vec<String>,
    sums: serde_json::Map<String, Value>,
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("seeds and sessions are numbers"))
}

/// Runs so many sessions of a kind.
///
/// # Panics
/// When readers differ.
pub(crate) fn sessions(kind: Kind, count: u64) {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = setting("RINGLEAF_TEST_SEED").map_or(clock.subsec_nanos(), |seed| seed as u32);
    let only = setting("RINGLEAF_TEST_SESSION");
    let (first, end) = only.map_or((0, count), |number| (number, number + 1));
    let progress =
        Progress { next: first, end, passed: 0, failures: Vec::new(), sums: serde_json::Map::new() };
    let run = Run { kind, seed, first, began: Instant::now(), progress: Mutex::new(progress) };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| run.work());
        }
    });
    run.report();
}

impl Run {
    /// Answers one Node process until there are no more sessions.
    fn work(&self) {
        let mut node = start();
        let mut answers = node.stdin.take().expect("it is a pipe");
        let mut requests = BufReader::new(node.stdout.take().expect("it is a pipe"));
        let mut half = Half::default();
        while let Some(request) = pipe::read(&mut requests).expect("Node writes") {
            let (verb, number, payload) = half::decode(&request);
            let answer = match verb {
                "next" => Ok(self.next()),
                "passed" => self.passed(&payload),
                "failed" => self.failed(&payload),
                _ => half.answer(verb, number, &payload),
            };
            pipe::write(&mut answers, &answer).expect("Node reads");
        }
        answers.flush().expect("Node reads");
        assert!(node.wait().expect("Node ends").success(), "Node has failed, see above");
    }

    fn next(&self) -> Vec<u8> {
        let mut progress = self.progress.lock().unwrap();
        let enough = progress.next == progress.end
            || progress.failures.len() >= FAILURES_MAX
            || self.began.elapsed() > harness::lasting(MINUTES_MAX, MINUTES_MAX);
        if enough {
            return Vec::new();
        }
        let number = progress.next;
        progress.next += 1;
        json!({"kind": self.kind.name(), "seed": self.seed, "number": number}).to_string().into_bytes()
    }

    fn passed(&self, report: &[u8]) -> Result<Vec<u8>, String> {
        let report: Value = serde_json::from_slice(report).map_err(|error| error.to_string())?;
        let mut progress = self.progress.lock().unwrap();
        progress.passed += 1;
        for (key, value) in report.as_object().into_iter().flatten() {
            let sum = progress.sums.get(key).and_then(Value::as_u64).unwrap_or_default();
            progress.sums.insert(key.clone(), (sum + value.as_u64().unwrap_or_default()).into());
        }
        Ok(Vec::new())
    }

    fn failed(&self, report: &[u8]) -> Result<Vec<u8>, String> {
        let report = String::from_utf8_lossy(report).into_owned();
        eprintln!("{report}\n");
        self.progress.lock().unwrap().failures.push(report);
        Ok(Vec::new())
    }

    fn report(self) {
        let progress = self.progress.into_inner().unwrap();
        let seconds = self.began.elapsed().as_secs_f64();
        let (kind, seed, passed) = (self.kind, self.seed, progress.passed);
        let sums = Value::Object(progress.sums);
        harness::figure(&format!("{passed} sessions ({kind:?}, seed {seed}) in {seconds:.1} s: {sums}"));
        let failures = progress.failures.len();
        assert!(
            progress.failures.is_empty(),
            "{failures} sessions failed, see above; the first:\n{}",
            progress.failures[0]
        );
        for (why, share) in SAYS_NOTHING {
            let count = sums[why].as_u64().unwrap_or_default();
            assert!(passed < 100 || count * share <= passed, "{count} of {passed} sessions: {why}");
        }
        let bytes = |of: &str| sums[of].as_u64().unwrap_or_default();
        let compact = bytes("bytes collected") <= bytes("bytes at Yjs");
        assert!(kind != Kind::Session || passed < 100 || compact, "Yjs needs fewer bytes than the store");
        assert!(passed > 0 && progress.next > self.first, "no session was run");
    }
}

fn start() -> Child {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    assert!(
        folder.join("node_modules").is_dir(),
        "the npm packages are missing: npm ci in {}",
        folder.display()
    );
    let mut command = Command::new("node");
    command.arg("differential/main.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("node is installed")
}
