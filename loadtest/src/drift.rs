//! What a long run does to a server: whether its latencies rose and its memory and descriptors grew.
//!
//! The last quarter of the window against the first, and a straight line through all looks. Growth can be right (a log
//! grows, and so does its index), so it is a warning, and an error only beyond a limit that was named.

use crate::figures::{Bytes, Time};
use crate::options::Soak;
use crate::report::{Report, SEND_LAG};
use crate::sampling::{Sample, ServerSample};

/// Looks without which nothing is said of growth: two in each quarter.
const SAMPLES_MIN: usize = 8;
/// Operations of a quarter without which nothing is said of its p99.
const OPERATIONS_MIN: u64 = 1000;
/// A p99 that rose to more than this, and by more than a millisecond, has risen.
const RISE_LIMIT: f64 = 1.5;
const RISE_US_MIN: f64 = 1_000.0;
/// Memory of its own that grew by more than this share, and by more than [`GROWTH_BYTES_MIN`], has grown.
const GROWTH_LIMIT: f64 = 0.2;
const GROWTH_BYTES_MIN: f64 = 16.0 * 1024.0 * 1024.0;

const MIB: f64 = 1024.0 * 1024.0;

/// Adds figures, warnings, and an error when the limit that `soak` names was passed.
pub fn judge(report: &mut Report, soak: &Soak) {
    judge_latencies(report);
    let looks: Vec<(f64, ServerSample)> =
        report.samples.iter().filter_map(|sample: &Sample| Some((sample.t_s, sample.server?))).collect();
    if looks.len() < SAMPLES_MIN {
        return;
    }
    let own = |server: &ServerSample| Some(server.memory.anon_bytes as f64);
    let mut slope = |name: &str, unit: f64, value: &dyn Fn(&ServerSample) -> Option<f64>| {
        let points: Vec<_> = looks.iter().filter_map(|(t_s, server)| Some((*t_s, value(server)?))).collect();
        if points.len() >= SAMPLES_MIN {
            report.figures.insert(name.to_owned(), slope_per_s(&points) * 3600.0 / unit);
        }
    };
    slope("MiB/h own memory", MIB, &own);
    slope("MiB/h resident", MIB, &|server| Some(server.memory.rss_bytes as f64));
    slope("descriptors/h", 1.0, &|server| Some(server.deep?.descriptors as f64));
    slope("MiB/h on disk", MIB, &|server| Some(server.deep?.disk_bytes? as f64));
    let quarter = looks.len() / 4;
    let mean = |looks: &[(f64, ServerSample)]| {
        looks.iter().filter_map(|(_, server)| own(server)).sum::<f64>() / looks.len() as f64
    };
    let (first, last) = (mean(&looks[..quarter]), mean(&looks[looks.len() - quarter..]));
    let growth = last - first;
    report.figures.insert("MiB own memory grew".to_owned(), growth / MIB);
    let grew = format!(
        "the server's own memory grew from {} in the first quarter to {} in the last",
        Bytes(first),
        Bytes(last)
    );
    match soak.rss_growth_max {
        Some(max) if growth > max * MIB => {
            report.errors += 1;
            report.error_examples.push(format!("{grew}: more than {max} MiB"));
        }
        None if growth > GROWTH_BYTES_MIN && growth > first * GROWTH_LIMIT => report.warnings.push(grew),
        Some(_) | None => {}
    }
}

fn judge_latencies(report: &mut Report) {
    let (quarter_s, end_s) = (report.window_s / 4.0, report.window_s);
    for (name, measured) in report.latencies.iter().filter(|(name, _)| *name != SEND_LAG) {
        let (first_count, first_us) = measured.series.over(0.0..quarter_s);
        let (last_count, last_us) = measured.series.over(end_s - quarter_s..end_s);
        if first_count.min(last_count) < OPERATIONS_MIN {
            continue;
        }
        report.figures.insert(format!("{name} p99 last/first"), last_us / first_us.max(1.0));
        if last_us > first_us * RISE_LIMIT && last_us > first_us + RISE_US_MIN {
            let (first, last) = (Time(first_us), Time(last_us));
            report
                .warnings
                .push(format!("the p99 of {name} rose from {first} in the first quarter to {last} in the last"));
        }
    }
}

