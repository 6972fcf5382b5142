//! One shard's log: append, group commit, roll.
//!
//! The log copies a record into the mapped segment and says what is durable; it asks for syncs and never waits for one.
//! A failed sync poisons it: the kernel may have dropped the pages it could not write, so a second sync that succeeds
//! would prove nothing. Reads go on. A disk without room refuses appends by name until there is room again.
//!
//! What the log does not do: number messages, read a clock (see [`Log::tick`]), or start a thread.

use crate::index::Index;
use crate::medium::{Active, Handle, Medium};
use crate::read::Sealed;
use crate::reclaim::Reclaim;
use crate::record::{self, ENDS_KEY, META_BYTES_MAX, NewRecord, TRANSIENT};
use crate::segment::{self, Layout, SEAL_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::snapshot::Snapshots;
use crate::work::Pending;
use crate::{Corruption, Durability, Key, Lsn, Options, Slot};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;

/// With [`Durability::Memory`]: bytes that are synced in the background at the latest, so that dirty pages do not pile up
/// until the kernel throttles page faults.
const BACKGROUND_SYNC_BYTES: u64 = 8 << 20;
/// With [`Durability::Memory`]: microseconds after which new bytes are synced in the background.
const BACKGROUND_SYNC_US: u64 = 1_000_000;
/// Pages are dropped from the process this far behind the durable mark, in steps of the same size: few calls, and the
/// resident part of a segment stays small however much was written.
const RELEASE_STEP_BYTES: u32 = 4 << 20;

/// A record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its address.
    pub lsn: Lsn,
    /// Its key's slot; `None` for a stand-alone record.
    pub slot: Option<Slot>,
}

/// Why a record was not appended. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A sync failed; this log takes nothing more until the server is restarted.
    #[error("the log is poisoned: a sync failed")]
    Poisoned,
    /// There is no room for another segment. Preparing one is tried again.
    #[error("the disk is full")]
    DiskFull,
    /// No segment can hold the record.
    #[error("the record has {bytes} bytes, {bytes_max} are possible")]
    TooLarge {
        /// Header, payload and meta.
        bytes: usize,
        /// The bound that it broke.
        bytes_max: usize,
    },
    /// The next segment is still being prepared. Retry when work was finished.
    #[error("the next segment is not ready")]
    NotReady,
}

/// A sync failed, now or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is poisoned: a sync failed")]
pub struct Poisoned;

/// Figures of one log, for metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Keys in the index.
    pub keys: u64,
    /// Segments that this log tells of, its own active one included: over all shards each counts once.
    pub segments: u64,
    /// Bytes of their files, a preallocated one counted by what is used.
    pub bytes: u64,
    /// Appended since the log was opened.
    pub records_appended: u64,
    /// Appended since the log was opened, in bytes.
    pub bytes_appended: u64,
    /// Syncs finished since the log was opened.
    pub syncs: u64,
    /// Bytes that no sync covers yet.
    pub bytes_unsynced: u64,
    /// A sync has failed.
    pub poisoned: bool,
    /// The next segment cannot be prepared for want of room.
    pub disk_full: bool,
    /// Appends that touched a page nobody had prepared.
    pub prepare_misses: u64,
    /// Background work that failed, other than for want of room; it is not repeated in this life.
    pub work_failures: u64,
    /// Bytes of records of deleted keys, and of transient records below their floor, that are still on disk: an
    /// estimate.
    pub bytes_dead: u64,
    /// Segments rewritten since the log was opened.
    pub segments_rewritten: u64,
    /// Damage found by recovery or by a read since.
    pub corrupt: Vec<Corruption>,
}

/// The segment that takes appends, or one that has been left and waits for its seal.
pub(crate) struct Open<M: Medium> {
    pub(crate) header: SegmentHeader,
    pub(crate) map: M::Active,
    /// The next record starts here.
    pub(crate) cursor: u32,
    pub(crate) records: u64,
    /// No record may reach this offset.
    pub(crate) limit: u32,
    /// Blocks below this are prepared.
    pub(crate) prepared_to: u32,
    /// Pages below this have been dropped again.
    pub(crate) released: u32,
}

