//! A disk in memory that remembers what was synced, so that a test can cut the power at any moment.
//!
//! What was not synced may have reached the disk or not, sector by sector and name by name, in any order:
//! [`Memory::crash`] asks for the fate of each and gives the disk that the next start would find. A sector is written whole
//! or not at all, and bytes that were synced are never lost by writing the same bytes again. Full disks, failing syncs,
//! cold pages and a power cut in the middle of a sequence of file operations are switches.
//!
//! The lock is this medium's alone: it stands for the disk that several threads use. It is not for large folders: every
//! view is a copy.

use crate::medium::{Active, Entry, Handle, Medium, View};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What a crash makes of something that was changed and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It had reached the disk.
    Kept,
    /// The disk has what it had at the last sync.
    Lost,
    /// A sector that was never synced reads as zeros; otherwise as [`Fate::Lost`].
    Zeroed,
    /// A sector that was never synced reads as other bytes than were written; otherwise as [`Fate::Lost`].
    Scrambled,
}

/// What a crash decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// A sector of a file, by its number.
    Sector(&'a str, usize),
    /// A file's length.
    Length(&'a str),
    /// What a name stands for: a file created, renamed or removed. Only kept or lost.
    Name(&'a str),
}

/// A folder in memory. Clones name the same folder.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_synced: BTreeMap<String, usize>,
    bytes_free: u64,
    syncs_fail: bool,
    prepares_fail: bool,
    is_cold: bool,
    operations_left: Option<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            names_synced: BTreeMap::new(),
            bytes_free: u64::MAX,
            syncs_fail: false,
            prepares_fail: false,
            is_cold: false,
            operations_left: None,
        }
    }
}

/// A file's bytes as programs see them and as the disk has them. Both are followed by zeros up to their length.
#[derive(Clone, Debug, Default)]
struct Inode {
    live: Vec<u8>,
    live_len: usize,
    synced: Vec<u8>,
    synced_len: usize,
    dirty: BTreeSet<usize>,
    /// Sectors that were ever synced, zeros or not: from then on the disk writes them whole or not at all.
    settled: BTreeSet<usize>,
}

fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        grow(&mut self.live, end);
        self.live[offset..end].copy_from_slice(bytes);
        self.live_len = self.live_len.max(end);
        self.dirty.extend(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
    }

    fn set_len(&mut self, len: usize) {
        if len < self.live_len {
            self.live.truncate(len);
            self.dirty.retain(|sector| sector * SECTOR_BYTES < len);
        }
        self.live_len = len;
    }

    /// The live bytes of a sector, as long as it goes.
    fn sector(bytes: &[u8], sector: usize) -> &[u8] {
        let start = (sector * SECTOR_BYTES).min(bytes.len());
        &bytes[start..(start + SECTOR_BYTES).min(bytes.len())]
    }

    fn put_sector(&mut self, sector: usize, content: &[u8]) {
        let start = sector * SECTOR_BYTES;
        grow(&mut self.synced, start + content.len());
        self.synced[start..start + content.len()].copy_from_slice(content);
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            let content = Self::sector(&self.live, sector).to_vec();
            self.put_sector(sector, &content);
            self.settled.insert(sector);
        }
        self.synced_len = self.live_len;
        self.synced.truncate(self.synced_len);
    }

    fn crash(&self, name: &str, fate: &mut dyn FnMut(Unsynced<'_>) -> Fate) -> Self {
        let mut after = self.clone();
        for sector in &self.dirty {
            let written = Self::sector(&self.live, *sector).to_vec();
            let is_fresh = !self.settled.contains(sector);
            match fate(Unsynced::Sector(name, *sector)) {
                Fate::Kept => {
                    after.put_sector(*sector, &written);
                    after.settled.insert(*sector);
                }
                Fate::Scrambled if is_fresh => {
                    let scrambled: Vec<u8> = written.iter().map(|byte| byte.rotate_left(3) ^ 0x5a).collect();
                    after.put_sector(*sector, &scrambled);
                }
                Fate::Lost | Fate::Zeroed | Fate::Scrambled => {}
            }
        }
        let len = if self.live_len == self.synced_len || fate(Unsynced::Length(name)) == Fate::Kept {
            self.live_len
        } else {
            self.synced_len
        };
        after.synced.truncate(len);
        Self {
            live: after.synced.clone(),
            live_len: len,
            synced: after.synced,
            synced_len: len,
            dirty: BTreeSet::new(),
            settled: after.settled,
        }
    }

    fn read(&self) -> Vec<u8> {
        let mut bytes = self.live.clone();
        bytes.resize(self.live_len, 0);
        bytes
    }
}

impl Disk {
    fn inode(&mut self, name: &str) -> io::Result<&mut Inode> {
        let index = *self.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(&mut self.files[index])
    }

