//! How often somebody may ask, over all shards: by who it is, by where from, and how often in vain.
//!
//! Off unless the operator sets a number. The tables are in parts, each behind a lock that is held for one look-up, so that shards seldom
//! meet. The clock is the process's own: those of shards began at different times.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Instant;

use crate::api::auth::rate::{Rate, RateTable, address_key};
use crate::api::error::ApiError;
use crate::config::AuthConfig;
use crate::limits::RATE_KEYS_MAX;

const PARTS: usize = 64;
const US_PER_S: u64 = 1_000_000;

/// See the top of the file.
pub(super) struct Limiter {
    began: Instant,
    principals: Option<Table>,
    addresses: Option<Table>,
    failures: Option<Table>,
}

struct Table(Vec<Mutex<RateTable<u64>>>);

impl Table {
    fn new(per_minute: NonZeroU32) -> Self {
        let part = || Mutex::new(RateTable::new(Rate::per_minute(per_minute), RATE_KEYS_MAX / PARTS));
        Self((0..PARTS).map(|_| part()).collect())
    }

    fn with<R>(&self, key: u64, look: impl FnOnce(&mut RateTable<u64>) -> R) -> R {
        // Addresses of one network differ in their last bits, fingerprints in all.
        let part = &self.0[(key ^ key >> 32) as usize % PARTS];
        look(&mut part.lock().expect("no thread panics with this lock: panics abort"))
    }
}

impl Limiter {
    pub(super) fn of_config(config: &AuthConfig) -> Self {
        let table = |per_minute: Option<NonZeroU32>| per_minute.map(Table::new);
        Self {
            began: Instant::now(),
            principals: table(config.rate_limit_principal),
            addresses: table(config.rate_limit_address),
            failures: table(config.rate_limit_auth),
        }
    }

    /// Whether it matters where requests come from.
    pub(super) fn counts_addresses(&self) -> bool {
        self.addresses.is_some() || self.failures.is_some()
    }

    /// Counts a request of this principal.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn take_principal(&self, fingerprint: u64) -> Result<(), ApiError> {
        self.take(self.principals.as_ref(), Some(fingerprint))
    }

    /// Counts a request from this address.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn take_address(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        self.take(self.addresses.as_ref(), address.map(address_key))
    }

    /// Counts a refused token, or a request for one.
    ///
    /// # Errors
    /// Too many of them.
    pub(super) fn take_failure(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        self.take(self.failures.as_ref(), address.map(address_key))
    }

    /// Whether tokens from this address may be good.
    ///
    /// # Errors
    /// Too many of them were refused.
    pub(super) fn check_failures(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        let (Some(table), Some(address)) = (&self.failures, address) else { return Ok(()) };
        let (key, now_us) = (address_key(address), self.now_us());
        table.with(key, |table| table.check(key, now_us)).map_err(refusal)
    }

    fn take(&self, table: Option<&Table>, key: Option<u64>) -> Result<(), ApiError> {
        let (Some(table), Some(key)) = (table, key) else { return Ok(()) };
        let now_us = self.now_us();
        table.with(key, |table| table.take(key, now_us)).map_err(refusal)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn refusal(retry_us: u64) -> ApiError {
    ApiError::rate_limited(retry_us.div_ceil(US_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::Parser;

    fn limiter(flags: &[&str]) -> Limiter {
        Limiter::of_config(&Cli::parse_from([&["fleetlm"], flags].concat()).serve.auth)
    }

    #[test]
    fn without_a_number_nothing_is_counted() {
        let limiter = limiter(&[]);
        assert!(!limiter.counts_addresses());
        assert!((0..1000).all(|_| limiter.take_principal(1).is_ok()));
    }

    #[test]
    fn each_has_its_own_and_is_told_when_to_come_again() {
        let limiter = limiter(&["--rate-limit-principal", "2", "--rate-limit-auth", "1"]);
        assert!(limiter.take_principal(1).is_ok() && limiter.take_principal(1).is_ok());
        let refused = limiter.take_principal(1).unwrap_err().response();
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")));
        assert!(limiter.take_principal(2).is_ok());
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        assert!(limiter.check_failures(address).is_ok() && limiter.take_failure(address).is_ok());
        assert!(limiter.check_failures(address).is_err());
        assert!(limiter.take_address(address).is_ok(), "that is another limit");
    }
}
