//! Which lines a report has: percentiles, throughput and latency over time, CPU and memory.

use super::chart::{Axis, Chart, Line};
use crate::figures::{Bytes, Grouped, Time};
use crate::report::{Measured, Report, SEND_LAG};
use crate::sampling::Sample;
use std::fmt::Write;

/// Percentiles that are named on the axis, by their nines.
const NINES: [(f64, &str); 7] = [
    (0.0, "0 %"),
    (std::f64::consts::LOG10_2, "50 %"),
    (1.0, "90 %"),
    (2.0, "99 %"),
    (3.0, "99.9 %"),
    (4.0, "99.99 %"),
    (5.0, "99.999 %"),
];

/// Memory is drawn in MiB, so that round steps are round.
const MIB: f64 = 1024.0 * 1024.0;

/// Operations without which nothing is drawn over time.
const FREQUENT_MIN: u64 = 100;
/// Percentiles on an axis that is longer leave no room for its first one.
const FIRST_NINES_MAX: f64 = 4.5;

/// All that the report has something for.
pub fn all(report: &Report) -> String {
    let mut charts = Vec::new();
    let latencies: Vec<(&str, &Measured)> = report
        .latencies
        .iter()
        .filter(|(_, measured)| measured.latency.count() > 0)
        .map(|(name, measured)| (name.as_str(), measured))
        .collect();
    if !latencies.is_empty() {
        charts.push(percentiles(&latencies));
    }
    // A curve over time needs operations all the time; the table has the others.
    let is_frequent =
        |measured: &Measured| measured.latency.count() >= FREQUENT_MIN && measured.series.points().len() > 1;
    let timed: Vec<_> =
        latencies.iter().copied().filter(|(name, measured)| *name != SEND_LAG && is_frequent(measured)).collect();
    if !timed.is_empty() {
        charts.push(throughput(&timed));
    }
    charts.extend(timed.iter().map(|(name, measured)| over_time(name, measured)));
    if report.samples.len() > 1 {
        charts.push(cpus(&report.samples));
        charts.push(memory(&report.samples));
        charts.extend(deep(&report.samples));
    }
    let charts: String = charts.iter().map(Chart::draw).collect();
    format!("<div class=\"charts\">{charts}</div>\n")
}

fn seconds(at: f64) -> String {
    format!("{} s", Grouped((at * 10.0).round() / 10.0))
}

/// A latency on an axis, where round numbers need no places.
fn tick(us: f64) -> String {
    let text = |value: f64, unit: &str| format!("{} {unit}", (value * 100.0).round() / 100.0);
    match us {
        us if us < 1_000.0 => text(us, "us"),
        us if us < 1_000_000.0 => text(us / 1e3, "ms"),
        us => text(us / 1e6, "s"),
    }
}

fn percentiles(latencies: &[(&str, &Measured)]) -> Chart {
    let lines: Vec<Line> = latencies
        .iter()
        .map(|(name, measured)| Line { name: (*name).to_owned(), points: measured.latency.curve() })
        .collect();
    let nines_max = lines.iter().filter_map(|line| line.points.last()).fold(1.0_f64, |max, (nines, _)| max.max(*nines));
    let ticks: Vec<_> = NINES
        .into_iter()
        .filter(|(nines, _)| *nines <= nines_max && (*nines > 0.0 || nines_max < FIRST_NINES_MAX))
        .map(|(nines, text)| (nines, text.to_owned()))
        .collect();
    let hint = |(nines, text): &(f64, String)| {
        let mut hint = text.clone();
        for (name, measured) in latencies {
            let us = measured.latency.quantile_us(1.0 - 10_f64.powf(-nines));
            write!(hint, "\n{name}: {}", Time(us)).expect("a String takes all");
        }
        (*nines, hint)
    };
    Chart {
        title: "Latency by percentile".to_owned(),
        note: "to the right ever fewer, ever slower operations; the end is the slowest".to_owned(),
        hints: ticks.iter().map(hint).collect(),
        x: Axis::marked(0.0, nines_max, ticks),
        y: Axis::log(lines.iter().flat_map(|line| &line.points).map(|(_, us)| *us), tick),
        lines,
    }
}

fn rates(measured: &Measured) -> Vec<(f64, f64)> {
    measured.series.points().iter().map(|point| (point.t_s, point.per_s)).collect()
}

fn end_s(measured: &Measured) -> f64 {
    measured.series.points().len() as f64 * measured.series.slot_s()
}

