//! `/metrics`: what the process counts, as Prometheus reads it.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Admin;
use super::process::Process;
use crate::log;

/// Seconds, from what a commit takes on a good disk to what a person calls broken.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
const BYTES: &[f64] =
    &[64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];
/// Things in a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0, 4_096.0];

/// The process's metrics, made before anything takes a handle.
#[derive(Clone)]
pub(crate) struct Metrics {
    prometheus: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder for the whole process, unless there is one.
    pub(crate) fn install() -> Self {
        // Not as another suffix, the empty one: it would come first and fit everything.
        let builder = PrometheusBuilder::new().set_buckets(COUNTS).expect("the bounds are not empty");
        let buckets = [("_seconds", SECONDS), ("_bytes", BYTES)];
        let builder = buckets.into_iter().fold(builder, |builder, (suffix, bounds)| {
            builder
                .set_buckets_for_metric(Matcher::Suffix(suffix.into()), bounds)
                .expect("the bounds are not empty")
        });
        let recorder = builder.build_recorder();
        let prometheus = recorder.handle();
        let _already_installed = metrics::set_global_recorder(recorder);
        describe();
        Self { prometheus }
    }

    /// Folds what histograms have gathered, so that memory stays small when nobody scrapes.
    pub(crate) fn tidy(&self) {
        self.prometheus.run_upkeep();
    }

    pub(crate) fn render(&self) -> String {
        let process = Process::now();
        gauge!("process_resident_memory_bytes").set(process.resident_bytes as f64);
        gauge!("process_virtual_memory_bytes").set(process.virtual_bytes as f64);
        gauge!("process_open_fds").set(process.open_files as f64);
        gauge!("process_max_fds").set(process.open_files_max as f64);
        gauge!("process_threads").set(process.threads as f64);
        gauge!("process_start_time_seconds").set(process.started_at);
        // A counter of fractions: Prometheus reads a gauge of that name the same way.
        gauge!("process_cpu_seconds_total").set(process.cpu_seconds);
        counter!("ringleaf_log_lines_dropped_total").absolute(log::dropped_lines());
        self.prometheus.render()
    }
}

/// Says what every metric means. The names of the process are those that every Prometheus dashboard knows.
fn describe() {
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory of this process that is in RAM");
    describe_gauge!("process_virtual_memory_bytes", Unit::Bytes, "Address space of this process");
    describe_gauge!("process_open_fds", "Open file descriptors");
    describe_gauge!("process_max_fds", "File descriptors that may be open");
    describe_gauge!("process_threads", "Threads of this process");
    describe_gauge!("process_start_time_seconds", Unit::Seconds, "When this process started, since 1970");
    describe_gauge!("process_cpu_seconds_total", Unit::Seconds, "CPU time that this process has used");
    describe_gauge!("ringleaf_build_info", "Always 1; the label is the version");
    gauge!("ringleaf_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_counter!("ringleaf_log_lines_dropped_total", "Log lines dropped because nobody reads stderr");
    describe_counter!("ringleaf_metric_reads_total", "How often these metrics were read");
}

pub(super) async fn get(State(admin): State<Admin>) -> impl IntoResponse {
    counter!("ringleaf_metric_reads_total").increment(1);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.metrics.render())
}
