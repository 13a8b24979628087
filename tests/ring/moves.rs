//! Documents that move while somebody types in them, and while somebody watches who is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Agent, Cluster, ClusterOptions, Event, Socket, wait_for};
use serde_json::{Value, json};

use crate::{DEATHS, percentile, routers};

const DOCUMENTS: usize = 32;
/// Stock clients show their cursors anew after 15 seconds.
const RENEWAL: Duration = Duration::from_secs(15);
/// Between two updates of one editor.
const PACE: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(30);
/// The goals, and how far above them a busy machine may be.
const PAUSE_MAX: Duration = Duration::from_millis(50);
const LATENCY_MAX: Duration = Duration::from_millis(250);
const SLACK: u32 = 10;

/// What one document's editor and observer found.
#[derive(Default)]
pub(crate) struct Seen {
    /// When each update was sent and acknowledged, in order.
    pub(crate) typed: Vec<(Instant, Instant)>,
    pub(crate) closed: usize,
    removed: Vec<String>,
}

/// Types, shows its cursor, and watches the cursor of somebody who only sits there.
pub(crate) fn edit(address: SocketAddr, document: &str, client: u64, stop: &AtomicBool) -> Seen {
    let path = format!("/{document}");
    let (mut socket, mut sitting) = (Socket::open(address, &path), Socket::open(address, &path));
    let (mut clock, mut shown_at) = (0, None);
    let mut seen = Seen::default();
    let (mut sent_at, mut acknowledged, mut told) = (Vec::new(), 0, 0);
    let mut stopped_at = None;
    while acknowledged < sent_at.len() || !stop.load(Ordering::Relaxed) {
        // As every client does: a state that nobody renews is gone after 30 seconds.
        if shown_at.is_none_or(|at: Instant| at.elapsed() >= RENEWAL) {
            (clock, shown_at) = (clock + 1, Some(Instant::now()));
            socket.send(&yjs::awareness_frame(client, clock, r#"{"name":"types"}"#)).unwrap();
            sitting.send(&yjs::awareness_frame(client + 1_000, clock, r#"{"name":"sits"}"#)).unwrap();
        }
        if stop.load(Ordering::Relaxed) {
            let since: &mut Instant = stopped_at.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < WITHIN, "{document}: {acknowledged} of {} acknowledged", sent_at.len());
        } else {
            let update = yjs::typed(client, sent_at.len() as u64, "x");
            sent_at.push(Instant::now());
            socket.send(&yjs::update_frame(&update)).unwrap();
        }
        let until = Instant::now() + PACE;
        loop {
            match socket.receive(until.saturating_duration_since(Instant::now())) {
                Event::Message(message) => told = told.max(heard(&message, client, document, &mut seen)),
                Event::Silence => break,
                Event::Closed { .. } | Event::Ended => {
                    seen.closed += 1;
                    return seen;
                }
            }
            let now = Instant::now();
            seen.typed.extend(sent_at[acknowledged..told.max(acknowledged)].iter().map(|sent| (*sent, now)));
            acknowledged = acknowledged.max(told);
        }
        while let Event::Message(message) = sitting.receive(Duration::from_millis(1)) {
            heard(&message, client, document, &mut seen);
        }
    }
    seen
}

/// How much of this client's typing the server says it has. Takes down who is said to have left.
fn heard(message: &[u8], client: u64, document: &str, seen: &mut Seen) -> usize {
    let clocks = match yjs::frame(message) {
        Frame::Step2(update) | Frame::Update(update) => yjs::contents(&update).clocks,
        Frame::Step1(clocks) => clocks,
        Frame::Awareness(entries) => {
            let gone = entries.iter().filter(|(_, _, state)| state == "null");
            seen.removed.extend(gone.map(|(client, _, _)| format!("{client} in {document}")));
            BTreeMap::new()
        }
        Frame::Other(_) => BTreeMap::new(),
    };
    clocks.get(&client).map_or(0, |clock| *clock as usize)
}

fn name(index: usize) -> String {
    format!("moving-{index}")
}

/// Documents in memory of this node.
fn resident(cluster: &Cluster, node: &str) -> Option<u64> {
    let nodes = cluster.ask("r1", "/api/v1/nodes")?;
    let member = nodes["members"].as_array()?.iter().find(|member| member["node"] == node)?.clone();
    member["counts"]["documents_resident"].as_u64()
}

/// The sum of a counter over the nodes.
fn counted(cluster: &Cluster, metric: &str) -> u64 {
    let of = |name: &String| {
        let text = harness::http(cluster.server(name).admin(), "GET", "/metrics", b"").unwrap().text();
        let line = text.lines().find(|line| line.starts_with(metric) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) as u64
    };
    cluster.nodes().iter().map(of).sum()
}

/// Stock clients of two lines that sit in some of the documents and watch each other.
struct Watchers(Vec<Agent>);

impl Watchers {
    /// The oldest and the newest on Yjs 13.
    const LINES: [&str; 2] = ["y-websocket-1", "y-websocket-3.1"];

    fn names() -> Vec<String> {
        (0..4).map(name).collect()
    }

    fn start(cluster: &Cluster) -> Self {
        let names = Self::names();
        let start = |(index, line): (usize, &&str)| {
            let mut agent = Agent::start(line);
            let url = cluster.server(&cluster.routers()[index]).url();
            names.iter().for_each(|name| agent.open(name, &url, name));
            agent.wait_synced(&names);
            for name in &names {
                agent.run("setAwareness", json!({ "name": name, "state": { "name": line } }));
            }
            agent
        };
        let mut watchers = Self(Self::LINES.iter().enumerate().map(start).collect());
        wait_for("the stock clients see each other", WITHIN, || watchers.unseen().is_empty().then_some(()));
        watchers.0.iter_mut().for_each(|agent| drop(agent.run("watchAwareness", json!({ "names": names }))));
        watchers
    }

    /// Who sees somebody of his own document no more, or has been told for a moment that he was gone.
    fn missed(&mut self) -> Vec<String> {
        let names = Self::names();
        let ids = self.ids();
        let mut missed = self.unseen();
        for agent in &mut self.0 {
            let gone = agent.run("gone", json!({ "names": names }));
            for (name, gone) in names.iter().zip(gone.as_array().unwrap()) {
                let gone = gone.as_array().unwrap().iter().filter(|id| ids.contains(*id));
                missed.extend(gone.map(|id| format!("{id} in {name}")));
            }
        }
        missed
    }

    fn unseen(&mut self) -> Vec<String> {
        let mut unseen = Vec::new();
        for name in Self::names() {
            for agent in &mut self.0 {
                let states = agent.run("awareness", json!({ "name": name })).to_string();
                let missing = Self::LINES.iter().filter(|line| !states.contains(&format!("\"{line}\"")));
                unseen.extend(missing.map(|line| format!("{line} in {name}")));
            }
        }
        unseen
    }

    fn ids(&mut self) -> Vec<Value> {
        let names = Self::names();
        let ids = self.0.iter_mut().flat_map(|agent| {
            names.iter().map(|name| agent.run("clientId", json!({ "name": name }))).collect::<Vec<_>>()
        });
        ids.collect()
    }
}

/// How many moves are looked at.
fn moves_min() -> u64 {
    if harness::long() { 1_000 } else { 200 }
}

/// What the nodes have measured: how many pauses were at most so long, for each bound.
#[derive(Debug)]
struct Pauses(BTreeMap<Duration, u64>);

impl Pauses {
    fn of(cluster: &Cluster) -> Self {
        let mut pauses = BTreeMap::new();
        for name in cluster.nodes() {
            let text = harness::http(cluster.server(&name).admin(), "GET", "/metrics", b"").unwrap().text();
            for line in text.lines() {
                let Some(rest) = line.strip_prefix("ringleaf_handoff_pause_seconds_bucket{") else {
                    continue;
                };
                let bound = rest.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
                let bound = match bound {
                    "+Inf" => Duration::MAX,
                    seconds => Duration::from_secs_f64(seconds.parse().unwrap()),
                };
                let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
                *pauses.entry(bound).or_default() += count;
            }
        }
        Self(pauses)
    }

    fn count(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, count)| *count)
    }

    /// So many of a hundred were not longer.
    fn below(&self, percent: u64) -> Duration {
        let enough = |count: &u64| *count * 100 >= self.count() * percent;
        self.0.iter().find(|(_, count)| enough(count)).map_or(Duration::MAX, |(bound, _)| *bound)
    }
}

/// One node's documents move away and come back.
struct Move {
    at: Instant,
    node: String,
}

/// Takes a node off the ring or lets it back, and waits until its documents have followed.
fn toggle(cluster: &Cluster, node: &str, word: &str, expected: u64) -> Move {
    let at = Instant::now();
    let output = cluster.server("r1").command(&format!("node {word} {node}"));
    assert!(output.status.success(), "{output:?}");
    wait_for(&format!("{node} has {expected} documents"), WITHIN, || {
        (resident(cluster, node) == Some(expected)).then_some(())
    });
    Move { at, node: node.to_owned() }
}

#[test]
fn live_documents_move_without_anybody_noticing() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let addresses = routers(&cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let editors: Vec<_> = (0..DOCUMENTS)
        .map(|index| {
            let (stop, address) = (Arc::clone(&stop), addresses[index % addresses.len()]);
            thread::spawn(move || edit(address, &name(index), 1 + index as u64, &stop))
        })
        .collect();
    let homes: BTreeMap<String, String> =
        (0..DOCUMENTS).map(|index| (name(index), cluster.holder(&name(index)))).collect();
    let mut watchers = Watchers::start(&cluster);
    let of = |node: &str| homes.values().filter(|home| *home == node).count() as u64;
    let mut moves = Vec::new();
    let mut moving = 0;
    while moving < moves_min() {
        for node in ["n1", "n2"] {
            moves.push(toggle(&cluster, node, "cordon", 0));
            moves.push(toggle(&cluster, node, "uncordon", of(node)));
            moving += 2 * of(node);
        }
    }
    let ended_at = Instant::now();
    assert_eq!(watchers.missed(), Vec::<String>::new(), "stock clients see each other all the time");
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = editors.into_iter().map(|editor| editor.join().unwrap()).collect();
    // Order: after those who look for anybody that leaves.
    drop(watchers);

    let closed: usize = seen.iter().map(|seen| seen.closed).sum();
    assert_eq!(closed, 0, "moves close no socket at a router");
    let removed: Vec<&String> = seen.iter().flat_map(|seen| &seen.removed).collect();
    assert!(removed.is_empty(), "nobody left, and yet it is said of {removed:?}");
    let moved = counted(&cluster, "ringleaf_documents_moved_total");
    let failed = counted(&cluster, "ringleaf_handoff_failures_total");
    let pauses = Pauses::of(&cluster);
    let (mut gaps, mut latencies) = (Vec::new(), Vec::new());
    for (number, began) in moves.iter().enumerate() {
        let until = moves.get(number + 1).map_or(ended_at, |next| next.at);
        let here = (0..DOCUMENTS).filter(|index| homes[&name(*index)] == began.node);
        for typed in here.map(|index| &seen[index].typed) {
            let within: Vec<_> = typed.iter().filter(|(_, at)| (began.at..until).contains(at)).collect();
            gaps.extend(within.windows(2).map(|pair| pair[1].1 - pair[0].1).max());
            latencies.extend(within.iter().map(|(sent, at)| *at - *sent));
        }
    }
    let of_hundred = |spans: &mut Vec<Duration>, percent| percentile(spans, percent);
    let (gap, slowest_gap) = (of_hundred(&mut gaps, 50), of_hundred(&mut gaps, 99));
    let (latency, slow) = (of_hundred(&mut latencies, 50), of_hundred(&mut latencies, 99));
    let lost = lost(&mut cluster, &seen);
    harness::figure(&format!(
        "{moved} live moves, {failed} let go instead: from acknowledgement to acknowledgement (pace {PACE:.0?}) \
         p50 {gap:.0?} p99 {slowest_gap:.0?}; edit latency meanwhile p50 {latency:.1?} p99 {slow:.0?}; \
         0 sockets closed, 0 removed from view, {lost} lost"
    ));
    harness::figure(&format!(
        "the pause itself, from a document's seal to its new owner's word: p50 at most {} ms, p99 at most {} ms",
        pauses.below(50).as_millis(),
        pauses.below(99).as_millis()
    ));
    assert!(moved >= moves_min(), "{moved} of {moving} moved by handoff");
    assert_eq!(pauses.count(), moved, "each pause is measured");
    assert!(pauses.below(50) <= PAUSE_MAX * SLACK, "{pauses:?}");
    assert!(gap < PAUSE_MAX * SLACK + PACE, "{gap:?}");
    assert!(slow < LATENCY_MAX * SLACK, "{slow:?}");
    assert_eq!(lost, 0);
}

/// Acknowledged updates that a cold store does not have (I1).
fn lost(cluster: &mut Cluster, seen: &[Seen]) -> usize {
    cluster.forget_everything();
    let missing = seen.iter().enumerate().map(|(index, seen)| {
        let stored = yjs::contents(&cluster.export(&name(index))).clocks;
        seen.typed.len().saturating_sub(stored.get(&(1 + index as u64)).map_or(0, |clock| *clock as usize))
    });
    missing.sum()
}

#[test]
fn a_drained_node_leaves_nothing_behind_and_says_so() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 1), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let address = cluster.server("r1").editors();
    let stop = Arc::new(AtomicBool::new(false));
    let editors: Vec<_> = (0..6)
        .map(|index| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || edit(address, &name(index), 1 + index as u64, &stop))
        })
        .collect();
    let homes: Vec<String> = (0..6).map(|index| cluster.holder(&name(index))).collect();
    let drained = homes[0].clone();
    let here = homes.iter().filter(|home| **home == drained).count();
    let output = cluster.server("r1").command(&format!("node drain {drained} -o json"));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!((&said["moved"], &said["left"], &said["forced"]), (&here.into(), &0.into(), &0.into()));
    wait_for("the process has ended", WITHIN, || (!cluster.is_running(&drained)).then_some(()));
    stop.store(true, Ordering::Relaxed);
    for editor in editors {
        let seen = editor.join().unwrap();
        assert_eq!((seen.closed, seen.removed), (0, Vec::new()));
    }
}
