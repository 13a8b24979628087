//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// A line of a file, from 1.
    File {
        path: PathBuf,
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag, as it is typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{origin}: there is no setting {key}{}", did_you_mean(.nearest))]
    Unknown { origin: Origin, key: String, nearest: Option<String> },
    #[error("{origin}: {key} must be {wanted}, not {found}{}", did_you_mean(.nearest))]
    Wrong { origin: Origin, key: &'static str, wanted: &'static str, found: String, nearest: Option<String> },
    #[error("{origin}: {message}")]
    Syntax { origin: Origin, message: String },
    #[error("{}{message}", if *.origin == Origin::Default { String::new() } else { format!("{origin}: ") })]
    Conflict { origin: Origin, message: String },
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: String },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// Everything that is wrong, so that one try finds it all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

/// The name most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_only_when_it_is_near() {
        let names = ["listen", "limits.retention", "limits.message_bytes_max"];
        let suggest = |name| nearest(name, names.into_iter());
        assert_eq!(suggest("lsiten").as_deref(), Some("listen"));
        assert_eq!(suggest("limits.mesage_byte_max").as_deref(), Some("limits.message_bytes_max"));
        assert_eq!(suggest("database_url"), None);
    }
}
