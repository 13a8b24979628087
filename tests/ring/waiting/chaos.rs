//! Faults of every kind, by chance, some at the same time: whatever breaks, and in whatever order, nothing is lost, and no
//! socket at a router closes that was not ended with the router itself.
//!
//! ```text
//! seed ─▶ bout (which faults, and when: those that overlap) ─▶ arena (the cluster that suffers them) ◀─ load, stock (who edits meanwhile)
//!                                                └▶ report (Markdown, JSON, a plot)
//! ```
//!
//! `RINGLEAF_TEST_SEED` repeats a run's faults. `cargo xtask chaos` runs this with settings of its own.

mod arena;
mod bout;
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

use crate::load::{Ended, Load, Outcome, Shape};
use crate::routers;
use crate::stock::Stock;
use arena::Arena;
use bout::{Bout, Deck};
use fault::Fault;
use report::{Report, Suffered};

/// Two leases, and a machine that is busy.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Between two bouts, at most.
const CALM_MAX: Duration = Duration::from_secs(1);
/// What is ordered is done within so long: a drain is given a minute, and may have to wait for what it needs.
const ORDER_MAX: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How to run.
#[derive(Debug)]
struct Plan {
    seed: u64,
    time: Duration,
    /// A run that has fewer goes on for longer, up to this much.
    overtime: Duration,
    faults_min: usize,
    acknowledged_min: u64,
    /// So many faults at once, at most.
    overlap: usize,
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
        let overlap = setting("RINGLEAF_TEST_CHAOS_OVERLAP").unwrap_or(2);
        let all = out.is_some() || harness::long();
        let lines = if all { &harness::LINES_13[..] } else { &["y-websocket-1", "y-websocket-3.1"] };
        let (time, overtime) = (Duration::from_secs(time), Duration::from_secs(60 + time / 4));
        Self { seed, time, overtime, faults_min, acknowledged_min, overlap, documents, writers, lines, out }
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

    /// One bout after the other.
    fn suffer(&mut self, load: &Load) {
        let cluster = &self.arena.cluster;
        let mut deck = Deck::new(self.plan.seed, cluster.nodes(), cluster.routers(), self.plan.overlap);
        load.wait_acknowledging(RECOVERY_MAX);
        let begun_at = Instant::now();
        while self.plan.goes_on(begun_at.elapsed(), self.report.faults.len(), load.acknowledged()) {
            self.suffer_one(load, &deck.bout());
            self.count_ends(load.ended());
            thread::sleep(deck.span(CALM_MAX));
        }
    }

    fn suffer_one(&mut self, load: &Load, bout: &Bout) {
        // Whoever leaves in order has somebody to give its documents to, unless that is what breaks, too.
        if bout.faults[0].1.away().is_none() {
            self.arena.wait_all_serve();
        }
        let (suffered, served) = self.let_break(load, bout);
        let healed_at = Instant::now();
        self.arena.wait_all_back();
        self.stock.edit();
        load.wait_acknowledging(RECOVERY_MAX);
        load.wait_attached(RECOVERY_MAX);
        let took = healed_at.elapsed();
        eprintln!("  all acknowledge {took:.1?} after the last was healed");
        if bout.faults.iter().any(|(_, fault)| fault.ends_router()) {
            self.stock.wait_synced();
            load.send_home();
        }
        let since = load.begun_at();
        let number = self.report.bouts;
        self.report.bouts += 1;
        self.report.faults.extend(suffered.into_iter().map(|(fault, begun_at, over_at)| Suffered {
            fault,
            bout: number,
            begun: begun_at - since,
            over: over_at - since,
            healed: healed_at - since,
            well: healed_at - since + took,
            served,
        }));
    }

