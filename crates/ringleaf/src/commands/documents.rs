//! `ringleaf doc …`.

use std::io::{IsTerminal, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::text::{array, cell};
use super::{busy, confirm, pins};
use crate::admin::Sort;
use crate::cli::{Content, Doc, DocList, Format, Named, OutputAndTarget, Quarantine, Target, Verify};
use crate::client::{Ask, Client, segment};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::progress;

/// Documents asked for in one request.
const PAGE: usize = 500;
/// Documents that are listed if nobody says how many: by name, and otherwise.
const BY_NAME_DEFAULT: usize = 1_000;
const FIRST_DEFAULT: usize = 20;
/// Limit: servers answer with no more.
const FIRST_MAX: usize = 1_000;
const BYTES: &str = "application/octet-stream";

fn path(name: &str) -> String {
    format!("/api/v1/documents/{}", segment(name))
}

pub(super) fn run(command: Doc) -> Result<(), Failure> {
    match command {
        Doc::List(command) => list(command),
        Doc::Show(named) => show_document(&named),
        Doc::Get { name, format, target } => get(&name, format, &target),
        Doc::Import { name, file, common } => import(&name, &file, &common),
        Doc::Export { name, file, force, common } => export(&name, &file, force, &common),
        Doc::Verify(command) => verify(&command),
        Doc::Rm(command) => {
            confirm(command.yes, &format!("delete the document {:?} for everybody", command.named.name))?;
            change(&command.named, Ask::delete(&path(&command.named.name)), "deleted")
        }
        Doc::Undelete(named) => {
            let path = format!("{}/undelete", path(&named.name));
            change(&named, Ask::post(&path), "undeleted")
        }
        Doc::Purge(command) => {
            confirm(
                command.yes,
                &format!("remove for ever what the document {:?} held", command.named.name),
            )?;
            let path = format!("{}/purge", path(&command.named.name));
            change(&command.named, Ask::post(&path), "purged")
        }
        Doc::Move { document, node } => pins::move_to(&document, node.as_str()),
        Doc::Unpin(document) => pins::unpin(&document),
        Doc::Pins(server) => pins::list(&server),
        Doc::Quarantine(command) => quarantine(command),
    }
}

pub(super) fn quarantine(command: Quarantine) -> Result<(), Failure> {
    let path = |name: &str| format!("/api/v1/quarantine/{}", segment(name));
    match command {
        Quarantine::List(common) => {
            let answer = Client::open(&common.target)?.json(Ask::get("/api/v1/quarantine"))?;
            output::answer(common.output.format, &answer, || {
                let mut table = Table::new(&["NAME", "SINCE", "REASON"]);
                let documents = array(&answer, "documents");
                for document in documents {
                    table.row([cell(document, "name"), cell(document, "since"), cell(document, "reason")]);
                }
                or_nothing(documents.is_empty(), "no document is in quarantine", &table)
            })
        }
        Quarantine::Show(named) => show(&named, Ask::get(&path(&named.name))),
        Quarantine::Release(command) => {
            let what = format!("let the document {:?} be opened again", command.named.name);
            confirm(command.yes, &what)?;
            change(&command.named, Ask::delete(&path(&command.named.name)), "released")
        }
    }
}

fn list(command: DocList) -> Result<(), Failure> {
    let limit = command.limit.map(|limit| limit as usize);
    match (command.sort, &command.after) {
        (Sort::Name, _) => by_name(command, limit.unwrap_or(BY_NAME_DEFAULT)),
        (_, Some(_)) => Err(Failure::new(Exit::Usage, "usage", "--after goes with names in order only")
            .advise("leave out --sort or --after")),
        (_, None) if limit.is_some_and(|limit| limit > FIRST_MAX) => {
            Err(Failure::new(Exit::Usage, "usage", format!("--sort finds at most {FIRST_MAX} documents"))
                .advise("say a smaller --limit, or leave out --sort"))
        }
        (Sort::Size, None) => largest(&command, limit.unwrap_or(FIRST_DEFAULT)),
        (Sort::Updates | Sort::Bytes | Sort::Sessions | Sort::LeftBehind, None) => {
            busiest(&command, limit.unwrap_or(FIRST_DEFAULT))
        }
    }
}

/// Asks page by page, until there are as many as wanted.
fn by_name(command: DocList, limit: usize) -> Result<(), Failure> {
    let client = Client::open(&command.common.target)?;
    let mut documents: Vec<Value> = Vec::new();
    let mut next = Some(command.after);
    let mut unanswered = String::new();
    while let Some(after) = next.take()
        && documents.len() < limit
    {
        let wanted = PAGE.min(limit - documents.len());
        let cursor = after.as_deref().map(|name| format!("&after={}", segment(name))).unwrap_or_default();
        let path = format!("/api/v1/documents?prefix={}&limit={wanted}{cursor}", segment(&command.prefix));
        let mut page = client.json(Ask::get(&path))?;
        unanswered = super::ring::unanswered(&page);
        next = page["next"].as_str().map(|name| Some(name.to_owned()));
        documents.extend(page["documents"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    let next = next.flatten();
    let answer = json!({ "documents": documents, "next": next });
    output::answer(command.common.output.format, &answer, || {
        let wide = command.common.output.format == Format::Wide;
        let text = stored(&documents, &command.prefix, wide) + &unanswered;
        match &next {
            Some(name) => format!("{text}and more: say --limit, or --after {name:?}\n"),
            None => text,
        }
    })
}

/// Those that take the most room in the store.
fn largest(command: &DocList, limit: usize) -> Result<(), Failure> {
    let client = Client::open(&command.common.target)?;
    let path = format!("/api/v1/documents?sort=size&prefix={}&limit={limit}", segment(&command.prefix));
    let spinner = progress::spinner("looking at all documents");
    let answer = client.json(Ask::get(&path))?;
    drop(spinner);
    let wide = command.common.output.format == Format::Wide;
    output::answer(command.common.output.format, &answer, || {
        stored(array(&answer, "documents"), &command.prefix, wide) + &super::ring::unanswered(&answer)
    })
}

/// Those in memory that have the most of something.
fn busiest(command: &DocList, limit: usize) -> Result<(), Failure> {
    let client = Client::open(&command.common.target)?;
    let (sort, prefix) = (command.sort.word(), segment(&command.prefix));
    let path = format!("/api/v1/busiest?sort={sort}&limit={limit}&prefix={prefix}");
    let answer = client.json(Ask::get(&path))?;
    output::answer(command.common.output.format, &answer, || {
        let documents = array(&answer, "documents");
        let nothing = match (command.sort, command.prefix.as_str()) {
            (Sort::LeftBehind, _) => "everything that editors have sent is in their documents".to_owned(),
            (_, "") => "no document is in memory".to_owned(),
            (_, prefix) => format!("no document whose name begins with {prefix:?} is in memory"),
        };
        or_nothing(documents.is_empty(), &nothing, &busy::table(documents)) + &busy::left_out(&answer)
    })
}

fn stored(documents: &[Value], prefix: &str, wide: bool) -> String {
    let nothing = match prefix {
        "" => "no documents".to_owned(),
        prefix => format!("no document's name begins with {prefix:?}"),
    };
    or_nothing(documents.is_empty(), &nothing, &listing(documents, wide)) + pins::legend(documents)
}

/// In a cluster with who should own each document, and where it is in memory.
fn listing(documents: &[Value], wide: bool) -> Table {
    let clustered = documents.iter().any(|document| document["owner"].is_string());
    let mut headings = vec!["NAME", ">SIZE"];
    headings.extend(if wide { &[">SLOT", ">TAIL"][..] } else { &[] });
    headings.push("STATE");
    headings.extend(if clustered { &["AT", "OWNER"][..] } else { &[] });
    headings.extend([">SESSIONS", ">UPDATES/S"]);
    headings.extend(if wide { &[">IN/S", ">DELIVERIES/S"][..] } else { &[] });
    headings.push("CHANGED");
    headings.extend(wide.then_some("CREATED"));
    let mut table = Table::new(&headings);
    for document in documents {
        let mut row = vec![cell(document, "name"), bytes(document)];
        if wide {
            row.extend(["last_slot", "tail_slots"].map(|key| cell(document, key)));
        }
        row.push(state(document).into());
        if clustered {
            let at: Vec<&str> = array(document, "in_memory").iter().filter_map(Value::as_str).collect();
            row.extend([at.join(", "), pins::owner(document)]);
        }
        row.extend([cell(document, "sessions"), busy::rate(&document["updates_per_second"])]);
        if wide {
            row.push(busy::volume(&document["bytes_per_second"]));
            row.push(busy::rate(&document["deliveries_per_second"]));
        }
        row.push(cell(document, "changed_at"));
        row.extend(wide.then(|| cell(document, "created_at")));
        table.row(row);
    }
    table
}

fn state(document: &Value) -> &'static str {
    let is = |name: &str| document[name].as_bool().unwrap_or(false);
    if is("quarantined") {
        "quarantined"
    } else if is("deleted") {
        "deleted"
    } else if is("resident") {
        "in memory"
    } else {
        "stored"
    }
}

fn show(named: &Named, ask: Ask<'_>) -> Result<(), Failure> {
    let answer = Client::open(&named.common.target)?.json(ask)?;
    output::answer(named.common.output.format, &answer, || fields(&answer))
}

fn show_document(named: &Named) -> Result<(), Failure> {
    let mut answer = Client::open(&named.common.target)?.json(Ask::get(&path(&named.name)))?;
    output::answer(named.common.output.format, &answer.clone(), || {
        let left = answer.as_object_mut().and_then(|answer| answer.remove("left_behind")).unwrap_or_default();
        fields(&answer) + &left_behind(&left, answer["sessions_left_behind"].as_u64().unwrap_or(0))
    })
}

/// The sessions of which something is not in the document.
fn left_behind(left: &Value, all: u64) -> String {
    let left = left.as_array().map(Vec::as_slice).unwrap_or_default();
    if left.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["LEFT BEHIND", "SESSION", "ROUTER", ">PIECES", ">KEPT", "WHY"]);
    for session in left {
        let kept = output::size(session["bytes"].as_u64().unwrap_or(0));
        let [since, id, router, pieces, why] =
            ["since", "session", "router", "pieces", "why"].map(|key| cell(session, key));
        table.row([since, id, router, pieces, kept, why]);
    }
    let more = all.saturating_sub(left.len() as u64);
    let more = if more > 0 { format!("and {more} more sessions\n") } else { String::new() };
    format!("\n{}{more}", table.render(false))
}

/// What people look for first.
const FIRST: [&str; 10] = [
    "name",
    "since",
    "reason",
    "deleted",
    "quarantined",
    "resident",
    "sessions",
    "bytes",
    "last_slot",
    "tail_slots",
];

/// Every field of an object on its own line.
fn fields(answer: &Value) -> String {
    let mut names: Vec<&str> =
        answer.as_object().into_iter().flat_map(|object| object.keys()).map(String::as_str).collect();
    names.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    let mut table = Table::new(&[]);
    for name in names {
        let size = answer[name].as_u64().filter(|_| name.ends_with("bytes")).map(output::size);
        table.row([name.replace('_', " "), size.unwrap_or_else(|| cell(answer, name))]);
    }
    table.render(false)
}

fn change(named: &Named, ask: Ask<'_>, done: &str) -> Result<(), Failure> {
    let answer = Client::open(&named.common.target)?.json(ask)?;
    let answer = match answer {
        Value::Null => json!({ "name": named.name, "outcome": done }),
        answer => answer,
    };
    output::answer(named.common.output.format, &answer, || format!("{} {done}\n", named.name))
}

fn get(name: &str, format: Content, target: &Target) -> Result<(), Failure> {
    let word = match format {
        Content::Json => "json",
        Content::Text => "text",
        Content::Update => "update",
    };
    if format == Content::Update && std::io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Refused, "terminal", "an update is bytes, and stdout is a terminal")
            .advise("send it to a file, or use `ringleaf doc export`"));
    }
    let client = Client::open(target)?;
    let ask = format!("{}/content?as={word}", path(name));
    match format {
        Content::Json => output::print_bytes(&client.json_text(Ask::get(&ask))?),
        Content::Text => {
            let mut bytes = client.bytes(Ask::get(&ask))?;
            if std::io::stdout().is_terminal() && !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            output::print_bytes(&bytes)
        }
        Content::Update => output::print_bytes(&client.bytes(Ask::get(&ask))?),
    }
}

