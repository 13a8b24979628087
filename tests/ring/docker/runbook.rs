//! RUNBOOK.md.

use std::collections::BTreeSet;
use std::path::Path;

use super::{root, text};

/// Commands of its code blocks that are given to ringleaf, without that word.
pub(super) fn commands() -> Vec<String> {
    let runbook = text("RUNBOOK.md");
    let commands: Vec<_> =
        runbook.lines().filter_map(|line| Some(line.strip_prefix("$ ringleaf ")?.to_owned())).collect();
    assert!(commands.len() > 15, "{commands:?}");
    commands
}

/// Every word that begins with `ringleaf_`.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("ringleaf_")).map(str::to_owned).collect()
}

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_metrics_to_watch_exist() {
    let mut code = String::new();
    sources(&root().join("crates"), &mut code);
    let known = metrics(&code);
    for metric in metrics(&text("RUNBOOK.md")) {
        assert!(known.contains(&metric), "nothing counts {metric}");
    }
}
