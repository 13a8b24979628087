//! A browser on the demo page.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script of `tests/clients` with the page's address and a folder for its screenshots. What it prints are figures.
/// Without a browser or the page it is skipped.
pub fn browse(script: &str, prepare: impl FnOnce() -> Option<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find) else {
        return crate::skip("no chromium is installed");
    };
    if !folder.join("../crates/ringleaf/page/dist/index.html").exists() {
        return crate::skip("the page was not built: npm ci and npm run build in crates/ringleaf/page");
    }
    let Some(url) = prepare() else { return };
    let test = std::env::current_exe().expect("it runs");
    let screenshots = test.ancestors().nth(3).expect("it is in target").join("screenshots");
    std::fs::create_dir_all(&screenshots).expect("target can be written");
    let output = Command::new("node")
        .arg(script)
        .arg(url)
        .arg(&screenshots)
        .current_dir(folder.join("clients"))
        .env("CHROMIUM", chromium)
        .output()
        .expect("node is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().for_each(crate::figure);
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
