//! Work: what blocks, done elsewhere. The log hands it out, the caller runs it where blocking is allowed, the log takes
//! the result.
//!
//! One job of each sort is in flight at the most. A job that fails leaves the folder as a start would find it after a
//! crash at that moment; none is retried but preparing a segment, which waits for room.

use crate::log::{Log, Open};
use crate::medium::{Active, Handle, Medium, View};
use crate::read::Sealed;
use crate::reclaim::{self, Measured};
use crate::recovery::cut_to_seal;
use crate::segment::{SegmentHeader, file_name, salt_of};
use crate::snapshot;
use crate::{Corruption, Lsn};
use std::io;
use std::ops::Range;

/// Blocks are prepared this far ahead of the cursor: at 1 GB/s that is four milliseconds of appends.
pub(crate) const PREPARE_AHEAD_BYTES: u32 = 4 << 20;
/// Blocks are prepared in steps of this. A commit that comes while a step is written waits for it, so a step is short: 0.3 ms.
const PREPARE_STEP_BYTES: u32 = 512 << 10;
/// Blocks that a fresh segment has prepared.
pub(crate) const PREPARED_AT_FIRST_BYTES: u32 = 1 << 20;
/// A file system's block, or a multiple of it.
const BLOCK_BYTES: u32 = 4096;
/// Microseconds until a segment that found no room is tried again, doubled with each failure up to the maximum.
const RETRY_US: u64 = 100_000;
/// See [`RETRY_US`].
const RETRY_US_MAX: u64 = 5_000_000;
/// Segments of this size or below are prepared as soon as one is in use; larger ones when the active one is half full.
const PREPARE_EARLY_BYTES: u32 = 4 << 20;

/// A blocking job.
#[derive(Debug)]
#[must_use = "work that is not finished is never handed out again"]
pub struct Work<M: Medium>(Job<M>);

/// A job's result.
#[derive(Debug)]
#[must_use = "give it to Log::finish_work"]
pub struct WorkDone<M: Medium>(Done<M>);

#[derive(Debug)]
pub(crate) enum Job<M: Medium> {
    Prepare { medium: M, header: SegmentHeader },
    PrepareBlocks { handle: M::Handle, number: u32, range: Range<u32> },
    Seal { medium: M, number: u32, end: u32 },
    SnapshotWrite { medium: M, write: snapshot::Write },
    SnapshotFinish { medium: M, finish: snapshot::Finish },
    Warm { view: M::View, lsn: Lsn, range: Range<usize> },
    Measure { medium: M, source: reclaim::Source },
    Rewrite { medium: M, rewrite: reclaim::Rewrite },
}

pub(crate) enum Done<M: Medium> {
    Prepare { header: SegmentHeader, result: io::Result<M::Active> },
    PrepareBlocks { number: u32, until: u32, result: io::Result<()> },
    Seal { number: u32, result: io::Result<(M::View, u64)> },
    SnapshotWrite { result: io::Result<()> },
    SnapshotFinish { finish: snapshot::Finish, result: io::Result<()> },
    Warm { lsn: Lsn, result: io::Result<()> },
    Measure { result: io::Result<Measured> },
    Rewrite { rewrite: reclaim::Rewrite, result: io::Result<reclaim::Rewritten> },
}

impl<M: Medium> std::fmt::Debug for Done<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepare { .. } => "Prepare",
            Self::PrepareBlocks { .. } => "PrepareBlocks",
            Self::Seal { .. } => "Seal",
            Self::SnapshotWrite { .. } => "SnapshotWrite",
            Self::SnapshotFinish { .. } => "SnapshotFinish",
            Self::Warm { .. } => "Warm",
            Self::Measure { .. } => "Measure",
            Self::Rewrite { .. } => "Rewrite",
        })
    }
}

impl<M: Medium> WorkDone<M> {
    /// Whether somebody may have waited for it: after [`crate::ReadError::Cold`] or [`crate::AppendError::NotReady`].
    pub fn is_awaited(&self) -> bool {
        matches!(self.0, Done::Warm { .. } | Done::Prepare { .. } | Done::PrepareBlocks { .. })
    }
}

impl<M: Medium> Work<M> {
    pub(crate) fn new(job: Job<M>) -> Self {
        Self(job)
    }

