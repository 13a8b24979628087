//! Progress of long work, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is over sooner shows nothing.
const TICK: Duration = Duration::from_millis(120);

/// A bar whose length is told later.
pub(crate) fn bar() -> ProgressBar {
    styled("  {bar:32} {percent:>3} %  {elapsed}")
}

/// A number that grows.
pub(crate) fn counter(what: &'static str) -> ProgressBar {
    styled("  {pos} {msg}  {elapsed}").with_message(what)
}

/// Something turns while the server works. It goes away when the returned value is dropped.
pub(crate) fn spinner(what: &'static str) -> Spinner {
    let bar = styled("  {spinner} {msg}  {elapsed}").with_message(what);
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    Spinner { bar }
}

pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn styled(template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━╸─");
    ProgressBar::no_length().with_style(style)
}
