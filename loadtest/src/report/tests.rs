//! Tests of reports: verdicts, warnings, and that nothing is lost when they are written, read and added up.

use super::*;
use crate::verify::Violation;

/// An outcome of a second of load with something of everything.
pub fn outcome() -> Outcome {
    let mut outcome = Outcome::default();
    outcome.integrity.checked = 1;
    outcome.count("acks", 3_000);
    let (mut latency, mut series) = (Latency::default(), Series::new(1_000_000_000));
    latency.record_many(250_000, 100);
    latency.record(9_000_000);
    series.add(0, &latency);
    outcome.latencies.insert("ack".to_owned(), Measured { latency, series });
    outcome.busy.push((0.5, 1.0));
    outcome
}

/// Its report.
pub fn report(outcome: Outcome) -> Report {
    let options = [("connections".to_owned(), Value::from(20))].into();
    let origin = Origin { command: "loadtest hot-path".to_owned(), ..Origin::default() };
    Report::new("hot-path", options, origin, 2.0, outcome)
}

fn own_warnings(report: &Report) -> Vec<&String> {
    report.warnings.iter().filter(|warning| !warning.contains("without optimisation")).collect()
}

#[test]
fn a_broken_promise_weighs_more_than_an_error_and_an_error_more_than_nothing() {
    assert_eq!(report(outcome()).verdict().code(), 0);
    let mut failed = outcome();
    failed.error("refused".into());
    assert_eq!(report(failed.clone()).verdict().code(), 2);
    failed.integrity.report(Violation::Lost, || "seq 3".into());
    let broken = report(failed);
    assert_eq!(broken.verdict().code(), 1);
    assert!(broken.to_string().contains("VIOLATED: 1 lost") && broken.to_string().contains("seq 3"));
    assert!(Verdict::Clean < Verdict::Worse && Verdict::Worse < Verdict::Failed && Verdict::Failed < Verdict::Broken);
}

#[test]
fn a_run_that_checked_nothing_has_failed() {
    assert_eq!(report(Outcome::default()).verdict(), Verdict::Failed);
}

#[test]
fn a_busy_generator_says_so() {
    let mut busy = outcome();
    busy.busy.push((0.95, 1.0));
    let report = report(busy);
    assert_eq!((report.generator.threads, report.generator.busiest), (2, 0.95));
    assert!(report.to_string().contains("may be the limit"));
    assert!(own_warnings(&self::report(outcome())).is_empty());
}

#[test]
fn a_generator_that_is_late_says_so() {
    let mut late = outcome();
    let mut lag = late.latencies["ack"].clone();
    lag.latency.record_many(5_000_000, 1_000);
    late.latencies.insert(SEND_LAG.to_owned(), lag);
    assert!(report(late).to_string().contains("5.00 ms late"));
}

#[test]
fn rates_are_per_second_of_the_window() {
    let report = report(outcome());
    assert_eq!(report.counts["acks"], Count { count: 3_000, per_s: 1_500.0 });
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["counts"]["acks"]["per_s"], 1_500.0);
    assert_eq!(json["latencies"]["ack"]["count"], 101);
    assert_eq!(json["latencies"]["ack"]["series"]["points"][0]["count"], 101);
}

#[test]
fn what_was_written_is_read_again_whole() {
    let report = report(outcome());
    let text = serde_json::to_string(&report).unwrap();
    let read = parse(&text).unwrap().remove(0);
    assert_eq!(read.latencies, report.latencies);
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&report).unwrap());
    assert_eq!(parse(&format!("[{text},{text}]")).unwrap().len(), 2);
}

#[test]
fn what_is_no_report_is_refused() {
    let other = serde_json::to_string(&report(outcome())).unwrap().replace(r#""format":1"#, r#""format":99"#);
    assert!(format!("{:#}", parse(&other).unwrap_err()).contains("99"));
    for text in ["", "{}", "[]", "[1]", r#"{"format":1}"#] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn two_generators_add_up_to_one() {
    let mut sum = report(outcome());
    let mut second = outcome();
    second.latencies.get_mut("ack").unwrap().latency.record(80_000_000);
    second.integrity.report(Violation::Lost, || "seq 3".into());
    sum.merge(report(second)).unwrap();
    assert_eq!(sum.counts["acks"], Count { count: 6_000, per_s: 3_000.0 });
    let ack = &sum.latencies["ack"];
    assert_eq!((ack.latency.count(), ack.series.points()[0].count), (203, 202));
    assert!(ack.latency.percentiles().max_us > 79_000.0);
    assert_eq!((sum.generator.threads, sum.origins.len(), sum.verdict()), (2, 2, Verdict::Broken));
    let mut other = report(outcome());
    other.scenario = "rest".to_owned();
    assert!(sum.merge(other).is_err());
}