fn import(name: &str, file: &Path, common: &OutputAndTarget) -> Result<(), Failure> {
    let mut update = Vec::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut update).map(drop),
        false => std::fs::read(file).map(|bytes| update = bytes),
    };
    read.map_err(|error| file_failure(file, "read", &error))?;
    let bytes = update.len();
    let path = format!("{}/content", path(name));
    let ask = Ask { method: "PUT", path: &path, body: Some((BYTES, update)) };
    let client = Client::open(&common.target)?;
    let spinner = progress::spinner("merging");
    let answer = client.json(ask)?;
    drop(spinner);
    let answer = match answer {
        Value::Null => json!({ "name": name, "bytes": bytes }),
        answer => answer,
    };
    output::answer(common.output.format, &answer, || {
        format!("{} merged into {name}\n", output::size(bytes as u64))
    })
}

fn export(name: &str, file: &Path, force: bool, common: &OutputAndTarget) -> Result<(), Failure> {
    let client = Client::open(&common.target)?;
    let path = format!("{}/content?as=update", path(name));
    let spinner = progress::spinner("reading");
    let update = client.bytes(Ask::get(&path))?;
    drop(spinner);
    if file == Path::new("-") {
        return output::print_bytes(&update);
    }
    super::file::write(file, &update, force).map_err(|error| file_failure(file, "written", &error))?;
    let answer = json!({ "name": name, "file": file.display().to_string(), "bytes": update.len() });
    output::answer(common.output.format, &answer, || {
        format!("{name} written to {} ({})\n", file.display(), output::size(update.len() as u64))
    })
}

