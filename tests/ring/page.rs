//! The demo page of a cluster, in a browser.

use harness::{Cluster, ClusterOptions};

/// Issue 4, must-show 8.
#[test]
fn a_button_moves_the_document_and_typing_goes_on() {
    let mut cluster = None;
    harness::browse("move.mjs", || {
        let started = Cluster::start_with(&ClusterOptions::new(3, 1), |_, _| vec!["--dev".into()])?;
        let url = format!("http://{}/", started.server("r1").editors());
        cluster = Some(started);
        Some(url)
    });
}
