//! `ringleaf status`, `healthcheck` and `backup`.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::text::array;
use super::verdict::{Mood, Verdict, verdict};

use crate::cli::{Backup, Format, Status, Target};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::progress;

pub(super) fn status(command: &Status) -> Result<(), Failure> {
    let client = Client::open(&command.common.target)?;
    if command.watch {
        return watch(command, &client);
    }
    let format = command.common.output.format;
    let look = Look::take(&client)?;
    output::answer(format, &look.json(), || look.text(format == Format::Wide, output::stdout_has_color()))?;
    // A folder that was opened is as well as a stopped server can be.
    match look.verdict().mood {
        Mood::Well | Mood::Worried | Mood::Stopped => Ok(()),
        Mood::Unwell => Err(Failure::said(Exit::Failed)),
    }
}

/// What a server says of itself and, in a cluster, of the nodes.
pub(super) struct Look {
    pub(super) status: Value,
    pub(super) nodes: Option<Value>,
}

impl Look {
    pub(super) fn take(client: &Client) -> Result<Self, Failure> {
        let status = client.json(Ask::get("/api/v1/status"))?;
        // A cluster without a ring has no nodes to ask; the status says so itself.
        let nodes = match status["cluster"].is_null() {
            true => None,
            false => client.json(Ask::get("/api/v1/nodes")).ok(),
        };
        Ok(Self { status, nodes })
    }

    pub(super) fn verdict(&self) -> Verdict {
        verdict(&self.status, self.nodes.as_ref())
    }

    pub(super) fn json(&self) -> Value {
        let mut json = self.status.clone();
        json["verdict"] = self.verdict().text.into();
        json["nodes"] = self.nodes.clone().unwrap_or_default();
        json
    }

    /// The verdict, the nodes, and what there is about the server itself.
    fn text(&self, wide: bool, color: bool) -> String {
        format!("{}\n{}", self.summary(wide, color), details(&self.status, wide))
    }

    /// Without what there is about the server itself.
    fn summary(&self, wide: bool, color: bool) -> String {
        let mut text = self.verdict().line(color) + "\n";
        for warning in self.warned() {
            text.push_str(&match color {
                true => format!("\x1b[1;33m! {warning}\x1b[0m\n"),
                false => format!("! {warning}\n"),
            });
        }
        if let Some(nodes) = &self.nodes {
            let table = super::nodes::table(nodes, wide).render(color);
            text.push_str(&format!("\n{table}{}", super::nodes::legend(nodes)));
        }
        text
    }
}

impl Look {
    /// What the operator has asked for and should not forget.
    pub(super) fn warned(&self) -> Vec<&'static str> {
        let warnings = [
            ("/store/keeps_nothing", "keeps nothing (--memory)"),
            ("/editors/open_to_anyone", "open to anyone: nobody is asked who they are"),
        ];
        let said =
            warnings.iter().filter(|(pointer, _)| self.status.pointer(pointer) == Some(&Value::Bool(true)));
        said.map(|(_, warning)| *warning).collect()
    }

    /// A line about each node: of a server that stands alone, about itself.
    pub(super) fn nodes(&self) -> Vec<Value> {
        match &self.nodes {
            Some(nodes) => array(nodes, "members").to_vec(),
            None => {
                let status = &self.status;
                vec![json!({
                    "node": status["node"],
                    "state": status["stage"],
                    "ready": status["ready"],
                    "counts": status["counts"],
                    "load": status["load"],
                    "resident_bytes": status["process"]["resident_bytes"],
                })]
            }
        }
    }
}

/// Looks again and again: on a terminal in place, else one line (or one JSON value) each time.
fn watch(command: &Status, client: &Client) -> Result<(), Failure> {
    let format = command.common.output.format;
    let (terminal, color) = (std::io::stdout().is_terminal(), output::stdout_has_color());
    loop {
        let now = output::rfc3339(std::time::SystemTime::now());
        let text = match (Look::take(client), format) {
            (Ok(look), Format::Json) => format!("{}\n", look.json()),
            (Ok(look), _) if terminal => look.text(format == Format::Wide, color),
            (Ok(look), _) => format!("{now}  {}\n", look.verdict().line(color)),
            (Err(failure), Format::Json) => format!("{}\n", failure.json()),
            // Whoever watches, waits for the server to come back.
            (Err(failure), _) => format!("{now}  {}\n", Verdict::of(&failure).line(color)),
        };
        let clear = if terminal && format != Format::Json { "\x1b[H\x1b[2J" } else { "" };
        if !output::print_to_reader(&format!("{clear}{text}"))? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(command.interval));
    }
}

