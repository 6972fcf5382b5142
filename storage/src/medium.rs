//! Where files live: the seam between the log and a disk, so that a crash can be simulated.
//!
//! [`crate::File`] is a folder of a real file system; [`crate::Memory`] is a disk in memory that remembers what was synced.
//! Files are few and large (segments, snapshots) and live in one flat folder. Nothing here knows what they hold.

use std::fmt::Debug;
use std::io;
use std::ops::Range;

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A folder of files. Clones name the same folder.
pub trait Medium: Clone + Debug + Send + std::marker::Sync + 'static {
    /// A preallocated file, mapped for writing.
    type Active: Active<Handle = Self::Handle>;
    /// The part of an [`Active`] that other threads may use.
    type Handle: Handle;
    /// A file mapped for reading. Clones share the map.
    type View: View;

    /// All files, in no order.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Creates a file of `bytes` zero bytes that starts with `head`, allocated, durable under its name, ready to be
    /// written without touching the disk. Blocks. An error leaves no file behind.
    fn create(&self, name: &str, bytes: u32, head: &[u8]) -> io::Result<Self::Active>;

    /// Maps a file for reading as it is now. The caller sees to it that nobody writes to it or shortens it meanwhile.
    fn view(&self, name: &str) -> io::Result<Self::View>;

    /// A length behind which a file certainly holds only zeros, without reading them. Its whole length is always right.
    fn data_bytes(&self, name: &str) -> io::Result<u64>;

    /// Writes into a file, which is created or grows when needed. Not durable before [`Medium::sync`].
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or extends a file. Not durable before [`Medium::sync`].
    fn set_len(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Makes a file's bytes and length durable.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what had it. Durable after [`Medium::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; maps of it stay valid. Durable after [`Medium::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file that one log writes.
pub trait Active: Debug + 'static {
    /// See [`Medium::Handle`].
    type Handle: Handle;

    /// The file as far as it is written.
    fn bytes(&self) -> &[u8];

    /// Takes `bytes` for `offset`, which lies behind everything written before. What lies between is zero.
    ///
    /// # Panics
    /// When they do not fit: the log has checked.
    fn write(&mut self, offset: usize, bytes: &[u8]);

    /// Hands everything that was taken to the kernel: from now on it survives the process, and a sync covers it.
    ///
    /// # Errors
    /// A write has failed, now or ever before.
    fn flush(&self) -> io::Result<()>;

    /// For syncs and for preparing blocks ahead.
    fn handle(&self) -> Self::Handle;
}

/// What another thread may do with a file that a log is writing.
pub trait Handle: Clone + Debug + Send + 'static {
    /// Makes everything durable that was written before the call. Blocks.
    fn sync(&self) -> io::Result<()>;

    /// Prepares a range that nobody has written, so that writing there is of data alone and does not fail for want of room. The
    /// caller keeps writers away from it meanwhile. Blocks.
    fn prepare(&self, range: Range<usize>) -> io::Result<()>;

    /// Drops the pages of a durable range from the process; the file keeps them.
    fn release(&self, range: Range<usize>);
}

/// A file mapped for reading.
pub trait View: Clone + Debug + Send + 'static {
    /// The whole file as it was when the view was made.
    fn bytes(&self) -> &[u8];

    /// Whether reading the range would not wait for the disk.
    fn is_warm(&self, range: Range<usize>) -> bool;

    /// Brings the range into memory. Blocks. An error means that the disk cannot read it.
    fn warm(&self, range: Range<usize>) -> io::Result<()>;

    /// Drops the pages of the range from the process.
    fn release(&self, range: Range<usize>);
}
