//! One fault after the other, of every kind, by chance: whatever breaks, and in whatever order, nothing is lost and no
//! socket at a router closes.
//!
//! ```text
//! seed ─▶ fault (which, and in which order) ─▶ arena (the cluster that suffers them) ◀─ load, stock (who edits meanwhile)
//!                                                └▶ report (Markdown, JSON, a plot)
//! ```
//!
//! `RINGLEAF_TEST_SEED` repeats a run's faults. `cargo xtask chaos` runs this with settings of its own.

mod arena;
mod fault;
mod plot;
mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::yjs;
use serde_json::Value;

use crate::load::{Load, Outcome, Shape};
use crate::routers;
use crate::stock::Stock;
use arena::Arena;
use fault::{Deck, Fault};
use report::{Report, Suffered};

/// Two leases, and a machine that is busy.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Between two faults, at most.
const CALM_MAX: Duration = Duration::from_secs(1);

/// How to run.
#[derive(Debug)]
struct Plan {
    seed: u64,
    time: Duration,
    /// A run that has fewer goes on for longer, up to this much.
    overtime: Duration,
    faults_min: usize,
    acknowledged_min: u64,
    documents: usize,
    writers: usize,
    lines: &'static [&'static str],
    out: Option<PathBuf>,
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}

impl Plan {
    fn from_environment() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = setting("RINGLEAF_TEST_SEED").unwrap_or_else(|| now.subsec_nanos().into());
        let out = setting("RINGLEAF_TEST_CHAOS_OUT");
        let (time, faults_min, acknowledged_min) = match setting("RINGLEAF_TEST_CHAOS_SECONDS") {
            Some(seconds) => (seconds, 1, 1),
            None if harness::long() => (300, 30, 200_000),
            None => (90, 8, 30_000),
        };
        // On a machine with little to do they are the same few faults and a multiple of the updates.
        let documents = setting("RINGLEAF_TEST_CHAOS_DOCUMENTS").unwrap_or(9);
        let writers = setting("RINGLEAF_TEST_CHAOS_WRITERS").unwrap_or(2);
        let all = out.is_some() || harness::long();
        let lines = if all { &harness::LINES_13[..] } else { &["y-websocket-1", "y-websocket-3.1"] };
        let (time, overtime) = (Duration::from_secs(time), Duration::from_secs(60 + time / 4));
        Self { seed, time, overtime, faults_min, acknowledged_min, documents, writers, lines, out }
    }

    fn goes_on(&self, ran: Duration, faults: usize, acknowledged: u64) -> bool {
        let enough = faults >= self.faults_min && acknowledged >= self.acknowledged_min;
        ran < self.time || (!enough && ran < self.time + self.overtime)
    }
}

struct Run {
    plan: Plan,
    arena: Arena,
    stock: Stock,
    report: Report,
}

