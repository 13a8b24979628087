//! What is measured: the cases, and which figures each one yields.

use clap::ValueEnum;

use super::metric::{Bound, Figures, Goal, Metric};
use super::run::Run;
use super::server::Server;
use super::{growth, joining, standing, trouble, typing};

/// One scenario, the same for every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// 1 document, 100 connections, 10 writers × 10/s
    Fanout100,
    /// 1 document, 1,000 connections, 10 writers × 2/s
    Fanout1000,
    /// 1 document, 1,000 connections, 10 writers × 20/s: more than any peer can do
    Saturated,
    /// As fanout100, in a document of 260,000 edits
    BigDocument,
    /// 1,000 documents × 4 editors × 2/s
    ManyDocuments,
    /// 1,000 documents with one editor each who writes 20/s: what a store takes
    GroupCommit,
    /// As fanout100, with an awareness message per update
    Cursors,
    /// 500 editors of one document who only move their cursors, once a second each
    Presence,
    /// 1 document, 2 connections, 1 writer × 5/s: from the edit to its own echo
    Acknowledgement,
    /// 5,000 connections on 1,000 documents of 200 characters
    Idle,
    /// 50 documents of 300 KB that are open and that nobody writes to
    Resident,
    /// The big document after a restart, then 200 editors of it at once
    ColdOpen,
    /// 150 editors at once open a document of 20 MB in which somebody types
    HugeDocument,
    /// 10 KB × 100/s to 51 readers, one of which stops reading
    SlowReader,
    /// `kill -9` while 10 writers × 10/s are shown to 100 editors
    Kill,
    /// CPU time per delivery with 10, 100 and 1,000 readers, 20,000 deliveries/s offered
    GrowthReaders,
    /// CPU time per delivery in documents of 1 KB, 300 KB and 20 MB, 100 readers
    GrowthSize,
    /// A document's store beside yrs, without a server: time, instructions and memory for 260,000 edits
    Structs,
}

/// A case that is not about ratios settles sooner.
const CALM_ROUNDS_MAX: u64 = 3;

impl Case {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// One line that says what it is.
    pub(crate) fn describe(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Runs it once.
    pub(crate) fn measure(self, run: &Run) -> anyhow::Result<Figures> {
        match self {
            Self::Idle => standing::idle(run),
            Self::Resident => standing::resident(run),
            Self::ColdOpen => joining::cold_and_many(run),
            Self::HugeDocument => joining::huge(run),
            Self::SlowReader => trouble::slow_reader(run),
            Self::Kill => trouble::kill(run),
            Self::GrowthReaders => growth::readers(run),
            Self::GrowthSize => growth::size(run),
            Self::Structs => anyhow::bail!("no server takes part in it"),
            Self::Fanout100
            | Self::Fanout1000
            | Self::Saturated
            | Self::BigDocument
            | Self::ManyDocuments
            | Self::GroupCommit
            | Self::Cursors
            | Self::Presence
            | Self::Acknowledgement => typing::measure(self, run),
        }
    }

    /// How often it is run if `wanted` is asked for.
    pub(crate) fn rounds(self, wanted: u64) -> u64 {
        if self.columns().iter().any(|metric| metric.is_compared()) {
            wanted
        } else {
            wanted.min(CALM_ROUNDS_MAX)
        }
    }

    /// The columns of its table.
    pub(crate) fn columns(self) -> &'static [Metric] {
        use Metric as M;
        match self {
            Self::Structs => &[],
            Self::Presence => &[M::CorePercent, M::P50Ms, M::P99Ms, M::ResidentMb],
            Self::Acknowledgement => &[M::EchoP50Ms, M::EchoP95Ms, M::EchoP99Ms, M::DeliveredPercent],
            Self::Idle => &[M::KbPerConnection, M::KbPerFurtherConnection, M::CorePercent],
            Self::Resident => &[M::TimesStored],
            Self::ColdOpen => &[M::ColdOpenMs, M::JoinCpuMs, M::JoinP50Ms, M::JoinP99Ms],
            Self::HugeDocument => &[M::CpuSeconds, M::PeakMb, M::PeakTimesDocument, M::JoinP99Ms],
            Self::SlowReader => &[
                M::GrowthMb,
                M::GrowthOfControlMb,
                M::GrowthBySlowReaderMb,
                M::DeliveredPercent,
                M::SlowReaderLost,
                M::P99Ms,
            ],
            Self::Kill => &[M::ShownUpdates, M::LostUpdates],
            Self::GrowthReaders => {
                &[M::CpuFor10Readers, M::CpuFor100Readers, M::CpuFor1000Readers, M::DeviationPercent]
            }
            Self::GrowthSize => &[M::CpuFor1Kb, M::CpuFor300Kb, M::CpuFor20Mb, M::DeviationPercent],
            Self::GroupCommit => {
                &[M::UpdatesPerSecond, M::EchoP50Ms, M::EchoP95Ms, M::DeliveredPercent, M::CorePercent]
            }
            Self::Fanout100
            | Self::Fanout1000
            | Self::Saturated
            | Self::BigDocument
            | Self::ManyDocuments
            | Self::Cursors => &[
                M::DeliveriesPerCpuSecond,
                M::P50Ms,
                M::P99Ms,
                M::DeliveredPercent,
                M::CorePercent,
                M::ResidentMb,
            ],
        }
    }