    /// Does it. Blocks, some jobs for tens of milliseconds.
    pub fn run(self) -> WorkDone<M> {
        WorkDone(match self.0 {
            Job::Prepare { medium, header } => {
                let result = medium.create(&file_name(header.number), header.allocated, &header.encode());
                Done::Prepare { header, result }
            }
            Job::PrepareBlocks { handle, number, range } => {
                let result = handle.prepare(range.start as usize..range.end as usize);
                Done::PrepareBlocks { number, until: range.end, result }
            }
            Job::Seal { medium, number, end } => {
                let name = file_name(number);
                let result = cut_to_seal(&medium, &name, end).and_then(|bytes| Ok((medium.view(&name)?, bytes)));
                Done::Seal { number, result }
            }
            Job::SnapshotWrite { medium, write } => Done::SnapshotWrite { result: write.run(&medium) },
            Job::SnapshotFinish { medium, finish } => {
                let result = finish.run(&medium);
                Done::SnapshotFinish { finish, result }
            }
            Job::Warm { view, lsn, range } => Done::Warm { lsn, result: view.warm(range) },
            Job::Measure { medium, source } => Done::Measure { result: reclaim::measure(&medium, source) },
            Job::Rewrite { medium, rewrite } => {
                let result = rewrite.run(&medium);
                Done::Rewrite { rewrite, result }
            }
        })
    }
}

/// What is in flight, and when a full disk is tried again.
#[derive(Debug)]
pub(crate) struct Pending<M: Medium> {
    prepare: bool,
    /// The segment whose blocks are being prepared, and from where.
    prepare_blocks: Option<(u32, u32)>,
    seal: bool,
    pub(crate) snapshot: bool,
    pub(crate) reclaim: bool,
    retry_at_us: u64,
    retry_us: u64,
    medium: std::marker::PhantomData<M>,
}

impl<M: Medium> Pending<M> {
    /// Where blocks of a segment are being prepared: nobody may write there meanwhile.
    pub(crate) fn prepares_from(&self, number: u32) -> Option<u32> {
        self.prepare_blocks.filter(|(segment, _)| *segment == number).map(|(_, from)| from)
    }
}

impl<M: Medium> Default for Pending<M> {
    fn default() -> Self {
        Self {
            prepare: false,
            prepare_blocks: None,
            seal: false,
            snapshot: false,
            reclaim: false,
            retry_at_us: 0,
            retry_us: RETRY_US,
            medium: std::marker::PhantomData,
        }
    }
}