impl<M: Medium> Open<M> {
    pub(crate) fn new(header: SegmentHeader, map: M::Active, prepared_to: u32) -> Self {
        let limit = header.limit();
        let cursor = SEGMENT_HEADER_BYTES;
        Self { header, map, cursor, records: 0, limit, prepared_to, released: 0 }
    }

    pub(crate) fn end(&self) -> Lsn {
        Lsn::new(self.header.number, self.cursor)
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout { number: self.header.number, salt: self.header.salt, end: self.cursor, table: None }
    }

    fn write(&mut self, record: &NewRecord<'_>, prev: Lsn, durable: Lsn) -> Lsn {
        let lsn = self.end();
        let mut header = record::header_of(record, prev, durable);
        header.crc = record::crc_of(&header, record.payload, record.meta, self.header.salt, self.cursor);
        let mut at = self.cursor as usize;
        self.map.write(at, &header.encode());
        at += record::HEADER_BYTES;
        for part in record.payload.iter().chain(std::iter::once(&record.meta)) {
            self.map.write(at, part);
            at += part.len();
        }
        let end = self.cursor as usize + record::padded(header.len as usize);
        self.map.write(at, &[0; 8][..end - at]);
        self.cursor = end as u32;
        self.records += 1;
        lsn
    }
}

/// A request to make what was appended durable. It may travel to another thread.
#[derive(Debug)]
#[must_use = "a sync that is not finished blocks all later ones"]
pub struct Sync<M: Medium> {
    handles: Vec<M::Handle>,
    target: Lsn,
    /// What is to be synced did not even reach the kernel.
    unwritten: Option<io::ErrorKind>,
}

impl<M: Medium> Sync<M> {
    /// Does it. Blocks.
    pub fn run(&self) -> io::Result<()> {
        self.unwritten.map_or(Ok(()), |kind| Err(io::Error::from(kind)))?;
        self.handles.iter().try_for_each(Handle::sync)
    }
}

/// One shard's log. See the file's head and [`crate::recover`].
pub struct Log<M: Medium> {
    pub(crate) medium: M,
    pub(crate) options: Options,
    pub(crate) owns: Box<dyn Fn(Key) -> bool>,
    pub(crate) life: u32,
    pub(crate) index: Index,
    /// Segments that nobody writes any more, by number.
    pub(crate) sealed: BTreeMap<u32, Sealed<M>>,
    /// Left by a roll, not sealed yet, ascending.
    pub(crate) closing: VecDeque<Open<M>>,
    pub(crate) active: Option<Open<M>>,
    pub(crate) prepared: Option<Open<M>>,
    pub(crate) next_number: u32,
    /// Everything below is on disk.
    pub(crate) synced: Lsn,
    pub(crate) bytes_synced: u64,
    pub(crate) bytes_sync_target: u64,
    pub(crate) sync_in_flight: bool,
    pub(crate) synced_at_us: u64,
    pub(crate) now_us: u64,
    pub(crate) poisoned: bool,
    pub(crate) pending: Pending<M>,
    pub(crate) snapshots: Snapshots,
    pub(crate) reclaim: Reclaim,
    /// Damage that reads have found.
    pub(crate) corrupt_reads: RefCell<Vec<Corruption>>,
    pub(crate) status: LogStatus,
}

impl<M: Medium> fmt::Debug for Log<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("shard", &self.options.shard).field("end", &self.end()).finish_non_exhaustive()
    }
}

