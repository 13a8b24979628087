//! One process of each name.

use std::time::Duration;

use harness::{Cluster, ClusterOptions, Role, Server, ServerOptions, Socket, yjs};

use crate::wait_acknowledged;

#[test]
fn a_second_process_of_a_name_is_refused_while_the_first_lives() {
    let Some(cluster) = Cluster::start(&ClusterOptions::new(2, 0)) else { return };
    let options = ServerOptions { role: Role::Node, ..ServerOptions::default() };
    let options = options.announce("lives as node n1").announce("members are asked whether they live");
    let mut second = Server::launch(cluster.place("n1", options));
    let status = second.wait_exit(Duration::from_secs(60));
    assert_eq!(status.code(), Some(8), "in use: {}", second.log_text());
    let mut socket = Socket::open(cluster.server("n1").editors(), "/doc");
    socket.send(&yjs::update_frame(&yjs::typed(7, 0, "hello"))).unwrap();
    wait_acknowledged(&mut socket, 7, 5);
    cluster.wait_ring(2);
}
