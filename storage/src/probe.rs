//! The start-up self-check: how much does one sync of a small write really write to the device?
//!
//! Some kernels and file systems write far more than what changed (whole folios of 2 MiB, for maps). The way in which the log writes
//! avoids it where it was measured; this guards against the next kernel and the next file system.

use crate::active::write_zeros;
use rustix::fs::{FallocateFlags, fallocate, fdatasync, fstat, major, minor};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The effect hides in the first megabytes of a file, where folios are small.
const TOUCHED_BYTES: usize = 16 << 20;
/// A small commit.
const WRITTEN_BYTES: usize = 4 << 10;
const STEP_BYTES: usize = 1 << 20;
/// The unit of the kernel's counters, whatever the device's own sector.
const SECTOR_BYTES: u64 = 512;
/// Others who write to the same device count as well, so the smallest of some is taken.
const ROUNDS: usize = 5;
/// A result that needs no second try: the data and some of the file system's own.
const GOOD_BYTES: u64 = 64 << 10;
const NAME: &str = "probe.tmp";

/// Bytes that reach the device when 4 KiB of a file in `dir` are synced, as the log syncs them. `None` where no
/// counter tells (overlay, network and memory file systems). Takes some tens of milliseconds; the scratch file is removed.
///
/// Above 128 KiB something is wrong: every commit costs that much.
pub fn sync_write_amplification(dir: &Path) -> io::Result<Option<u64>> {
    let path = dir.join(NAME);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let result = measure(&file);
    fs::remove_file(&path)?;
    result
}

fn measure(file: &fs::File) -> io::Result<Option<u64>> {
    let device = fstat(file)?.st_dev;
    let counter = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let sectors = || -> Option<u64> { fs::read_to_string(&counter).ok()?.split_whitespace().nth(6)?.parse().ok() };
    if sectors().is_none() {
        return Ok(None);
    }
    fallocate(file, FallocateFlags::empty(), 0, (TOUCHED_BYTES + 4 * STEP_BYTES) as u64)?;
    write_zeros(file, 0..TOUCHED_BYTES + STEP_BYTES)?;
    fdatasync(file)?;
    let chunk = vec![0x5a; STEP_BYTES];
    for at in (0..TOUCHED_BYTES).step_by(STEP_BYTES) {
        file.write_all_at(&chunk, at as u64)?;
    }
    fdatasync(file)?;
    let mut least = None;
    for round in 0..ROUNDS {
        let before = sectors();
        file.write_all_at(&chunk[..WRITTEN_BYTES], (TOUCHED_BYTES + round * WRITTEN_BYTES) as u64)?;
        fdatasync(file)?;
        let written = sectors().zip(before).map(|(after, before)| after.saturating_sub(before) * SECTOR_BYTES);
        least = match (least, written) {
            (Some(least), Some(written)) => Some(u64::min(least, written)),
            (least, written) => least.or(written),
        };
        if least.is_some_and(|least| least <= GOOD_BYTES) {
            break;
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_sync_writes_little_and_the_scratch_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let started = std::time::Instant::now();
        let written = sync_write_amplification(dir.path()).unwrap();
        eprintln!("4 KiB synced: {written:?} bytes reached the device, {:?}", started.elapsed());
        // Other writers of the device share the counter; folios of 2 MiB would show every time.
        assert!(written.is_none_or(|written| written < 128 << 10), "{written:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
