//! One document, one editor, and the death of who hosts it.

use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, Socket, yjs};

use crate::{DEATHS, wait_acknowledged};

#[test]
fn an_editor_at_a_router_outlives_the_owner_of_its_document() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 1), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let mut socket = Socket::open(cluster.server("r1").editors(), "/doc");
    socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
    wait_acknowledged(&mut socket, 7, 5);
    let owner = cluster.holder("doc");

    cluster.kill(&owner);
    let killed_at = Instant::now();
    socket.send(&yjs::update_frame(&yjs::typed(7, 5, " world"))).unwrap();
    wait_acknowledged(&mut socket, 7, 11);
    harness::figure(&format!("acknowledged {:.0?} after the owner was killed", killed_at.elapsed()));
    let successor = cluster.holder("doc");
    assert_ne!(successor, owner);

    cluster.start_again(&owner);
    // The name is on the ring again, so the document goes home, and the editor with it.
    harness::wait_for("the document is back at its owner", Duration::from_secs(40), || {
        (cluster.holders("doc") == [owner.clone()]).then_some(())
    });
    socket.send(&yjs::update_frame(&yjs::typed(7, 11, "!"))).unwrap();
    wait_acknowledged(&mut socket, 7, 12);
    let stored = yjs::contents(&cluster.server(&successor).export("doc"));
    assert_eq!(stored.clocks[&7], 12);
}
