//! What the figures were made on and with: hardware, kernel, file system, versions.

use crate::servers::program_versions;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The machine, as far as a figure depends on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// File system and mount options of the folder that is measured.
    pub filesystem: String,
    /// Versions of what was compared.
    pub versions: BTreeMap<String, String>,
}

impl Machine {
    /// This one; what cannot be found out is "unknown".
    pub fn look(dir: &Path, ours: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let memory =
            field(&read("/proc/meminfo"), "MemTotal").and_then(|kib| kib.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cpus: read("/proc/cpuinfo").matches("processor\t").count(),
            memory_mib: memory.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(&read("/proc/mounts"), dir).unwrap_or_else(unknown),
            versions: program_versions(ours),
        }
    }
}

/// Type and options of the innermost mount above `dir`.
fn filesystem(mounts: &str, dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, point) = (fields.next()?, fields.next()?);
        dir.starts_with(point)
            .then(|| (point.len(), format!("{} ({})", fields.next().unwrap_or(""), fields.next().unwrap_or(""))))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "dev / ext4 rw,relatime 0 0\nshm /dev/shm tmpfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/usr")).unwrap(), "ext4 (rw,relatime)");
    }
}
