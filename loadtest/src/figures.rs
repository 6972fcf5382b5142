//! What is known of a figure by its name: its unit, which way is better, and how those of several generators add up.
//!
//! Names are what scenarios say and reports show. One that is not in the table is a plain number of which nobody knows
//! which way is better.

use std::fmt;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less.
    Lower,
    /// More.
    Higher,
    /// Neither: it describes the run.
    Neither,
}

/// How one figure of several generators is made from theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Union {
    Sum,
    Greatest,
}

/// Name, which way is better, union.
const FIGURES: &[(&str, Better, Union)] = &[
    (SECONDS_PASSED, Better::Lower, Union::Greatest),
    ("bytes (anon)/session", Better::Lower, Union::Greatest),
    ("bytes (RSS)/session", Better::Neither, Union::Greatest),
    ("bytes (anon)/idle socket", Better::Lower, Union::Greatest),
    ("bytes (RSS)/idle socket", Better::Neither, Union::Greatest),
    ("kills", Better::Neither, Union::Sum),
    ("acknowledged", Better::Neither, Union::Sum),
    ("in flight at a kill", Better::Neither, Union::Sum),
    ("of them stored", Better::Neither, Union::Sum),
    ("of them retried", Better::Neither, Union::Sum),
    ("bytes read from disk", Better::Neither, Union::Greatest),
    ("read back", Better::Neither, Union::Sum),
];

/// The figure of a scenario whose window ends with its work and not by time: the seconds it took.
pub const SECONDS_PASSED: &str = "seconds passed";

/// Which way the figure `name` is better.
pub fn better(name: &str) -> Better {
    FIGURES.iter().find(|(known, ..)| *known == name).map_or(Better::Neither, |(_, better, _)| *better)
}

/// The figure `name` of two generators together.
pub fn union(name: &str, one: f64, other: f64) -> f64 {
    match FIGURES.iter().find(|(known, ..)| *known == name) {
        Some((_, _, Union::Sum)) => one + other,
        _ => one.max(other),
    }
}

/// Microseconds with a fitting unit.
pub struct Time(pub f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            us if us < 1_000.0 => format!("{us:.0} us"),
            us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
            us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
            us => format!("{:.2} s", us / 1e6),
        };
        f.pad(&text)
    }
}

/// A number with its thousands apart; small ones keep a digit after the point.
pub struct Grouped(pub f64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if number.fract() != 0.0 && number.abs() < 1_000.0 {
            return f.pad(&format!("{number:.1}"));
        }
        let digits = format!("{:.0}", number.abs());
        let mut out = String::from(if number < 0.0 { "-" } else { "" });
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        f.pad(&out)
    }
}

/// Bytes with a fitting unit.
pub struct Bytes(pub f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes if bytes.abs() < 1024.0 => format!("{bytes:.0} B"),
            bytes if bytes.abs() < 1024.0 * 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
            bytes if bytes.abs() < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
            bytes => format!("{:.2} GiB", bytes / 1024.0 / 1024.0 / 1024.0),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let grouped = |number| Grouped(number).to_string();
        assert_eq!([0.0, 12.5, 999.0, 1_000.0, 1_234_567.8].map(grouped), ["0", "12.5", "999", "1,000", "1,234,568"]);
        assert_eq!(grouped(-1_234.0), "-1,234");
        assert_eq!(format!("{:>7}|", Grouped(1_000.0)), "  1,000|");
        let time = |us| Time(us).to_string();
        assert_eq!([5.0, 1_500.0, 250_000.0, 2e6].map(time), ["5 us", "1.50 ms", "250 ms", "2.00 s"]);
        let bytes = |bytes| Bytes(bytes).to_string();
        assert_eq!([5.0, 1_536.0, 1_572_864.0].map(bytes), ["5 B", "1.5 KiB", "1.5 MiB"]);
    }

    #[test]
    fn figures_of_two_generators_add_up_or_are_the_same_thing_seen_twice() {
        assert_eq!(union("kills", 2.0, 3.0), 5.0);
        assert_eq!(union(SECONDS_PASSED, 2.0, 3.0), 3.0);
        assert_eq!((better("bytes (anon)/session"), better("whatever")), (Better::Lower, Better::Neither));
    }
}
