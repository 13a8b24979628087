//! Sockets of a process that stops: told so, and not all at the same time.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Event, Socket, yjs};

const SOCKETS: usize = 150;
const SLICES: usize = 10;

/// Sockets in a few rooms, each watched by a thread that says when it was closed.
fn watched(address: SocketAddr) -> Vec<thread::JoinHandle<Instant>> {
    let watch = |number: usize| {
        let mut socket = Socket::open(address, &format!("/room-{}", number % 7));
        socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
        thread::spawn(move || {
            loop {
                match socket.receive(Duration::from_secs(60)) {
                    Event::Closed { code: 1012, .. } => return Instant::now(),
                    Event::Message(_) => {}
                    end => panic!("{end:?} instead of the news that the server restarts"),
                }
            }
        })
    };
    (0..SOCKETS).map(watch).collect()
}

/// Stops a process, and says over how long its sockets were closed.
fn stop(cluster: &mut Cluster, name: &str) -> Duration {
    let sockets = watched(cluster.server(name).editors());
    cluster.stop(name);
    let mut closed: Vec<_> = sockets.into_iter().map(|socket| socket.join().unwrap()).collect();
    closed.sort_unstable();
    let (first, last) = (closed[0], closed[SOCKETS - 1]);
    let spread = last - first;
    let mut slices = [0; SLICES];
    for at in closed {
        let part = (at - first).as_secs_f64() / spread.as_secs_f64();
        slices[((part * SLICES as f64) as usize).min(SLICES - 1)] += 1;
    }
    assert!(slices.iter().all(|slice| *slice < SOCKETS / 3), "{name} closed them in lumps: {slices:?}");
    spread
}

#[test]
fn a_process_that_stops_closes_its_sockets_spread_over_time() {
    // 150 at 50 a second: as slowly as they may come back, which is longer than the two seconds of `close_spread`.
    let options = ClusterOptions::new(1, 1)
        .limit("RINGLEAF_LIMITS_CONNECTIONS_PER_SECOND_MAX", 50)
        .limit("RINGLEAF_LIMITS_STOP_TIMEOUT", "12s");
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let router = stop(&mut cluster, "r1");
    let node = stop(&mut cluster, "n1");
    harness::figure(&format!("{SOCKETS} sockets closed over {router:.1?} by a router, {node:.1?} by a node"));
    for spread in [router, node] {
        assert!(spread > Duration::from_millis(2_200) && spread < Duration::from_secs(5), "{spread:?}");
    }
}
