//! Latencies over time: a histogram for each slot of the measured window.
//!
//! A slot begins as short as the run asks and doubles when there are too many, so that a long run costs no more memory
//! than a short one. Slots keep two digits: percentiles of any stretch of slots can be had later, exactly within those.
//! Who records is not known here; threads hand over what they gathered once per slot.

use crate::latency::{EncodingError, Latency, NS_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::ops::Range;

/// Slots of a run at the most; one more, and two neighbours become one. Enough for a line as wide as a page, and 6 MiB at
/// the most.
pub const SLOTS_MAX: usize = 300;
/// A slot of a run of three years; what claims more was not written by us.
const SLOT_NS_MAX: u64 = 330_000 * 1_000_000_000;
/// Latencies below this are one: a slot's histogram is a tenth of the size for it.
const NS_MIN: u64 = 1_000;

/// Histograms of consecutive slots.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    slot_ns: u64,
    slots: Vec<Histogram<u32>>,
}

/// One slot, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its middle, in seconds from the start of the window.
    pub t_s: f64,
    /// Operations that ended in it, per second.
    pub per_s: f64,
    /// Operations that ended in it.
    pub count: u64,
    /// Half of them were faster.
    pub p50_us: f64,
    /// All but one in a hundred.
    pub p99_us: f64,
    /// The slowest.
    pub max_us: f64,
}

fn slot() -> Histogram<u32> {
    Histogram::new_with_bounds(NS_MIN, NS_MAX, 2).expect("bounds are constant and valid")
}

impl Series {
    /// An empty one with slots of `slot_ns`, at first.
    pub fn new(slot_ns: u64) -> Self {
        assert!(slot_ns > 0, "a slot lasts");
        Self { slot_ns, slots: Vec::new() }
    }

    /// Seconds of a slot.
    pub fn slot_s(&self) -> f64 {
        self.slot_ns as f64 / 1e9
    }

    /// Adds operations that ended `at_ns` after the start of the window.
    pub fn add(&mut self, at_ns: u64, latencies: &Latency) {
        if latencies.count() == 0 {
            return;
        }
        let slot = self.slot_at(at_ns);
        for (latency_ns, count) in latencies.recorded() {
            slot.saturating_record_n(latency_ns, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    fn slot_at(&mut self, at_ns: u64) -> &mut Histogram<u32> {
        while usize::try_from(at_ns / self.slot_ns).unwrap_or(usize::MAX) >= SLOTS_MAX {
            self.coarsen();
        }
        let place = (at_ns / self.slot_ns) as usize;
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, slot);
        }
        &mut self.slots[place]
    }

    fn coarsen(&mut self) {
        self.slot_ns *= 2;
        let pairs = std::mem::take(&mut self.slots);
        let mut pairs = pairs.into_iter();
        while let Some(mut first) = pairs.next() {
            if let Some(second) = pairs.next() {
                first.add(&second).expect("both have the same bounds");
            }
            self.slots.push(first);
        }
    }

    /// Adds another run's operations, slot by slot from both starts.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.slot_ns < other.slot_ns {
            self.coarsen();
        }
        while other.slot_ns < self.slot_ns {
            other.coarsen();
        }
        for (place, theirs) in other.slots.iter().enumerate() {
            let at_ns = place as u64 * other.slot_ns;
            self.slot_at(at_ns).add(theirs).expect("both have the same bounds");
        }
    }

    /// Every slot.
    pub fn points(&self) -> Vec<Point> {
        let slot_s = self.slot_s();
        let point = |(place, slot): (usize, &Histogram<u32>)| Point {
            t_s: (place as f64 + 0.5) * slot_s,
            per_s: slot.len() as f64 / slot_s,
            count: slot.len(),
            p50_us: slot.value_at_quantile(0.5) as f64 / 1e3,
            p99_us: slot.value_at_quantile(0.99) as f64 / 1e3,
            max_us: slot.max() as f64 / 1e3,
        };
        self.slots.iter().enumerate().map(point).collect()
    }

    /// Operations and p99 in microseconds of the slots that begin in this stretch of seconds.
    pub fn over(&self, seconds: Range<f64>) -> (u64, f64) {
        let slot_s = self.slot_s();
        let mut sum = slot();
        let within = self.slots.iter().enumerate().filter(|(place, _)| seconds.contains(&(*place as f64 * slot_s)));
        within.for_each(|(_, slot)| sum.add(slot).expect("both have the same bounds"));
        (sum.len(), sum.value_at_quantile(0.99) as f64 / 1e3)
    }
}

/// How a series stands in a report: figures for people, and the histograms for adding up.
#[derive(Deserialize, Serialize)]
pub struct Written {
    slot_s: f64,
    points: Vec<WrittenPoint>,
}

#[derive(Deserialize, Serialize)]
struct WrittenPoint {
    t_s: f64,
    count: u64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    histogram: String,
}

