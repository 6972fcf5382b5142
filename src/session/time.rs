//! Times as clients read them: RFC 3339, UTC, six digits of a second, always 27 bytes.
//!
//! Every message carries one, so the text is made without a calendar library; the tests compare it with one.

/// Bytes of a rendered time.
const TIME_BYTES: usize = 27;

const US_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59.999999Z: RFC 3339 has four digits for the year. Later clocks are shown as this.
const UNIX_US_MAX: u64 = 253_402_300_799_999_999;

/// `unix_us` microseconds since 1970 as `2025-10-23T10:48:00.123456Z`.
pub fn rfc3339(unix_us: u64) -> String {
    String::from_utf8(render(unix_us).to_vec()).expect("digits and punctuation are UTF-8")
}

/// Appends the text of [`rfc3339`].
pub fn push_rfc3339(unix_us: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&render(unix_us));
}

fn render(unix_us: u64) -> [u8; TIME_BYTES] {
    let unix_us = unix_us.min(UNIX_US_MAX);
    let seconds = unix_us / US_PER_SECOND;
    let (year, month, day) = civil_from_days(seconds / SECONDS_PER_DAY);
    let second_of_day = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second_of_day / 3600);
    digits(&mut text[14..16], second_of_day / 60 % 60);
    digits(&mut text[17..19], second_of_day % 60);
    digits(&mut text[20..26], unix_us % US_PER_SECOND);
    text
}

fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of the proleptic Gregorian calendar. Years are counted from March, so that the leap day is a
/// year's last; 400 years have 146,097 days.
fn civil_from_days(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468; // since 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_has_microseconds_and_a_zone() {
        assert_eq!(rfc3339(1_761_216_480_123_456), "2025-10-23T10:48:00.123456Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
    }

    #[test]
    fn a_clock_beyond_the_year_9999_stays_27_bytes() {
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn every_time_reads_as_a_calendar_library_writes_it(unix_us in 0..=253_402_207_200_000_000u64) {
            let timestamp = jiff::Timestamp::from_microsecond(unix_us as i64).unwrap();
            prop_assert_eq!(rfc3339(unix_us), format!("{timestamp:.6}"));
        }
    }
}