    /// The columns that clusters have beside those.
    pub(crate) fn columns_in_a_cluster(self) -> &'static [Metric] {
        use Metric as M;
        match self {
            Self::Fanout100 | Self::Fanout1000 | Self::Saturated | Self::BigDocument | Self::Cursors => {
                &[M::OwnerUsPerDelivery, M::DatabaseCorePercent]
            }
            Self::ManyDocuments | Self::GroupCommit => {
                &[M::OwnerUsPerDelivery, M::DatabaseCorePercent, M::CommitsPerSecond]
            }
            _ => &[],
        }
    }

    /// Whether the case means something for a server, and ends in a time that one can wait for.
    pub(crate) fn applies_to(self, server: Server) -> bool {
        if server.is_clustered() {
            return !matches!(
                self,
                Self::Idle
                    | Self::Resident
                    | Self::ColdOpen
                    | Self::HugeDocument
                    | Self::SlowReader
                    | Self::Kill
                    | Self::GrowthReaders
                    | Self::GrowthSize
                    | Self::Structs
            );
        }
        match self {
            Self::Structs => false,
            Self::GroupCommit => server == Server::Ringleaf,
            Self::Resident => server.stores(),
            Self::HugeDocument | Self::GrowthSize | Self::GrowthReaders => {
                matches!(server, Server::Ringleaf | Server::Yws)
            }
            _ => true,
        }
    }

    /// What ringleaf has set itself.
    pub(crate) fn goals(self) -> Vec<Goal> {
        use Bound::{AtLeast, AtMost, TimesBaseline};
        use Metric as M;
        let throughput = |times| (M::DeliveriesPerCpuSecond, TimesBaseline(times));
        let goals = match self {
            Self::Fanout100 => vec![throughput(1.8), (M::P99Ms, AtMost(25.0))],
            Self::Fanout1000 => vec![throughput(1.5), (M::P99Ms, AtMost(25.0))],
            Self::Saturated => {
                vec![throughput(6.5), (M::DeliveredPercent, AtLeast(100.0)), (M::P99Ms, AtMost(40.0))]
            }
            Self::BigDocument => vec![throughput(1.7), (M::P99Ms, AtMost(25.0))],
            Self::ManyDocuments => vec![throughput(1.6), (M::P99Ms, AtMost(8.0))],
            Self::GroupCommit | Self::Structs => vec![],
            Self::Cursors => vec![throughput(2.0)],
            Self::Presence => vec![(M::CorePercent, AtMost(10.0))],
            Self::Acknowledgement => vec![(M::EchoP50Ms, AtMost(3.0)), (M::EchoP99Ms, AtMost(8.0))],
            Self::Idle => vec![(M::KbPerConnection, AtMost(6.0))],
            Self::Resident => vec![(M::TimesStored, AtMost(1.5))],
            Self::ColdOpen => {
                vec![
                    (M::ColdOpenMs, AtMost(5.0)),
                    (M::JoinCpuMs, AtMost(0.15)),
                    (M::JoinP99Ms, AtMost(130.0)),
                ]
            }
            Self::HugeDocument => vec![(M::CpuSeconds, AtMost(2.0)), (M::PeakTimesDocument, AtMost(4.0))],
            Self::SlowReader => {
                vec![(M::GrowthBySlowReaderMb, AtMost(1.0)), (M::DeliveredPercent, AtLeast(100.0))]
            }
            Self::Kill => vec![(M::LostUpdates, AtMost(0.0))],
            Self::GrowthReaders | Self::GrowthSize => vec![(M::DeviationPercent, AtMost(15.0))],
        };
        goals.into_iter().map(|(metric, bound)| Goal { metric, bound }).collect()
    }
}