impl<M: Medium> Log<M> {
    /// Tells the time, in microseconds of any clock that does not run backwards. Once per turn is enough: it drives the
    /// background syncs of [`Durability::Memory`] and how often a full disk is tried again.
    pub fn tick(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// Appends a record: copied into the map, numbered by address, not durable yet.
    ///
    /// A record with [`ENDS_KEY`] ends its key; [`Log::forget`] is the next call for that key.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing has changed then.
    ///
    /// # Panics
    /// When the kind is not one of the writer's, a message's seq is not the key's last seq plus 1, or a record with
    /// [`TRANSIENT`] is not a plain note of a stream: a broken index, or a record dropped that somebody needs, would be
    /// worse than an abort.
    pub fn append(&mut self, record: NewRecord<'_>) -> Result<Appended, AppendError> {
        assert!(record.kind.is_stream() || record.kind.is_standalone(), "kind {} cannot be written", record.kind.0);
        self.assert_follows(&record);
        self.make_room(&record)?;
        let slot = record.kind.is_stream().then(|| self.index.insert(record.key));
        let prev = slot.map_or(Lsn::NONE, |slot| self.index.last_lsn(slot));
        let durable = self.synced;
        let active = self.active.as_mut().expect("there is room, so there is a segment");
        let lsn = active.write(&record, prev, durable);
        self.status.prepare_misses += u64::from(active.cursor > active.prepared_to);
        self.status.records_appended += 1;
        let bytes = record::padded(record.bytes()) as u64;
        self.status.bytes_appended += bytes;
        self.count_record(lsn, record.flags & TRANSIENT != 0, bytes);
        if let Some(slot) = slot {
            self.note_in_index(&record, slot, lsn);
        }
        Ok(Appended { lsn, slot })
    }

    /// Checked before anything is written.
    fn assert_follows(&self, record: &NewRecord<'_>) {
        let is_plain_note = record.kind.is_stream() && record.seq == 0 && record.flags & ENDS_KEY == 0;
        assert!(record.flags & TRANSIENT == 0 || is_plain_note, "only a plain note of a stream can be transient");
        if record.kind.is_stream() {
            let slot = self.index.slot(record.key);
            assert!(slot.is_none_or(|slot| !self.index.has_ended(slot)), "append to a key that has ended");
            let last = slot.map_or(0, |slot| self.index.last_seq(slot));
            assert!(record.seq == 0 || record.seq == last + 1, "message {} follows message {last}", record.seq);
        }
    }

    fn note_in_index(&mut self, record: &NewRecord<'_>, slot: Slot, lsn: Lsn) {
        if record.seq > 0 {
            self.index.record_message(slot, record.seq, lsn);
        }
        if record.flags & ENDS_KEY != 0 {
            self.index.end(slot);
        }
    }

    /// Sees to it that the active segment has room for the record, rolling when it has not.
    fn make_room(&mut self, record: &NewRecord<'_>) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if record.meta.len() > META_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: record.meta.len(), bytes_max: META_BYTES_MAX });
        }
        let bytes = record::padded(record.bytes());
        let bytes_max = (self.options.segment_bytes - SEAL_BYTES - 8 - SEGMENT_HEADER_BYTES) as usize;
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let Some(active) = &self.active else { return self.roll() };
        let end = active.cursor as usize + bytes;
        let is_full = end > active.limit as usize;
        // Zeros on their way must not end up on records, nor on the seal, nor make a file long again that was cut there.
        let in_the_way =
            self.pending.prepares_from(active.header.number).is_some_and(|from| is_full || end > from as usize);
        match (in_the_way, is_full) {
            (true, _) => Err(AppendError::NotReady),
            (false, true) => self.roll(),
            (false, false) => Ok(()),
        }
    }

    /// Leaves the active segment for the prepared one.
    fn roll(&mut self) -> Result<(), AppendError> {
        let Some(next) = self.prepared.take() else {
            return Err(if self.status.disk_full { AppendError::DiskFull } else { AppendError::NotReady });
        };
        if let Some(mut full) = self.active.replace(next) {
            let seal = segment::seal_record(full.records, full.end(), self.synced, full.header.salt);
            full.map.write(full.cursor as usize, &seal);
            self.closing.push_back(full);
        }
        Ok(())
    }

    /// Hands everything that was appended to the kernel: it survives the process from then on. What [`Durability::Memory`] calls
    /// durable is so only after this, and so is a record that is shown before it is durable.
    ///
    /// # Errors
    /// A write has failed; the next sync fails for it.
    pub fn flush(&self) -> io::Result<()> {
        self.closing.iter().chain(&self.active).try_for_each(|open| open.map.flush())
    }

    /// Makes [`Log::durable`] true where it promises what no sync has covered: call it before acting on that mark.
    ///
    /// # Errors
    /// The log is poisoned, by this write or before: the mark moves no more, and the log refuses appends.
    pub fn keep_promise(&mut self) -> Result<(), Poisoned> {
        if self.options.durability == Durability::Memory && self.flush().is_err() {
            self.poison();
        }
        if self.poisoned { Err(Poisoned) } else { Ok(()) }
    }

    /// Every record that starts below is durable, by what [`Options::durability`] promises.
    pub fn durable(&self) -> Lsn {
        match self.options.durability {
            Durability::Disk => self.synced,
            Durability::Memory => self.end(),
        }
    }

