//! `ringleaf config check|show`.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::{Clustered, ConfigCommand, Format, Hosting, Output, Process, Serve, Settings};
use crate::config::{Problems, Resolved, Role, Sources, resolve};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};

/// Reads all sources for the flags of `serve`.
pub(crate) fn load(serve: &Serve) -> Result<Resolved, Failure> {
    load_all(Role::Alone, serve.settings(), &serve.process)
}

/// Reads all sources for the flags of `node`.
pub(crate) fn load_node(flags: &Hosting) -> Result<Resolved, Failure> {
    load_all(Role::Node, flags.settings(), &flags.clustered.process)
}

/// Reads all sources for the flags of `router`.
pub(crate) fn load_router(flags: &Clustered) -> Result<Resolved, Failure> {
    load_all(Role::Router, flags.settings(), &flags.process)
}

fn load_all(role: Role, flags: Settings, process: &Process) -> Result<Resolved, Failure> {
    Sources::gather(role, flags, process.config.as_deref())
        .and_then(|sources| resolve(&sources))
        .map_err(failure)
}

fn failure(problems: Problems) -> Failure {
    Failure::new(Exit::Configuration, "configuration", problems.to_string())
}

pub(super) fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { output, serve } => check(&output, &load(&naming_its_file(serve)?)?),
        ConfigCommand::Show { origin, output, serve } => {
            show(&output, origin, &load(&naming_its_file(serve)?)?)
        }
    }
}

/// These take the flags of `serve`, whose first word is a folder. Here a file is meant as often, and no folder's name ends
/// like one.
fn naming_its_file(mut serve: Serve) -> Result<Serve, Failure> {
    let is_file = |path: &PathBuf| path.is_file() || path.extension().is_some_and(|end| end == "toml");
    let Some(file) = serve.data.take_if(|path| is_file(path)) else { return Ok(serve) };
    match &serve.process.config {
        Some(other) if *other != file => Err(Failure::new(
            Exit::Usage,
            "usage",
            format!("{} and --config {} are two files", file.display(), other.display()),
        )
        .advise("name one of them")),
        Some(_) | None => {
            serve.process.config = Some(file);
            Ok(serve)
        }
    }
}

fn check(output: &Output, resolved: &Resolved) -> Result<(), Failure> {
    let file = resolved.file.as_ref().map(|file| file.display().to_string());
    let json = json!({ "ok": true, "file": file, "set": resolved.origins.len() });
    output::answer(output.format, &json, || match &file {
        Some(file) => format!("{file} is fine\n"),
        None => "the configuration is fine; there is no ringleaf.toml here\n".into(),
    })
}

fn show(output: &Output, origin: bool, resolved: &Resolved) -> Result<(), Failure> {
    let json: Vec<_> = resolved
        .entries()
        .into_iter()
        .map(|(key, value, origin)| {
            let value: Option<toml::Table> = toml::from_str(&format!("value = {value}")).ok();
            json!({ "key": key, "value": value.map(|table| table["value"].clone()), "origin": origin.to_string() })
        })
        .collect();
    match output.format {
        Format::Table | Format::Json => output::answer(output.format, &json.into(), || resolved.show(origin)),
        Format::Wide => {
            let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
            for (key, value, origin) in resolved.entries() {
                table.row([key.to_owned(), value, origin.to_string()]);
            }
            output::print(&table.render(output::stdout_has_color()))
        }
    }
}
