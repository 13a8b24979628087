//! Two people in two browsers on the demo page.

use harness::{Server, ServerOptions};

#[test]
fn two_browsers_see_each_others_text_and_cursors() {
    let mut server = None;
    harness::browse("browser.mjs", || {
        let started = server.insert(Server::start_with(ServerOptions::default().argument("--dev")));
        Some(format!("http://{}/", started.editors()))
    });
}
