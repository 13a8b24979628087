//! What stands in files.

use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file that git knows or would add, by its path from the root.
fn files() -> Vec<String> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = command.output().expect("git is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect()
}

fn text(file: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(file)).unwrap()).ok()
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let source = |file: &String| file.ends_with(".rs");
    files().into_iter().filter(source).filter_map(|file| text(&file).map(|text| (file, text)))
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for (file, text) in sources() {
        // Tests beside the code do not count.
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{file} has {lines} lines: it holds more than one thing");
    }
}

#[test]
fn every_crate_says_what_it_must_not_do() {
    for (file, text) in sources() {
        let entry = file.ends_with("/src/lib.rs") || file == "crates/ringleaf/src/main.rs";
        if entry && file.starts_with("crates/") {
            let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
            assert!(head.contains("**Must not**"), "{file} has no `Must not` in its first comment");
        }
    }
}

#[test]
fn what_is_left_to_do_has_an_issue_number() {
    let marks = ["TODO", "FIXME", "XXX"];
    for (file, text) in sources().filter(|(file, _)| file != "tests/tidy/files.rs") {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                let numbered = line.contains("(#") || line.contains("issue ");
                assert!(numbered, "{file}:{}: {mark} without an issue number", number + 1);
            }
        }
    }
}

#[test]
fn lock_files_name_no_registry_of_ours() {
    for file in files().iter().filter(|file| file.ends_with("package-lock.json")) {
        let text = text(file).unwrap();
        assert!(!text.contains("\"resolved\""), "{file} says where its packages were downloaded from");
    }
    let cargo = text("Cargo.lock").unwrap();
    let official = "registry+https://github.com/rust-lang/crates.io-index";
    for line in cargo.lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(line, format!("source = \"{official}\""), "only crates.io");
    }
}

#[test]
fn no_file_names_a_machine() {
    // Parts, so that this file does not match itself.
    let forbidden = [["/home", "/"], ["/wo", "rk/"], ["/ro", "ot/"], ["regis", "try.npm"], ["cafi", "le="]];
    for file in files().iter().filter(|file| !file.ends_with("package-lock.json")) {
        let Some(text) = text(file) else { continue };
        for parts in forbidden {
            let word = parts.concat();
            assert!(!text.contains(&word), "{file} contains {word:?}");
        }
    }
}

#[test]
fn nothing_built_or_third_party_is_committed() {
    for file in files() {
        for folder in ["node_modules/", "page/dist/", "target/"] {
            assert!(!file.contains(folder), "{file} is committed");
        }
    }
}

#[test]
fn the_licences_are_there() {
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(text(file).unwrap_or_default().len() > 500, "{file} is missing");
    }
}

#[test]
fn every_fault_is_made_in_one_place() {
    let sources: Vec<_> = sources().filter(|(file, _)| file.starts_with("crates/")).collect();
    for fault in ringleaf_types::faults::Fault::ALL {
        let asked = format!("faults::active(Fault::{fault:?})");
        let places: usize = sources.iter().map(|(_, text)| text.matches(&asked).count()).sum();
        assert_eq!(places, 1, "{asked}");
    }
}
