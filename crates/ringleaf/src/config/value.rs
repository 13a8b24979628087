//! From text to a value with a unit, and back.
//!
//! Flags and environment variables are always text (`Raw::Word`); the file says which type it means, and is held to it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ringleaf_ring::Weight;
use ringleaf_types::{GcRules, NodeId};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::problem::nearest;
use crate::log::LogFormat;

/// A value as it was written, before anybody knows what it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// Text of a flag or an environment variable.
    Word(String),
    /// Several of them: a flag that was repeated.
    Words(Vec<String>),
    /// A string of the file.
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Raw>),
    /// A type that no setting has.
    Other(&'static str),
}

impl Raw {
    /// The value as a message should show it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Text(text) => format!("{text:?}"),
            Self::Words(words) => format!("{words:?}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Boolean(value) => format!("{value}"),
            Self::List(_) => "a list".into(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            Self::Words(words) => words.last().map(String::as_str),
            Self::Integer(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }

    /// Several words: a list in the file, separated by commas in a flag or a variable.
    fn words(&self) -> Option<Vec<String>> {
        let split = |text: &String| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        let words: Vec<String> = match self {
            Self::Word(text) => split(text),
            Self::Words(words) => words.iter().flat_map(split).collect(),
            Self::List(items) => {
                items.iter().map(|item| item.text().map(str::to_owned)).collect::<Option<_>>()?
            }
            Self::Text(_) | Self::Integer(_) | Self::Boolean(_) | Self::Other(_) => return None,
        };
        Some(words.into_iter().filter(|word| !word.is_empty()).collect())
    }

    /// A number: written as one in the file, as text elsewhere.
    fn number(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Word(text) => text.replace('_', "").parse().ok(),
            Self::Words(_) | Self::Text(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => None,
        }
    }
}

/// How one kind of setting is read and shown.
pub(crate) trait Kind<T> {
    /// Completes "must be …".
    const WANTED: &'static str;

    fn parse(raw: &Raw) -> Option<T>;

    /// What was probably meant by a value that cannot be read.
    fn nearest(_raw: &Raw) -> Option<String> {
        None
    }

    /// As it would stand in the file.
    fn show(value: &T) -> String;
}

#[derive(Clone, Copy)]
pub(crate) struct Folder;
#[derive(Clone, Copy)]
pub(crate) struct OptionalFile;
#[derive(Clone, Copy)]
pub(crate) struct Address;
#[derive(Clone, Copy)]
pub(crate) struct Flag;
#[derive(Clone, Copy)]
pub(crate) struct Origins;
/// DNS names, some with a star for their first label.
#[derive(Clone, Copy)]
pub(crate) struct Names;
/// Rules of where deleted content is forgotten.
#[derive(Clone, Copy)]
pub(crate) struct Collecting;
/// Addresses of etcd.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints;
/// The address of a database; a password in it is not shown.
#[derive(Clone, Copy)]
pub(crate) struct Database;
/// A host and a port, as others reach it.
#[derive(Clone, Copy)]
pub(crate) struct Reachable;
/// A word that may be empty.
#[derive(Clone, Copy)]
pub(crate) struct Word;
#[derive(Clone, Copy)]
pub(crate) struct Share;
#[derive(Clone, Copy)]
pub(crate) struct Node;
#[derive(Clone, Copy)]
pub(crate) struct Format;
#[derive(Clone, Copy)]
pub(crate) struct Filter;
/// A number of things, at least one.
#[derive(Clone, Copy)]
pub(crate) struct Count;
/// A number of bytes, at least one.
#[derive(Clone, Copy)]
pub(crate) struct Size;
/// A time greater than zero.
#[derive(Clone, Copy)]
pub(crate) struct Span;
/// A time that may be zero: "do not wait".
#[derive(Clone, Copy)]
pub(crate) struct Pause;

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

impl Kind<PathBuf> for Folder {
    const WANTED: &'static str = "the path of a folder";

    fn parse(raw: &Raw) -> Option<PathBuf> {
        raw.text().filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn show(value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

impl Kind<Option<PathBuf>> for OptionalFile {
    const WANTED: &'static str = "the path of a file";

    fn parse(raw: &Raw) -> Option<Option<PathBuf>> {
        raw.text().map(|text| Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn show(value: &Option<PathBuf>) -> String {
        quoted(&value.as_deref().map(|path| path.to_string_lossy()).unwrap_or_default())
    }
}

impl Kind<SocketAddr> for Address {
    const WANTED: &'static str = "an address and a port, such as \"127.0.0.1:1234\" or \"[::1]:1234\"";

    fn parse(raw: &Raw) -> Option<SocketAddr> {
        let text = raw.text()?;
        // One variable, RINGLEAF_ADMIN, serves the server and its tools; these write it as a URL.
        let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        match text.strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
            None => text.parse().ok(),
        }
    }

    fn show(value: &SocketAddr) -> String {
        quoted(&value.to_string())
    }
}

impl Kind<bool> for Flag {
    const WANTED: &'static str = "true or false";

    fn parse(raw: &Raw) -> Option<bool> {
        match raw {
            Raw::Boolean(value) => Some(*value),
            Raw::Word(text) => match text.as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            Raw::Words(_) | Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }
}

impl Kind<Vec<String>> for Origins {
    const WANTED: &'static str = "a list of origins such as \"https://app.example.com\", or \"*\" for all";

    fn parse(raw: &Raw) -> Option<Vec<String>> {
        raw.words()?.iter().map(|word| origin(word)).collect()
    }

    fn show(value: &Vec<String>) -> String {
        toml::Value::from(value.clone()).to_string()
    }
}

/// An origin is a scheme and a host, perhaps with a port, and nothing behind it: what a browser sends.
fn origin(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    if text == "null" || text == "*" {
        return Some(text);
    }
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    (!host.is_empty() && host.chars().all(plain)).then_some(text)
}

impl Kind<Vec<String>> for Names {
    const WANTED: &'static str = "a list of DNS names such as \"n1.internal\" or \"*.nodes.internal\"";

    fn parse(raw: &Raw) -> Option<Vec<String>> {
        raw.words()?.iter().map(|word| dns_name(word)).collect()
    }

    fn show(value: &Vec<String>) -> String {
        toml::Value::from(value.clone()).to_string()
    }
}

impl Kind<GcRules> for Collecting {
    const WANTED: &'static str =
        "true, false, or a list of patterns of document names with either, such as \"drafts/*=false\"";

    fn parse(raw: &Raw) -> Option<GcRules> {
        if let Some(word) = Flag::parse(raw) {
            return Some(GcRules::new(vec![word.to_string().parse().ok()?]));
        }
        let rules: Option<_> = raw.words()?.iter().map(|rule| rule.parse().ok()).collect();
        rules.map(GcRules::new)
    }

    fn show(value: &GcRules) -> String {
        let rules: Vec<_> = value.as_slice().iter().map(ToString::to_string).collect();
        toml::Value::from(rules).to_string()
    }
}

/// A star may stand for the first label. Addresses are no names.
fn dns_name(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty() && label.chars().all(plain)
    };
    let named = text.strip_prefix("*.").unwrap_or(&text).split('.').all(label);
    (named && text.parse::<IpAddr>().is_err()).then_some(text)
}

impl Kind<Vec<String>> for Endpoints {
    const WANTED: &'static str = "a list of addresses such as \"http://10.0.0.1:2379\"";

    fn parse(raw: &Raw) -> Option<Vec<String>> {
        let known = |word: &String| word.starts_with("http://") || word.starts_with("https://");
        raw.words().filter(|words| words.iter().all(known))
    }

    fn show(value: &Vec<String>) -> String {
        toml::Value::from(value.clone()).to_string()
    }
}

impl Kind<String> for Database {
    const WANTED: &'static str =
        "the address of a PostgreSQL database, such as \"postgres://user@host/database\"";

    fn parse(raw: &Raw) -> Option<String> {
        let known = |text: &&str| {
            text.is_empty() || text.starts_with("postgres://") || text.starts_with("postgresql://")
        };
        raw.text().filter(known).map(str::to_owned)
    }

    fn show(value: &String) -> String {
        quoted(&without_password(value))
    }
}

/// Passwords belong neither into logs nor onto a screen.
pub(crate) fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..host_ends].rsplit_once('@') {
        Some((user, _)) => {
            let host = &rest[user.len() + 1..];
            let user = user.split_once(':').map_or(user.to_owned(), |(user, _)| format!("{user}:***"));
            format!("{scheme}://{user}@{host}")
        }
        None => address.to_owned(),
    }
}

impl Kind<String> for Reachable {
    const WANTED: &'static str = "a host and a port, such as \"node-1.internal:1236\"";

    fn parse(raw: &Raw) -> Option<String> {
        let text = raw.text()?;
        let known = |(host, port): (&str, &str)| {
            !host.is_empty()
                && !host.contains(['/', '@', ' '])
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        (text.is_empty() || text.rsplit_once(':').is_some_and(known)).then(|| text.to_owned())
    }

    fn show(value: &String) -> String {
        quoted(value)
    }
}

impl Kind<String> for Word {
    const WANTED: &'static str = "up to 64 letters, digits, dots, dashes or underscores";

    fn parse(raw: &Raw) -> Option<String> {
        let text = raw.text()?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (text.len() <= 64 && text.chars().all(allowed)).then(|| text.to_owned())
    }

    fn show(value: &String) -> String {
        quoted(value)
    }
}

impl Kind<Weight> for Share {
    const WANTED: &'static str = "a whole number from 1 to 64";

    fn parse(raw: &Raw) -> Option<Weight> {
        Weight::new(u32::try_from(raw.number()?).ok()?).ok()
    }

    fn show(value: &Weight) -> String {
        value.get().to_string()
    }
}

impl Kind<NodeId> for Node {
    const WANTED: &'static str = "1 to 64 letters, digits, dots, dashes or underscores";

    fn parse(raw: &Raw) -> Option<NodeId> {
        raw.text()?.parse().ok()
    }

    fn show(value: &NodeId) -> String {
        quoted(value.as_str())
    }
}

impl Kind<LogFormat> for Format {
    const WANTED: &'static str = "\"text\" or \"json\"";

    fn parse(raw: &Raw) -> Option<LogFormat> {
        match raw.text()? {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }

    fn show(value: &LogFormat) -> String {
        quoted(match value {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

impl Kind<String> for Filter {
    const WANTED: &'static str = "a log level (off, error, warn, info, debug or trace), or a filter such as \"info,ringleaf_node=debug\"";

    /// A word alone is a level. The library would take any other for the name of a target, of which there is none: a
    /// mistyped level would silence the whole log.
    fn parse(raw: &Raw) -> Option<String> {
        let words: Vec<&str> = raw.text()?.split(',').map(str::trim).collect();
        let level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let known = |word: &&str| word.contains('=') || level(word);
        let text = words.join(",");
        let readable = words.iter().all(known) && text.parse::<Targets>().is_ok();
        readable.then_some(text)
    }

    fn nearest(raw: &Raw) -> Option<String> {
        let mut levels = raw.text()?.split(',').filter_map(|word| {
            let level = word.rsplit('=').next().unwrap_or(word).trim();
            level.parse::<LevelFilter>().is_err().then_some(level)
        });
        levels.find_map(nearest_level)
    }

    fn show(value: &String) -> String {
        quoted(value)
    }
}

/// `warning` and `err` mean a level, too.
fn nearest_level(word: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let word = word.to_ascii_lowercase();
    let begins = |level: &&str| word.starts_with(level) || (word.len() > 1 && level.starts_with(&word));
    nearest(&word, LEVELS.into_iter()).or_else(|| LEVELS.into_iter().find(begins).map(str::to_owned))
}

impl<T> Kind<T> for Count
where
    T: TryFrom<u64> + TryInto<u64> + Copy,
{
    const WANTED: &'static str = "a number of at least 1";

    fn parse(raw: &Raw) -> Option<T> {
        T::try_from(raw.number().filter(|number| *number > 0)?).ok()
    }

    fn show(value: &T) -> String {
        (*value).try_into().unwrap_or(u64::MAX).to_string()
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl<T> Kind<T> for Size
where
    T: TryFrom<u64> + TryInto<u64> + Copy,
{
    const WANTED: &'static str = "a size such as \"64KiB\", \"100MiB\" or \"2GiB\"";

    fn parse(raw: &Raw) -> Option<T> {
        let bytes = match raw.text() {
            Some(text) => {
                let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
                let (number, unit) = text.split_at(split);
                let unit = match unit {
                    "" => 1,
                    unit => UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?.1,
                };
                number.trim().replace('_', "").parse::<u64>().ok()?.checked_mul(unit)?
            }
            None => raw.number()?,
        };
        T::try_from(Some(bytes).filter(|bytes| *bytes > 0)?).ok()
    }

    fn show(value: &T) -> String {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        let (unit, size) = UNITS.iter().find(|(_, size)| bytes % size == 0).unwrap_or(&("B", 1));
        quoted(&format!("{}{unit}", bytes / size))
    }
}

impl Kind<Duration> for Span {
    const WANTED: &'static str = "a time such as \"250ms\", \"30s\", \"10m\" or \"1h\"";

    fn parse(raw: &Raw) -> Option<Duration> {
        Pause::parse(raw).filter(|time| !time.is_zero())
    }

    fn show(value: &Duration) -> String {
        Pause::show(value)
    }
}

impl Kind<Duration> for Pause {
    const WANTED: &'static str = "a time such as \"0s\", \"250ms\", \"30s\" or \"10m\"";

    fn parse(raw: &Raw) -> Option<Duration> {
        let text = raw.text()?;
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
        let number: u64 = number.trim().parse().ok()?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.checked_mul(milliseconds).map(Duration::from_millis)
    }

    fn show(value: &Duration) -> String {
        let milliseconds = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let fits = |(_, size): &&(&str, u64)| milliseconds >= *size && milliseconds % size == 0;
        let (unit, size) = units.iter().find(fits).unwrap_or(&("s", 1_000));
        quoted(&format!("{}{unit}", milliseconds / size))
    }
}

#[cfg(test)]
mod tests;
