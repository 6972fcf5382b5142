//! Latencies of one kind of operation: an HDR histogram of nanoseconds with three digits, up to an hour.
//!
//! Longer ones count as an hour; nothing is dropped.

use hdrhistogram::Histogram;
use serde::Serialize;

const NS_MAX: u64 = 3_600_000_000_000;

/// Recorded latencies.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

/// What a report says of them, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Half were faster.
    pub p50_us: f64,
    /// Nine of ten were faster.
    pub p90_us: f64,
    /// All but one in a hundred.
    pub p99_us: f64,
    /// All but one in a thousand.
    pub p99_9_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, NS_MAX, 3).expect("bounds are constant and valid"))
    }
}

impl Latency {
    /// Counts one operation.
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Takes over what another thread recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The figures of the report.
    pub fn percentiles(&self) -> Percentiles {
        let us = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p99_9_us: us(0.999),
            max_us: self.0.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= expected * 0.002
    }

    #[test]
    fn percentiles_of_a_known_series_are_within_three_digits() {
        let mut latency = Latency::default();
        for us in 1..=10_000_u64 {
            latency.record(us * 1_000);
        }
        let p = latency.percentiles();
        assert_eq!(p.count, 10_000);
        assert!(close(p.p50_us, 5_000.0) && close(p.p90_us, 9_000.0) && close(p.p99_us, 9_900.0), "{p:?}");
        assert!(close(p.p99_9_us, 9_990.0) && close(p.max_us, 10_000.0) && close(p.mean_us, 5_000.5), "{p:?}");
    }

    #[test]
    fn merging_two_threads_equals_recording_in_one() {
        let (mut one, mut two, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for ns in (1..1_000_000).step_by(997) {
            if ns % 2 == 0 {
                one.record(ns)
            } else {
                two.record(ns)
            }
            both.record(ns);
        }
        one.merge(&two);
        assert_eq!(one.percentiles(), both.percentiles());
    }

    #[test]
    fn a_stall_beyond_the_range_is_counted_and_not_dropped() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        assert_eq!(latency.percentiles().count, 1);
        assert!(latency.percentiles().max_us >= 3_599_000_000.0);
    }
}
