//! What is measured: the cases, their figures and the goals that ringleaf has set itself.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::server::Server;

/// One scenario, the same for every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// 1 document, 100 connections, 10 writers × 10/s
    Fanout100,
    /// 1 document, 1,000 connections, 10 writers × 2/s
    Fanout1000,
    /// 1 document, 1,000 connections, 10 writers × 20/s: more than any peer can do
    Saturated,
    /// fanout100 in a document of 260,000 edits
    BigDocument,
    /// 1,000 documents × 4 editors × 2/s
    ManyDocuments,
    /// fanout100 with an awareness message per update
    Cursors,
    /// 500 editors of one document who only move their cursors, once a second each
    Presence,
    /// one writer, 5/s, calm: from the edit to its own echo
    Acknowledgement,
}

/// What a run can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Updates times editors reached, per second of the server's CPU time.
    DeliveriesPerCpuSecond,
    CorePercent,
    P50Ms,
    P99Ms,
    AcknowledgedP50Ms,
    AcknowledgedP99Ms,
    ResidentMb,
    DeliveredPercent,
}

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::DeliveriesPerCpuSecond => "deliveries/CPU s",
            Self::CorePercent => "% of a core",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::AcknowledgedP50Ms => "own echo p50 ms",
            Self::AcknowledgedP99Ms => "own echo p99 ms",
            Self::ResidentMb => "memory MB",
            Self::DeliveredPercent => "% delivered",
        }
    }

    /// Shown as a ratio to the baseline as well.
    pub(crate) fn is_compared(self) -> bool {
        matches!(self, Self::DeliveriesPerCpuSecond)
    }

    pub(crate) fn format(self, value: f64) -> String {
        match self {
            Self::DeliveriesPerCpuSecond => format!("{:.1}k", value / 1_000.0),
            _ if value.abs() >= 100.0 => format!("{value:.0}"),
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

impl Case {
    /// One line that says what it is.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Fanout100 => "1 document, 100 connections, 10 writers × 10/s",
            Self::Fanout1000 => "1 document, 1,000 connections, 10 writers × 2/s",
            Self::Saturated => "1 document, 1,000 connections, 10 writers × 20/s",
            Self::BigDocument => "as fanout100, in a document of 260,000 edits",
            Self::ManyDocuments => "1,000 documents × 4 editors × 2/s",
            Self::Cursors => "as fanout100, with an awareness message per update",
            Self::Presence => "500 editors, awareness at 1 Hz each",
            Self::Acknowledgement => "1 document, 2 connections, 1 writer × 5/s",
        }
    }

    /// The columns of its table.
    pub(crate) fn columns(self) -> &'static [Metric] {
        use Metric::{
            AcknowledgedP50Ms, AcknowledgedP99Ms, CorePercent, DeliveredPercent, DeliveriesPerCpuSecond,
            P50Ms, P99Ms, ResidentMb,
        };
        match self {
            Self::Presence => &[CorePercent, P50Ms, P99Ms, ResidentMb],
            Self::Acknowledgement => &[AcknowledgedP50Ms, AcknowledgedP99Ms, DeliveredPercent],
            _ => &[DeliveriesPerCpuSecond, P50Ms, P99Ms, DeliveredPercent, CorePercent, ResidentMb],
        }
    }

    pub(crate) fn goals(self) -> Vec<Goal> {
        use Bound::{AtLeast, AtMost, TimesBaseline};
        use Metric::{
            AcknowledgedP50Ms, AcknowledgedP99Ms, CorePercent, DeliveredPercent, DeliveriesPerCpuSecond,
            P99Ms,
        };
        let goals: &[(Metric, Bound)] = match self {
            Self::Fanout100 => &[(DeliveriesPerCpuSecond, TimesBaseline(1.8)), (P99Ms, AtMost(25.0))],
            Self::Fanout1000 => &[(DeliveriesPerCpuSecond, TimesBaseline(1.5)), (P99Ms, AtMost(25.0))],
            Self::Saturated => &[
                (DeliveriesPerCpuSecond, TimesBaseline(6.5)),
                (DeliveredPercent, AtLeast(100.0)),
                (P99Ms, AtMost(40.0)),
            ],
            Self::BigDocument => &[(DeliveriesPerCpuSecond, TimesBaseline(1.7)), (P99Ms, AtMost(25.0))],
            Self::ManyDocuments => &[(DeliveriesPerCpuSecond, TimesBaseline(1.6)), (P99Ms, AtMost(8.0))],
            Self::Cursors => &[(DeliveriesPerCpuSecond, TimesBaseline(2.0))],
            Self::Presence => &[(CorePercent, AtMost(10.0))],
            Self::Acknowledgement => &[(AcknowledgedP50Ms, AtMost(3.0)), (AcknowledgedP99Ms, AtMost(8.0))],
        };
        goals.iter().map(|&(metric, bound)| Goal { metric, bound }).collect()
    }

    /// Whether the case means something for a server.
    pub(crate) fn applies_to(self, _server: Server) -> bool {
        true
    }
}
