//! An owner that stops for half a minute and goes on as if nothing had happened: the log says that it is no owner any more.

use std::time::{Duration, Instant};

use harness::{Cluster, ClusterOptions, wait_for};

use crate::load::Load;
use crate::{DEATHS, routers};

const DOCUMENTS: [&str; 4] = ["a", "b", "c", "d"];
const FROZEN: Duration = Duration::from_secs(30);
/// The goal is five seconds.
const FAILOVER_MAX: Duration = Duration::from_secs(20);

#[test]
fn an_owner_that_was_stopped_for_thirty_seconds_is_fenced_and_loses_nothing() {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    // As it looks to the one whose clock has jumped.
    let options = options.announce("etcd is away");
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let load = Load::start(&routers(&cluster), &DOCUMENTS);
    load.wait_acknowledging(Duration::from_secs(30));
    let owner = cluster.holder(DOCUMENTS[0]);
    let hosted = |document: &&str| cluster.holders(document) == [owner.clone()];
    let hosted: Vec<_> = DOCUMENTS.into_iter().filter(hosted).collect();
    // What these type while it is stopped waits in the machine, and reaches the old owner before it has heard any news.
    let at_owner = Load::start(&[cluster.server(&owner).editors()], &hosted);
    at_owner.wait_acknowledging(Duration::from_secs(30));

    cluster.server(&owner).signal("STOP");
    let stopped_at = Instant::now();
    load.wait_acknowledging(FAILOVER_MAX);
    let pause = hosted.iter().filter_map(|document| load.pause(document, stopped_at)).max().unwrap();
    // The one place where time itself is the fact.
    std::thread::sleep(FROZEN.saturating_sub(stopped_at.elapsed()));
    assert_eq!(load.closed(), 0, "sockets closed at routers");
    cluster.server(&owner).signal("CONT");
    load.wait_acknowledging(FAILOVER_MAX);
    at_owner.wait_acknowledging(FAILOVER_MAX);
    cluster.wait_ring(3);
    for document in DOCUMENTS {
        wait_for(&format!("{document} is at one node"), Duration::from_secs(30), || {
            (cluster.holders(document).len() == 1).then_some(())
        });
    }
    let (outcome, late) = (load.finish(), at_owner.finish());
    assert_eq!(outcome.closed, 0, "sockets closed at routers");
    let kept = outcome.lost_nothing(&mut cluster) + late.lost_nothing(&mut cluster);
    let acknowledged = outcome.acknowledged + late.acknowledged;
    harness::figure(&format!(
        "an owner stopped for {FROZEN:?}: {acknowledged} updates acknowledged, {} lost; the next one serves after {pause:.1?}",
        acknowledged.saturating_sub(kept),
    ));
}
