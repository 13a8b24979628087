//! `cargo xtask demo`: one command from a fresh clone to two people in one document.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::{prepare, workspace};

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Where editors connect
    #[arg(long, default_value = "127.0.0.1:1234")]
    listen: String,
    /// Where the admin interface listens
    #[arg(long, default_value = "127.0.0.1:1235")]
    admin: String,
    /// Build without optimizations: quicker to build, slower to run
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(options: &DemoOptions) -> anyhow::Result<ExitCode> {
    for line in prepare::for_the_page() {
        eprintln!("warning: {line}");
    }
    let binary = build(options.debug)?;
    let data = workspace::target().join("demo-data");
    println!("\n  the demo:   http://{}/", options.listen);
    println!("  its data:   {}", data.display());
    println!("  stop it with ctrl-c\n");
    let mut serve = Command::new(binary);
    serve.arg("serve").arg(&data).arg("--dev");
    serve.args(["--listen", &options.listen, "--admin", &options.admin]);
    // Ctrl-c reaches the server too (same process group); we wait until it has stopped in order.
    let status = serve.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the page, if it can be built here, and the server; returns the server.
pub(crate) fn build(debug: bool) -> anyhow::Result<PathBuf> {
    if workspace::page().join("node_modules/.installed-from").exists() {
        build_page()?;
    } else {
        eprintln!("warning: it goes on with the small built-in page");
    }
    let profile = if debug { "debug" } else { "release" };
    println!("building ringleaf ({profile})");
    let mut build = workspace::cargo();
    build.args(["build", "--package", "ringleaf"]);
    if !debug {
        build.arg("--release");
    }
    workspace::run(&mut build)?;
    Ok(workspace::target().join(profile).join("ringleaf"))
}

/// Builds the page into `page/dist`, which the binary embeds.
pub(crate) fn build_page() -> anyhow::Result<()> {
    println!("building the page");
    let mut build = Command::new("npm");
    build.args(["run", "--silent", "build"]).current_dir(workspace::page());
    workspace::run(&mut build)
}
