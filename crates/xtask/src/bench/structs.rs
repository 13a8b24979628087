//! The figures of a document's store, which need no server: a program of its own, and how many instructions it takes.

use std::process::Command;

use anyhow::Context as _;

use crate::workspace;

const PROGRAM: &str = "structs-figures";

/// Edits in the trace.
const EDITS: u64 = 260_000;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--package", "ringleaf-xtask", "--bin", PROGRAM]);
    workspace::run(&mut build)?;
    let program = workspace::target().join("release").join(PROGRAM);
    workspace::run(&mut Command::new(&program))?;
    if workspace::installed("valgrind") {
        let admitting = instructions(&program, "admit")?.saturating_sub(instructions(&program, "generate")?);
        println!("admitting takes {} instructions an update (goal 3,000)", admitting / EDITS);
    } else {
        println!("valgrind is missing: instructions are not counted");
    }
    Ok(())
}

/// How many instructions the program executes with this argument.
fn instructions(program: &std::path::Path, argument: &str) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(argument)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count);
    let count = collected.with_context(|| format!("valgrind does not say what it counted: {text}"))?;
    count.trim().parse().context("a number of instructions")
}
