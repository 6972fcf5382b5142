//! What a run says in the end: a table for people, JSON for programs, and an exit code.

use crate::latency::Percentiles;
use crate::run::Outcome;
use crate::usage::Memory;
use crate::verify::Integrity;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A generator's thread that is busier than this may be what was measured.
const BUSY_LIMIT: f64 = 0.9;
/// A generator that sends this much later than it should, at p99, is not an open loop any more.
const LAG_LIMIT_US: f64 = 1_000.0;

/// The report of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this tool.
    pub version: &'static str,
    /// The scenario.
    pub scenario: String,
    /// The whole command line.
    pub command: String,
    /// Start of the run, seconds since 1970.
    pub unix_s: u64,
    /// Seconds that were measured.
    pub window_s: f64,
    /// Events in the window.
    pub counts: BTreeMap<&'static str, Count>,
    /// Latencies of what began in the window.
    pub latencies: BTreeMap<&'static str, Percentiles>,
    /// Figures of their own kind.
    pub figures: BTreeMap<&'static str, f64>,
    /// What the verifiers say.
    pub integrity: Integrity,
    /// Failed requests and connections.
    pub errors: u64,
    /// The first of them in words.
    pub error_examples: Vec<String>,
    /// The generator's threads.
    pub generator: Generator,
    /// The server, when its process is known.
    pub server: Option<ServerUse>,
    /// Why the figures may say more of the generator than of the server.
    pub warnings: Vec<String>,
}

/// A number of events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Count {
    /// All of the window.
    pub count: u64,
    /// Per second of it.
    pub per_s: f64,
}

/// CPU use of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Generator {
    /// Its threads.
    pub threads: usize,
    /// CPU of all of them in CPUs.
    pub cpus_used: f64,
    /// Share of a CPU that the busiest one used.
    pub busiest: f64,
}

/// CPU and memory use of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServerUse {
    /// In CPUs.
    pub cpus_used: f64,
    /// At the end of load.
    #[serde(flatten)]
    pub memory: Memory,
}

/// How a run ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// 0: all went well.
    Clean,
    /// 2: requests failed, or nothing was measured.
    Failed,
    /// 1: a promise was broken.
    Broken,
}

impl Verdict {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Broken => 1,
            Self::Failed => 2,
        }
    }
}

impl Report {
    /// Sums up `outcome`, of which `window_s` seconds were measured.
    pub fn new(scenario: &str, command: &str, unix_s: u64, window_s: f64, outcome: Outcome) -> Self {
        let per_s = |count| Count { count, per_s: count as f64 / window_s };
        let shares = || outcome.busy.iter().map(|(cpu_s, passed_s)| cpu_s / passed_s);
        let generator =
            Generator { threads: outcome.busy.len(), cpus_used: shares().sum(), busiest: shares().fold(0.0, f64::max) };
        let latencies: BTreeMap<_, _> = outcome.latencies.iter().map(|(name, l)| (*name, l.percentiles())).collect();
        let warnings = warnings(&generator, latencies.get("send lag"));
        let server = outcome.server.map(|(cpu_s, passed_s, memory)| ServerUse { cpus_used: cpu_s / passed_s, memory });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            scenario: scenario.to_owned(),
            command: command.to_owned(),
            unix_s,
            window_s,
            counts: outcome.counts.into_iter().map(|(name, count)| (name, per_s(count))).collect(),
            latencies,
            figures: outcome.figures,
            integrity: outcome.integrity,
            errors: outcome.errors,
            error_examples: outcome.error_examples,
            generator,
            server,
            warnings,
        }
    }

    /// How the run ended.
    pub fn verdict(&self) -> Verdict {
        if !self.integrity.is_whole() {
            Verdict::Broken
        } else if self.errors > 0 || self.integrity.checked == 0 {
            Verdict::Failed
        } else {
            Verdict::Clean
        }
    }
}

