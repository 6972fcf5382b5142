//! Latencies of all threads, in all and over time.
//!
//! A thread records into histograms of its own and hands them over once per slot, so that an operation costs no lock; the
//! live line reads the same slots. Does not know what is measured.

use crate::clock::now_ns;
use crate::latency::Latency;
use crate::report::Measured;
use crate::series::Series;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

/// The shared side.
pub struct Recording {
    slot_ns: u64,
    /// Start and end of the measured window.
    window: OnceLock<(u64, u64)>,
    measured: Mutex<BTreeMap<&'static str, Measured>>,
}

impl Recording {
    /// With slots of `slot_ns`, at first.
    pub fn new(slot_ns: u64) -> Self {
        Self { slot_ns, window: OnceLock::new(), measured: Mutex::default() }
    }

    /// Nanoseconds between two hand-overs.
    pub fn slot_ns(&self) -> u64 {
        self.slot_ns
    }

    /// The window begins; the first to say so is believed.
    pub fn begin(&self, from_ns: u64, end_ns: u64) {
        self.window.get_or_init(|| (from_ns, end_ns));
    }

    /// Start of the window.
    pub fn window_from_ns(&self) -> Option<u64> {
        self.window.get().map(|(from_ns, _)| *from_ns)
    }

    /// Takes what a thread gathered in the slot before `now_ns`, and leaves it empty.
    pub fn take_in(&self, fresh: &mut BTreeMap<&'static str, Latency>, now_ns: u64) {
        let (from_ns, end_ns) = self.window.get().copied().unwrap_or((now_ns, u64::MAX));
        // The middle of the slot: a thread that is a little late still means the slot that ended.
        let at_ns = now_ns.saturating_sub(self.slot_ns / 2).min(end_ns.saturating_sub(1)).saturating_sub(from_ns);
        let mut measured = self.measured.lock().expect("no worker panics");
        for (name, latency) in fresh.iter_mut().filter(|(_, latency)| latency.count() > 0) {
            let empty = || Measured { latency: Latency::default(), series: Series::new(self.slot_ns) };
            let own = measured.entry(name).or_insert_with(empty);
            own.latency.merge(latency);
            own.series.add(at_ns, latency);
            latency.clear();
        }
    }

    /// p99 in microseconds of each latency over the last `seconds`.
    pub fn p99s_us(&self, seconds: f64) -> Vec<(&'static str, f64)> {
        let passed_s = self.window_from_ns().map_or(0.0, |from_ns| now_ns().saturating_sub(from_ns) as f64 / 1e9);
        let measured = self.measured.lock().expect("no worker panics");
        let over = |(name, measured): (&&'static str, &Measured)| {
            // The last two slots at least: one of them is whole.
            let seconds = seconds.max(2.0 * measured.series.slot_s());
            let (count, p99_us) = measured.series.over(passed_s - seconds..passed_s);
            (count > 0).then_some((*name, p99_us))
        };
        measured.iter().filter_map(over).collect()
    }

    /// Everything, by name.
    pub fn finish(&self) -> BTreeMap<String, Measured> {
        let measured = std::mem::take(&mut *self.measured.lock().expect("no worker panics"));
        measured.into_iter().map(|(name, measured)| (name.to_owned(), measured)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = 1_000_000_000;

    #[test]
    fn what_threads_hand_over_stands_in_its_slot_once() {
        let recording = Recording::new(SLOT);
        recording.begin(10 * SLOT, 13 * SLOT);
        recording.begin(0, 1);
        let mut fresh = BTreeMap::from([("ack", Latency::default())]);
        for (at_ns, count) in [(11 * SLOT, 5), (12 * SLOT + 7, 6), (20 * SLOT, 7)] {
            fresh.get_mut("ack").unwrap().record_many(1_000_000, count);
            recording.take_in(&mut fresh, at_ns);
            recording.take_in(&mut fresh, at_ns);
        }
        let measured = recording.finish();
        let counts: Vec<u64> = measured["ack"].series.points().iter().map(|point| point.count).collect();
        assert_eq!(counts, [5, 6, 7], "what comes late belongs to the last slot");
        assert_eq!(measured["ack"].latency.count(), 18);
    }
}
