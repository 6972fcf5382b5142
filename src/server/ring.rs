//! Rings that fit: whether io_uring can be used here, one plain sentence when it cannot, and how deep the rings may be.

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::process::{Resource, getrlimit};

use crate::limits;

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
        "the rings do not fit in the {limit_kib} KiB of memory that may be locked; raise the limit (ulimit -l, LimitMEMLOCK=, \
             --ulimit memlock=) or lower --shards: 8192 KiB are enough for {shards_per_8_mib} shards"
    )]
    Memlock {
        /// The soft limit.
        limit_kib: u64,
        /// How many shards 8 MiB carry.
        shards_per_8_mib: u64,
    },
}

/// Builds one ring and drops it again.
///
/// # Errors
/// The one sentence that says what is wrong and how to mend it.
pub fn probe() -> Result<(), RingError> {
    if let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        && let Ok(level @ (1 | 2)) = text.trim().parse::<u8>()
        && (level == 2 || !rustix::process::geteuid().is_root())
    {
        return Err(RingError::SwitchedOff(level));
    }
    let smallest = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(limits::RING_MEMORY_BYTES)
        .ring_depth(limits::RING_DEPTH_MIN);
    smallest.make().map(drop).map_err(|error| explain(&error.to_string()))
}

/// Depths to try, the deepest first that the limit of locked memory should carry for every shard.
pub(super) fn depths(shards: u16) -> impl Iterator<Item = usize> + Send {
    let limit = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    let share = limit / u64::from(shards) / limits::RING_BYTES_PER_ENTRY;
    let deepest = usize::try_from(share).unwrap_or(usize::MAX).clamp(limits::RING_DEPTH_MIN, limits::RING_DEPTH);
    let mut next = Some(1usize << deepest.ilog2());
    std::iter::from_fn(move || {
        let depth = next.filter(|depth| *depth >= limits::RING_DEPTH_MIN)?;
        next = Some(depth / 2);
        Some(depth)
    })
}

/// The executor of the first depth that the kernel gives memory for.
pub(super) fn first_that_fits<E: std::fmt::Display>(
    depths: impl Iterator<Item = usize>,
    make: impl Fn(usize) -> Result<LocalExecutor, E>,
) -> Result<LocalExecutor, RingError> {
    let mut last = String::new();
    for depth in depths {
        match make(depth) {
            Ok(executor) => return Ok(executor),
            Err(error) => last = error.to_string(),
        }
    }
    Err(explain(&last))
}

fn explain(error: &str) -> RingError {
    const ENOUGH: u64 = 8 * 1024 * 1024;
    let per_shard = limits::RING_BYTES_PER_ENTRY * limits::RING_DEPTH_MIN as u64;
    match getrlimit(Resource::Memlock).current {
        Some(limit) if error.contains("memory") || limit < per_shard => {
            RingError::Memlock { limit_kib: limit / 1024, shards_per_8_mib: ENOUGH / per_shard }
        }
        _ => RingError::Unavailable(error.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_fall_by_halves_to_the_smallest() {
        for shards in [1, 2, 16, 256] {
            let depths: Vec<usize> = depths(shards).collect();
            assert!(depths.windows(2).all(|pair| pair[1] * 2 == pair[0]), "{depths:?}");
            assert_eq!(depths.last(), Some(&limits::RING_DEPTH_MIN));
            assert!(depths[0] <= limits::RING_DEPTH);
        }
    }
}
