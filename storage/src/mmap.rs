//! Mapped files: the only file with `unsafe` in it.
//!
//! Two kinds of map: [`LiveMap`], of the segment that this process is writing (with `pwrite`: decision 11), and [`ReadMap`], of a
//! file that nobody changes any more. The folder's lock keeps other servers away; the log never shortens a file that it has
//! mapped beyond the new end and still reads there. An [`Arc`] keeps the address range mapped while another thread drops pages
//! of it; that thread gets no reference to the bytes.

#![allow(unsafe_code)] // Memory maps need it; it is kept to this file.

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE_BYTES: usize = 64;
/// Bytes of a page, for residency only.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Asks the processor for bytes that will be read soon. Costs less than a nanosecond a line and changes nothing else.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in bytes.chunks(CACHE_LINE_BYTES) {
            // SAFETY: a hint reads nothing that the program could see, and the address lies inside a live slice.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// The map of a segment that grows. Whoever owns it says how far the file is written.
#[derive(Debug)]
pub(crate) struct LiveMap {
    map: Arc<MmapRaw>,
}

/// The address range of a [`LiveMap`] for another thread: it can give pages back, not see bytes.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    map: Arc<MmapRaw>,
}

impl LiveMap {
    /// Maps the whole file. It must be longer than zero bytes and stay as long for the life of the map.
    ///
    /// What is read is in the page cache, because it was just written. Should it have been evicted, one page is read, not the
    /// eight megabytes around it.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw_read_only(file)?;
        map.advise(Advice::Random)?;
        Ok(Self { map: Arc::new(map) })
    }

    /// The first `written` bytes, which nobody writes any more.
    ///
    /// # Panics
    /// When the file is shorter.
    pub(crate) fn bytes(&self, written: usize) -> &[u8] {
        assert!(written <= self.map.len(), "read beyond the map");
        // SAFETY: the map is at least `written` bytes long (asserted above) and lives as long as `self`. The log writes behind
        // them only, and the helper that prepares pages works behind the log; the file is not shortened while it is mapped (the
        // log replaces this map by a `ReadMap` when it seals), and the folder's lock excludes other writers.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), written) }
    }

    pub(crate) fn pages(&self) -> Pages {
        Pages { map: Arc::clone(&self.map) }
    }
}

impl Pages {
    pub(crate) fn release(&self, range: Range<usize>) {
        release(&self.map, range);
    }
}

/// A file mapped for reading. `None` is an empty file, which cannot be mapped.
#[derive(Clone, Debug)]
pub(crate) struct ReadMap {
    map: Option<Arc<MmapRaw>>,
}

impl ReadMap {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let map = if file.metadata()?.len() == 0 {
            None
        } else {
            Some(Arc::new(MmapOptions::new().map_raw_read_only(file)?))
        };
        Ok(Self { map })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let Some(map) = &self.map else { return &[] };
        // SAFETY: the map is `len` bytes long and lives as long as `self`. Files that are viewed do not change: sealed
        // segments and renamed snapshots are replaced, never written, and recovery views an unsealed segment only before
        // it changes it. The folder's lock excludes other writers.
        unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) }
    }

    /// Whether all pages of the range are in the page cache. A kernel that will not say counts as yes.
    pub(crate) fn is_resident(&self, range: Range<usize>) -> bool {
        let Some(map) = &self.map else { return true };
        let start = range.start / PAGE_BYTES * PAGE_BYTES;
        let end = range.end.min(map.len());
        if start >= end {
            return true;
        }
        let mut pages = vec![0u8; (end - start).div_ceil(PAGE_BYTES)];
        // SAFETY: `start..end` lies inside the map and starts at a page; `pages` has a byte for each page of it, and the
        // kernel writes no more than that.
        let result =
            unsafe { libc::mincore(map.as_mut_ptr().add(start).cast(), end - start, pages.as_mut_ptr().cast()) };
        result != 0 || pages.iter().all(|page| page & 1 == 1)
    }

    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        // A range may have been asked for in an older, longer file of the same name.
        let end = range.end.min(map.len());
        if range.start >= end {
            return Ok(());
        }
        map.advise_range(Advice::PopulateRead, range.start, end - range.start)
    }

    pub(crate) fn release(&self, range: Range<usize>) {
        if let Some(map) = &self.map {
            release(map, range);
        }
    }
}

/// Drops page-table entries. It only saves memory, so an error changes nothing.
fn release(map: &MmapRaw, range: Range<usize>) {
    let range = range.start..range.end.min(map.len());
    if range.is_empty() {
        return;
    }
    // SAFETY: both kinds of map are shared maps of a file: dropped pages are read back from the page cache or the disk
    // with the same bytes, so slices of them stay valid.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
}
