//! What a run finds: counts, latencies, figures, broken promises, failures. Of one worker while it runs, of all in the end.
//!
//! A latency costs one count in a histogram of this thread; [`crate::recording`] fetches those once per slot of time.

use crate::latency::Latency;
use crate::report::Measured;
use crate::sampling::Sample;
use crate::usage;
use crate::verify::Integrity;
use std::collections::BTreeMap;

/// Failures that are told in full.
pub const EXAMPLES_MAX: usize = 10;

/// What was found, by one worker or by all.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events in the window by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Latencies by name that were recorded since they were last handed over.
    pub fresh: BTreeMap<&'static str, Latency>,
    /// Latencies of all workers by name, once the run is over.
    pub latencies: BTreeMap<String, Measured>,
    /// Other figures by name (the last word wins).
    pub figures: BTreeMap<&'static str, f64>,
    /// What the verifiers say.
    pub integrity: Integrity,
    /// Failed requests and connections.
    pub errors: u64,
    /// The first of them in words.
    pub error_examples: Vec<String>,
    /// Seconds of CPU of each worker's thread between start and end of load, with the seconds that passed.
    pub busy: Vec<(f64, f64)>,
    /// The same of the server, when its process is known.
    pub server: Option<(f64, f64, usage::Memory)>,
    /// CPU and memory over time.
    pub samples: Vec<Sample>,
    /// What should be known of the figures.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Counts `count` events.
    pub fn count(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    /// Records a latency.
    pub fn latency(&mut self, name: &'static str, latency_ns: u64) {
        self.fresh.entry(name).or_default().record(latency_ns);
    }

    /// Notes a failure.
    pub fn error(&mut self, what: String) {
        self.errors += 1;
        if self.error_examples.len() < EXAMPLES_MAX {
            self.error_examples.push(what);
        }
    }

    /// Takes over what another worker found.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.counts {
            self.count(name, count);
        }
        self.figures.extend(other.figures);
        self.integrity.merge(other.integrity);
        self.errors += other.errors;
        self.error_examples.extend(other.error_examples);
        self.error_examples.truncate(EXAMPLES_MAX);
        self.busy.extend(other.busy);
        self.server = self.server.or(other.server);
        self.samples.extend(other.samples);
        self.warnings.extend(other.warnings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_found_adds_up() {
        let mut total = Outcome::default();
        for _ in 0..2 {
            let mut one = Outcome::default();
            one.count("acks", 3);
            (0..EXAMPLES_MAX + 1).for_each(|_| one.error("refused".into()));
            total.merge(one);
        }
        assert_eq!(total.counts["acks"], 6);
        assert_eq!((total.errors, total.error_examples.len()), (22, EXAMPLES_MAX));
    }
}
