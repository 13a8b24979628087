//! What a run came to: `chaos.md` to read, `chaos.json` to compare, `chaos.svg` to look at.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fault::Fault;
use super::plot;
use crate::percentile;
use crate::timeline::Timeline;

/// One fault; times since the load began.
#[derive(Debug)]
pub(super) struct Suffered {
    pub(super) fault: Fault,
    /// Those of one number were there at the same time, or one began before all was well after the other.
    pub(super) bout: usize,
    pub(super) begun: Duration,
    pub(super) over: Duration,
    /// The last one of the bout is over.
    pub(super) healed: Duration,
    /// Every document acknowledges what is typed, and every editor is attached.
    pub(super) well: Duration,
    /// All were served in spite of the bout, so long after its last fault began. `None`: that was not waited for.
    pub(super) served: Option<Duration>,
}

impl Suffered {
    fn recovery(&self) -> Duration {
        self.well.saturating_sub(self.healed)
    }
}

impl fmt::Display for Suffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.begun.as_secs();
        let after = self.recovery();
        write!(
            f,
            "{}:{:02} {}, all acknowledge {after:.1?} after all was healed",
            at / 60,
            at % 60,
            self.fault
        )
    }
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) seed: u64,
    /// Who edits what.
    pub(super) load: String,
    pub(super) timeline: Timeline,
    pub(super) faults: Vec<Suffered>,
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
    /// Of how many bouts the faults are.
    pub(super) bouts: usize,
    /// Sockets at routers that went on.
    pub(super) closed: usize,
    /// Sockets that ended with the process of their router.
    pub(super) closed_with_router: usize,
    /// What `doc verify` found sound.
    pub(super) documents: u64,
    pub(super) slots: u64,
    /// Why the run is red; empty when it is not.
    pub(super) problems: Vec<String>,
}

fn millis(span: Option<Duration>) -> Value {
    span.map_or(Value::Null, |span| json!((span.as_secs_f64() * 1e4).round() / 10.0))
}

impl Report {
    pub(super) fn new(seed: u64, load: String) -> Self {
        let timeline = Timeline::new(Instant::now());
        let (faults, problems) = (Vec::new(), Vec::new());
        Self {
            seed,
            load,
            timeline,
            faults,
            acknowledged: 0,
            lost: 0,
            bouts: 0,
            closed: 0,
            closed_with_router: 0,
            documents: 0,
            slots: 0,
            problems,
        }
    }

    pub(super) fn verdict(&self) -> String {
        let Self { seed, faults, acknowledged, lost, closed, closed_with_router, problems, .. } = self;
        let (word, why) = match problems.first() {
            None => ("passed", String::new()),
            Some(first) => ("FAILED", format!("; {}", first.lines().next().unwrap_or_default())),
        };
        format!(
            "{word}: {} faults, {acknowledged} updates acknowledged, {lost} lost, {closed} sockets closed by \
             nodes' faults ({closed_with_router} closed by their own router's end); seed {seed}{why}",
            faults.len()
        )
    }

    pub(super) fn figure(&self) -> String {
        let last = |bout| self.faults.iter().rfind(|suffered| suffered.bout == bout);
        let mut waits: Vec<_> = (0..self.bouts).filter_map(last).map(Suffered::recovery).collect();
        let mut served: Vec<_> =
            (0..self.bouts).filter_map(last).filter_map(|suffered| suffered.served).collect();
        let spans = self.timeline.all();
        format!(
            "{} faults ({} overlapped): {} updates acknowledged ({:.0} a second), {} lost, {} sockets closed by nodes' faults \
             ({} by their own router's end); acknowledged within p50 {:.1?}, p99 {:.1?}; all go on after the last fault's \
             end: p50 {:.1?}, slowest {:.1?}; while {} lasted, slowest {:.1?}",
            self.faults.len(),
            self.overlapped(),
            self.acknowledged,
            self.acknowledged as f64 / self.timeline.seconds().len().max(1) as f64,
            self.lost,
            self.closed,
            self.closed_with_router,
            spans.percentile(50).unwrap_or_default(),
            spans.percentile(99).unwrap_or_default(),
            percentile(&mut waits, 50),
            percentile(&mut waits, 100),
            served.len(),
            percentile(&mut served, 100),
        )
    }