    /// Where the next record would start if the segment had room for it. Every record so far starts below.
    pub fn end(&self) -> Lsn {
        self.active.as_ref().map_or(self.synced, Open::end)
    }

    /// Whether now is the time for [`Log::begin_sync`].
    pub fn wants_sync(&self) -> bool {
        let unsynced = self.status.bytes_appended - self.bytes_synced;
        let is_time = match self.options.durability {
            Durability::Disk => true,
            Durability::Memory => {
                unsynced >= BACKGROUND_SYNC_BYTES
                    || self.now_us - self.synced_at_us.min(self.now_us) >= BACKGROUND_SYNC_US
            }
        };
        unsynced > 0 && is_time && !self.sync_in_flight && !self.poisoned
    }

    /// Starts a sync of everything appended so far, which the caller performs and gives back to [`Log::finish_sync`].
    /// `None`: nothing is new, one is in flight, or the log is poisoned.
    pub fn begin_sync(&mut self) -> Option<Sync<M>> {
        let is_new = self.bytes_synced < self.status.bytes_appended;
        if !is_new || self.sync_in_flight || self.poisoned {
            return None;
        }
        let target = self.end();
        // What was left by a roll comes first, so that a record never reaches the disk after one that follows it.
        let left = self.closing.iter().filter(|open| open.end() >= self.synced);
        let handles = left.chain(&self.active).map(|open| open.map.handle()).collect();
        let unwritten = self.flush().err().map(|error| error.kind());
        self.sync_in_flight = true;
        self.bytes_sync_target = self.status.bytes_appended;
        Some(Sync { handles, target, unwritten })
    }

    /// Takes note of a sync's result and gives the new durable mark.
    ///
    /// # Errors
    /// The sync has failed: from now on the log refuses appends.
    pub fn finish_sync(&mut self, sync: Sync<M>, result: io::Result<()>) -> Result<Lsn, Poisoned> {
        assert!(self.sync_in_flight, "this log has no sync in flight");
        self.sync_in_flight = false;
        self.synced_at_us = self.now_us;
        if result.is_err() {
            self.poison();
        }
        if self.poisoned {
            return Err(Poisoned);
        }
        self.status.syncs += 1;
        self.synced = sync.target;
        self.bytes_synced = self.bytes_sync_target;
        self.release_pages();
        Ok(self.durable())
    }

    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
        self.status.poisoned = true;
    }

    /// Drops pages that are long on disk; the page cache keeps them as long as it likes.
    fn release_pages(&mut self) {
        let Some(active) = self.active.as_mut().filter(|active| active.header.number == self.synced.segment()) else {
            return;
        };
        let behind = self.synced.offset().saturating_sub(RELEASE_STEP_BYTES);
        if behind >= active.released + RELEASE_STEP_BYTES {
            let until = behind / RELEASE_STEP_BYTES * RELEASE_STEP_BYTES;
            active.map.handle().release(active.released as usize..until as usize);
            active.released = until;
        }
    }

    /// Forgets a key whose stream has ended: its slot is free, its records are dead.
    ///
    /// # Panics
    /// When no record with [`ENDS_KEY`] was appended for the key: a restart would bring it back.
    pub fn forget(&mut self, key: Key) {
        let Some(slot) = self.index.slot(key) else { return };
        assert!(self.index.has_ended(slot), "a key is forgotten that has not ended");
        self.bury(slot);
    }

    /// Figures for metrics and health.
    pub fn status(&self) -> LogStatus {
        let open = self.closing.iter().chain(&self.active);
        let mut status = self.status.clone();
        status.keys = self.index.len() as u64;
        // Every log can read the segments of earlier starts: told by all of them, they would count as often as there are shards.
        let sealed = self.own_sealed(u32::MAX).map(|(_, sealed)| sealed.file_bytes);
        let bytes = sealed.chain(open.map(|open| u64::from(open.cursor)));
        (status.segments, status.bytes) = bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        status.bytes_unsynced = self.status.bytes_appended - self.bytes_synced;
        for corruption in &*self.corrupt_reads.borrow() {
            if !status.corrupt.contains(corruption) {
                status.corrupt.push(corruption.clone());
            }
        }
        status
    }
}