    /// From the first fault's begin until the last one's end. Also says how long after the last one's begin everything
    /// was served in spite of all, if that was waited for.
    fn let_break(&mut self, load: &Load, bout: &Bout) -> (Vec<(Fault, Instant, Instant)>, Option<Duration>) {
        let begun_at = Instant::now();
        self.arena.alone = bout.faults.len() == 1;
        let mut coming = bout.faults.iter();
        let mut next = coming.next();
        let mut active: Vec<(&Fault, Instant)> = Vec::new();
        let mut suffered = Vec::new();
        let (mut last_at, mut served) = (begun_at, None);
        while next.is_some() || !active.is_empty() {
            if let Some((after, fault)) = next
                && begun_at.elapsed() >= *after
            {
                self.stock.edit();
                eprintln!("{}{fault}", if active.is_empty() { "" } else { "  and " });
                self.arena.begin(fault);
                last_at = Instant::now();
                active.push((fault, last_at));
                next = coming.next();
            }
            let holds = bout.serves && bout.holds;
            if holds && served.is_none() && next.is_none() {
                let pause = |document: &String| load.pause(document, last_at);
                served = load.documents().iter().map(pause).max().flatten();
                let all = load.documents().iter().all(|document| pause(document).is_some());
                served = served.filter(|_| all);
                assert!(
                    served.is_some() || last_at.elapsed() < RECOVERY_MAX,
                    "nobody served {:?} within {RECOVERY_MAX:?} in spite of {active:?}",
                    load.documents().iter().find(|document| pause(document).is_none())
                );
            }
            let may_heal = !holds || served.is_some();
            self.heal(&mut active, may_heal, next.is_none(), &mut suffered);
            thread::sleep(LOOK_AGAIN);
        }
        suffered.sort_by_key(|(_, begun_at, _)| *begun_at);
        (suffered, served)
    }

    /// Heals those whose time is over. Not if it has to wait for others; what is ordered waits for nobody.
    fn heal(
        &mut self,
        active: &mut Vec<(&Fault, Instant)>,
        may_heal: bool,
        all_there: bool,
        suffered: &mut Vec<(Fault, Instant, Instant)>,
    ) {
        let lasting = active.iter().any(|(fault, _)| fault.away().is_some());
        active.retain(|(fault, begun_at)| {
            let over = match fault.away() {
                Some(away) => may_heal && begun_at.elapsed() >= away,
                None => self.arena.is_done(fault),
            };
            if over {
                self.arena.end(fault);
                eprintln!("    healed: {} after {:.1?}", fault.word(), begun_at.elapsed());
                suffered.push(((*fault).clone(), *begun_at, Instant::now()));
            } else if fault.away().is_none() && all_there && !lasting {
                assert!(begun_at.elapsed() < ORDER_MAX, "not done: {fault}");
            }
            !over
        });
    }

    /// No socket ended that a router's own end does not explain.
    fn count_ends(&mut self, by_load: Vec<Ended>) {
        let mut ended = self.stock.ended(&self.arena.cluster);
        ended.extend(by_load);
        let ends = &self.arena.ends;
        let explained = |ended: &&Ended| ends.iter().any(|end| end.explains(ended));
        let (with_router, alone): (Vec<&Ended>, Vec<&Ended>) = ended.iter().partition(explained);
        (self.report.closed, self.report.closed_with_router) = (alone.len(), with_router.len());
        assert!(
            alone.is_empty(),
            "{} sockets closed at routers that went on, the first {:?}; routers ended: {ends:?}",
            alone.len(),
            alone[0]
        );
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
        self.count_ends(outcome.ended.clone());
    }

    fn play(&mut self) {
        let documents = (0..self.plan.documents).map(|number| format!("chaos-{number}")).collect();
        let shape = Shape { writers: self.plan.writers, ..Shape::default() };
        let load = Load::start_with(&routers(&self.arena.cluster), documents, shape);
        if self.guarded("while things broke", |run| run.suffer(&load)).is_some() {
            load.keep_quiet(true);
            self.guarded("when nobody types", |_| load.wait_equal(RECOVERY_MAX));
        }
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
fn whatever_breaks_nothing_acknowledged_is_lost_and_no_socket_closes_but_with_its_router() {
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