    /// Counts one operation that changes the disk.
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn operate_sync(&mut self) -> io::Result<()> {
        self.operate()?;
        if self.syncs_fail { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }
}

impl Memory {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no code panics while it holds the disk")
    }

    /// The disk that the next start finds when the power goes now. This one stays as it is, so that one moment can be
    /// crashed in many ways.
    pub fn crash(&self, fate: &mut dyn FnMut(Unsynced<'_>) -> Fate) -> Memory {
        let disk = self.disk();
        let mut after = Disk::default();
        let every_name: BTreeSet<&String> = disk.names.keys().chain(disk.names_synced.keys()).collect();
        let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
        for name in every_name {
            let (live, synced) = (disk.names.get(name), disk.names_synced.get(name));
            let kept = live == synced || fate(Unsynced::Name(name)) == Fate::Kept;
            let Some(index) = (if kept { live } else { synced }) else { continue };
            let moved_to = *moved.entry(*index).or_insert_with(|| {
                after.files.push(disk.files[*index].crash(name, fate));
                after.files.len() - 1
            });
            after.names.insert(name.clone(), moved_to);
        }
        after.names_synced = after.names.clone();
        Memory { disk: Arc::new(Mutex::new(after)) }
    }

    /// The disk that the next start finds when the process is killed and the machine lives on: nothing is lost.
    pub fn kill(&self) -> Memory {
        self.crash(&mut |_| Fate::Kept)
    }

    /// The disk when nothing that was not synced has reached it.
    pub fn cut_power(&self) -> Memory {
        self.crash(&mut |_| Fate::Lost)
    }

    /// Bytes that may still be allocated. `u64::MAX` at first.
    pub fn set_bytes_free(&self, bytes: u64) {
        self.disk().bytes_free = bytes;
    }

    /// From now on syncs fail, or no longer.
    pub fn set_syncs_fail(&self, fail: bool) {
        self.disk().syncs_fail = fail;
    }

    /// From now on touching pages ahead fails, or no longer.
    pub fn set_prepares_fail(&self, fail: bool) {
        self.disk().prepares_fail = fail;
    }

    /// From now on views are cold until they are warmed, or no longer.
    pub fn set_cold(&self, cold: bool) {
        self.disk().is_cold = cold;
    }

    /// After this many more operations that change the disk, each fails and changes nothing: the power went in between.
    pub fn set_operations_left(&self, operations: Option<u64>) {
        self.disk().operations_left = operations;
    }

    /// Flips bits of a stored byte, on the disk and in memory.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, bits: u8) {
        let mut disk = self.disk();
        let inode = disk.inode(name).expect("the file to damage exists");
        assert!(offset < inode.live_len, "the byte to damage exists");
        grow(&mut inode.live, offset + 1);
        grow(&mut inode.synced, offset + 1);
        inode.live[offset] ^= bits;
        inode.synced[offset] ^= bits;
    }

    /// A file's bytes.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.disk().inode(name)?.read())
    }

    /// Bytes changed since their last sync, counted in whole sectors.
    pub fn unsynced_bytes(&self) -> usize {
        self.disk().files.iter().map(|file| file.dirty.len() * SECTOR_BYTES).sum()
    }
}

impl Medium for Memory {
    type Active = MemoryActive;
    type Handle = MemoryHandle;
    type View = MemoryView;

