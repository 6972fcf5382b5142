//! How often somebody may do something: the generic cell rate algorithm (ITU-T I.371), one number for each who does.
//!
//! Whoever was idle for a minute may do a minute's worth at once; from then on it is one at a time, evenly. What is refused costs nothing.
//! Invariants: a table has a bounded number of entries. When it is full, those who are idle are forgotten, which changes nothing for them;
//! if nobody is, the one who has the most left, who then has all of it again: memory is the harder bound.
//! Times are of one monotonic clock, microseconds.
//! Not here: which limits there are and what a refusal looks like.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

const NS_PER_US: u64 = 1_000;
const NS_PER_MINUTE: u64 = 60_000_000_000;

/// So often in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What one costs, in nanoseconds of idling.
    interval_ns: u64,
}

impl Rate {
    /// `times` in a minute.
    pub fn per_minute(times: NonZeroU32) -> Self {
        Self { interval_ns: (NS_PER_MINUTE / u64::from(times.get())).max(1) }
    }

    /// How far ahead of the clock somebody may be and still do one more.
    fn ahead_ns_max(self) -> u64 {
        NS_PER_MINUTE - self.interval_ns
    }
}

/// Who did how much.
#[derive(Debug)]
pub struct RateTable<K> {
    rate: Rate,
    keys_max: usize,
    /// When each would be idle again, nanoseconds: the algorithm's theoretical arrival time.
    idle_at_ns: BTreeMap<K, u64>,
}

impl<K: Ord + Copy> RateTable<K> {
    /// An empty table of at most `keys_max` entries, at least one.
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max: keys_max.max(1), idle_at_ns: BTreeMap::new() }
    }

    /// Does one for `key`.
    ///
    /// # Errors
    /// Microseconds until it may be done, at least 1.
    pub fn take(&mut self, key: K, now_us: u64) -> Result<(), u64> {
        self.check(key, now_us)?;
        let now_ns = now_us.saturating_mul(NS_PER_US);
        if self.idle_at_ns.len() >= self.keys_max && !self.idle_at_ns.contains_key(&key) {
            self.make_room(now_ns);
        }
        let idle_at_ns = self.idle_at_ns.entry(key).or_insert(0);
        *idle_at_ns = (*idle_at_ns).max(now_ns).saturating_add(self.rate.interval_ns);
        Ok(())
    }

    /// Whether one could be done for `key`, without doing it: for limits on what has yet to fail.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn check(&self, key: K, now_us: u64) -> Result<(), u64> {
        let now_ns = now_us.saturating_mul(NS_PER_US);
        let ahead_ns = self.idle_at_ns.get(&key).map_or(0, |idle_at_ns| idle_at_ns.saturating_sub(now_ns));
        let early_ns = ahead_ns.saturating_sub(self.rate.ahead_ns_max());
        if early_ns == 0 { Ok(()) } else { Err(early_ns.div_ceil(NS_PER_US)) }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.idle_at_ns.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.idle_at_ns.is_empty()
    }

    fn make_room(&mut self, now_ns: u64) {
        self.idle_at_ns.retain(|_, idle_at_ns| *idle_at_ns > now_ns);
        if self.idle_at_ns.len() < self.keys_max {
            return;
        }
        if let Some(next) = self.idle_at_ns.iter().min_by_key(|(_, idle_at_ns)| **idle_at_ns).map(|(key, _)| *key) {
            self.idle_at_ns.remove(&next);
        }
    }
}

/// One number for all addresses that one customer of a network has: an IPv4 address, or the first 64 bits of an IPv6 address.
pub fn address_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).expect("the upper half has 64 bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_US: u64 = 1_000_000;

    fn table(per_minute: u32, keys_max: usize) -> RateTable<u64> {
        RateTable::new(Rate::per_minute(NonZeroU32::new(per_minute).unwrap()), keys_max)
    }

    #[test]
    fn a_minutes_worth_at_once_then_one_at_a_time() {
        let mut table = table(60, 10);
        for start_us in [0, 1_000 * SECOND_US] {
            for _ in 0..60 {
                assert_eq!(table.take(1, start_us), Ok(()));
            }
            assert_eq!(table.take(1, start_us), Err(SECOND_US));
            assert_eq!(table.take(1, start_us + SECOND_US - 1), Err(1), "what is refused costs nothing");
            assert_eq!(table.take(1, start_us + SECOND_US), Ok(()));
            assert_eq!(table.take(1, start_us + SECOND_US), Err(SECOND_US));
            assert_eq!(table.take(2, start_us), Ok(()), "another one is not concerned");
        }
    }

    #[test]
    fn one_in_a_minute_is_one_in_a_minute() {
        let mut table = table(1, 10);
        assert_eq!(table.take(1, 5), Ok(()));
        assert_eq!(table.take(1, 6), Err(60 * SECOND_US - 1));
        assert_eq!(table.take(1, 60 * SECOND_US + 5), Ok(()));
    }

    #[test]
    fn looking_takes_nothing() {
        let mut table = table(1, 10);
        assert_eq!((table.check(1, 0), table.check(1, 0), table.len()), (Ok(()), Ok(()), 0));
        table.take(1, 0).unwrap();
        assert_eq!(table.check(1, 0), Err(60 * SECOND_US));
    }

    #[test]
    fn a_full_table_forgets_the_idle_first() {
        let mut table = table(60, 2);
        table.take(1, 0).unwrap();
        (0..60).for_each(|_| table.take(2, 0).unwrap());
        table.take(3, 2 * SECOND_US).unwrap();
        assert_eq!(table.len(), 2);
        assert_eq!(table.check(2, SECOND_US / 2), Err(SECOND_US / 2), "the busy one is remembered");
    }

    #[test]
    fn a_table_full_of_busy_ones_forgets_who_has_the_most_left() {
        let mut table = table(2, 2);
        table.take(1, 0).unwrap();
        (0..2).for_each(|_| table.take(2, 0).unwrap());
        (0..2).for_each(|_| table.take(3, 0).unwrap());
        assert_eq!(table.len(), 2);
        assert!(table.check(2, 0).is_err() && table.check(3, 0).is_err() && table.check(1, 0).is_ok());
    }

    #[test]
    fn a_customer_of_a_network_is_one() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    proptest! {
        #[test]
        fn no_more_than_twice_the_rate_pass_in_any_minute(
            per_minute in 1u32..50,
            steps_us in prop::collection::vec(0u64..5_000_000, 1..200),
        ) {
            let mut table = table(per_minute, 4);
            let (mut now_us, mut passed) = (0, Vec::new());
            for step_us in steps_us {
                now_us += step_us;
                match table.take(7, now_us) {
                    Ok(()) => passed.push(now_us),
                    Err(retry_us) => {
                        prop_assert!(retry_us >= 1 && table.check(7, now_us + retry_us - 1).is_err());
                        prop_assert!(table.check(7, now_us + retry_us).is_ok());
                    }
                }
            }
            for (at, from) in passed.iter().enumerate() {
                let within = passed[at..].iter().filter(|time| **time < from + 60 * SECOND_US).count();
                prop_assert!(within <= 2 * per_minute as usize);
            }
        }
    }
}
