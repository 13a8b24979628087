//! Two people in two browsers on the demo page.

use std::path::Path;
use std::process::Command;

use harness::{Server, ServerOptions};

#[test]
fn two_browsers_see_each_others_text_and_cursors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find) else {
        return harness::skip("no chromium is installed");
    };
    let page = folder.join("../crates/ringleaf/page/dist/index.html");
    if !page.exists() {
        return harness::skip("the page was not built: npm ci and npm run build in crates/ringleaf/page");
    }
    let server = Server::start_with(ServerOptions::default().argument("--dev"));
    let test = std::env::current_exe().unwrap();
    let screenshots = test.ancestors().nth(3).unwrap().join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let output = Command::new("node")
        .arg("browser.mjs")
        .arg(format!("http://{}/", server.editors()))
        .arg(&screenshots)
        .current_dir(folder.join("clients"))
        .env("CHROMIUM", chromium)
        .output()
        .expect("node is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        harness::figure(line);
    }
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