    fn list(&self) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        let entry =
            |(name, index): (&String, &usize)| Entry { name: name.clone(), bytes: disk.files[*index].live_len as u64 };
        Ok(disk.names.iter().map(entry).collect())
    }

    fn create(&self, name: &str, bytes: u32, head: &[u8]) -> io::Result<MemoryActive> {
        let mut disk = self.disk();
        disk.operate_sync()?;
        if disk.bytes_free < u64::from(bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.bytes_free -= u64::from(bytes);
        let mut inode = Inode::default();
        inode.set_len(bytes as usize);
        inode.write(0, head);
        inode.sync();
        let live = inode.read();
        let index = disk.files.len();
        disk.files.push(inode);
        disk.names.insert(name.to_owned(), index);
        disk.names_synced.insert(name.to_owned(), index);
        Ok(MemoryActive { live, gathered: RefCell::default(), handle: MemoryHandle { memory: self.clone(), index } })
    }

    fn view(&self, name: &str) -> io::Result<MemoryView> {
        let mut disk = self.disk();
        let warm = Arc::new(Mutex::new(!disk.is_cold));
        Ok(MemoryView { bytes: disk.inode(name)?.read().into(), warm })
    }

    fn data_bytes(&self, name: &str) -> io::Result<u64> {
        Ok(self.disk().inode(name)?.live.len() as u64)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        if disk.inode(name).is_err() {
            let index = disk.files.len();
            disk.files.push(Inode::default());
            disk.names.insert(name.to_owned(), index);
        }
        // As on a real disk, a write that finds no room for its end leaves its beginning.
        let room = (disk.inode(name)?.live_len as u64).saturating_add(disk.bytes_free).saturating_sub(offset);
        let fitting = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let inode = disk.inode(name)?;
        let before = inode.live_len;
        inode.write(offset as usize, fitting);
        let grown = (inode.live_len - before) as u64;
        disk.bytes_free -= grown;
        if fitting.len() < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        disk.inode(name)?.set_len(bytes as usize);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate_sync()?;
        disk.inode(name)?.sync();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        let index = disk.names.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if let Some(replaced) = disk.names.insert(to.to_owned(), index) {
            let freed = disk.files[replaced].live_len as u64;
            disk.bytes_free = disk.bytes_free.saturating_add(freed);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        let index = disk.names.remove(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let freed = disk.files[index].live_len as u64;
        disk.bytes_free = disk.bytes_free.saturating_add(freed);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate_sync()?;
        disk.names_synced = disk.names.clone();
        Ok(())
    }
}

/// A segment of a [`Memory`] medium that is being written. It keeps a copy of its own to lend bytes from.
#[derive(Debug)]
pub struct MemoryActive {
    live: Vec<u8>,
    /// Not handed over yet: the end of the process takes it along.
    gathered: RefCell<Vec<(usize, Vec<u8>)>>,
    handle: MemoryHandle,
}

impl Active for MemoryActive {
    type Handle = MemoryHandle;

    fn bytes(&self) -> &[u8] {
        &self.live
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.gathered.get_mut().push((offset, bytes.to_vec()));
    }

    fn flush(&self) -> io::Result<()> {
        let mut disk = self.handle.memory.disk();
        for (offset, bytes) in self.gathered.borrow_mut().drain(..) {
            disk.files[self.handle.index].write(offset, &bytes);
        }
        Ok(())
    }

    fn handle(&self) -> MemoryHandle {
        self.handle.clone()
    }
}

/// See [`Handle`].
#[derive(Clone, Debug)]
pub struct MemoryHandle {
    memory: Memory,
    index: usize,
}

impl Handle for MemoryHandle {
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.memory.disk();
        disk.operate_sync()?;
        disk.files[self.index].sync();
        Ok(())
    }

    fn prepare(&self, _range: Range<usize>) -> io::Result<()> {
        if self.memory.disk().prepares_fail { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn release(&self, _range: Range<usize>) {}
}

/// A copy of a file of a [`Memory`] medium.
#[derive(Clone, Debug)]
pub struct MemoryView {
    bytes: Arc<[u8]>,
    warm: Arc<Mutex<bool>>,
}

impl View for MemoryView {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn is_warm(&self, _range: Range<usize>) -> bool {
        *self.warm.lock().expect("no code panics while it holds the switch")
    }

    fn warm(&self, _range: Range<usize>) -> io::Result<()> {
        *self.warm.lock().expect("no code panics while it holds the switch") = true;
        Ok(())
    }

    fn release(&self, _range: Range<usize>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_decides_about_each_other_sector() {
        let memory = Memory::new();
        let mut active = memory.create("a", 4096, b"head").unwrap();
        active.write(512, b"one");
        active.flush().unwrap();
        active.handle().sync().unwrap();
        active.write(515, b"two");
        active.write(1024, b"three");
        active.write(2048, b"four");
        active.flush().unwrap();
        active.write(3072, b"gathered only");
        let after = memory.crash(&mut |unsynced| match unsynced {
            Unsynced::Sector("a", 1) => Fate::Scrambled,
            Unsynced::Sector("a", 2) => Fate::Kept,
            Unsynced::Sector("a", 4) => Fate::Zeroed,
            other => panic!("{other:?} was synced"),
        });
        let bytes = after.read("a").unwrap();
        assert_eq!(&bytes[..4], b"head");
        assert_eq!(&bytes[512..518], b"one\0\0\0");
        assert_eq!(&bytes[1024..1029], b"three");
        assert_eq!(&bytes[2048..2052], [0; 4]);
        let killed = memory.kill().read("a").unwrap();
        assert_eq!(
            (&killed[512..518], killed[3072]),
            (&b"onetwo"[..], 0),
            "the process took along what it had gathered"
        );
    }

    #[test]
    fn a_rename_that_was_not_synced_may_be_lost() {
        let memory = Memory::new();
        memory.write_at("t", 0, b"new").unwrap();
        memory.sync("t").unwrap();
        memory.rename("t", "n").unwrap();
        assert!(memory.cut_power().read("n").is_err());
        memory.sync_dir().unwrap();
        assert_eq!(memory.cut_power().read("n").unwrap(), b"new");
    }
}
