//! `cargo xtask demo`: one command from a fresh clone to two people in one document.

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
    let missing = prepare::for_the_page();
    for line in &missing {
        eprintln!("warning: {line}");
    }
    if missing.is_empty() {
        build_page()?;
    } else {
        eprintln!("warning: the demo goes on with the small built-in page");
    }
    let profile = if options.debug { "debug" } else { "release" };
    println!("building ringleaf ({profile})");
    let mut build = workspace::cargo();
    build.args(["build", "--package", "ringleaf"]);
    if !options.debug {
        build.arg("--release");
    }
    workspace::run(&mut build)?;

    let data = workspace::target().join("demo-data");
    println!("\n  the demo:   http://{}/", options.listen);
    println!("  its data:   {}", data.display());
    println!("  stop it with ctrl-c\n");
    let mut serve = Command::new(workspace::target().join(profile).join("ringleaf"));
    serve.arg("serve").arg(&data).arg("--dev");
    serve.args(["--listen", &options.listen, "--admin", &options.admin]);
    // Ctrl-c reaches the server too (same process group); we wait until it has stopped in order.
    let status = serve.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the page into `page/dist`, which the binary embeds.
pub(crate) fn build_page() -> anyhow::Result<()> {
    println!("building the page");
    let mut build = Command::new("npm");
    build.args(["run", "--silent", "build"]).current_dir(workspace::page());
    workspace::run(&mut build)
}
