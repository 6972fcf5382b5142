//! Whether io_uring can be used here, and one plain sentence when it cannot.

use glommio::{LocalExecutorBuilder, Placement};
use rustix::process::{Resource, getrlimit};

/// Memory that glommio registers per executor at least: 64 KiB of buffers and its rings.
const MEMLOCK_BYTES_PER_SHARD: u64 = 512 * 1024;

/// Why no shard can start.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel's switch is off.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {0}); set it to 0: sysctl kernel.io_uring_disabled=0"
    )]
    SwitchedOff(u8),
    /// Anything else that building a ring answers.
    #[error(
        "io_uring is not available: {0}. FleetLM needs Linux 5.8 or newer, and a container's seccomp profile must allow \
             io_uring_setup, io_uring_enter and io_uring_register; see docs/operations.md"
    )]
    Unavailable(String),
    /// Too little memory may be locked.
    #[error(
        "the limit of locked memory is {limit_kib} KiB, {needed_kib} KiB are needed for {shards} shards; raise it (ulimit -l, \
             LimitMEMLOCK=, --ulimit memlock=) or lower --shards"
    )]
    Memlock {
        /// The soft limit.
        limit_kib: u64,
        /// What the shards need.
        needed_kib: u64,
        /// How many shards.
        shards: u16,
    },
}

/// Builds one ring and drops it again.
///
/// # Errors
/// The one sentence that says what is wrong and how to mend it.
pub fn probe(shards: u16) -> Result<(), RingError> {
    if let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        && let Ok(level @ (1 | 2)) = text.trim().parse::<u8>()
        && (level == 2 || !rustix::process::geteuid().is_root())
    {
        return Err(RingError::SwitchedOff(level));
    }
    let built = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024).ring_depth(128).make();
    match built {
        Ok(executor) => drop(executor),
        Err(error) => {
            return Err(memlock_shortage(shards).unwrap_or_else(|| RingError::Unavailable(error.to_string())));
        }
    }
    Ok(())
}

fn memlock_shortage(shards: u16) -> Option<RingError> {
    let limit = getrlimit(Resource::Memlock).current?;
    let needed = MEMLOCK_BYTES_PER_SHARD * u64::from(shards);
    (limit < needed).then_some(RingError::Memlock { limit_kib: limit / 1024, needed_kib: needed / 1024, shards })
}