    /// Faults that were there while another one was.
    fn overlapped(&self) -> usize {
        let overlaps = |one: &Suffered, other: &Suffered| {
            !std::ptr::eq(one, other) && one.begun < other.over && other.begun < one.over
        };
        let all = &self.faults;
        all.iter().filter(|one| all.iter().any(|other| overlaps(one, other))).count()
    }

    /// # Panics
    /// When the folder cannot be written to.
    pub(super) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let svg = plot::draw(&self.timeline, &self.faults, "How long acknowledgements took");
        let json = serde_json::to_string_pretty(&self.json()).unwrap();
        for (name, text) in [("chaos.svg", svg), ("chaos.json", json), ("chaos.md", self.markdown())] {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    fn json(&self) -> Value {
        let seconds = self.timeline.seconds().iter().map(|second| {
            json!({
                "acknowledged": second.count(),
                "p50_ms": millis(second.percentile(50)),
                "p99_ms": millis(second.percentile(99)),
                "slowest_ms": millis(second.percentile(100)),
            })
        });
        let faults = self.faults.iter().map(|suffered| {
            json!({
                "kind": suffered.fault.word(),
                "what": suffered.fault.to_string(),
                "bout": suffered.bout,
                "begun_ms": millis(Some(suffered.begun)),
                "over_ms": millis(Some(suffered.over)),
                "healed_ms": millis(Some(suffered.healed)),
                "well_ms": millis(Some(suffered.well)),
                "served_in_spite_ms": millis(suffered.served),
            })
        });
        json!({
            "format": 1,
            "passed": self.problems.is_empty(),
            "verdict": self.verdict(),
            "seed": self.seed,
            "load": self.load,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "closed": self.closed,
            "closed_with_router": self.closed_with_router,
            "overlapped": self.overlapped(),
            "audited": { "documents": self.documents, "slots": self.slots },
            "problems": self.problems,
            "faults": faults.collect::<Vec<_>>(),
            "seconds": seconds.collect::<Vec<_>>(),
        })
    }

    fn markdown(&self) -> String {
        let mut text = format!("# Chaos, seed {}\n\n**{}**\n\n", self.seed, self.verdict());
        let _ = writeln!(text, "- load: {}", self.load);
        let _ = writeln!(text, "- {}", self.figure());
        let _ = writeln!(
            text,
            "- audited after every node was killed and started again: {} documents, {} slots in the store",
            self.documents, self.slots
        );
        let _ = writeln!(text, "- the same faults again: `cargo xtask chaos --seed {}`\n", self.seed);
        for problem in &self.problems {
            let _ = writeln!(text, "## Problem\n\n```text\n{problem}\n```\n");
        }
        text.push_str("![How long acknowledgements took](chaos.svg)\n\n");
        text.push_str("| at | fault | it took | all acknowledge in spite of it after | and when all is healed, after |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for (number, suffered) in self.faults.iter().enumerate() {
            let Suffered { fault, bout, begun, over, served, .. } = suffered;
            let first = number == 0 || self.faults[number - 1].bout != *bout;
            let last = self.faults.get(number + 1).is_none_or(|next| next.bout != *bout);
            let (at, took) = (begun.as_secs(), *over - *begun);
            let and = if first { "" } else { "… and " };
            let word = |span: Option<Duration>| span.filter(|_| last).map(|span| format!("{span:.1?}"));
            let (served, after) = (word(*served), word(Some(suffered.recovery())));
            let [served, after] = [served, after].map(Option::unwrap_or_default);
            let _ = writeln!(
                text,
                "| {}:{:02} | {and}{fault} | {took:.1?} | {served} | {after} |",
                at / 60,
                at % 60
            );
        }
        text
    }
}
