//! `ringleaf status`, `healthcheck` and `backup`.

use serde_json::{Value, json};

use crate::cli::{Backup, Format, Status, Target};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::progress;

pub(super) fn status(command: &Status) -> Result<(), Failure> {
    let command = &command.common;
    let client = Client::open(&command.target)?;
    let answer = client.json(Ask::get("/api/v1/status"))?;
    let format = command.output.format;
    output::answer(format, &answer, || text(&answer, format == Format::Wide, output::stdout_has_color()))?;
    // A folder that was opened is as well as a stopped server can be.
    match answer["ready"].as_bool().unwrap_or(false) || answer["stage"] == "stopped" {
        true => Ok(()),
        false => Err(Failure::said(Exit::Failed)),
    }
}

/// The verdict, a small table, and the last faults.
pub(super) fn text(status: &Value, wide: bool, color: bool) -> String {
    let paint = |code: &str, text: &str| match color {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let of = |pointer: &str| status.pointer(pointer).unwrap_or(&Value::Null);
    let string = |pointer: &str| of(pointer).as_str().unwrap_or_default().to_owned();
    let number = |pointer: &str| of(pointer).as_u64().unwrap_or(0);
    let mut text = format!("{}\n\n", verdict(status, &paint));

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
    if number("/counts/failing_appends") > 0 {
        table.row(["appends failing".into(), number("/counts/failing_appends").to_string()]);
    }
    if stopped {
        // The rest would be about this command.
        return text + &table.render(false);
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
    text.push_str(&table.render(false));
    text.push_str(&faults(status, wide));
    text
}

fn verdict(status: &Value, paint: &dyn Fn(&str, &str) -> String) -> String {
    let failed: Vec<String> = status["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["ok"] == false)
        .map(|check| {
            format!(
                "{}: {}",
                check["name"].as_str().unwrap_or_default(),
                check["detail"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let uptime = output::span(status["uptime_seconds"].as_u64().unwrap_or(0));
    let mut verdict = match status["stage"].as_str() {
        Some("stopped") => paint("1", "● stopped: nobody serves this folder"),
        Some("serving") if failed.is_empty() => format!("{} for {uptime}", paint("1;32", "● serving")),
        stage => format!(
            "{}: {}",
            paint("1;31", &format!("● {}, not ready", stage.unwrap_or("unknown"))),
            failed.join("; ")
        ),
    };
    for (pointer, warning) in [
        ("/store/keeps_nothing", "keeps nothing (--memory)"),
        ("/editors/open_to_anyone", "open to anyone: nobody is asked who they are"),
    ] {
        if status.pointer(pointer) == Some(&Value::Bool(true)) {
            verdict.push_str(&format!("\n{}", paint("1;33", &format!("! {warning}"))));
        }
    }
    verdict
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