pub(super) fn file_failure(file: &Path, what: &str, error: &std::io::Error) -> Failure {
    let shown = file.display();
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Refused, "file_exists", format!("{shown} exists already"))
                .advise("say --force to replace it")
        }
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, "file_not_found", format!("there is no {shown}"))
        }
        _ => Failure::new(Exit::Failed, "file", format!("{shown} cannot be {what}: {error}")),
    }
}

fn verify(command: &Verify) -> Result<(), Failure> {
    let named = &command.named;
    let path = format!("{}/verify{}", path(&named.name), if command.deep { "?deep=true" } else { "" });
    let client = Client::open(&named.common.target)?;
    let spinner = progress::spinner("verifying");
    let answer = client.json(Ask::post(&path))?;
    drop(spinner);
    output::answer(named.common.output.format, &answer, || {
        let mut details = answer.clone();
        if let Some(details) = details.as_object_mut() {
            // The verdict says these.
            details.retain(|name, _| name != "name" && name != "sound");
        }
        format!("{} is sound\n\n{}", named.name, fields(&details))
    })
}

fn bytes(value: &Value) -> String {
    value["bytes"].as_u64().map(output::size).unwrap_or_default()
}

fn or_nothing(empty: bool, nothing: &str, table: &Table) -> String {
    if empty { format!("{nothing}\n") } else { table.render(output::stdout_has_color()) }
}
