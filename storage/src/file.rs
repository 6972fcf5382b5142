//! The medium of a real server: a folder of the file system, locked against a second server.

use crate::medium::{Active, Entry, Handle, Medium, View};
use crate::mmap::{Pages, ReadMap, WriteMap};
use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom};
use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file whose lock says that a server has the folder.
pub(crate) const LOCK_NAME: &str = "LOCK";
/// Files that end so were not finished and mean nothing.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// Removes what an earlier attempt left under a temporary name: its end must not become the end of a shorter file.
pub(crate) fn clear_temporary(medium: &impl Medium, temporary: &str) -> io::Result<()> {
    match medium.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// After a failed attempt: gives the room back, which may be what the disk lacks. What cannot be removed now is removed
/// by the next attempt or the next start.
pub(crate) fn drop_temporary(medium: &impl Medium, temporary: &str) {
    let _ = medium.remove(temporary);
}

/// Bytes that a fresh segment has ready before anybody writes: see `work::POPULATE_AHEAD_BYTES`.
const POPULATED_AT_FIRST_BYTES: usize = 1 << 20;

/// Why a folder does not open.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it.
    #[error("{} is in use by another server", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// It cannot be created, opened or locked.
    #[error("cannot open {}: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A folder of files. All clones share the lock; it is released when the last is dropped.
#[derive(Clone, Debug)]
pub struct File {
    dir: Arc<Path>,
    /// Held for its lock.
    _lock: Arc<fs::File>,
}

impl File {
    /// Opens a folder for writing and locks it. Creates it when it is missing.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, FileError> {
        let dir = dir.as_ref();
        let io = |source| FileError::Io { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_NAME)).map_err(io)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir: dir.into(), _lock: Arc::new(lock) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FileError::Locked { dir: dir.to_owned() }),
            Err(error) => Err(io(error.into())),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create_as(&self, temporary: &str, name: &str, bytes: u32, head: &[u8]) -> io::Result<FileActive> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path(temporary))?;
        // Without KEEP_SIZE: a map beyond the end of the file is a SIGBUS.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, u64::from(bytes))?;
        let mut map = WriteMap::new(&file)?;
        let populated = POPULATED_AT_FIRST_BYTES.min(bytes as usize);
        map.pages().populate(0..populated)?;
        map.write(0, head);
        rustix::fs::fdatasync(&file)?;
        let ahead = OpenOptions::new().write(true).open(self.path(temporary))?;
        fs::rename(self.path(temporary), self.path(name))?;
        self.sync_dir()?;
        Ok(FileActive { map, file: Arc::new(file), ahead: Arc::new(ahead) })
    }
}

impl Medium for File {
    type Active = FileActive;
    type Handle = FileHandle;
    type View = FileView;

    fn list(&self) -> io::Result<Vec<Entry>> {
        list(&self.dir)
    }

    fn create(&self, name: &str, bytes: u32, head: &[u8]) -> io::Result<FileActive> {
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        self.create_as(&temporary, name, bytes, head).inspect_err(|_| drop_temporary(self, &temporary))
    }

    fn view(&self, name: &str) -> io::Result<FileView> {
        Ok(FileView { map: ReadMap::new(&fs::File::open(self.path(name))?)? })
    }

    /// Allocated extents that were never written count as holes: most of a segment that a crash left.
    fn data_bytes(&self, name: &str) -> io::Result<u64> {
        let file = fs::File::open(self.path(name))?;
        let mut end = 0;
        while let Ok(data) = rustix::fs::seek(&file, SeekFrom::Data(end)) {
            end = rustix::fs::seek(&file, SeekFrom::Hole(data))?;
        }
        Ok(end)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        file.write_all_at(bytes, offset)
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path(name))?.set_len(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.path(name))?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        fs::File::open(&*self.dir)?.sync_all()
    }
}

/// The regular files of a folder.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
            entries.push(Entry { name, bytes: metadata.len() });
        }
    }
    Ok(entries)
}

/// A segment of a [`File`] medium that is being written.
#[derive(Debug)]
pub struct FileActive {
    map: WriteMap,
    /// One descriptor from creation to seal: write errors are reported per open file.
    file: Arc<fs::File>,
    /// For pages ahead of the cursor. Opened apart: a write error is told once per open file, and a commit must not miss it.
    ahead: Arc<fs::File>,
}

impl Active for FileActive {
    type Handle = FileHandle;

    fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.map.write(offset, bytes);
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

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.pages.populate(range)?;
        // The first write of a preallocated block changes the file's metadata. Done here, commits are of data alone.
        self.ahead.sync_data()
    }

    fn release(&self, range: Range<usize>) {
        self.pages.release(range);
    }
}

/// A mapped file of a [`File`] medium.
#[derive(Clone, Debug)]
pub struct FileView {
    map: ReadMap,
}

impl View for FileView {
    fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    fn is_warm(&self, range: Range<usize>) -> bool {
        self.map.is_resident(range)
    }

    fn warm(&self, range: Range<usize>) -> io::Result<()> {
        self.map.populate(range)
    }

    fn release(&self, range: Range<usize>) {
        self.map.release(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_and_is_free_again_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = File::open(dir.path().join("data")).unwrap();
        let clone = first.clone();
        drop(first);
        assert!(matches!(File::open(dir.path().join("data")), Err(FileError::Locked { .. })));
        drop(clone);
        File::open(dir.path().join("data")).unwrap();
    }

    #[test]
    fn a_created_file_is_allocated_and_holds_its_head_and_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let medium = File::open(dir.path()).unwrap();
        let mut active = medium.create("a", 1 << 16, b"head").unwrap();
        active.write(65_530, b"behind");
        active.handle().sync().unwrap();
        assert_eq!(&active.bytes()[..5], b"head\0");
        let view = medium.view("a").unwrap();
        assert_eq!(view.bytes().len(), 1 << 16);
        assert_eq!(&view.bytes()[65_530..], b"behind");
        assert_eq!(medium.data_bytes("a").unwrap(), 1 << 16);
        assert!(view.is_warm(0..1 << 16));
        view.release(0..1 << 16);
        assert_eq!(&view.bytes()[..4], b"head");
        drop(medium.create("b", 8 << 20, b"head").unwrap());
        assert!((4..=8 << 20).contains(&medium.data_bytes("b").unwrap()));
        medium.remove("b").unwrap();
        let names: Vec<_> = medium.list().unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_range_that_was_warmed_is_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let medium = File::open(dir.path()).unwrap();
        medium.write_at("a", 0, &vec![7; 1 << 20]).unwrap();
        medium.sync("a").unwrap();
        let file = fs::File::open(dir.path().join("a")).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let view = medium.view("a").unwrap();
        eprintln!("cold before: {}", !view.is_warm(0..1 << 20)); // File systems in memory are always warm.
        view.warm(0..1 << 20).unwrap();
        assert!(view.is_warm(0..1 << 20) && view.is_warm(1 << 20..2 << 20));
        assert_eq!(view.bytes()[1 << 19], 7);
        // What lies behind the end needs no warming.
        view.warm(1 << 20..2 << 20).unwrap();
        view.warm(3 << 20..4 << 20).unwrap();
    }
}
