//! What a process or a thread has used, read from /proc. Only for processes of this machine.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident pages of all kinds; those of mapped log segments belong to the page cache and can be dropped.
    pub rss_bytes: u64,
    /// Resident pages that are the process's own: heap and stacks.
    pub anon_bytes: u64,
}

/// CPU time, in seconds, of the process `pid` with all its threads, or of the calling thread when `None`.
///
/// # Errors
/// When /proc has no such process.
pub fn cpu_s(pid: Option<u32>) -> Result<f64> {
    let path = pid.map_or_else(|| "/proc/thread-self/stat".to_owned(), |pid| format!("/proc/{pid}/stat"));
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} is not what proc(5) says"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// utime and stime of a stat line (proc(5)): the 14th and 15th field; the 2nd is in brackets and may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = after_name.next()?.parse().ok()?;
    let system: u64 = after_name.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of the process `pid`.
///
/// # Errors
/// When /proc has no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let field = |name| kib(&status, name).with_context(|| format!("{path} has no {name}"));
    Ok(Memory { rss_bytes: field("VmRSS")? * 1024, anon_bytes: field("RssAnon")? * 1024 })
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name_of_the_program() {
        let stat = "42 (a) b) R 1 2 3 4 5 6 7 8 9 10 111 222 13 14 15";
        assert_eq!(cpu_ticks(stat), Some(333));
        assert_eq!(kib("Name:\tx\nVmRSS:\t  1234 kB\nRssAnon:\t 99 kB\n", "VmRSS"), Some(1234));
        assert_eq!(kib("VmRSSX:\t 1 kB\n", "VmRSS"), None);
    }

    #[test]
    fn our_own_process_can_be_read() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.rss_bytes >= memory.anon_bytes && memory.anon_bytes > 0);
        assert!(cpu_s(None).unwrap() >= 0.0 && cpu_s(Some(std::process::id())).unwrap() >= 0.0);
    }
}
