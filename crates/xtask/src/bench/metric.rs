//! The figures that a run yields, and what they are held against.

use std::collections::BTreeMap;

/// What a run can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Updates times editors reached, per second of the server's CPU time.
    DeliveriesPerCpuSecond,
    CorePercent,
    P50Ms,
    P99Ms,
    EchoP50Ms,
    EchoP99Ms,
    ResidentMb,
    DeliveredPercent,
    /// Documents included.
    KbPerConnection,
    /// Only connections to documents that were open already.
    KbPerFurtherConnection,
    /// Memory of an open document over its encoded state.
    TimesStored,
    ColdOpenMs,
    JoinCpuMs,
    JoinP50Ms,
    JoinP99Ms,
    CpuSeconds,
    PeakMb,
    PeakTimesDocument,
    GrowthMb,
    /// Without a slow reader.
    GrowthOfControlMb,
    /// The difference between the two: what the slow reader costs.
    GrowthBySlowReaderMb,
    SlowReaderLost,
    ShownUpdates,
    LostUpdates,
    CpuFor10Readers,
    CpuFor100Readers,
    CpuFor1000Readers,
    CpuFor1Kb,
    CpuFor300Kb,
    CpuFor20Mb,
    DeviationPercent,
    EchoP95Ms,
    UpdatesPerSecond,
    /// CPU time of the node that owns the documents, whoever holds the sockets.
    OwnerUsPerDelivery,
    DatabaseCorePercent,
    /// Transactions of the database.
    CommitsPerSecond,
}

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::DeliveriesPerCpuSecond => "deliveries/CPU s",
            Self::CorePercent => "% of a core",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::EchoP50Ms => "own echo p50 ms",
            Self::EchoP99Ms => "own echo p99 ms",
            Self::ResidentMb => "memory MB",
            Self::DeliveredPercent => "% delivered",
            Self::KbPerConnection => "KB/connection",
            Self::KbPerFurtherConnection => "KB/further connection",
            Self::TimesStored => "memory/stored",
            Self::ColdOpenMs => "cold open ms",
            Self::JoinCpuMs => "CPU ms/join",
            Self::JoinP50Ms => "join p50 ms",
            Self::JoinP99Ms => "join p99 ms",
            Self::CpuSeconds => "CPU s in all",
            Self::PeakMb => "peak MB",
            Self::PeakTimesDocument => "peak/document",
            Self::GrowthMb => "growth MB",
            Self::GrowthOfControlMb => "without one MB",
            Self::GrowthBySlowReaderMb => "because of it MB",
            Self::SlowReaderLost => "sockets closed",
            Self::ShownUpdates => "updates shown",
            Self::LostUpdates => "of those lost",
            Self::CpuFor10Readers => "µs for 10 readers",
            Self::CpuFor100Readers => "µs for 100",
            Self::CpuFor1000Readers => "µs for 1,000",
            Self::CpuFor1Kb => "µs in 1 KB",
            Self::CpuFor300Kb => "µs in 300 KB",
            Self::CpuFor20Mb => "µs in 20 MB",
            Self::DeviationPercent => "% from the mean",
            Self::EchoP95Ms => "own echo p95 ms",
            Self::UpdatesPerSecond => "updates/s",
            Self::OwnerUsPerDelivery => "owner's µs/delivery",
            Self::DatabaseCorePercent => "database % of a core",
            Self::CommitsPerSecond => "transactions/s",
        }
    }

    /// Shown as a ratio to the baseline as well.
    pub(crate) fn is_compared(self) -> bool {
        self == Self::DeliveriesPerCpuSecond
    }

    pub(crate) fn format(self, value: f64) -> String {
        match self {
            Self::DeliveriesPerCpuSecond => format!("{:.1}k", value / 1_000.0),
            _ if value.abs() >= 100.0 || value == 0.0 => format!("{value:.0}"),
            _ if value.abs() >= 10.0 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }
}

/// What one run measured.
pub(crate) type Figures = BTreeMap<Metric, f64>;

/// What ringleaf must reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least so many times the baseline's figure of the same round.
    TimesBaseline(f64),
    AtMost(f64),
    AtLeast(f64),
}
