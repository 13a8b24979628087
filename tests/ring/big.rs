//! A big document moves, and those who type in small ones do not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Socket, wait_for, yjs};

use crate::moves::{Seen, edit};
use crate::{DEATHS, percentile, routers, wait_acknowledged};

const EDITED: usize = 8;
const MIB: usize = 1 << 20;
const WRITER: u64 = 7;
const WITHIN: Duration = Duration::from_secs(120);
/// How long the others are watched before.
const CALM: Duration = Duration::from_secs(2);

fn mebibytes() -> usize {
    if harness::long() { 64 } else { 8 }
}

/// Writes the big document, a mebibyte at a time, and stays in it.
fn fill(cluster: &Cluster) -> Socket {
    let mut socket = Socket::open(routers(cluster)[0], "/big");
    let text = "x".repeat(MIB);
    for index in 0..mebibytes() {
        socket.send(&yjs::update_frame(&yjs::typed(WRITER, (index * MIB) as u64, &text))).unwrap();
        wait_acknowledged(&mut socket, WRITER, ((index + 1) * MIB) as u64);
    }
    socket
}

/// How long the others' updates took that were sent within that time.
fn latency(seen: &[Seen], from: Instant, to: Instant) -> Duration {
    let typed = seen.iter().flat_map(|seen| &seen.typed).filter(|(sent, _)| (from..to).contains(sent));
    percentile(&mut typed.map(|(sent, at)| *at - *sent).collect::<Vec<_>>(), 99)
}

#[test]
fn a_big_document_moves_and_nobody_loses_a_word_or_a_socket() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(2, 1), ClusterOptions::announce);
    let Some(cluster) = Cluster::start(&options) else { return };
    let mut writer = fill(&cluster);
    let (address, stop) = (routers(&cluster)[0], Arc::new(AtomicBool::new(false)));
    let name = |index: usize| format!("small-{index}");
    let editors: Vec<_> = (0..EDITED)
        .map(|index| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || edit(address, &name(index), 1 + index as u64, &stop))
        })
        .collect();
    let calm_at = Instant::now();
    // Not a wait for anything: the figure of a cluster at rest needs some time at rest.
    wait_for("it was calm for a while", WITHIN, || (calm_at.elapsed() > CALM).then_some(()));

    let to = if cluster.holder("big") == "n1" { "n2" } else { "n1" };
    let moved_at = Instant::now();
    let said = cluster.server("r1").command(&format!("doc move big {to} --timeout 120"));
    let ended_at = Instant::now();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(cluster.holder("big"), to);
    // The same socket goes on where the document is now.
    let length = (mebibytes() * MIB) as u64;
    writer.send(&yjs::update_frame(&yjs::typed(WRITER, length, "the end"))).unwrap();
    wait_acknowledged(&mut writer, WRITER, length + 7);
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = editors.into_iter().map(|editor| editor.join().unwrap()).collect();
    harness::figure(&format!(
        "{} MiB move in {:.1?}; 99 % of the edits in other documents within {:.1?} meanwhile, {:.1?} before",
        mebibytes(),
        ended_at - moved_at,
        latency(&seen, moved_at, ended_at),
        latency(&seen, calm_at, moved_at),
    ));
    assert_eq!(seen.iter().map(|seen| seen.closed).sum::<usize>(), 0);
    let stored = yjs::contents(&cluster.export("big")).clocks;
    assert_eq!(stored.get(&WRITER), Some(&(length + 7)));
    for (index, seen) in seen.iter().enumerate() {
        let stored = yjs::contents(&cluster.export(&name(index))).clocks;
        let there = stored.get(&(1 + index as u64)).map_or(0, |clock| *clock as usize);
        assert!(there >= seen.typed.len(), "{} of {} in {}", there, seen.typed.len(), name(index));
    }
}
