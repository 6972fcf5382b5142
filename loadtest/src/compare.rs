//! Two reports side by side: every rate, percentile and figure, which of them is better, and whether the two may be
//! compared at all.
//!
//! A difference counts when it is beyond a threshold and enough operations stand behind it: a maximum is one operation,
//! and a percentile needs ten beyond it. Spread between runs is not known here: alternate runs, and compare more than one
//! pair.

use crate::figures::{self, Better, Bytes, Grouped, Time};
use crate::html;
use crate::measure::say;
use crate::options::{Common, Compare};
use crate::report::{self, Report, SEND_LAG, Verdict};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fmt;
use std::fs;

/// Operations beyond a percentile without which it is luck.
const BEYOND_MIN: f64 = 10.0;

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Microseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Anything.
    Number,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Beyond the threshold, in the good direction.
    Better,
    /// Beyond the threshold, in the bad direction.
    Worse,
    /// Within the threshold.
    Same,
    /// Too few operations stand behind it.
    Few,
    /// Neither way is better.
    Neutral,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Same => "same",
            Self::Few => "too few",
            Self::Neutral => "",
        })
    }
}

/// One figure in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    unit: Unit,
    /// In the first report.
    before: f64,
    /// In the second.
    after: f64,
    /// What became of it.
    pub change: Change,
    /// By how many percent it is worse; negative when it is better.
    pub worse_percent: f64,
}

impl Line {
    /// The second by the first.
    pub fn ratio(&self) -> Option<f64> {
        (self.before != 0.0).then(|| self.after / self.before)
    }

    /// Both values with their unit.
    pub fn values(&self) -> [String; 2] {
        [self.before, self.after].map(|value| match self.unit {
            Unit::Time => Time(value).to_string(),
            Unit::Bytes => Bytes(value).to_string(),
            Unit::Number => Grouped(value).to_string(),
        })
    }
}

/// Two runs of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The scenario.
    pub scenario: String,
    /// Every figure that both have.
    pub lines: Vec<Line>,
    /// Why the two may not be comparable.
    pub cautions: Vec<String>,
}

