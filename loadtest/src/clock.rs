//! Time of the generator: one monotonic clock for all its threads, and the send times of an open loop.
//!
//! An open loop decides when a request is due before it knows how the server fares; latency counts from there, so a
//! server that stalls cannot hide behind requests that were never sent. Does not wait: that is the executor's.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds of the monotonic clock since its first use in this process. The same line for every thread.
pub fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).expect("584 years have not passed")
}

/// `duration` in nanoseconds, the largest number when it does not fit.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One sender's part of an open loop of `rate` sends per second over `senders` senders.
///
/// The k-th send of the whole loop is due `k / rate` seconds after the start and belongs to sender `k mod senders`. Times are
/// computed from k, never added up, so they do not drift.
#[derive(Clone, Debug)]
pub struct Schedule {
    start_ns: u64,
    rate: f64,
    next: u64,
    senders: u64,
}

impl Schedule {
    /// The part of `sender` (from 0). `rate` is in sends per second of all senders together and above zero.
    pub fn new(start_ns: u64, rate: f64, sender: usize, senders: usize) -> Self {
        assert!(rate > 0.0 && sender < senders, "a schedule needs a rate and a sender of its loop");
        Self { start_ns, rate, next: sender as u64, senders: senders as u64 }
    }

    /// When the next send is due, in nanoseconds of [`now_ns`].
    pub fn due_ns(&self) -> u64 {
        self.start_ns + (self.next as f64 * 1e9 / self.rate) as u64
    }

    /// Takes the next send if it is due at `now_ns`, and says when it was due.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.due_ns();
        if due_ns > now_ns {
            return None;
        }
        self.next += self.senders;
        Some(due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_senders_of_a_loop_share_its_rate_evenly_and_without_drift() {
        let mut all = Vec::new();
        for sender in 0..3 {
            let mut schedule = Schedule::new(1_000, 30_000.0, sender, 3);
            while let Some(due) = schedule.take(1_000_000_000) {
                all.push(due);
            }
        }
        all.sort_unstable();
        assert_eq!(all.len(), 30_000);
        for (k, due) in all.iter().enumerate() {
            assert_eq!(*due, 1_000 + (k as f64 * 1e9 / 30_000.0) as u64);
        }
    }

    #[test]
    fn nothing_is_due_before_its_time_and_a_late_sender_catches_up_with_the_times_it_missed() {
        let mut schedule = Schedule::new(0, 1_000.0, 0, 1);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.take(3_500_000), Some(1_000_000));
        assert_eq!(schedule.take(3_500_000), Some(2_000_000));
        assert_eq!(schedule.take(3_500_000), Some(3_000_000));
        assert_eq!(schedule.take(3_500_000), None);
    }

    #[test]
    fn the_clock_does_not_run_backwards() {
        let before = now_ns();
        assert!(now_ns() >= before);
    }
}
