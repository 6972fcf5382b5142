//! What is known of a run in the end, as JSON holds it: figures, histograms, machine, versions, the exact command. And
//! how it ended.
//!
//! A report can be read again and added to another one of the same scenario. How it looks for people is `table`'s and
//! `html`'s.

use crate::figures::{self, Time};
use crate::latency::{EncodingError, Latency, Percentiles};
use crate::machine::Machine;
use crate::run::Outcome;
use crate::sampling::Sample;
use crate::series::{Series, Written};
use crate::usage::Memory;
use crate::verify::Integrity;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Version of the JSON; another one is refused by name.
pub const FORMAT: u32 = 1;
/// A generator's thread that is busier than this may be what was measured.
const BUSY_LIMIT: f64 = 0.9;
/// A generator that sends this much later than it should, at p99, is not an open loop any more.
const LAG_LIMIT_US: f64 = 1_000.0;
/// The latency that is the generator's own: how late it sent.
pub const SEND_LAG: &str = "send lag";

/// The report of one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Of this format.
    pub format: u32,
    /// The scenario.
    pub scenario: String,
    /// Its options, with the seconds of warm-up and measuring.
    pub options: BTreeMap<String, Value>,
    /// The runs that are summed up here: one, or as many as were merged.
    pub origins: Vec<Origin>,
    /// Seconds that were measured.
    pub window_s: f64,
    /// Events in the window.
    pub counts: BTreeMap<String, Count>,
    /// Latencies of what began in the window.
    pub latencies: BTreeMap<String, Measured>,
    /// Figures of their own kind.
    pub figures: BTreeMap<String, f64>,
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
    /// CPU and memory over time; of merged runs those of the first.
    pub samples: Vec<Sample>,
    /// Why the figures may say less, or more of the generator than of the server.
    pub warnings: Vec<String>,
}

/// Where a run comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The whole command line.
    pub command: String,
    /// Start of the run, seconds since 1970.
    pub unix_s: u64,
    /// Version of this tool, and how it was built.
    pub generator_version: String,
    /// What the server calls itself, when it does.
    pub server_version: Option<String>,
    /// The generator's machine; a started server's, too.
    pub machine: Machine,
    /// File system of a started server's data folder.
    pub data_filesystem: Option<String>,
}

/// A number of events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// All of the window.
    pub count: u64,
    /// Per second of it.
    pub per_s: f64,
}

/// Latencies of one kind of operation, in all and over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "MeasuredText", try_from = "MeasuredText")]
pub struct Measured {
    /// In all.
    pub latency: Latency,
    /// Over time.
    pub series: Series,
}

/// How [`Measured`] stands in JSON. The percentiles are for readers; the histogram is what counts.
#[derive(Serialize, Deserialize)]
struct MeasuredText {
    #[serde(flatten, skip_deserializing)]
    percentiles: Percentiles,
    histogram: String,
    series: Written,
}

impl From<Measured> for MeasuredText {
    fn from(measured: Measured) -> Self {
        let Measured { latency, series } = measured;
        Self { percentiles: latency.percentiles(), histogram: latency.encode(), series: Written::from(&series) }
    }
}

impl TryFrom<MeasuredText> for Measured {
    type Error = EncodingError;

    fn try_from(text: MeasuredText) -> Result<Self, EncodingError> {
        Ok(Self { latency: Latency::decode(&text.histogram)?, series: text.series.try_into()? })
    }
}

/// CPU use of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Its threads.
    pub threads: usize,
    /// CPU of all of them in CPUs.
    pub cpus_used: f64,
    /// Share of a CPU that the busiest one used.
    pub busiest: f64,
}

/// CPU and memory use of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// 3: a comparison found something worse than it may be.
    Worse,
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
            Self::Worse => 3,
        }
    }
}

