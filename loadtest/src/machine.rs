//! The machine that a run was made on, read from /proc and the system: figures mean little without it.
//!
//! Says nothing of names, addresses or users. What cannot be read is left out.

use rustix::system::uname;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Hardware and kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the processor calls itself.
    pub cpu_model: String,
    /// CPUs that this program may use.
    pub cpus: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The kernel's name and release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let system = uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            cpu_model: field(&read("/proc/cpuinfo"), &["model name", "Model", "cpu model"])
                .unwrap_or("unknown")
                .to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")).unwrap_or(0),
            kernel: format!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine())),
        }
    }
}

/// The first of these fields in lines of `name : value`.
fn field<'a>(text: &'a str, names: &[&str]) -> Option<&'a str> {
    let value = |name: &&str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == *name)
            .map(|(_, value)| value.trim())
    };
    names.iter().find_map(value).filter(|value| !value.is_empty())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, &["MemTotal"])?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The file system that holds `path`: its type and where it comes from (`ext4 on /dev/sda1`). `None` when that cannot be
/// told.
pub fn filesystem(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    filesystem_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, &path)
}

/// Lines of proc(5) mountinfo: the mount point is the 5th field; behind a dash come type and source. The longest mount point
/// above `path` holds it, the last one when several lie on the same.
fn filesystem_in(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let mut right = right.split(' ');
        let (kind, source) = (right.next()?, right.next()?);
        path.starts_with(&point).then(|| (point.len(), format!("{kind} on {source}")))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::here();
        assert!(
            machine.cpus > 0 && machine.memory_bytes > 1 << 20 && machine.kernel.starts_with("Linux "),
            "{machine:?}"
        );
        assert!(filesystem(Path::new(env!("CARGO_MANIFEST_DIR"))).is_some());
        assert_eq!(filesystem(Path::new("/no/such/folder")), None);
    }

    #[test]
    fn fields_are_found_in_what_proc_says() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n";
        assert_eq!(field(cpuinfo, &["model name"]), Some("Fast CPU @ 3 GHz"));
        assert_eq!(memory_bytes("MemFree: 1 kB\nMemTotal:   2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn the_closest_mount_holds_a_path() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /tmp rw shared:1 - tmpfs tmpfs rw\n24 22 8:2 / /my\\040disk rw - xfs /dev/sdb rw\n";
        let find = |path: &str| filesystem_in(mounts, Path::new(path)).unwrap();
        assert_eq!(find("/tmp/x"), "tmpfs on tmpfs");
        assert_eq!(find("/tmpx"), "ext4 on /dev/sda1");
        assert_eq!(find("/my disk/data"), "xfs on /dev/sdb");
    }
}
