//! What is counted about reading. The handles are made once.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Counter,
    failures: Counter,
    seconds: Histogram,
}

impl Metrics {
    /// Takes the handles from the recorder that is installed now.
    pub(crate) fn new() -> Self {
        describe_counter!("ringleaf_reader_requests_total", "Documents that a reader process was to read");
        describe_counter!("ringleaf_reader_failures_total", "Those that came to nothing");
        describe_histogram!("ringleaf_reader_seconds", "From handing over a document to the answer");
        Self {
            requests: counter!("ringleaf_reader_requests_total"),
            failures: counter!("ringleaf_reader_failures_total"),
            seconds: histogram!("ringleaf_reader_seconds"),
        }
    }

    pub(crate) fn read(&self, took: Duration, failed: bool) {
        self.requests.increment(1);
        self.failures.increment(u64::from(failed));
        self.seconds.record(took);
    }
}
