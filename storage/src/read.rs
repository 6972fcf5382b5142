//! Reading: one record by its address, one message by its seq, a page of messages.
//!
//! Every record is verified when it is read for a caller; walking over a record looks at its header only and checks that
//! it is the one that its follower named. Nothing here waits for the disk: a range that is not in memory is answered with
//! [`ReadError::Cold`], and the work that warms it.

use crate::log::Log;
use crate::medium::{Active, Handle, Medium, View};
use crate::record::Record;
use crate::recovery::SegmentInfo;
use crate::segment::{self, FOOTER_BYTES, Layout, SEGMENT_HEADER_BYTES, SegmentHeader, file_name};
use crate::work::{Job, Work};
use crate::{Corruption, Key, Lsn, Slot};
use std::cell::{OnceCell, RefCell};
use std::io;
use std::ops::Range;

/// Residency is asked for in blocks of this: about 1 us each.
const BLOCK_BYTES: usize = 64 << 10;
/// Microseconds for which an answer about residency is believed. Too long costs a page fault, no error.
const WARM_US: u64 = 5_000_000;
/// Damage found by reads is kept up to this many places; the file is what matters by then.
const CORRUPTIONS_MAX: usize = 64;

/// Why there is no record to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It stands there and does not verify, or stands where nothing verifies.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// No record has this address or seq, or it was dead and has been dropped.
    #[error("no such record")]
    Unknown,
    /// The disk must be waited for: run [`Log::begin_warm`]'s work, then ask again.
    #[error("not in memory")]
    Cold(Cold),
    /// The file cannot be mapped.
    #[error("cannot read {file}: {kind}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// Why.
        kind: io::ErrorKind,
    },
}

/// A range of a segment that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cold {
    segment: u32,
    start: u32,
    end: u32,
}

/// Addresses of consecutive messages, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// One for each message.
    pub lsns: Vec<Lsn>,
    /// There are more in the direction of reading.
    pub more: bool,
}

/// A segment that nobody writes any more. Mapped at its first read.
///
/// Another log may put a packed file in the place of this one at any moment, so where a record stands is read from the
/// very file that is mapped, and forgotten with the map.
pub(crate) struct Sealed<M: Medium> {
    pub(crate) header: SegmentHeader,
    /// As this log last knew it. Only its table grows old.
    pub(crate) layout: Layout,
    pub(crate) file_bytes: u64,
    /// Parts of it do not verify.
    pub(crate) damaged: bool,
    view: OnceCell<M::View>,
    /// The layout of the file that the view maps.
    view_layout: OnceCell<Layout>,
    /// When each block was last known to be in memory, in microseconds plus 1; 0 for never.
    warm: RefCell<Vec<u64>>,
}

impl<M: Medium> Sealed<M> {
    pub(crate) fn new(info: &SegmentInfo) -> Self {
        Self { damaged: !info.holes.is_empty(), ..Self::unread(info.header, info.layout, info.file_bytes) }
    }

    pub(crate) fn unread(header: SegmentHeader, layout: Layout, file_bytes: u64) -> Self {
        Self {
            header,
            layout,
            file_bytes,
            damaged: false,
            view: OnceCell::new(),
            view_layout: OnceCell::new(),
            warm: RefCell::default(),
        }
    }

    pub(crate) fn with_view(header: SegmentHeader, layout: Layout, file_bytes: u64, view: M::View) -> Self {
        Self { view: OnceCell::from(view), ..Self::unread(header, layout, file_bytes) }
    }

    /// Unmaps it until the next read.
    pub(crate) fn release(&mut self) {
        self.view = OnceCell::new();
        self.view_layout = OnceCell::new();
        self.warm = RefCell::default();
    }

    pub(crate) fn view(&self, medium: &M) -> Result<&M::View, ReadError> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let file = file_name(self.header.number);
        let view = medium.view(&file).map_err(|error| ReadError::Unreadable { file, kind: error.kind() })?;
        Ok(self.view.get_or_init(|| view))
    }

    /// The layout of the mapped file, read once per map. `None` when its header or its footer does not verify.
    pub(crate) fn view_layout(&self, view: &M::View, now_us: u64) -> Result<Option<Layout>, ReadError> {
        if let Some(layout) = self.view_layout.get() {
            return Ok(Some(*layout));
        }
        let bytes = view.bytes();
        self.check_warm(view, 0..SEGMENT_HEADER_BYTES as usize, now_us)?;
        if SegmentHeader::decode(bytes).is_some_and(|header| header.packed) {
            self.check_warm(view, bytes.len().saturating_sub(FOOTER_BYTES)..bytes.len(), now_us)?;
            self.check_warm(view, segment::table_start(bytes).unwrap_or(bytes.len())..bytes.len(), now_us)?;
        }
        Ok(self.layout.in_file(bytes).map(|layout| *self.view_layout.get_or_init(|| layout)))
    }

    /// `Ok` when the range of the file is in memory.
    pub(crate) fn check_warm(&self, view: &M::View, range: Range<usize>, now_us: u64) -> Result<(), ReadError> {
        let mut warm = self.warm.borrow_mut();
        let (first, last) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
        if warm.len() < last {
            warm.resize(last, 0);
        }
        let is_stale = |since: u64| since == 0 || now_us.saturating_sub(since - 1) > WARM_US;
        for (block, since) in warm.iter_mut().enumerate().take(last).skip(first) {
            if !is_stale(*since) {
                continue;
            }
            if !view.is_warm(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES) {
                let end = (last * BLOCK_BYTES).min(view.bytes().len());
                let start = block * BLOCK_BYTES;
                return Err(ReadError::Cold(Cold {
                    segment: self.header.number,
                    start: start as u32,
                    end: end as u32,
                }));
            }
            *since = now_us + 1;
        }
        Ok(())
    }

    /// Takes note that a range, which [`Self::check_warm`] has named, was warmed.
    fn note_warm(&self, range: Range<usize>, now_us: u64) {
        let (first, last) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
        self.warm.borrow_mut().iter_mut().take(last).skip(first).for_each(|since| *since = now_us + 1);
    }
}

