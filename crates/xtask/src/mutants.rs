//! `cargo xtask mutants`: breaks a copy of the program in ways that have cost somebody their data once, one at a time, and
//! shows that the tests notice each.
//!
//! The changes are to the text, so that the program itself has nothing of them. A mutant that does not build, or whose
//! place in the text has gone, is an error and not a success.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::workspace;

#[derive(Debug, Args)]
pub(crate) struct MutantsOptions {
    /// Only those whose name contains this
    filter: Option<String>,
}

/// One way to be wrong, and the tests that must notice.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// Stands there once.
    right: &'static str,
    wrong: &'static str,
    package: &'static str,
    /// As `cargo test` takes them.
    tests: &'static [&'static str],
}

const MUTANTS: [Mutant; 7] = [
    Mutant {
        name: "no fence",
        file: "crates/document/src/log.rs",
        right: "if self.epoch == Epoch::ZERO { self.highest.next() } else { self.epoch }",
        wrong: "if self.epoch == Epoch::ZERO { self.highest } else { self.epoch }",
        package: "ringleaf-document",
        tests: &["--test", "scenarios", "ownership::"],
    },
    Mutant {
        name: "load before claim",
        file: "crates/document/src/document/durable.rs",
        right: "Decided::Late(slot, record) => {\n                self.foreign(slot, record);",
        wrong: "Decided::Late(_, _) => {",
        package: "ringleaf-document",
        tests: &["--test", "scenarios", "ownership::"],
    },
    Mutant {
        name: "acknowledge out of order",
        file: "crates/document/src/gate.rs",
        right: "if self.held.front()?.batch >= self.gathering {",
        wrong: "if self.held.front()?.batch > self.gathering {",
        package: "ringleaf-document",
        tests: &["--test", "scenarios"],
    },
    Mutant {
        name: "removal of awareness on handoff",
        file: "crates/document/src/awareness.rs",
        right: "self.missing_at = (!self.missing.is_empty()).then(|| now + ATTACH_TIMEOUT);",
        wrong: "self.missing_at = (!self.missing.is_empty()).then_some(now);",
        package: "ringleaf-document",
        tests: &["--test", "scenarios", "handoff::"],
    },
    Mutant {
        name: "sealed before the slot in flight is durable",
        file: "crates/document/src/document.rs",
        right: "self.sealed && !self.log.busy() && self.recovering.is_none()",
        wrong: "self.sealed && self.recovering.is_none()",
        package: "ringleaf-document",
        tests: &["--test", "scenarios", "handoff::"],
    },
    Mutant {
        name: "view goes backwards",
        file: "crates/coordinator/src/etcd/picture.rs",
        right: "if same && revision < self.seen {",
        wrong: "if same && revision == u64::MAX {",
        package: "ringleaf-coordinator",
        tests: &["--lib", "picture"],
    },
    Mutant {
        name: "router drops unacknowledged updates on re-attach",
        file: "crates/router/src/session.rs",
        right: "self.owner = Owner::Detached;\n        self.submitted = 0;",
        wrong: "self.owner = Owner::Detached;\n        self.submitted = 0;\n        self.forget_messages();",
        package: "ringleaf-router",
        tests: &["--lib", "session"],
    },
];

pub(crate) fn run(options: &MutantsOptions) -> anyhow::Result<ExitCode> {
    let wanted = |mutant: &&Mutant| options.filter.as_ref().is_none_or(|part| mutant.name.contains(part));
    let mutants: Vec<&Mutant> = MUTANTS.iter().filter(wanted).collect();
    if mutants.is_empty() {
        bail!("there is no such mutant");
    }
    let tree = copy()?;
    let mut survived = 0;
    for mutant in &mutants {
        let caught_by = play(mutant, &tree).with_context(|| mutant.name)?;
        survived += usize::from(caught_by.is_empty());
        println!("{:8} {}", if caught_by.is_empty() { "SURVIVED" } else { "caught" }, mutant.name);
        for test in caught_by {
            println!("         by {test}");
        }
    }
    println!("{} mutants, {survived} survived", mutants.len());
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests that fail with it.
fn play(mutant: &Mutant, tree: &Path) -> anyhow::Result<Vec<String>> {
    let file = tree.join(mutant.file);
    let right = std::fs::read_to_string(&file).with_context(|| mutant.file)?;
    if right.matches(mutant.right).count() != 1 {
        bail!("{} does not say `{}` once", mutant.file, mutant.right);
    }
    std::fs::write(&file, right.replace(mutant.right, mutant.wrong))?;
    let output = test(mutant, tree);
    std::fs::write(&file, right)?;
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Nothing but a failed test counts: neither a mutant that does not build nor a filter that finds no test.
    let failed = |line: &str| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    };
    let failed: Vec<String> = text.lines().filter_map(failed).collect();
    let ran = text.lines().any(|line| line.starts_with("test "));
    if !ran || (failed.is_empty() && !output.status.success()) {
        bail!("its tests did not run:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(failed)
}

fn test(mutant: &Mutant, tree: &Path) -> anyhow::Result<Output> {
    let mut command = workspace::cargo();
    command.current_dir(tree).args(["test", "--package", mutant.package]).args(mutant.tests);
    command.env("CARGO_TARGET_DIR", workspace::target().join("mutants/build"));
    command.output().context("cargo could not be started")
}

/// What git knows of the workspace, beside it. Files that did not change stay as they are, so that cargo need not build
/// them again.
fn copy() -> anyhow::Result<PathBuf> {
    let (from, tree) = (workspace::root(), workspace::target().join("mutants/tree"));
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&from).output()?;
    if !listed.status.success() {
        bail!("git does not list the files of {}", from.display());
    }
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (source, copy) = (from.join(name), tree.join(name));
        // A file that was deleted and not committed yet.
        let Ok(text) = std::fs::read(&source) else { continue };
        if std::fs::read(&copy).is_ok_and(|copied| copied == text) {
            continue;
        }
        if let Some(folder) = copy.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&copy, text).with_context(|| copy.display().to_string())?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutant_has_its_place_in_the_text() {
        for mutant in &MUTANTS {
            let text = std::fs::read_to_string(workspace::root().join(mutant.file)).unwrap();
            assert_eq!(text.matches(mutant.right).count(), 1, "{}", mutant.name);
            assert_ne!(mutant.right, mutant.wrong);
        }
    }
}
