//! A segment of a [`File`](crate::File) medium that is being written: gathered, handed to the kernel with one `pwrite` for many
//! records, read back through a map.
//!
//! Not written through the map: each page of a commit would be made writable by a fault, made read-only again by the sync, and every
//! core told so (decision 11). What is gathered is lost when the process dies; whoever promises that it is not calls
//! [`Active::flush`] first.

use crate::medium::{Active, Handle};
use crate::mmap::{LiveMap, Pages};
use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Gathered bytes that are handed over before more are gathered: what a turn brings is less, and a copy this long is still in the
/// processor's cache.
const GATHERED_BYTES_MAX: usize = 256 << 10;
/// Zeros are written in blocks of this.
const ZEROS_BYTES: usize = 64 << 10;
static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// See the top of the file.
#[derive(Debug)]
pub struct FileActive {
    map: LiveMap,
    /// One descriptor from creation to seal: write errors are reported per open file.
    file: Arc<fs::File>,
    /// For blocks ahead of the cursor. Opened apart: a write error is told once per open file, and a commit must not miss it.
    ahead: Arc<fs::File>,
    /// The kernel has everything below.
    flushed: Cell<usize>,
    /// What follows.
    gathered: RefCell<Vec<u8>>,
    /// A write has failed; none is tried again.
    failed: Cell<Option<io::ErrorKind>>,
}

impl FileActive {
    /// Takes over a preallocated file of which `written` bytes are written.
    pub(crate) fn new(file: fs::File, ahead: fs::File, written: usize) -> io::Result<Self> {
        Ok(Self {
            map: LiveMap::new(&file)?,
            file: Arc::new(file),
            ahead: Arc::new(ahead),
            flushed: Cell::new(written),
            gathered: RefCell::default(),
            failed: Cell::new(None),
        })
    }

    fn try_flush(&self) -> io::Result<()> {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&gathered, self.flushed.get() as u64)?;
        self.flushed.set(self.flushed.get() + gathered.len());
        gathered.clear();
        Ok(())
    }
}

impl Active for FileActive {
    type Handle = FileHandle;

    /// A failed write leaves out what was not written: it will never be durable, and the next sync says why.
    fn bytes(&self) -> &[u8] {
        if !self.gathered.borrow().is_empty() {
            let _ = self.flush();
        }
        self.map.bytes(self.flushed.get())
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let flushed = self.flushed.get();
        let gathered = self.gathered.get_mut();
        // Between records lies padding, which is zero in the file as well.
        let gap = offset.checked_sub(flushed + gathered.len()).expect("a log writes forward");
        gathered.resize(gathered.len() + gap, 0);
        gathered.extend_from_slice(bytes);
        if gathered.len() > GATHERED_BYTES_MAX {
            let _ = self.flush(); // the next sync tells what became of it
        }
    }

    fn flush(&self) -> io::Result<()> {
        if let Some(kind) = self.failed.get() {
            return Err(kind.into());
        }
        self.try_flush().inspect_err(|error| self.failed.set(Some(error.kind())))
    }

    fn handle(&self) -> FileHandle {
        FileHandle { pages: self.map.pages(), file: Arc::clone(&self.file), ahead: Arc::clone(&self.ahead) }
    }
}

/// See [`Handle`].
#[derive(Clone, Debug)]
pub struct FileHandle {
    pages: Pages,
    file: Arc<fs::File>,
    ahead: Arc<fs::File>,
}

impl Handle for FileHandle {
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The first write of a preallocated block changes the file's metadata, and a block that is not in memory would have to be
    /// read before a part of it is written. Done here, commits are of data alone.
    fn prepare(&self, range: Range<usize>) -> io::Result<()> {
        write_zeros(&self.ahead, range)?;
        self.ahead.sync_data()
    }

    fn release(&self, range: Range<usize>) {
        self.pages.release(range);
    }
}

/// Writes zeros to a range of a file.
pub(crate) fn write_zeros(file: &fs::File, range: Range<usize>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let block = &ZEROS[..(range.end - at).min(ZEROS_BYTES)];
        file.write_all_at(block, at as u64)?;
        at += block.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{File, Medium};

    #[test]
    fn what_is_gathered_is_read_back_and_reaches_the_file_with_its_padding_when_it_is_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let medium = File::open(dir.path()).unwrap();
        let mut active = medium.create("a", 1 << 20, b"head....").unwrap();
        active.write(8, b"one");
        active.write(16, b"two");
        let on_disk = || fs::read(dir.path().join("a")).unwrap();
        assert_eq!(&on_disk()[8..24], [0; 16], "gathered");
        active.flush().unwrap();
        assert_eq!(&on_disk()[..19], b"head....one\0\0\0\0\0two");
        active.write(24, b"three");
        assert_eq!(&active.bytes()[16..], b"two\0\0\0\0\0three");
        assert_eq!(&on_disk()[24..29], b"three", "whoever reads makes it so");
    }

    #[test]
    fn more_than_a_turn_brings_is_handed_over_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let medium = File::open(dir.path()).unwrap();
        let mut active = medium.create("a", 4 << 20, b"head").unwrap();
        active.write(4, &vec![1; GATHERED_BYTES_MAX + 1]);
        assert_eq!(active.flushed.get(), 4 + GATHERED_BYTES_MAX + 1);
        assert!(active.gathered.borrow().is_empty());
    }

    #[test]
    fn a_write_that_failed_is_told_by_every_flush_and_never_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), [0; 4096]).unwrap();
        let read_only = || fs::File::open(dir.path().join("a")).unwrap();
        let mut active = FileActive::new(read_only(), read_only(), 8).unwrap();
        active.write(8, b"lost");
        assert!(active.flush().is_err() && active.flush().is_err());
        assert_eq!(active.bytes().len(), 8);
    }
}
