//! What a process or a thread has used, read from /proc, once or over time. Only for processes of this machine.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Bytes that the process `pid` has had read from disks so far, by reads and by page faults; the page cache is not in it.
///
/// # Errors
/// When /proc has no such process, or it is another user's.
pub fn disk_read_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let io = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|bytes| bytes.trim().parse().ok()).with_context(|| format!("{path} is not what proc(5) says"))
}

/// Open descriptors and threads of the process `pid`.
///
/// # Errors
/// When /proc has no such process, or it is another user's.
pub fn descriptors_and_threads(pid: u32) -> Result<(u64, u64)> {
    let count = |folder: &str| -> Result<u64> {
        let path = format!("/proc/{pid}/{folder}");
        Ok(fs::read_dir(&path).with_context(|| format!("reading {path}"))?.count() as u64)
    };
    Ok((count("fd")?, count("task")?))
}

/// Bytes that the files of `folder` and its folders take of their disk. Files that go meanwhile are left out.
pub fn bytes_on_disk(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// The data folder of a server that somebody else started: what its command line says, below its working folder.
pub fn data_folder(pid: u32) -> Option<PathBuf> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<_> = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word)).collect();
    let named = arguments.iter().enumerate().find_map(|(place, word)| match word.strip_prefix("--data-dir") {
        Some("") => arguments.get(place + 1).map(ToString::to_string),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(named.as_deref().unwrap_or("data"));
    folder.is_dir().then_some(folder)
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
        let (descriptors, threads) = descriptors_and_threads(std::process::id()).unwrap();
        assert!(descriptors > 2 && threads > 0);
        assert!(bytes_on_disk(Path::new(env!("CARGO_MANIFEST_DIR"))) > 4096);
        assert!(cpu_s(None).unwrap() >= 0.0 && cpu_s(Some(std::process::id())).unwrap() >= 0.0);
    }
}
