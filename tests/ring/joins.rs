//! A node that joins a cluster at work: its share moves to it, a few documents at a time, and the others feel nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Event, Role, ServerOptions, Socket, wait_for, yjs};
use serde_json::Value;

use crate::moves::{Seen, edit};
use crate::{DEATHS, percentile, routers, wait_acknowledged};

const EDITED: usize = 24;
/// Sockets that are read by one thread.
const TOGETHER: usize = 250;
/// What `ring-config/default.toml` says.
const OUT_MAX: u64 = 8;
const IN_MAX: u64 = 16;
/// A thousand documents at the slowest pace of two nodes take 100 s.
const WITHIN: Duration = Duration::from_secs(240);
/// What counts as calm at least: below it the pauses of a busy machine are all that is measured.
const CALM_MIN: Duration = Duration::from_millis(20);
/// As often as an operator's page would look.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// For so long a cluster at rest is measured: for a 99th percentile, about as long as the join takes.
fn calm() -> Duration {
    Duration::from_secs(if harness::long() { 10 } else { 3 })
}

fn documents() -> usize {
    if harness::long() { 3_000 } else { 300 }
}

/// Somebody who sits in a document and has typed a word there.
fn sit(cluster: &Cluster, index: usize) -> Socket {
    let addresses = routers(cluster);
    let mut socket = Socket::open(addresses[index % addresses.len()], &format!("/sits-{index}"));
    socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
    wait_acknowledged(&mut socket, 7, 5);
    socket
}

/// Reads what comes to everybody who sits there (the server's pings are answered that way) until `stop`, and counts whom it has closed.
fn keep_sitting(mut sitting: Vec<Socket>, stop: &AtomicBool) -> usize {
    let mut closed = 0;
    while !stop.load(Ordering::Relaxed) {
        sitting.retain_mut(|socket| {
            let stays =
                !matches!(socket.receive(Duration::from_millis(1)), Event::Closed { .. } | Event::Ended);
            closed += usize::from(!stays);
            stays
        });
    }
    closed
}

fn rebalance(cluster: &Cluster) -> Value {
    // An admin interface that is late is asked again, and a node that is late would be missing in the sums.
    wait_for("all nodes say how far the moves are", WITHIN, || {
        let status = cluster.ask("r1", "/api/v1/ring/rebalance")?;
        status["unanswered"].as_array()?.is_empty().then_some(status)
    })
}

fn sum(status: &Value, key: &str) -> u64 {
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node[key].as_u64().unwrap()).sum()
}

fn most(status: &Value, key: &str) -> u64 {
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node[key].as_u64().unwrap()).max().unwrap()
}

/// How a join went.
struct Join {
    /// On their way at once, at most, out of a node and into one.
    out: u64,
    into: u64,
    /// The moves began: until then the new node started on this very machine.
    resumed_at: Instant,
}

/// Lets it join.
fn join(cluster: &mut Cluster) -> Join {
    let said = cluster.server("r1").command("ring rebalance pause");
    assert!(said.status.success(), "{said:?}");
    let options = DEATHS.into_iter().fold(ServerOptions::default(), ServerOptions::announce);
    let options = cluster.place("n3", ServerOptions { role: Role::Node, ..options });
    cluster.add("n3", options);
    cluster.wait_ring(3);
    let waiting = wait_for("all nodes have heard of the pause and of the ring", WITHIN, || {
        let status = rebalance(cluster);
        let nodes = status["nodes"].as_array().unwrap();
        let heard = nodes.len() == 3 && nodes.iter().all(|node| node["paused"] == true);
        (heard && sum(&status, "to_move") > 0).then_some(status)
    });
    assert_eq!((sum(&waiting, "going"), sum(&waiting, "moved")), (0, 0), "nothing moves while it is paused");
    let said = cluster.server("r1").command("ring rebalance resume");
    assert!(said.status.success(), "{said:?}");
    let resumed_at = Instant::now();
    let (mut out, mut into, mut looked_at) = (0, 0, None);
    wait_for("everything is where it belongs", WITHIN, || {
        // Looking costs all processes, and they share this machine with what is measured.
        if looked_at.is_some_and(|at: Instant| at.elapsed() < LOOK_INTERVAL) {
            return None;
        }
        looked_at = Some(Instant::now());
        let status = rebalance(cluster);
        (out, into) = (out.max(most(&status, "going")), into.max(most(&status, "coming")));
        let there = sum(&status, "moved") + sum(&status, "let_go") > 0;
        (there && sum(&status, "to_move") + sum(&status, "going") == 0).then_some(())
    });
    Join { out, into, resumed_at }
}

