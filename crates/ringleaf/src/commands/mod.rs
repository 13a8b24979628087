//! What the commands do, apart from `serve`: ask the admin port, or the same routes in this process, and print.

mod busy;
pub(crate) mod config;
mod documents;
mod file;
mod history;
mod nodes;
mod pins;
mod rebalance;
mod ring;
mod status;
mod store;
mod text;
mod top;
mod verdict;

use std::io::{IsTerminal, Write};

use crate::cli::{self, Cli, Command, Doc, NodeOr};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(serve) => crate::serve::alone(&serve),
        Command::Node(node) => match *node {
            NodeOr { command: Some(command), .. } => nodes::run(command),
            NodeOr { command: None, run } => crate::serve::node(&run),
        },
        Command::Router(flags) => crate::serve::router(&flags),
        Command::Status(command) => status::status(&command),
        Command::Top(command) => top::top(&command),
        Command::Ring(command) => ring::run(command),
        Command::Healthcheck(target) => status::healthcheck(&target),
        Command::Doc(Doc::Quarantine(command)) => documents::quarantine(command),
        Command::Doc(command) => documents::run(command),
        Command::Backup(command) => status::backup(&command),
        Command::Store(command) => store::run(command),
        Command::Config(command) => config::run(command),
        Command::Reader(reader) => ringleaf_reader::run(&reader.bounds())
            .map_err(|error| Failure::new(Exit::Failed, "reader", error.to_string())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "ringleaf",
                &mut script,
            );
            output::print_bytes(&script)
        }
        Command::Version { output } => {
            let json = serde_json::json!({ "name": "ringleaf", "version": cli::VERSION });
            output::answer(output.format, &json, || format!("ringleaf {}\n", cli::VERSION))
        }
    }
}

/// Asks before something is destroyed. Without a terminal to ask on, only `--yes` will do.
fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refused = |message: &str| Failure::new(Exit::Refused, "not_confirmed", message);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(refused(&format!("this would {what}, and there is no terminal to ask on"))
            .advise("say --yes to do it"));
    }
    let mut stderr = std::io::stderr();
    let _nobody_listens = write!(stderr, "This will {what}. Go on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _end_of_input = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refused("nothing was changed")),
    }
}
