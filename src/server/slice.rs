//! How long a thread may run before another one's turn: threads that work for microseconds ask for short slices, so that the
//! scheduler lets them in at once when they wake beside a busy shard.
//!
//! Linux takes the wish since 6.12 (`sched_runtime` of `sched_setattr` for SCHED_OTHER); before that it has no effect. No
//! privilege is needed.

/// The shortest slice that the kernel grants, in nanoseconds.
const SLICE_NS: u64 = 100_000;

/// `struct sched_attr` of the kernel's uapi, version 0.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for the calling thread. A kernel that does not know the wish leaves everything as it was.
#[allow(unsafe_code)]
pub(super) fn ask_for_short_slices() {
    let size = u32::try_from(size_of::<SchedAttr>()).expect("48 bytes");
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes no more than `size` bytes, in its layout, to a live struct of that size.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    // Niceness and policy stay as they are.
    (attr.size, attr.runtime) = (size, SLICE_NS);
    // SAFETY: the kernel reads `size` bytes of a live, initialised struct of its layout and writes nothing.
    let result =
        if read == 0 { unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) } } else { read };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "no short slices for the sync's thread");
    }
}
