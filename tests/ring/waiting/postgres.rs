//! The store goes away, comes back, and comes back with less than it had.

use std::time::Duration;

use harness::{Cluster, ClusterOptions, wait_for};

use crate::load::Load;
use crate::{DEATHS, STORE_TROUBLE, routers};

const DOCUMENTS: [&str; 4] = ["a", "b", "c", "d"];
const WITHIN: Duration = Duration::from_secs(30);

fn quarantined(cluster: &Cluster) -> u64 {
    let status = |name: &String| cluster.ask(name, "/api/v1/status").unwrap();
    cluster.nodes().iter().map(|name| status(name)["counts"]["documents_quarantined"].as_u64().unwrap()).sum()
}

#[test]
fn a_store_that_restarts_under_load_costs_a_pause_and_nothing_else() {
    let options =
        DEATHS.into_iter().chain(STORE_TROUBLE).fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    for signal in ["INT", "QUIT"] {
        load.wait_acknowledging(WITHIN);
        cluster.postgres.stop(signal);
        cluster.postgres.start_again();
    }
    load.wait_acknowledging(WITHIN);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    assert_eq!(quarantined(&cluster), 0);
    for name in cluster.nodes() {
        assert!(cluster.is_running(&name), "{name} has ended");
    }
    let kept = outcome.lost_nothing(&mut cluster);
    harness::figure(&format!(
        "PostgreSQL restarted twice: {} updates acknowledged, {} lost; slowest acknowledgement {:.1?}",
        outcome.acknowledged,
        outcome.acknowledged.saturating_sub(kept),
        outcome.slowest(),
    ));
}

/// After a power cut everything starts at once. Found by chaos: a node that was back while the database restarted ended.
#[test]
fn a_node_that_starts_before_the_store_waits_for_it() {
    let options =
        DEATHS.into_iter().chain(STORE_TROUBLE).fold(ClusterOptions::new(2, 1), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options) else { return };
    cluster.kill("n1");
    cluster.postgres.stop("INT");
    cluster.launch_again_there("n1");
    wait_for("it finds no store", WITHIN, || {
        cluster.server("n1").log_text().contains("waiting for the store").then_some(())
    });
    assert!(cluster.is_running("n1"));
    cluster.postgres.start_again();
    cluster.wait_ports("n1");
    cluster.wait_ready("n1");
}

/// As if a replica had been promoted that lagged behind: nobody writes in between.
fn lose_last_rows(cluster: &Cluster) {
    cluster.postgres.sql(
        "LOCK TABLE ringleaf_slots IN ACCESS EXCLUSIVE MODE;
         DELETE FROM ringleaf_slots AS lost
         USING (SELECT document, max(slot) AS last FROM ringleaf_slots GROUP BY document) AS tail
         WHERE lost.document = tail.document AND lost.slot > tail.last - 3",
    );
}

/// How often nodes have found that the store had less than they knew of.
fn alarms(cluster: &Cluster) -> u64 {
    let of = |name: &String| {
        let text = cluster.server(name).admin_request("GET", "/metrics", b"").text();
        let line = text.lines().find_map(|line| line.strip_prefix("ringleaf_store_went_backwards_total "))?;
        line.trim().parse::<u64>().ok()
    };
    cluster.nodes().iter().filter_map(of).sum()
}

/// The rows go while the editors type, or while they think.
fn bear_the_loss(quiet: bool) {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    let Some(mut cluster) = Cluster::start(&options.announce("the store went backwards")) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    load.wait_acknowledging(WITHIN);
    load.keep_quiet(quiet);
    lose_last_rows(&cluster);
    wait_for("the alarm is shown for every document", WITHIN, || {
        (alarms(&cluster) >= DOCUMENTS.len() as u64).then_some(())
    });
    load.keep_quiet(false);
    load.wait_acknowledging(WITHIN);
    let outcome = load.finish();
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    assert_eq!(quarantined(&cluster), 0);
    outcome.lost_nothing(&mut cluster);
    assert_eq!(quarantined(&cluster), 0, "and all of them load again");
}

#[test]
fn documents_outlive_the_loss_of_their_last_rows() {
    bear_the_loss(true);
}

#[test]
fn documents_outlive_the_loss_of_their_last_rows_while_their_editors_type() {
    bear_the_loss(false);
}
