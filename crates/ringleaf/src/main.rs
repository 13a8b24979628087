//! The binary: configuration, logs, signals, wiring, and the admin commands.
//!
//! ```text
//! serve    ─▶ config ─▶ log ─▶ ports ─▶ store ─▶ node ─▶ router          (serve, node, router)
//! cluster  ─▶ etcd, the links to other processes, a place on the ring      (node, router)
//! commands ─▶ client ─▶ admin port of a server, or the same routes in this process (local)
//! ```
//!
//! **Must not** hold logic: what is decided here is only what is started, with which values, and in which order.
//!
//! Start reading at [`serve::alone`], then [`config::resolve`].

mod admin;
mod aside;
mod banner;
mod cli;
mod client;
mod cluster;
mod commands;
mod config;
mod exit;
mod history;
mod local;
mod log;
mod output;
mod page;
mod progress;
mod self_test;
mod serve;
mod signals;
mod tasks;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let style = Style::of(&arguments);
    let cli = match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && style.json => {
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return style.fail(&Failure::new(Exit::Usage, "usage", message).advise("see --help"));
        }
        // Help, versions and errors for people, with clap's own colors.
        Err(error) => error.exit(),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => style.fail(&failure),
    }
}

/// How to say that a command failed, known even when its flags could not be read.
struct Style {
    json: bool,
    log: log::LogFormat,
}

impl Style {
    fn of(arguments: &[std::ffi::OsString]) -> Self {
        let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
        let pair = |flag: &str, value: &str| {
            words.windows(2).any(|pair| pair == [flag, value])
                || words.contains(&format!("{flag}={value}").as_str())
        };
        let json = pair("-o", "json") || pair("--output", "json") || words.contains(&"-ojson");
        let variable = || std::env::var("RINGLEAF_LOG").is_ok_and(|value| value == "json");
        // Only a server logs; the commands speak to people.
        let flags = words.get(2).is_none_or(|word| word.starts_with('-'));
        let serve = match words.get(1) {
            Some(&"serve" | &"router") => true,
            // `ringleaf node list` and the like are commands, too.
            Some(&"node") => flags,
            Some(_) | None => false,
        };
        let log_json = serve && (pair("--log", "json") || (!pair("--log", "text") && variable()));
        Self { json, log: if log_json { log::LogFormat::Json } else { log::LogFormat::Text } }
    }

    fn fail(&self, failure: &Failure) -> ExitCode {
        match self.json {
            _ if failure.already_said() => {}
            true => {
                let _nobody_listens = output::print(&format!("{:#}\n", failure.json()));
            }
            false => log::last_words(self.log, &failure.to_string()),
        }
        failure.exit.into()
    }
}