fn throughput(latencies: &[(&str, &Measured)]) -> Chart {
    let lines: Vec<Line> =
        latencies.iter().map(|(name, measured)| Line { name: (*name).to_owned(), points: rates(measured) }).collect();
    let max = lines.iter().flat_map(|line| &line.points).fold(0.0_f64, |max, (_, rate)| max.max(*rate));
    let end_s = latencies.iter().map(|(_, measured)| end_s(measured)).fold(0.0, f64::max);
    let longest = lines.iter().max_by_key(|line| line.points.len()).map_or(&[][..], |line| &line.points);
    let hint = |(step, (t_s, _)): (usize, &(f64, f64))| {
        let mut hint = seconds(*t_s);
        for line in &lines {
            if let Some((_, rate)) = line.points.get(step) {
                write!(hint, "\n{}: {}/s", line.name, Grouped(rate.round())).expect("a String takes all");
            }
        }
        (*t_s, hint)
    };
    Chart {
        title: "Throughput over time".to_owned(),
        note: "operations that ended, per second".to_owned(),
        hints: longest.iter().enumerate().map(hint).collect(),
        x: Axis::time(end_s, seconds),
        y: Axis::linear(max, |rate| Grouped(rate).to_string()),
        lines,
    }
}

fn over_time(name: &str, measured: &Measured) -> Chart {
    let points: Vec<_> = measured.series.points().into_iter().filter(|point| point.count > 0).collect();
    let line = |name: &str, value: fn(&crate::series::Point) -> f64| Line {
        name: name.to_owned(),
        points: points.iter().map(|point| (point.t_s, value(point))).collect(),
    };
    let lines = vec![
        line("p50", |point| point.p50_us),
        line("p99", |point| point.p99_us),
        line("slowest", |point| point.max_us),
    ];
    let hint = |point: &crate::series::Point| {
        let [p50, p99, max] = [point.p50_us, point.p99_us, point.max_us].map(Time);
        (
            point.t_s,
            format!(
                "{}\np50: {p50}\np99: {p99}\nslowest: {max}\n{} operations",
                seconds(point.t_s),
                Grouped(point.count as f64)
            ),
        )
    };
    Chart {
        title: format!("Latency over time: {name}"),
        note: "of the operations that ended in each slot".to_owned(),
        hints: points.iter().map(hint).collect(),
        x: Axis::time(end_s(measured), seconds),
        y: Axis::log(lines.iter().flat_map(|line| &line.points).map(|(_, us)| *us), tick),
        lines,
    }
}

/// A line over the samples, without those that have no value.
fn sampled(name: &str, samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Line {
    let points = samples.iter().filter_map(|sample| Some((sample.t_s, value(sample)?))).collect();
    Line { name: name.to_owned(), points }
}

fn sampled_chart(title: &str, note: &str, samples: &[Sample], lines: Vec<Line>, text: impl Fn(f64) -> String) -> Chart {
    let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    let max = lines.iter().flat_map(|line| &line.points).fold(0.0_f64, |max, (_, value)| max.max(*value));
    let hint = |sample: &Sample| {
        let mut hint = seconds(sample.t_s);
        for line in &lines {
            if let Some((_, value)) = line.points.iter().find(|(t_s, _)| *t_s == sample.t_s) {
                write!(hint, "\n{}: {}", line.name, text(*value)).expect("a String takes all");
            }
        }
        (sample.t_s, hint)
    };
    Chart {
        title: title.to_owned(),
        note: note.to_owned(),
        hints: samples.iter().map(hint).collect(),
        x: Axis::time(samples.last().map_or(1.0, |sample| sample.t_s), seconds),
        y: Axis::linear(max, &text),
        lines,
    }
}

fn cpus(samples: &[Sample]) -> Chart {
    let lines = vec![
        sampled("server", samples, |sample| Some(sample.server?.cpus)),
        sampled("generator", samples, |sample| Some(sample.generator_cpus)),
    ];
    sampled_chart("Processor time", "CPUs in use", samples, lines, |cpus| format!("{cpus:.2}"))
}

fn memory(samples: &[Sample]) -> Chart {
    let mib = |bytes: u64| bytes as f64 / MIB;
    let lines = vec![
        sampled("server's own", samples, |sample| Some(mib(sample.server?.memory.anon_bytes))),
        sampled("server with mapped log", samples, |sample| Some(mib(sample.server?.memory.rss_bytes))),
        sampled("generator", samples, |sample| Some(mib(sample.generator_rss_bytes))),
    ];
    let note = "resident; mapped log pages are page cache and can be dropped";
    sampled_chart("Memory", note, samples, lines, |mib| Bytes(mib * MIB).to_string())
}

/// What only a long run looks at.
fn deep(samples: &[Sample]) -> Vec<Chart> {
    let deep = |sample: &Sample| sample.server?.deep;
    let open = vec![
        sampled("descriptors", samples, |sample| Some(deep(sample)?.descriptors as f64)),
        sampled("threads", samples, |sample| Some(deep(sample)?.threads as f64)),
    ];
    let disk = vec![sampled("data folder", samples, |sample| Some(deep(sample)?.disk_bytes? as f64 / MIB))];
    let open = sampled_chart("Open descriptors and threads", "of the server", samples, open, |count| {
        Grouped(count).to_string()
    });
    let disk = sampled_chart("Data folder", "on its disk", samples, disk, |mib| Bytes(mib * MIB).to_string());
    [open, disk].into_iter().filter(|chart| !chart.lines.is_empty()).collect()
}
