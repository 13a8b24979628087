//! Logs to stderr, as text for people or as JSON for machines.
//!
//! Nothing that the server does waits for whoever reads the log (a terminal in which somebody pressed ^S, a pipe that nobody empties): lines wait in
//! a queue of [`WAITING_LINES_MAX`], and above it they are dropped and counted. Errors are written where they happen, since the process may end right
//! after one.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::admin::Faults;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

const WAITING_LINES_MAX: usize = 10_000;

/// Counts the lines that were dropped, once logging has begun.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// What the configuration has chosen, once it is known.
static CHOSEN: OnceLock<LogFormat> = OnceLock::new();

/// May escape codes be written to stderr?
pub(crate) fn stderr_has_color() -> bool {
    wants_color() && std::io::stderr().is_terminal()
}

/// Nobody has set NO_COLOR, and the terminal is not a dumb one.
pub(crate) fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Starts logging. Warnings and errors are also remembered in `faults`, for `ringleaf status`.
///
/// What waits is written when the guard is dropped, if somebody reads it within a second.
pub(crate) fn start(format: LogFormat, filter: &str, faults: Faults) -> WorkerGuard {
    let _started_once = CHOSEN.set(format);
    let (waiting, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES_MAX).finish(std::io::stderr());
    let _the_same_one = DROPPED.set(waiting.error_counter());
    let writer = std::io::stderr.with_max_level(Level::ERROR).or_else(waiting);
    let targets: Targets = filter.parse().expect("the configuration has checked the filter");
    let lines = match format {
        LogFormat::Text => {
            tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(stderr_has_color()).boxed()
        }
        LogFormat::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
        }
    };
    subscriber(lines, targets, faults).init();
    guard
}

/// What writes `lines`, and remembers faults. Whatever neither of the two wants costs a comparison: each has a filter of its own,
/// since a layer without one wants everything, and then every span of every session would be made and entered.
fn subscriber<L>(lines: L, targets: Targets, faults: Faults) -> impl Subscriber + Send + Sync
where
    L: Layer<Registry> + Send + Sync,
{
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .with(faults.with_filter(LevelFilter::WARN))
}

/// Lines that were dropped because nobody reads stderr.
pub(crate) fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Panics become log lines like all others. The text of a panic may quote what it was working on, so it is shown only
/// to whoever debugs.
pub(crate) fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::warn!(place, thread, "panicked");
        let text = panic.payload_as_str().unwrap_or_default();
        tracing::debug!(text, backtrace = %std::backtrace::Backtrace::capture(), "panicked because");
    }));
}

/// Says on stderr why the process ends, one line for each line of `text`. `guess` is the format if logging has not begun.
pub(crate) fn last_words(guess: LogFormat, text: &str) {
    let format = CHOSEN.get().copied().unwrap_or(guess);
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        let _nobody_listens = match format {
            LogFormat::Text => writeln!(stderr, "ringleaf: {line}"),
            LogFormat::Json => writeln!(
                stderr,
                "{}",
                serde_json::json!({
                    "timestamp": crate::output::rfc3339(std::time::SystemTime::now()),
                    "level": "ERROR",
                    "message": "could not start",
                    "error": line,
                    "target": "ringleaf",
                })
            ),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing::{debug_span, enabled, info_span, warn};

    use super::*;

    fn with(filter: &str, test: impl FnOnce(&Faults)) {
        let faults = Faults::default();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        let subscriber = subscriber(lines, filter.parse().unwrap(), faults.clone());
        with_default(subscriber, || test(&faults));
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_made() {
        with("info", |_| {
            assert!(debug_span!("session").is_disabled());
            assert!(!enabled!(Level::DEBUG));
            assert!(!info_span!("compaction").is_disabled());
        });
    }

    #[test]
    fn whoever_debugs_gets_the_spans() {
        with("debug", |_| assert!(!debug_span!("session").is_disabled()));
    }

    #[test]
    fn warnings_are_remembered_though_the_log_leaves_them_out() {
        with("error", |faults| {
            warn!("the disk is slow");
            assert_eq!(faults.list().len(), 1);
        });
    }
}