fn warnings(generator: &Generator, lag: Option<&Percentiles>) -> Vec<String> {
    let mut warnings = Vec::new();
    if generator.busiest > BUSY_LIMIT {
        warnings.push(format!(
            "a thread of the generator was busy {:.0} % of the time and may be the limit: give it more (--client-cpus, --threads)",
            generator.busiest * 100.0
        ));
    }
    if let Some(lag) = lag.filter(|lag| lag.p99_us > LAG_LIMIT_US) {
        warnings.push(format!(
            "the generator sent {} late at p99, which the latencies include: the rate is beyond what is left of this machine, or the server's",
            time(lag.p99_us)
        ));
    }
    warnings
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}   {:.1} s measured", self.scenario, self.window_s)?;
        for (name, count) in &self.counts {
            writeln!(f, "  {name:<24}{:>14}{:>16}/s", grouped(count.count as f64), grouped(count.per_s))?;
        }
        for (name, figure) in &self.figures {
            writeln!(f, "  {name:<24}{:>14}", grouped(*figure))?;
        }
        if !self.latencies.is_empty() {
            let head = ["p50", "p90", "p99", "p99.9", "max", "count"].map(|name| format!("{name:>11}")).concat();
            writeln!(f, "  {:<16}{head}", "latency")?;
        }
        for (name, p) in &self.latencies {
            let times =
                [p.p50_us, p.p90_us, p.p99_us, p.p99_9_us, p.max_us].map(|us| format!("{:>11}", time(us))).concat();
            writeln!(f, "  {name:<16}{times}{:>11}", grouped(p.count as f64))?;
        }
        self.fmt_ends(f)
    }
}

impl Report {
    fn fmt_ends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Generator { threads, cpus_used, busiest } = self.generator;
        writeln!(f, "  generator   {cpus_used:.2} CPUs of {threads}, busiest thread {:.0} %", busiest * 100.0)?;
        if let Some(server) = &self.server {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let (rss, anon) = (mib(server.memory.rss_bytes), mib(server.memory.anon_bytes));
            writeln!(
                f,
                "  server      {:.2} CPUs, {rss:.1} MiB resident, {anon:.1} MiB of it its own",
                server.cpus_used
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning     {warning}")?;
        }
        if self.errors > 0 {
            writeln!(f, "  errors      {}", self.errors)?;
            self.error_examples.iter().try_for_each(|example| writeln!(f, "    {example}"))?;
        }
        if self.integrity.checked == 0 {
            return writeln!(f, "  integrity   NOTHING was checked");
        }
        let checked = grouped(self.integrity.checked as f64);
        if self.integrity.is_whole() {
            return writeln!(f, "  integrity   ok, {checked} checked");
        }
        let kinds: Vec<_> = self.integrity.violations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "  integrity   VIOLATED: {} ({checked} checked)", kinds.join(", "))?;
        self.integrity.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))
    }
}

/// Microseconds with a fitting unit.
fn time(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A number with its thousands apart; small ones keep a digit after the point.
fn grouped(number: f64) -> String {
    if number.fract() != 0.0 && number.abs() < 1_000.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{:.0}", number.abs());
    let mut out = String::from(if number < 0.0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Violation;

    fn outcome() -> Outcome {
        let mut outcome = Outcome::default();
        outcome.integrity.checked = 1;
        outcome.count("acks", 3_000);
        outcome.latency("ack", 250_000);
        outcome.busy.push((0.5, 1.0));
        outcome
    }

    fn report(outcome: Outcome) -> Report {
        Report::new("hot-path", "loadtest hot-path", 0, 2.0, outcome)
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
        assert!(Verdict::Clean < Verdict::Failed && Verdict::Failed < Verdict::Broken);
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
        assert!(self::report(outcome()).warnings.is_empty());
    }

    #[test]
    fn a_generator_that_is_late_says_so() {
        let mut late = outcome();
        late.latency("send lag", 5_000_000);
        assert!(report(late).to_string().contains("5.00 ms late"));
    }

    #[test]
    fn rates_are_per_second_of_the_window() {
        let report = report(outcome());
        assert_eq!(report.counts["acks"], Count { count: 3_000, per_s: 1_500.0 });
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["counts"]["acks"]["per_s"], 1_500.0);
        assert_eq!(json["latencies"]["ack"]["count"], 1);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0.0, 12.5, 999.0, 1_000.0, 1_234_567.8].map(grouped), ["0", "12.5", "999", "1,000", "1,234,568"]);
        assert_eq!([5.0, 1_500.0, 250_000.0, 2e6].map(time), ["5 us", "1.50 ms", "250 ms", "2.00 s"]);
        assert_eq!(grouped(-1_234.0), "-1,234");
    }
}
