//! What an operator asks of a shard's part of the data folder: its segments, page by page, and how far its log is durable.
//!
//! From memory alone: no file is looked at, so it is answered also where the disk does not answer. The work is bounded by the page, times
//! the number of shards, whose segments of earlier starts are passed over; the totals look at each segment once.
//! Not here: the file system, times of files, snapshots and files of sessions (`server::folder`).

use super::{Outcome, Reply, Shard, Stop};
use storage::Medium;
pub use storage::{Holding, Lsn, Stage};

/// A shard's part of the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHoldings {
    /// Every record that starts below is durable, as the server promises durability.
    pub durable: Lsn,
    /// Where the next record starts, if it fits.
    pub end: Lsn,
    /// Segments that this shard tells of.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes_file: u64,
    /// Bytes that no sync covers yet.
    pub bytes_unsynced: u64,
    /// Bytes of what was deleted and is on the disk still: an estimate.
    pub bytes_dead: u64,
    /// The log takes no more appends.
    pub is_poisoned: bool,
    /// The next segment cannot be prepared for want of room.
    pub is_disk_full: bool,
    /// Segments below the number that was asked for, the highest first.
    pub page: Vec<Holding>,
}

impl<M: Medium> Shard<M> {
    /// The segments with a number below `before`, the highest first, `limit` at the most.
    pub(super) fn read_holdings(&self, before: u32, limit: usize) -> Result<Outcome, Stop> {
        let status = self.log.status();
        let (segments, bytes_file) = self.log.holdings_total();
        Ok(Outcome::Reply(Reply::Holdings(Box::new(ShardHoldings {
            durable: self.log.durable(),
            end: self.log.end(),
            segments,
            bytes_file,
            bytes_unsynced: status.bytes_unsynced,
            bytes_dead: status.bytes_dead,
            is_poisoned: self.poisoned || status.poisoned,
            is_disk_full: status.disk_full,
            page: self.log.holdings(before, limit),
        }))))
    }
}
