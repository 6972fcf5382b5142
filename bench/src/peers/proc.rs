//! What the kernel accounts to a server: CPU time of all its processes and threads, and its memory. Read from `/proc`.
//!
//! The time of a process with several threads has the resolution of the kernel's clock ticks (10 ms), so a window must be long against that;
//! a process with one thread is accounted in nanoseconds, which matters where a server has hundreds of them.

use anyhow::{Context, Result};
use std::fs;

/// Memory of one process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All resident pages, those of mapped files included.
    pub resident: u64,
    /// Resident pages that are its own and not a file's: what the kernel cannot simply drop.
    pub anonymous: u64,
}

/// Seconds of CPU that the process and all its descendants have used, ended ones that were waited for included.
///
/// # Errors
/// When the process is gone.
pub fn cpu_s(root: u32) -> Result<f64> {
    let mut sum = of_process(root).with_context(|| format!("process {root} is gone"))?;
    let mut open = children(root);
    while let Some(pid) = open.pop() {
        // It may end while this looks; then its parent has its time.
        sum += of_process(pid).unwrap_or(0.0);
        open.extend(children(pid));
    }
    Ok(sum)
}

/// Seconds of CPU that this program's main thread has used.
///
/// # Errors
/// When the kernel does not account for it.
pub fn own_cpu_s() -> Result<f64> {
    thread_s(std::process::id()).context("/proc/self/schedstat")
}

fn of_process(pid: u32) -> Option<f64> {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let stat = parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let own = if stat.threads == 1 { thread_s(pid) } else { None };
    Some(own.unwrap_or(stat.ticks as f64 / ticks_per_s) + stat.ended_ticks as f64 / ticks_per_s)
}

/// Nanoseconds on a CPU of the first thread are the first number there.
fn thread_s(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// Those that the first thread has started; servers with processes of their own start them there.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Of all threads, ended ones included.
    ticks: u64,
    /// Of children that ended and were waited for.
    ended_ticks: u64,
    threads: u64,
}

/// Fields 14 to 17 and 20 of `/proc/PID/stat`, counted behind the name, which may hold spaces (proc(5)).
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { ticks: field(14)? + field(15)?, ended_ticks: field(16)? + field(17)?, threads: field(20)? })
}

/// Memory of the process, without its children.
///
/// # Errors
/// When the process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        anyhow::Ok(kib * 1024)
    };
    Ok(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_with_spaces_and_brackets() {
        let stat = "17 (a (b) c) S 5 17 17 0 -1 4194304 1 2 3 4 100 20 3 1 20 0 9 0 1 2 3";
        assert_eq!(parse(stat), Some(Stat { ticks: 120, ended_ticks: 4, threads: 9 }));
        assert_eq!(parse("17 (x) S 5"), None);
    }

    #[test]
    fn this_very_process_has_used_cpu_and_memory() {
        let pid = std::process::id();
        assert!(cpu_s(pid).unwrap() >= 0.0 && own_cpu_s().unwrap() > 0.0);
        let memory = memory(pid).unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0);
    }
}