impl Report {
    /// Sums up `outcome`. Its window is what it took (a figure) or else `window_s`.
    pub fn new(
        scenario: &str,
        options: BTreeMap<String, Value>,
        origin: Origin,
        window_s: f64,
        outcome: Outcome,
    ) -> Self {
        let window_s = outcome.figures.get(figures::SECONDS_PASSED).copied().unwrap_or(window_s);
        let per_s = |count| Count { count, per_s: count as f64 / window_s };
        let shares = || outcome.busy.iter().map(|(cpu_s, passed_s)| cpu_s / passed_s);
        let generator =
            Generator { threads: outcome.busy.len(), cpus_used: shares().sum(), busiest: shares().fold(0.0, f64::max) };
        let server = outcome.server.map(|(cpu_s, passed_s, memory)| ServerUse { cpus_used: cpu_s / passed_s, memory });
        let mut report = Self {
            format: FORMAT,
            scenario: scenario.to_owned(),
            options,
            origins: vec![origin],
            window_s,
            counts: outcome.counts.into_iter().map(|(name, count)| (name.to_owned(), per_s(count))).collect(),
            latencies: outcome.latencies,
            figures: outcome.figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect(),
            integrity: outcome.integrity,
            errors: outcome.errors,
            error_examples: outcome.error_examples,
            generator,
            server,
            samples: outcome.samples,
            warnings: outcome.warnings,
        };
        report.warn();
        report
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

    /// Says why the figures may be the generator's.
    fn warn(&mut self) {
        if self.generator.busiest > BUSY_LIMIT {
            self.warnings.push(format!(
                "a thread of the generator was busy {:.0} % of the time and may be the limit: give it more (--client-cpus, --threads)",
                self.generator.busiest * 100.0
            ));
        }
        let lag_us = self.latencies.get(SEND_LAG).map_or(0.0, |lag| lag.latency.quantile_us(0.99));
        if lag_us > LAG_LIMIT_US {
            self.warnings.push(format!(
                "the generator sent {} late at p99, which the latencies include: the rate is beyond what is left of this machine, or the server's",
                Time(lag_us)
            ));
        }
        let memory_only =
            |origin: &Origin| origin.data_filesystem.as_deref().is_some_and(|name| name.starts_with("tmpfs"));
        if self.origins.iter().any(memory_only) {
            self.warnings.push(
                "the data folder is in memory (tmpfs): a sync costs nothing there; name a folder on a disk with TMPDIR"
                    .to_owned(),
            );
        }
        if cfg!(debug_assertions) {
            self.warnings.push(
                "this generator was built without optimisation: figures mean nothing, build with --release".to_owned(),
            );
        }
    }

    /// Adds another generator's run of the same scenario, as if both had been one.
    ///
    /// # Errors
    /// When it is of another scenario.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.scenario != other.scenario {
            bail!("{} and {} cannot be added up", self.scenario, other.scenario);
        }
        self.origins.extend(other.origins);
        self.window_s = self.window_s.max(other.window_s);
        for (name, theirs) in other.counts {
            let own = self.counts.entry(name).or_insert(Count { count: 0, per_s: 0.0 });
            *own = Count { count: own.count + theirs.count, per_s: own.per_s + theirs.per_s };
        }
        for (name, theirs) in other.latencies {
            match self.latencies.get_mut(&name) {
                Some(own) => {
                    own.latency.merge(&theirs.latency);
                    own.series.merge(&theirs.series);
                }
                None => drop(self.latencies.insert(name, theirs)),
            }
        }
        for (name, theirs) in other.figures {
            let own = self.figures.get(&name).copied();
            let union = own.map_or(theirs, |own| figures::union(&name, own, theirs));
            self.figures.insert(name, union);
        }
        self.integrity.merge(other.integrity);
        self.errors += other.errors;
        self.error_examples.extend(other.error_examples);
        self.error_examples.truncate(crate::run::EXAMPLES_MAX);
        let (own, theirs) = (self.generator, other.generator);
        self.generator = Generator {
            threads: own.threads + theirs.threads,
            cpus_used: own.cpus_used + theirs.cpus_used,
            busiest: own.busiest.max(theirs.busiest),
        };
        self.server = self.server.or(other.server);
        self.warnings
            .extend(other.warnings.into_iter().filter(|theirs| !self.warnings.contains(theirs)).collect::<Vec<_>>());
        Ok(())
    }
}

/// Adds the reports of another generator to `sum`, each to the one of its scenario.
///
/// # Errors
/// When they are not of the same scenarios in the same order.
pub fn add(sum: &mut [Report], reports: Vec<Report>) -> Result<()> {
    if sum.len() != reports.len() {
        bail!("it holds {} runs, and the one before {}", reports.len(), sum.len());
    }
    sum.iter_mut().zip(reports).try_for_each(|(own, other)| own.merge(other))
}

/// Writes reports as JSON: one as an object, several as an array.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, reports: &[Report]) -> Result<()> {
    let json = match reports {
        [one] => serde_json::to_string_pretty(one)?,
        many => serde_json::to_string_pretty(many)?,
    };
    fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// When it is not there, or no report of this format.
pub fn read(path: &Path) -> Result<Vec<Report>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is no report of this loadtest", path.display()))
}

fn parse(text: &str) -> Result<Vec<Report>> {
    let value: Value = serde_json::from_str(text)?;
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let read = |value: Value| {
        if value["format"] != FORMAT {
            bail!("its format is {}, and {FORMAT} is understood", value["format"]);
        }
        Ok(serde_json::from_value(value)?)
    };
    let reports: Vec<Report> = values.into_iter().map(read).collect::<Result<_>>()?;
    if reports.is_empty() {
        bail!("there is none in it");
    }
    Ok(reports)
}

#[cfg(test)]
pub mod tests;