impl Run {
    /// What panics is a problem for the report, so that there is one.
    fn guarded<T>(&mut self, what: &str, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(done) => Some(done),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                self.report.problems.push(format!("{what}: {}", text.unwrap_or_default()));
                None
            }
        }
    }

    /// One fault after the other.
    fn suffer(&mut self, load: &Load) {
        let cluster = &self.arena.cluster;
        let mut deck = Deck::new(self.plan.seed, cluster.nodes(), cluster.routers());
        load.wait_acknowledging(RECOVERY_MAX);
        let begun_at = Instant::now();
        while self.plan.goes_on(begun_at.elapsed(), self.report.faults.len(), load.acknowledged()) {
            let fault = deck.fault();
            self.suffer_one(load, fault);
            self.report.closed = load.closed() + self.stock.closed();
            assert_eq!(self.report.closed, 0, "sockets closed at routers");
            thread::sleep(deck.span(CALM_MAX));
        }
    }

    fn suffer_one(&mut self, load: &Load, fault: Fault) {
        self.stock.edit();
        let begun_at = Instant::now();
        eprintln!("{fault}");
        self.arena.suffer(&fault);
        let over_at = Instant::now();
        self.stock.edit();
        load.wait_acknowledging(RECOVERY_MAX);
        let slowest = load.documents().iter().filter_map(|document| load.pause(document, begun_at)).max();
        eprintln!(
            "  all acknowledge after {:.1?}, and {:.1?} after it was over",
            slowest.unwrap_or_default(),
            over_at.elapsed()
        );
        let since = load.begun_at();
        let suffered =
            Suffered { fault, begun: begun_at - since, over: over_at - since, well: since.elapsed() };
        self.report.faults.push(suffered);
    }

    /// Reads back from the store all that anyone was shown or told, and every slot (I1, I5, I9).
    fn audit(&mut self, outcome: &Outcome) {
        self.arena.restore();
        let cluster = &mut self.arena.cluster;
        cluster.forget_everything();
        let audit = outcome.audit(cluster);
        self.report.lost = audit.lost;
        self.report.problems.extend(audit.problems);
        for document in &outcome.documents {
            let path = format!("/api/v1/documents/{document}/verify");
            let found = cluster.server("r1").admin_request("POST", &path, b"").json();
            assert_eq!(found["sound"], true, "{document}: {found}");
            self.report.documents += 1;
            self.report.slots += found["slots"].as_u64().unwrap_or_default();
            let update = cluster.export(document);
            let stored: u64 = yjs::contents(&update).clocks.values().sum();
            let read = characters(&self.stock.decode(&update)["text"]);
            assert_eq!(read, stored, "{document}: what an independent Yjs reads");
        }
        self.stock.check(cluster);
        self.report.closed = outcome.closed + self.stock.closed();
        assert_eq!(self.report.closed, 0, "sockets closed at routers");
    }

    fn play(&mut self) {
        let documents = (0..self.plan.documents).map(|number| format!("chaos-{number}")).collect();
        let shape = Shape { writers: self.plan.writers, ..Shape::default() };
        let load = Load::start_with(&routers(&self.arena.cluster), documents, shape);
        self.guarded("while things broke", |run| run.suffer(&load));
        self.report.timeline = load.timeline();
        self.report.acknowledged = load.acknowledged();
        let Some(outcome) = self.guarded("at the end", |_| load.finish()) else { return };
        self.report.acknowledged = outcome.acknowledged;
        self.guarded("audit", |run| run.audit(&outcome));
    }

    /// What is red though nothing panicked.
    fn judge(&mut self) {
        let (report, plan) = (&mut self.report, &self.plan);
        let unannounced = self.arena.cluster.unannounced();
        if !unannounced.is_empty() {
            report.problems.push(format!("a process logged what faults do not explain:\n{unannounced}"));
        }
        let (faults, acknowledged) = (report.faults.len(), report.acknowledged);
        if faults < plan.faults_min || acknowledged < plan.acknowledged_min {
            report.problems.push(format!("too little: {faults} faults, {acknowledged} acknowledged"));
        }
        if let Some(out) = &plan.out {
            report.write(out);
        }
    }
}

/// How many there are in the text of an independent Yjs, which is what its editor would show.
fn characters(text: &Value) -> u64 {
    let parts = text.as_array().into_iter().flatten();
    parts.filter_map(|part| part["insert"].as_str()).map(|insert| insert.len() as u64).sum()
}

#[test]
fn whatever_breaks_nothing_acknowledged_is_lost_and_no_socket_at_a_router_closes() {
    let plan = Plan::from_environment();
    let Some(arena) = Arena::start() else { return };
    eprintln!("RINGLEAF_TEST_SEED={}", plan.seed);
    let stock = Stock::open(&arena.cluster, plan.lines, &arena.cluster.routers());
    let report = Report::new(
        plan.seed,
        format!(
            "{} documents with {} editors each who type 50 updates a second, one who reads, and {} stock clients in one document",
            plan.documents,
            plan.writers,
            plan.lines.len() * 2
        ),
    );
    let mut run = Run { plan, arena, stock, report };
    run.play();
    run.judge();
    harness::figure(&run.report.figure());
    assert!(run.report.problems.is_empty(), "{}\n{}", run.report.verdict(), run.report.problems.join("\n"));
}