/// A small table, and the last faults.
pub(super) fn details(status: &Value, wide: bool) -> String {
    let of = |pointer: &str| status.pointer(pointer).unwrap_or(&Value::Null);
    let string = |pointer: &str| of(pointer).as_str().unwrap_or_default().to_owned();
    let number = |pointer: &str| of(pointer).as_u64().unwrap_or(0);
    let mut table = Table::new(&[]);
    table.row(["version".into(), string("/version")]);
    let stopped = status["stage"] == "stopped";
    if !stopped {
        table.row(["node".into(), string("/node")]);
    }
    if wide {
        table.row(["incarnation".into(), string("/incarnation")]);
        table.row(["pid".into(), number("/pid").to_string()]);
    }
    if let Some(listen) = of("/editors/listen").as_str() {
        table.row(["editors".into(), format!("ws://{listen}/<document>")]);
    }
    let store = match of("/store/folder").as_str() {
        Some(folder) => {
            format!("{} in {folder} ({})", string("/store/kind"), output::size(number("/store/bytes")))
        }
        None => format!("{} {}", string("/store/kind"), string("/store/address")).trim_end().to_owned(),
    };
    if !of("/store").is_null() {
        table.row(["store".into(), store]);
    }
    for (name, pointer) in [
        ("connections", "/counts/connections"),
        ("sessions", "/counts/sessions"),
        ("behind", "/counts/behind"),
        ("documents in memory", "/counts/documents_resident"),
        ("quarantined", "/counts/documents_quarantined"),
    ] {
        if let Some(count) = of(pointer).as_u64() {
            table.row([name.into(), count.to_string()]);
        }
    }
    if number("/counts/sessions_left_behind") > 0 {
        table.row(["left behind".into(), number("/counts/sessions_left_behind").to_string()]);
    }
    if number("/counts/failing_appends") > 0 {
        table.row(["appends failing".into(), number("/counts/failing_appends").to_string()]);
    }
    if stopped {
        // The rest would be about this command.
        return table.render(false);
    }
    table.row(["memory".into(), output::size(number("/process/resident_bytes"))]);
    if wide {
        table.row(["cpu".into(), format!("{:.1} s", of("/process/cpu_seconds").as_f64().unwrap_or(0.0))]);
        table.row([
            "files".into(),
            format!("{} of {}", number("/process/open_files"), number("/process/open_files_max")),
        ]);
        table.row(["threads".into(), number("/process/threads").to_string()]);
        let members: Vec<&str> = of("/ring/members")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|member| member["node"].as_str())
            .collect();
        table.row(["ring".into(), format!("version {}: {}", number("/ring/version"), members.join(", "))]);
    }
    table.render(false) + &faults(status, wide)
}

fn faults(status: &Value, wide: bool) -> String {
    let faults = status["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
    if faults.is_empty() {
        return String::new();
    }
    let shown = if wide { faults.len() } else { faults.len().min(5) };
    let mut table = Table::new(&["LAST FAULTS", "LEVEL", ">TIMES", "WHAT"]);
    for fault in &faults[..shown] {
        let text = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
        table.row([text("at"), text("level"), fault["times"].to_string(), text("message")]);
    }
    format!("\n{}", table.render(false))
}

/// Containers know two answers: 0 is healthy, 1 is not.
pub(super) fn healthcheck(target: &Target) -> Result<(), Failure> {
    let ask = || Client::open(target)?.bytes(Ask::get("/readyz"));
    match ask() {
        Ok(_) => Ok(()),
        Err(failure) => Err(Failure { exit: Exit::Failed, ..failure }),
    }
}

pub(super) fn backup(command: &Backup) -> Result<(), Failure> {
    let client = Client::open(&command.common.target)?;
    // The server has a working directory of its own.
    let file = std::path::absolute(&command.file).map_err(|error| {
        Failure::new(Exit::Usage, "usage", format!("{}: {error}", command.file.display()))
    })?;
    let body = json!({ "file": file.to_string_lossy() }).to_string().into_bytes();
    let ask = Ask { method: "POST", path: "/api/v1/backup", body: Some(("application/json", body)) };
    let bar = progress::bar();
    let mut last = Value::Null;
    let outcome = client.lines(ask, |line| {
        if let (Some(done), Some(total)) = (line["pages_done"].as_u64(), line["pages"].as_u64()) {
            bar.set_length(total);
            bar.set_position(done);
        }
        last = line;
    });
    bar.finish_and_clear();
    outcome?;
    if last["outcome"] != "written" {
        return Err(Failure::new(
            Exit::Failed,
            "cut_off",
            "the server stopped before the backup was finished",
        )
        .advise("the file is not complete; remove it and try again"));
    }
    output::answer(command.common.output.format, &last, || {
        format!("{} written ({})\n", file.display(), output::size(last["bytes"].as_u64().unwrap_or(0)))
    })
}
