//! Latencies of one kind of operation: an HDR histogram of nanoseconds with three digits, up to an hour.
//!
//! Longer ones count as an hour; nothing is dropped. It can be written as text and read again without loss (the V2 format
//! of HdrHistogram, deflated, in base64), so that runs can be added up and other tools can read it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::Serialize;
use std::io::Cursor;

/// The longest latency that is told apart from longer ones.
pub const NS_MAX: u64 = 3_600_000_000_000;
/// Points of a percentile curve: enough for a smooth line, few enough for a page.
const CURVE_POINTS: u32 = 120;

/// A text that is no histogram of latencies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The outer layer.
    #[error("a histogram is not base64: {0}")]
    Base64(String),
    /// The inner layer.
    #[error("a histogram is not in HdrHistogram's V2 format: {0}")]
    Format(String),
}

/// Recorded latencies.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

/// What a report says of them, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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

    /// Counts `count` operations of the same latency.
    pub fn record_many(&mut self, latency_ns: u64, count: u64) {
        self.0.saturating_record_n(latency_ns, count);
    }

    /// Takes over what another thread recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Operations recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Each value that was recorded, in nanoseconds, with how often.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }

    /// The latency in microseconds that the share `quantile` (0 to 1) did not exceed.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The percentile curve: pairs of nines (0 is all, 2 is 99 %, 3 is 99.9 %) and microseconds, up to where one
    /// operation decides.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let nines_max = (self.count().max(1) as f64).log10();
        let at = |step: u32| nines_max * f64::from(step) / f64::from(CURVE_POINTS);
        (0..=CURVE_POINTS).map(at).map(|nines| (nines, self.quantile_us(1.0 - 10_f64.powf(-nines)))).collect()
    }

    /// As text; [`Latency::decode`] reads it.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).expect("a Vec takes all, and the counts fit");
        STANDARD.encode(bytes)
    }

    /// Reads what [`Latency::encode`] wrote, or another program in the same format.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(text: &str) -> Result<Self, EncodingError> {
        let bytes = STANDARD.decode(text).map_err(|error| EncodingError::Base64(error.to_string()))?;
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut Cursor::new(bytes))
            .map_err(|error| EncodingError::Format(error.to_string()))?;
        let mut latency = Self::default();
        for step in read.iter_recorded() {
            latency.record_many(step.value_iterated_to(), step.count_since_last_iteration());
        }
        Ok(latency)
    }

    /// The figures of the report.
    pub fn percentiles(&self) -> Percentiles {
        let us = |quantile| self.quantile_us(quantile);
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
    fn what_was_written_is_read_again_and_adds_up() {
        let mut latency = Latency::default();
        (1..50_000_u64).for_each(|n| latency.record(n * 3_001));
        let text = latency.encode();
        let read = Latency::decode(&text).unwrap();
        assert_eq!(read, latency);
        latency.merge(&read);
        assert_eq!(latency.count(), 2 * read.count());
        assert_eq!(Latency::decode(&Latency::default().encode()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_histogram_is_refused_by_layer() {
        assert!(matches!(Latency::decode("%"), Err(EncodingError::Base64(_))));
        assert!(matches!(Latency::decode("AAAA"), Err(EncodingError::Format(_))));
        let text = Latency::default().encode();
        assert!(Latency::decode(&text[..text.len() / 2 / 4 * 4]).is_err());
    }

    #[test]
    fn the_percentile_curve_rises_to_the_slowest() {
        let mut latency = Latency::default();
        (1..=10_000_u64).for_each(|us| latency.record(us * 1_000));
        let curve = latency.curve();
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        let at = |nines: f64| curve.iter().find(|(at, _)| *at >= nines - 1e-9).unwrap().1;
        assert!(close(at(1.0), 9_000.0) && close(at(2.0), 9_900.0) && close(at(3.0), 9_990.0), "{curve:?}");
        assert!(Latency::default().curve().iter().all(|(_, us)| *us == 0.0));
    }

    #[test]
    fn a_stall_beyond_the_range_is_counted_and_not_dropped() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        assert_eq!(latency.percentiles().count, 1);
        assert!(latency.percentiles().max_us >= 3_599_000_000.0);
    }
}