/// The slope of the straight line with the least squares.
fn slope_per_s(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_t, mean_v) = (mean(|point| point.0), mean(|point| point.1));
    let (mut product, mut square) = (0.0, 0.0);
    for (t, v) in points {
        product += (t - mean_t) * (v - mean_v);
        square += (t - mean_t) * (t - mean_t);
    }
    if square > 0.0 { product / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;
    use crate::report::Verdict;
    use crate::report::tests::{outcome, report};
    use crate::sampling::Deep;
    use crate::series::Series;
    use crate::usage::Memory;

    const SECOND: u64 = 1_000_000_000;

    fn soak(rss_growth_max: Option<f64>) -> Soak {
        let (rate, interval) = (1000.0, 10.0);
        Soak {
            rate,
            sockets: 1,
            rest: 1,
            subscribers: 1,
            replayers: 1,
            churners: 1,
            size: 256,
            interval,
            rss_growth_max,
        }
    }

    /// A report of 40 seconds whose own memory grows by a MiB each second and whose p99 is what `latency_us` says for
    /// each second.
    fn long(latency_us: fn(u64) -> u64) -> Report {
        let mut outcome = outcome();
        let ack = outcome.latencies.get_mut("ack").unwrap();
        ack.series = Series::new(SECOND);
        for second in 0..40 {
            let mut latency = Latency::default();
            latency.record_many(latency_us(second) * 1_000, 500);
            ack.series.add(second * SECOND, &latency);
            let memory = Memory { rss_bytes: 1 << 30, anon_bytes: (100 + second) << 20 };
            let deep = Deep { descriptors: 10, threads: 3, disk_bytes: None };
            let server = ServerSample { cpus: 0.1, memory, deep: Some(deep) };
            outcome.samples.push(Sample {
                t_s: second as f64,
                generator_cpus: 0.1,
                generator_rss_bytes: 1,
                server: Some(server),
            });
        }
        let mut report = report(outcome);
        report.window_s = 40.0;
        report.warnings.clear();
        report
    }

    #[test]
    fn growth_is_told_per_hour_and_warned_of() {
        let mut report = long(|_| 1_000);
        judge(&mut report, &soak(None));
        assert!((report.figures["MiB/h own memory"] - 3_600.0).abs() < 1e-6);
        assert_eq!((report.figures["MiB/h resident"], report.figures["descriptors/h"]), (0.0, 0.0));
        assert_eq!(report.figures["MiB own memory grew"], 30.0);
        assert!(report.warnings.len() == 1 && report.warnings[0].contains("own memory grew"), "{:?}", report.warnings);
        assert_eq!(report.verdict(), Verdict::Clean);
    }

    #[test]
    fn growth_beyond_the_named_limit_is_an_error() {
        let mut report = long(|_| 1_000);
        judge(&mut report, &soak(Some(29.0)));
        assert_eq!(report.verdict(), Verdict::Failed);
        assert!(report.error_examples[0].contains("more than 29 MiB"));
        let mut report = long(|_| 1_000);
        judge(&mut report, &soak(Some(31.0)));
        assert_eq!((report.verdict(), report.warnings.len()), (Verdict::Clean, 0));
    }

    #[test]
    fn a_latency_that_rises_is_warned_of() {
        let mut report = long(|second| if second < 20 { 1_000 } else { 4_000 });
        judge(&mut report, &soak(Some(1e3)));
        assert!(report.warnings.len() == 1 && report.warnings[0].contains("p99 of ack rose"), "{:?}", report.warnings);
        assert!((report.figures["ack p99 last/first"] - 4.0).abs() < 0.05);
    }

    #[test]
    fn a_short_run_says_nothing_of_drift() {
        let mut report = report(outcome());
        let before = report.figures.len();
        judge(&mut report, &soak(None));
        assert_eq!(report.figures.len(), before);
    }
}