/// What a message's header says, for whoever walks along many and reads them afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The key's record before it.
    pub prev: Lsn,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// When it was appended, as its writer said: microseconds since 1970.
    pub time_us: u64,
}

impl<M: Medium> Log<M> {
    /// The slot of a key that has records.
    pub fn slot(&self, key: Key) -> Option<Slot> {
        self.index.slot(key)
    }

    /// The key of a slot.
    ///
    /// # Panics
    /// When no key has the slot.
    pub fn key(&self, slot: Slot) -> Key {
        self.index.key(slot)
    }

    /// The seq of the key's last message, durable or not; 0 before the first.
    pub fn last_seq(&self, slot: Slot) -> u64 {
        self.index.last_seq(slot)
    }

    /// The address of the key's last message, durable or not; [`Lsn::NONE`] before the first.
    pub fn last_lsn(&self, slot: Slot) -> Lsn {
        self.index.last_lsn(slot)
    }

    /// Reads and verifies one record, durable or not.
    pub fn read(&self, lsn: Lsn) -> Result<Record<'_>, ReadError> {
        self.reader().read(lsn)
    }

    /// As [`Log::read`], and waits for the disk where that would answer [`ReadError::Cold`]: for a start, which has records
    /// to look at behind [`Log::open`] and nobody to serve meanwhile. Blocks.
    ///
    /// # Errors
    /// Never [`ReadError::Cold`]. What the disk cannot read is [`ReadError::Corrupt`].
    pub fn read_blocking(&self, lsn: Lsn) -> Result<Record<'_>, ReadError> {
        loop {
            match self.read(lsn) {
                Err(ReadError::Cold(cold)) => self.warm_blocking(cold)?,
                result => return result,
            }
        }
    }

    fn warm_blocking(&self, cold: Cold) -> Result<(), ReadError> {
        let sealed = self.sealed.get(&cold.segment).ok_or(ReadError::Unknown)?;
        let range = cold.start as usize..cold.end as usize;
        sealed.view(&self.medium)?.warm(range.clone()).map_err(|_| self.corrupt(cold.segment, cold.start))?;
        // Believed without asking again, so that the read goes on whatever the kernel evicts meanwhile.
        sealed.note_warm(range, self.now_us);
        Ok(())
    }

    /// The address of message `seq` of a key, in at most `index_every` hops.
    pub fn find(&self, slot: Slot, seq: u64) -> Result<Lsn, ReadError> {
        let (mut at_seq, mut lsn) = self.known_from(slot, seq)?;
        let (key, mut reader) = (self.key(slot), self.reader());
        while at_seq != seq {
            lsn = reader.hop(key, lsn, at_seq)?.prev;
            if lsn.is_none() {
                return Err(ReadError::Unknown);
            }
            at_seq -= 1;
        }
        Ok(lsn)
    }

    /// The first message from `seq` on whose address is known without a walk, and the address.
    pub(crate) fn known_from(&self, slot: Slot, seq: u64) -> Result<(u64, Lsn), ReadError> {
        let last_seq = self.last_seq(slot);
        if seq == 0 || seq > last_seq {
            return Err(ReadError::Unknown);
        }
        let every = self.options.index_every;
        let checkpoint = seq.div_ceil(every);
        Ok(match self.index.checkpoints(slot).get(checkpoint as usize - 1) {
            Some(lsn) => (checkpoint * every, *lsn),
            None => (last_seq, self.last_lsn(slot)),
        })
    }

    /// The last message below `seq` whose address is known without a walk, and the address; 0 and none where there is none.
    pub(crate) fn known_below(&self, slot: Slot, seq: u64) -> (u64, Lsn) {
        let every = self.options.index_every;
        let checkpoint = (seq.saturating_sub(1) / every) as usize;
        let known = checkpoint.checked_sub(1).and_then(|place| self.index.checkpoints(slot).get(place));
        known.map_or((0, Lsn::NONE), |lsn| (checkpoint as u64 * every, *lsn))
    }

    /// The messages above `after`, oldest first, as far as they lie below `upto` (the durable mark): at most `limit`, and
    /// at most `bytes_max` of stored bytes unless the first alone is larger.
    pub fn messages(&self, slot: Slot, after: u64, upto: Lsn, limit: usize, bytes_max: u64) -> Result<Page, ReadError> {
        let (last, last_lsn) = self.last_below(slot, upto)?;
        let to = last.min(after.saturating_add(limit as u64));
        if to <= after {
            return Ok(Page { lsns: Vec::new(), more: last > after });
        }
        let from = if to == last { last_lsn } else { self.find(slot, to)? };
        let mut hops = self.walk_back(slot, to, from, (to - after) as usize, u64::MAX)?;
        hops.reverse();
        let mut bytes = 0;
        let fitting = hops.iter().take_while(|(_, hop)| {
            bytes += hop;
            bytes <= bytes_max
        });
        let count = fitting.count().max(1);
        let more = last > to || count < hops.len();
        Ok(Page { lsns: hops[..count].iter().map(|(lsn, _)| *lsn).collect(), more })
    }

    /// The messages just below `before`, oldest first, bounded as in [`Log::messages`].
    pub fn messages_before(
        &self,
        slot: Slot,
        before: u64,
        upto: Lsn,
        limit: usize,
        bytes_max: u64,
    ) -> Result<Page, ReadError> {
        let (last, last_lsn) = self.last_below(slot, upto)?;
        let to = last.min(before.saturating_sub(1));
        if to == 0 || limit == 0 {
            return Ok(Page { lsns: Vec::new(), more: to > 0 });
        }
        let from = if to == last { last_lsn } else { self.find(slot, to)? };
        let mut hops = self.walk_back(slot, to, from, limit.min(to as usize), bytes_max)?;
        hops.reverse();
        let more = (hops.len() as u64) < to;
        Ok(Page { lsns: hops.into_iter().map(|(lsn, _)| lsn).collect(), more })
    }

    /// The work that answers [`ReadError::Cold`]. Any number may be in flight.
    pub fn begin_warm(&self, cold: Cold) -> Option<Work<M>> {
        let sealed = self.sealed.get(&cold.segment)?;
        let view = sealed.view(&self.medium).ok()?.clone();
        let lsn = Lsn::new(cold.segment, cold.start);
        Some(Work::new(Job::Warm { view, lsn, range: cold.start as usize..cold.end as usize }))
    }

    /// Unmaps sealed segments until they are read again: gives back memory, and the room of files that another shard has
    /// rewritten. Worth a call every minute or so.
    pub fn release_maps(&mut self) {
        self.sealed.values_mut().for_each(Sealed::release);
        // Reads have brought back pages that were let go behind the cursor.
        for open in self.closing.iter().chain(&self.active) {
            open.map.handle().release(0..open.released as usize);
        }
    }

    /// The last message below `upto`: its seq and address, or 0.
    fn last_below(&self, slot: Slot, upto: Lsn) -> Result<(u64, Lsn), ReadError> {
        let (mut seq, mut lsn) = (self.last_seq(slot), self.last_lsn(slot));
        let (key, mut reader) = (self.key(slot), self.reader());
        while seq > 0 && lsn >= upto {
            lsn = reader.hop(key, lsn, seq)?.prev;
            seq -= 1;
        }
        Ok((seq, lsn))
    }

    /// At most `count` messages with their stored bytes, newest first, from message `seq` at `lsn` on.
    fn walk_back(
        &self,
        slot: Slot,
        mut seq: u64,
        mut lsn: Lsn,
        count: usize,
        bytes_max: u64,
    ) -> Result<Vec<(Lsn, u64)>, ReadError> {
        let (key, mut reader) = (self.key(slot), self.reader());
        let mut bytes = 0;
        let mut hops = Vec::with_capacity(count.min(1024));
        while hops.len() < count && !lsn.is_none() {
            let hop = reader.hop(key, lsn, seq)?;
            bytes += hop.bytes;
            if bytes > bytes_max && !hops.is_empty() {
                break;
            }
            hops.push((lsn, hop.bytes));
            seq -= 1;
            lsn = hop.prev;
        }
        Ok(hops)
    }

    /// Looks at message `seq` of the key at `slot`, and sees to it that reading it will not wait for the disk. It is not verified:
    /// [`Log::read`] does that, once, when its bytes are wanted.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn glance(&self, slot: Slot, lsn: Lsn, seq: u64) -> Result<Glance, ReadError> {
        let mut reader = self.reader();
        let hop = reader.hop(self.key(slot), lsn, seq)?;
        reader.check_warm(lsn, hop.bytes)?;
        Ok(Glance { prev: hop.prev, payload_bytes: hop.payload_bytes, time_us: hop.time_us })
    }

    pub(crate) fn corrupt(&self, segment: u32, offset: u32) -> ReadError {
        let corruption = Corruption { file: file_name(segment), offset: u64::from(offset) };
        let mut seen = self.corrupt_reads.borrow_mut();
        if seen.len() < CORRUPTIONS_MAX && !seen.contains(&corruption) {
            seen.push(corruption.clone());
        }
        ReadError::Corrupt(corruption)
    }
}