/// Whether an error says that there is no room, for which waiting helps.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl<M: Medium> Log<M> {
    /// The next blocking job, most urgent first. Call until it gives `None`, once per turn.
    pub fn begin_work(&mut self) -> Option<Work<M>> {
        let job = self
            .begin_prepare_blocks()
            .or_else(|| self.begin_prepare())
            .or_else(|| self.begin_seal())
            .or_else(|| self.begin_snapshot())
            .or_else(|| self.begin_reclaim());
        job.map(Work)
    }

    /// Takes a job's result.
    pub fn finish_work(&mut self, done: WorkDone<M>) {
        match done.0 {
            Done::Prepare { header, result } => self.finish_prepare(header, result),
            Done::PrepareBlocks { number, until, result } => self.finish_prepare_blocks(number, until, result),
            Done::Seal { number, result } => self.finish_seal(number, result),
            Done::SnapshotWrite { result } => self.finish_snapshot_write(result),
            Done::SnapshotFinish { finish, result } => self.finish_snapshot(&finish, result),
            Done::Warm { lsn, result } => self.finish_warm(lsn, result),
            Done::Measure { result } => self.finish_measure(result),
            Done::Rewrite { rewrite, result } => self.finish_rewrite(&rewrite, result),
        }
    }

    /// The header of the next segment of this log.
    pub(crate) fn next_header(&self) -> SegmentHeader {
        SegmentHeader {
            number: self.next_number,
            life: self.life,
            shard: self.options.shard,
            shards: self.options.shards,
            allocated: self.options.segment_bytes,
            packed: false,
            salt: salt_of(self.options.seed, self.next_number),
        }
    }

    fn begin_prepare(&mut self) -> Option<Job<M>> {
        let is_time = self
            .active
            .as_ref()
            .is_none_or(|active| active.limit <= PREPARE_EARLY_BYTES || active.cursor >= active.limit / 2);
        let waits = self.status.disk_full && self.now_us < self.pending.retry_at_us;
        if self.pending.prepare || self.prepared.is_some() || self.poisoned || !is_time || waits {
            return None;
        }
        self.pending.prepare = true;
        Some(Job::Prepare { medium: self.medium.clone(), header: self.next_header() })
    }

    pub(crate) fn finish_prepare(&mut self, header: SegmentHeader, result: io::Result<M::Active>) {
        self.pending.prepare = false;
        match result {
            Ok(map) => {
                let prepared_to = PREPARED_AT_FIRST_BYTES.min(header.allocated);
                let open = Open::new(header, map, prepared_to);
                self.next_number += u32::from(self.options.shards);
                self.status.disk_full = false;
                self.pending.retry_us = RETRY_US;
                // Without an active segment (the disk was full at the start) it goes into use at once.
                if self.active.is_none() {
                    self.synced = self.synced.max(open.end());
                    self.active = Some(open);
                } else {
                    self.prepared = Some(open);
                }
            }
            Err(error) => {
                // Whatever the reason, appends that need the segment are refused as for want of room and it is tried
                // again; a disk that fails for good says so when the next sync fails.
                self.status.disk_full = true;
                self.status.work_failures += u64::from(!is_full(&error));
                self.pending.retry_at_us = self.now_us + self.pending.retry_us;
                self.pending.retry_us = (self.pending.retry_us * 2).min(RETRY_US_MAX);
            }
        }
    }

    fn begin_prepare_blocks(&mut self) -> Option<Job<M>> {
        let active = self.active.as_ref().filter(|_| self.pending.prepare_blocks.is_none() && !self.poisoned)?;
        let allocated = active.header.allocated;
        // A cursor that has overtaken writes blocks that are not prepared; what lies behind it is not touched.
        let from = active.prepared_to.max(active.cursor.next_multiple_of(BLOCK_BYTES));
        if from >= allocated || from + PREPARE_STEP_BYTES > active.cursor + PREPARE_AHEAD_BYTES {
            return None;
        }
        let range = from..(from + PREPARE_STEP_BYTES).min(allocated);
        let job = Job::PrepareBlocks { handle: active.map.handle(), number: active.header.number, range };
        self.pending.prepare_blocks = Some((active.header.number, from));
        Some(job)
    }

    /// Blocks that cannot be prepared cannot be written either. The segment ends before them.
    fn finish_prepare_blocks(&mut self, number: u32, until: u32, result: io::Result<()>) {
        let from = self.pending.prepare_blocks.take().map_or(0, |(_, from)| from);
        let Some(active) = self.active.as_mut().filter(|active| active.header.number == number) else { return };
        match result {
            Ok(()) => active.prepared_to = active.prepared_to.max(until),
            Err(_) => {
                self.status.work_failures += 1;
                let limit =
                    active.prepared_to.max(from).saturating_sub(active.header.allocated - active.header.limit());
                active.limit = active.limit.min(limit);
                active.prepared_to = active.header.allocated;
                // The cursor is beyond: there is not even room for the seal.
                if active.cursor > active.limit {
                    self.poison();
                }
            }
        }
    }

    fn begin_seal(&mut self) -> Option<Job<M>> {
        let left = self.closing.front()?;
        if self.pending.seal || self.synced.segment() <= left.header.number {
            return None;
        }
        self.pending.seal = true;
        Some(Job::Seal { medium: self.medium.clone(), number: left.header.number, end: left.cursor })
    }

    fn finish_seal(&mut self, number: u32, result: io::Result<(M::View, u64)>) {
        match result {
            Ok((view, file_bytes)) => {
                self.pending.seal = false;
                let left = self.closing.pop_front().expect("the segment that was sealed waits in front");
                assert!(left.header.number == number, "segments are sealed in order");
                self.sealed.insert(number, Sealed::with_view(left.header, left.layout(), file_bytes, view));
            }
            // It stays readable through its map and the next start seals it. No other is sealed before it: a sealed
            // segment says that all before it is durable.
            Err(_) => self.status.work_failures += 1,
        }
    }

    fn finish_warm(&mut self, lsn: Lsn, result: io::Result<()>) {
        let corruption = Corruption { file: file_name(lsn.segment()), offset: u64::from(lsn.offset()) };
        if result.is_err() && !self.status.corrupt.contains(&corruption) {
            self.status.corrupt.push(corruption);
        }
    }
}
