//! `ringleaf.toml`: from text to keys and raw values, each with its line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::value::Raw;

/// The text of a configuration file, and where it was.
#[derive(Debug, Clone)]
pub(crate) struct FileText {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// One assignment of the file, by its full name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) key: String,
    pub(crate) value: Raw,
    pub(crate) origin: Origin,
}

/// Reads every assignment, whatever its key. Keys of tables are joined by dots.
pub(crate) fn assignments(file: &FileText) -> Result<Vec<Assignment>, Problem> {
    let table = DeTable::parse(&file.text).map_err(|error| Problem::Syntax {
        origin: origin(file, error.span().unwrap_or(0..0)),
        message: error.message().replace('\n', ", "),
    })?;
    let mut found = Vec::new();
    collect(file, "", table.get_ref(), &mut found);
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, assignment)| assignment).collect())
}

fn collect(file: &FileText, prefix: &str, table: &DeTable<'_>, found: &mut Vec<(usize, Assignment)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => collect(file, &format!("{name}."), inner, found),
            value => {
                let origin = origin(file, key.span());
                found.push((key.span().start, Assignment { key: name, value: raw(value), origin }));
            }
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("number that is too large"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("fraction"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(_) => Raw::Other("table"),
    }
}

fn origin(file: &FileText, span: Range<usize>) -> Origin {
    let before = file.text.get(..span.start).unwrap_or(&file.text);
    Origin::File { path: short(&file.path), line: before.matches('\n').count() + 1 }
}

/// `./ringleaf.toml` is called `ringleaf.toml`.
fn short(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_path_buf()
}
