//! What `ringleaf top` shows. Pure: from answers and the size of a terminal to lines.

use serde_json::Value;

use super::super::busy::{rate, volume};
use super::super::nodes::state;
use super::super::status::Look;
use super::super::text::{array, cell, count};
use super::super::verdict::Verdict;
use super::grid::{Column, cut, lines, number, text};
use crate::admin::Sort;
use crate::output;

const NODES: [Column; 10] = [
    text("NODE", 9),
    text("STATE", 9),
    number("DOCUMENTS", 3),
    number("SESSIONS", 7),
    number("UPDATES/S", 8),
    number("IN/S", 4),
    number("DELIVERIES/S", 2),
    number("ACK P50", 5),
    number("ACK P99", 6),
    number("MEMORY", 1),
];
const DOCUMENTS: [Column; 7] = [
    text("DOCUMENT", 9),
    text("NODE", 5),
    number("SESSIONS", 7),
    number("UPDATES/S", 8),
    number("IN/S", 6),
    number("DELIVERIES/S", 3),
    number("MEMORY", 4),
];
const KEYS: &str = "sort: u updates  b bytes  s sessions  m memory  n name      q quit";
/// Who did not answer is named, as far as that does not push everything else away.
const SILENT_MAX: usize = 2;
/// Nodes get this many lines even if there are many documents.
const NODES_MIN: usize = 3;

/// How much room there is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Room {
    /// Where nothing has to fit.
    pub(super) const ENDLESS: Self = Self { columns: 1_000, rows: usize::MAX };
}

/// What was last heard.
pub(super) struct Heard {
    pub(super) look: Look,
    pub(super) busiest: Value,
    /// When, for people.
    pub(super) at: String,
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Heading,
    Warning,
    Bad,
}

struct Line {
    text: String,
    style: Style,
}

impl Line {
    fn new(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }

    fn render(&self, width: usize, color: bool) -> String {
        let text = cut(&self.text, width);
        match (color, self.style) {
            (false, _) | (true, Style::Plain) => text,
            (true, Style::Heading) => format!("\x1b[2m{text}\x1b[0m"),
            (true, Style::Warning) => format!("\x1b[1;33m{text}\x1b[0m"),
            (true, Style::Bad) => format!("\x1b[1;31m{text}\x1b[0m"),
        }
    }
}

/// The whole picture of one look, as long as it is.
pub(super) fn report(heard: &Heard, color: bool) -> String {
    let room = Room::ENDLESS;
    let mut text = String::new();
    for line in picture(heard, room, color) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// What is on a terminal of that size: as many lines as it has, the keys in the last one. `problem`: why there is nothing
/// newer.
pub(super) fn screen(heard: Option<&Heard>, problem: Option<&str>, room: Room, color: bool) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(problem) = problem {
        all.push(Line::new(Style::Bad, format!("● {problem}")).render(room.columns, color));
        if let Some(heard) = heard {
            let old = format!("  what follows is of {}; looking again and again", heard.at);
            all.push(Line::new(Style::Warning, old).render(room.columns, color));
        }
    } else if heard.is_none() {
        all.push(Line::new(Style::Plain, "looking …").render(room.columns, color));
    }
    if let Some(heard) = heard {
        let left = room.rows.saturating_sub(all.len() + 1);
        let mut picture = picture(heard, Room { rows: left, ..room }, color);
        if problem.is_some() {
            // How it was is no verdict on how it is.
            picture.remove(0);
        }
        all.extend(picture);
    }
    all.resize(room.rows.saturating_sub(1), String::new());
    all.push(Line::new(Style::Heading, KEYS).render(room.columns, color));
    all.truncate(room.rows);
    all
}