/// Compares the reports of two files and prints it.
///
/// # Errors
/// When a file cannot be read or written, or they are of different scenarios.
pub fn compare(options: &Compare, common: &Common) -> Result<Verdict> {
    let (before, after) = (report::read(&options.before)?, report::read(&options.after)?);
    let comparisons = pairs(&before, &after, options.threshold)?;
    let names = [&options.before, &options.after].map(|path| path.display().to_string());
    say(&format!("A  {}\nB  {}\n", names[0], names[1]));
    comparisons.iter().for_each(say);
    if let Some(path) = &common.json {
        fs::write(path, serde_json::to_string_pretty(&comparisons)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &common.html {
        fs::write(path, html::comparison_page(&comparisons, &names))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let limit = options.fail_on_regression.unwrap_or(f64::INFINITY);
    let regressed =
        comparisons.iter().flat_map(|comparison| &comparison.lines).filter(|line| line.regressed(limit)).count();
    if regressed > 0 {
        say(&format!("{regressed} figures are worse by more than {limit} %"));
        return Ok(Verdict::Worse);
    }
    Ok(Verdict::Clean)
}

fn pairs(before: &[Report], after: &[Report], threshold: f64) -> Result<Vec<Comparison>> {
    let named = |name: &str| after.iter().find(|report| report.scenario == name);
    let paired: Vec<_> =
        before.iter().filter_map(|before| Some(Comparison::new(before, named(&before.scenario)?, threshold))).collect();
    if paired.is_empty() {
        let names =
            |reports: &[Report]| reports.iter().map(|report| report.scenario.as_str()).collect::<Vec<_>>().join(", ");
        bail!("they have no scenario in common: {} and {}", names(before), names(after));
    }
    Ok(paired)
}

impl Comparison {
    /// Of two reports of the same scenario; `threshold` in percent.
    pub fn new(before: &Report, after: &Report, threshold: f64) -> Self {
        let mut lines = Lines { threshold, lines: Vec::new() };
        for (name, one) in &before.counts {
            let Some(other) = after.counts.get(name) else { continue };
            lines.push(format!("{name}/s"), Unit::Number, Better::Higher, one.per_s, other.per_s, true);
        }
        for (name, one) in before.latencies.iter().filter(|(name, _)| *name != SEND_LAG) {
            let Some(other) = after.latencies.get(name) else { continue };
            for (label, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
                let beyond = one.latency.count().min(other.latency.count()) as f64 * (1.0 - quantile);
                let at = |latency: &crate::latency::Latency| latency.quantile_us(quantile);
                let (one, other) = (at(&one.latency), at(&other.latency));
                lines.push(format!("{name} {label}"), Unit::Time, Better::Lower, one, other, beyond >= BEYOND_MIN);
            }
        }
        for (name, one) in &before.figures {
            let Some(other) = after.figures.get(name) else { continue };
            lines.push(name.clone(), Unit::Number, figures::better(name), *one, *other, true);
        }
        lines.push(
            "generator CPUs".to_owned(),
            Unit::Number,
            Better::Neither,
            before.generator.cpus_used,
            after.generator.cpus_used,
            true,
        );
        if let (Some(one), Some(other)) = (&before.server, &after.server) {
            lines.push("server CPUs".to_owned(), Unit::Number, Better::Neither, one.cpus_used, other.cpus_used, true);
            let [one, other] = [one, other].map(|server| server.memory.anon_bytes as f64);
            lines.push("server's own memory".to_owned(), Unit::Bytes, Better::Lower, one, other, true);
        }
        lines.push("errors".to_owned(), Unit::Number, Better::Lower, before.errors as f64, after.errors as f64, true);
        let [one, other] = [before, after].map(|report| report.integrity.violations.values().sum::<u64>() as f64);
        lines.push("violations".to_owned(), Unit::Number, Better::Lower, one, other, true);
        Self { scenario: before.scenario.clone(), lines: lines.lines, cautions: cautions(before, after) }
    }
}

struct Lines {
    threshold: f64,
    lines: Vec<Line>,
}

impl Lines {
    fn push(&mut self, name: String, unit: Unit, better: Better, before: f64, after: f64, enough: bool) {
        // Nothing where something was is infinitely much of a change, in whichever direction.
        let percent = |from: f64, to: f64| if from == to { 0.0 } else { (to / from - 1.0) * 100.0 };
        let worse_percent = match better {
            Better::Lower => percent(before, after),
            Better::Higher => percent(after, before),
            Better::Neither => 0.0,
        };
        let change = match better {
            Better::Neither => Change::Neutral,
            _ if !enough => Change::Few,
            _ if worse_percent > self.threshold => Change::Worse,
            // Better by as much as its mirror image would be worse.
            _ if worse_percent < -100.0 * self.threshold / (100.0 + self.threshold) => Change::Better,
            _ => Change::Same,
        };
        self.lines.push(Line { name, unit, before, after, change, worse_percent });
    }
}

impl Line {
    /// Whether it is worse by more than `limit` percent.
    fn regressed(&self, limit: f64) -> bool {
        !matches!(self.change, Change::Neutral | Change::Few) && self.worse_percent > limit
    }
}

/// What differs that should not, or speaks against one of the two.
fn cautions(before: &Report, after: &Report) -> Vec<String> {
    let mut cautions = Vec::new();
    let names: std::collections::BTreeSet<_> = before.options.keys().chain(after.options.keys()).collect();
    for name in names {
        let value = |report: &Report| report.options.get(name).map_or("nothing".to_owned(), ToString::to_string);
        let (one, other) = (value(before), value(after));
        if one != other {
            cautions.push(format!("option {name} differs: {one} and {other}"));
        }
    }
    let origins = |report: &Report, of: fn(&report::Origin) -> String| {
        let mut all: Vec<_> = report.origins.iter().map(of).collect();
        all.dedup();
        all.join(", ")
    };
    let mut differs = |what: &str, of: fn(&report::Origin) -> String| {
        let (one, other) = (origins(before, of), origins(after, of));
        if one != other {
            cautions.push(format!("{what} differs: {one} and {other}"));
        }
    };
    differs("the machine", |origin| {
        let machine = &origin.machine;
        format!(
            "{} with {} CPUs, {}, {}",
            machine.cpu_model,
            machine.cpus,
            Bytes(machine.memory_bytes as f64),
            machine.kernel
        )
    });
    differs("the server's version", |origin| origin.server_version.clone().unwrap_or("unknown".to_owned()));
    differs("the generator's version", |origin| origin.generator_version.clone());
    differs("the data folder's file system", |origin| origin.data_filesystem.clone().unwrap_or("unknown".to_owned()));
    for (name, report) in [("A", before), ("B", after)] {
        cautions.extend(report.warnings.iter().map(|warning| format!("{name}: {warning}")));
        match report.verdict() {
            Verdict::Broken => {
                cautions.push(format!("{name} broke promises: its figures are of a server that does not work"))
            }
            Verdict::Failed => cautions.push(format!("{name} had {} errors", report.errors)),
            Verdict::Clean | Verdict::Worse => {}
        }
    }
    cautions
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        writeln!(f, "  {:<26}{:>14}{:>14}{:>10}", "", "A", "B", "B / A")?;
        for line in &self.lines {
            let [before, after] = line.values();
            let ratio = line.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            writeln!(f, "  {:<26}{before:>14}{after:>14}{ratio:>10}  {}", line.name, line.change)?;
        }
        self.cautions.iter().try_for_each(|caution| writeln!(f, "  caution: {caution}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{outcome, report};

    fn changes(comparison: &Comparison, change: Change) -> Vec<&str> {
        comparison.lines.iter().filter(|line| line.change == change).map(|line| line.name.as_str()).collect()
    }

    fn with_acks(acks: u64, latency_us: u64) -> Report {
        let mut outcome = outcome();
        outcome.counts.insert("acks", acks);
        let ack = outcome.latencies.get_mut("ack").unwrap();
        ack.latency.clear();
        ack.latency.record_many(latency_us * 1_000, 5_000);
        report(outcome)
    }

    #[test]
    fn a_run_is_neither_better_nor_worse_than_itself() {
        let comparison = Comparison::new(&report(outcome()), &report(outcome()), 5.0);
        assert!(changes(&comparison, Change::Better).is_empty() && changes(&comparison, Change::Worse).is_empty());
        assert!(comparison.lines.iter().all(|line| line.ratio().is_none_or(|ratio| ratio == 1.0)));
    }

    #[test]
    fn more_acks_are_better_and_more_microseconds_worse() {
        let comparison = Comparison::new(&with_acks(1_000, 100), &with_acks(2_000, 200), 5.0);
        assert_eq!(changes(&comparison, Change::Better), ["acks/s"]);
        assert_eq!(changes(&comparison, Change::Worse), ["ack p50", "ack p90", "ack p99"]);
        assert_eq!(changes(&comparison, Change::Few), ["ack p99.9", "ack max"], "luck is no verdict");
        let back = Comparison::new(&with_acks(2_000, 200), &with_acks(1_000, 100), 5.0);
        assert_eq!(changes(&back, Change::Worse), ["acks/s"]);
        assert!(back.lines[0].regressed(99.0) && !back.lines[0].regressed(101.0));
    }

    #[test]
    fn what_is_within_the_threshold_is_noise() {
        let comparison = Comparison::new(&with_acks(1_000, 100), &with_acks(960, 104), 5.0);
        assert!(changes(&comparison, Change::Worse).is_empty(), "{comparison}");
        let comparison = Comparison::new(&with_acks(1_000, 100), &with_acks(940, 108), 5.0);
        assert_eq!(changes(&comparison, Change::Worse).len(), 4, "{comparison}");
    }

    #[test]
    fn what_differs_beside_the_figures_is_said() {
        let (before, mut after) = (report(outcome()), report(outcome()));
        let quiet = Comparison::new(&before, &before, 5.0).cautions.len();
        after.options.insert("connections".to_owned(), 30.into());
        after.origins[0].machine.kernel = "Linux 9".to_owned();
        after.origins[0].server_version = Some("7".to_owned());
        after.errors = 4;
        let cautions = Comparison::new(&before, &after, 5.0).cautions;
        assert_eq!(cautions.len() - quiet, 4, "{cautions:?}");
        assert!(cautions[0].contains("connections differs: 20 and 30"), "{cautions:?}");
    }

    #[test]
    fn reports_without_a_common_scenario_are_refused() {
        let mut other = report(outcome());
        other.scenario = "rest".to_owned();
        assert!(pairs(&[report(outcome())], &[other], 5.0).is_err());
    }
}
