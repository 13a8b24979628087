//! Remembers the last warnings and errors that were logged, for `ringleaf status`.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// How many are kept. The log has them all.
const FAULTS_MAX: usize = 16;

/// One warning or error, as it was logged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    pub(crate) at: String,
    pub(crate) level: &'static str,
    pub(crate) message: String,
    /// How often it came in a row.
    pub(crate) times: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    last: Arc<Mutex<VecDeque<Fault>>>,
}

impl Faults {
    /// The newest first.
    pub(crate) fn list(&self) -> Vec<Fault> {
        self.last.lock().expect("no holder of this lock panics").iter().cloned().collect()
    }

    fn remember(&self, level: &'static str, message: String) {
        let at = crate::output::rfc3339(SystemTime::now());
        let mut last = self.last.lock().expect("no holder of this lock panics");
        match last.front_mut() {
            Some(newest) if newest.message == message => {
                newest.at = at;
                newest.times += 1;
            }
            _ => last.push_front(Fault { at, level, message, times: 1 }),
        }
        last.truncate(FAULTS_MAX);
    }
}

impl<S: Subscriber> Layer<S> for Faults {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut text = Text::default();
        event.record(&mut text);
        self.remember(level, text.message + &text.fields);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept_and_repetitions_are_counted() {
        let faults = Faults::default();
        let subscriber = tracing_subscriber::registry().with(faults.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not a fault");
            for _ in 0..3 {
                tracing::warn!(slot = 7, "could not append");
            }
            for number in 0..20 {
                tracing::error!(number, "lost");
            }
            tracing::warn!("last");
        });
        let list = faults.list();
        assert_eq!(list.len(), FAULTS_MAX);
        assert_eq!((list[0].level, list[0].message.as_str()), ("warn", "last"));
        assert_eq!(list[1].message, "lost number=19");

        tracing::subscriber::with_default(tracing_subscriber::registry().with(faults.clone()), || {
            tracing::warn!("last");
        });
        assert_eq!(faults.list()[0].times, 2);
    }
}