impl From<&Series> for Written {
    fn from(series: &Series) -> Self {
        let write = |(point, slot): (Point, &Histogram<u32>)| {
            let mut bytes = Vec::new();
            V2DeflateSerializer::new().serialize(slot, &mut bytes).expect("a Vec takes all, and the counts fit");
            let Point { t_s, count, p50_us, p99_us, max_us, .. } = point;
            WrittenPoint { t_s, count, p50_us, p99_us, max_us, histogram: STANDARD.encode(bytes) }
        };
        let points = series.points().into_iter().zip(&series.slots).map(write).collect();
        Self { slot_s: series.slot_s(), points }
    }
}

impl TryFrom<Written> for Series {
    type Error = EncodingError;

    fn try_from(written: Written) -> Result<Self, EncodingError> {
        let slot_ns = (written.slot_s * 1e9) as u64;
        if slot_ns == 0 || slot_ns > SLOT_NS_MAX || written.points.len() > SLOTS_MAX {
            return Err(EncodingError::Format("a series has slots of no sensible length, or too many".to_owned()));
        }
        let slots = written.points.iter().map(|point| read_slot(&point.histogram)).collect::<Result<_, _>>()?;
        Ok(Self { slot_ns, slots })
    }
}

fn read_slot(text: &str) -> Result<Histogram<u32>, EncodingError> {
    let bytes = STANDARD.decode(text).map_err(|error| EncodingError::Base64(error.to_string()))?;
    let read: Histogram<u32> = Deserializer::new()
        .deserialize(&mut Cursor::new(bytes))
        .map_err(|error| EncodingError::Format(error.to_string()))?;
    let mut own = slot();
    for step in read.iter_recorded() {
        let count = u32::try_from(step.count_since_last_iteration()).unwrap_or(u32::MAX);
        own.saturating_record_n(step.value_iterated_to(), count);
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn latencies(latency_us: u64, count: u64) -> Latency {
        let mut latency = Latency::default();
        latency.record_many(latency_us * 1_000, count);
        latency
    }

    fn counts(series: &Series) -> Vec<u64> {
        series.points().iter().map(|point| point.count).collect()
    }

    #[test]
    fn operations_stand_in_the_slot_in_which_they_ended() {
        let mut series = Series::new(SECOND);
        series.add(0, &latencies(100, 10));
        series.add(2 * SECOND + 1, &latencies(5_000, 7));
        series.add(2 * SECOND + 2, &Latency::default());
        assert_eq!(counts(&series), [10, 0, 7]);
        let last = series.points()[2];
        assert_eq!((last.t_s, last.per_s), (2.5, 7.0));
        assert!((last.p99_us - 5_000.0).abs() < 50.0 && (last.max_us - 5_000.0).abs() < 50.0, "{last:?}");
        let (count, p99_us) = series.over(0.0..2.0);
        assert!(count == 10 && (p99_us - 100.0).abs() < 1.0, "{p99_us}");
    }

    #[test]
    fn a_long_run_keeps_its_operations_in_fewer_longer_slots() {
        let mut series = Series::new(SECOND);
        for second in 0..10 * SLOTS_MAX as u64 {
            series.add(second * SECOND, &latencies(second + 1, 3));
        }
        assert!(series.slots.len() <= SLOTS_MAX && series.slots.len() >= SLOTS_MAX / 2);
        assert_eq!(counts(&series).iter().sum::<u64>(), 30 * SLOTS_MAX as u64);
        let points = series.points();
        assert!(points.windows(2).all(|pair| pair[0].p50_us <= pair[1].p50_us), "order is kept");
        assert!(points[0].p50_us < 20.0 && points[points.len() - 1].p50_us > 2_900.0);
    }

    #[test]
    fn series_of_different_slots_add_up() {
        let (mut coarse, mut fine) = (Series::new(4 * SECOND), Series::new(SECOND));
        coarse.add(5 * SECOND, &latencies(10, 1));
        (0..8).for_each(|second| fine.add(second * SECOND, &latencies(20, 1)));
        let mut sum = fine.clone();
        sum.merge(&coarse);
        coarse.merge(&fine);
        assert_eq!((counts(&coarse), counts(&sum)), (vec![4, 5], vec![4, 5]));
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut series = Series::new(SECOND / 5);
        (0..20).for_each(|slot| series.add(slot * SECOND / 5, &latencies(slot * 37 + 1, slot * 1_000)));
        let json = serde_json::to_string(&Written::from(&series)).unwrap();
        let read: Written = serde_json::from_str(&json).unwrap();
        assert_eq!(Series::try_from(read).unwrap(), series);
        for slot_s in ["0", "-1", "1e300"] {
            let nonsense = serde_json::from_str(&format!(r#"{{"slot_s":{slot_s},"points":[]}}"#)).unwrap();
            assert!(<Series as TryFrom<Written>>::try_from(nonsense).is_err(), "{slot_s}");
        }
    }
}
