//! How a time is written: RFC 3339, UTC, always six fraction digits and `Z`, so that texts of one width sort as times do.

use jiff::Timestamp;

/// `unix_us` (microseconds since 1970) as `2025-10-23T10:48:00.123456Z`.
pub fn rfc3339(unix_us: u64) -> String {
    let time =
        i64::try_from(unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_six_digits_and_a_zone_whatever_its_value() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_761_216_480_123_456), "2025-10-23T10:48:00.123456Z");
        assert_eq!(rfc3339(1_761_216_480_000_000), "2025-10-23T10:48:00.000000Z");
        assert_eq!(rfc3339(u64::MAX).len(), rfc3339(0).len());
    }
}
