//! How a command ends: one exit code for each kind of failure, and one shape for its text.

use std::process::ExitCode;

/// The exit codes. They are part of the interface and listed in `ringleaf --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Refused = 5,
    TimedOut = 6,
    Configuration = 7,
    InUse = 8,
    Interrupted = 130,
}

pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong usage
    3  not found
    4  the server cannot be reached
    5  refused: not confirmed, or in conflict with what is there
    6  timed out
    7  wrong configuration
    8  in use: a port, or the data folder
  130  interrupted

With `-o json`, stdout holds one JSON value, also on failure: {\"error\": {\"code\", \"message\", \"advice\"}}.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked: what happened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", if advice.is_empty() { String::new() } else { format!("; {advice}") })]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For machines: a word that stays the same when the text changes.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) advice: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), advice: String::new() }
    }

    /// The answer that was printed says it all; only the exit code is left to give.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    pub(crate) fn already_said(&self) -> bool {
        self.message.is_empty()
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "error": { "code": self.code, "message": self.message, "advice": self.advice }
        })
    }
}

/// An error and everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