/// How long updates took that were acknowledged in that time, in documents that have stayed.
fn latency(seen: &[Seen], stayed: &[bool], from: Instant, to: Instant) -> Duration {
    let still = seen.iter().zip(stayed).filter(|(_, stayed)| **stayed);
    let within = still.flat_map(|(seen, _)| seen.typed.iter().filter(|(_, at)| (from..to).contains(at)));
    percentile(&mut within.map(|(sent, at)| *at - *sent).collect::<Vec<_>>(), 99)
}

#[test]
fn a_join_takes_its_share_a_few_at_a_time_and_closes_nothing() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 1), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let address = cluster.server("r1").editors();
    let stop = Arc::new(AtomicBool::new(false));
    // A few at a time: on a busy machine thousands take longer to come than the first may leave a ping unanswered.
    let sitting: Vec<_> = (0..documents())
        .step_by(TOGETHER)
        .map(|first| {
            let indices = first..documents().min(first + TOGETHER);
            let sitting: Vec<Socket> = indices.map(|index| sit(&cluster, index)).collect();
            let stop = Arc::clone(&stop);
            thread::spawn(move || keep_sitting(sitting, &stop))
        })
        .collect();
    let name = |index: usize| format!("edited-{index}");
    let editors: Vec<_> = (0..EDITED)
        .map(|index| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || edit(address, &name(index), 1 + index as u64, &stop))
        })
        .collect();
    let before: BTreeMap<usize, String> =
        (0..EDITED).map(|index| (index, cluster.holder(&name(index)))).collect();
    let calm_at = Instant::now();
    // Not a wait for anything: the figure of a cluster at rest needs some time at rest.
    wait_for("it was calm for a while", WITHIN, || (calm_at.elapsed() > calm()).then_some(()));
    let joined_at = Instant::now();
    let Join { out, into, resumed_at } = join(&mut cluster);
    let ended_at = Instant::now();
    let stayed: Vec<bool> = (0..EDITED).map(|index| cluster.holder(&name(index)) == before[&index]).collect();
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = editors.into_iter().map(|editor| editor.join().unwrap()).collect();

    let status = rebalance(&cluster);
    let moved = sum(&status, "moved");
    let calm = latency(&seen, &stayed, calm_at, joined_at);
    let starting = latency(&seen, &stayed, joined_at, resumed_at);
    let moving = latency(&seen, &stayed, resumed_at, ended_at);
    harness::figure(&format!(
        "a third node joins {} resident documents: {moved} moved and {} let go in {:.1?}, at most {out} out and {into} in at a \
         time; p99 of untouched documents {moving:.1?}, calm {calm:.1?}, that is {:.2} times; while the node starts {starting:.1?}",
        documents() + EDITED,
        sum(&status, "let_go"),
        ended_at - resumed_at,
        moving.as_secs_f64() / calm.as_secs_f64(),
    ));
    // The goal is twice; a busy machine may be ten times above that.
    assert!(moving < calm.max(CALM_MIN) * 20, "p99 of untouched documents: {moving:?}, calm {calm:?}");
    assert!(out <= OUT_MAX && into <= IN_MAX, "{out} out, {into} in");
    assert!(moved * 5 > documents() as u64, "{moved} moved: {status}");
    assert_eq!(seen.iter().map(|seen| seen.closed).sum::<usize>(), 0, "closed under somebody who types");
    let closed: usize = sitting.into_iter().map(|sitting| sitting.join().unwrap()).sum();
    assert_eq!(closed, 0, "closed under somebody who sits there");
    let keeps = |index: &usize| {
        let stored = yjs::contents(&cluster.export(&format!("sits-{index}"))).clocks;
        stored.get(&7).is_some_and(|clock| *clock >= 5)
    };
    assert_eq!(
        (0..documents()).filter(keeps).count(),
        documents(),
        "documents that keep the word typed there"
    );
    // Nothing that was acknowledged is lost.
    for (index, seen) in seen.iter().enumerate() {
        let stored = yjs::contents(&cluster.export(&name(index))).clocks;
        let there = stored.get(&(1 + index as u64)).map_or(0, |clock| *clock as usize);
        assert!(there >= seen.typed.len(), "{} of {} in {}", there, seen.typed.len(), name(index));
    }
}
