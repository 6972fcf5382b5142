//! The log of one shard: preallocated mapped segments, CRC-framed records, group commit, recovery.
//!
//! The crate knows keys, kinds and opaque bytes; nothing of JSON, HTTP or chat. It starts no thread of its own but the
//! short-lived ones of [`recover`] and never blocks in [`Log`]'s methods: whatever touches the disk is handed out as a
//! [`Sync`] or a [`Work`], run by the caller where blocking is allowed, and handed back.
//!
//! Reading order: [`record`] (one record), [`segment`] (one file), [`medium`] (where files live), [`recover`] (a whole
//! folder), [`Log`] (one shard's view of it). Beside the log and without it: [`Blobs`]. The byte pictures stand in
//! `docs/log-format.md`.
//!
//! # What holds
//!
//! - An [`Lsn`] names a record for ever: segment numbers ascend over all lives of a folder and a rewritten segment keeps
//!   the addresses of its records.
//! - Nothing at or above [`Log::durable`] is promised; everything below it survives what [`Durability`] says.
//! - After a crash the log holds a prefix of what was appended, and that prefix holds everything that was durable.
//! - A record that does not verify is named by file and offset and never served.

mod active;
pub mod backup;
mod blob;
pub mod check;
mod era;
mod file;
mod holdings;
mod index;
mod log;
pub mod medium;
mod memory;
mod mmap;
mod open;
mod probe;
mod read;
mod reader;
mod reclaim;
pub mod record;
mod recovery;
mod scan;
pub mod segment;
mod snapshot;
mod work;

pub use blob::{BlobHash, Blobs, Swept, Weight};
pub use check::{CheckError, CheckReport, ScanError, ScannedRecord, scan};
pub use file::{File, FileError};
pub use holdings::{Holding, Stage};
pub use log::{AppendError, Appended, Log, LogStatus, Poisoned, Sync};
pub use medium::{Medium, View};
pub use memory::{Fate, Memory, SECTOR_BYTES, Unsynced};
pub use open::{Fold, OpenError};
pub use probe::sync_write_amplification;
pub use read::{Cold, Glance, Page, ReadError};
pub use reader::Reader;
pub use record::{ENDS_KEY, META_BYTES_MAX, NewRecord, Record, TRANSIENT};
pub use recovery::{RecoverError, Recovered, Report, Torn, recover};
pub use snapshot::{SnapshotStep, snapshot_shard};
pub use work::{Work, WorkDone};

use std::fmt;

/// Names one stream of records: a session id as a number. Stand-alone records may use any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

/// The address of a record: segment number in the upper 32 bits, byte offset in the segment in the lower 32.
///
/// Ascending addresses are ascending time within one key. The address of a record never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// No record: segment 0 does not exist.
    pub const NONE: Lsn = Lsn(0);

    /// Puts an address together.
    pub const fn new(segment: u32, offset: u32) -> Self {
        Self((segment as u64) << 32 | offset as u64)
    }

    /// The number of the segment.
    pub const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Bytes from the start of the segment. In a rewritten segment: from the start of the segment as it was written.
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }

    /// Whether this is [`Lsn::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

/// A dense handle of a key in one log's index, for tables beside it. Freed by [`Log::forget`] and then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// What a record is, to its writer. 1 to 63 belong to a stream and are indexed by key; 64 to 127 stand alone and are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// The crate's own mark at the end of a sealed segment; never handed out.
    pub(crate) const SEAL: Kind = Kind(255);

    /// Whether records of this kind belong to a stream: their key is indexed.
    pub const fn is_stream(self) -> bool {
        self.0 >= 1 && self.0 <= 63
    }

    /// Whether records of this kind stand alone: every shard folds them, no index knows them.
    pub const fn is_standalone(self) -> bool {
        self.0 >= 64 && self.0 <= 127
    }
}

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: durable means that a sync which covers the record has succeeded.
    Disk,
    /// A crash of the process: durable means copied into the mapped segment. Syncs still run in the background, so that
    /// a power cut loses about the last second and dirty pages never pile up until the kernel throttles the writer.
    Memory,
}

/// How a log is laid out and what it promises. One set for all shards of a start, apart from `shard`.
#[derive(Clone, Debug)]
pub struct Options {
    /// This log's shard, below `shards`. [`recover`] does not look at it.
    pub shard: u16,
    /// Shards of this start, at least 1.
    pub shards: u16,
    /// Bytes of a segment file, preallocated; a multiple of 4096, from 16 KiB to 1 GiB. A record fits in one segment.
    pub segment_bytes: u32,
    /// A position of every such message is kept per key, so a seq is found in at most this many hops. At least 1.
    pub index_every: u64,
    /// See [`Durability`].
    pub durability: Durability,
    /// Randomness for the salts that bind records to their file. Two starts must not use the same.
    pub seed: u64,
    /// A sealed segment with more than this share of dead bytes is rewritten. Percent.
    pub dead_percent_max: u8,
}

impl Default for Options {
    /// One shard, 128 MiB segments, a position of every 64th message, durability on disk, a fresh seed.
    fn default() -> Self {
        use std::hash::BuildHasher;
        Self {
            shard: 0,
            shards: 1,
            segment_bytes: 128 << 20,
            index_every: 64,
            durability: Durability::Disk,
            // The standard library seeds its hash maps from the system's randomness; that saves a dependency.
            seed: std::hash::RandomState::new().hash_one(0u8),
            dead_percent_max: 50,
        }
    }
}

impl Options {
    /// # Panics
    /// When a value is outside the range its field names: a mistake of the program, not of its input.
    pub(crate) fn assert_valid(&self) {
        assert!(self.shards >= 1 && self.shard < self.shards, "shard out of range");
        assert!(self.segment_bytes.is_multiple_of(4096), "segment_bytes must be a multiple of 4096");
        assert!((16 << 10..=1 << 30).contains(&self.segment_bytes), "segment_bytes out of range");
        assert!(self.index_every >= 1, "index_every must be at least 1");
    }
}

/// Bytes that do not verify although they were acknowledged, or stand where no crash leaves such bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("corrupt: {file} at offset {offset}")]
pub struct Corruption {
    /// The file's name inside the data folder.
    pub file: String,
    /// Bytes from the start of the file.
    pub offset: u64,
}