fn picture(heard: &Heard, room: Room, color: bool) -> Vec<String> {
    let verdict = heard.look.verdict();
    let verdict = Verdict { text: cut(&verdict.text, room.columns.saturating_sub(2)), ..verdict };
    let mut all = vec![verdict.line(color)];
    let silent = array(&heard.busiest, "unanswered");
    let warnings = heard.look.warned().into_iter().map(str::to_owned);
    let named = silent.iter().take(SILENT_MAX);
    let named =
        named.map(|silent| format!("{} is left out: {}", cell(silent, "node"), cell(silent, "problem")));
    let more = silent.len().saturating_sub(SILENT_MAX);
    let more = (more > 0).then(|| format!("and {more} more are left out"));
    let warnings = warnings.chain(named).chain(more);
    all.extend(
        warnings.map(|text| Line::new(Style::Warning, format!("! {text}")).render(room.columns, color)),
    );

    let documents = array(&heard.busiest, "documents");
    let nodes = heard.look.nodes();
    // An empty line, a title and the headings of both tables.
    let left = room.rows.saturating_sub(all.len() + 5);
    let for_nodes =
        nodes.len().min((left / 2).max(NODES_MIN)).max(left.saturating_sub(documents.len().max(1)));
    all.push(String::new());
    all.extend(table(&NODES, nodes.iter().map(node_row).collect(), for_nodes, "nodes", room, color));
    let for_documents = left.saturating_sub(nodes.len().min(for_nodes));
    all.push(String::new());
    let title = title(&heard.busiest["sort"], documents.is_empty());
    all.push(Line::new(Style::Plain, title).render(room.columns, color));
    if !documents.is_empty() {
        let rows = documents.iter().take(for_documents).map(document_row).collect();
        all.extend(table(&DOCUMENTS, rows, usize::MAX, "documents", room, color));
    }
    all.truncate(room.rows.max(1));
    all
}

fn title(sort: &Value, none: bool) -> String {
    let by = match sort.as_str() {
        _ if none => return "No document is in memory".into(),
        Some("updates") => "the most updates a second first",
        Some("bytes") => "the most bytes a second first",
        Some("size") => "the largest first",
        Some("name") => "by name",
        // What a server of an older version answers, too.
        Some(_) | None => "the most editors first",
    };
    format!("Documents in memory, {by}:")
}

/// A table of so many rows at most; the last one says how many are missing.
fn table(
    columns: &[Column],
    mut rows: Vec<Vec<String>>,
    most: usize,
    what: &str,
    room: Room,
    color: bool,
) -> Vec<String> {
    let missing = if rows.len() > most { rows.len() - most.saturating_sub(1) } else { 0 };
    rows.truncate(rows.len() - missing);
    let mut lines = lines(columns, &rows, room.columns).into_iter();
    let heading = lines.next().map(|text| Line::new(Style::Heading, text).render(room.columns, color));
    let more = (missing > 0).then(|| cut(&format!("and {missing} more {what}"), room.columns));
    heading.into_iter().chain(lines).chain(more).collect()
}

fn node_row(node: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_u64().map(count).unwrap_or_default();
    let (counts, load) = (&node["counts"], &node["load"]);
    let acknowledged = &load["acknowledged_in_seconds"];
    // The verdict says it at length.
    let state = if node["answers"] == false { "no answer".into() } else { state(node) };
    vec![
        cell(node, "node"),
        state,
        number(&counts["documents_resident"]),
        number(&counts["document_sessions"]),
        rate(&load["updates_per_second"]),
        volume(&load["bytes_per_second"]),
        rate(&load["deliveries_per_second"]),
        latency(&acknowledged["p50"]),
        latency(&acknowledged["p99"]),
        node["resident_bytes"].as_u64().map(output::size).unwrap_or_default(),
    ]
}

fn document_row(document: &Value) -> Vec<String> {
    vec![
        cell(document, "name"),
        cell(document, "node"),
        document["sessions"].as_u64().map(count).unwrap_or_default(),
        rate(&document["updates_per_second"]),
        volume(&document["bytes_per_second"]),
        rate(&document["deliveries_per_second"]),
        document["bytes"].as_u64().map(output::size).unwrap_or_default(),
    ]
}

/// `0.8 ms`, `4.2 ms`, `1.5 s`; nothing for what is not known.
fn latency(value: &Value) -> String {
    match value.as_f64() {
        None => String::new(),
        Some(seconds) if seconds >= 1.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds >= 0.01 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{:.1} ms", seconds * 1e3),
    }
}

/// What a key sorts by.
pub(super) fn sort_of(key: u8) -> Option<Sort> {
    match key.to_ascii_lowercase() {
        b'u' => Some(Sort::Updates),
        b'b' => Some(Sort::Bytes),
        b's' => Some(Sort::Sessions),
        b'm' => Some(Sort::Size),
        b'n' => Some(Sort::Name),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
