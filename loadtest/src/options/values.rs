//! Values of options: what they may be, and what is said when they are not.

/// CPU numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=100_000_000).contains(n)).ok_or_else(|| "a number from 1 to 100000000".into())
}

fn sized(text: &str, min: usize) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|n| (min..=7_000_000).contains(n));
    bytes.ok_or_else(|| format!("bytes from {min} to 7000000"))
}

pub(super) fn content_bytes(text: &str) -> Result<usize, String> {
    sized(text, crate::content::CONTENT_BYTES_MIN)
}

pub(super) fn chunk_bytes(text: &str) -> Result<usize, String> {
    sized(text, crate::content::CHUNK_BYTES_MIN)
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (0.001..=1e8).contains(rate)).ok_or_else(|| "per second, from 0.001 to 1e8".into())
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=864_000.0).contains(s)).ok_or_else(|| "seconds from 0 to 864000".into())
}

pub(super) fn window_seconds(text: &str) -> Result<f64, String> {
    seconds(text).ok().filter(|s| *s >= 0.1).ok_or_else(|| "seconds from 0.1 to 864000".into())
}

/// Reads `0`, `0,2` or `0-3,6`.
pub(super) fn cpu_list(text: &str) -> Result<CpuList, String> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|cpu| *cpu < 1024);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(format!("{part} is no CPU and no range of CPUs")),
        }
    }
    Ok(CpuList(cpus))
}

pub(super) fn count_or_none(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { count(text) }
}

pub(super) fn mebibytes(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|mib| (0.0..=1e6).contains(mib)).ok_or_else(|| "MiB from 0 to 1e6".into())
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|percent| (0.0..=1000.0).contains(percent)).ok_or_else(|| "percent from 0 to 1000".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0-2,5"), Ok(CpuList(vec![0, 1, 2, 5])));
        assert_eq!(cpu_list("1"), Ok(CpuList(vec![1])));
        for bad in ["", "2-1", "a", "1,,2", "99999"] {
            assert!(cpu_list(bad).is_err(), "{bad}");
        }
    }
}
