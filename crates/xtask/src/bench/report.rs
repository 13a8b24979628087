//! The table: medians, ratios to the baseline of the same round, and whether the goals are reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::case::Case;
use super::metric::{Bound, Figures, Goal, Metric};
use super::server::Server;

/// A baseline that spreads more than this says nothing.
const SPREAD_MAX: f64 = 0.15;

/// The figures of every run, in the order of the rounds.
pub(crate) struct Results {
    baseline: Server,
    runs: BTreeMap<(Case, Server), Vec<Option<Figures>>>,
    errors: BTreeMap<(Case, Server), String>,
}

impl Results {
    pub(crate) fn new(servers: &[Server]) -> Self {
        Self { baseline: Server::baseline(servers), runs: BTreeMap::new(), errors: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, case: Case, server: Server, figures: anyhow::Result<Figures>) {
        let figures = figures.map_err(|error| self.errors.insert((case, server), format!("{error:#}"))).ok();
        self.runs.entry((case, server)).or_default().push(figures);
    }

    fn values(&self, case: Case, server: Server, metric: Metric) -> Vec<f64> {
        let runs = self.runs.get(&(case, server)).into_iter().flatten();
        runs.flatten().filter_map(|figures| figures.get(&metric).copied()).collect()
    }

    /// A server's figure over the baseline's, round by round.
    fn ratios(&self, case: Case, server: Server, metric: Metric) -> Vec<f64> {
        let runs = |server| self.runs.get(&(case, server)).into_iter().flatten();
        let figure = |figures: &Option<Figures>| figures.as_ref()?.get(&metric).copied();
        let pairs = runs(server).zip(runs(self.baseline));
        pairs.filter_map(|(one, baseline)| Some(figure(one)? / figure(baseline)?)).collect()
    }

    /// What one case has measured, for people.
    pub(crate) fn table(&self, case: Case) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\n{}: {}", case.name(), case.describe());
        let servers: Vec<Server> =
            Server::ALL.into_iter().filter(|one| self.runs.contains_key(&(case, *one))).collect();
        let clustered = servers.iter().any(|server| server.is_clustered());
        let metrics = case.columns().iter().chain(if clustered { case.columns_in_a_cluster() } else { &[] });
        let metrics: Vec<Metric> = metrics.copied().collect();
        let mut rows = vec![vec!["server".to_owned()]];
        for metric in &metrics {
            rows[0].push(metric.title().to_owned());
            if metric.is_compared() {
                rows[0].push("× baseline".to_owned());
            }
        }
        for &server in &servers {
            let mut row = vec![server.name().to_owned()];
            for &metric in &metrics {
                row.push(
                    median(self.values(case, server, metric))
                        .map_or("–".into(), |value| metric.format(value)),
                );
                if metric.is_compared() {
                    row.push(with_range(self.ratios(case, server, metric)));
                }
            }
            rows.push(row);
        }
        write_rows(&mut out, &rows);
        for &server in &servers {
            if let Some(error) = self.errors.get(&(case, server)) {
                let _ = writeln!(out, "  {} did not finish: {error}", server.name());
            }
        }
        self.write_spread(&mut out, case, case.columns());
        if self.baseline == Server::Yws {
            for goal in case.goals() {
                self.write_goal(&mut out, case, goal);
            }
        }
        out
    }

    fn write_spread(&self, out: &mut String, case: Case, metrics: &[Metric]) {
        for &metric in metrics.iter().filter(|metric| metric.is_compared()).take(1) {
            let values = self.values(case, self.baseline, metric);
            let Some(middle) = median(values.clone()) else { continue };
            let spread = values.iter().map(|value| (value - middle).abs() / middle).fold(0.0, f64::max);
            if spread > SPREAD_MAX {
                let _ = writeln!(
                    out,
                    "  the baseline spreads by {:.0} % around its median: don't trust this session",
                    spread * 100.0
                );
            }
        }
    }

    fn write_goal(&self, out: &mut String, case: Case, Goal { metric, bound }: Goal) {
        let values = match bound {
            Bound::TimesBaseline(_) => self.ratios(case, Server::Ringleaf, metric),
            Bound::AtMost(_) | Bound::AtLeast(_) => self.values(case, Server::Ringleaf, metric),
        };
        let Some(value) = median(values) else { return };
        let (wanted, reached) = match bound {
            Bound::TimesBaseline(times) => (format!("at least {times} × the baseline"), value >= times),
            Bound::AtMost(most) => (format!("at most {most}"), value <= most),
            Bound::AtLeast(least) => (format!("at least {least}"), value >= least),
        };
        let verdict = if reached { "reached" } else { "not reached" };
        let _ = writeln!(out, "  goal: {} {wanted}: {verdict} ({value:.2})", metric.title());
    }

    /// Every figure of every run.
    pub(crate) fn json(&self) -> serde_json::Value {
        let runs = self.runs.iter().map(|((case, server), runs)| {
            let figures = |run: &Option<Figures>| {
                let named =
                    run.iter().flatten().map(|(metric, value)| (metric.title().to_owned(), (*value).into()));
                serde_json::Value::Object(named.collect())
            };
            serde_json::json!({
                "case": case.name(),
                "server": server.name(),
                "runs": runs.iter().map(figures).collect::<Vec<_>>(),
                "error": self.errors.get(&(*case, *server)),
            })
        });
        serde_json::json!({ "baseline": self.baseline.name(), "results": runs.collect::<Vec<_>>() })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

fn with_range(values: Vec<f64>) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    median(values).map_or("–".into(), |middle| format!("{middle:.2} ({least:.2}–{most:.2})"))
}

fn write_rows(out: &mut String, rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for row in rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(throughput: f64) -> anyhow::Result<Figures> {
        Ok(Figures::from([(Metric::DeliveriesPerCpuSecond, throughput), (Metric::P99Ms, 7.0)]))
    }

    #[test]
    fn the_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() {
        let mut results = Results::new(&Server::ALONE);
        for (ours, baseline) in [(200.0, 100.0), (900.0, 300.0), (150.0, 150.0)] {
            results.add(Case::Fanout100, Server::Ringleaf, figures(ours));
            results.add(Case::Fanout100, Server::Yws, figures(baseline));
        }
        let table = results.table(Case::Fanout100);
        assert!(table.contains("2.00 (1.00–3.00)"), "{table}");
        assert!(table.contains("1.8 × the baseline: reached (2.00)"), "{table}");
    }

    #[test]
    fn a_baseline_that_moves_is_called_out() {
        let mut results = Results::new(&Server::ALONE);
        for throughput in [100.0, 130.0, 100.0] {
            results.add(Case::Fanout100, Server::Yws, figures(throughput));
        }
        assert!(results.table(Case::Fanout100).contains("spreads by 30 %"));
    }

    #[test]
    fn a_run_that_broke_off_leaves_its_round_out() {
        let mut results = Results::new(&Server::ALONE);
        results.add(Case::Fanout100, Server::Ringleaf, Err(anyhow::anyhow!("it crashed")));
        results.add(Case::Fanout100, Server::Ringleaf, figures(300.0));
        results.add(Case::Fanout100, Server::Yws, figures(10.0));
        results.add(Case::Fanout100, Server::Yws, figures(100.0));
        let table = results.table(Case::Fanout100);
        assert!(table.contains("3.00") && table.contains("it crashed"), "{table}");
    }
}
